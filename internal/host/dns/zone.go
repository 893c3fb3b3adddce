// Package dns is the name server of a play: in go the names of its machines
// and sockets at its gateways, out come answers. What is not the play's is
// asked of the host's own resolvers, from the host's network, so that they may
// be anything that works there (127.0.0.53 included).
//
//	machine ──▶ socket at the gateway (in the play's namespace)
//	              │
//	              ├─ <machine>, <machine>.<network>, their addresses ──▶ Zone, at once
//	              └─ the rest ──▶ Upstreams, a bounded number at a time
//
// Everything that arrives here was written by a machine or by the internet.
package dns

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// ttl in seconds: names hold still for the life of a play, but a machine may
// outlive a restart of it.
const ttl = 60

// maxUDP is what fits every path without fragments (DNS flag day 2020).
const maxUDP = 1232

// Name is one name of the play, "<machine>" or "<machine>.<network>", in any
// case and without a trailing dot. A name may stand several times, with one
// address each.
type Name struct {
	Name string
	Addr netip.Addr
}

// Zone knows the play's names. It does not change; the zero Zone has none.
type Zone struct {
	addrs map[string][]netip.Addr // by lower-case name with a trailing dot
	// above holds the parents of names: they exist, but have no address.
	above   map[string]bool
	names   map[netip.Addr]string
	subnets []netip.Prefix
}

// NewZone takes the play's names and its subnets. Of an address with several
// names the reverse answer is the most specific, "<machine>.<network>".
// Addresses of the subnets that have no name are not asked of others.
func NewZone(names []Name, subnets []netip.Prefix) Zone {
	z := Zone{
		addrs: map[string][]netip.Addr{"localhost.": {netip.AddrFrom4([4]byte{127, 0, 0, 1})}},
		above: map[string]bool{}, names: map[netip.Addr]string{}, subnets: subnets,
	}
	for _, n := range names {
		key := dns.CanonicalName(n.Name)
		addr := n.Addr.Unmap()
		if _, ok := dns.IsDomainName(key); !ok || key == "." || !addr.Is4() {
			continue
		}
		z.addrs[key] = append(z.addrs[key], addr)
		for parent := after(key); parent != ""; parent = after(parent) {
			z.above[parent] = true
		}
		if have := z.names[addr]; have == "" || dns.CountLabel(key) > dns.CountLabel(have) {
			z.names[addr] = key
		}
	}
	return z
}

// with is a zone that has more names of one address. Unlike the names of
// machines they hide nothing: their parents are still asked of others, and the
// address has no other name for it. A machine's name goes before.
func (z Zone) with(names []string, addr netip.Addr) Zone {
	all := maps.Clone(z.addrs)
	if all == nil {
		all = map[string][]netip.Addr{}
	}
	for _, n := range names {
		key := dns.CanonicalName(n)
		if _, taken := all[key]; !taken && addr.Is4() {
			all[key] = []netip.Addr{addr}
		}
	}
	z.addrs = all
	return z
}

// after is the name without its first label; "" after the last.
func after(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// Answer returns the reply to a query, or nil if it is for others to answer.
// Pure.
//
//	query                              reply
//	A of one of the play's names       its address
//	other types of them                empty
//	another name of one label          NXDOMAIN: it was meant for the play
//	PTR of one of the play's addresses the name
//	PTR of others in its subnets       NXDOMAIN
//	not a query, not of class IN, …    the error code for it
//
// Types that only resolvers ask (DS, DNSKEY, NS, SOA) go to others even for
// one label: a validating resolver in a machine needs the truth about "com".
func (z Zone) Answer(q *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.Id, reply.Response, reply.Opcode = q.Id, true, q.Opcode
	reply.RecursionDesired, reply.CheckingDisabled, reply.RecursionAvailable = q.RecursionDesired, q.CheckingDisabled, true
	fail := func(rcode int) *dns.Msg { reply.Rcode = rcode; return reply }
	opt := q.IsEdns0()
	if opt != nil {
		reply.SetEdns0(maxUDP, opt.Do())
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return fail(dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return fail(dns.RcodeFormatError)
	}
	question := q.Question[0]
	reply.Question = q.Question
	switch {
	case opt != nil && opt.Version() != 0:
		return fail(dns.RcodeBadVers)
	case question.Qclass != dns.ClassINET && question.Qclass != dns.ClassANY:
		return fail(dns.RcodeRefused)
	case question.Qtype == dns.TypeAXFR || question.Qtype == dns.TypeIXFR:
		return fail(dns.RcodeRefused)
	}
	name := dns.CanonicalName(question.Name)
	// Owners are as asked, for resolvers that hide bits in the case of letters.
	header := func(rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: question.Name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
	}
	if addrs, ok := z.addrs[name]; ok {
		reply.Authoritative = true
		if question.Qtype == dns.TypeA || question.Qtype == dns.TypeANY {
			for _, a := range addrs {
				reply.Answer = append(reply.Answer, &dns.A{Hdr: header(dns.TypeA), A: a.AsSlice()})
			}
		}
		return reply
	}
	if z.above[name] {
		reply.Authoritative = true
		return reply
	}
	if addr, ok := reverse(name); ok {
		if target, ok := z.names[addr]; ok {
			reply.Authoritative = true
			if question.Qtype == dns.TypePTR || question.Qtype == dns.TypeANY {
				reply.Answer = append(reply.Answer, &dns.PTR{Hdr: header(dns.TypePTR), Ptr: target})
			}
			return reply
		}
		for _, subnet := range z.subnets {
			if subnet.Contains(addr) {
				reply.Authoritative = true
				return fail(dns.RcodeNameError)
			}
		}
		return nil
	}
	if dns.CountLabel(name) == 1 {
		switch question.Qtype {
		case dns.TypeDS, dns.TypeDNSKEY, dns.TypeNS, dns.TypeSOA:
			return nil
		}
		return fail(dns.RcodeNameError)
	}
	return nil
}

// nearFirst moves the addresses on the asker's network to the front, since
// many programs try the first one only: a router on two networks is reached
// from each without the other.
func (z Zone) nearFirst(answers []dns.RR, asker netip.Addr) {
	i := slices.IndexFunc(z.subnets, func(p netip.Prefix) bool { return p.Contains(asker) })
	if i < 0 {
		return
	}
	far := func(rr dns.RR) int {
		if a, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(a.A); ok && z.subnets[i].Contains(addr.Unmap()) {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(answers, func(a, b dns.RR) int { return far(a) - far(b) })
}

// reverse reads "4.3.2.1.in-addr.arpa." as 1.2.3.4.
func reverse(name string) (netip.Addr, bool) {
	digits, ok := strings.CutSuffix(name, ".in-addr.arpa.")
	if !ok {
		return netip.Addr{}, false
	}
	backwards, err := netip.ParseAddr(digits)
	if err != nil || !backwards.Is4() {
		return netip.Addr{}, false
	}
	b := backwards.As4()
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
}
