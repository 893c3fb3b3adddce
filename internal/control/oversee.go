package control

import (
	"context"
	"errors"
	"slices"

	"sandlot/api"
	"sandlot/internal/store"
)

// EveryPlay returns one page of the plays of all users, or of one, the newest
// first, and how many there are in all. It is for administrators.
func (c *Control) EveryPlay(ctx context.Context, user api.Me, owner string, limit, offset int) ([]api.OwnedPlay, int, error) {
	if !user.Administrator() {
		return nil, 0, api.Errorf(api.Forbidden, "only administrators see the plays of others")
	}
	rows, err := c.opts.Store.Plays(ctx)
	if err != nil {
		return nil, 0, err
	}
	if owner != "" {
		rows = slices.DeleteFunc(rows, func(r store.Play) bool { return r.Owner != owner })
	}
	list := []api.OwnedPlay{}
	for _, row := range rows[min(offset, len(rows)):] {
		if len(list) == limit {
			break
		}
		p, err := c.Get(ctx, user, row.ID)
		var refusal *api.Error
		if errors.As(err, &refusal) && refusal.Kind == api.NotFound {
			continue // forgotten meanwhile
		}
		if err != nil {
			return nil, 0, err
		}
		list = append(list, api.OwnedPlay{Owner: row.Owner, Play: p})
	}
	return list, len(rows), nil
}
