package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func testZone() Zone {
	var names []Name
	for _, line := range []string{"web 172.16.0.2", "web.local 172.16.0.2", "Router 172.16.0.3", "router.local 172.16.0.3", "router.inner 10.0.0.1",
		"two 172.16.0.4", "two 172.16.0.5", "bad..name 172.16.0.9", "six 2001:db8::1"} {
		name, addr, _ := strings.Cut(line, " ")
		names = append(names, Name{name, netip.MustParseAddr(addr)})
	}
	return NewZone(names, []netip.Prefix{netip.MustParsePrefix("172.16.0.0/24"), netip.MustParsePrefix("10.0.0.0/24")})
}

func query(name, rrtype string) *dns.Msg {
	q := new(dns.Msg)
	q.Id, q.RecursionDesired = 7, true
	q.Question = []dns.Question{{Name: name, Qtype: dns.StringToType[rrtype], Qclass: dns.ClassINET}}
	return q
}

// brief writes a reply as "RCODE data data …".
func brief(m *dns.Msg) string {
	if m == nil {
		return "forward"
	}
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			words = append(words, rr.A.String())
		case *dns.PTR:
			words = append(words, rr.Ptr)
		default:
			words = append(words, fmt.Sprint(rr))
		}
	}
	return strings.Join(words, " ")
}

// TestNearFirst: the machine on the asker's network answers from there, in
// whatever order the manifest has its interfaces.
func TestNearFirst(t *testing.T) {
	var names []Name
	for _, addr := range []string{"10.0.0.10", "172.16.0.3", "172.16.0.4", "10.1.0.1"} {
		names = append(names, Name{"router", netip.MustParseAddr(addr)})
	}
	s := &Server{Zone: NewZone(names, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("172.16.0.0/24"), netip.MustParsePrefix("10.1.0.0/24")})}
	packet, err := query("router.", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"10.0.0.7":    "NOERROR 10.0.0.10 172.16.0.3 172.16.0.4 10.1.0.1",
		"172.16.0.7":  "NOERROR 172.16.0.3 172.16.0.4 10.0.0.10 10.1.0.1",
		"10.1.0.7":    "NOERROR 10.1.0.1 10.0.0.10 172.16.0.3 172.16.0.4",
		"192.168.0.1": "NOERROR 10.0.0.10 172.16.0.3 172.16.0.4 10.1.0.1",
	} {
		if _, reply := s.local(s.Zone, packet, netip.MustParseAddr(from)); brief(reply) != want {
			t.Errorf("asked from %s: %s, want %s", from, brief(reply), want)
		}
	}
}

func TestAnswer(t *testing.T) {
	z := testZone()
	for _, c := range []struct{ name, rrtype, want string }{
		{"web.", "A", "NOERROR 172.16.0.2"},
		{"WEB.", "A", "NOERROR 172.16.0.2"},
		{"web.local.", "A", "NOERROR 172.16.0.2"},
		{"wEb.LoCaL.", "A", "NOERROR 172.16.0.2"},
		{"router.", "A", "NOERROR 172.16.0.3"},
		{"router.inner.", "A", "NOERROR 10.0.0.1"},
		{"two.", "A", "NOERROR 172.16.0.4 172.16.0.5"},
		{"web.", "ANY", "NOERROR 172.16.0.2"},
		{"web.", "AAAA", "NOERROR"},
		{"web.local.", "AAAA", "NOERROR"},
		{"web.", "MX", "NOERROR"},
		{"web.", "HTTPS", "NOERROR"},
		{"web.", "DS", "NOERROR"},
		{"localhost.", "A", "NOERROR 127.0.0.1"},
		// A network's name exists, since names below it do.
		{"local.", "A", "NOERROR"},
		{"inner.", "SOA", "NOERROR"},
		// Meant for the play; nobody else hears of it.
		{"wbe.", "A", "NXDOMAIN"},
		{"wbe.", "AAAA", "NXDOMAIN"},
		{"six.", "A", "NXDOMAIN"},
		{"com.", "TXT", "NXDOMAIN"},
		{"com.", "DS", "forward"},
		{"com.", "NS", "forward"},
		{".", "NS", "forward"},
		{"example.com.", "A", "forward"},
		{"web.example.com.", "A", "forward"},
		{"www.web.", "A", "forward"},
		{"nobody.local.", "A", "forward"},
		{"2.0.16.172.in-addr.arpa.", "PTR", "NOERROR web.local."},
		{"2.0.16.172.IN-ADDR.ARPA.", "PTR", "NOERROR web.local."},
		{"1.0.0.10.in-addr.arpa.", "PTR", "NOERROR router.inner."},
		{"1.0.0.10.in-addr.arpa.", "A", "NOERROR"},
		{"77.0.16.172.in-addr.arpa.", "PTR", "NXDOMAIN"},
		{"8.8.8.8.in-addr.arpa.", "PTR", "forward"},
		{"0.16.172.in-addr.arpa.", "PTR", "forward"},
		{"x.0.16.172.in-addr.arpa.", "PTR", "forward"},
		{"300.0.16.172.in-addr.arpa.", "PTR", "forward"},
		{"web.", "AXFR", "REFUSED"},
		{"example.com.", "IXFR", "REFUSED"},
	} {
		reply := z.Answer(query(c.name, c.rrtype))
		if got := brief(reply); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.rrtype, got, c.want)
		}
		if reply == nil {
			continue
		}
		if reply.Id != 7 || !reply.Response || !reply.RecursionDesired || !reply.RecursionAvailable || len(reply.Question) != 1 {
			t.Errorf("%s %s: header %+v", c.name, c.rrtype, reply.MsgHdr)
		}
		for _, rr := range reply.Answer {
			if rr.Header().Name != c.name {
				t.Errorf("%s %s: the owner is %s", c.name, c.rrtype, rr.Header().Name)
			}
		}
	}
	if got := brief(Zone{}.Answer(query("web.", "A"))); got != "NXDOMAIN" {
		t.Errorf("the zero zone answers %s", got)
	}
}

func TestAnswerToOddQueries(t *testing.T) {
	z := testZone()
	for name, c := range map[string]struct {
		change func(*dns.Msg)
		want   int
	}{
		"an update":         {func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		"no question":       {func(q *dns.Msg) { q.Question = nil }, dns.RcodeFormatError},
		"two questions":     {func(q *dns.Msg) { q.Question = append(q.Question, q.Question...) }, dns.RcodeFormatError},
		"chaos":             {func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		"EDNS of version 1": {func(q *dns.Msg) { q.SetEdns0(1232, false); q.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		"EDNS":              {func(q *dns.Msg) { q.SetEdns0(4096, true) }, dns.RcodeSuccess},
	} {
		q := query("web.", "A")
		c.change(q)
		reply := z.Answer(q)
		if reply == nil || reply.Rcode != c.want {
			t.Errorf("%s: %v, want %s", name, reply, dns.RcodeToString[c.want])
			continue
		}
		if (q.IsEdns0() != nil) != (reply.IsEdns0() != nil) {
			t.Errorf("%s: EDNS in one of query and reply only", name)
		}
		if _, err := reply.Pack(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPacket: whatever a machine sends, the reply can be sent.
func FuzzPacket(f *testing.F) {
	for _, q := range []*dns.Msg{query("web.", "A"), query(".", "NS"), query("2.0.16.172.in-addr.arpa.", "PTR"), query("web.", "AXFR")} {
		q.SetEdns0(1232, true)
		data, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)-3])
	}
	f.Add([]byte{})
	// A name that points to itself.
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1})
	s := &Server{Zone: testZone()}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		// As local does, without its net.
		if err := m.Unpack(packet); err == nil {
			s.Zone.Answer(m)
		}
		q, reply := s.local(s.Zone, packet, netip.Addr{})
		if reply == nil {
			return
		}
		if q == nil {
			t.Fatal("a reply to nothing")
		}
		data, err := reply.Pack()
		if err != nil {
			t.Skip() // names the library reads but does not write
		}
		if len(data) > 4096+len(packet) {
			t.Errorf("%d bytes in reply to %d", len(data), len(packet))
		}
	})
}
