package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// The drives of a stopped play become a playground (save) or a new play (fork):
//
//	row "making" ─▶ clone of the drive ─▶ held by a playground or a play ─▶ removed
//
// A row stands in the store before its file is there and until it is gone, and
// holders come and go in the transactions of what holds. So whatever a kill
// leaves is found by its row, or, a file without one, by its name.
//
// The right to a saved drive is the right to what names it: a manifest may name
// those of the playground it derives from, and no others.

// Pool keeps saved drives. All may be repeated.
type Pool interface {
	// SaveDrive clones the drive of a stopped play.
	SaveDrive(ctx context.Context, id play.ID, machine, drive int, saved string) error
	RemoveSaved(ctx context.Context, saved string) error
	ListSaved(ctx context.Context) ([]string, error)
}

// savedSource is the source of a saved drive in a manifest.
const savedSource = "snapshot"

// savedDrives are those that a manifest names, each once.
func savedDrives(m *manifest.Manifest) []string {
	named := make(map[string]bool)
	for _, machine := range m.Playground.Machines {
		for _, d := range machine.Drives {
			if d.Snapshot != nil {
				named[d.Snapshot.ID] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// checkSaved refuses saved drives that none of the allowed manifests names:
// whether they exist is nobody's business.
func checkSaved(m *manifest.Manifest, allowed ...*manifest.Manifest) (problems manifest.Problems) {
	var known []string
	for _, a := range allowed {
		known = append(known, savedDrives(a)...)
	}
	for i, machine := range m.Playground.Machines {
		for j, d := range machine.Drives {
			if d.Snapshot != nil && !slices.Contains(known, d.Snapshot.ID) {
				path := fmt.Sprintf("playground.machines[%d].drives[%d].snapshot", i, j)
				problems = append(problems, m.At(manifest.Error, path, fmt.Sprintf("there is no saved drive %q in the base", d.Snapshot.ID),
					"derive from the playground that was saved, or name an image"))
			}
		}
	}
	return problems
}

// SavePlay makes a playground of a stopped play: its machines, networks and
// tabs, with its drives as they are. What was done to the drives at the start,
// by startup files and tasks, is done.
func (c *Control) SavePlay(ctx context.Context, user api.Me, id play.ID, req api.SavePlay) (made api.Playground, err error) {
	if req.Name == "" {
		return made, api.Errorf(api.Invalid, "cannot save a play without a name for the playground")
	}
	row, err := c.row(ctx, user, id)
	if err != nil {
		return made, err
	}
	a, err := c.allowance(ctx, user.ID)
	if err != nil {
		return made, err
	}
	err = c.save(ctx, user.ID, row, "save the play", a, true, func(m *manifest.Manifest) error {
		m.Name, m.Title = req.Name, cmp.Or(req.Title, m.Title)
		m, problems := manifest.Derive(c.bases[manifest.Flexbox].manifest, m)
		if err := invalid(problems); err != nil {
			return err
		}
		made, err = c.add(ctx, user, req.Name, m)
		return err
	})
	return made, err
}

// ForkPlay starts a new play with the drives of a stopped one: with the same
// names and addresses inside, and with an id, keys and machine ids of its own.
func (c *Control) ForkPlay(ctx context.Context, user api.Me, id play.ID, req api.ForkPlay) (p api.Play, err error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return p, err
	}
	a, err := c.allowance(ctx, user.ID)
	if err != nil {
		return p, err
	}
	err = c.save(ctx, user.ID, row, "fork the play", a, false, func(m *manifest.Manifest) error {
		m, problems := manifest.Inherit(c.bases[manifest.Flexbox].manifest, m)
		if err := invalid(problems); err != nil {
			return err
		}
		p, err = c.launch(ctx, user, a, launch{
			effective: m, playground: row.Playground, title: cmp.Or(req.Title, row.Title), budget: a.Budget,
		})
		return err
	})
	return p, err
}

// save clones the drives of a play and hands use the manifest that names them.
// counted tells whether they count against the pool space of the plan.
func (c *Control) save(ctx context.Context, owner string, row store.Play, verb string, a allowance, counted bool, use func(m *manifest.Manifest) error) error {
	if c.opts.Pool == nil {
		return api.Errorf(api.Unsupported, "this labd cannot %s", verb)
	}
	var whole manifest.Manifest
	if err := convertText(row.Manifest, &whole); err != nil {
		return fmt.Errorf("cannot read manifest of play %q: %w", row.ID, err)
	}
	err := c.opts.Bender.Hold(ctx, row.ID, func(r bender.Record) error {
		m, drives, err := c.savedManifest(row, &whole, &r.Plan)
		if err != nil {
			return err
		}
		rows := make([]store.SavedDrive, len(drives))
		for i, d := range drives {
			rows[i] = store.SavedDrive{ID: d.id, Owner: owner, CreatedAt: c.opts.Now()}
			if counted {
				rows[i].Bytes = d.bytes
			}
		}
		if err := c.opts.Store.AddSavedDrives(ctx, rows, a.limits()); err != nil {
			return a.refuse(verb, err)
		}
		for _, d := range drives {
			if err = c.opts.Pool.SaveDrive(ctx, row.ID, d.machine, d.drive, d.id); err != nil {
				break
			}
		}
		if err == nil {
			err = use(m)
		}
		if err != nil {
			// Nobody holds them, or only some of them: the rest goes.
			undo := context.WithoutCancel(ctx)
			err = errors.Join(err, c.opts.Store.FinishSaved(undo, rows), c.collect(undo, false))
		}
		return err
	})
	switch {
	case errors.Is(err, bender.ErrUnknown):
		return api.Errorf(api.Gone, "cannot %s: it is destroyed", verb)
	case errors.Is(err, bender.ErrState):
		return api.Errorf(api.Conflict, "cannot %s: it is not stopped; first: labctl playground stop %s", verb, row.ID)
	}
	return err
}

type savedDrive struct {
	id             string
	machine, drive int
	bytes          int64
}

// savedManifest is the play's, with new saved drives and without what is done
// once: startup files, tasks and their conditions.
func (c *Control) savedManifest(row store.Play, whole *manifest.Manifest, p *plan.Plan) (*manifest.Manifest, []savedDrive, error) {
	from := &whole.Playground
	m := &manifest.Manifest{
		Kind: manifest.Kind, Name: whole.Name, Title: whole.Title, Description: whole.Description,
		Categories: whole.Categories, Markdown: whole.Markdown, Cover: whole.Cover,
		Playground: manifest.Playground{
			Networks: from.Networks, Machines: slices.Clone(from.Machines), Tabs: from.Tabs, InitTasks: map[string]manifest.InitTask{},
			RegistryAuth: from.RegistryAuth, PortForwards: from.PortForwards,
			AccessControl: &manifest.AccessControl{CanList: []string{"owner"}, CanRead: []string{"owner"}, CanStart: []string{"owner"}},
		},
	}
	if len(m.Title) < manifest.MinTitle {
		m.Title = "Saved from play " + string(row.ID)
	}
	var drives []savedDrive
	for i := range m.Playground.Machines {
		machine := &m.Playground.Machines[i]
		machine.StartupFiles = nil
		// The drive holds the modules of this kernel.
		machine.Kernel = &manifest.Kernel{Source: p.Machines[i].Kernel}
		machine.Drives = slices.Clone(machine.Drives)
		for j, d := range p.Machines[i].Drives {
			id, err := play.NewID(c.opts.Random)
			if err != nil {
				return nil, nil, err
			}
			drives = append(drives, savedDrive{string(id), i, j, d.SizeBytes})
			machine.Drives[j] = manifest.Drive{
				Source: savedSource, Snapshot: &manifest.Snapshot{ID: string(id)},
				Mount: d.Mount, Size: manifest.FormatSize(d.SizeBytes), Filesystem: d.Filesystem, ReadOnly: d.ReadOnly,
			}
		}
	}
	return m, drives, nil
}

// releaseSaved lets go of drives of plays that have their own clones by now, or
// are no more.
func (c *Control) releaseSaved(ctx context.Context) error {
	holders, err := c.opts.Store.SavedHolders(ctx, store.HeldByPlay)
	errs := []error{err}
	released := false
	for _, id := range holders {
		r, err := c.opts.Bender.Status(play.ID(id))
		if errors.Is(err, bender.ErrUnknown) || err == nil && (r.State() == play.Running || r.State() == play.Stopped) {
			errs = append(errs, c.opts.Store.ReleaseSaved(ctx, store.Holder{Kind: store.HeldByPlay, ID: id}))
			released = true
		}
	}
	if released {
		errs = append(errs, c.collect(ctx, false))
	}
	return errors.Join(errs...)
}

// collect removes the saved drives that nobody holds; with unfinished, those
// that an earlier labd was making, too.
func (c *Control) collect(ctx context.Context, unfinished bool) error {
	if c.opts.Pool == nil {
		return nil
	}
	drives, err := c.opts.Store.TakeUnheld(ctx, unfinished)
	errs := []error{err}
	for _, d := range drives {
		err := c.opts.Pool.RemoveSaved(ctx, d.ID)
		if err == nil {
			err = c.opts.Store.DeleteSavedDrive(ctx, d.ID)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepSaved removes what an earlier labd left: drives that were being made,
// and files without a row.
func (c *Control) sweepSaved(ctx context.Context) error {
	if c.opts.Pool == nil {
		return nil
	}
	errs := []error{c.collect(ctx, true)}
	rows, err := c.opts.Store.SavedDrives(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	files, err := c.opts.Pool.ListSaved(ctx)
	errs = append(errs, err)
	for _, id := range files {
		if !slices.ContainsFunc(rows, func(d store.SavedDrive) bool { return d.ID == id }) {
			errs = append(errs, c.opts.Pool.RemoveSaved(ctx, id))
		}
	}
	return errors.Join(errs...)
}
