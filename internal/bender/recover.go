package bender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sandlot/internal/play"
	"sandlot/internal/step"
	"sandlot/internal/vm"
)

// Recover takes over what an earlier bender left: it adopts machines, goes on
// with what was under way, and removes what belongs to no play. Call it once,
// before anything else.
func (b *Bender) Recover(ctx context.Context) error {
	records, err := b.opts.Records.Plays(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		tasks, err := b.opts.Records.Tasks(r.Plan.Play).All(ctx)
		if err != nil {
			return err
		}
		r.setTasks(tasks)
		if r.HostBoot != b.opts.HostBoot && r.Goal == GoalRunning {
			// The host restarted: nothing of the play lives. Its volumes do.
			r.Goal = GoalStopped
			r.enter(r.State(), "the host restarted", true, b.opts.Now())
			if err := b.opts.Records.Put(ctx, r); err != nil {
				return err
			}
		}
		w := newWorker(b, r)
		if r.HostBoot != b.opts.HostBoot {
			for i := range r.Plan.Machines {
				w.interrupted(ctx, i, "stopped with the host")
			}
		}
		if err := w.adopt(ctx); err != nil {
			return fmt.Errorf("cannot take over play %q: %w", r.Plan.Play, err)
		}
		b.mu.Lock()
		b.workers[r.Plan.Play] = w
		b.mu.Unlock()
	}
	if err := b.Sweep(ctx); err != nil {
		b.opts.Log.Error("cannot remove strays", "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.workers {
		b.wg.Go(func() { w.run(b.ctx) })
	}
	b.wg.Go(b.sweepNowAndThen)
	return nil
}

// adopt attaches to the play's machines whose boot step is done.
func (w *worker) adopt(ctx context.Context) error {
	b := w.bender
	states, err := w.journal().States(ctx)
	if err != nil {
		return err
	}
	if w.status().Goal == GoalRunning && states[stepNetwork] == step.Done {
		if err := b.opts.Networks.Ensure(ctx, w.plan, w.secrets.RegistryAuth); err != nil {
			b.opts.Log.Error("cannot bring back network", "play", w.id(), "error", err)
		}
	}
	for i, m := range w.plan.Machines {
		if states[stepBoot(m.Name)] != step.Done {
			continue
		}
		driver, err := b.driver(m.Backend)
		if err != nil {
			return err
		}
		kernel, _, err := b.opts.Kernels.Get(ctx, m.Kernel, filesystems(m))
		if err != nil {
			b.opts.Log.Warn("kernel of a running machine is gone", "machine", m.Name, "error", err)
		}
		running, err := driver.Adopt(ctx, machineSpec(b.opts.Layout, w.plan, i, kernel))
		switch {
		case err == nil:
			w.attach(i, running)
		case errors.Is(err, vm.ErrNotRunning):
			if w.status().Goal != GoalRunning {
				continue
			}
			w.interrupted(ctx, i, "stopped")
			w.machineState(i, play.MachineFailed, w.lastWords(i, "its VMM was gone when labd came back"))
			w.update(func(r *Record) bool { r.halt(m.Name); return true })
		default:
			return err
		}
	}
	return nil
}

// Sweep removes what belongs to no play.
func (b *Bender) Sweep(ctx context.Context) error {
	var errs []error
	for _, s := range b.opts.Strays {
		// Things are listed before plays are: a play that starts meanwhile is
		// known by the time it is asked for.
		ids, err := s.List(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, id := range ids {
			if b.known(id) {
				continue
			}
			b.opts.Log.Info("removing what belongs to no play", "id", id)
			if err := s.Remove(ctx, id); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (b *Bender) sweepNowAndThen() {
	tick := time.NewTicker(5 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			if err := b.Sweep(b.ctx); err != nil {
				b.opts.Log.Error("cannot remove strays", "error", err)
			}
		}
	}
}
