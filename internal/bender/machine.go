package bender

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"sandlot/guest/wire"
	"sandlot/internal/play"
	"sandlot/internal/vm"
)

// machine is a VMM that runs and the session with its agent.
type machine struct {
	vm     vm.Machine
	agent  Agent
	ctx    context.Context // ends when it is detached
	cancel context.CancelFunc
	exited chan struct{}
	done   sync.WaitGroup
	weight int // guarded by worker.mu; 0 before the first

	mu      sync.Mutex
	reached map[string]bool
	changed chan struct{} // closed and replaced at every change
	asked   bool          // we asked it to power off
	boot    string        // the guest's name for this boot
	leaving bool          // it said that it shuts down
	exit    vm.Event
}

func (m *machine) is(condition string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reached[condition]
}

func (m *machine) gone() bool {
	select {
	case <-m.exited:
		return true
	default:
		return false
	}
}

func (m *machine) set(condition string, value bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reached[condition] != value {
		m.reached[condition] = value
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// attach takes over a running VMM: it watches its events and its agent until
// detach or the machine's end.
func (w *worker) attach(i int, running vm.Machine) {
	w.detach(i)
	ctx, cancel := context.WithCancel(w.bender.ctx)
	m := &machine{
		vm: running, agent: w.bender.opts.Attach(running.Agent), ctx: ctx, cancel: cancel,
		exited: make(chan struct{}), changed: make(chan struct{}),
		reached: make(map[string]bool),
	}
	w.mu.Lock()
	w.machines[i] = m
	w.mu.Unlock()
	w.weigh()
	m.done.Go(func() { w.watchVM(ctx, i, m) })
	m.done.Go(func() { w.watchAgent(ctx, i, m) })
}

// detach ends the session with machine i; its VMM goes on.
func (w *worker) detach(i int) {
	w.mu.Lock()
	m := w.machines[i]
	w.machines[i] = nil
	w.mu.Unlock()
	if m == nil {
		return
	}
	m.cancel()
	_ = m.agent.Close()
	m.done.Wait()
}

// stopped clears what was known of machine i, unless it failed: then the
// message is what a person wants to see.
func (w *worker) stopped(i int) {
	w.update(func(r *Record) bool {
		if r.Machines[i].State != play.MachineFailed {
			r.Machines[i].State, r.Machines[i].Message = play.MachineStopped, ""
		}
		now := w.bender.opts.Now()
		r.set(i, play.ConditionBoot, false, "", now)
		r.set(i, play.ConditionReady, false, "", now)
		return true
	})
}

func (w *worker) watchVM(ctx context.Context, i int, m *machine) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-m.vm.Events():
			if !ok {
				return
			}
			switch e.Kind {
			case vm.Reset:
				m.set(play.ConditionBoot, false)
				m.set(play.ConditionReady, false)
				m.set(conditionUp, false)
				w.set(i, play.ConditionBoot, false, "")
				w.set(i, play.ConditionReady, false, "")
				w.machineState(i, play.MachineRebooting, "")
				w.interrupted(ctx, i, "rebooted")
			case vm.Exited:
				w.ended(ctx, i, m, e)
				return
			}
		}
	}
}

// ended notes that a VMM is gone and wakes the worker, which undoes its boot.
func (w *worker) ended(ctx context.Context, i int, m *machine, e vm.Event) {
	m.mu.Lock()
	m.exit = e
	asked := m.asked
	m.mu.Unlock()
	close(m.exited)
	if e.Reason == vm.Killed || asked {
		return
	}
	name := w.plan.Machines[i].Name
	state, message := play.MachineStopped, ""
	if e.Reason != vm.Poweroff {
		state, message = play.MachineFailed, w.lastWords(i, e.Detail)
	}
	err := w.save(ctx, func(r *Record) {
		// While the play starts, the step that waits for this machine fails
		// and with it the start; nothing is to be woken then.
		if r.State() == play.Running {
			r.halt(name)
		}
		r.Machines[i].State, r.Machines[i].Message = state, message
		now := w.bender.opts.Now()
		r.set(i, play.ConditionBoot, false, "", now)
		r.set(i, play.ConditionReady, false, "", now)
	})
	if err != nil {
		w.bender.opts.Log.Error("cannot save machine state", "play", w.id(), "machine", name, "error", err)
	}
	w.interrupted(ctx, i, "stopped")
	w.signal()
}

// lastWords is why a machine failed, with the end of its console.
func (w *worker) lastWords(i int, detail string) string {
	console, err := w.console(i)
	if err != nil || len(console) == 0 {
		return detail
	}
	return fmt.Sprintf("%s; the console's last lines:\n%s", detail, vm.Tail(console, 15))
}

// watchAgent keeps a watch open over every reboot of the guest.
func (w *worker) watchAgent(ctx context.Context, i int, m *machine) {
	for ctx.Err() == nil {
		// What the machine could not set up: it runs, but its author or the
		// person in it should know.
		problem := ""
		err := m.agent.Watch(ctx, func(e wire.Event) {
			switch e.Kind {
			case wire.EventProblem:
				problem = bounded(e.Detail, wire.MaxProblem)
			case wire.EventBooted:
				m.mu.Lock()
				m.boot, m.leaving = e.Detail[:min(len(e.Detail), 64)], false
				m.mu.Unlock()
				m.set(play.ConditionBoot, true)
				w.set(i, play.ConditionBoot, true, problem)
				if w.plan.Machines[i].NoSSH {
					w.ready(i, m)
				}
				w.advance()
			case wire.EventSSH:
				w.ready(i, m)
			case wire.EventUp:
				m.set(conditionUp, true)
				w.advance()
			case wire.EventLeave:
				m.mu.Lock()
				m.leaving = true
				m.mu.Unlock()
			}
		})
		w.bender.opts.Log.Debug("agent watch ended", "play", w.id(), "machine", i, "error", err)
		select {
		case <-ctx.Done():
		case <-m.exited:
			return
		case <-time.After(100 * time.Millisecond): // a guest that reboots takes seconds
		}
	}
}

// bounded cuts text that a guest sent, and what is no UTF-8 out of it.
func bounded(text string, limit int) string {
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}

func (w *worker) ready(i int, m *machine) {
	w.set(i, play.ConditionReady, true, "")
	w.machineState(i, play.MachineRunning, "")
	m.set(play.ConditionReady, true) // last: the play may be RUNNING then
	w.weigh()
}

// await waits for a condition of machine i.
func (w *worker) await(ctx context.Context, i int, condition string) error {
	name := w.plan.Machines[i].Name
	m := w.machine(name)
	if m == nil {
		return fmt.Errorf("machine %q does not run", name)
	}
	timeout := time.NewTimer(w.bender.opts.BootTimeout)
	defer timeout.Stop()
	for {
		m.mu.Lock()
		reached, changed := m.reached[condition], m.changed
		m.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.exited:
			if m.exit.Reason == vm.Poweroff {
				return fmt.Errorf("machine %q powered itself off while it booted%s", name, w.lastWords(i, ""))
			}
			return fmt.Errorf("machine %q died while it booted: %s", name, w.lastWords(i, m.exit.Detail))
		case <-timeout.C:
			what := "its agent did not answer"
			if condition == play.ConditionReady {
				what = "its sshd did not answer"
			}
			return fmt.Errorf("machine %q did not come up: %s within %s", name, w.lastWords(i, what), w.bender.opts.BootTimeout)
		}
	}
}
