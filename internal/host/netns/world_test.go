package netns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sandlot/internal/labtest"
)

// world is a host of the test's own: a namespace with its own sysctls and
// rules, joined to another that plays the internet.
type world struct {
	*Manager
	t   *testing.T
	ids int
}

const internet = "203.0.113.2" // behind the host, 203.0.113.1

func newWorld(t *testing.T) *world {
	t.Helper()
	labtest.Require(t, labtest.Root)
	random := make([]byte, 2)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	instance := hex.EncodeToString(random)
	dir := t.TempDir()
	labtest.CheckLeaks(t, "sandlot-"+instance, "sl"+instance, dir)
	w := &world{t: t, Manager: &Manager{
		Table: "sandlot-" + instance, UplinkPrefix: "sl" + instance, NSPrefix: "sandlot-" + instance + "-",
		Dir: filepath.Join(dir, "netns"), Record: filepath.Join(dir, "run", "host.json"),
		Services: exampleServices,
	}}
	t.Cleanup(func() {
		if err := unix.Unmount(w.Dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for _, ns := range []string{"host", "internet"} {
		w.namespace(ns)
	}
	w.HostNS = w.Path("host")
	w.join("host", "wan", "203.0.113.1/24", "internet", "eth0", internet+"/24", "")
	// A metadata service as clouds have it: on the wire of the host.
	w.in("internet", func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return ensureExtra(link, "169.254.169.254/32")
	})
	w.in("host", func() error {
		link, err := netlink.LinkByName("wan")
		if err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: mustIPNet("169.254.169.254/32")})
	})
	// New namespaces inherit what the real host has, and a labd may run there.
	w.in("host", func() error { return setSysctls([]sysctl{{"net/ipv4/ip_forward", "0"}}) })
	if err := w.EnsureHost(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) namespace(name string) {
	w.t.Helper()
	if err := w.ensureNamespace(name); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.removeNamespace(name); err != nil {
			w.t.Error(err)
		}
	})
	w.in(name, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
}

func (w *world) in(ns string, f func() error) {
	w.t.Helper()
	if err := w.Do(ns, f); err != nil {
		w.t.Fatalf("in %s: %v", ns, err)
	}
}

func mustIPNet(s string) *net.IPNet {
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	n.IP = ip
	return n
}

func ensureExtra(link netlink.Link, addr string) error {
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: mustIPNet(addr)})
}

// join makes a veth between two namespaces; an empty address gives none, and
// gateway is the route of b.
func (w *world) join(a, aLink, aAddr, b, bLink, bAddr, gateway string) {
	w.t.Helper()
	peer, err := os.Open(w.Path(b))
	if err != nil {
		w.t.Fatal(err)
	}
	defer peer.Close()
	setUp := func(name, addr, gateway string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if addr != "" {
			if err := ensureExtra(link, addr); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if gateway != "" {
			return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: mustIPNet("0.0.0.0/0"), Gw: net.ParseIP(gateway)})
		}
		return nil
	}
	w.in(a, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = aLink
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: bLink, PeerNamespace: netlink.NsFd(peer.Fd())}); err != nil {
			return err
		}
		return setUp(aLink, aAddr, "")
	})
	w.in(b, func() error { return setUp(bLink, bAddr, gateway) })
}

// spec is a play with a public network br0, another br1 and a private one br2;
// the same subnets in every play.
func (w *world) spec(index int) Spec {
	base := netip.MustParseAddr("198.18.0.0").As4()
	binary.BigEndian.PutUint16(base[2:], uint16(2*index))
	host := netip.AddrFrom4(base)
	return Spec{
		NS:     fmt.Sprintf("%s%024x", w.NSPrefix, index+1),
		Uplink: Uplink{HostLink: fmt.Sprintf("%s%08x", w.UplinkPrefix, index+1), Host: netip.PrefixFrom(host, 31), Play: netip.PrefixFrom(host.Next(), 31)},
		Bridges: []Bridge{
			{Name: "br0", MAC: "02:00:00:00:01:01", Address: netip.MustParsePrefix("172.16.0.1/24")},
			{Name: "br1", MAC: "02:00:00:00:02:01", Address: netip.MustParsePrefix("172.16.1.1/24")},
			{Name: "br2", MAC: "02:00:00:00:03:01", Address: netip.MustParsePrefix("10.0.0.1/24"), Private: true},
		},
		Taps: []Tap{{Name: "m0e0", Bridge: "br0", UID: 12345}, {Name: "m0e1", Bridge: "br2", UID: 12345}},
	}
}

func (w *world) play(index int) Spec {
	w.t.Helper()
	s := w.spec(index)
	w.t.Cleanup(func() {
		if err := w.Delete(context.Background(), s.NS, s.Uplink.HostLink); err != nil {
			w.t.Error(err)
		}
	})
	if err := w.Ensure(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// machine is a namespace whose eth0 is plugged into a bridge, as a VMM's tap
// would be.
func (w *world) machine(s Spec, bridge, addr, gateway string) string {
	w.t.Helper()
	w.ids++
	name := fmt.Sprintf("machine%d", w.ids)
	w.namespace(name)
	w.plug(s, bridge, name, "eth0", addr, gateway)
	return name
}

func (w *world) plug(s Spec, bridge, machine, link, addr, gateway string) {
	w.t.Helper()
	w.ids++
	port := fmt.Sprintf("p%d", w.ids)
	w.join(s.NS, port, "", machine, link, addr, gateway)
	w.in(s.NS, func() error {
		br, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		p, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(p, br)
	})
}

// serve answers TCP connections with the address they come from.
func (w *world) serve(ns, addr string) {
	w.t.Helper()
	listener, err := w.ListenTCP(ns, netip.MustParseAddrPort(addr))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprint(conn, host)
			conn.Close()
		}
	}()
}

// answer connects from a namespace and reads what serve says; "" if nothing
// answers. A refused connection reached somebody, and says so.
func (w *world) answer(ns, addr string, patience time.Duration) string {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	conn, err := w.DialIn(ctx, ns, "tcp", netip.MustParseAddrPort(addr))
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		return ""
	}
	defer conn.Close()
	b := make([]byte, 64)
	n, _ := conn.Read(b)
	return string(b[:n])
}

// ping tells whether an echo request is answered in time.
func (w *world) ping(ns, addr string, patience time.Duration) bool {
	w.t.Helper()
	var conn net.PacketConn
	w.in(ns, func() (err error) {
		conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	defer conn.Close()
	msg := []byte{8, 0, 0, 0, 0x51, 0x07, 0, 1}
	binary.BigEndian.PutUint16(msg[2:], ^uint16(0x0800+0x5107+0x0001))
	if _, err := conn.WriteTo(msg, &net.IPAddr{IP: net.ParseIP(addr)}); err != nil {
		return false
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return false
		}
		if n >= 8 && b[0] == 0 && b[4] == 0x51 && from.String() == addr {
			return true
		}
	}
}

// announce broadcasts a gratuitous ARP request for addr from eth0, as
// keepalived does.
func (w *world) announce(ns string, addr netip.Addr) {
	w.t.Helper()
	w.in(ns, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		arp := uint16(unix.ETH_P_ARP)>>8 | uint16(unix.ETH_P_ARP&0xff)<<8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(arp))
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		mac, ip := link.Attrs().HardwareAddr, addr.As4()
		broadcast := net.HardwareAddr{255, 255, 255, 255, 255, 255}
		frame := append(append([]byte{}, broadcast...), mac...)
		frame = append(frame, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1)
		frame = append(append(frame, mac...), ip[:]...)
		frame = append(append(frame, broadcast...), ip[:]...)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: arp, Halen: 6})
	})
}
