package netns

import "net/netip"

// Bounds on a play's connections to the outside. Each is remembered by the
// host, too, in a table that all plays and the host itself share (262,144
// entries where memory is plenty), and whose size no namespace can have of its
// own. A closed connection stays there for two minutes: 34,000 are the most
// that one play can take. The rate comes first, since counting is work.
const (
	maxOpen      = 4096
	maxPerSecond = 250
	maxBurst     = 2000
)

// playTable is the table in every play's namespace.
const playTable = "play"

// PlayRules are the rules inside a play's namespace: what machines may ask of
// their gateway, and which networks reach the uplink. Pure.
//
// A connection remembers by its mark which network it came from, and answers
// go back there only. Without it, a router between two networks that forwards
// but does not translate addresses would send a packet out through one network
// and the gateway would deliver the answer straight into the other: traffic
// between networks that bypasses the machines on both.
func PlayRules(bridges []Bridge, services []Service) Ruleset {
	input := []Rule{
		{iif("lo"), accept()},
		{established(), accept()},
	}
	// Where br_netfilter is loaded, and asks for it, frames between ports of
	// one bridge come through here too; they are not ours to judge.
	var forward []Rule
	for _, b := range bridges {
		forward = append(forward, Rule{iif(b.Name), oif(b.Name), accept()})
		self := netip.PrefixFrom(b.Address.Addr(), 32)
		input = append(input,
			Rule{iif(b.Name), daddr(self), dport("udp", 53), accept()},
			Rule{iif(b.Name), daddr(self), dport("tcp", 53), accept()},
			Rule{iif(b.Name), daddr(self), echoRequest(), accept()})
		for _, s := range services {
			input = append(input, Rule{iif(b.Name), daddr(self), dport(s.Proto, s.Port), accept()})
		}
	}
	forward = append(forward,
		Rule{daddr(linkLocal), drop()},
		// NAT leaves such packets as they are, and they would leave with a
		// machine's own address.
		Rule{invalid(), drop()},
		Rule{oif(UplinkName), isNew(), newOver(maxPerSecond, maxBurst), drop()},
		Rule{oif(UplinkName), isNew(), countOver(maxOpen), drop()})
	for i, b := range bridges {
		if b.Private {
			continue
		}
		mark := uint32(i + 1)
		forward = append(forward,
			Rule{iif(b.Name), oif(UplinkName), isNew(), setMark(mark), accept()},
			Rule{iif(b.Name), oif(UplinkName), established(), ctMark(mark), accept()},
			Rule{iif(UplinkName), oif(b.Name), established(), ctMark(mark), accept()})
	}
	return Ruleset{Table: playTable, Chains: []Chain{
		{Name: "input", Type: "filter", Hook: "input", Priority: "filter", Drop: true, Rules: input},
		{Name: "forward", Type: "filter", Hook: "forward", Priority: "filter", Drop: true, Rules: forward},
		{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: "srcnat",
			Rules: []Rule{{oif(UplinkName), masquerade()}}},
	}}
}

// HostRules are the rules on the host for all plays of one instance, told by
// the prefix of their links. Pure.
//
// An accept here cannot override a drop in another table: on a host whose
// forwarding policy is drop (Docker, firewalld), plays have no internet until
// the administrator allows it there.
func HostRules(table, uplinkPrefix string) Ruleset {
	plays := uplinkPrefix + "*"
	return Ruleset{Table: table, Chains: []Chain{
		// Before the host's own address translation: a port that Docker
		// publishes is a service of the host although its packets are
		// forwarded, not received.
		{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: "mangle", Rules: []Rule{
			{iif(plays), ipv6(), drop()},
			{iif(plays), saddrNot(UplinkPool), drop()},
			{iif(plays), daddr(linkLocal), drop()},
			{iif(plays), toSelf(), established(), accept()},
			{iif(plays), toSelf(), drop()},
		}},
		{Name: "input", Type: "filter", Hook: "input", Priority: "filter", Rules: []Rule{
			{iif(plays), established(), accept()},
			{iif(plays), drop()},
		}},
		{Name: "forward", Type: "filter", Hook: "forward", Priority: "filter", Rules: []Rule{
			// Whatever instance the other play belongs to.
			{iif(plays), oif(plays), drop()},
			{iif(plays), daddr(UplinkPool), drop()},
			{iif(plays), daddr(linkLocal), drop()},
			{iif(plays), invalid(), drop()},
			{iif(plays), accept()},
			{oif(plays), established(), accept()},
			{oif(plays), drop()},
		}},
		{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: "srcnat", Rules: []Rule{
			{saddr(UplinkPool), oifNot(plays), masquerade()},
		}},
	}}
}
