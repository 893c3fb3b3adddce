package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestConnectionsAreBounded: one machine cannot fill the host's table of
// connections, which everybody's need an entry in.
func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	machine := w.machine(s, "br0", "172.16.0.2/24", "172.16.0.1")
	var conn *net.UDPConn
	w.in(machine, func() (err error) {
		conn, err = net.ListenUDP("udp4", nil)
		return err
	})
	defer conn.Close()
	for port := range uint16(4 * maxOpen) {
		to := netip.AddrPortFrom(netip.MustParseAddr(internet), 1024+port)
		if _, err := conn.WriteToUDPAddrPort([]byte("x"), to); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	w.in("host", func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		if n < maxBurst/2 || n > maxOpen+100 {
			t.Errorf("%d connections stand in the host's table; want at most %d, and those", n, maxOpen)
		}
		return err
	})
}

// TestMACsAreBounded: a machine that invents senders fills no memory of the
// host, and its network goes on.
func TestMACsAreBounded(t *testing.T) {
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(kernel.Release[:]), "%d.%d", &major, &minor)
	if major < 6 || major == 6 && minor < 8 {
		t.Skip("bridges of kernels before 6.8 have no bound")
	}
	w := newWorld(t)
	s := w.play(0)
	a := w.machine(s, "br2", "10.0.0.2/24", "")
	w.in(a, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		frame := make([]byte, 60)
		frame[0], frame[6], frame[12], frame[13] = 2, 2, 0x88, 0xb5 // an experimental protocol
		for i := range uint32(2 * maxMACs) {
			binary.BigEndian.PutUint32(frame[8:], i)
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Halen: 6}); err != nil {
				return err
			}
		}
		return nil
	})
	w.in(s.NS, func() error {
		learned, err := netlink.NeighList(0, unix.AF_BRIDGE)
		if n := len(learned); n < maxMACs || n > maxMACs+100 {
			t.Errorf("the bridges know %d MACs, want %d and their own", n, maxMACs)
		}
		return err
	})
	b := w.machine(s, "br2", "10.0.0.3/24", "")
	w.serve(b, "0.0.0.0:80")
	if got := w.answer(a, "10.0.0.3:80", sure); got != "10.0.0.2" {
		t.Errorf("a machine whose MAC is not learned: %q, want 10.0.0.2", got)
	}
}
