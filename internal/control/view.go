package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/manifest"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// outline is what lists show of a play's manifest.
type outline struct {
	Playground api.Playground `json:"playground"`
	Machines   []api.Machine  `json:"machines"`
}

// outlineOf also returns the whole playground.
func outlineOf(m *manifest.Manifest, name string) (outline, api.Playground, error) {
	whole, err := wirePlayground(m)
	if err != nil {
		return outline{}, whole, err
	}
	whole.Name = name
	o := outline{Playground: api.Playground{Name: name, Base: whole.Base, Title: whole.Title, Categories: whole.Categories}}
	for _, s := range whole.Machines {
		o.Machines = append(o.Machines, api.Machine{Name: s.Name, Users: s.Users, Resources: s.Resources, Backend: s.Backend, NoSSH: s.NoSSH})
	}
	return o, whole, nil
}

// view joins what control and bender know of a play.
func (c *Control) view(row store.Play) (api.Play, error) {
	m := new(manifest.Manifest)
	if err := json.Unmarshal([]byte(row.Manifest), m); err != nil {
		return api.Play{}, fmt.Errorf("cannot read manifest of play %q: %w", row.ID, err)
	}
	o, whole, err := outlineOf(m, row.Playground)
	if err != nil {
		return api.Play{}, err
	}
	p, err := c.outlined(row, o)
	p.Playground = whole
	p.ExpiresIn = c.expiresIn(row)
	return p, err
}

// outlined is what lists show of a play, but for the time it has left. A play
// that bender has forgotten is destroyed.
func (c *Control) outlined(row store.Play, o outline) (api.Play, error) {
	p := api.Play{
		ID: string(row.ID), Title: row.Title, Playground: o.Playground, Machines: o.Machines, Persistent: row.Persistent,
		CreatedAt: api.Time(row.CreatedAt), UpdatedAt: api.Time(row.UpdatedAt),
		Status: &api.PlayStatus{FactoryID: string(row.ID)},
	}
	if row.MaxPlayMinutes > 0 {
		p.MaxPlayTime = (time.Duration(row.MaxPlayMinutes) * time.Minute).String()
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

func (c *Control) expiresIn(row store.Play) int64 {
	if row.EndsAt.IsZero() {
		return 0
	}
	return max(1, row.EndsAt.Sub(c.opts.Now()).Milliseconds())
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

// encoded is a play as lists show it. It is good as long as neither its row
// nor bender's record changes; only the time it has left does by itself.
type encoded struct {
	row     store.Play
	version uint64
	// play is but for the time it has left.
	play      api.EncodedPlay
	destroyed bool
}

// maxEncoded bounds how many are kept; beyond it they are made anew.
const maxEncoded = 20_000

// unknownVersion stands for a play that bender has forgotten.
const unknownVersion = ^uint64(0)

// encode returns a play as lists show it, made anew only if it changed.
func (c *Control) encode(ctx context.Context, row store.Play) (encoded, error) {
	// Read before the record: a change in between makes it anew next time.
	version, err := c.opts.Bender.Version(row.ID)
	if errors.Is(err, bender.ErrUnknown) {
		version = unknownVersion
	} else if err != nil {
		return encoded{}, err
	}
	c.listing.Lock()
	e, ok := c.encoded[row.ID]
	c.listing.Unlock()
	if ok && e.version == version && e.row == row {
		return e, nil
	}
	o, err := c.outline(ctx, row)
	if err != nil {
		return encoded{}, err
	}
	p, err := c.outlined(row, o)
	if err != nil {
		return encoded{}, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return encoded{}, err
	}
	// No text in p can hold these: quotes are escaped in it. The playground of an
	// outline has no address of its own.
	head, rest, _ := bytes.Cut(body, []byte(`"expiresIn":0`))
	middle, tail, _ := bytes.Cut(rest, []byte(`"pageUrl":""`))
	e = encoded{row, version, api.EncodedPlay{
		ID: p.ID, Head: append(head[:len(head):len(head)], `"expiresIn":`...),
		Middle: append(middle[:len(middle):len(middle)], `"pageUrl":"`...), Tail: append([]byte(`"`), tail...),
	}, p.State() == string(play.Destroyed)}
	c.listing.Lock()
	defer c.listing.Unlock()
	if len(c.encoded) >= maxEncoded {
		clear(c.encoded)
	}
	c.encoded[row.ID] = e
	return e, nil
}

// outline reads a row's; those of older versions have none.
func (c *Control) outline(ctx context.Context, row store.Play) (o outline, err error) {
	if row.Summary == "" {
		whole, err := c.opts.Store.Play(ctx, row.ID)
		if err != nil {
			return o, err
		}
		m := new(manifest.Manifest)
		if err := json.Unmarshal([]byte(whole.Manifest), m); err != nil {
			return o, fmt.Errorf("cannot read manifest of play %q: %w", row.ID, err)
		}
		o, _, err = outlineOf(m, row.Playground)
		return o, err
	}
	if err := json.Unmarshal([]byte(row.Summary), &o); err != nil {
		return o, fmt.Errorf("cannot read summary of play %q: %w", row.ID, err)
	}
	return o, nil
}

// keepRows is how long a destroyed play is listed.
const keepRows = 24 * time.Hour

// List returns a page of the user's plays, the newest first; with persistent,
// only those whose state is kept: every play of ours that is not destroyed. A
// limit of 0 is none.
func (c *Control) List(ctx context.Context, user api.Me, persistent bool, page api.Page) ([]api.EncodedPlay, error) {
	since := c.opts.Now()
	if !persistent {
		since = since.Add(-keepRows)
	}
	rows, err := c.opts.Store.PlaysOf(ctx, user.ID, since, page.Limit, page.Offset)
	if err != nil {
		return nil, err
	}
	list := make([]api.EncodedPlay, 0, len(rows))
	for _, row := range rows {
		e, err := c.encode(ctx, row)
		if errors.Is(err, store.ErrNotFound) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return nil, err
		}
		if !e.destroyed || !persistent {
			e.play.ExpiresIn = strconv.AppendInt(nil, c.expiresIn(row), 10)
			list = append(list, e.play)
		}
	}
	return list, nil
}
