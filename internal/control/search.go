package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

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
	slices.Sort(words) // the order does not matter
	total := 0
	var items []api.SearchItem
	for _, e := range custom.ranked(c.official, words) {
		if len(what.Categories) > 0 && !slices.ContainsFunc(e.playground.Categories, func(k string) bool { return slices.Contains(what.Categories, k) }) ||
			!e.listed(user) {
			continue
		}
		if total++; total > what.Offset && len(items) < what.Limit {
			items = append(items, searchItem(e.playground))
		}
	}
	return items, total, nil
}

// Bounds of what is kept of searches, per shelf.
const (
	maxSearches  = 1000
	maxFound     = 100_000 // entries, in all of them
	maxKeptWords = 200     // bytes
)

// searches are what was found on a shelf, by the words.
type searches struct {
	mu    sync.Mutex
	found map[string][]*entry
	n     int
}

// ranked returns those official and stored entries that have all of the words,
// the best first and then by name, whoever may list them.
func (s *shelf) ranked(official []*entry, words []string) []*entry {
	key := strings.Join(words, " ")
	s.searches.mu.Lock()
	found, ok := s.searches.found[key]
	s.searches.mu.Unlock()
	if ok {
		return found
	}
	scores := make(map[*entry]int)
	for _, list := range [][]*entry{official, s.text().find(words)} {
		for _, e := range list {
			if score, ok := e.rank(words); ok {
				scores[e] = score
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), strings.Compare(a.playground.Name, b.playground.Name))
	})
	if len(key) > maxKeptWords {
		return found
	}
	s.searches.mu.Lock()
	defer s.searches.mu.Unlock()
	if s.searches.n += len(found); len(s.searches.found) >= maxSearches || s.searches.n > maxFound || s.searches.found == nil {
		s.searches.found, s.searches.n = make(map[string][]*entry), len(found)
	}
	s.searches.found[key] = found
	return found
}

// text is what is searched of many entries, one after the other in one string:
// looking through one long string is many times faster than through many.
type text struct {
	entries []*entry
	all     string
	ends    []int // where each entry's ends
}

func newText(entries []*entry) text {
	t := text{entries: entries, ends: make([]int, len(entries))}
	var b strings.Builder
	for i, e := range entries {
		b.WriteString(e.all)
		b.WriteByte('\n') // in no word
		t.ends[i] = b.Len()
	}
	t.all = b.String()
	return t
}

// find returns the entries that may have all of the words: those that have the
// longest one.
func (t text) find(words []string) (found []*entry) {
	if len(words) == 0 {
		return t.entries
	}
	word := slices.MaxFunc(words, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for from, i := 0, 0; ; from = t.ends[i] {
		at := strings.Index(t.all[from:], word)
		if at < 0 {
			return found
		}
		i, _ = slices.BinarySearch(t.ends, from+at+1)
		found = append(found, t.entries[i])
	}
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
		Kind: api.SearchPlayground, Name: p.Name, Title: p.Title, Description: p.Description,
		Categories: append([]string{}, p.Categories...), Tags: []string{}, Official: p.Owner == "",
	}
}
