package server

import (
	"fmt"
	"strings"
	"testing"

	"sandlot/internal/labtest"
)

// The table is the API: a change shows in review.
func TestRoutes(t *testing.T) {
	var b strings.Builder
	for _, rt := range routes {
		fmt.Fprintf(&b, "%-7s %-38s %s\n", rt.method, rt.path, rt.access)
		if (rt.json == nil) == (rt.raw == nil) {
			t.Errorf("%s %s: want exactly one handler", rt.method, rt.path)
		}
		if rt.about.summary == "" || rt.json != nil && len(rt.about.out) == 0 {
			t.Errorf("%s %s: say what it does and what it replies", rt.method, rt.path)
		}
	}
	labtest.Golden(t, "routes.txt", b.String())
}
