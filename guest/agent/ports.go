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
	v4, v6 := a.readFile("/proc/net/tcp"), a.readFile("/proc/net/tcp6")
	if v4 == "" && v6 == "" {
		return nil, errors.New("cannot read /proc/net/tcp")
	}
	ports := append(parseListening(v4), parseListening(v6)...)
	if len(ports) > maxPorts {
		ports = ports[:maxPorts]
	}
	return ports, nil
}

// parseListening reads /proc/net/tcp or tcp6: local address and port in hex,
// the address in words of the CPU's byte order, state 0A is LISTEN.
func parseListening(text string) []wire.Port {
	var out []wire.Port
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "0A" {
			continue
		}
		host, port, ok := strings.Cut(f[1], ":")
		raw, err1 := hex.DecodeString(host)
		number, err2 := strconv.ParseUint(port, 16, 16)
		if !ok || err1 != nil || err2 != nil || len(raw)%4 != 0 {
			continue
		}
		for i := 0; i < len(raw); i += 4 {
			slices.Reverse(raw[i : i+4])
		}
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			continue
		}
		out = append(out, wire.Port{Address: addr.Unmap().String(), Number: int(number)})
	}
	return out
}

// listens tells whether anything in the machine listens on a port.
func (a *Agent) listens(port int) bool {
	is := func(p wire.Port) bool { return p.Number == port }
	return slices.ContainsFunc(parseListening(a.readFile("/proc/net/tcp")), is) ||
		slices.ContainsFunc(parseListening(a.readFile("/proc/net/tcp6")), is)
}
