package agent

import (
	"os"
	"strings"

	"sandlot/guest/wire"
)

// links lists the network interfaces, without the loopback. One is up that was
// set up and whose cable, so to say, is in; virtual ones know of no cable.
func (a *Agent) links() []wire.Link {
	const dir = "/sys/class/net"
	entries, err := os.ReadDir(a.Root + dir)
	if err != nil {
		return nil
	}
	var out []wire.Link
	for _, e := range entries {
		if e.Name() == "lo" {
			continue
		}
		state := strings.TrimSpace(a.readFile(dir + "/" + e.Name() + "/operstate"))
		out = append(out, wire.Link{Name: e.Name(), Up: state == "up" || state == "unknown"})
	}
	return out
}
