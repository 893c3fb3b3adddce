// Package vmfake is a driver whose machines exist in memory only, for tests of
// everything above the driver contract. In goes a World that says how machines
// behave; out come Drivers on it. A World stands for the host: machines in it
// outlive any Driver, as VMM processes outlive labd, so a test loses one
// Driver and adopts with another.
//
//	running ──Guest.Reboot───▶ running    (Event Reset)
//	   ├──────Guest.Poweroff─▶ off ─seen by a Driver─▶ Exited/Poweroff
//	   ├──────Guest.Crash────▶ gone                    Exited/Crashed
//	   └──────Driver.Kill────▶ gone                    Exited/Killed
//
// Of the host it touches nothing but vm.ConsoleFile in a machine's run
// directory, if that directory exists.
package vmfake

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sandlot/internal/vm"
)

// Handler is the agent of a guest: it serves one connection and returns when
// that ends. ctx is done when the guest reboots or is gone; the connection is
// closed then.
type Handler func(ctx context.Context, guest *Guest, conn net.Conn)

// World holds the machines of one pretended host. Its fields are set before
// the first Start.
type World struct {
	// Agent serves agent channels; without one they stay silent.
	Agent Handler
	// BootError, if set, may refuse a Start.
	BootError func(spec vm.Spec) error
	// Capabilities of its drivers; zero means those of QEMU without KVM.
	Capabilities vm.Capabilities

	mu      sync.Mutex
	guests  map[string]*Guest // by run directory
	nextPID int
	// starts counts boots by machine name.
	starts map[string]int
}

// Guest is one machine of a World, seen from inside and from the test.
type Guest struct {
	world *World
	spec  vm.Spec
	pid   int

	// Guarded by World.mu.
	bootID string
	off    bool // powered off, not yet seen
	paused bool
	weight int
	ctx    context.Context // of this boot
	cancel context.CancelFunc
	handle *machine // of the driver that holds it; nil if none does
}

// Spec the guest was started with.
func (g *Guest) Spec() vm.Spec { return g.spec }

// BootID is new at each boot: 32 hex digits.
func (g *Guest) BootID() string {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	return g.bootID
}

// Paused tells whether the machine was paused.
func (g *Guest) Paused() bool {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	return g.paused
}

// Weight is the last one set; 0 if none was.
func (g *Guest) Weight() int {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	return g.weight
}

// Off tells whether the guest powered off and no driver has seen it yet.
func (g *Guest) Off() bool {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	return g.off
}

// Print appends to the console kept in the run directory.
func (g *Guest) Print(text string) error {
	f, err := os.OpenFile(filepath.Join(g.spec.Dir, vm.ConsoleFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Reboot restarts the guest in process.
func (g *Guest) Reboot() {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	if g.off || g.world.guests[g.spec.Dir] != g {
		return
	}
	g.boot()
	if g.handle != nil {
		g.handle.send(vm.Event{Kind: vm.Reset})
	}
}

// Poweroff shuts the guest down. Without a driver it stays off until one sees.
func (g *Guest) Poweroff() {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	if g.world.guests[g.spec.Dir] != g {
		return
	}
	g.off = true
	g.cancel()
	if g.handle != nil {
		g.exit(vm.Event{Kind: vm.Exited, Reason: vm.Poweroff})
	}
}

// Crash ends the VMM, as a SIGKILL would.
func (g *Guest) Crash(detail string) {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	if g.world.guests[g.spec.Dir] == g {
		g.exit(vm.Event{Kind: vm.Exited, Reason: vm.Crashed, Detail: detail})
	}
}

// boot starts a boot; World.mu is held.
func (g *Guest) boot() {
	if g.cancel != nil {
		g.cancel()
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	var id [16]byte
	rand.Read(id[:])
	g.bootID = hex.EncodeToString(id[:])
	// A console that cannot be written is found by the test that reads it.
	_ = g.Print(vm.BootMarker + g.bootID + "\n")
}

// exit removes the guest and tells its driver; World.mu is held.
func (g *Guest) exit(event vm.Event) {
	g.cancel()
	delete(g.world.guests, g.spec.Dir)
	if g.handle != nil {
		g.handle.finish(event)
		g.handle = nil
	}
}

// Guest gives the machine of this name, or nil if there is none.
func (w *World) Guest(name string) *Guest {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.guests {
		if g.spec.Name == name {
			return g
		}
	}
	return nil
}

// Running lists the names of all machines, sorted.
func (w *World) Running() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, g := range w.guests {
		names = append(names, g.spec.Name)
	}
	slices.Sort(names)
	return names
}

// Starts tells how many times the machine of this name was started.
func (w *World) Starts(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.starts[name]
}

// Driver gives a driver that holds no machine yet.
func (w *World) Driver() *Driver { return &Driver{world: w} }

// Driver is one labd's driver on a World.
type Driver struct{ world *World }

var _ vm.Driver = (*Driver)(nil)

// Capabilities are the World's.
func (d *Driver) Capabilities() vm.Capabilities {
	if d.world.Capabilities == (vm.Capabilities{}) {
		return vm.Capabilities{MaxDrives: 24, MaxNICs: 5, Discard: true, RebootInProcess: true, Isolation: "none"}
	}
	return d.world.Capabilities
}

// Start boots a machine or adopts the one that runs.
func (d *Driver) Start(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.guests[spec.Dir]; g != nil {
		if !g.off {
			return d.hold(g), nil
		}
		g.exit(vm.Event{Kind: vm.Exited, Reason: vm.Poweroff})
	}
	if w.BootError != nil {
		if err := w.BootError(spec); err != nil {
			return nil, fmt.Errorf("cannot start machine %q: %w", spec.Name, err)
		}
	}
	if w.guests == nil {
		w.guests, w.starts, w.nextPID = map[string]*Guest{}, map[string]int{}, 1<<22
	}
	// Above the kernel's largest pid: nobody can signal a real process by it.
	w.nextPID++
	w.starts[spec.Name]++
	g := &Guest{world: w, spec: spec, pid: w.nextPID}
	g.boot()
	w.guests[spec.Dir] = g
	return d.hold(g), nil
}

// Adopt takes over a machine that another driver started.
func (d *Driver) Adopt(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.guests[spec.Dir]
	if g == nil {
		return nil, vm.ErrNotRunning
	}
	m := d.hold(g)
	if g.off {
		g.exit(vm.Event{Kind: vm.Exited, Reason: vm.Poweroff})
	}
	return m, nil
}

// hold gives this driver's handle of g; World.mu is held.
func (d *Driver) hold(g *Guest) *machine {
	if g.handle != nil && g.handle.driver == d {
		return g.handle
	}
	if g.handle != nil {
		g.handle.detach()
	}
	g.handle = &machine{driver: d, guest: g, events: make(chan vm.Event, 16)}
	return g.handle
}

// Kill removes the machine.
func (d *Driver) Kill(ctx context.Context, spec vm.Spec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	if g := d.world.guests[spec.Dir]; g != nil {
		reason := vm.Killed
		if g.off {
			reason = vm.Poweroff
		}
		g.exit(vm.Event{Kind: vm.Exited, Reason: reason})
	}
	return nil
}

// Close lets go of all machines; they go on.
func (d *Driver) Close() error {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	for _, g := range d.world.guests {
		if g.handle != nil && g.handle.driver == d {
			g.handle.detach()
			g.handle = nil
		}
	}
	return nil
}

// machine is a driver's handle; all fields are guarded by World.mu.
type machine struct {
	driver *Driver
	guest  *Guest
	events chan vm.Event
	done   bool
	agent  net.Conn
}

var (
	_ vm.Pauser  = (*machine)(nil)
	_ vm.Weigher = (*machine)(nil)
)

// SetCPUWeight is seen by Guest.Weight.
func (m *machine) SetCPUWeight(weight int) error {
	m.driver.world.mu.Lock()
	defer m.driver.world.mu.Unlock()
	m.guest.weight = weight
	return nil
}

func (m *machine) Events() <-chan vm.Event { return m.events }

func (m *machine) PID() int { return m.guest.pid }

func (m *machine) Agent(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := m.driver.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.done || m.guest.off {
		return nil, vm.ErrNotRunning
	}
	if m.agent != nil {
		m.agent.Close()
	}
	outside, inside := net.Pipe()
	m.agent = outside
	boot := m.guest.ctx
	context.AfterFunc(boot, func() { inside.Close() })
	if w.Agent != nil {
		go func() {
			defer inside.Close()
			w.Agent(boot, m.guest, inside)
		}()
	}
	return outside, nil
}

func (m *machine) Pause(ctx context.Context) error { return m.setPaused(ctx, true) }

func (m *machine) Resume(ctx context.Context) error { return m.setPaused(ctx, false) }

func (m *machine) setPaused(ctx context.Context, paused bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.driver.world.mu.Lock()
	defer m.driver.world.mu.Unlock()
	if m.done {
		return vm.ErrNotRunning
	}
	m.guest.paused = paused
	return nil
}

// send keeps the last place for Exited.
func (m *machine) send(event vm.Event) {
	if !m.done && len(m.events) < cap(m.events)-1 {
		m.events <- event
	}
}

func (m *machine) finish(event vm.Event) {
	if m.done {
		return
	}
	event.Detail = strings.TrimSpace(event.Detail)
	m.events <- event
	m.detach()
}

func (m *machine) detach() {
	if m.done {
		return
	}
	m.done = true
	close(m.events)
	if m.agent != nil {
		m.agent.Close()
	}
}
