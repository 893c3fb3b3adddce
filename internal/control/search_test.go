package control

import (
	"testing"

	"sandlot/internal/manifest"
)

func TestRank(t *testing.T) {
	e := newEntry("", &manifest.Manifest{Name: "docker", Title: "Docker on Debian", Categories: []string{"containers"}, Description: "One machine with an engine"})
	for _, c := range []struct {
		words []string
		score int
		ok    bool
	}{
		{nil, 0, true}, {[]string{"docker"}, 16, true}, {[]string{"dock"}, 8, true}, {[]string{"debian"}, 4, true},
		{[]string{"contain"}, 2, true}, {[]string{"engine"}, 1, true}, {[]string{"debian", "engine"}, 5, true},
		{[]string{"docker", "podman"}, 0, false},
	} {
		if score, ok := e.rank(c.words); score != c.score || ok != c.ok {
			t.Errorf("%v: %d %v, want %d %v", c.words, score, ok, c.score, c.ok)
		}
	}
}
