package control

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sandlot/internal/manifest"
)

// Looking through one long text finds what looking through each finds.
func TestTextFindsWhatEachEntryHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 1+r.IntN(3))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 200 {
		var entries []*entry
		for i := range r.IntN(20) {
			m := &manifest.Manifest{Name: fmt.Sprintf("%s-%d", word(), i), Title: word() + " " + word(), Description: word(), Categories: []string{word()}}
			entries = append(entries, newEntry("ann", m))
		}
		words := []string{word(), word()}[:r.IntN(3)]
		has := func(e *entry) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e.all, w) })
		}
		var got, want []string
		for _, e := range newText(entries).find(words) {
			if has(e) {
				got = append(got, e.name)
			}
		}
		for _, e := range entries {
			if has(e) {
				want = append(want, e.name)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: got %q, want %q", words, got, want)
		}
	}
}
