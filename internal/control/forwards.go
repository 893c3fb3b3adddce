package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"sandlot/api"
	"sandlot/internal/play"
)

// maxForwards bounds the saved port forwards of one play.
const maxForwards = 64

// PortForwards lists the forwards of the user's play: those of its playground,
// then those that were saved, in a stable order.
func (c *Control) PortForwards(ctx context.Context, user api.Me, id play.ID) ([]api.PortForward, error) {
	p, err := c.Get(ctx, user, id)
	if err != nil {
		return nil, err
	}
	return c.forwards(ctx, p)
}

func (c *Control) forwards(ctx context.Context, p api.Play) ([]api.PortForward, error) {
	records, begun, err := c.opts.Store.PortForwards(ctx, play.ID(p.ID))
	if err != nil {
		return nil, err
	}
	if !begun {
		list := slices.Clone(p.Playground.PortForwards)
		for i := range list {
			if list[i].Kind == "" {
				list[i].Kind = api.ForwardLocal
			}
			if list[i].Machine == "" && len(p.Machines) > 0 {
				list[i].Machine = p.Machines[0].Name
			}
		}
		return list, nil
	}
	list := make([]api.PortForward, len(records))
	for i, r := range records {
		if err := json.Unmarshal(r, &list[i]); err != nil {
			return nil, fmt.Errorf("cannot read a port forward of play %q: %w", p.ID, err)
		}
	}
	return list, nil
}

// AddPortForward saves a forward. One that is there already is no error; a
// local one to SSH takes the place of the last to that machine, because every
// copy and every proxy saves one with a port of its own.
func (c *Control) AddPortForward(ctx context.Context, user api.Me, id play.ID, f api.PortForward) error {
	p, err := c.exposable(ctx, user, id)
	if err != nil {
		return err
	}
	m, err := machineNamed(p, f.Machine)
	if err != nil {
		return err
	}
	f.Machine = m.Name
	if err := checkForward(f); err != nil {
		return err
	}
	c.forwarding.Lock()
	defer c.forwarding.Unlock()
	list, err := c.forwards(ctx, p)
	if err != nil || slices.Contains(list, f) {
		return err
	}
	toSSH := func(f api.PortForward) bool {
		return f.Kind == api.ForwardLocal && f.RemotePort == 22 && f.RemoteHost == ""
	}
	at := -1
	if toSSH(f) {
		at = slices.IndexFunc(list, func(o api.PortForward) bool {
			return toSSH(o) && o.Machine == f.Machine && o.LocalHost == f.LocalHost
		})
	}
	switch {
	case at >= 0:
		list[at] = f
	case len(list) >= maxForwards:
		return api.Errorf(api.TooMany, "play %s has %d saved port forwards, the most there may be: remove some with labctl port-forward %s --remove N", id, maxForwards, id)
	default:
		list = append(list, f)
	}
	return c.putForwards(ctx, id, list)
}

// RemovePortForward removes the forward at an index of the list, from 0.
func (c *Control) RemovePortForward(ctx context.Context, user api.Me, id play.ID, index int) error {
	p, err := c.Get(ctx, user, id)
	if err != nil {
		return err
	}
	c.forwarding.Lock()
	defer c.forwarding.Unlock()
	list, err := c.forwards(ctx, p)
	if err != nil {
		return err
	}
	if index < 0 || index >= len(list) {
		return api.Errorf(api.NotFound, "play %s has no port forward %d: it has %d, counted from 0", id, index, len(list))
	}
	return c.putForwards(ctx, id, slices.Delete(list, index, index+1))
}

func (c *Control) putForwards(ctx context.Context, id play.ID, list []api.PortForward) error {
	records := make([][]byte, len(list))
	for i, f := range list {
		var err error
		if records[i], err = json.Marshal(f); err != nil {
			return err
		}
	}
	return c.opts.Store.PutPortForwards(ctx, id, records)
}

func checkForward(f api.PortForward) error {
	if f.Kind != api.ForwardLocal && f.Kind != api.ForwardRemote {
		return api.Errorf(api.Invalid, "there is no kind of port forward %q: write local or remote", clip(f.Kind))
	}
	for name, port := range map[string]int{"localPort": f.LocalPort, "remotePort": f.RemotePort} {
		if port < 0 || port > 65535 {
			return api.Errorf(api.Invalid, "%s is %d: write 1 to 65535", name, port)
		}
	}
	if f.RemotePort == 0 {
		return api.Errorf(api.Invalid, "the port forward has no remotePort: write 1 to 65535")
	}
	for name, host := range map[string]string{"localHost": f.LocalHost, "remoteHost": f.RemoteHost} {
		if host != "" && !hostPattern.MatchString(host) && !hostPattern.MatchString("["+host+"]") {
			return api.Errorf(api.Invalid, "%s is %q: write a host's name or address", name, clip(host))
		}
	}
	return nil
}
