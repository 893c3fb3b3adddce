package control

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"sandlot/api"
)

// Search finds the playgrounds that the user may list: the official ones, the
// user's own and those that people let others list.
func (c *Control) Search(ctx context.Context, user api.Me, what api.Search) ([]api.SearchItem, int, error) {
	// Playgrounds have neither tags nor difficulties.
	if len(what.Kinds) > 0 && !slices.Contains(what.Kinds, api.SearchPlayground) || len(what.Tags)+len(what.Difficulties) > 0 {
		return nil, 0, nil
	}
	custom, names, err := c.custom(ctx)
	if err != nil {
		return nil, 0, err
	}
	type hit struct {
		item  api.SearchItem
		score int
	}
	var hits []hit
	words := strings.Fields(strings.ToLower(what.Words))
	for _, p := range c.listed(user, append(slices.Clone(c.names), names...), custom) {
		if len(what.Categories) > 0 && !slices.ContainsFunc(p.Categories, func(k string) bool { return slices.Contains(what.Categories, k) }) {
			continue
		}
		if score, ok := rank(p, words); ok {
			hits = append(hits, hit{searchItem(p), score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.item.Name, b.item.Name))
	})
	var items []api.SearchItem
	for _, h := range hits[min(what.Offset, len(hits)):] {
		if len(items) == what.Limit {
			break
		}
		items = append(items, h.item)
	}
	return items, len(hits), nil
}

// rank tells whether all words occur, and how well: a name is worth more than
// a title, that more than a category, and that more than the description.
func rank(p api.Playground, words []string) (score int, ok bool) {
	name, title := strings.ToLower(p.Name), strings.ToLower(p.Title)
	categories, description := strings.ToLower(strings.Join(p.Categories, " ")), strings.ToLower(p.Description)
	for _, w := range words {
		switch {
		case name == w:
			score += 16
		case strings.Contains(name, w):
			score += 8
		case strings.Contains(title, w):
			score += 4
		case strings.Contains(categories, w):
			score += 2
		case strings.Contains(description, w):
			score++
		default:
			return 0, false
		}
	}
	return score, true
}

func searchItem(p api.Playground) api.SearchItem {
	return api.SearchItem{
		Kind: api.SearchPlayground, Name: p.Name, Title: p.Title, Description: p.Description, PageURL: p.PageURL,
		Categories: append([]string{}, p.Categories...), Tags: []string{}, Official: p.Owner == "",
	}
}
