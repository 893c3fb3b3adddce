package manifest

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
)

const networksPath = "playground.networks"

// reserved ranges cannot be a play's network: machines or the host need them.
var reserved = []struct {
	prefix netip.Prefix
	use    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "means this host"},
	{netip.MustParsePrefix("127.0.0.0/8"), "is the loopback of every machine"},
	{netip.MustParsePrefix("169.254.0.0/16"), "is link-local"},
	{netip.MustParsePrefix("198.18.0.0/15"), "carries the traffic between plays and the host"},
	{netip.MustParsePrefix("224.0.0.0/3"), "is multicast or reserved"},
}

func (c *checker) networks() {
	networks := c.m.Playground.Networks
	if (networks == nil && c.mode == Update) || (len(networks) == 0 && c.mode == Effective) {
		c.missing(networksPath, fmt.Sprintf(`write "networks: [{name: %s, subnet: %s}]"`, DefaultNetwork, DefaultSubnet))
	}
	if len(networks) > MaxNetworks {
		c.errorf(index(networksPath, MaxNetworks), fmt.Sprintf("a play has at most %d", MaxNetworks), "%d networks", len(networks))
		networks = networks[:MaxNetworks] // each is compared with each
	}
	first := map[string]int{}
	subnets := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		at := index(networksPath, i)
		name := join(at, "name")
		if c.hostname(name, n.Name, "a network name") {
			if before, ok := first[n.Name]; ok {
				c.errorf(name, "give each network its own", "%q is also the name of %s", n.Name, index(networksPath, before))
			} else {
				first[n.Name] = i
			}
		}
		subnets[i] = c.subnet(join(at, "subnet"), n.Subnet)
		if !subnets[i].IsValid() {
			continue
		}
		for j := range i {
			if subnets[j].IsValid() && subnets[i].Overlaps(subnets[j]) {
				c.errorf(join(at, "subnet"), "choose subnets that share no address", "%s of network %q overlaps %s of network %q",
					subnets[i], n.Name, subnets[j], networks[j].Name)
			}
		}
		if n.Gateway != "" {
			c.gateway(join(at, "gateway"), n, subnets[i])
		}
	}
}

// subnet returns the masked prefix, or the zero one after reporting why not.
func (c *checker) subnet(at, value string) netip.Prefix {
	if value == "" {
		c.missing(at, fmt.Sprintf("write an IPv4 subnet, like %q", DefaultSubnet))
		return netip.Prefix{}
	}
	prefix, err := netip.ParsePrefix(value)
	switch {
	case err != nil:
		fix := fmt.Sprintf("write it like %q", DefaultSubnet)
		if addr, err := netip.ParseAddr(value); err == nil && addr.Is4() {
			fix = fmt.Sprintf("write the mask too, as %q", netip.PrefixFrom(addr, 24).Masked())
		}
		c.errorf(at, fix, "%q is not an IPv4 subnet", short(value))
		return netip.Prefix{}
	case !prefix.Addr().Is4():
		c.errorf(at, fmt.Sprintf("write an IPv4 subnet, like %q", DefaultSubnet), "%q is not IPv4", short(value))
		return netip.Prefix{}
	case prefix.Bits() < 8:
		c.errorf(at, "write /8 to /31", "%q is too big a subnet", value)
		return netip.Prefix{}
	}
	for _, r := range reserved {
		if r.prefix.Overlaps(prefix) {
			c.errorf(at, fmt.Sprintf("write a private range, like %q", DefaultSubnet), "%s %s", r.prefix, r.use)
			return netip.Prefix{}
		}
	}
	if masked := prefix.Masked(); masked != prefix {
		c.warnf(at, fmt.Sprintf("write %q", masked), "%q is an address in a subnet; the subnet is taken", value)
		return masked
	}
	return prefix
}

func (c *checker) gateway(at string, n Network, subnet netip.Prefix) {
	addr, err := netip.ParseAddr(n.Gateway)
	if err != nil {
		fix := fmt.Sprintf("write it like %q", FirstHost(subnet))
		if prefix, err := netip.ParsePrefix(n.Gateway); err == nil {
			fix = fmt.Sprintf("write %q, without the mask", prefix.Addr())
		}
		c.errorf(at, fix, "%q is not a plain IPv4 address", short(n.Gateway))
		return
	}
	c.usable(at, addr, subnet, n.Name)
}

// usable checks that a machine or bridge can have addr in subnet.
func (c *checker) usable(at string, addr netip.Addr, subnet netip.Prefix, network string) bool {
	host := fmt.Sprintf("write one between %s and %s", FirstHost(subnet), LastHost(subnet))
	switch {
	case !subnet.Contains(addr):
		c.errorf(at, host, "%s is outside %s of network %q", addr, subnet, network)
	case addr.Less(FirstHost(subnet)):
		c.errorf(at, host, "%s is the address of network %q itself", addr, network)
	case LastHost(subnet).Less(addr):
		c.errorf(at, host, "%s is the broadcast address of network %q", addr, network)
	default:
		return true
	}
	return false
}

// FirstHost is the first address of an IPv4 subnet that a host can have.
// Subnets of /31 have no network and no broadcast address (RFC 3021).
func FirstHost(subnet netip.Prefix) netip.Addr {
	if subnet.Bits() >= 31 {
		return subnet.Addr()
	}
	return subnet.Addr().Next()
}

// LastHost is the last address of an IPv4 subnet that a host can have.
func LastHost(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Addr().As4()
	for i := subnet.Bits(); i < 32; i++ {
		bytes[i/8] |= 1 << (7 - i%8)
	}
	last := netip.AddrFrom4(bytes)
	if subnet.Bits() >= 31 {
		return last
	}
	return last.Prev()
}

// hosts is the number of addresses a subnet has for hosts.
func hosts(subnet netip.Prefix) int {
	if subnet.Bits() >= 31 {
		return 1 << (32 - subnet.Bits())
	}
	return 1<<min(32-subnet.Bits(), bits.UintSize-2) - 2
}

func (c *checker) interfaces(m *Machine, at string) {
	switch n := len(m.Network.Interfaces); {
	case n == 0:
		network := DefaultNetwork
		if len(c.m.Playground.Networks) > 0 && c.m.Playground.Networks[0].Name != "" {
			network = c.m.Playground.Networks[0].Name
		}
		c.missing(at, fmt.Sprintf(`write "network: {interfaces: [{network: %s}]}"`, network))
	case n > MaxInterfaces:
		c.errorf(index(at, MaxInterfaces), fmt.Sprintf("a machine has at most %d", MaxInterfaces), "%d interfaces", n)
	case m.Network.Interfaces[0].Network == "":
		c.missing(join(index(at, 0), "network"), "name the network of the first interface")
	}
}

// holder is who has an address: for messages that name both parties.
type holder struct {
	path, who string
}

// addresses checks interfaces against networks: known names, addresses inside
// their subnet and given once, room for the automatic ones.
func (c *checker) addresses() {
	networks := c.m.Playground.Networks
	if len(networks) == 0 {
		return // the base's; Inherit checks
	}
	names := make([]string, len(networks))
	known := make(map[string]int, len(networks))
	subnets := make([]netip.Prefix, len(networks))
	taken := make([]map[netip.Addr]holder, len(networks))
	need := make([]int, len(networks)) // interfaces
	for i, n := range networks {
		names[i] = n.Name
		if _, ok := known[n.Name]; !ok {
			known[n.Name] = i
		}
		subnets[i], _ = Subnet(n)
		taken[i] = map[netip.Addr]holder{}
		if gateway, err := netip.ParseAddr(n.Gateway); err == nil {
			taken[i][gateway] = holder{join(index(networksPath, i), "gateway"), fmt.Sprintf("the gateway of network %q", n.Name)}
		}
	}
	for i := range c.m.Playground.Machines {
		m := &c.m.Playground.Machines[i]
		for j, nic := range m.Network.Interfaces {
			at := index(index(machinesPath, i)+".network.interfaces", j)
			name := InterfaceNetwork(m, j)
			if name == "" {
				continue
			}
			n, ok := known[name]
			if !ok {
				fix := "networks here are " + strings.Join(names, ", ")
				if near := nearest(name, names); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
				if len(names) == 0 {
					fix = `define it under "networks:"`
				}
				c.errorf(join(at, "network"), fix, "there is no network %q", short(name))
				continue
			}
			need[n]++
			if nic.Address == "" || !subnets[n].IsValid() {
				continue
			}
			addr, ok := c.address(join(at, "address"), nic.Address, subnets[n], name)
			if !ok {
				continue
			}
			me := holder{join(at, "address"), fmt.Sprintf("interface eth%d of machine %q", j, m.Name)}
			if other, dup := taken[n][addr]; dup {
				c.errorf(me.path, "give one of them another", "%s is taken twice: by %s and by %s", addr, me.who, other.who)
				continue
			}
			taken[n][addr] = me
		}
	}
	for i, n := range networks {
		if !subnets[i].IsValid() {
			continue
		}
		if room := hosts(subnets[i]); need[i]+1 > room {
			c.errorf(join(index(networksPath, i), "subnet"), "widen the mask", "%s of network %q has room for %d; its gateway and %s of machines need %d",
				subnets[i], n.Name, room, plural(need[i], "interface"), need[i]+1)
		}
	}
}

// address reads a static address with or without mask.
func (c *checker) address(at, value string, subnet netip.Prefix, network string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(value)
	if err != nil {
		prefix, err := netip.ParsePrefix(value)
		if err != nil || !prefix.Addr().Is4() {
			c.errorf(at, fmt.Sprintf("write it like %q", netip.PrefixFrom(LastHost(subnet), subnet.Bits())), "%q is not an IPv4 address", short(value))
			return netip.Addr{}, false
		}
		addr = prefix.Addr()
		if prefix.Bits() != subnet.Bits() && subnet.Contains(addr) {
			c.errorf(at, fmt.Sprintf("write %q", netip.PrefixFrom(addr, subnet.Bits())), "the mask /%d is not that of network %q, %s", prefix.Bits(), network, subnet)
			return netip.Addr{}, false
		}
	}
	return addr, c.usable(at, addr, subnet, network)
}

// Subnet is the masked subnet of a network; false if it is not IPv4.
func Subnet(n Network) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(n.Subnet)
	if err != nil || !prefix.Addr().Is4() {
		return netip.Prefix{}, false
	}
	return prefix.Masked(), true
}

// InterfaceNetwork is the name of the network interface i of a machine is on:
// its own, or else that of the first interface.
func InterfaceNetwork(m *Machine, i int) string {
	if name := m.Network.Interfaces[i].Network; name != "" {
		return name
	}
	return m.Network.Interfaces[0].Network
}
