package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/control"
	"sandlot/internal/oidc"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
	"sandlot/internal/store"
	"sandlot/playgrounds"
)

// site is a server with real accounts, and playgrounds, behind its pages.
type site struct {
	*httptest.Server
	people *account.Accounts
	store  *store.Store
	admin  account.Credentials
}

// kept is accounts, and the store they are in.
type kept struct {
	*account.Accounts
	store *store.Store
}

const password = "a long enough one"

func newSite(t testing.TB, changes ...func(o *server.Options)) *site {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	l, people := servertest.New(t), account.New(s)
	c, err := control.New(control.Options{Store: s, Bases: playgrounds.Names, ReadBase: playgrounds.Read})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := account.EnsureAdmin(t.Context(), s, account.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	o := server.Options{
		Auth: people, Accounts: kept{people, s}, Playgrounds: c, Plays: l, Lifecycle: l, Settings: l, Machines: l,
		References: l, Gateway: l.Gateway, Ports: l, Shells: l, Forwards: l, Visitors: l.Gateway, Scanner: l.Gateway,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&o)
	}
	h := httptest.NewServer(server.New(o))
	t.Cleanup(h.Close)
	return &site{Server: h, people: people, store: s, admin: admin}
}

func (s *site) add(t testing.TB, name string) api.Me {
	t.Helper()
	who, err := s.people.Add(t.Context(), name, password, api.RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// browser keeps cookies and follows redirects.
type browser struct {
	t    *testing.T
	site *site
	http.Client
	// header is sent with every request.
	header http.Header
}

func (s *site) browser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, site: s, Client: http.Client{Jar: jar}, header: http.Header{}}
}

// do returns the last reply's status, path and body.
func (b *browser) do(method, address string, form url.Values) (status int, path, body string) {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.site.URL + address
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header = b.header.Clone()
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, res.Request.URL.Path, string(raw)
}

func (b *browser) signIn(name string) *browser {
	b.t.Helper()
	if status, path, body := b.do("POST", "/login", url.Values{"name": {name}, "password": {password}}); status != 200 || path != "/account" || !strings.Contains(body, "<b>"+name+"</b>") {
		b.t.Fatalf("%d at %s: %s", status, path, body)
	}
	return b
}

// call asks the API with a client's credentials.
func (s *site) call(t *testing.T, method, path, authorization, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func basic(id, token string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, token)
	return r.Header.Get("Authorization")
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// The login of the reference client, from its first request to its logout.
func TestLoginOfAClient(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	pending := decode[api.Session](t, s.call(t, "POST", "/api/sessions", "", ""))
	if pending.Authenticated || pending.AccessToken == "" || !strings.HasPrefix(pending.AuthURL, s.URL+"/cli-auth/") {
		t.Fatalf("%+v", pending)
	}
	credentials := basic(pending.ID, pending.AccessToken)
	poll := func() api.Session {
		return decode[api.Session](t, s.call(t, "GET", "/api/sessions/"+pending.ID, credentials, ""))
	}
	if got := poll(); got.Authenticated || got.ID != pending.ID || got.AccessToken != "" {
		t.Errorf("pending: %+v", got)
	}
	if res := s.call(t, "GET", "/api/auth/me", credentials, ""); res.StatusCode != 401 {
		t.Errorf("a pending session may do things: %s", res.Status)
	}
	b := s.browser(t)
	status, path, _ := b.do("GET", pending.AuthURL, nil)
	if status != 200 || path != "/login" {
		t.Fatalf("%d at %s", status, path)
	}
	page := strings.TrimPrefix(pending.AuthURL, s.URL)
	_, path, body := b.do("POST", "/login", url.Values{"name": {"ann"}, "password": {password}, "next": {page}})
	if path != page || !strings.Contains(body, pending.ID[:8]) || !strings.Contains(body, "Go-http-client") {
		t.Fatalf("at %s: %s", path, body)
	}
	if got := poll(); got.Authenticated {
		t.Error("looking at the page confirmed it")
	}
	csrf := csrfField.FindStringSubmatch(body)[1]
	for _, form := range []url.Values{{"answer": {"yes"}}, {"answer": {"yes"}, "csrf": {"wrong"}}} {
		if status, _, _ := b.do("POST", page, form); status != 403 {
			t.Errorf("without the form's secret: %d", status)
		}
	}
	if status, _, body := s.browser(t).do("POST", page, url.Values{"answer": {"yes"}, "csrf": {csrf}}); status != 401 {
		t.Errorf("nobody confirmed: %d %s", status, body)
	}
	if status, _, body := b.do("POST", page, url.Values{"answer": {"yes"}, "csrf": {csrf}}); status != 200 || !strings.Contains(body, "signed in as ann") {
		t.Fatalf("%d %s", status, body)
	}
	if got := poll(); !got.Authenticated || got.UserID != "ann" {
		t.Errorf("confirmed: %+v", got)
	}
	if status, _, _ := b.do("GET", page, nil); status != 410 {
		t.Errorf("the page again: %d", status)
	}
	if me := decode[api.Me](t, s.call(t, "GET", "/api/auth/me?authenticate=true", credentials, "")); me.ID != "ann" {
		t.Errorf("%+v", me)
	}
	if me := decode[api.Me](t, s.call(t, "PATCH", "/api/account/preferences", credentials, `{"region":"ap"}`)); me.PreferredRegion != "ap" {
		t.Errorf("%+v", me)
	}
	link := decode[api.SigninURL](t, s.call(t, "POST", "/api/auth/signin-url", credentials, ""))
	if status, path, _ := s.browser(t).do("GET", link.URL, nil); status != 200 || path != "/account" {
		t.Errorf("sign-in link: %d at %s", status, path)
	}
	if status, _, _ := s.browser(t).do("GET", link.URL, nil); status != 410 {
		t.Errorf("sign-in link again: %d", status)
	}
	for range 2 {
		if res := s.call(t, "DELETE", "/api/sessions/"+pending.ID, credentials, ""); res.StatusCode != 200 && res.StatusCode != 401 {
			t.Errorf("logout: %s", res.Status)
		}
	}
	if res := s.call(t, "GET", "/api/auth/me", credentials, ""); res.StatusCode != 401 {
		t.Errorf("after the logout: %s", res.Status)
	}
	log, err := s.people.Audit(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	for _, e := range log {
		did = append(did, e.UserName+" "+e.Action)
	}
	if got := strings.Join(did, ", "); !strings.Contains(got, "ann confirm login, ann sign in") || !strings.Contains(got, "ann DELETE /api/sessions/{id}") {
		t.Errorf("the audit log says %s", got)
	}
}

func TestDeniedClient(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	pending := decode[api.Session](t, s.call(t, "POST", "/api/sessions", "", ""))
	b := s.browser(t).signIn("ann")
	_, _, body := b.do("GET", pending.AuthURL, nil)
	b.do("POST", pending.AuthURL, url.Values{"answer": {"no"}, "csrf": {csrfField.FindStringSubmatch(body)[1]}})
	if res := s.call(t, "GET", "/api/sessions/"+pending.ID, basic(pending.ID, pending.AccessToken), ""); res.StatusCode != 401 {
		t.Errorf("denied: %s", res.Status)
	}
}

func TestCookies(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	noFollow := func(b *browser) *browser {
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return b
	}
	b := noFollow(s.browser(t))
	res, err := b.PostForm(s.URL+"/login", url.Values{"name": {"ann"}, "password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	first := res.Header.Get("Set-Cookie")
	for _, want := range []string{"sandlot_session=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=1209600"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q lacks %s", first, want)
		}
	}
	if strings.Contains(first, "Secure") || strings.Contains(first, "Domain") {
		t.Errorf("%q", first)
	}
	for header, want := range map[string]string{"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
		if got := res.Header.Get(header); got != want {
			t.Errorf("%s: %q", header, got)
		}
	}
	// A login gives a new session and ends the one before.
	old := res.Cookies()[0]
	if res, err = b.PostForm(s.URL+"/login", url.Values{"name": {"ann"}, "password": {password}}); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if again := res.Cookies()[0]; again.Value == old.Value {
		t.Error("a login did not make a new session")
	}
	if _, err := s.people.ByCookie(t.Context(), old.Value); err == nil {
		t.Error("the session before goes on")
	}
	// Behind a proxy that does TLS.
	tls := newSite(t, func(o *server.Options) { o.PublicURL = "https://labs.example.org" })
	tls.add(t, "ann")
	b = noFollow(tls.browser(t))
	if res, err = b.PostForm(tls.URL+"/login", url.Values{"name": {"ann"}, "password": {password}}); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-sandlot_session=") || !strings.Contains(got, "; Secure") {
		t.Errorf("%q", got)
	}
	// Signing out ends it on the server.
	b = s.browser(t).signIn("ann")
	u, _ := url.Parse(s.URL)
	kept := b.Jar.Cookies(u)[0].Value
	if _, path, _ := b.do("POST", "/logout", nil); path != "/login" {
		t.Errorf("signed out to %s", path)
	}
	if _, err := s.people.ByCookie(t.Context(), kept); err == nil {
		t.Error("the session goes on after the logout")
	}
}

// Pages of other sites cannot act as a person who is signed in here, nor sign
// them in as somebody else.
func TestOtherSites(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	b := s.browser(t).signIn("ann")
	body := `{"region":"ap"}`
	send := func(method, path string, header http.Header) int {
		req, _ := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		req.Header = header
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct {
		method, path, header, value string
		status                      int
	}{
		{"PATCH", "/api/account/preferences", "Sec-Fetch-Site", "same-origin", 200},
		{"PATCH", "/api/account/preferences", "Origin", s.URL, 200},
		{"PATCH", "/api/account/preferences", "Origin", "https://evil.example", 403},
		{"PATCH", "/api/account/preferences", "Origin", "null", 403},
		{"PATCH", "/api/account/preferences", "Sec-Fetch-Site", "cross-site", 403},
		// A page of a machine is on a host below ours.
		{"PATCH", "/api/account/preferences", "Sec-Fetch-Site", "same-site", 403},
		{"POST", "/api/auth/signin-url", "Origin", "https://evil.example", 403},
		{"DELETE", "/api/oauth/tokens/x", "Origin", "https://evil.example", 403},
		{"POST", "/logout", "Origin", "https://evil.example", 403},
		{"POST", "/login", "Sec-Fetch-Site", "cross-site", 403},
	} {
		if got := send(c.method, c.path, http.Header{c.header: {c.value}}); got != c.status {
			t.Errorf("%s %s with %s: %s: %d, want %d", c.method, c.path, c.header, c.value, got, c.status)
		}
	}
	// A cookie opens no WebSocket for another site's page.
	if got := send("GET", "/api/auth/me", http.Header{"Origin": {"https://evil.example"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}); got != 403 {
		t.Errorf("hijacked: %d", got)
	}
	for _, path := range []string{"/conns/x", "/terminals/x", "/journals/x", "/t/x/tunnels/OjIy"} {
		for origin, status := range map[string]int{
			"https://evil.example": 403, "null": 403, "http://localhost:1": 403,
			s.URL: 401, "": 401, "https://cli.http://localhost:8080": 401, // of the reference client
		} {
			header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
			if origin != "" {
				header.Set("Origin", origin)
			}
			if got := send("GET", path, header); got != status {
				t.Errorf("%s with a cookie only from %q: %d, want %d", path, origin, got, status)
			}
		}
	}
	// A sign-in link that another site follows asks first.
	link, err := s.people.SigninLink(t.Context(), api.Me{ID: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	b.header.Set("Sec-Fetch-Site", "cross-site")
	if _, path, body := b.do("GET", "/signin/"+link, nil); path != "/signin/"+link || !strings.Contains(body, "Sign in by this link?") {
		t.Errorf("at %s: %s", path, body)
	}
	b.header.Set("Sec-Fetch-Site", "same-origin")
	if _, path, body := b.do("POST", "/signin/"+link, url.Values{}); path != "/account" || !strings.Contains(body, "<b>admin</b>") {
		t.Errorf("at %s: %s", path, body)
	}
}

// After a login people stay here, and text of theirs makes no header or markup.
func TestRedirectsAndText(t *testing.T) {
	s := newSite(t)
	s.add(t, "ann")
	for _, next := range []string{
		"https://evil.example/", "//evil.example/", `/\evil.example`, `\\evil.example`, "javascript:alert(1)", "evil.example",
		"/\t/evil.example", "/ok\r\nSet-Cookie: a=b", "http:/evil.example", "///evil.example", "",
	} {
		b := s.browser(t)
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		res, err := b.PostForm(s.URL+"/login", url.Values{"name": {"ann"}, "password": {password}, "next": {next}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if to := res.Header.Get("Location"); to != "/account" || len(res.Header.Values("Set-Cookie")) != 1 {
			t.Errorf("%q leads to %q with %v", next, to, res.Header.Values("Set-Cookie"))
		}
		if _, _, body := s.browser(t).do("GET", "/login?next="+url.QueryEscape(next), nil); !strings.Contains(body, `name="next" value="/account"`) {
			t.Errorf("%q: %s", next, body)
		}
	}
	_, _, body := s.browser(t).do("POST", "/login", url.Values{"name": {`"><script>x</script>`}, "password": {"x"}})
	if strings.Contains(body, "<script>") {
		t.Error("a name became markup")
	}
}

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

func TestFormsAreBounded(t *testing.T) {
	s := newSite(t)
	if status, _, _ := s.browser(t).do("POST", "/login", url.Values{"name": {strings.Repeat("x", 5<<20)}}); status != 400 {
		t.Errorf("%d", status)
	}
	deep := strings.Repeat("[", 15_000)
	if res := s.call(t, "POST", "/api/playgrounds", basic(s.admin.SessionID, s.admin.AccessToken), `{"tabs":`+deep); res.StatusCode != 400 {
		t.Errorf("deep: %s", res.Status)
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
