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

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/control"
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
