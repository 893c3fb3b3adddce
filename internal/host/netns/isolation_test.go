package netns

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// sure is how long something that must work may take; nothing waits for it
// where all is well. silent is how long nothing must be heard where a packet
// is dropped: the same way takes less than a millisecond when it is open.
const (
	sure   = 20 * time.Second
	silent = 400 * time.Millisecond
)

// TestIsolation is the matrix of who reaches whom, with two plays of the same
// subnets side by side.
func TestIsolation(t *testing.T) {
	w := newWorld(t)
	one, two := w.play(0), w.play(1)
	m := map[string]string{
		"public":  w.machine(one, "br0", "172.16.0.2/24", "172.16.0.1"),
		"peer":    w.machine(one, "br0", "172.16.0.3/24", "172.16.0.1"),
		"second":  w.machine(one, "br1", "172.16.1.2/24", "172.16.1.1"),
		"private": w.machine(one, "br2", "10.0.0.2/24", "10.0.0.1"),
		"other":   w.machine(two, "br0", "172.16.0.2/24", "172.16.0.1"),
	}
	for _, ns := range m {
		w.serve(ns, "0.0.0.0:80")
	}
	for _, s := range []Spec{one, two} {
		for _, b := range s.Bridges {
			w.serve(s.NS, netip.AddrPortFrom(b.Address.Addr(), 53).String())
			w.serve(s.NS, netip.AddrPortFrom(b.Address.Addr(), 80).String())
			w.serve(s.NS, netip.AddrPortFrom(b.Address.Addr(), 443).String())
		}
		w.serve(s.NS, netip.AddrPortFrom(s.Uplink.Play.Addr(), 443).String())
		w.serve(s.NS, netip.AddrPortFrom(s.Uplink.Play.Addr(), 80).String())
	}
	w.serve("host", "0.0.0.0:80")
	w.serve("host", "0.0.0.0:53")
	w.serve("internet", "0.0.0.0:80")

	// Names go over UDP: one socket at the gateway, asked from the machine.
	names, err := w.ListenUDP(one.NS, netip.MustParseAddrPort("172.16.0.1:53"))
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	go func() {
		b := make([]byte, 64)
		if _, from, err := names.ReadFrom(b); err == nil {
			_, _ = names.WriteTo([]byte("answer"), from)
		}
	}()
	asked, err := w.DialIn(t.Context(), m["public"], "udp", netip.MustParseAddrPort("172.16.0.1:53"))
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	if err := asked.SetDeadline(time.Now().Add(sure)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if _, err := asked.Write([]byte("query")); err != nil {
		t.Fatal(err)
	}
	if n, err := asked.Read(b); err != nil || string(b[:n]) != "answer" {
		t.Errorf("public → gateway's name server over UDP: %q, %v", b[:n], err)
	}

	const ping = "ping "
	reach := []struct{ from, to, says string }{
		{"public", ping + "172.16.0.1", "yes"},
		{"public", "172.16.0.1:53", "172.16.0.2"},
		{"public", "172.16.0.3:80", "172.16.0.2"},
		// What it offers besides names.
		{"public", "172.16.0.1:443", "172.16.0.2"},
		{"private", "10.0.0.1:443", "10.0.0.2"},
		{"private", ping + "10.0.0.1", "yes"},
		{"private", "10.0.0.1:53", "10.0.0.2"},
		{"other", ping + "172.16.0.1", "yes"},
		// The internet sees the host's address, not the play's.
		{"public", "203.0.113.2:80", "203.0.113.1"},
		{"second", "203.0.113.2:80", "203.0.113.1"},
		{"other", "203.0.113.2:80", "203.0.113.1"},
		{"public", ping + "203.0.113.2", "yes"},
		// The host itself reaches all, so what does not answer below is kept
		// from answering.
		{"host", "203.0.113.2:80", "203.0.113.1"},
		{"host", "169.254.169.254:80", "203.0.113.1"},
	}
	for _, c := range reach {
		from := m[c.from]
		if from == "" {
			from = c.from
		}
		got := ""
		if to, ok := strings.CutPrefix(c.to, ping); ok {
			if w.ping(from, to, sure) {
				got = "yes"
			}
		} else {
			got = w.answer(from, c.to, sure)
		}
		if got != c.says {
			t.Errorf("%s → %s: %q, want %q", c.from, c.to, got, c.says)
		}
	}

	closed := []struct{ from, to string }{
		// Its own gateway, but not what it offers.
		{"public", "172.16.0.1:80"},
		{"private", "10.0.0.1:80"},
		// Gateways and machines of other networks.
		{"public", ping + "172.16.1.1"},
		{"public", "172.16.1.1:53"},
		{"public", ping + "10.0.0.1"},
		{"public", "10.0.0.1:53"},
		{"private", "172.16.0.1:53"},
		{"second", "172.16.0.1:53"},
		{"second", "172.16.0.1:443"},
		{"public", "10.0.0.1:443"},
		{"host", one.Uplink.Play.Addr().String() + ":443"},
		{"other", one.Uplink.Play.Addr().String() + ":443"},
		{"public", "172.16.1.2:80"},
		{"public", "10.0.0.2:80"},
		{"second", "172.16.0.2:80"},
		{"private", "172.16.0.2:80"},
		{"private", ping + "172.16.1.2"},
		// No internet from a private network.
		{"private", "203.0.113.2:80"},
		{"private", ping + "203.0.113.2"},
		// The namespace's own address on the uplink.
		{"public", one.Uplink.Play.Addr().String() + ":80"},
		{"private", one.Uplink.Play.Addr().String() + ":80"},
		// The host, whichever of its addresses.
		{"public", one.Uplink.Host.Addr().String() + ":80"},
		{"public", one.Uplink.Host.Addr().String() + ":53"},
		{"public", ping + one.Uplink.Host.Addr().String()},
		{"public", "203.0.113.1:80"},
		{"public", "203.0.113.1:53"},
		{"public", ping + "203.0.113.1"},
		{"private", "203.0.113.1:80"},
		// The other play.
		{"public", two.Uplink.Play.Addr().String() + ":80"},
		{"public", two.Uplink.Host.Addr().String() + ":80"},
		{"other", one.Uplink.Play.Addr().String() + ":80"},
		{one.NS, two.Uplink.Play.Addr().String() + ":80"},
		// The cloud's credentials.
		{"public", "169.254.169.254:80"},
		{"private", "169.254.169.254:80"},
		{one.NS, "169.254.169.254:80"},
	}
	var wait sync.WaitGroup
	for _, c := range closed {
		from := m[c.from]
		if from == "" {
			from = c.from
		}
		wait.Go(func() {
			if to, ok := strings.CutPrefix(c.to, ping); ok {
				if w.ping(from, to, silent) {
					t.Errorf("%s → %s: answered", c.from, c.to)
				}
			} else if got := w.answer(from, c.to, silent); got != "" {
				t.Errorf("%s → %s: %q, want silence", c.from, c.to, got)
			}
		})
	}
	wait.Wait()
}

// TestOneNetworkIsNotFiltered: addresses nobody declared, and machines that
// route, work as on a cable.
func TestOneNetworkIsNotFiltered(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	a := w.machine(s, "br2", "10.0.0.2/24", "")
	b := w.machine(s, "br2", "10.0.0.3/24", "")
	c := w.machine(s, "br2", "10.0.0.4/24", "")
	// Two machines in a subnet of their own on the same bridge.
	for ns, addr := range map[string]string{a: "192.0.2.1/24", b: "192.0.2.2/24"} {
		w.in(ns, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return ensureExtra(link, addr)
		})
	}
	w.serve(a, "0.0.0.0:80")
	if got := w.answer(b, "192.0.2.1:80", sure); got != "192.0.2.2" {
		t.Errorf("an undeclared address: %q, want 192.0.2.2", got)
	}

	// A floating address moves, told by a gratuitous ARP alone.
	floating := netip.MustParseAddr("10.0.0.100")
	move := func(ns string, f func(netlink.Link, *netlink.Addr) error) {
		w.in(ns, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return f(link, &netlink.Addr{IPNet: mustIPNet(floating.String() + "/32")})
		})
	}
	w.serve(b, "0.0.0.0:80")
	whoami := func(ns string) string {
		var name string
		w.in(ns, func() error {
			link, err := netlink.LinkByName("eth0")
			if err == nil {
				name = link.Attrs().HardwareAddr.String()
			}
			return err
		})
		return name
	}
	neighbour := func() (mac string) {
		w.in(c, func() error {
			list, err := netlink.NeighList(0, netlink.FAMILY_V4)
			for _, n := range list {
				if n.IP.String() == floating.String() {
					mac = n.HardwareAddr.String()
				}
			}
			return err
		})
		return mac
	}
	move(a, netlink.AddrAdd)
	if got := w.answer(c, "10.0.0.100:80", sure); got != "10.0.0.4" || neighbour() != whoami(a) {
		t.Fatalf("floating address at a: %q from %s, want 10.0.0.4 from %s", got, neighbour(), whoami(a))
	}
	move(a, netlink.AddrDel)
	move(b, netlink.AddrAdd)
	w.announce(b, floating)
	if got := w.answer(c, "10.0.0.100:80", sure); got != "10.0.0.4" || neighbour() != whoami(b) {
		t.Fatalf("floating address at b: %q from %s, want 10.0.0.4 from %s", got, neighbour(), whoami(b))
	}
}

// TestBridgeNetfilter: a host with br_netfilter loaded shows our rules frames
// within one network too; they pass.
func TestBridgeNetfilter(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	const path = "net/bridge/bridge-nf-call-iptables"
	err := w.Do(s.NS, func() error { return setSysctls([]sysctl{{path, "1"}}) })
	if err != nil {
		t.Fatal(err)
	}
	a := w.machine(s, "br2", "10.0.0.2/24", "")
	b := w.machine(s, "br2", "10.0.0.3/24", "")
	w.serve(a, "0.0.0.0:80")
	if got := w.answer(b, "10.0.0.2:80", sure); got != "10.0.0.3" {
		t.Errorf("within one network: %q, want 10.0.0.3", got)
	}
}

// TestRouter: a machine on two networks joins them, with and without address
// translation, and nothing takes a short cut past it.
func TestRouter(t *testing.T) {
	for bridge, net3 := range map[string]string{"br1": "172.16.1.", "br2": "10.0.0."} {
		t.Run(bridge, func(t *testing.T) { testRouter(t, bridge, net3) })
	}
}

func testRouter(t *testing.T, bridge, net3 string) {
	w := newWorld(t)
	s := w.play(0)
	router := w.machine(s, "br0", "172.16.0.2/24", "172.16.0.1")
	w.plug(s, bridge, router, "eth1", net3+"254/24", "")
	inner := w.machine(s, bridge, net3+"2/24", net3+"254")
	outer := w.machine(s, "br0", "172.16.0.3/24", "172.16.0.1")
	w.in(outer, func() error {
		return netlink.RouteReplace(&netlink.Route{Dst: mustIPNet(net3 + "0/24"), Gw: net.ParseIP("172.16.0.2")})
	})
	w.in(router, func() error { return setSysctls([]sysctl{{"net/ipv4/ip_forward", "1"}}) })
	w.serve(outer, "0.0.0.0:80")
	w.serve(inner, "0.0.0.0:80")
	w.serve("internet", "0.0.0.0:80")
	if got := w.answer(inner, "172.16.0.3:80", sure); got != net3+"2" {
		t.Errorf("inner → outer through the router: %q, want %s2", got, net3)
	}
	if got := w.answer(outer, net3+"2:80", sure); got != "172.16.0.3" {
		t.Errorf("outer → inner through the router: %q, want 172.16.0.3", got)
	}
	// The gateway would have to answer into the inner network itself.
	if got := w.answer(inner, internet+":80", silent); got != "" {
		t.Errorf("inner → internet without translation: %q, want silence", got)
	}
	w.in(router, func() error {
		return apply(Ruleset{Table: "nat", Chains: []Chain{{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: "srcnat",
			Rules: []Rule{{oif("eth0"), masquerade()}}}}})
	})
	if got := w.answer(inner, internet+":80", sure); got != "203.0.113.1" {
		t.Errorf("inner → internet with translation: %q, want 203.0.113.1", got)
	}
}

// TestHostJudgesForItself: a play whose own rules are gone is still kept from
// other plays, from the host, and from lending its address.
func TestHostJudgesForItself(t *testing.T) {
	w := newWorld(t)
	one, two := w.play(0), w.play(1)
	// Another instance of labd on the same host.
	other := &Manager{Table: w.Table + "-b", UplinkPrefix: "slb" + w.UplinkPrefix[2:], NSPrefix: w.NSPrefix,
		Record: w.Record, Dir: w.Dir, HostNS: w.HostNS}
	three := w.spec(2)
	three.Uplink.HostLink = other.UplinkPrefix + "0003"
	t.Cleanup(func() {
		if err := other.Delete(context.Background(), three.NS, three.Uplink.HostLink); err != nil {
			t.Error(err)
		}
	})
	if err := other.EnsureHost(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Ensure(t.Context(), three); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Spec{one, two, three} {
		w.in(s.NS, func() error { return apply(Ruleset{Table: playTable}) })
		w.serve(s.NS, "0.0.0.0:80")
	}
	w.serve("host", "0.0.0.0:80")
	w.serve("internet", "0.0.0.0:80")
	if got := w.answer(one.NS, internet+":80", sure); got != "203.0.113.1" {
		t.Fatalf("play → internet: %q, want 203.0.113.1", got)
	}
	w.in("internet", func() error {
		return netlink.RouteReplace(&netlink.Route{Dst: mustIPNet("198.18.0.0/15"), Gw: net.ParseIP("203.0.113.1")})
	})
	for _, c := range [][2]string{
		{one.NS, two.Uplink.Play.Addr().String()},
		{one.NS, three.Uplink.Play.Addr().String()},
		{three.NS, two.Uplink.Play.Addr().String()},
		{one.NS, one.Uplink.Host.Addr().String()},
		{one.NS, two.Uplink.Host.Addr().String()},
		{one.NS, "203.0.113.1"},
		{one.NS, "169.254.169.254"},
		// Nobody from outside, either.
		{"internet", one.Uplink.Play.Addr().String()},
	} {
		if got := w.answer(c[0], c[1]+":80", silent); got != "" {
			t.Errorf("%s → %s: %q, want silence", c[0], c[1], got)
		}
	}
	// A source that is not an uplink's does not pass, whatever answers it.
	w.in(one.NS, func() error {
		link, err := netlink.LinkByName(UplinkName)
		if err != nil {
			return err
		}
		if err := ensureExtra(link, "192.0.2.7/32"); err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: mustIPNet("203.0.113.2/32"),
			Gw: net.ParseIP(one.Uplink.Host.Addr().String()), Src: net.ParseIP("192.0.2.7")})
	})
	w.in("host", func() error {
		link, err := netlink.LinkByName(one.Uplink.HostLink)
		if err != nil {
			return err
		}
		if err := setSysctls([]sysctl{{"net/ipv4/conf/all/rp_filter", "0"}}); err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: mustIPNet("192.0.2.7/32"), Scope: netlink.SCOPE_LINK})
	})
	w.in("internet", func() error {
		return netlink.RouteReplace(&netlink.Route{Dst: mustIPNet("192.0.2.7/32"), Gw: net.ParseIP("203.0.113.1")})
	})
	if got := w.answer(one.NS, internet+":80", silent); got != "" {
		t.Errorf("a spoofed source passed: %q", got)
	}
}

// TestPublishedPort: a port that the host translates to an inner one, as
// Docker publishes a container's, is the host's own service.
func TestPublishedPort(t *testing.T) {
	w := newWorld(t)
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft to play Docker")
	}
	s := w.play(0)
	machine := w.machine(s, "br0", "172.16.0.2/24", "172.16.0.1")
	w.serve("internet", "0.0.0.0:80")
	w.in("host", func() error {
		cmd := exec.Command(nft, "add table ip docker; "+
			"add chain ip docker pre { type nat hook prerouting priority dstnat; }; "+
			"add rule ip docker pre ip daddr 203.0.113.1 tcp dport 8080 dnat to 203.0.113.2:80")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	})
	if got := w.answer(machine, "203.0.113.1:8080", silent); got != "" {
		t.Errorf("machine → published port: %q, want silence", got)
	}
}

// TestKernelHasTheText lists the rules with nft and finds them as rendered:
// the golden files show what the kernel does.
func TestKernelHasTheText(t *testing.T) {
	w := newWorld(t)
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft to read the rules back")
	}
	for _, rules := range []Ruleset{PlayRules(exampleBridges, exampleServices), HostRules("sandlot-1a2b", "sl1a2b")} {
		w.in("internet", func() error {
			for range 2 { // the second replaces the first
				if err := apply(rules); err != nil {
					return err
				}
			}
			out, err := exec.Command(nft, "list", "table", "inet", rules.Table).Output()
			if got, want := string(out), rules.String(); got != want {
				t.Errorf("the kernel has\n%s\nwant\n%s", got, want)
			}
			return err
		})
	}
}

// TestEmptiedHost: whoever flushes the host's rules opens it to the plays
// until EnsureHost runs again.
func TestEmptiedHost(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	machine := w.machine(s, "br0", "172.16.0.2/24", "172.16.0.1")
	w.serve("host", "0.0.0.0:80")
	w.in("host", func() error { return apply(Ruleset{Table: w.Table}) })
	if got := w.answer(machine, "203.0.113.1:80", sure); got == "" {
		t.Error("without rules the host does not answer: the test proves nothing")
	}
	if err := w.EnsureHost(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.answer(machine, "203.0.113.1:80", silent); got != "" {
		t.Errorf("machine → host: %q, want silence", got)
	}
}
