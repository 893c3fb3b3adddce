//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
)

const (
	// consoleLines is how much of the console an unexpected exit tells.
	consoleLines = 20
	// quitTime is how long QEMU has to end by itself once told to.
	quitTime = 3 * time.Second
	// lookTime is how often the console's size is looked at. A guest prints at
	// most some MB/s, so a file outgrows its limit by little.
	lookTime = 2 * time.Second
	// againTime is the pause before connecting again to a QEMU that hung up.
	againTime = time.Second
)

// Causes of an end that are known before the process is gone.
const (
	causePoweroff = "poweroff"
	causePanic    = "guest kernel panic"
	causeInternal = "KVM could not go on (internal error)"
)

// machine is one running QEMU.
type machine struct {
	driver  *Driver
	spec    vm.Spec
	process *launch.Process
	events  chan vm.Event

	detached context.Context // done once the driver lets go
	cancel   context.CancelFunc
	finished chan struct{} // closed after the last event

	mu      sync.Mutex
	monitor *monitor
	agent   net.Conn
	killed  bool
	cause   string
}

var (
	_ vm.Machine = (*machine)(nil)
	_ vm.Pauser  = (*machine)(nil)
	_ vm.Weigher = (*machine)(nil)
)

// SetCPUWeight sets the weight of the machine's cgroup.
func (m *machine) SetCPUWeight(weight int) error {
	if m.spec.Cgroup == "" {
		return nil
	}
	return m.driver.launcher.Weigh(m.spec.Cgroup, m.spec.Name, weight)
}

func (d *Driver) newMachine(spec vm.Spec, process *launch.Process) *machine {
	m := &machine{driver: d, spec: spec, process: process, events: make(chan vm.Event, 16), finished: make(chan struct{})}
	m.detached, m.cancel = context.WithCancel(context.Background())
	return m
}

// dial connects to QMP; it gives up as soon as the process is gone.
func (m *machine) dial(ctx context.Context) (*monitor, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-m.process.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	monitor, err := dialMonitor(ctx, filepath.Join(m.spec.Dir, socketQMP))
	if err != nil {
		// A QEMU that is ending hangs up first.
		select {
		case <-m.process.Done():
			return nil, fmt.Errorf("QEMU %s", m.process.Status())
		case <-time.After(againTime):
		}
	}
	return monitor, err
}

// run follows the machine until its process is gone or the driver lets go. A
// nil monitor is connected here.
func (m *machine) run(monitor *monitor) {
	defer close(m.finished)
	defer close(m.events)
	defer m.process.Close()
	look := time.NewTicker(lookTime)
	defer look.Stop()
	var quit <-chan time.Time
	for {
		if monitor == nil {
			monitor = m.reconnect()
		}
		m.setMonitor(monitor)
		if m.ended() != "" && quit == nil {
			m.quit(monitor)
			quit = time.After(quitTime)
		}
		var notify, closed <-chan struct{}
		var again <-chan time.Time
		if monitor != nil {
			notify, closed = monitor.notify, monitor.closed
		} else {
			again = time.After(againTime)
		}
		select {
		case <-m.process.Done():
			m.setMonitor(nil)
			if monitor != nil {
				// The last events may have been read just before the end.
				<-monitor.closed
				m.handle(monitor)
			}
			m.finish()
			return
		case <-m.detached.Done():
			m.setMonitor(nil)
			m.closeAgent()
			if monitor != nil {
				monitor.Close()
			}
			return
		case <-notify:
			m.handle(monitor)
		case <-closed:
			// One pause, or a QEMU that hangs up at once would be asked at once.
			select {
			case <-time.After(againTime):
			case <-m.process.Done():
			case <-m.detached.Done():
			}
			m.handle(monitor)
			if !m.gone() && m.detached.Err() == nil {
				monitor = nil
			}
		case <-again:
		case <-quit:
			if err := m.process.Signal(unix.SIGKILL); err == nil {
				quit = nil
			}
		case <-look.C:
			m.trim()
		}
	}
}

// reconnect connects to QMP again and asks what happened meanwhile; nil if
// QEMU does not answer.
func (m *machine) reconnect() *monitor {
	ctx, cancel := context.WithTimeout(m.detached, commandTime)
	defer cancel()
	monitor, err := m.dial(ctx)
	if err != nil {
		return nil
	}
	if status, err := monitor.status(ctx); err == nil {
		m.see(status)
	}
	return monitor
}

func (m *machine) handle(monitor *monitor) {
	news := monitor.take()
	if news.reset {
		// The last place is kept for Exited; a reader that far behind has
		// enough resets to read.
		if len(m.events) < cap(m.events)-1 {
			m.events <- vm.Event{Kind: vm.Reset}
		}
	}
	if news.panicked {
		m.end(causePanic)
	}
	if news.shutdown {
		m.end(causePoweroff)
	}
	if news.stopped && m.ended() == "" {
		ctx, cancel := context.WithTimeout(m.detached, commandTime)
		defer cancel()
		if status, err := monitor.status(ctx); err == nil {
			m.see(status)
		}
	}
}

// see draws the conclusion from a run state. The names are those of RunState
// in QEMU's qapi/run-state.json.
func (m *machine) see(status string) {
	switch status {
	case "shutdown":
		m.end(causePoweroff)
	case "guest-panicked":
		m.end(causePanic)
	case "internal-error":
		m.end(causeInternal)
	}
}

// end notes why the machine is about to be gone; the first cause holds.
func (m *machine) end(cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cause == "" {
		m.cause = cause
	}
}

func (m *machine) ended() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cause
}

func (m *machine) markKilled() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed = true
}

func (m *machine) gone() bool {
	select {
	case <-m.process.Done():
		return true
	default:
		return false
	}
}

func (m *machine) waitFinished(ctx context.Context) error {
	select {
	case <-m.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quit ends a paused QEMU; if it does not answer, run kills it.
func (m *machine) quit(monitor *monitor) {
	if monitor == nil {
		return
	}
	ctx, cancel := context.WithTimeout(m.detached, quitTime)
	defer cancel()
	_ = monitor.execute(ctx, "quit", nil)
}

// finish cleans up after the process and sends the last event.
func (m *machine) finish() {
	m.closeAgent()
	m.mu.Lock()
	killed, cause := m.killed, m.cause
	m.mu.Unlock()
	event := vm.Event{Kind: vm.Exited, Reason: vm.Crashed}
	// What was known before a kill is the truth: Start kills what is left of a
	// machine that powered off.
	switch {
	case cause == causePoweroff:
		event.Reason = vm.Poweroff
	case cause == "" && killed:
		event.Reason = vm.Killed
	case cause == "":
		event.Detail = m.describe("QEMU " + m.process.Status())
	default:
		event.Detail = m.describe(cause)
	}
	// A killer cleans up itself, and reports what fails.
	if !killed {
		ctx, cancel := context.WithTimeout(context.Background(), startTime)
		defer cancel()
		if err := m.driver.cleanUp(ctx, m.spec); err != nil {
			event.Detail = strings.TrimSpace(event.Detail + "\n" + err.Error())
		}
	}
	m.driver.forget(m)
	m.events <- event
}

// describe tells a person what is known of an unexpected end.
func (m *machine) describe(cause string) string {
	parts := []string{cause}
	if log, err := os.ReadFile(filepath.Join(m.spec.Dir, launch.LogFile)); err == nil && len(log) > 0 {
		parts = append(parts, "QEMU's last words:\n"+vm.Tail(log, 5))
	}
	if console, err := vm.ReadConsole(m.spec.Dir); err == nil && len(console) > 0 {
		parts = append(parts, "console:\n"+vm.Tail(console, consoleLines))
	}
	return strings.Join(parts, "\n")
}

// Events is closed after the Exited event, or when the driver is closed.
func (m *machine) Events() <-chan vm.Event { return m.events }

// PID of QEMU.
func (m *machine) PID() int { return m.process.PID }

// Agent connects to the agent's virtio-serial port. QEMU serves one
// connection at a time, so the former one is closed first.
func (m *machine) Agent(ctx context.Context) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone() {
		return nil, vm.ErrNotRunning
	}
	if m.agent != nil {
		m.agent.Close()
		m.agent = nil
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", filepath.Join(m.spec.Dir, socketAgent))
	if err != nil {
		return nil, fmt.Errorf("cannot reach agent of %q: %v", m.spec.Name, err)
	}
	m.agent = conn
	return conn, nil
}

func (m *machine) closeAgent() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.agent != nil {
		m.agent.Close()
		m.agent = nil
	}
}

// Pause stops the vCPUs.
func (m *machine) Pause(ctx context.Context) error { return m.execute(ctx, "stop") }

// Resume lets the vCPUs run again.
func (m *machine) Resume(ctx context.Context) error { return m.execute(ctx, "cont") }

func (m *machine) execute(ctx context.Context, command string) error {
	m.mu.Lock()
	monitor := m.monitor
	m.mu.Unlock()
	if monitor == nil {
		return errors.New("QEMU does not answer")
	}
	return monitor.execute(ctx, command, nil)
}

func (m *machine) setMonitor(monitor *monitor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.monitor = monitor
}
