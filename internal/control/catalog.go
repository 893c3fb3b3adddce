package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sandlot/api"
	"sandlot/internal/manifest"
	"sandlot/internal/store"
)

// maxPopular bounds the list of popular playgrounds.
const maxPopular = 50

// Playgrounds lists what the user may list, by one of the filters, and how
// many there are in all:
//
//	""         official ones
//	base       those to derive from: the official ones
//	my-custom  the user's own
//	community  those that people let others list
//	recent     those the user started, the last one first
//	popular    those that were started most, by anybody
//
// Each is the JSON of an api.Playground without its definition.
func (c *Control) Playgrounds(ctx context.Context, user api.Me, filter string, page api.Page) ([]json.RawMessage, int, error) {
	var found []*entry
	switch filter {
	case "", "base":
		found = c.official
	case "my-custom", "community", "recent", "popular":
		custom, err := c.custom(ctx)
		if err != nil {
			return nil, 0, err
		}
		if found, err = c.filtered(ctx, user, filter, custom); err != nil {
			return nil, 0, err
		}
	default:
		return nil, 0, api.Errorf(api.Invalid, "there is no filter %q: write my-custom, recent, popular, community or base, or none for the official playgrounds", filter)
	}
	list, total := []json.RawMessage{}, 0
	for _, e := range found {
		// The community's are not those that an administrator may list only for
		// being one.
		if filter == "community" && !e.admits(user) || !e.listed(user) {
			continue
		}
		if total++; total > page.Offset && len(list) < page.Limit {
			body, err := e.encode(e.may(user))
			if err != nil {
				return nil, 0, err
			}
			list = append(list, body)
		}
	}
	if filter == "popular" {
		total = min(total, maxPopular)
		list = list[:min(len(list), max(maxPopular-page.Offset, 0))]
	}
	return list, total, nil
}

func (c *Control) filtered(ctx context.Context, user api.Me, filter string, custom *shelf) (found []*entry, err error) {
	var names []string
	switch filter {
	case "my-custom":
		return custom.owned[user.ID], nil
	case "community":
		return custom.shared, nil
	case "recent":
		names, err = c.opts.Store.UsedBy(ctx, user.ID)
	default:
		names, err = c.opts.Store.MostUsed(ctx)
	}
	for _, name := range names {
		if e := c.find(custom, name); e != nil {
			found = append(found, e)
		}
	}
	return found, err
}

// find looks among the official ones, too.
func (c *Control) find(custom *shelf, name string) *entry {
	if i := slices.Index(c.names, name); i >= 0 {
		return c.official[i]
	}
	if i, ok := custom.search(name); ok {
		return custom.all[i]
	}
	return nil
}

// entry is a playground as catalog and search know it. It never changes.
type entry struct {
	playground api.Playground // without definition and user's access
	lists      *manifest.AccessControl
	// anyone may list it.
	anyone bool
	// What is searched, in lower case: each, and all of it.
	name, title, categories, description, all string
	// bodies are the JSON for each kind of access, made when first asked for.
	bodies [8]atomic.Pointer[json.RawMessage]
}

func newEntry(owner string, m *manifest.Manifest) *entry {
	e := &entry{
		playground: api.Playground{
			Owner: owner, Name: m.Name, Base: m.Base, Title: m.Title, Description: m.Description,
			Categories: m.Categories, Cover: m.Cover,
		},
		lists: m.Playground.AccessControl,
	}
	e.name, e.title = strings.ToLower(m.Name), strings.ToLower(m.Title)
	e.categories, e.description = strings.ToLower(strings.Join(m.Categories, " ")), strings.ToLower(m.Description)
	e.all = strings.Join([]string{e.name, e.title, e.categories, e.description}, "\n")
	if e.lists != nil {
		e.anyone = slices.Contains(e.lists.CanList, "anyone")
	}
	return e
}

// admits tells whether its lists let somebody who is not the owner list it.
func (e *entry) admits(user api.Me) bool {
	return e.anyone || e.lists != nil && admits(e.lists.CanList, user)
}

// listed is may's CanList, quickly.
func (e *entry) listed(user api.Me) bool { return e.anyone || e.may(user).CanList }

func (e *entry) may(user api.Me) api.UserAccess { return access(user, e.playground.Owner, e.lists) }

// encode is the JSON of the playground for somebody with this access.
func (e *entry) encode(may api.UserAccess) (json.RawMessage, error) {
	i := 0
	for bit, yes := range []bool{may.CanList, may.CanRead, may.CanStart} {
		if yes {
			i |= 1 << bit
		}
	}
	if body := e.bodies[i].Load(); body != nil {
		return *body, nil
	}
	p := e.playground
	p.UserAccess = &may
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	e.bodies[i].Store((*json.RawMessage)(&body))
	return body, nil
}

// short is what the store keeps of a manifest beside it, so that nobody has to
// read all manifests for a list: everything but the definition.
func short(m *manifest.Manifest) (string, error) {
	body, err := json.Marshal(manifest.Manifest{
		Title: m.Title, Description: m.Description, Categories: m.Categories, Cover: m.Cover,
		Playground: manifest.Playground{AccessControl: m.Playground.AccessControl},
	})
	return string(body), err
}

// shelf is all stored playgrounds by name. It never changes; a change makes
// another one.
type shelf struct {
	all    []*entry
	owned  map[string][]*entry // by owner
	shared []*entry            // those that somebody beside the owner may list
	// text is what is searched of all of them, made when first searched.
	text     func() text
	searches searches
}

// share completes a shelf.
func (s *shelf) share() *shelf {
	for _, e := range s.all {
		if e.lists != nil && slices.ContainsFunc(e.lists.CanList, func(p string) bool { return p != "owner" }) {
			s.shared = append(s.shared, e)
		}
	}
	s.text = sync.OnceValue(func() text { return newText(s.all) })
	return s
}

func (s *shelf) search(name string) (int, bool) {
	return slices.BinarySearchFunc(s.all, name, func(e *entry, name string) int { return strings.Compare(e.playground.Name, name) })
}

// shelves keeps the shelf in step with the store: labd alone writes there.
type shelves struct {
	mu  sync.Mutex
	now *shelf // nil before it was read
}

// custom reads the stored playgrounds, once.
func (c *Control) custom(ctx context.Context) (*shelf, error) {
	c.stored.mu.Lock()
	defer c.stored.mu.Unlock()
	if c.stored.now != nil {
		return c.stored.now, nil
	}
	rows, err := c.opts.Store.Playgrounds(ctx)
	if err != nil {
		return nil, err
	}
	s := &shelf{all: make([]*entry, 0, len(rows)), owned: make(map[string][]*entry)}
	for _, row := range rows {
		e, err := c.entry(ctx, row)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, e)
		s.owned[row.Owner] = append(s.owned[row.Owner], e)
	}
	c.stored.now = s.share()
	return s, nil
}

// entry reads a row; one of an older version gets its summary here.
func (c *Control) entry(ctx context.Context, row store.Playground) (*entry, error) {
	m := new(manifest.Manifest)
	if row.Summary == "" {
		whole, err := c.opts.Store.Playground(ctx, row.Name)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(whole.Manifest, m); err != nil {
			return nil, fmt.Errorf("cannot read playground %q: %w", row.Name, err)
		}
		if row.Summary, err = short(m); err != nil {
			return nil, err
		}
		if err := c.opts.Store.SummarizePlayground(ctx, row.Name, row.Summary); err != nil {
			return nil, err
		}
	} else if err := json.Unmarshal([]byte(row.Summary), m); err != nil {
		return nil, fmt.Errorf("cannot read playground %q: %w", row.Name, err)
	}
	m.Name, m.Base = row.Name, row.Base
	return newEntry(row.Owner, m), nil
}

// shelve puts a playground in the place of the one with its name; a nil entry
// only takes that away. To be called after the store was changed.
func (c *Control) shelve(name string, e *entry) {
	c.stored.mu.Lock()
	defer c.stored.mu.Unlock()
	old := c.stored.now
	if old == nil {
		return // it will be read
	}
	next := &shelf{all: slices.Clone(old.all), owned: make(map[string][]*entry, len(old.owned))}
	for owner, list := range old.owned {
		next.owned[owner] = list
	}
	i, there := next.search(name)
	if there {
		owner := next.all[i].playground.Owner
		next.all = slices.Delete(next.all, i, i+1)
		next.owned[owner] = slices.DeleteFunc(slices.Clone(next.owned[owner]), func(e *entry) bool { return e.playground.Name == name })
	}
	if e != nil {
		next.all = slices.Insert(next.all, i, e)
		owner := e.playground.Owner
		mine := slices.Clone(next.owned[owner])
		at, _ := (&shelf{all: mine}).search(name)
		next.owned[owner] = slices.Insert(mine, at, e)
	}
	c.stored.now = next.share()
}

// Bases are the complete definitions of the official playgrounds, for anybody.
func (c *Control) Bases(context.Context) ([]api.Playground, error) {
	list := []api.Playground{}
	for _, name := range c.names {
		p, err := wirePlayground(c.bases[name].complete)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// Backends are those that manifests may name, with whether this host has them.
func (c *Control) Backends(ctx context.Context) ([]api.Backend, error) {
	facts, err := c.opts.Facts(ctx)
	if err != nil {
		return nil, err
	}
	var list []api.Backend
	for _, name := range manifest.Backends {
		_, here := facts.Backends[name]
		list = append(list, api.Backend{Name: name, Ready: here})
	}
	return list, nil
}
