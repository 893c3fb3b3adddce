package server_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sandlot/api"
)

// What somebody is signed in by is listed, and ends one by one, all at once,
// and with the password.
func TestOwnSessions(t *testing.T) {
	f := newHouse(t)
	s := f.site
	s.add(t, "bob")
	laptop, phone := s.browser(t).signIn("ann"), s.browser(t).signIn("ann")
	client, other := f.session(f.ann), f.session(f.ann)
	bobs := s.browser(t).signIn("bob")
	list := func(authorization string) []api.AccountSession {
		t.Helper()
		return decode[[]api.AccountSession](t, s.call(t, "GET", "/api/account/sessions", authorization, ""))
	}
	inside := func(b *browser) bool {
		t.Helper()
		status, _, _ := b.do("GET", "/api/auth/me", nil)
		return status == 200
	}
	all := list(client)
	kinds := map[string]int{}
	var current []string
	for _, one := range all {
		kinds[one.Kind]++
		if one.Current {
			current = append(current, one.ID)
		}
		if one.ExpiresAt == "" || one.CreatedAt == "" || !strings.Contains(one.About, " from ") {
			t.Errorf("%+v", one)
		}
	}
	if kinds["browser"] != 2 || kinds["cli"] != 2 || len(current) != 1 || !strings.HasPrefix(client, "Basic ") {
		t.Fatalf("%v, current %v", kinds, current)
	}
	// A browser recognises itself, too, and ends one of the others.
	status, _, body := laptop.do("GET", "/api/account/sessions", nil)
	if status != 200 || strings.Count(body, `"current":true`) != 1 {
		t.Fatalf("%d %s", status, body)
	}
	gone := all[slices.IndexFunc(all, func(o api.AccountSession) bool { return o.Kind == "cli" && !o.Current })].ID
	if status, text, _ := f.sent("DELETE", "/api/sessions/"+gone, client, ""); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if status, _, _ := f.sent("GET", "/api/auth/me", other, ""); status != 401 {
		t.Errorf("an ended session: %d", status)
	}
	// The sessions of another user are not theirs to end.
	if status, text, _ := f.sent("DELETE", "/api/account/sessions", client, ""); status != 200 || !strings.Contains(text, `"ended":2`) {
		t.Errorf("all others: %d %s", status, text)
	}
	if inside(laptop) || inside(phone) || !inside(bobs) || len(list(client)) != 1 {
		t.Error("the others did not end, or not they alone")
	}

	// The password: by who knows it, and then only this session is left.
	phone.signIn("ann")
	token := f.token(api.ScopeAccountRead)
	change := func(old, new string) (int, string) {
		status, text, _ := f.sent("POST", "/api/account/password", client, fmt.Sprintf(`{"old":%q,"new":%q}`, old, new))
		return status, text
	}
	const next = "another long one"
	for _, bad := range []struct {
		old, new string
		status   int
		why      string
	}{
		{"wrong", next, 403, "the old one is not right"}, {password, "short", 400, "too short"},
		{password, password, 400, "choose another"}, {"", next, 403, "not right"},
	} {
		if status, text := change(bad.old, bad.new); status != bad.status || !strings.Contains(text, bad.why) {
			t.Errorf("%+v: %d %s", bad, status, text)
		}
	}
	if !inside(phone) {
		t.Error("a refused change ended a session")
	}
	if status, text := change(password, next); status != 200 || !strings.Contains(text, `"ended":1`) {
		t.Fatalf("%d %s", status, text)
	}
	if inside(phone) || len(list(client)) != 1 {
		t.Error("other sessions live on")
	}
	if status, _, _ := f.sent("GET", "/api/auth/me", token, ""); status != 401 {
		t.Errorf("tokens live on: %d", status)
	}
	if status, _, _ := s.browser(t).do("POST", "/login", url.Values{"name": {"ann"}, "password": {next}}); status != 200 {
		t.Errorf("the new password: %d", status)
	}
	if status, _, _ := s.browser(t).do("POST", "/login", url.Values{"name": {"ann"}, "password": {password}}); status != 401 {
		t.Errorf("the old password: %d", status)
	}
	// Guesses at the old password are counted like those of signing in.
	for range 12 {
		status, _ = change("wrong", next)
	}
	if status != 429 {
		t.Fatalf("guesses: %d", status)
	}
	if status, text := change(next, password); status != 429 || !strings.Contains(text, "again") {
		t.Errorf("after many guesses: %d %s", status, text)
	}
	// An account that the password does not open.
	if status, text, _ := f.sent("POST", "/api/account/password", basic(s.admin.SessionID, s.admin.AccessToken), `{"old":"","new":"`+next+`"}`); status != 409 || !strings.Contains(text, "has none") {
		t.Errorf("without a password: %d %s", status, text)
	}
}

func TestOwnAccount(t *testing.T) {
	f := newHouse(t)
	got := decode[api.Account](t, f.site.call(t, "GET", "/api/account", f.session(f.ann), ""))
	if got.Name != "ann" || got.Role != api.RoleUser || !got.Password || got.Provider || got.CreatedAt == "" || got.Disabled {
		t.Errorf("%+v", got)
	}
	admin := decode[api.Account](t, f.site.call(t, "GET", "/api/account", basic(f.site.admin.SessionID, f.site.admin.AccessToken), ""))
	if admin.Role != api.RoleAdministrator || admin.Password {
		t.Errorf("%+v", admin)
	}
	// The host's own session does not end with the others.
	host := basic(f.site.admin.SessionID, f.site.admin.AccessToken)
	second := f.session(api.Me{ID: "admin"})
	if status, text, _ := f.sent("DELETE", "/api/account/sessions", second, ""); status != 200 || !strings.Contains(text, `"ended":0`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _ := f.sent("GET", "/api/auth/me", host, ""); status != 200 {
		t.Errorf("the host's session: %d", status)
	}
}
