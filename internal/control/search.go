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
	custom, err := c.custom(ctx)
	if err != nil {
		return nil, 0, err
	}
	words := strings.Fields(strings.ToLower(what.Words))
	// Entries stand by name, so hits of one score do, too, but for the official
	// ones among the others.
	hits := make(map[int][]*entry)
	total := 0
	for _, list := range [][]*entry{c.official, custom.all} {
		for _, e := range list {
			if len(what.Categories) > 0 && !slices.ContainsFunc(e.playground.Categories, func(k string) bool { return slices.Contains(what.Categories, k) }) {
				continue
			}
			// Words first: they rule out most.
			if score, ok := e.rank(words); ok && e.listed(user) {
				hits[score] = append(hits[score], e)
				total++
			}
		}
	}
	scores := make([]int, 0, len(hits))
	for score := range hits {
		scores = append(scores, score)
	}
	slices.SortFunc(scores, func(a, b int) int { return cmp.Compare(b, a) })
	var items []api.SearchItem
	skip := what.Offset
	for _, score := range scores {
		group := hits[score]
		if skip >= len(group) {
			skip -= len(group)
			continue
		}
		slices.SortFunc(group, func(a, b *entry) int { return strings.Compare(a.playground.Name, b.playground.Name) })
		for _, e := range group[skip:] {
			if len(items) == what.Limit {
				return items, total, nil
			}
			items = append(items, searchItem(e.playground))
		}
		skip = 0
	}
	return items, total, nil
}

// rank tells whether all words occur, and how well: a name is worth more than
// a title, that more than a category, and that more than the description.
func (e *entry) rank(words []string) (score int, ok bool) {
	for _, w := range words {
		if !strings.Contains(e.all, w) {
			return 0, false
		}
	}
	for _, w := range words {
		switch {
		case e.name == w:
			score += 16
		case strings.Contains(e.name, w):
			score += 8
		case strings.Contains(e.title, w):
			score += 4
		case strings.Contains(e.categories, w):
			score += 2
		default:
			score++
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
