package control

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/play"
	"sandlot/internal/store"
	"sandlot/internal/vm"
)

// row returns a play of the user, or any to an administrator; another's is as
// if it did not exist.
func (c *Control) row(ctx context.Context, user api.Me, id play.ID) (store.Play, error) {
	row, err := c.opts.Store.Play(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.Owner != user.ID && !user.Administrator() {
		return row, api.Errorf(api.NotFound, "there is no play %q", id)
	}
	return row, err
}

// Get returns a play of the user.
func (c *Control) Get(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	return c.view(row)
}

// Watch sends the play at once and after every change.
func (c *Control) Watch(ctx context.Context, user api.Me, id play.ID) (<-chan api.Play, error) {
	if _, err := c.row(ctx, user, id); err != nil {
		return nil, err
	}
	changes, stop, err := c.opts.Bender.Watch(id)
	if errors.Is(err, bender.ErrUnknown) {
		changes, stop, err = nil, func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	plays := make(chan api.Play, 1)
	go func() {
		defer close(plays)
		defer stop()
		for {
			p, err := c.Get(ctx, user, id)
			if err != nil {
				return
			}
			select {
			case plays <- p:
			case <-ctx.Done():
				return
			}
			if p.State() == string(play.Destroyed) {
				return
			}
			select {
			case <-changes:
			case <-ctx.Done():
				return
			}
		}
	}()
	return plays, nil
}

// act does something to a play of the user and returns it as it is then. What
// counts is written before it is done, within the limits of the owner's plan,
// and follows bender if that refuses.
func (c *Control) act(ctx context.Context, user api.Me, id play.ID, verb string, change func(p *store.Play, b Budget), f func() error) (api.Play, error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	a, err := c.allowance(ctx, row.Owner)
	if err != nil {
		return api.Play{}, err
	}
	row, err = c.opts.Store.ChangePlay(ctx, id, a.limits(), func(p *store.Play) {
		if p.Goal != store.GoalEnded {
			change(p, a.Budget)
		}
		p.UpdatedAt = c.opts.Now()
	})
	if err != nil {
		return api.Play{}, a.refuse(verb+" the play", err)
	}
	if err := f(); err != nil {
		err := errors.Join(err, c.follow(context.WithoutCancel(ctx), row))
		if errors.Is(err, bender.ErrUnknown) {
			return api.Play{}, api.Errorf(api.Gone, "%s", err)
		}
		return api.Play{}, api.Errorf(api.Conflict, "%s", err)
	}
	return c.view(row)
}

// Stop shuts the play down and keeps its volumes.
func (c *Control) Stop(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, "stop", func(p *store.Play, _ Budget) { rest(p) }, func() error { return c.opts.Bender.Stop(ctx, id) })
}

// Restart brings the play up again; the time of one that was stopped begins
// anew.
func (c *Control) Restart(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, "restart", func(p *store.Play, b Budget) {
		if p.Goal == store.GoalStopped {
			p.Goal = store.GoalRunning
			begin(p, b, c.opts.Now())
		}
	}, func() error { return c.opts.Bender.Restart(ctx, id) })
}

// Destroy removes the play, in every state and twice.
func (c *Control) Destroy(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, "destroy", func(p *store.Play, _ Budget) { end(p) }, func() error {
		if err := c.opts.Bender.Destroy(ctx, id); !errors.Is(err, bender.ErrUnknown) {
			return err
		}
		return nil
	})
}

// SetTitle renames the play.
func (c *Control) SetTitle(ctx context.Context, user api.Me, id play.ID, title string) (api.Play, error) {
	return c.act(ctx, user, id, "rename", func(p *store.Play, _ Budget) { p.Title = title }, nothing)
}

func nothing() error { return nil }

// RebootMachine asks a machine's init to reboot.
func (c *Control) RebootMachine(ctx context.Context, user api.Me, id play.ID, machine string) (api.Play, error) {
	return c.actMachine(ctx, user, id, machine, c.opts.Bender.RebootMachine)
}

// StopMachine shuts one machine down.
func (c *Control) StopMachine(ctx context.Context, user api.Me, id play.ID, machine string) (api.Play, error) {
	return c.actMachine(ctx, user, id, machine, c.opts.Bender.StopMachine)
}

// RestartMachine starts a machine, stopping it first if it runs.
func (c *Control) RestartMachine(ctx context.Context, user api.Me, id play.ID, machine string) (api.Play, error) {
	return c.actMachine(ctx, user, id, machine, c.opts.Bender.RestartMachine)
}

func (c *Control) actMachine(ctx context.Context, user api.Me, id play.ID, machine string, f func(context.Context, play.ID, string) error) (api.Play, error) {
	p, err := c.Get(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	if _, ok := p.Status.Machine(machine); !ok {
		return api.Play{}, api.Errorf(api.NotFound, "play %q has no machine %q", id, machine)
	}
	return c.act(ctx, user, id, "change a machine of", func(*store.Play, Budget) {}, func() error { return f(ctx, id, machine) })
}

// Usage tells what the machines that run use, in the order of the manifest.
func (c *Control) Usage(ctx context.Context, user api.Me, id play.ID) ([]api.MachineUsage, error) {
	p, err := c.Get(ctx, user, id)
	if err != nil || c.opts.Usage == nil {
		return nil, err
	}
	// At once: each waits a little for its machine.
	readings := make([]*api.MachineUsage, len(p.Machines))
	var all sync.WaitGroup
	for i, m := range p.Machines {
		all.Go(func() {
			if u, ok := c.opts.Usage(ctx, id, m.Name); ok {
				u.Machine, u.At = m.Name, api.Time(c.opts.Now())
				readings[i] = &u
			}
		})
	}
	all.Wait()
	var out []api.MachineUsage
	for _, r := range readings {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out, nil
}

// Consoles names a machine's kept consoles, one for each boot, oldest first.
func (c *Control) Consoles(ctx context.Context, user api.Me, id play.ID, machine string) ([]string, error) {
	boots, err := c.boots(ctx, user, id, machine)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for i := range boots {
		names = append(names, bootName(i))
	}
	return names, nil
}

// Console returns what a machine printed in one boot.
func (c *Control) Console(ctx context.Context, user api.Me, id play.ID, machine, console string) (string, error) {
	boots, err := c.boots(ctx, user, id, machine)
	if err != nil {
		return "", err
	}
	for i, b := range boots {
		if bootName(i) == console {
			return string(b), nil
		}
	}
	return "", api.Errorf(api.NotFound, "machine %q has no console %q", machine, console)
}

func bootName(i int) string { return fmt.Sprintf("boot-%d", i+1) }

func (c *Control) boots(ctx context.Context, user api.Me, id play.ID, machine string) ([][]byte, error) {
	if _, err := c.row(ctx, user, id); err != nil {
		return nil, err
	}
	console, err := c.opts.Bender.Console(id, machine)
	if errors.Is(err, bender.ErrUnknown) {
		return nil, api.Errorf(api.NotFound, "%s", err)
	}
	if err != nil {
		return nil, err
	}
	return vm.SplitBoots(console), nil
}
