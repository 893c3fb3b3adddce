package servertest

import (
	"context"
	"fmt"
	"slices"

	"sandlot/api"
	"sandlot/internal/play"
)

// Ports are what was exposed.
func (l *Lab) Ports(ctx context.Context, me api.Me, id play.ID) ([]api.Port, error) {
	if _, err := l.Get(ctx, me, id); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []api.Port
	for _, p := range l.ports {
		if p.PlayID == string(id) {
			out = append(out, p)
		}
	}
	return out, nil
}

// ExposePort adds one without checks: those are control's.
func (l *Lab) ExposePort(ctx context.Context, me api.Me, id play.ID, req api.Port) (api.Port, error) {
	if _, err := l.Get(ctx, me, id); err != nil {
		return api.Port{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	req.PlayID = string(id)
	if req.Machine == "" {
		req.Machine = l.plays[id].Machines[0].Name
	}
	if req.Access == "" {
		req.Access = api.AccessPrivate
	}
	l.exposedIDs++
	req.ID = fmt.Sprintf("%024x", l.exposedIDs)
	l.ports = append(l.ports, req)
	return req, nil
}

// RemovePort removes one.
func (l *Lab) RemovePort(_ context.Context, _ api.Me, id play.ID, port string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.ports)
	l.ports = slices.DeleteFunc(l.ports, func(p api.Port) bool { return p.PlayID == string(id) && p.ID == port })
	if len(l.ports) == before {
		return api.Errorf(api.NotFound, "play %s exposes no port %q", id, port)
	}
	return nil
}

// ExposedPort finds one.
func (l *Lab) ExposedPort(_ context.Context, port string) (api.Port, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.ports {
		if p.ID == port && play.State(l.stateOf(p.PlayID)) != play.Destroyed {
			return p, nil
		}
	}
	return api.Port{}, api.Errorf(api.NotFound, "nothing is exposed here")
}

func (l *Lab) stateOf(id string) string {
	p := l.plays[play.ID(id)]
	return p.State()
}

// Shells are what was exposed.
func (l *Lab) Shells(ctx context.Context, me api.Me, id play.ID) ([]api.Shell, error) {
	if _, err := l.Get(ctx, me, id); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []api.Shell
	for _, s := range l.shells {
		if s.PlayID == string(id) {
			out = append(out, s)
		}
	}
	return out, nil
}

// ExposeShell adds one.
func (l *Lab) ExposeShell(ctx context.Context, me api.Me, id play.ID, req api.Shell) (api.Shell, error) {
	if _, err := l.Get(ctx, me, id); err != nil {
		return api.Shell{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	req.PlayID = string(id)
	l.exposedIDs++
	req.ID = fmt.Sprintf("%024x", l.exposedIDs)
	if req.Access == "" {
		req.Access = api.AccessPrivate
	}
	if req.Machine == "" {
		req.Machine = l.plays[id].Machines[0].Name
	}
	if req.User == "" {
		req.User = "laborant"
	}
	l.shells = append(l.shells, req)
	return req, nil
}

// RemoveShell removes one.
func (l *Lab) RemoveShell(_ context.Context, _ api.Me, id play.ID, shell string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shells = slices.DeleteFunc(l.shells, func(s api.Shell) bool { return s.PlayID == string(id) && s.ID == shell })
	return nil
}

// ExposedShell finds one.
func (l *Lab) ExposedShell(_ context.Context, shell string) (api.Shell, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.shells {
		if s.ID == shell {
			return s, nil
		}
	}
	return api.Shell{}, api.Errorf(api.NotFound, "nothing is exposed here")
}

// PlayOfShell finds its play.
func (l *Lab) PlayOfShell(ctx context.Context, shell string) (api.Play, error) {
	s, err := l.ExposedShell(ctx, shell)
	if err != nil {
		return api.Play{}, err
	}
	return l.Get(ctx, api.Me{}, play.ID(s.PlayID))
}

// PortForwards are what was saved.
func (l *Lab) PortForwards(ctx context.Context, me api.Me, id play.ID) ([]api.PortForward, error) {
	_, err := l.Get(ctx, me, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.forwards[id]), err
}

// AddPortForward saves one, once.
func (l *Lab) AddPortForward(_ context.Context, _ api.Me, id play.ID, f api.PortForward) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.forwards[id], f) {
		l.forwards[id] = append(l.forwards[id], f)
	}
	return nil
}

// RemovePortForward removes one.
func (l *Lab) RemovePortForward(_ context.Context, _ api.Me, id play.ID, index int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index < 0 || index >= len(l.forwards[id]) {
		return api.Errorf(api.NotFound, "there is no port forward %d", index)
	}
	l.forwards[id] = slices.Delete(l.forwards[id], index, index+1)
	return nil
}

// Listening are the ports that scans look at.
func (l *Lab) Listening(ports ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listening = ports
}

// PlayIDs are those of all plays, oldest first.
func (l *Lab) PlayIDs() []play.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.order)
}
