package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sandlot/api"
	"sandlot/internal/play"
)

// Authenticate knows one session.
func (l *Lab) Authenticate(_ context.Context, sessionID, token string) (api.Me, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sessionID != Session || token != Token || l.ended[sessionID] {
		return api.Me{}, api.Errorf(api.Unauthenticated, "authentication required")
	}
	if l.Ordinary {
		return api.Me{ID: UserID, Role: api.RoleUser}, nil
	}
	return api.Me{ID: UserID, Role: api.RoleAdministrator}, nil
}

// EndSession ends any session.
func (l *Lab) EndSession(_ context.Context, _ api.Me, sessionID string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[sessionID] = true
	return nil
}

// Playgrounds returns the catalog.
func (l *Lab) Playgrounds(context.Context, api.Me, string, api.Page) (list []json.RawMessage, total int, err error) {
	for _, pg := range l.Catalog {
		body, err := json.Marshal(pg)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, body)
	}
	return list, len(list), nil
}

// Playground finds one by name.
func (l *Lab) Playground(_ context.Context, _ api.Me, name string, _ bool) (api.Playground, error) {
	for _, pg := range l.Catalog {
		if pg.Name == name {
			return pg, nil
		}
	}
	return api.Playground{}, api.Errorf(api.NotFound, "there is no playground %q", name)
}

// CreatePlayground adds to the catalog, with a suffix as labd adds one.
func (l *Lab) CreatePlayground(_ context.Context, _ api.Me, req api.CreatePlayground) (api.Playground, error) {
	if l.Refuse != nil {
		return api.Playground{}, l.Refuse
	}
	pg := playground(req.Name+Suffix, req.PlaygroundSpec)
	pg.Base = req.Base
	l.Catalog = append(l.Catalog, pg)
	return pg, nil
}

// UpdatePlayground replaces in the catalog.
func (l *Lab) UpdatePlayground(ctx context.Context, me api.Me, name string, spec api.PlaygroundSpec) (api.Playground, error) {
	old, err := l.Playground(ctx, me, name, true)
	if err != nil {
		return old, err
	}
	if l.Refuse != nil {
		return api.Playground{}, l.Refuse
	}
	pg := playground(name, spec)
	pg.Base = old.Base
	if err := l.RemovePlayground(ctx, me, name); err != nil {
		return pg, err
	}
	l.Catalog = append(l.Catalog, pg)
	return pg, nil
}

// RemovePlayground takes out of the catalog.
func (l *Lab) RemovePlayground(ctx context.Context, me api.Me, name string) error {
	_, err := l.Playground(ctx, me, name, false)
	l.Catalog = slices.DeleteFunc(l.Catalog, func(pg api.Playground) bool { return pg.Name == name })
	return err
}

func playground(name string, s api.PlaygroundSpec) api.Playground {
	return api.Playground{
		Owner: UserID, Name: name, Title: s.Title, Description: s.Description, Categories: s.Categories,
		Cover: s.Cover, Markdown: s.Markdown, Networks: s.Networks, Machines: s.Machines, Tabs: s.Tabs,
		InitTasks: s.InitTasks, InitConditions: s.InitConditions, RegistryAuth: s.RegistryAuth,
		PortForwards: s.PortForwards, AccessControl: s.AccessControl,
	}
}

// Start adds a play with the request's machines, or one called "m1".
func (l *Lab) Start(_ context.Context, _ api.Me, req api.StartPlay) (api.Play, error) {
	l.mu.Lock()
	l.started = append(l.started, req)
	refuse, boot := l.Refuse, l.Boot
	l.mu.Unlock()
	if refuse != nil {
		return api.Play{}, refuse
	}
	names := []string{"m1"}
	if len(req.Machines) > 0 {
		names = nil
		for _, m := range req.Machines {
			names = append(names, m.Name)
		}
	}
	id := l.Add(req.Title, names...)
	if len(req.InitTasks) > 0 {
		l.Change(id, func(p *api.Play) {
			for name, t := range req.InitTasks {
				p.Tasks[name] = api.PlayTask{Name: name, Init: t.Init, Status: api.TaskCreated}
			}
		})
	}
	p := l.Play(id)
	if boot != nil {
		go boot(l, id)
	}
	return p, nil
}

// List returns all plays.
func (l *Lab) List(context.Context, api.Me, bool, api.Page) ([]api.EncodedPlay, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []api.EncodedPlay
	for _, id := range l.order {
		body, err := json.Marshal(copyOf(l.plays[id]))
		if err != nil {
			return nil, err
		}
		head, tail, _ := bytes.Cut(body, []byte(`"pageUrl":"`))
		out = append(out, api.EncodedPlay{ID: string(id), Head: append(head, `"pageUrl":"`...), Tail: tail})
	}
	return out, nil
}

// EveryPlay returns a page of all plays, the newest first: the only user's.
func (l *Lab) EveryPlay(_ context.Context, _ api.Me, owner string, limit, offset int) (plays []api.OwnedPlay, total int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if owner != "" && owner != UserID {
		return nil, 0, nil
	}
	newest := slices.Clone(l.order)
	slices.Reverse(newest)
	for _, id := range newest[min(offset, len(newest)):min(offset+limit, len(newest))] {
		plays = append(plays, api.OwnedPlay{Owner: UserID, Play: copyOf(l.plays[id])})
	}
	return plays, len(newest), nil
}

// Get finds a play.
func (l *Lab) Get(_ context.Context, _ api.Me, id play.ID) (api.Play, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.plays[id]
	if !ok {
		return api.Play{}, api.Errorf(api.NotFound, "there is no play %s", id)
	}
	return copyOf(p), nil
}

// Tasks returns Details.
func (l *Lab) Tasks(context.Context, api.Me, play.ID, []string) ([]api.TaskDetails, error) {
	return l.Details, nil
}

// Watch sends a snapshot at once and after each change.
func (l *Lab) Watch(ctx context.Context, me api.Me, id play.ID) (<-chan api.Play, error) {
	if _, err := l.Get(ctx, me, id); err != nil {
		return nil, err
	}
	out := make(chan api.Play)
	go func() {
		defer close(out)
		for {
			l.mu.Lock()
			p, changed := copyOf(l.plays[id]), l.changed
			l.mu.Unlock()
			select {
			case out <- p:
			case <-ctx.Done():
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (l *Lab) act(ctx context.Context, me api.Me, id play.ID, action string, change func()) (api.Play, error) {
	if _, err := l.Get(ctx, me, id); err != nil {
		return api.Play{}, err
	}
	l.mu.Lock()
	l.actions = append(l.actions, action)
	refuse := l.Refuse
	l.mu.Unlock()
	if refuse != nil {
		return api.Play{}, refuse
	}
	change()
	return l.Get(ctx, me, id)
}

// Stop stops at once.
func (l *Lab) Stop(ctx context.Context, me api.Me, id play.ID) (api.Play, error) {
	return l.act(ctx, me, id, "stop", func() { l.State(id, play.Stopped) })
}

// Restart starts booting again.
func (l *Lab) Restart(ctx context.Context, me api.Me, id play.ID) (api.Play, error) {
	return l.act(ctx, me, id, "restart", func() {
		l.State(id, play.Starting)
		if l.Boot != nil {
			go l.Boot(l, id)
		}
	})
}

// Destroy destroys a moment later.
func (l *Lab) Destroy(ctx context.Context, me api.Me, id play.ID) (api.Play, error) {
	return l.act(ctx, me, id, "destroy", func() {
		l.State(id, play.Destroying)
		go func() {
			l.State(id, play.Destroyed)
			l.Gateway.Revoke(id)
			l.Server.Revoke(id)
		}()
	})
}

// SetTitle sets the title.
func (l *Lab) SetTitle(ctx context.Context, me api.Me, id play.ID, title string) (api.Play, error) {
	return l.act(ctx, me, id, "set_title "+title, func() { l.Change(id, func(p *api.Play) { p.Title = title }) })
}

// MakePersistent does nothing.
func (l *Lab) MakePersistent(ctx context.Context, me api.Me, id play.ID) (api.Play, error) {
	return l.act(ctx, me, id, "make_persistent", func() {})
}

// SetMaxPlayTime sets the lifetime.
func (l *Lab) SetMaxPlayTime(ctx context.Context, me api.Me, id play.ID, d time.Duration) (api.Play, error) {
	return l.act(ctx, me, id, "set_max_play_time", func() {
		l.Change(id, func(p *api.Play) { p.MaxPlayTime, p.ExpiresIn = d.String(), d.Milliseconds() })
	})
}

func (l *Lab) machineAction(ctx context.Context, me api.Me, id play.ID, verb, machine string) (api.Play, error) {
	if _, ok := l.Play(id).Status.Machine(machine); !ok {
		return api.Play{}, api.Errorf(api.NotFound, "there is no machine %q", machine)
	}
	return l.act(ctx, me, id, "machine."+verb+" "+machine, func() {})
}

// RebootMachine is recorded.
func (l *Lab) RebootMachine(ctx context.Context, me api.Me, id play.ID, machine string) (api.Play, error) {
	return l.machineAction(ctx, me, id, "reboot", machine)
}

// StopMachine is recorded.
func (l *Lab) StopMachine(ctx context.Context, me api.Me, id play.ID, machine string) (api.Play, error) {
	return l.machineAction(ctx, me, id, "stop", machine)
}

// RestartMachine is recorded.
func (l *Lab) RestartMachine(ctx context.Context, me api.Me, id play.ID, machine string) (api.Play, error) {
	return l.machineAction(ctx, me, id, "restart", machine)
}

// Consoles are two boots.
func (l *Lab) Consoles(context.Context, api.Me, play.ID, string) ([]string, error) {
	return []string{"boot-1", "boot-2"}, nil
}

func (l *Lab) Usage(_ context.Context, _ api.Me, id play.ID) ([]api.MachineUsage, error) {
	return []api.MachineUsage{{Machine: "m1", CPUSeconds: 1.5, MemoryBytes: 64 << 20, MemoryLimit: 128 << 20, Links: []api.Link{{Name: "eth0", Up: true}}, At: "2026-11-22T07:00:00.000Z"}}, nil
}

// Console has thirty lines.
func (l *Lab) Console(_ context.Context, _ api.Me, _ play.ID, machine, console string) (string, error) {
	if console != "boot-1" && console != "boot-2" {
		return "", api.Errorf(api.NotFound, "there is no console %q", console)
	}
	var out string
	for i := range 30 {
		out += fmt.Sprintf("%s %s line %d\n", machine, console, i+1)
	}
	return out, nil
}

// UserPlan is a plan with one limit.
func (l *Lab) UserPlan(context.Context, api.Me) (api.UserPlan, error) {
	return api.UserPlan{Name: "free", Limits: api.PlanLimits{Plays: 2, PlayTime: "1h0m0s"}, Use: api.PlanUse{Plays: 1, PoolSpace: "10GiB"}}, nil
}

// SavePlay adds a playground with the play's machines to the catalog.
func (l *Lab) SavePlay(ctx context.Context, me api.Me, id play.ID, req api.SavePlay) (api.Playground, error) {
	if _, err := l.act(ctx, me, id, "save "+req.Name, func() {}); err != nil {
		return api.Playground{}, err
	}
	pg := playground(req.Name+Suffix, api.PlaygroundSpec{Title: req.Title})
	l.Catalog = append(l.Catalog, pg)
	return pg, nil
}

// ForkPlay adds a play with the same machines.
func (l *Lab) ForkPlay(ctx context.Context, me api.Me, id play.ID, req api.ForkPlay) (api.Play, error) {
	from, err := l.act(ctx, me, id, "fork "+req.Title, func() {})
	if err != nil {
		return from, err
	}
	var names []string
	for _, m := range from.Machines {
		names = append(names, m.Name)
	}
	made := l.Add(req.Title, names...)
	if l.Boot != nil {
		go l.Boot(l, made)
	}
	return l.Play(made), nil
}
