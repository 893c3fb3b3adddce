package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/server"
)

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
