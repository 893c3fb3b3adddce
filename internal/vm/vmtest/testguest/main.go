//go:build linux

// Command testguest is the first process of the contract suite's guest: a
// static binary in an initramfs with a few kernel modules. It loads them,
// prints the marker line of a boot, and serves package talk on the agent's
// virtio-serial port.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
	"sandlot/internal/vm/vmtest/talk"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("testguest:", err)
	}
	// The first process must not return: the kernel would panic.
	leave(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func leave(command int) {
	unix.Sync()
	if err := unix.Reboot(command); err != nil {
		fmt.Println("testguest: reboot:", err)
	}
	select {}
}

func run() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		os.MkdirAll(m.at, 0o755)
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	g := guest{bootID: strings.TrimSpace(string(bootID))}
	fmt.Println("labinit: boot", g.bootID)
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	// The KVM probe wants no more than a sign of life.
	if slices.Contains(strings.Fields(string(cmdline)), "testguest.probe") {
		return nil
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, path := range modules {
		if err := load(path); err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	port, err := agentPort()
	if err != nil {
		return err
	}
	fmt.Println("testguest: ready")
	return serve(port, g)
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// agentPort waits for the port: the host's side of the control channel names
// it some milliseconds after the driver is loaded.
func agentPort() (string, error) {
	for range 500 {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return "", err
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err == nil && strings.TrimSpace(string(text)) == wire.PortName {
				return filepath.Join("/dev", filepath.Base(filepath.Dir(name))), nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", fmt.Errorf("no virtio-serial port called %s", wire.PortName)
}

func serve(port string, g guest) error {
	f, err := os.OpenFile(port, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for {
		if err := talk.Serve(f, g); err != nil {
			fmt.Println("testguest: talk:", err)
		}
		// Reading gives end of file as long as the host is not connected.
		time.Sleep(10 * time.Millisecond)
	}
}

type guest struct{ bootID string }

func (g guest) BootID() string { return g.bootID }

func (guest) Drives() ([]string, error) {
	var labels []string
	for letter := 'a'; letter <= 'z'; letter++ {
		f, err := os.Open("/dev/vd" + string(letter))
		if os.IsNotExist(err) {
			break
		} else if err != nil {
			return nil, err
		}
		head := make([]byte, 64)
		_, err = io.ReadFull(f, head)
		f.Close()
		if err != nil {
			return nil, err
		}
		label, _, _ := bytes.Cut(head, []byte{0})
		labels = append(labels, string(label))
	}
	return labels, nil
}

func (guest) NICs() ([]string, error) {
	paths, err := filepath.Glob("/sys/bus/pci/devices/*/virtio*/net/*/address")
	if err != nil {
		return nil, err
	}
	// The glob sorts by PCI address.
	var macs []string
	for _, path := range paths {
		mac, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		macs = append(macs, strings.TrimSpace(string(mac)))
	}
	return macs, nil
}

func (guest) Address(mac, prefix string) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().HardwareAddr.String() == mac })
	if at < 0 {
		return fmt.Errorf("no interface has MAC %s", mac)
	}
	addr, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(links[at], addr); err != nil {
		return err
	}
	return netlink.LinkSetUp(links[at])
}

func (guest) Ping(address string) error {
	to, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	defer conn.Close()
	// Echo request, identifier 0x534c, sequence 1; the checksum of these
	// eight bytes is their complemented one's-complement sum.
	request := []byte{8, 0, 0, 0, 0x53, 0x4c, 0, 1}
	sum := 0xffff ^ (0x0800 + 0x534c + 1)
	request[2], request[3] = byte(sum>>8), byte(sum)
	answer := make([]byte, 1500)
	for range 50 {
		if _, err := conn.WriteTo(request, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, _, err := conn.ReadFrom(answer)
			if err != nil {
				break
			}
			if n >= 8 && answer[0] == 0 && bytes.Equal(answer[4:8], request[4:8]) {
				return nil
			}
		}
	}
	return fmt.Errorf("no answer from %s", address)
}

func (guest) Print(n int) error {
	line := append(bytes.Repeat([]byte("."), 79), '\n')
	for ; n > 0; n -= len(line) {
		if _, err := os.Stdout.Write(line[:min(n, len(line))]); err != nil {
			return err
		}
	}
	return nil
}

func (guest) Leave(how string) error {
	switch how {
	case "reboot":
		go leave(unix.LINUX_REBOOT_CMD_RESTART)
	case "poweroff":
		go leave(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case "panic":
		go os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	default:
		return fmt.Errorf("cannot leave by %q", how)
	}
	return nil
}
