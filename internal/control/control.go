// Package control is where requests become plays: who asks, which playground,
// what may be done. In go users and API requests, out come plans for bender
// and the API's view of plays. It holds no machine and touches no host.
package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// Bender is the host that runs the plays.
type Bender interface {
	Start(ctx context.Context, p plan.Plan, s bender.Secrets) error
	Stop(ctx context.Context, id play.ID) error
	Restart(ctx context.Context, id play.ID) error
	Destroy(ctx context.Context, id play.ID) error
	FreeUplink(taken func(index int) bool) int
	Observer
	Machines
}

// Observer tells where plays stand.
type Observer interface {
	Status(id play.ID) (bender.Record, error)
	Watch(id play.ID) (changes <-chan struct{}, stop func(), err error)
	Console(id play.ID, machine string) ([]byte, error)
	Tasks(ctx context.Context, id play.ID) ([]play.TaskStatus, error)
}

// Machines changes single machines.
type Machines interface {
	StopMachine(ctx context.Context, id play.ID, machine string) error
	RestartMachine(ctx context.Context, id play.ID, machine string) error
	RebootMachine(ctx context.Context, id play.ID, machine string) error
}

// Options are what a Control is made of; all are required unless they say
// otherwise.
type Options struct {
	Store  *store.Store
	Bender Bender
	// Budget is what one play may have; the zero Budget is all the host has.
	Budget Budget
	// Facts of this host for a plan, without the uplink index.
	Facts func(ctx context.Context) (plan.Facts, error)
	// Uplinks returns what tells whether somebody on this host uses an index.
	Uplinks func(ctx context.Context) (taken func(index int) bool, err error)
	// CheckSource refuses an image that is known not to be there.
	CheckSource func(ctx context.Context, source string) error
	// Bases lists the official playgrounds, ReadBase returns one's manifest.
	Bases    func() []string
	ReadBase func(name string) ([]byte, error)
	// Now defaults to time.Now, Random to crypto/rand.
	Now    func() time.Time
	Random io.Reader
}

// Control implements what internal/server asks for.
type Control struct {
	opts  Options
	bases map[string]template
	names []string // of the bases
	// starting makes choosing an uplink index and recording it one act.
	starting sync.Mutex
	// forwarding makes reading a list of forwards and changing it one act.
	forwarding sync.Mutex
}

// New reads the official playgrounds.
func New(opts Options) (*Control, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	c := &Control{opts: opts, bases: make(map[string]template)}
	for _, name := range opts.Bases() {
		data, err := opts.ReadBase(name)
		if err != nil {
			return nil, err
		}
		t, err := official(name, data)
		if err != nil {
			return nil, err
		}
		c.bases[name] = t
		c.names = append(c.names, name)
	}
	return c, nil
}

// Start plans a play, records it and hands it to bender.
func (c *Control) Start(ctx context.Context, user api.Me, req api.StartPlay) (api.Play, error) {
	t, err := c.startable(ctx, user, req)
	if err != nil {
		return api.Play{}, err
	}
	effective, chosen, warnings, err := effective(t.manifest, req)
	if err != nil {
		return api.Play{}, err
	}
	if err := invalid(c.checkSources(ctx, effective)); err != nil {
		return api.Play{}, err
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	facts, err := c.opts.Facts(ctx)
	if err != nil {
		return api.Play{}, err
	}
	facts.Conditions = chosen
	facts = c.budget(req).bound(facts)
	taken, err := c.opts.Uplinks(ctx)
	if err != nil {
		return api.Play{}, fmt.Errorf("cannot start a play: %w", err)
	}
	facts.UplinkIndex = c.opts.Bender.FreeUplink(taken)
	id, err := play.NewID(c.opts.Random)
	if err != nil {
		return api.Play{}, err
	}
	planned, problems := plan.Make(id, effective, facts)
	if err := invalid(problems); err != nil {
		return api.Play{}, err
	}
	secrets, err := makeSecrets(c.opts.Random, len(planned.Machines))
	if err != nil {
		return api.Play{}, err
	}
	secrets.RegistryAuth = effective.Playground.RegistryAuth
	body, err := json.Marshal(effective)
	if err != nil {
		return api.Play{}, err
	}
	now := c.opts.Now()
	row := store.Play{
		ID: id, Owner: user.ID, Playground: req.Playground, Title: req.Title,
		Manifest: body, CreatedAt: now, UpdatedAt: now,
	}
	if row.Title == "" {
		row.Title = effective.Title
	}
	if err := c.opts.Store.PutPlay(ctx, row); err != nil {
		return api.Play{}, err
	}
	if err := c.opts.Bender.Start(ctx, *planned, secrets); err != nil {
		return api.Play{}, errors.Join(err, c.opts.Store.DeletePlay(context.WithoutCancel(ctx), id))
	}
	if err := c.opts.Store.RecordUse(ctx, req.Playground, user.ID, now); err != nil {
		return api.Play{}, err
	}
	p, err := c.view(row)
	p.Warnings = warnings
	return p, err
}

// checkSources finds the drives whose images are known not to be there.
func (c *Control) checkSources(ctx context.Context, m *manifest.Manifest) (problems manifest.Problems) {
	for i, machine := range m.Playground.Machines {
		for j, d := range machine.Drives {
			if d.Source == "" {
				continue
			}
			if err := c.opts.CheckSource(ctx, d.Source); err != nil {
				path := fmt.Sprintf("playground.machines[%d].drives[%d].source", i, j)
				problems = append(problems, m.At(manifest.Error, path, err.Error(), ""))
			}
		}
	}
	return problems
}

// effective lays a request over its base; chosen are its init conditions.
func effective(base *manifest.Manifest, req api.StartPlay) (m *manifest.Manifest, chosen map[string]*string, warnings []api.Problem, err error) {
	partial := &manifest.Manifest{Kind: manifest.Kind, Base: req.Playground}
	err = convert(struct {
		Machines       []api.MachineSpec       `json:"machines,omitempty"`
		Networks       []api.Network           `json:"networks,omitempty"`
		Tabs           []api.Tab               `json:"tabs,omitempty"`
		InitTasks      map[string]api.InitTask `json:"initTasks,omitempty"`
		InitConditions *api.InitConditions     `json:"initConditions,omitempty"`
		RegistryAuth   string                  `json:"registryAuth,omitempty"`
	}{req.Machines, req.Networks, req.Tabs, req.InitTasks, req.InitConditionSpec, req.RegistryAuth}, &partial.Playground)
	if err != nil {
		return nil, nil, nil, api.Errorf(api.Invalid, "cannot read the manifest: %s", err)
	}
	m, problems := manifest.Inherit(base, partial)
	if err := invalid(problems); err != nil {
		return nil, nil, nil, err
	}
	warnings = wireProblems(problems.Warnings())
	chosen, problems = m.Choose(req.InitConditions)
	return m, chosen, warnings, invalid(problems)
}

// invalid is the API's error with every problem, nil if there are only
// warnings.
func invalid(problems manifest.Problems) error {
	errs := problems.Errors()
	if len(errs) == 0 {
		return nil
	}
	e := api.Errorf(api.Invalid, "the manifest has %d problem(s)", len(errs))
	e.Problems = wireProblems(errs)
	return e
}

func wireProblems(problems manifest.Problems) []api.Problem {
	var out []api.Problem
	for _, p := range problems {
		out = append(out, api.Problem{Path: p.Path, Line: p.Line, Column: p.Column, Message: p.Message, Fix: p.Fix})
	}
	return out
}

// convert goes between the wire types and the manifest's, whose JSON forms are
// the same by contract.
func convert(from, to any) error {
	body, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, to)
}

func wirePlayground(m *manifest.Manifest) (api.Playground, error) {
	var p api.Playground
	if err := convert(m.Playground, &p); err != nil {
		return p, fmt.Errorf("cannot show playground %q: %w", m.Name, err)
	}
	p.Name, p.Base, p.Title, p.Description = m.Name, m.Base, m.Title, m.Description
	p.Categories, p.Markdown, p.Cover = m.Categories, m.Markdown, m.Cover
	return p, nil
}
