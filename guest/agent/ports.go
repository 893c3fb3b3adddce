package agent

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sandlot/guest/wire"
)

// maxPorts bounds the answer: a machine can listen on every port.
const maxPorts = 4096

// ports lists the machine's listening TCP sockets.
func (a *Agent) ports() ([]wire.Port, error) {
	sockets := a.sockets()
	if len(sockets) == 0 && a.readFile("/proc/net/tcp") == "" && a.readFile("/proc/net/tcp6") == "" {
		return nil, errors.New("cannot read /proc/net/tcp")
	}
	ports := listening(sockets)
	if len(ports) > maxPorts {
		ports = ports[:maxPorts]
	}
	return ports, nil
}

// stateListen is TCP_LISTEN of the kernel.
const stateListen = "0A"

// socket is one line of /proc/net/tcp or tcp6.
type socket struct {
	local, remote netip.AddrPort
	state         string
}

// sockets lists the machine's TCP sockets.
func (a *Agent) sockets() []socket {
	return append(parseSockets(a.readFile("/proc/net/tcp")), parseSockets(a.readFile("/proc/net/tcp6"))...)
}

// parseSockets reads /proc/net/tcp or tcp6: addresses and ports in hex, the
// addresses in words of the CPU's byte order.
func parseSockets(text string) []socket {
	var out []socket
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		if local, ok := parseEnd(f[1]); ok {
			remote, _ := parseEnd(f[2])
			out = append(out, socket{local, remote, f[3]})
		}
	}
	return out
}

func parseEnd(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	raw, err1 := hex.DecodeString(host)
	number, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err1 != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), ok
}

// listening are the ports of the sockets that listen.
func listening(sockets []socket) []wire.Port {
	var out []wire.Port
	for _, s := range sockets {
		if s.state == stateListen {
			out = append(out, wire.Port{Address: s.local.Addr().String(), Number: int(s.local.Port())})
		}
	}
	return out
}

// listens tells whether anything in the machine listens on a port.
func (a *Agent) listens(port int) bool {
	return slices.ContainsFunc(listening(a.sockets()), func(p wire.Port) bool { return p.Number == port })
}
