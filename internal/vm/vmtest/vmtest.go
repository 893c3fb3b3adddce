// Package vmtest is the driver contract of package vm as a test suite. In goes
// a Fixture that makes drivers and machines of one backend; out come failed
// tests where the backend breaks the contract. Every driver passes it.
package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/labtest"
	"sandlot/internal/vm"
	"sandlot/internal/vm/vmtest/talk"
)

// Fixture is one backend under test. The guests of its machines serve package
// talk on the agent's channel and print vm.BootMarker at each boot.
type Fixture struct {
	// Driver makes a new driver on the same host.
	Driver func(t *testing.T) vm.Driver
	// Spec completes a Spec that has Name, Dir, Drives and NICs (MACs only)
	// with all that the backend needs: kernel, taps on one bridge, cgroup.
	Spec func(t *testing.T, spec vm.Spec) vm.Spec
	// KillVMM ends the VMM behind the driver's back.
	KillVMM func(t *testing.T, m vm.Machine)
	// AwaitPoweroff waits, with no driver attached, until the guest is off.
	AwaitPoweroff func(t *testing.T, spec vm.Spec)
	// NoPing: machines have no network.
	NoPing bool
	// Limit bounds the wait for any one thing.
	Limit time.Duration
}

// Run runs the whole suite.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, *bench){
		"RebootAdoptAndPoweroffUnseen": testAdopt,
		"CrashPoweroffAndKill":         testExits,
		"OrderOfDevices":               testOrder,
		"TwoMachinesOnABridge":         testPing,
		"NothingThere":                 testNothing,
	} {
		t.Run(name, func(t *testing.T) { test(t, newBench(t, fixture(t))) })
	}
}

// bench is what the tests share: a driver, specs, and the watch over time.
type bench struct {
	Fixture
	ctx    context.Context
	driver vm.Driver
	nonce  int
}

func newBench(t *testing.T, fixture Fixture) *bench {
	ctx, cancel := context.WithTimeout(t.Context(), 10*fixture.Limit)
	t.Cleanup(cancel)
	return &bench{Fixture: fixture, ctx: ctx, driver: fixture.Driver(t)}
}

// spec makes a machine with labelled drives and numbered NICs. When the test
// ends the machine is killed, and if the test failed its console is shown.
func (b *bench) spec(t *testing.T, name string, drives, nics int) vm.Spec {
	t.Helper()
	spec := vm.Spec{Name: name, Dir: filepath.Join(labtest.SocketDir(t), name), CPUs: 1, MemoryMiB: 256}
	if err := os.Mkdir(spec.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range drives {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.raw", i))
		if err := os.WriteFile(path, []byte(label(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 1<<20); err != nil {
			t.Fatal(err)
		}
		spec.Drives = append(spec.Drives, vm.Drive{Path: path})
	}
	for i := range nics {
		spec.NICs = append(spec.NICs, vm.NIC{MAC: fmt.Sprintf("02:00:00:%02x:00:%02x", len(name), i)})
	}
	spec = b.Spec(t, spec)
	t.Cleanup(func() {
		if t.Failed() {
			console, err := vm.ReadConsole(spec.Dir)
			t.Logf("console of %s (%v):\n%s", name, err, vm.Tail(console, 50))
		}
		// The test's own context is done by now.
		if err := b.driver.Kill(context.Background(), spec); err != nil {
			t.Error(err)
		}
	})
	return spec
}

func label(i int) string { return fmt.Sprintf("drive number %d", i) }

func (b *bench) start(t *testing.T, spec vm.Spec) vm.Machine {
	t.Helper()
	m, err := b.driver.Start(b.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b *bench) adopt(t *testing.T, spec vm.Spec) vm.Machine {
	t.Helper()
	m, err := b.driver.Adopt(b.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lose forgets the driver, as a labd that ends does, and makes another.
func (b *bench) lose(t *testing.T) {
	t.Helper()
	if c, ok := b.driver.(io.Closer); ok {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.driver = b.Driver(t)
}

// greet waits until the guest answers.
func (b *bench) greet(t *testing.T, m vm.Machine) *talk.Client {
	t.Helper()
	conn, err := m.Agent(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.nonce++
	c, err := talk.Greet(conn, fmt.Sprintf("nonce-%d", b.nonce), time.Now().Add(b.Limit))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask fails the test if the guest does not answer.
func ask[T any](t *testing.T, c *talk.Client, verb string, arguments ...string) T {
	t.Helper()
	var out T
	if err := c.Ask(&out, verb, arguments...); err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	return out
}

// leave asks the guest to go; its answer may be lost on the way.
func leave(c *talk.Client, how string) { _ = c.Ask(nil, "leave", how) }

// await takes the next event.
func (b *bench) await(t *testing.T, m vm.Machine, kind vm.EventKind, reason vm.Reason) vm.Event {
	t.Helper()
	select {
	case event, ok := <-m.Events():
		if !ok {
			t.Fatalf("events were closed, want %s %s", kind, reason)
		}
		if event.Kind != kind || event.Reason != reason {
			t.Fatalf("event %+v, want %s %s", event, kind, reason)
		}
		if kind == vm.Exited {
			if extra, ok := <-m.Events(); ok {
				t.Fatalf("event %+v after Exited", extra)
			}
		}
		return event
	case <-time.After(b.Limit):
		t.Fatalf("no event %s %s within %v", kind, reason, b.Limit)
		panic("unreachable")
	}
}

func boots(t *testing.T, spec vm.Spec) int {
	t.Helper()
	console, err := vm.ReadConsole(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, boot := range vm.SplitBoots(console) {
		if strings.Contains(string(boot), vm.BootMarker) {
			n++
		}
	}
	return n
}

func testAdopt(t *testing.T, b *bench) {
	spec := b.spec(t, "a", 1, 0)
	m := b.start(t, spec)
	first := b.greet(t, m)
	bootID := ask[string](t, first, "boot")
	if got := boots(t, spec); got != 1 {
		t.Errorf("console shows %d boots, want 1", got)
	}
	// Another channel closes the former.
	second := b.greet(t, m)
	if _, err := first.Conn.Read(make([]byte, 1)); err == nil {
		t.Error("former agent channel is still open")
	}
	if got := ask[string](t, second, "echo", "hello world"); got != "hello world" {
		t.Errorf("echo gave %q", got)
	}
	again := b.start(t, spec)
	if again.PID() != m.PID() || m.PID() == 0 {
		t.Errorf("second Start gave process %d, first %d", again.PID(), m.PID())
	}
	if p, ok := m.(vm.Pauser); ok {
		if err := errors.Join(p.Pause(b.ctx), p.Resume(b.ctx)); err != nil {
			t.Error(err)
		}
		if got := ask[string](t, second, "echo", "resumed"); got != "resumed" {
			t.Errorf("echo after resume gave %q", got)
		}
	}

	if b.driver.Capabilities().RebootInProcess {
		pid := m.PID()
		leave(second, "reboot")
		b.await(t, m, vm.Reset, "")
		if got := ask[string](t, b.greet(t, m), "boot"); got == bootID {
			t.Error("boot id is the same after a reboot")
		}
		if got := boots(t, spec); got != 2 {
			t.Errorf("console shows %d boots, want 2", got)
		}
		if m.PID() != pid {
			t.Errorf("reboot changed process %d to %d", pid, m.PID())
		}
	}

	pid := m.PID()
	b.lose(t)
	if _, open := <-m.Events(); open {
		t.Error("events of a closed driver go on")
	}
	m = b.adopt(t, spec)
	if m.PID() != pid {
		t.Errorf("adopted process %d, want %d", m.PID(), pid)
	}
	ask[string](t, b.greet(t, m), "last", "poweroff")
	b.lose(t)
	b.AwaitPoweroff(t, spec)
	b.await(t, b.adopt(t, spec), vm.Exited, vm.Poweroff)
	if _, err := b.driver.Adopt(b.ctx, spec); !errors.Is(err, vm.ErrNotRunning) {
		t.Errorf("adopting after poweroff: %v", err)
	}
}

func testExits(t *testing.T, b *bench) {
	spec := b.spec(t, "x", 0, 0)
	m := b.start(t, spec)
	b.greet(t, m)
	b.KillVMM(t, m)
	if event := b.await(t, m, vm.Exited, vm.Crashed); event.Detail == "" {
		t.Error("crash has no detail")
	}
	if _, err := m.Agent(b.ctx); err == nil {
		t.Error("agent of a crashed machine can be opened")
	}

	m = b.start(t, spec)
	leave(b.greet(t, m), "poweroff")
	b.await(t, m, vm.Exited, vm.Poweroff)

	m = b.start(t, spec)
	c := b.greet(t, m)
	if got := boots(t, spec); got != 3 {
		t.Errorf("console shows %d boots, want 3", got)
	}
	for range 2 {
		if err := b.driver.Kill(b.ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
	b.await(t, m, vm.Exited, vm.Killed)
	if _, err := io.Copy(io.Discard, c.Conn); err == nil {
		return
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("agent channel of a killed machine is open")
	}
}

func testOrder(t *testing.T, b *bench) {
	can := b.driver.Capabilities()
	spec := b.spec(t, "o", can.MaxDrives, can.MaxNICs)
	c := b.greet(t, b.start(t, spec))
	var labels, macs []string
	for i := range spec.Drives {
		labels = append(labels, label(i))
	}
	for _, nic := range spec.NICs {
		macs = append(macs, nic.MAC)
	}
	if diff := cmp.Diff(labels, ask[[]string](t, c, "drives")); diff != "" {
		t.Errorf("drives (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(macs, ask[[]string](t, c, "nics")); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
}

func testPing(t *testing.T, b *bench) {
	if b.NoPing {
		t.Skip("machines of this backend have no network")
	}
	one, two := b.spec(t, "p", 0, 1), b.spec(t, "pp", 0, 1)
	m, n := b.start(t, one), b.start(t, two)
	c, d := b.greet(t, m), b.greet(t, n)
	ask[any](t, c, "address", one.NICs[0].MAC, "192.0.2.1/24")
	ask[any](t, d, "address", two.NICs[0].MAC, "192.0.2.2/24")
	ask[any](t, c, "ping", "192.0.2.2")
	ask[any](t, d, "ping", "192.0.2.1")
}

func testNothing(t *testing.T, b *bench) {
	spec := b.spec(t, "n", 0, 0)
	if _, err := b.driver.Adopt(b.ctx, spec); !errors.Is(err, vm.ErrNotRunning) {
		t.Errorf("adopting nothing: %v", err)
	}
	for range 2 {
		if err := b.driver.Kill(b.ctx, spec); err != nil {
			t.Errorf("killing nothing: %v", err)
		}
	}
	// A run directory that is gone already is nothing, too.
	if err := os.RemoveAll(spec.Dir); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.Kill(b.ctx, spec); err != nil {
		t.Errorf("killing in a missing directory: %v", err)
	}
}
