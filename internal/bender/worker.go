package bender

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/step"
	"sandlot/internal/vm"
)

// worker brings one play to its goal. Only its own goroutine runs steps; the
// record may be changed by anybody under mu.
type worker struct {
	bender  *Bender
	plan    *plan.Plan // never changes, nor do the secrets
	secrets *Secrets

	// holding is taken to change the goal, and by who needs it unchanged.
	holding sync.Mutex

	mu       sync.Mutex
	rec      Record
	machines []*machine      // nil where no VMM runs
	renew    map[string]bool // machines to stop and start again
	cancel   context.CancelCauseFunc
	watchers map[chan struct{}]bool
	version  uint64 // of rec and what is shown of it
	// followed are the tasks, by place in the plan, that a goroutine follows.
	followed map[int]bool
	// written are what the tasks that run have written, by place in the plan.
	written map[int]output

	wake chan struct{} // holds one value when there is something to do
}

var errGoalChanged = errors.New("the goal changed")

func newWorker(b *Bender, r Record) *worker {
	return &worker{
		bender: b, plan: &r.Plan, secrets: &r.Secrets, rec: r.clone(),
		machines: make([]*machine, len(r.Plan.Machines)),
		renew:    make(map[string]bool),
		watchers: make(map[chan struct{}]bool),
		followed: make(map[int]bool),
		written:  make(map[int]output),
		wake:     make(chan struct{}, 1),
	}
}

func (w *worker) id() play.ID { return w.plan.Play }

func (w *worker) index(machine string) int {
	for i, m := range w.plan.Machines {
		if m.Name == machine {
			return i
		}
	}
	return -1
}

func (w *worker) machine(name string) *machine {
	i := w.index(name)
	if i < 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.machines[i]
}

func (w *worker) status() Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rec.clone()
}

func (w *worker) watch() (changes <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watchers[c] = true
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, c)
	}
}

// update changes the record in memory and wakes the watchers; f tells whether
// it changed anything. What only describes the moment is not saved: the next
// bender finds it out again.
func (w *worker) update(f func(r *Record) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f(&w.rec) {
		w.notify()
	}
}

func (w *worker) notify() {
	w.version++
	for c := range w.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// save changes the record durably.
func (w *worker) save(ctx context.Context, f func(r *Record)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.rec.clone()
	f(&next)
	if err := w.bender.opts.Records.Put(ctx, next); err != nil {
		return err
	}
	w.rec = next
	w.notify()
	return nil
}

// change saves a new goal and wakes the worker; with interrupt, what it does
// at the moment is cancelled.
func (w *worker) change(ctx context.Context, interrupt bool, f func(r *Record)) error {
	if w.status().Goal == GoalDestroyed {
		return nil // the last goal there is, and its record may be gone
	}
	if err := w.save(ctx, f); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if interrupt && w.cancel != nil {
		w.cancel(errGoalChanged)
	}
	w.signal()
	return nil
}

func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// enter saves the play's next state.
func (w *worker) enter(s play.State, message string, failed bool) {
	var entered []play.StateEvent
	err := w.save(context.WithoutCancel(w.bender.ctx), func(r *Record) {
		if r.enter(s, message, failed, w.bender.opts.Now()) {
			entered = slices.Clone(r.Events)
		}
	})
	if err == nil && entered != nil && w.bender.opts.Entered != nil {
		w.bender.opts.Entered(w.id(), entered)
	}
	if err != nil {
		w.bender.opts.Log.Error("cannot save state", "play", w.id(), "state", s, "error", err)
	}
	w.weigh()
}

func (w *worker) set(i int, condition string, status bool, message string) {
	w.update(func(r *Record) bool { return r.set(i, condition, status, message, w.bender.opts.Now()) })
}

func (w *worker) setAll(condition string, status bool, message string) {
	w.update(func(r *Record) bool {
		changed := false
		for i := range r.Machines {
			changed = r.set(i, condition, status, message, w.bender.opts.Now()) || changed
		}
		return changed
	})
}

func (w *worker) machineState(i int, s play.MachineState, message string) {
	w.update(func(r *Record) bool {
		m := &r.Machines[i]
		if m.State == s && m.Message == message {
			return false
		}
		m.State, m.Message = s, message
		return true
	})
}

// run is the worker's goroutine; it ends with ctx, or when the play is gone.
func (w *worker) run(ctx context.Context) {
	w.signal()
	for {
		select {
		case <-ctx.Done():
			w.leave()
			return
		case <-w.wake:
		}
		op, cancel := context.WithCancelCause(ctx)
		w.mu.Lock()
		w.cancel = cancel
		goal := w.rec.Goal
		w.mu.Unlock()
		gone := false
		switch goal {
		case GoalRunning:
			w.bringUp(op)
		case GoalStopped:
			w.takeDown(op)
		case GoalDestroyed:
			gone = w.remove(op)
		}
		cancel(nil)
		if gone {
			w.linger(ctx)
			return
		}
	}
}

func (w *worker) journal() step.Journal { return w.bender.opts.Records.Journal(w.id()) }

// bringUp runs every step that is not done, after stopping the machines that
// shall not run.
func (w *worker) bringUp(ctx context.Context) {
	b := w.bender
	for i, m := range w.plan.Machines {
		w.mu.Lock()
		halted, renew := w.rec.halted(m.Name), w.renew[m.Name]
		delete(w.renew, m.Name)
		w.mu.Unlock()
		if !halted && !renew {
			continue
		}
		w.shutdown(ctx, []int{i})
		if err := b.opts.Runner.Undo(ctx, b.graph(w, everyMachine).machine[m.Name], w.journal()); err != nil {
			b.opts.Log.Error("cannot stop machine", "play", w.id(), "machine", m.Name, "error", err)
		}
	}
	if w.status().State() != play.Running {
		w.enter(play.Starting, "", false)
	}
	err := b.opts.Runner.Run(ctx, b.graph(w, w.status().wanted).all(), w.journal())
	switch {
	case err == nil:
		w.enter(play.Running, "", false)
	case ctx.Err() != nil:
		// The goal changed, or labd ends: the next one goes on from here.
	default:
		w.fail(ctx, err)
	}
}

// fail ends a start. Machines that boot stay, so that a person can look;
// before that there is nothing to look at, and the network goes.
func (w *worker) fail(ctx context.Context, cause error) {
	b := w.bender
	b.opts.Log.Warn("play failed", "play", w.id(), "error", cause)
	looks := slices.ContainsFunc(w.machinesNow(), func(m *machine) bool { return m != nil })
	if !looks {
		if err := b.opts.Runner.Undo(ctx, b.graph(w, everyMachine).live, w.journal()); err != nil {
			b.opts.Log.Error("cannot clean up", "play", w.id(), "error", err)
		}
	}
	w.enter(play.Failed, cause.Error(), true)
}

func (w *worker) machinesNow() []*machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.machines)
}

// takeDown stops the play and keeps its volumes; with Again it goes on to
// running.
func (w *worker) takeDown(ctx context.Context) {
	b := w.bender
	if w.status().State() != play.Stopped {
		w.enter(play.Stopping, "", false)
	}
	var running []int
	for i, m := range w.machinesNow() {
		if m != nil {
			running = append(running, i)
		}
	}
	w.shutdown(ctx, running)
	if err := w.undo(ctx, func() []step.Step { return b.graph(w, everyMachine).live }); err != nil {
		return
	}
	again := w.status().Again
	if !again {
		w.enter(play.Stopped, "", false)
		return
	}
	err := w.save(ctx, func(r *Record) {
		if r.Goal == GoalStopped && r.Again {
			r.Goal, r.Again, r.HostBoot = GoalRunning, false, b.opts.HostBoot
			r.enter(play.Starting, "", false, b.opts.Now())
		}
	})
	if err != nil {
		b.opts.Log.Error("cannot restart play", "play", w.id(), "error", err)
	}
	w.signal()
}

// undo takes steps back, again and again until it succeeds or ctx ends.
func (w *worker) undo(ctx context.Context, steps func() []step.Step) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := w.bender.opts.Runner.Undo(ctx, steps(), w.journal())
		if err != nil && ctx.Err() == nil {
			w.bender.opts.Log.Warn("cannot undo; trying again", "play", w.id(), "error", err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(0))
	return err
}

// remove takes everything back and forgets the play; it tells whether it came
// to that.
func (w *worker) remove(ctx context.Context) bool {
	w.enter(play.Destroying, "", false)
	if err := w.undo(ctx, func() []step.Step { return w.bender.graph(w, everyMachine).all() }); err != nil {
		return false
	}
	if err := w.bender.opts.Records.Delete(ctx, w.id()); err != nil {
		w.bender.opts.Log.Error("cannot forget play", "play", w.id(), "error", err)
		w.signal()
		return false
	}
	if w.bender.opts.Gone != nil {
		w.bender.opts.Gone(w.id())
	}
	w.update(func(r *Record) bool {
		r.enter(play.Destroyed, "", false, w.bender.opts.Now())
		for i := range r.Machines {
			r.Machines[i].State, r.Machines[i].Conditions = play.MachineStopped, nil
		}
		return true
	})
	return true
}

// linger keeps a destroyed play readable for a while: clients poll for its
// last state.
func (w *worker) linger(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(w.bender.opts.KeepDestroyed):
		w.bender.forget(w.id())
	}
}

// shutdown asks machines to power off and waits for it, within the grace.
func (w *worker) shutdown(ctx context.Context, machines []int) {
	ctx, cancel := context.WithTimeout(ctx, w.bender.opts.StopGrace)
	defer cancel()
	var wg sync.WaitGroup
	for _, i := range machines {
		m := w.machinesNow()[i]
		if m == nil || m.gone() {
			continue
		}
		w.machineState(i, play.MachineStopping, "")
		wg.Go(func() {
			if !m.is(play.ConditionBoot) {
				return // nobody there to ask
			}
			m.mu.Lock()
			m.asked = true
			m.mu.Unlock()
			if err := m.agent.Shutdown(ctx, "poweroff"); err != nil {
				return
			}
			select {
			case <-m.exited:
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
}

// leave ends the worker's sessions; the machines go on.
func (w *worker) leave() {
	for i := range w.plan.Machines {
		w.detach(i)
	}
}

func (w *worker) console(i int) ([]byte, error) {
	return vm.ReadConsole(w.bender.opts.Layout.Machine(string(w.id()), i))
}
