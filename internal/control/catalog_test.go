package control_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/playgrounds"
)

func names(all []api.Playground) string {
	var out []string
	for _, pg := range all {
		out = append(out, regexp.MustCompile(`-[0-9a-f]{8}$`).ReplaceAllString(pg.Name, ""))
	}
	return strings.Join(out, " ")
}

// catalog is the first page of a list.
func (l *lab) catalog(t *testing.T, user api.Me, filter string) ([]api.Playground, error) {
	t.Helper()
	list, total, err := l.Playgrounds(t.Context(), user, filter, api.Page{Limit: 100})
	if err == nil && total != len(list) {
		t.Errorf("%s: %d of %d", filter, len(list), total)
	}
	out := make([]api.Playground, len(list))
	for i, body := range list {
		if err := json.Unmarshal(body, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out, err
}

func TestFilters(t *testing.T) {
	l := newLab(t)
	bob := l.another(t, "bob")
	create := func(owner api.Me, name string, who ...string) string {
		req := mine()
		req.Name, req.AccessControl = name, &api.AccessControl{CanList: who, CanRead: who, CanStart: who}
		pg, err := l.CreatePlayground(t.Context(), owner, req)
		if err != nil {
			t.Fatal(err)
		}
		return pg.Name
	}
	create(bob, "bobs-secret", "owner")
	bobs := create(bob, "bobs", "anyone")
	hidden := create(admin, "hidden", "owner")
	create(admin, "shown", "owner", "anyone")
	start := func(user api.Me, name string) {
		t.Helper()
		l.clock = l.clock.Add(time.Minute)
		if _, err := l.Start(t.Context(), user, api.StartPlay{Playground: name, SafetyDisclaimerConsent: true}); err != nil {
			t.Fatal(err)
		}
	}
	start(admin, hidden)
	start(bob, "debian-12")
	start(bob, bobs)
	start(bob, bobs)
	start(admin, bobs)
	for filter, want := range map[string]string{
		"":          strings.Join(playgrounds.Names(), " "),
		"base":      strings.Join(playgrounds.Names(), " "),
		"my-custom": "hidden shown",
		"community": "bobs shown",
		"recent":    "bobs hidden",
		"popular":   "bobs debian-12 hidden",
	} {
		got, err := l.catalog(t, admin, filter)
		if err != nil || names(got) != want {
			t.Errorf("%q: %q, %v; want %q", filter, names(got), err, want)
		}
		for _, pg := range got {
			if pg.Title == "" || pg.UserAccess == nil || pg.Machines != nil || pg.RegistryAuth != "" {
				t.Errorf("%q lists %+v", filter, pg)
			}
		}
	}
	if got, err := l.catalog(t, bob, "popular"); err != nil || names(got) != "bobs debian-12" {
		t.Errorf("bob sees %q, %v", names(got), err)
	}
	if _, err := l.catalog(t, admin, "nope"); kind(err) != api.Invalid {
		t.Errorf("an unknown filter: %v", err)
	}
	if err := l.RemovePlayground(t.Context(), bob, bobs); err != nil {
		t.Fatal(err)
	}
	if got, err := l.catalog(t, admin, "popular"); err != nil || names(got) != "debian-12 hidden" && names(got) != "hidden" {
		t.Errorf("after its end: %q, %v", names(got), err)
	}
}

// A search shows what the asking person may list, and no more.
func TestSearchKeepsToAccess(t *testing.T) {
	l := newLab(t)
	alice, bob := l.another(t, "alice"), l.another(t, "bob")
	l.made(t, alice, *onlyOwner)
	l.made(t, alice, api.AccessControl{CanList: []string{"authenticated"}, CanRead: []string{"owner"}, CanStart: []string{"owner"}})
	l.made(t, alice, api.AccessControl{CanList: []string{"anyone"}, CanRead: []string{"owner"}, CanStart: []string{"owner"}})
	for _, c := range []struct {
		who  api.Me
		want int
	}{{alice, 3}, {bob, 2}, {api.Me{}, 1}} {
		items, total, err := l.Search(t.Context(), c.who, api.Search{Words: "own PLAYground", Limit: 2})
		if err != nil || total != c.want || len(items) != min(2, c.want) {
			t.Errorf("%q finds %d (%d shown), want %d: %v", c.who.ID, total, len(items), c.want, err)
		}
	}
	for _, what := range []api.Search{{Words: "flexbox", Kinds: []string{"course"}, Limit: 9}, {Tags: []string{"x"}, Limit: 9}, {Categories: []string{"x"}, Limit: 9}} {
		if items, total, err := l.Search(t.Context(), alice, what); len(items) > 0 || total > 0 || err != nil {
			t.Errorf("%+v finds %v, %v", what, items, err)
		}
	}
	if items, total, err := l.Search(t.Context(), bob, api.Search{Limit: 9, Offset: 100}); len(items) > 0 || total == 0 || err != nil {
		t.Errorf("past the end: %v, %d, %v", items, total, err)
	}
	if items, _, err := l.Search(t.Context(), bob, api.Search{Words: "flexbox", Kinds: []string{"playground"}, Limit: 1}); err != nil || len(items) != 1 || items[0].Name != "flexbox" || !items[0].Official {
		t.Errorf("%+v, %v", items, err)
	}
}
