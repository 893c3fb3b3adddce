package account_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/store"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	here  = api.Origin{Address: "192.0.2.1", About: "test\x1b[31m\n/1"}
)

const password = "a long enough one"

type people struct {
	*account.Accounts
	store *store.Store
	clock time.Time
}

func newPeople(t *testing.T) *people {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p := &people{Accounts: account.New(s), store: s, clock: start}
	p.Now = func() time.Time { return p.clock }
	return p
}

func (p *people) add(t *testing.T, name string) api.Me {
	t.Helper()
	who, err := p.Add(t.Context(), name, password, store.RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func (p *people) signIn(t *testing.T, name string) (cookie string) {
	t.Helper()
	cookie, _, err := p.SignIn(t.Context(), name, password, here)
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func kind(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestOnlyTheRightTokenSignsIn(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	token, err := account.EnsureAdmin(ctx, p.store, account.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	who, err := p.Authenticate(ctx, token.SessionID, token.AccessToken)
	if err != nil || who.ID != "admin" || !who.Administrator() {
		t.Fatalf("got %+v, %v", who, err)
	}
	for _, c := range []account.Credentials{
		{SessionID: token.SessionID}, {AccessToken: token.AccessToken},
		{SessionID: token.SessionID, AccessToken: token.AccessToken + "0"},
	} {
		if _, err := p.Authenticate(ctx, c.SessionID, c.AccessToken); kind(err) != api.Unauthenticated {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := p.ByCookie(ctx, token.SessionID+"."+token.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("a CLI session as a cookie: %v", err)
	}
	if err := p.EndSession(ctx, api.Me{ID: "somebody"}, token.SessionID); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Authenticate(ctx, token.SessionID, token.AccessToken); err != nil {
		t.Errorf("another user ended the session: %v", err)
	}
	for range 2 {
		if err := p.EndSession(ctx, who, token.SessionID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Authenticate(ctx, token.SessionID, token.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("an ended session: %v", err)
	}
	if again, err := account.EnsureAdmin(ctx, p.store, token); err != nil || again != token {
		t.Errorf("opened again as %+v, %v", again, err)
	}
	if _, err := p.Authenticate(ctx, token.SessionID, token.AccessToken); err != nil {
		t.Error(err)
	}
}

func TestPasswords(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	p.add(t, "ann")
	for name, bad := range map[string]string{"Ann": password, "a b": password, "": password, "bob": "short", "longlonglong": "LongLongLong", "carl": strings.Repeat("x", 300)} {
		if _, err := p.Add(ctx, name, bad, store.RoleUser); kind(err) != api.Invalid {
			t.Errorf("%q with %q: %v", name, bad, err)
		}
	}
	if _, err := p.Add(ctx, "ann", password, store.RoleUser); kind(err) != api.Conflict {
		t.Errorf("twice: %v", err)
	}
	if _, err := p.Add(ctx, "dan", password, "king"); kind(err) != api.Invalid {
		t.Errorf("role: %v", err)
	}
	u, err := p.store.UserByName(ctx, "ann")
	if err != nil || !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("kept as %q, %v", u.PasswordHash, err)
	}
	cookie := p.signIn(t, "ann")
	if who, err := p.ByCookie(ctx, cookie); err != nil || who.ID != "ann" || who.Administrator() {
		t.Errorf("got %+v, %v", who, err)
	}
	id, token, _ := strings.Cut(cookie, ".")
	if _, err := p.Authenticate(ctx, id, token); kind(err) != api.Unauthenticated {
		t.Errorf("a cookie as a CLI session: %v", err)
	}
	if s, err := p.store.Session(ctx, id); err != nil || s.About != "test [31m /1 from 192.0.2.1" || strings.Contains(s.TokenHash, token) {
		t.Errorf("kept %+v, %v", s, err)
	}
	// Wrong passwords and missing accounts read alike.
	_, _, wrong := p.SignIn(ctx, "ann", password+"!", here)
	_, _, nobody := p.SignIn(ctx, "nobody", password, here)
	if kind(wrong) != api.Unauthenticated || wrong.Error() != nobody.Error() {
		t.Errorf("%v, %v", wrong, nobody)
	}
	// A new password ends what the old one opened.
	if err := p.SetPassword(ctx, "ann", password+" 2"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ByCookie(ctx, cookie); kind(err) != api.Unauthenticated {
		t.Errorf("an old session: %v", err)
	}
	if _, _, err := p.SignIn(ctx, "ann", password, here); kind(err) != api.Unauthenticated {
		t.Errorf("the old password: %v", err)
	}
	if err := p.SetPassword(ctx, "nobody", password); kind(err) != api.NotFound {
		t.Error(err)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	p := newPeople(t)
	p.add(t, "ann")
	guess := func(name, address string) error {
		_, _, err := p.SignIn(t.Context(), name, strings.Repeat("x", 300), api.Origin{Address: address})
		return err
	}
	for i := range 10 {
		// From everywhere: the account's own limit.
		if err := guess("ann", "2001:db8:"+string(rune('1'+i))+"::1"); kind(err) != api.Unauthenticated {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	err := guess("ann", "203.0.113.9")
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != api.TooMany || e.RetryAfter <= 0 || e.RetryAfter > 30*time.Second {
		t.Fatalf("got %v", err)
	}
	if _, _, err := p.SignIn(t.Context(), "ann", password, here); kind(err) != api.TooMany {
		t.Errorf("the right password among guesses: %v", err)
	}
	p.clock = p.clock.Add(e.RetryAfter + time.Second)
	p.signIn(t, "ann")
	// At many accounts from one network.
	n := 0
	for ; kind(guess("u"+string(rune('a'+n%26))+string(rune('a'+n/26)), "2001:db8:ffff::"+string(rune('1'+n%9)))) != api.TooMany; n++ {
		if n > 100 {
			t.Fatal("one network may guess for ever")
		}
	}
	if n != 30 {
		t.Errorf("%d guesses from one network", n)
	}
}

func TestSessionsEnd(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	ann := p.add(t, "ann")
	cookie := p.signIn(t, "ann")
	cli, err := p.NewUserSession(ctx, ann, here)
	if err != nil {
		t.Fatal(err)
	}
	p.clock = start.Add(14*24*time.Hour - time.Second)
	if _, err := p.ByCookie(ctx, cookie); err != nil {
		t.Error(err)
	}
	p.clock = start.Add(14 * 24 * time.Hour)
	if _, err := p.ByCookie(ctx, cookie); kind(err) != api.Unauthenticated {
		t.Errorf("after two weeks: %v", err)
	}
	if _, err := p.Authenticate(ctx, cli.ID, cli.AccessToken); err != nil {
		t.Error(err)
	}
	p.clock = start.Add(90 * 24 * time.Hour)
	if _, err := p.Authenticate(ctx, cli.ID, cli.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("after 90 days: %v", err)
	}
	if err := p.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Session(ctx, cli.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("kept: %v", err)
	}
	p.clock = start
	cookie = p.signIn(t, "ann")
	if err := p.SignOut(ctx, cookie+"x"); err != nil {
		t.Error(err)
	}
	if _, err := p.ByCookie(ctx, cookie); err != nil {
		t.Errorf("somebody without the token signed out: %v", err)
	}
	if err := p.SignOut(ctx, cookie); err != nil {
		t.Error(err)
	}
	if _, err := p.ByCookie(ctx, cookie); kind(err) != api.Unauthenticated {
		t.Errorf("signed out: %v", err)
	}
}

func TestDisabledIsOutEverywhere(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	ann := p.add(t, "ann")
	cookie := p.signIn(t, "ann")
	cli, _ := p.NewUserSession(ctx, ann, here)
	token, err := p.NewToken(ctx, ann, api.CreateToken{Name: "t", Scope: []string{"account:read"}})
	if err != nil {
		t.Fatal(err)
	}
	link, _ := p.SigninLink(ctx, ann)
	if err := p.SetDisabled(ctx, "ann", true); err != nil {
		t.Fatal(err)
	}
	out := func() {
		t.Helper()
		if _, err := p.ByCookie(ctx, cookie); kind(err) != api.Unauthenticated {
			t.Errorf("cookie: %v", err)
		}
		if _, err := p.Authenticate(ctx, cli.ID, cli.AccessToken); kind(err) != api.Unauthenticated {
			t.Errorf("CLI: %v", err)
		}
		if _, _, err := p.ByToken(ctx, token.AccessToken); kind(err) != api.Unauthenticated {
			t.Errorf("token: %v", err)
		}
		if _, _, err := p.UseSignin(ctx, link, here); kind(err) != api.Gone {
			t.Errorf("link: %v", err)
		}
	}
	out()
	if _, _, err := p.SignIn(ctx, "ann", password, here); kind(err) != api.Unauthenticated {
		t.Errorf("password: %v", err)
	}
	if err := p.SetDisabled(ctx, "ann", false); err != nil {
		t.Fatal(err)
	}
	out() // what ended stays ended
	p.signIn(t, "ann")
}

func TestLoginOfTheCLI(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	ann := p.add(t, "ann")
	pending, code, err := p.NewSession(ctx, here)
	if err != nil || pending.Authenticated {
		t.Fatal(pending, err)
	}
	poll := func(token string) (api.Session, error) { return p.PollSession(ctx, pending.ID, token) }
	if s, err := poll(pending.AccessToken); err != nil || s.Authenticated || s.ID != pending.ID {
		t.Errorf("pending: %+v, %v", s, err)
	}
	for _, token := range []string{"", code, pending.AccessToken + "0"} {
		if _, err := poll(token); kind(err) != api.Unauthenticated {
			t.Errorf("token %q: %v", token, err)
		}
	}
	if _, err := p.Authenticate(ctx, pending.ID, pending.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("a pending session: %v", err)
	}
	if shown, err := p.Pending(ctx, code); err != nil || shown.ID != pending.ID || shown.About != "test [31m /1 from 192.0.2.1" {
		t.Errorf("shown %+v, %v", shown, err)
	}
	if err := p.Confirm(ctx, ann, code+"x"); kind(err) != api.Gone {
		t.Errorf("another code: %v", err)
	}
	if err := p.Confirm(ctx, ann, code); err != nil {
		t.Fatal(err)
	}
	if s, err := poll(pending.AccessToken); err != nil || !s.Authenticated || s.UserID != "ann" {
		t.Errorf("confirmed: %+v, %v", s, err)
	}
	if err := p.Confirm(ctx, p.add(t, "bob"), code); kind(err) != api.Gone {
		t.Errorf("confirmed twice: %v", err)
	}
	if who, err := p.Authenticate(ctx, pending.ID, pending.AccessToken); err != nil || who.ID != "ann" {
		t.Errorf("%+v, %v", who, err)
	}
	// Denied, and too late.
	denied, code, _ := p.NewSession(ctx, here)
	if err := p.Deny(ctx, code); err != nil {
		t.Fatal(err)
	}
	if _, err := p.PollSession(ctx, denied.ID, denied.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("denied: %v", err)
	}
	_, code, _ = p.NewSession(ctx, here)
	p.clock = p.clock.Add(10 * time.Minute)
	if err := p.Confirm(ctx, ann, code); kind(err) != api.Gone {
		t.Errorf("too late: %v", err)
	}
}

func TestLinks(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	if _, err := account.EnsureAdmin(ctx, p.store, account.Credentials{}); err != nil {
		t.Fatal(err)
	}
	old, err := p.First(ctx)
	if err != nil || old == "" {
		t.Fatal(err)
	}
	first, _ := p.First(ctx)
	if _, err := p.Join(ctx, old); kind(err) != api.Gone {
		t.Errorf("a replaced link: %v", err)
	}
	if j, err := p.Join(ctx, first); err != nil || j.Kind != account.LinkFirst || j.Name != "admin" {
		t.Errorf("%+v, %v", j, err)
	}
	if _, _, err := p.Accept(ctx, first, "boss", "short", here); kind(err) != api.Invalid {
		t.Errorf("a bad password: %v", err)
	}
	cookie, who, err := p.Accept(ctx, first, "boss", password, here)
	if err != nil || who.ID != "admin" || who.Name != "boss" || !who.Administrator() {
		t.Fatalf("%+v, %v", who, err)
	}
	if got, err := p.ByCookie(ctx, cookie); err != nil || got.Name != "boss" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, err := p.Accept(ctx, first, "boss", password, here); kind(err) != api.Gone {
		t.Errorf("twice: %v", err)
	}
	if again, err := p.First(ctx); err != nil || again != "" {
		t.Errorf("with an account there is another first link: %v", err)
	}
	invite, err := p.Invite(ctx, store.RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"boss", "admin"} { // a name and an id that are taken
		if _, _, err := p.Accept(ctx, invite, name, password, here); kind(err) != api.Conflict {
			t.Errorf("%s: %v", name, err)
		}
		if name == "admin" {
			invite, _ = p.Invite(ctx, store.RoleUser)
		}
	}
	if _, who, err = p.Accept(ctx, invite, "ann", password, here); err != nil || who.Role != store.RoleUser {
		t.Fatalf("%+v, %v", who, err)
	}
	late, _ := p.Invite(ctx, store.RoleUser)
	p.clock = p.clock.Add(7 * 24 * time.Hour)
	if _, _, err := p.Accept(ctx, late, "bob", password, here); kind(err) != api.Gone {
		t.Errorf("late: %v", err)
	}
	// A link is of one kind.
	signin, _ := p.SigninLink(ctx, who)
	if _, _, err := p.Accept(ctx, signin, "eve", password, here); kind(err) != api.Gone {
		t.Errorf("%v", err)
	}
	if cookie, got, err := p.UseSignin(ctx, signin, here); err != nil || got.ID != "ann" || cookie == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, err := p.UseSignin(ctx, signin, here); kind(err) != api.Gone {
		t.Errorf("twice: %v", err)
	}
	reset, _ := p.PasswordLink(ctx, "ann")
	if _, got, err := p.Accept(ctx, reset, "ignored", password+" 2", here); err != nil || got.Name != "ann" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, err := p.SignIn(ctx, "ann", password+" 2", here); err != nil {
		t.Error(err)
	}
}

func TestAccessTokens(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	ann, bob := p.add(t, "ann"), p.add(t, "bob")
	for name, bad := range map[string]api.CreateToken{
		"no name":      {Scope: []string{"account:read"}},
		"no scope":     {Name: "x"},
		"odd scope":    {Name: "x", Scope: []string{"root"}},
		"too long":     {Name: "x", Scope: []string{"account:read"}, ExpiresInDays: 366},
		"already over": {Name: "x", Scope: []string{"account:read"}, ExpiresInDays: -1},
	} {
		if _, err := p.NewToken(ctx, ann, bad); kind(err) != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	made, err := p.NewToken(ctx, ann, api.CreateToken{Name: "ci\n", Scope: []string{"playground:read", "account:read", "account:read"}, ExpiresInDays: 7})
	if err != nil || !strings.HasPrefix(made.AccessToken, "sandlot_") || made.Name != "ci" || made.ExpiresAt != api.Time(start.Add(7*24*time.Hour)) {
		t.Fatalf("%+v, %v", made, err)
	}
	who, scopes, err := p.ByToken(ctx, made.AccessToken)
	if err != nil || who.ID != "ann" || strings.Join(scopes, " ") != "account:read playground:read" {
		t.Errorf("%+v %v %v", who, scopes, err)
	}
	list, err := p.Tokens(ctx, ann)
	if err != nil || len(list) != 1 || list[0].AccessToken != "" || list[0].ID != made.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if err := p.RevokeToken(ctx, bob, made.ID); kind(err) != api.NotFound {
		t.Errorf("another's token: %v", err)
	}
	p.clock = start.Add(7 * 24 * time.Hour)
	if _, _, err := p.ByToken(ctx, made.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("expired: %v", err)
	}
	p.clock = start
	if err := p.RevokeToken(ctx, ann, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.ByToken(ctx, made.AccessToken); kind(err) != api.Unauthenticated {
		t.Errorf("revoked: %v", err)
	}
}

func TestIdentities(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	p.add(t, "ann")
	_, first, err := p.SignInIdentity(ctx, api.Identity{Issuer: "https://id", Subject: "1", Name: "Ann"}, here)
	if err != nil || !strings.HasPrefix(first.ID, "ann-") {
		t.Fatalf("a name alone took an account over: %+v, %v", first, err)
	}
	_, again, err := p.SignInIdentity(ctx, api.Identity{Issuer: "https://id", Subject: "1", Name: "Another"}, here)
	if err != nil || again.ID != first.ID {
		t.Errorf("%+v, %v", again, err)
	}
	_, other, err := p.SignInIdentity(ctx, api.Identity{Issuer: "https://other", Subject: "1", Name: "Ünïcøde <script>"}, here)
	if err != nil || other.ID != "ncdescript" {
		t.Errorf("%+v, %v", other, err)
	}
	if err := p.SetDisabled(ctx, first.Name, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.SignInIdentity(ctx, api.Identity{Issuer: "https://id", Subject: "1"}, here); kind(err) != api.Forbidden {
		t.Errorf("disabled: %v", err)
	}
}

func TestAuditLinesAreLines(t *testing.T) {
	p := newPeople(t)
	ctx := t.Context()
	if err := p.Record(ctx, api.AuditEntry{UserName: "a\nb", Action: "x", Target: strings.Repeat("é", 500), Result: "ok\r\n2026 root did it"}); err != nil {
		t.Fatal(err)
	}
	list, err := p.Audit(ctx, 10)
	if err != nil || len(list) != 1 || list[0].UserName != "a b" || list[0].Target != strings.Repeat("é", 200) || strings.ContainsAny(list[0].Result, "\r\n") {
		t.Errorf("%+v, %v", list, err)
	}
	p.clock = start.Add(181 * 24 * time.Hour)
	if err := p.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if list, _ := p.Audit(ctx, 10); len(list) != 0 {
		t.Errorf("kept %+v", list)
	}
}

// What people call themselves is theirs and bounded, and no name to sign in
// with; their address follows the provider's.
func TestProfiles(t *testing.T) {
	p := newPeople(t)
	ann, ctx := p.add(t, "ann"), t.Context()
	call := func(name string) error {
		_, err := p.SetPreferences(ctx, ann, api.Preferences{DisplayName: &name})
		return err
	}
	for _, bad := range []string{strings.Repeat("é", 61), "a\nb", "a\x1b[31mb", "a\u202eb"} {
		if err := call(bad); kind(err) != api.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := call(" Ann É. "); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetPreferences(ctx, ann, api.Preferences{Region: "ap"}); err != nil {
		t.Fatal(err)
	}
	if a, err := p.Account(ctx, ann); err != nil || a.DisplayName != "Ann É." || a.Name != "ann" || a.Email != "" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, _, err := p.SignIn(ctx, "Ann É.", password, here); err == nil {
		t.Error("what ann is called signs in")
	}
	if err := call(""); err != nil {
		t.Fatal(err)
	}
	if a, err := p.Account(ctx, ann); err != nil || a.DisplayName != "" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, email := range []string{"bob@example.org", "bob@example.com", ""} {
		_, bob, err := p.SignInIdentity(ctx, api.Identity{Issuer: "i", Subject: "s", Name: "bob", Email: email}, here)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := p.Account(ctx, bob); err != nil || a.Email != email || !a.Provider {
			t.Errorf("%q: %+v, %v", email, a, err)
		}
	}
}
