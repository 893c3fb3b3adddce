// Package control is where requests become plays: who asks, which playground,
// what may be done. In go users and API requests, out come plans for bender
// and the API's view of plays. It holds no machine and touches no host.
package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	// Announce tells the people in a play something, in its history and on its
	// machines' terminals.
	Announce(ctx context.Context, id play.ID, message string) error
	// Hold calls f while a stopped play can neither run nor go; the error is
	// bender.ErrState if it is not stopped.
	Hold(ctx context.Context, id play.ID, f func(r bender.Record) error) error
	Observer
	Machines
}

// Observer tells where plays stand.
type Observer interface {
	Status(id play.ID) (bender.Record, error)
	// Version rises with every change of Status.
	Version(id play.ID) (uint64, error)
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
	Pool   Pool // without one, plays cannot be saved or forked
	// Budget bounds what machines get by any plan; the zero Budget is all the
	// host has.
	Budget Budget
	// Plans are what users may have, by name; default DefaultPlans. DefaultPlan
	// is that of users who were given none; default FreePlan.
	Plans       map[string]Budget
	DefaultPlan string
	// Facts of this host for a plan, without the uplink index.
	Facts func(ctx context.Context) (plan.Facts, error)
	// Uplinks returns what tells whether somebody on this host uses an index.
	Uplinks func(ctx context.Context) (taken func(index int) bool, err error)
	// CheckSource refuses an image that is known not to be there.
	CheckSource func(ctx context.Context, source string) error
	// Usage tells what a machine that runs uses, and false if it does not run.
	// It may be nil: then nothing is told.
	Usage func(ctx context.Context, id play.ID, machine string) (api.MachineUsage, bool)
	// Bases lists the official playgrounds, ReadBase returns one's manifest.
	Bases    func() []string
	ReadBase func(name string) ([]byte, error)
	// Now defaults to time.Now, Random to crypto/rand.
	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger // may be nil
}

// Control implements what internal/server asks for.
type Control struct {
	opts  Options
	bases map[string]template
	names []string // of the bases
	// official are the bases as the catalog shows them, in the order of names.
	official []*entry
	// stored are the others; shelving lets writes take turns.
	stored   shelves
	shelving sync.Mutex
	// starting makes choosing an uplink index and recording it one act.
	starting sync.Mutex
	// forwarding makes reading a list of forwards and changing it one act.
	forwarding sync.Mutex
	// listing guards encoded.
	listing sync.Mutex
	encoded map[play.ID]encoded
}

// New reads the official playgrounds.
func New(opts Options) (*Control, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Plans == nil {
		opts.Plans = DefaultPlans()
	}
	if opts.DefaultPlan == "" {
		opts.DefaultPlan = FreePlan
	}
	if err := checkPlans(opts); err != nil {
		return nil, err
	}
	c := &Control{opts: opts, bases: make(map[string]template), encoded: make(map[play.ID]encoded)}
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
		c.official = append(c.official, newEntry("", t.complete))
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
	problems := append(c.checkSources(ctx, effective), checkSaved(effective, t.manifest)...)
	if err := invalid(problems); err != nil {
		return api.Play{}, err
	}
	a, err := c.allowance(ctx, user.ID)
	if err != nil {
		return api.Play{}, err
	}
	p, err := c.launch(ctx, user, a, launch{effective, chosen, req.Playground, req.Title, a.machines(c, req)})
	if err != nil {
		return api.Play{}, err
	}
	p.Warnings = warnings
	return p, c.opts.Store.RecordUse(ctx, req.Playground, user.ID, c.opts.Now())
}

// launch is a play that may start: its manifest and the chosen conditions, the
// playground's name, a title if it has one of its own, and what its machines
// get.
type launch struct {
	effective         *manifest.Manifest
	chosen            map[string]*string
	playground, title string
	budget            Budget
}

// launch plans a play, records it within the user's plan and hands it to
// bender.
func (c *Control) launch(ctx context.Context, user api.Me, a allowance, l launch) (api.Play, error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	facts, err := c.opts.Facts(ctx)
	if err != nil {
		return api.Play{}, err
	}
	facts.Conditions = l.chosen
	facts = l.budget.bound(facts)
	taken, err := c.opts.Uplinks(ctx)
	if err != nil {
		return api.Play{}, fmt.Errorf("cannot start a play: %w", err)
	}
	facts.UplinkIndex = c.opts.Bender.FreeUplink(taken)
	id, err := play.NewID(c.opts.Random)
	if err != nil {
		return api.Play{}, err
	}
	planned, problems := plan.Make(id, l.effective, facts)
	if err := invalid(problems); err != nil {
		return api.Play{}, err
	}
	secrets, err := makeSecrets(c.opts.Random, len(planned.Machines))
	if err != nil {
		return api.Play{}, err
	}
	secrets.RegistryAuth = l.effective.Playground.RegistryAuth
	body, err := json.Marshal(l.effective)
	if err != nil {
		return api.Play{}, err
	}
	o, _, err := outlineOf(l.effective, l.playground)
	if err != nil {
		return api.Play{}, err
	}
	short, err := json.Marshal(o)
	if err != nil {
		return api.Play{}, err
	}
	now := c.opts.Now()
	row := store.Play{
		ID: id, Owner: user.ID, Playground: l.playground, Title: cmp.Or(l.title, l.effective.Title),
		Manifest: string(body), Summary: string(short), Goal: store.GoalRunning, DiskBytes: diskBytes(planned),
		CreatedAt: now, UpdatedAt: now,
	}
	begin(&row, a.Budget, now)
	err = c.opts.Store.AddPlay(ctx, row, a.limits(), savedDrives(l.effective))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return api.Play{}, api.Errorf(api.Conflict, "cannot start a play: the playground's saved drives are being removed")
	case err != nil:
		return api.Play{}, a.refuse("start a play", err)
	}
	if err := c.opts.Bender.Start(ctx, *planned, secrets); err != nil {
		return api.Play{}, errors.Join(err, c.opts.Store.DeletePlay(context.WithoutCancel(ctx), id))
	}
	return c.view(row)
}

// diskBytes is the promised size of all drives.
func diskBytes(p *plan.Plan) (total int64) {
	for _, m := range p.Machines {
		for _, d := range m.Drives {
			total += d.SizeBytes
		}
	}
	return total
}

// checkSources finds the drives whose images are known not to be there.
func (c *Control) checkSources(ctx context.Context, m *manifest.Manifest) (problems manifest.Problems) {
	for i, machine := range m.Playground.Machines {
		for j, d := range machine.Drives {
			if d.Source == "" || d.Snapshot != nil {
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

func convertText(from string, to any) error { return json.Unmarshal([]byte(from), to) }

func wirePlayground(m *manifest.Manifest) (api.Playground, error) {
	var p api.Playground
	if err := convert(m.Playground, &p); err != nil {
		return p, fmt.Errorf("cannot show playground %q: %w", m.Name, err)
	}
	p.Name, p.Base, p.Title, p.Description = m.Name, m.Base, m.Title, m.Description
	p.Categories, p.Markdown, p.Cover = m.Categories, m.Markdown, m.Cover
	return p, nil
}
