package control

import (
	"cmp"
	"context"
	"slices"

	"sandlot/api"
	"sandlot/internal/store"
)

// maxPopular bounds the list of popular playgrounds.
const maxPopular = 50

// Playgrounds lists what the user may list, by one of the filters:
//
//	""         official ones
//	base       those to derive from: the official ones
//	my-custom  the user's own
//	community  those that people let others list
//	recent     those the user started, the last one first
//	popular    those that were started most, by anybody
func (c *Control) Playgrounds(ctx context.Context, user api.Me, filter string) ([]api.Playground, error) {
	switch filter {
	case "", "base":
		return c.listed(user, c.names, nil), nil
	case "my-custom", "community", "recent", "popular":
	default:
		return nil, api.Errorf(api.Invalid, "there is no filter %q: write my-custom, recent, popular, community or base, or none for the official playgrounds", filter)
	}
	custom, names, err := c.custom(ctx)
	if err != nil {
		return nil, err
	}
	switch filter {
	case "my-custom":
		names = slices.DeleteFunc(names, func(n string) bool { return custom[n].owner != user.ID })
	case "community":
		names = slices.DeleteFunc(names, func(n string) bool {
			lists := custom[n].complete.Playground.AccessControl
			return lists == nil || !admits(lists.CanList, user)
		})
	default:
		uses, err := c.opts.Store.Uses(ctx)
		if err != nil {
			return nil, err
		}
		if names = recent(uses, user.ID); filter == "popular" {
			names = popular(uses)
		}
	}
	list := c.listed(user, names, custom)
	if filter == "popular" && len(list) > maxPopular {
		list = list[:maxPopular]
	}
	return list, nil
}

// custom reads the stored playgrounds, with their names in order.
func (c *Control) custom(ctx context.Context) (map[string]template, []string, error) {
	rows, err := c.opts.Store.Playgrounds(ctx)
	if err != nil {
		return nil, nil, err
	}
	found, names := make(map[string]template, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		t, err := stored(row)
		if err != nil {
			return nil, nil, err
		}
		found[row.Name], names[i] = t, row.Name
	}
	return found, names, nil
}

// listed are the summaries of those names that exist and that the user may
// list.
func (c *Control) listed(user api.Me, names []string, custom map[string]template) []api.Playground {
	list := []api.Playground{}
	for _, name := range names {
		t, ok := c.bases[name]
		if !ok {
			t, ok = custom[name]
		}
		if ok && t.access(user).CanList {
			list = append(list, summary(t, user))
		}
	}
	return list
}

// recent are the playgrounds of a user's starts, in their order.
func recent(uses []store.Use, user string) []string {
	var names []string
	for _, u := range uses {
		if u.User == user {
			names = append(names, u.Playground)
		}
	}
	return names
}

// popular orders playgrounds by how often they were started.
func popular(uses []store.Use) []string {
	starts := make(map[string]int)
	var names []string
	for _, u := range uses {
		if starts[u.Playground] == 0 {
			names = append(names, u.Playground)
		}
		starts[u.Playground] += u.Starts
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(starts[b], starts[a]), cmp.Compare(a, b))
	})
	return names
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
