package server_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"sandlot/api"
	"sandlot/internal/oidc"
	"sandlot/internal/server"
)

func TestGuessesAreTold(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	b := s.browser(t)
	form := url.Values{"name": {"ann"}, "password": {strings.Repeat("x", 300)}} // too long to be looked at
	for range 10 {
		if status, _, body := b.do("POST", "/login", form); status != 401 || !strings.Contains(body, "do not open an account") {
			t.Fatalf("%d %s", status, body)
		}
	}
	res, err := b.PostForm(s.URL+"/login", form)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 429 || res.Header.Get("X-Ratelimit-Reset") != "30" || res.Header.Get("Retry-After") != "30" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	for range 30 {
		s.call(t, "POST", "/api/sessions", "", "")
	}
	if res := s.call(t, "POST", "/api/sessions", "", ""); res.StatusCode != 429 || res.Header.Get("X-Ratelimit-Reset") != "2" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

func TestFirstAdministratorAndInvitations(t *testing.T) {
	s := newSite(t)
	token, err := s.people.First(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	if _, _, body := b.do("GET", "/join/"+token, nil); !strings.Contains(body, "The first administrator") || !strings.Contains(body, `value="admin"`) {
		t.Fatal(body)
	}
	if status, _, body := b.do("POST", "/join/"+token, url.Values{"name": {"boss"}, "password": {"short"}}); status != 400 || !strings.Contains(body, "too short") {
		t.Errorf("%d %s", status, body)
	}
	if _, path, body := b.do("POST", "/join/"+token, url.Values{"name": {"boss"}, "password": {password}}); path != "/account" || !strings.Contains(body, "<b>boss</b>, an administrator") {
		t.Fatalf("at %s: %s", path, body)
	}
	if status, _, _ := s.browser(t).do("GET", "/join/"+token, nil); status != 410 {
		t.Errorf("again: %d", status)
	}
	invite, _ := s.people.Invite(t.Context(), api.RoleUser)
	guest := s.browser(t)
	if _, path, body := guest.do("POST", "/join/"+invite, url.Values{"name": {"ann"}, "password": {password}}); path != "/account" || strings.Contains(body, "administrator") {
		t.Errorf("at %s: %s", path, body)
	}
	if status, _, _ := guest.do("GET", "/api/audit", nil); status != 403 {
		t.Errorf("a guest reads the audit log: %d", status)
	}
	if status, _, _ := b.do("GET", "/api/audit", nil); status != 200 {
		t.Errorf("the administrator does not: %d", status)
	}
}

func TestAccessTokensAreBoundToTheirScopes(t *testing.T) {
	s := newSite(t)
	ann := s.add(t, "ann")
	session, err := s.people.NewUserSession(t.Context(), ann, api.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	own := basic(session.ID, session.AccessToken)
	made := decode[api.OAuthToken](t, s.call(t, "POST", "/api/oauth/tokens", own, `{"name":"ci","scope":["playground:read"],"expiresInDays":7}`))
	bearer := "Bearer " + made.AccessToken
	for _, c := range []struct {
		method, path, authorization, body string
		status                            int
	}{
		{"GET", "/api/playgrounds", bearer, "", 200},
		{"GET", "/api/playgrounds", "bearer " + made.AccessToken, "", 200},
		{"GET", "/api/playgrounds", bearer + "x", "", 401},
		{"GET", "/api/playgrounds", "Bearer", "", 401},
		{"GET", "/api/playgrounds", "Digest x", "", 401},
		{"GET", "/api/playgrounds", basic(made.ID, made.AccessToken), "", 401},
		{"GET", "/api/auth/me", bearer, "", 403},
		{"POST", "/api/playgrounds", bearer, "{}", 403},
		{"POST", "/api/plays", bearer, "{}", 403},
		{"POST", "/api/oauth/tokens", bearer, `{"name":"more","scope":["account:write"]}`, 403},
		{"POST", "/api/auth/signin-url", bearer, "", 403},
		{"POST", "/api/oauth/tokens", own, `{"name":"x","scope":["root"]}`, 400},
		{"POST", "/api/oauth/tokens", own, `{"name":"x","scope":["account:read"],"expiresInDays":366}`, 400},
		{"DELETE", "/api/oauth/tokens/" + made.ID, own, "", 200},
		{"DELETE", "/api/oauth/tokens/" + made.ID, own, "", 404},
		{"GET", "/api/playgrounds", bearer, "", 401},
	} {
		if res := s.call(t, c.method, c.path, c.authorization, c.body); res.StatusCode != c.status {
			t.Errorf("%s %s %.20s: %s, want %d: %s", c.method, c.path, c.authorization, res.Status, c.status, body(t, res))
		}
	}
}

func TestSingleUserMode(t *testing.T) {
	s := newSite(t, func(o *server.Options) { o.SingleUser = true })
	if me := decode[api.Me](t, s.call(t, "GET", "/api/auth/me", "", "")); me.ID != "admin" || !me.Administrator() {
		t.Errorf("%+v", me)
	}
	session := decode[api.Session](t, s.call(t, "POST", "/api/sessions", "", ""))
	if !session.Authenticated || session.AccessToken == "" {
		t.Errorf("%+v", session)
	}
	if got := decode[api.Session](t, s.call(t, "GET", "/api/sessions/"+session.ID, basic(session.ID, session.AccessToken), "")); !got.Authenticated {
		t.Errorf("%+v", got)
	}
	if res := s.call(t, "GET", "/api/auth/me", basic("x", "y"), ""); res.StatusCode != 401 {
		t.Errorf("wrong credentials: %s", res.Status)
	}
	for header, value := range map[string]string{
		"Host":            "evil.example", // a name that was made to point here
		"X-Forwarded-For": "192.0.2.1",
		"Origin":          "https://evil.example",
		"Sec-Fetch-Site":  "same-site",
	} {
		req, _ := http.NewRequest("PATCH", s.URL+"/api/account/preferences", strings.NewReader(`{"region":"eu"}`))
		if req.Header.Set(header, value); header == "Host" {
			req.Host = value
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 403 {
			t.Errorf("%s: %s: %s", header, value, res.Status)
		}
	}
}

// A provider's login from the page of a client that waits, and its abuses.
func TestProvider(t *testing.T) {
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	p, err := oidc.New(oidc.Config{Issuer: m.Issuer(), ClientID: m.ClientID, ClientSecret: m.ClientSecret, Name: "Example ID"})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(o *server.Options) { o.Provider = p })
	pending := decode[api.Session](t, s.call(t, "POST", "/api/sessions", "", ""))
	page := strings.TrimPrefix(pending.AuthURL, s.URL)
	b := s.browser(t)
	_, _, body := b.do("GET", pending.AuthURL, nil)
	way := regexp.MustCompile(`href="(/auth/provider[^"]*)">Sign in with Example ID`).FindStringSubmatch(body)
	if way == nil {
		t.Fatal(body)
	}
	m.QueueUser(&mockoidc.MockUser{Subject: "7", PreferredUsername: "Ann"})
	if status, path, body := b.do("GET", way[1], nil); status != 200 || path != page || !strings.Contains(body, "<b>ann</b>") {
		t.Fatalf("%d at %s: %s", status, path, body)
	}
	// Somebody else's answer, in a browser that did not begin it.
	thief := s.browser(t)
	thief.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/auth/provider/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	m.QueueUser(&mockoidc.MockUser{Subject: "8", PreferredUsername: "eve"})
	res, err := thief.Get(s.URL + "/auth/provider")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	back := res.Header.Get("Location")
	if status, _, body := s.browser(t).do("GET", back, nil); status != 403 || !strings.Contains(body, "not begun in this browser") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := newSite(t).browser(t).do("GET", "/auth/provider", nil); status != 404 {
		t.Errorf("without a provider: %d", status)
	}
}

// The page signs browsers in with JSON, and other sites' pages cannot.
func TestSigninOfThePage(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	b := s.browser(t)
	send := func(path, body, origin string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(raw)
	}
	me := func() int { status, _, _ := b.do("GET", "/api/auth/me", nil); return status }
	right := `{"name":"ann","password":"` + password + `"}`
	if status, body := send("/api/auth/signin", right, "https://evil.example"); status != 403 || me() != 401 {
		t.Errorf("another site's page: %d %s", status, body)
	}
	if status, body := send("/api/auth/signin", `{"name":"ann","password":"wrong"}`, ""); status != 401 || me() != 401 {
		t.Errorf("wrong: %d %s", status, body)
	}
	if status, body := send("/api/auth/signin", right, s.URL); status != 200 || me() != 200 || !strings.Contains(body, `"id":"ann"`) {
		t.Errorf("right: %d %s", status, body)
	}
	if status, _ := send("/api/auth/signout", "", "https://evil.example"); status != 403 || me() != 200 {
		t.Errorf("signed out by another site: %d", status)
	}
	for range 2 {
		if status, body := send("/api/auth/signout", "", s.URL); status != 200 || me() != 401 {
			t.Errorf("signed out: %d %s", status, body)
		}
	}
	if _, _, body := b.do("GET", "/api/auth/ways", nil); body != `{"singleUser":false,"passwords":true}`+"\n" {
		t.Errorf("ways: %s", body)
	}
}
