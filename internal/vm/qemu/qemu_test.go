//go:build linux

package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sandlot/internal/labtest"
	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
	"sandlot/internal/vm/vmtest"
	"sandlot/internal/vm/vmtest/talk"
)

const (
	// limit bounds one wait: a tiny guest boots in 3 s under TCG on an idle
	// machine.
	limit      = 2 * time.Minute
	testCgroup = "sandlot-qemutest"
	testUID    = 65534
)

// world is what the machines of one test share: a namespace with a bridge, an
// initramfs, a cgroup. It is gone after the test, and the test fails if
// something is left.
type world struct {
	options   Options
	netns     string
	kernel    vm.Kernel
	initramfs string
}

func newWorld(t *testing.T, options Options) *world {
	t.Helper()
	labtest.Require(t, labtest.Root, labtest.VM)
	w := &world{options: options, kernel: vmtest.Kernel(t), initramfs: testInitramfs(t)}
	// Not below /run/netns: whoever uses "ip netns" meanwhile binds that onto
	// itself, and what was mounted in it can no longer be removed.
	w.netns = filepath.Join(t.TempDir(), "netns")
	if err := os.WriteFile(w.netns, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inNetNS(t, "/proc/self/ns/net", func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), w.netns, "", unix.MS_BIND, "")
	})
	t.Cleanup(func() {
		if err := unix.Unmount(w.netns, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		if left, err := (&launch.Cgroups{}).List(testCgroup); err != nil || len(left) > 0 {
			t.Errorf("cgroups are left: %v, %v", left, err)
		}
		if err := (&launch.Cgroups{}).RemoveParent(testCgroup); err != nil {
			t.Error(err)
		}
		if left, err := (launch.Launcher{}).List(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("processes are left: %v, %v", left, err)
		}
	})
	inNetNS(t, w.netns, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	})
	return w
}

// inNetNS runs f on a thread of its own, in the namespace at path; whatever f
// does to the thread's namespace ends with it.
func inNetNS(t *testing.T, path string, f func() error) {
	t.Helper()
	if err := launch.InNetNS(path, f); err != nil {
		t.Fatal(err)
	}
}

var sharedInitramfs string

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedInitramfs != "" {
		os.Remove(sharedInitramfs)
	}
	os.Exit(code)
}

// testInitramfs is built once for all tests of the package.
func testInitramfs(t *testing.T) string {
	t.Helper()
	if sharedInitramfs == "" {
		f, err := os.CreateTemp("", "testguest-*.initramfs")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		vmtest.Initramfs(t, f.Name())
		if err := os.Chmod(f.Name(), 0o644); err != nil {
			t.Fatal(err)
		}
		sharedInitramfs = f.Name()
	}
	return sharedInitramfs
}

// spec completes a Spec: one tap on the bridge for each NIC.
func (w *world) spec(t *testing.T, spec vm.Spec) vm.Spec {
	t.Helper()
	spec.UID, spec.GID, spec.NetNS, spec.Cgroup = testUID, testUID, w.netns, testCgroup
	spec.Kernel, spec.Initramfs, spec.Cmdline = w.kernel, w.initramfs, "quiet mitigations=off cryptomgr.notests panic=-1"
	for _, drive := range spec.Drives {
		// t.TempDir is for its owner alone.
		for dir := drive.Path; dir != os.TempDir(); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(drive.Path, testUID, testUID); err != nil {
			t.Fatal(err)
		}
	}
	inNetNS(t, w.netns, func() error {
		bridge, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		for i := range spec.NICs {
			nic := &spec.NICs[i]
			nic.Tap = fmt.Sprintf("%s-%d", spec.Name, i)
			tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: nic.Tap}, Mode: netlink.TUNTAP_MODE_TAP}
			if err := netlink.LinkAdd(tap); err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(tap, bridge); err != nil {
				return err
			}
			if err := netlink.LinkSetUp(tap); err != nil {
				return err
			}
		}
		return nil
	})
	return spec
}

func (w *world) driver(t *testing.T) *Driver {
	d := New(w.options)
	t.Cleanup(func() { d.Close() })
	return d
}

// one makes the Spec of a single machine and kills it when the test ends.
func (w *world) one(t *testing.T, d *Driver) vm.Spec {
	t.Helper()
	dir := filepath.Join(labtest.SocketDir(t), "m0")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := w.spec(t, vm.Spec{Name: "one", Dir: dir, CPUs: 1, MemoryMiB: 256})
	t.Cleanup(func() {
		if err := d.Kill(context.Background(), spec); err != nil {
			t.Error(err)
		}
	})
	return spec
}

func TestContract(t *testing.T) {
	vmtest.Run(t, func(t *testing.T) vmtest.Fixture {
		w := newWorld(t, Options{})
		return vmtest.Fixture{
			Driver: func(t *testing.T) vm.Driver { return w.driver(t) },
			Spec:   w.spec,
			KillVMM: func(t *testing.T, m vm.Machine) {
				if err := unix.Kill(m.PID(), unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
			},
			AwaitPoweroff: awaitPoweroff,
			Limit:         limit,
		}
	})
}

func awaitPoweroff(t *testing.T, spec vm.Spec) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	monitor, err := dialMonitor(ctx, filepath.Join(spec.Dir, socketQMP))
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	for {
		status, err := monitor.status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if status == "shutdown" {
			return
		}
		select {
		case <-monitor.notify:
		case <-ctx.Done():
			t.Fatalf("status is %q", status)
		}
	}
}

func greet(t *testing.T, m vm.Machine) *talk.Client {
	t.Helper()
	conn, err := m.Agent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := talk.Greet(conn, "hello", time.Now().Add(limit))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A guest that prints for ever fills neither the disk nor the console shown.
// When its kernel panics in the end, that is told with the last lines.
func TestFloodAndPanic(t *testing.T) {
	w := newWorld(t, Options{ConsoleLimit: 64 << 10})
	d := w.driver(t)
	spec := w.one(t, d)
	m, err := d.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	c := greet(t, m)
	for old := filepath.Join(spec.Dir, vm.ConsoleOldFile); ; {
		if err := c.Ask(nil, "print", "100000"); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(old); err == nil {
			if info.Size() != 64<<10 {
				t.Errorf("old console has %d bytes", info.Size())
			}
			break
		}
	}
	_ = c.Ask(nil, "leave", "panic")
	select {
	case event := <-m.Events():
		if event.Kind != vm.Exited || event.Reason != vm.Crashed || !strings.HasPrefix(event.Detail, causePanic) || !strings.Contains(event.Detail, "console:") {
			t.Errorf("event %+v", event)
		}
	case <-time.After(limit):
		t.Fatal("no event")
	}
}

func TestStartFailsWithQEMUsWords(t *testing.T) {
	w := newWorld(t, Options{CPU: "nonsense"})
	d := w.driver(t)
	spec := w.one(t, d)
	if _, err := d.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
	spec.NICs = []vm.NIC{{Tap: "missing", MAC: "02:00:00:00:00:01"}}
	if _, err := d.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), `tap "missing"`) {
		t.Errorf("got %v", err)
	}
	var names []string
	entries, err := os.ReadDir(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if slices.Contains(names, socketQMP) && slices.Contains(names, launch.RecordFile) {
		t.Errorf("left behind: %v", names)
	}
}
