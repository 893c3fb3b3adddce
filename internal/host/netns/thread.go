package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

func (m *Manager) dir() string {
	if m.Dir == "" {
		return "/run/netns"
	}
	return m.Dir
}

// Path is the file that names a namespace, for setns(2) and for a VMM's Spec.
func (m *Manager) Path(ns string) string { return filepath.Join(m.dir(), filepath.Base(ns)) }

// Do calls f on a thread of its own inside the namespace. What f opens there
// (sockets, netlink) stays there; what f starts in other goroutines does not
// run there.
func (m *Manager) Do(ns string, f func() error) error {
	file, err := os.Open(m.Path(ns))
	if err != nil {
		return fmt.Errorf("cannot enter namespace %q: %w", ns, err)
	}
	defer file.Close()
	return within(file, f)
}

// onHost calls f where the host's links are.
func (m *Manager) onHost(f func() error) error {
	if m.HostNS == "" {
		return f()
	}
	file, err := os.Open(m.HostNS)
	if err != nil {
		return fmt.Errorf("cannot enter host namespace: %w", err)
	}
	defer file.Close()
	return within(file, f)
}

// within moves a thread into the namespace for the time of f. The thread ends
// with its goroutine unless it is surely back where it was.
func within(target *os.File, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		finished := false
		defer func() {
			if !finished {
				result <- errors.New("work in a namespace ended early")
			}
		}()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			finished = true
			result <- fmt.Errorf("cannot find own namespace: %w", err)
			runtime.UnlockOSThread()
			return
		}
		defer home.Close()
		if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
			finished = true
			result <- fmt.Errorf("cannot enter namespace %q: %w", target.Name(), err)
			runtime.UnlockOSThread()
			return
		}
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		finished = true
		result <- err
	}()
	return <-result
}

// isNamespace tells a mounted namespace from the empty file that a crash left.
func isNamespace(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return st.Type == unix.NSFS_MAGIC, nil
}

// ensureNamespace makes a namespace and keeps it by a mount at its path, as
// ip-netns(8) does, so that it can be looked into with iproute2's tools.
func (m *Manager) ensureNamespace(ns string) error {
	path := m.Path(ns)
	if ok, err := isNamespace(path); err != nil || ok {
		return err
	}
	if err := m.ensureDir(); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0)
	if err != nil {
		return err
	}
	file.Close()
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread that left the host's namespace ends here.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
			result <- fmt.Errorf("mount: %w", err)
			return
		}
		result <- nil
	}()
	return <-result
}

// ensureDir makes the folder of names a shared mount, as ip-netns(8) does
// before its first name, and under the same lock. If we did not, the first `ip
// netns add` on this host would mount the folder over itself, and the mounts
// of our namespaces below it could be removed by nobody any more.
func (m *Manager) ensureDir() error {
	if err := os.MkdirAll(m.dir(), 0o755); err != nil {
		return err
	}
	dir, err := os.Open(m.dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %q: %w", m.dir(), err)
	}
	share := func() error { return unix.Mount("", m.dir(), "none", unix.MS_SHARED|unix.MS_REC, "") }
	err = share()
	if !errors.Is(err, unix.EINVAL) { // EINVAL: no mount yet
		return err
	}
	entries, err := os.ReadDir(m.dir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		// Names that an older labd mounted: covering them is what must not be.
		if ok, err := isNamespace(filepath.Join(m.dir(), e.Name())); err != nil || ok {
			return err
		}
	}
	if err := unix.Mount(m.dir(), m.dir(), "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %q: %w", m.dir(), err)
	}
	return share()
}

// removeNamespace forgets the name; the namespace goes with its last process.
func (m *Manager) removeNamespace(ns string) error {
	path := m.Path(ns)
	for {
		// MNT_DETACH, since a process that merely looks at the file must not
		// keep the play from being removed.
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot unmount namespace %q: %w", ns, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove namespace %q: %w", ns, err)
	}
	return nil
}

// ListenUDP opens a socket in the namespace; it stays there.
func (m *Manager) ListenUDP(ns string, addr netip.AddrPort) (net.PacketConn, error) {
	var conn net.PacketConn
	err := m.Do(ns, func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on udp %s in namespace %q: %w", addr, ns, err)
	}
	return conn, nil
}

// ListenTCP opens a listener in the namespace; it stays there.
func (m *Manager) ListenTCP(ns string, addr netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	err := m.Do(ns, func() (err error) {
		listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on tcp %s in namespace %q: %w", addr, ns, err)
	}
	return listener, nil
}

// DialIn connects from inside the namespace, as its gateways would. Network is
// "tcp" or "udp".
func (m *Manager) DialIn(ctx context.Context, ns, network string, addr netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := m.Do(ns, func() (err error) {
		// A literal address is dialled on the calling thread.
		conn, err = new(net.Dialer).DialContext(ctx, network+"4", addr.String())
		return err
	})
	return conn, err
}
