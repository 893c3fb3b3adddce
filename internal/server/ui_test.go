package server_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"sandlot/internal/server"
	"sandlot/internal/web"
)

func withPage(t *testing.T, files fstest.MapFS) func(o *server.Options) {
	t.Helper()
	page, err := web.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) { o.Page = page }
}

var somePage = fstest.MapFS{
	"index.html":    {Data: []byte("<html>the index</html>")},
	"shell.html":    {Data: []byte("<html>the shell</html>")},
	"assets/a-1.js": {Data: []byte("script")},
	"favicon.svg":   {Data: []byte("<svg/>")},
}

// Addresses lead to the page, its files or a refusal, and never one for
// another.
func TestAddressesOfThePage(t *testing.T) {
	s := newSite(t, withPage(t, somePage))
	for _, c := range []struct {
		path, accept string
		status       int
		body         string
	}{
		{"/", "text/html", 200, "the index"},
		{"/playgrounds/flexbox", "text/html", 200, "the index"},
		{"/plays", "text/html", 200, "the index"},
		{"/plays/0123456789abcdef01234567", "text/html", 200, "the index"},
		{"/admin/users", "text/html", 200, "the index"},
		{"/assets/a-1.js", "*/*", 200, "script"},
		{"/favicon.svg", "*/*", 200, "<svg/>"},
		{"/nowhere/at/all", "text/html,*/*", 404, "the index"},
		{"/nowhere/at/all", "*/*", 404, "there is nothing at /nowhere/at/all"},
		{"/assets/old-2.js", "text/html", 404, "load the page again"},
		{"/api/nowhere", "text/html", 404, "there is no GET /api/nowhere in this API"},
		{"/api/", "text/html", 404, "in this API"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", c.accept)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got := body(t, res)
		if res.StatusCode != c.status || !strings.Contains(got, c.body) {
			t.Errorf("%s for %s: %d %s", c.path, c.accept, res.StatusCode, got)
		}
		if isPage := strings.Contains(got, "the index"); isPage != strings.Contains(res.Header.Get("Content-Security-Policy"), "script-src 'self';") {
			t.Errorf("%s: policy %q", c.path, res.Header.Get("Content-Security-Policy"))
		}
	}
}

func TestPolicyOfThePage(t *testing.T) {
	for _, c := range []struct {
		change func(o *server.Options)
		frames string
	}{
		{func(*server.Options) {}, "frame-src 'self' http://*.localhost:PORT https://*.localhost:PORT;"},
		{func(o *server.Options) { o.Domain = "labs.example.org" }, "frame-src 'self' http://*.labs.example.org:PORT https://*.labs.example.org:PORT;"},
		{func(o *server.Options) { o.Domain, o.PublicURL = "labs.example.org", "https://example.org" }, "frame-src 'self' http://*.labs.example.org https://*.labs.example.org;"},
	} {
		s := newSite(t, withPage(t, somePage), c.change)
		res := s.call(t, "GET", "/", "", "")
		policy := res.Header.Get("Content-Security-Policy")
		port := s.URL[strings.LastIndex(s.URL, ":")+1:]
		for _, part := range []string{"default-src 'none';", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none';", "base-uri 'none';", strings.ReplaceAll(c.frames, "PORT", port)} {
			if !strings.Contains(policy, part) {
				t.Errorf("no %s in %s", part, policy)
			}
		}
	}
}

func TestWithoutAPage(t *testing.T) {
	s := newSite(t)
	if res := s.call(t, "GET", "/", "", ""); res.StatusCode != 501 || !strings.Contains(body(t, res), "make build") {
		t.Errorf("%s", res.Status)
	}
}
