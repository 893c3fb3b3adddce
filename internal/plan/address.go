package plan

import (
	"fmt"
	"net/netip"

	"sandlot/internal/manifest"
)

// MACs are locally administered and say what they belong to:
//
//	02:00:00:NN:ff:00   the bridge of network NN
//	02:00:00:NN:MM:II   interface II of machine MM, on network NN
//
// They repeat in every play: each has its own Ethernet segments, and a bridge
// whose MAC never changes keeps the ARP caches of restored machines right.
func bridgeMAC(network int) string { return fmt.Sprintf("02:00:00:%02x:ff:00", network) }

func interfaceMAC(network, machine, nic int) string {
	return fmt.Sprintf("02:00:00:%02x:%02x:%02x", network, machine, nic)
}

// pool hands out the addresses of one network.
type pool struct {
	subnet netip.Prefix
	next   netip.Addr
	taken  map[netip.Addr]bool
}

// free takes the first free address; false if there is none.
func (p *pool) free() (netip.Addr, bool) {
	last := manifest.LastHost(p.subnet)
	for ; !last.Less(p.next); p.next = p.next.Next() {
		if !p.taken[p.next] {
			p.taken[p.next] = true
			return p.next, true
		}
	}
	return netip.Addr{}, false
}

// networks gives out addresses in the order of the reference: static ones,
// then gateways; interfaces() gives the automatic ones.
func (p *planner) networks() {
	for i, n := range p.manifest.Playground.Networks {
		subnet, _ := manifest.Subnet(n)
		p.plan.Networks = append(p.plan.Networks, Network{
			Name: n.Name, Bridge: fmt.Sprintf("br%d", i), Subnet: subnet, MAC: bridgeMAC(i), Private: n.Private,
		})
	}
}

// interfaces trusts the manifest: names exist, static addresses are inside
// their subnet and given once, and there is room.
func (p *planner) interfaces() {
	networks := p.plan.Networks
	known := make(map[string]int, len(networks))
	pools := make([]pool, len(networks))
	for i, n := range networks {
		known[n.Name] = i
		pools[i] = pool{subnet: n.Subnet, next: manifest.FirstHost(n.Subnet), taken: map[netip.Addr]bool{}}
	}
	machines := p.manifest.Playground.Machines
	for i := range machines {
		for j, nic := range machines[i].Network.Interfaces {
			if nic.Address != "" {
				pools[known[manifest.InterfaceNetwork(&machines[i], j)]].taken[static(nic.Address)] = true
			}
		}
	}
	// Gateways with an address of their own come before those without.
	for i, n := range p.manifest.Playground.Networks {
		if n.Gateway != "" {
			networks[i].Gateway, _ = netip.ParseAddr(n.Gateway)
			pools[i].taken[networks[i].Gateway] = true
		}
	}
	for i := range networks {
		if !networks[i].Gateway.IsValid() {
			networks[i].Gateway = p.take(&pools[i], i)
		}
	}
	taps := 0
	for i := range machines {
		machine := &p.plan.Machines[i]
		routed := false
		for j, nic := range machines[i].Network.Interfaces {
			n := known[manifest.InterfaceNetwork(&machines[i], j)]
			addr := static(nic.Address)
			if nic.Address == "" {
				addr = p.take(&pools[n], n)
			}
			out := Interface{
				Name:    fmt.Sprintf("eth%d", j),
				Network: networks[n].Name,
				Bridge:  networks[n].Bridge,
				Tap:     fmt.Sprintf("tap%d", taps),
				MAC:     interfaceMAC(n, i, j),
				Address: netip.PrefixFrom(addr, networks[n].Subnet.Bits()),
			}
			if !networks[n].Private && !routed {
				routed = true
				out.Gateway = networks[n].Gateway
			}
			taps++
			if j == 0 {
				machine.Nameserver = networks[n].Gateway
			}
			machine.Interfaces = append(machine.Interfaces, out)
		}
		p.names(machine)
	}
}

// names gives a machine its DNS names. The bare name has one answer for each
// interface, in list order: the asker takes the one on its own network.
func (p *planner) names(m *Machine) {
	for _, nic := range m.Interfaces {
		p.plan.Names = append(p.plan.Names, Name{Name: m.Name, Addr: nic.Address.Addr()})
	}
	for _, nic := range m.Interfaces {
		p.plan.Names = append(p.plan.Names, Name{Name: m.Name + "." + nic.Network, Addr: nic.Address.Addr()})
	}
}

func (p *planner) take(from *pool, network int) netip.Addr {
	addr, ok := from.free()
	if !ok {
		p.errorf(fmt.Sprintf("playground.networks[%d].subnet", network), "widen the mask", "no address is left in %s", from.subnet)
	}
	return addr
}

// static reads an address with or without mask.
func static(value string) netip.Addr {
	if addr, err := netip.ParseAddr(value); err == nil {
		return addr
	}
	prefix, _ := netip.ParsePrefix(value)
	return prefix.Addr()
}
