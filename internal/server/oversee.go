package server

import (
	"context"
	"strconv"

	"sandlot/api"
)

// Overseer is the extra power of Plays that shows them all to administrators.
type Overseer interface {
	// EveryPlay returns one page, the newest first, and how many there are in
	// all; owner bounds it to one user's unless it is "".
	EveryPlay(ctx context.Context, user api.Me, owner string, limit, offset int) (plays []api.OwnedPlay, total int, err error)
}

// Bounds of one page of all plays.
const (
	defaultOverview = 50
	maxOverview     = 200
)

func everyPlay(s *Server, c *call) (any, error) {
	overseer, ok := s.Plays.(Overseer)
	if !ok {
		return nil, api.Errorf(api.Unsupported, "this labd cannot list the plays of all users")
	}
	page := map[string]int{"limit": defaultOverview, "offset": 0}
	q := c.URL.Query()
	for name := range page {
		if text := q.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return nil, api.Errorf(api.Invalid, "%s is %q: want a whole number from 0", name, text)
			}
			page[name] = n
		}
	}
	plays, total, err := overseer.EveryPlay(c.Context(), c.user, q.Get("owner"), min(page["limit"], maxOverview), page["offset"])
	plays, err = orEmpty(plays, err)
	return countedReply{plays, total}, err
}
