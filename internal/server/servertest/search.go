package servertest

import (
	"context"
	"strings"

	"sandlot/api"
)

// Search finds playgrounds of the catalog by their name, for visitors the
// first one only.
func (l *Lab) Search(_ context.Context, user api.Me, what api.Search) (items []api.SearchItem, total int, err error) {
	for i, pg := range l.Catalog {
		if !strings.Contains(pg.Name, what.Words) || user.ID == "" && i > 0 {
			continue
		}
		if total++; total > what.Offset && len(items) < what.Limit {
			items = append(items, api.SearchItem{Kind: api.SearchPlayground, Name: pg.Name, Title: pg.Title, Categories: []string{}, Tags: []string{}, Official: pg.Owner == ""})
		}
	}
	return items, total, l.Refuse
}
