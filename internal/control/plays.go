package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/manifest"
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

// view joins what control and bender know of a play. A play that bender has
// forgotten is destroyed.
func (c *Control) view(row store.Play) (api.Play, error) {
	var m manifest.Manifest
	if err := json.Unmarshal(row.Manifest, &m); err != nil {
		return api.Play{}, fmt.Errorf("cannot read manifest of play %q: %w", row.ID, err)
	}
	playground, err := wirePlayground(&m)
	if err != nil {
		return api.Play{}, err
	}
	playground.Name = row.Playground
	p := api.Play{
		ID: string(row.ID), Title: row.Title, Playground: playground,
		CreatedAt: api.Time(row.CreatedAt), UpdatedAt: api.Time(row.UpdatedAt),
		Status: &api.PlayStatus{FactoryID: string(row.ID)},
	}
	if row.MaxPlayMinutes > 0 {
		total := time.Duration(row.MaxPlayMinutes) * time.Minute
		p.MaxPlayTime = total.String()
		p.ExpiresIn = max(0, row.CreatedAt.Add(total).Sub(c.opts.Now()).Milliseconds())
	}
	for _, s := range playground.Machines {
		p.Machines = append(p.Machines, api.Machine{Name: s.Name, Users: s.Users, Resources: s.Resources, Backend: s.Backend, NoSSH: s.NoSSH})
	}
	record, err := c.opts.Bender.Status(row.ID)
	if errors.Is(err, bender.ErrUnknown) {
		p.Status.StateEvents = []api.StateEvent{{State: string(play.Destroyed), At: p.UpdatedAt}}
		p.LastStateAt = p.UpdatedAt
		return p, nil
	}
	if err != nil {
		return api.Play{}, err
	}
	fill(&p, record)
	return p, nil
}

// fill writes bender's part into the view.
func fill(p *api.Play, r bender.Record) {
	p.Notes, p.Tasks = r.Plan.Notes, tasks(r)
	for i, m := range r.Plan.Machines {
		p.Machines[i].Backend = m.Backend
		p.Machines[i].Resources = &api.Resources{CPUCount: m.CPUs, RAMSize: manifest.FormatSize(int64(m.MemoryMiB) << 20)}
	}
	for _, e := range r.Events {
		p.Status.StateEvents = append(p.Status.StateEvents, api.StateEvent{
			State: string(e.State), Error: e.Error, At: api.Time(e.At), Message: e.Message,
		})
	}
	last := api.Time(r.Events[len(r.Events)-1].At)
	p.LastStateAt, p.UpdatedAt = last, max(p.UpdatedAt, last)
	for _, m := range r.Machines {
		status := api.MachineStatus{Name: m.Name, State: string(m.State), Message: m.Message, Conditions: []api.Condition{}}
		for _, k := range m.Conditions {
			value := api.False
			if k.Status {
				value = api.True
			}
			status.Conditions = append(status.Conditions, api.Condition{
				Name: k.Name, Status: value, LastTransitionAt: api.Time(k.At), Message: k.Message,
			})
		}
		p.Status.Machines = append(p.Status.Machines, status)
	}
}

// Get returns a play of the user.
func (c *Control) Get(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	return c.view(row)
}

// keepRows is how long a destroyed play is listed.
const keepRows = 24 * time.Hour

// List returns the user's plays; with persistent, only those whose state is
// kept: every play of ours that is not destroyed.
func (c *Control) List(ctx context.Context, user api.Me, persistent bool) ([]api.Play, error) {
	rows, err := c.opts.Store.Plays(ctx)
	if err != nil {
		return nil, err
	}
	list := []api.Play{}
	for _, row := range rows {
		if row.Owner != user.ID {
			continue
		}
		p, err := c.view(row)
		if err != nil {
			return nil, err
		}
		if p.State() == string(play.Destroyed) && (persistent || c.opts.Now().Sub(row.UpdatedAt) > keepRows) {
			continue
		}
		list = append(list, p)
	}
	return list, nil
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

// act does something to a play of the user and returns it as it is then.
func (c *Control) act(ctx context.Context, user api.Me, id play.ID, f func() error) (api.Play, error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	if err := f(); err != nil {
		if errors.Is(err, bender.ErrUnknown) {
			return api.Play{}, api.Errorf(api.Gone, "%s", err)
		}
		return api.Play{}, api.Errorf(api.Conflict, "%s", err)
	}
	row.UpdatedAt = c.opts.Now()
	if err := c.opts.Store.PutPlay(ctx, row); err != nil {
		return api.Play{}, err
	}
	return c.view(row)
}

// Stop shuts the play down and keeps its volumes.
func (c *Control) Stop(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, func() error { return c.opts.Bender.Stop(ctx, id) })
}

// Restart brings the play up again.
func (c *Control) Restart(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, func() error { return c.opts.Bender.Restart(ctx, id) })
}

// Destroy removes the play, in every state and twice.
func (c *Control) Destroy(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, func() error {
		if err := c.opts.Bender.Destroy(ctx, id); !errors.Is(err, bender.ErrUnknown) {
			return err
		}
		return nil
	})
}

// SetTitle renames the play.
func (c *Control) SetTitle(ctx context.Context, user api.Me, id play.ID, title string) (api.Play, error) {
	return c.edit(ctx, user, id, func(row *store.Play) { row.Title = title })
}

// MakePersistent changes nothing: every play keeps its volumes until it is
// destroyed.
func (c *Control) MakePersistent(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.Get(ctx, user, id)
}

// SetMaxPlayTime sets the total lifetime; Expire enforces it.
func (c *Control) SetMaxPlayTime(ctx context.Context, user api.Me, id play.ID, total time.Duration) (api.Play, error) {
	return c.edit(ctx, user, id, func(row *store.Play) { row.MaxPlayMinutes = int(total / time.Minute) })
}

func (c *Control) edit(ctx context.Context, user api.Me, id play.ID, f func(row *store.Play)) (api.Play, error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	f(&row)
	row.UpdatedAt = c.opts.Now()
	if err := c.opts.Store.PutPlay(ctx, row); err != nil {
		return api.Play{}, err
	}
	return c.view(row)
}

// Expire destroys plays past their lifetime and forgets those destroyed long
// ago. Call it now and then.
func (c *Control) Expire(ctx context.Context) error {
	rows, err := c.opts.Store.Plays(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, row := range rows {
		_, err := c.opts.Bender.Status(row.ID)
		switch age := c.opts.Now().Sub(row.UpdatedAt); {
		case errors.Is(err, bender.ErrUnknown) && age > keepRows:
			errs = append(errs, c.opts.Store.DeletePlay(ctx, row.ID))
		case err == nil && row.MaxPlayMinutes > 0 &&
			c.opts.Now().After(row.CreatedAt.Add(time.Duration(row.MaxPlayMinutes)*time.Minute)):
			errs = append(errs, c.opts.Bender.Destroy(ctx, row.ID))
		}
	}
	return errors.Join(errs...)
}

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
	return c.act(ctx, user, id, func() error { return f(ctx, id, machine) })
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
