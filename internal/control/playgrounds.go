package control

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"sandlot/api"
	"sandlot/internal/manifest"
	"sandlot/internal/store"
)

// template is a playground, official or somebody's.
type template struct {
	owner string // "" means official
	// manifest is what plays and other playgrounds derive from.
	manifest *manifest.Manifest
	// complete has every default, too.
	complete *manifest.Manifest
}

// official reads a playground that ships with labd.
func official(name string, data []byte) (template, error) {
	m, problems := manifest.Parse(name+".yaml", data)
	if err := problems.Err(); err != nil {
		return template{}, fmt.Errorf("cannot read base playground %q: %w", name, err)
	}
	complete, problems := manifest.Inherit(m, &manifest.Manifest{Name: m.Name})
	if err := problems.Err(); err != nil && m.Playground.Machines != nil {
		return template{}, fmt.Errorf("cannot complete base playground %q: %w", name, err)
	}
	complete.Base = m.Base
	return template{manifest: m, complete: complete}, nil
}

func stored(row store.Playground) (template, error) {
	m := new(manifest.Manifest)
	if err := json.Unmarshal(row.Manifest, m); err != nil {
		return template{}, fmt.Errorf("cannot read playground %q: %w", row.Name, err)
	}
	return template{owner: row.Owner, manifest: m, complete: m}, nil
}

func (t template) access(user api.Me) api.UserAccess {
	return access(user, t.owner, t.complete.Playground.AccessControl)
}

// template finds a playground by name. One that the user may neither read nor
// start is as if it did not exist.
func (c *Control) template(ctx context.Context, user api.Me, name string) (template, error) {
	t, ok := c.bases[name]
	if !ok {
		row, err := c.opts.Store.Playground(ctx, name)
		if err == nil {
			t, err = stored(row)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return t, err
		}
		ok = err == nil
	}
	if may := t.access; !ok || !may(user).CanRead && !may(user).CanStart {
		return template{}, api.Errorf(api.NotFound, "there is no playground %q", name)
	}
	return t, nil
}

// readable finds a playground whose definition the user may know.
func (c *Control) readable(ctx context.Context, user api.Me, name string) (template, error) {
	t, err := c.template(ctx, user, name)
	if err == nil && !t.access(user).CanRead {
		err = api.Errorf(api.Forbidden, "cannot read playground %q: its owner lets you start it, but not read it", name)
	}
	return t, err
}

// startable finds the playground of a start and sees to the consent that
// somebody else's needs.
func (c *Control) startable(ctx context.Context, user api.Me, req api.StartPlay) (template, error) {
	t, err := c.template(ctx, user, req.Playground)
	switch {
	case err != nil:
	case !t.access(user).CanStart:
		err = api.Errorf(api.Forbidden, "cannot start playground %q: its owner lets you read it, but not start it", req.Playground)
	case t.owner != "" && t.owner != user.ID && !req.SafetyDisclaimerConsent:
		err = api.Errorf(api.Forbidden, "cannot start playground %q without consent: it belongs to somebody else; look at it, then start it with --safety-disclaimer-consent", req.Playground)
	}
	return t, err
}

// Playground returns one by name. Whoever may start it but not read it gets
// what a start needs, and nothing in the extended form.
func (c *Control) Playground(ctx context.Context, user api.Me, name string, extended bool) (api.Playground, error) {
	find := c.template
	if extended {
		find = c.readable
	}
	t, err := find(ctx, user, name)
	if err != nil {
		return api.Playground{}, err
	}
	if !t.access(user).CanRead {
		return startOnly(t, user)
	}
	return full(t, user)
}

// full is everything about a playground.
func full(t template, user api.Me) (api.Playground, error) {
	p, err := wirePlayground(t.complete)
	may := t.access(user)
	p.Owner, p.UserAccess = t.owner, &may
	return p, err
}

// summary is what the catalog shows.
func summary(t template, user api.Me) api.Playground {
	m, may := t.complete, t.access(user)
	return api.Playground{
		Owner: t.owner, Name: m.Name, Base: m.Base, Title: m.Title, Description: m.Description,
		Categories: m.Categories, Cover: m.Cover, UserAccess: &may,
	}
}

// startOnly adds the machines, whose backend clients may change, without what
// is inherited anyway.
func startOnly(t template, user api.Me) (api.Playground, error) {
	p, err := wirePlayground(t.complete)
	if err != nil {
		return p, err
	}
	short := summary(t, user)
	short.Machines = p.Machines
	for i := range short.Machines {
		short.Machines[i].StartupFiles = nil
	}
	return short, nil
}

// maxPlaygrounds bounds what one user keeps in the store.
const maxPlaygrounds = 1000

// CreatePlayground makes a playground from a partial definition over a base.
// Eight hex digits make its name unique.
func (c *Control) CreatePlayground(ctx context.Context, user api.Me, req api.CreatePlayground) (api.Playground, error) {
	if req.Base == "" {
		return api.Playground{}, api.Errorf(api.Invalid, "cannot create playground %q: it has no base; name one, like %q", req.Name, manifest.Flexbox)
	}
	if req.Name == "" {
		return api.Playground{}, api.Errorf(api.Invalid, "cannot create a playground without a name")
	}
	base, err := c.readable(ctx, user, req.Base)
	if err != nil {
		return api.Playground{}, err
	}
	partial, err := definition(req.PlaygroundSpec)
	if err != nil {
		return api.Playground{}, err
	}
	partial.Name = req.Name
	m, problems := manifest.Derive(base.manifest, partial)
	problems = append(problems, checkSaved(m, base.manifest)...)
	if err := invalid(problems); err != nil {
		return api.Playground{}, err
	}
	return c.add(ctx, user, req.Name, m)
}

// add stores a new playground under a name that begins like the one asked for.
func (c *Control) add(ctx context.Context, user api.Me, name string, m *manifest.Manifest) (api.Playground, error) {
	a, err := c.allowance(ctx, user.ID)
	if err != nil {
		return api.Playground{}, err
	}
	for tries := 3; ; tries-- {
		var suffix [4]byte
		if _, err := io.ReadFull(c.opts.Random, suffix[:]); err != nil {
			return api.Playground{}, fmt.Errorf("cannot name playground %q: %w", name, err)
		}
		m.Name = name + "-" + hex.EncodeToString(suffix[:])
		now := c.opts.Now()
		err := c.put(m, store.Playground{Owner: user.ID, CreatedAt: now, UpdatedAt: now}, func(row store.Playground) error {
			return c.opts.Store.AddPlayground(ctx, row, a.limits(), savedDrives(m))
		})
		if errors.Is(err, store.ErrExists) && tries > 1 {
			continue
		}
		if err != nil {
			return api.Playground{}, a.refuse(fmt.Sprintf("create playground %q", name), err)
		}
		return full(template{owner: user.ID, manifest: m, complete: m}, user)
	}
}

// put writes a playground into the store by write, and shows it in the
// catalog; writes take turns, so that both stay the same.
func (c *Control) put(m *manifest.Manifest, row store.Playground, write func(row store.Playground) error) (err error) {
	row.Name, row.Base = m.Name, m.Base
	if row.Manifest, err = storable(m); err != nil {
		return err
	}
	if row.Summary, err = short(m); err != nil {
		return err
	}
	c.shelving.Lock()
	defer c.shelving.Unlock()
	if err := write(row); err != nil {
		return err
	}
	c.shelve(m.Name, newEntry(row.Owner, m))
	return nil
}

// UpdatePlayground replaces the definition of one of the user's playgrounds.
// Two fields that clients may not know stay when they are absent: the cover,
// which is set elsewhere, and the port forwards.
func (c *Control) UpdatePlayground(ctx context.Context, user api.Me, name string, spec api.PlaygroundSpec) (api.Playground, error) {
	t, err := c.owned(ctx, user, name, "change")
	if err != nil {
		return api.Playground{}, err
	}
	complete, err := definition(spec)
	if err != nil {
		return api.Playground{}, err
	}
	complete.Name = name
	if complete.Cover == "" {
		complete.Cover = t.manifest.Cover
	}
	if complete.Playground.PortForwards == nil {
		complete.Playground.PortForwards = t.manifest.Playground.PortForwards
	}
	base, err := c.baseOf(ctx, user, t)
	if err != nil {
		return api.Playground{}, err
	}
	m, problems := manifest.Replace(base, complete)
	problems = append(problems, checkSaved(m, base)...)
	if err := invalid(problems); err != nil {
		return api.Playground{}, err
	}
	err = c.put(m, store.Playground{Owner: t.owner, UpdatedAt: c.opts.Now()}, func(row store.Playground) error {
		return c.opts.Store.ChangePlayground(ctx, row, savedDrives(m))
	})
	if err != nil {
		return api.Playground{}, err
	}
	return full(template{owner: t.owner, manifest: m, complete: m}, user)
}

// RemovePlayground forgets one of the user's playgrounds; its plays go on.
func (c *Control) RemovePlayground(ctx context.Context, user api.Me, name string) error {
	if _, err := c.owned(ctx, user, name, "remove"); err != nil {
		return err
	}
	c.shelving.Lock()
	defer c.shelving.Unlock()
	if err := c.opts.Store.DeletePlayground(ctx, name); err != nil {
		return err
	}
	c.shelve(name, nil)
	// Once it is forgotten, it is removed: what fails here is done later.
	if err := c.collect(context.WithoutCancel(ctx), false); err != nil {
		c.opts.Log.WarnContext(ctx, "cannot remove saved drives", "error", err)
	}
	return nil
}

// owned finds a playground that the user may do this to.
func (c *Control) owned(ctx context.Context, user api.Me, name, verb string) (template, error) {
	t, err := c.template(ctx, user, name)
	switch {
	case err != nil:
	case t.owner == "":
		err = api.Errorf(api.Forbidden, "cannot %s playground %q: it is an official one; make your own from it with: labctl playground create NAME --base %[2]s", verb, name)
	case t.owner != user.ID && !user.Administrator():
		err = api.Errorf(api.Forbidden, "cannot %s playground %q: it belongs to somebody else", verb, name)
	}
	return t, err
}

// baseOf is what limits the machines of a stored playground: those of its base
// and those it has. The base may be gone or closed to the user by now.
func (c *Control) baseOf(ctx context.Context, user api.Me, t template) (*manifest.Manifest, error) {
	base := manifest.Manifest{Name: t.manifest.Base}
	found, err := c.readable(ctx, user, t.manifest.Base)
	var refused *api.Error
	switch {
	case err == nil:
		base = *found.manifest
	case !errors.As(err, &refused):
		return nil, err
	}
	base.Playground.Machines = slices.Clone(base.Playground.Machines)
	for _, m := range t.manifest.Playground.Machines {
		if !slices.ContainsFunc(base.Playground.Machines, func(b manifest.Machine) bool { return b.Name == m.Name }) {
			base.Playground.Machines = append(base.Playground.Machines, m)
		}
	}
	return &base, nil
}

// definition turns what a client sent into a manifest.
func definition(spec api.PlaygroundSpec) (*manifest.Manifest, error) {
	m := &manifest.Manifest{
		Kind: manifest.Kind, Title: spec.Title, Description: spec.Description,
		Categories: spec.Categories, Markdown: spec.Markdown, Cover: spec.Cover,
	}
	if err := convert(spec, &m.Playground); err != nil {
		return nil, api.Errorf(api.Invalid, "cannot read the definition: %s", err)
	}
	return m, nil
}

// storable is a manifest as it is kept. Its dump must be a document that can
// be given back.
func storable(m *manifest.Manifest) ([]byte, error) {
	dump, err := manifest.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(dump) > manifest.MaxDocument {
		return nil, api.Errorf(api.Invalid, "playground %q has %d bytes as a manifest, more than %d; move big files into an image", m.Name, len(dump), manifest.MaxDocument)
	}
	return json.Marshal(m)
}
