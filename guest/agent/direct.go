package agent

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// direct lets the host make the connection itself and reports whether it has
// and is done with it.
func (a *Agent) direct(s *yamux.Stream, d wire.Dial) (done bool) {
	host, text, err := net.SplitHostPort(d.Address)
	port, err2 := strconv.ParseUint(text, 10, 16)
	at, err3 := netip.ParseAddr(d.Beside)
	if err != nil || err2 != nil || err3 != nil || host != "" {
		return false
	}
	to := netip.AddrPortFrom(at, uint16(port))
	now := a.sockets()
	if !forEverybody(now, to) {
		return false
	}
	made := wire.Direct{From: d.From}
	if made.From == "" {
		respond(s, wire.Response{Direct: int(port)})
		if wire.ReadMessage(s, &made) != nil {
			return true // the host is gone
		}
		now = a.sockets()
	}
	from, err := netip.ParseAddrPort(made.From)
	if err != nil || !connected(now, to, from) {
		return false
	}
	respond(s, wire.Response{Direct: int(port), Confirmed: true})
	_, _ = io.Copy(io.Discard, s)
	return true
}

// forEverybody tells whether who connects to an address of this machine gets
// what who connects to its loopback gets.
func forEverybody(sockets []socket, to netip.AddrPort) bool {
	found := false
	for _, s := range sockets {
		if s.state != stateListen || s.local.Port() != to.Port() {
			continue
		}
		if !s.local.Addr().IsUnspecified() {
			return false
		}
		found = true
	}
	return found
}

// connected tells whether a socket here is the other end of a connection.
func connected(sockets []socket, to, from netip.AddrPort) bool {
	return slices.ContainsFunc(sockets, func(s socket) bool {
		return s.state != stateListen && s.local == to && s.remote == from
	})
}
