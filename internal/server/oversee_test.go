package server_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"sandlot/api"
)

// Administrators see everybody's plays, page by page; nobody else does.
func TestEveryPlay(t *testing.T) {
	f := newHouse(t)
	bob := f.site.add(t, "bob")
	if _, err := f.site.people.Add(t.Context(), "root", password, api.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	var newest []string
	for i := range 5 {
		p, err := f.control.Start(t.Context(), []api.Me{f.ann, bob}[i%2], api.StartPlay{Playground: "flexbox", Machines: machines()})
		if err != nil {
			t.Fatal(err)
		}
		newest = append([]string{p.ID}, newest...)
	}
	root := f.session(api.Me{ID: "root"})
	list := func(query string, total string) (ids []string) {
		t.Helper()
		res := f.site.call(t, "GET", "/api/admin/plays"+query, root, "")
		for _, p := range decode[[]api.OwnedPlay](t, res) {
			ids = append(ids, p.ID)
			if at := slices.Index(newest, p.ID); p.Owner != []string{"ann", "bob"}[at%2] {
				t.Errorf("play %d belongs to %q", at, p.Owner)
			}
		}
		if got := res.Header.Get("X-Total-Count"); got != total {
			t.Errorf("%s: %s in all", query, got)
		}
		return ids
	}
	if got := list("", "5"); !slices.Equal(got, newest) {
		t.Errorf("%v, want %v", got, newest)
	}
	if got := list("?limit=2&offset=1", "5"); !slices.Equal(got, newest[1:3]) {
		t.Errorf("a page: %v", got)
	}
	if got := list("?owner=bob&limit=200", "2"); len(got) != 2 {
		t.Errorf("bob's: %v", got)
	}
	if got := list("?offset=99", "5"); got != nil {
		t.Errorf("behind the end: %v", got)
	}
	for _, query := range []string{"?limit=-1", "?offset=x", "?limit=9e9"} {
		if status, text, _ := f.sent("GET", "/api/admin/plays"+query, root, ""); status != 400 {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	for name, authorization := range map[string]string{"ann": f.session(f.ann), "a token of ann's": f.token(api.Scopes...)} {
		if status, text, _ := f.sent("GET", "/api/admin/plays?owner=ann", authorization, ""); status != 403 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if _, _, err := f.control.EveryPlay(t.Context(), f.ann, "", 1, 0); err == nil {
		t.Error("control trusts the route")
	}
}

// Lists and searches show to each caller what accessControl lets them see, and
// to visitors what anyone may.
func TestListsKeepToAccess(t *testing.T) {
	f := newHouse(t)
	bob, cat := f.site.add(t, "bob"), f.site.add(t, "cat")
	if _, err := f.site.people.Add(t.Context(), "root", password, api.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // of playgrounds, by principal
	for _, principal := range []string{"owner", "user:bob", "authenticated", "anyone", "student:go"} {
		only := []string{principal}
		p, err := f.control.CreatePlayground(t.Context(), f.ann, api.CreatePlayground{Name: "listed", Base: "flexbox", PlaygroundSpec: api.PlaygroundSpec{
			Title: "A lab for " + principal, Categories: []string{"linux"}, Machines: machines(),
			AccessControl: &api.AccessControl{CanList: only, CanRead: only, CanStart: only},
		}})
		if err != nil {
			t.Fatal(err)
		}
		names[principal] = p.Name
		// Somebody has started it: it would be recent and popular.
		if _, err := f.control.Start(t.Context(), f.ann, api.StartPlay{Playground: p.Name, SafetyDisclaimerConsent: true}); err != nil {
			t.Fatal(err)
		}
	}
	for caller, sees := range map[string][]string{
		"":     {"anyone"},
		"ann":  {"owner", "user:bob", "authenticated", "anyone", "student:go"},
		"bob":  {"user:bob", "authenticated", "anyone"},
		"cat":  {"authenticated", "anyone"},
		"root": {"owner", "user:bob", "authenticated", "anyone", "student:go"},
	} {
		authorization := map[string]string{"": "", "ann": f.session(f.ann), "bob": f.session(bob), "cat": f.session(cat), "root": f.session(api.Me{ID: "root"})}[caller]
		for _, query := range []string{"/api/search?search=listed&limit=100", "/api/playgrounds?filter=community", "/api/playgrounds?filter=popular", "/api/playgrounds?filter=my-custom",
			"/api/playgrounds", "/api/playgrounds?filter=base", "/api/playgrounds?filter=recent", "/api/bases"} {
			status, text, _ := f.sent("GET", query, authorization, "")
			if caller == "" && query[:8] != "/api/sea" && query != "/api/bases" {
				if status != 401 {
					t.Errorf("%s as a visitor: %d", query, status)
				}
				continue
			}
			if status != 200 {
				t.Errorf("%s as %q: %d %s", query, caller, status, text)
			}
			for principal, name := range names {
				shown := mentions(t, text, name)
				want := slices.Contains(sees, principal)
				switch query {
				case "/api/playgrounds", "/api/playgrounds?filter=base", "/api/bases":
					want = false // official ones
				case "/api/playgrounds?filter=my-custom", "/api/playgrounds?filter=recent":
					want = caller == "ann"
				case "/api/playgrounds?filter=community":
					// What people let others list; its owner is no other.
					if caller == "ann" || caller == "root" {
						continue
					}
				}
				if shown != want {
					t.Errorf("%s as %q shows the playground for %s: %v, want %v", query, caller, principal, shown, want)
				}
			}
		}
		for principal, name := range names {
			may := slices.Contains(sees, principal) && caller != ""
			for what, got := range map[string]int{
				"reads":  first(f.sent("GET", "/api/playgrounds/"+name, authorization, "")),
				"dumps":  first(f.sent("GET", "/api/playgrounds/"+name+"?format=extended", authorization, "")),
				"starts": first(f.sent("POST", "/api/plays", authorization, fmt.Sprintf(`{"playground":%q,"safetyDisclaimerConsent":true}`, name))),
				// A manifest shows what is in it to whoever derives from it.
				"derives from": first(f.sent("POST", "/api/playgrounds", authorization, fmt.Sprintf(
					`{"name":"derived","base":%q,"title":"Derived","categories":["linux"],"accessControl":{"canList":["owner"],"canRead":["owner"],"canStart":["owner"]}}`, name))),
			} {
				want := 404
				switch {
				case caller == "":
					want = 401
				case may:
					want = 200
				}
				if what == "derives from" && want == 404 && got == 400 {
					t.Errorf("%q derives from the playground for %s: 400 tells that it is there", caller, principal)
				}
				if got != want && !(what == "derives from" && got == 400 && may) {
					t.Errorf("%q %s the playground for %s: %d, want %d", caller, what, principal, got, want)
				}
			}
		}
	}
}

func first(status int, _, _ string) int { return status }

// mentions tells whether a reply lists a playground of this name.
func mentions(t *testing.T, text, name string) bool {
	t.Helper()
	var found struct{ Items []struct{ Name string } }
	if json.Unmarshal([]byte(text), &found) != nil {
		if err := json.Unmarshal([]byte(text), &found.Items); err != nil {
			t.Fatal(err)
		}
	}
	for _, item := range found.Items {
		if item.Name == name {
			return true
		}
	}
	return false
}
