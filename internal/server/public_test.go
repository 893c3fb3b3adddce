package server_test

import (
	"net/http"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/server/servertest"
)

// What authors look up needs no account, may be kept, and is sent once.
func TestReferencesArePublicAndCached(t *testing.T) {
	l := servertest.New(t)
	for path, want := range map[string]string{
		"/api/sources": `[{"name":"debian-12","distribution":"Debian GNU/Linux 12 (bookworm)","digest":"sha256:`,
		"/api/kernels": `[{"version":"6.1","release":"6.1.0-37-cloud-amd64",`,
		"/api/bases":   `[{"owner":"","name":"flexbox",`,
	} {
		get := func(tag string) *http.Response {
			t.Helper()
			req, _ := http.NewRequest("GET", l.HTTP.URL+path, nil)
			if tag != "" {
				req.Header.Set("If-None-Match", tag)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { res.Body.Close() })
			return res
		}
		res := get("")
		tag := res.Header.Get("ETag")
		if got := body(t, res); res.StatusCode != 200 || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s %s", path, res.Status, got)
		}
		if res.Header.Get("Cache-Control") != "public, max-age=60" || res.Header.Get("Content-Type") != "application/json" || tag == "" {
			t.Errorf("%s: %v", path, res.Header)
		}
		if res := get(tag); res.StatusCode != http.StatusNotModified || body(t, res) != "" {
			t.Errorf("%s with its tag: %s", path, res.Status)
		}
		if res := get(`"other"`); res.StatusCode != 200 {
			t.Errorf("%s with another tag: %s", path, res.Status)
		}
	}
	l.Refuse = http.ErrHandlerTimeout
	if res := ask(t, l, "GET", "/api/sources", ""); res.StatusCode != 500 || res.Header.Get("Cache-Control") == "public, max-age=60" {
		t.Errorf("an error is kept: %s %v", res.Status, res.Header)
	}
}

func TestSearch(t *testing.T) {
	l := servertest.New(t)
	l.Catalog = append(l.Catalog, api.Playground{Name: "flexible", Owner: "u-1"})
	for _, c := range []struct {
		query, total string
		signedIn     bool
		want         int
	}{
		{"?search=flex", "1", false, 1}, {"?search=flex", "2", true, 2}, {"?search=flex&limit=1&offset=1", "2", true, 1}, {"?search=no", "0", true, 0},
	} {
		req, _ := http.NewRequest("GET", l.HTTP.URL+"/api/search"+c.query, nil)
		if c.signedIn {
			req.SetBasicAuth(servertest.Session, servertest.Token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if got := decode[api.SearchResult](t, res); len(got.Items) != c.want || got.Items == nil || res.Header.Get("X-Total-Count") != c.total {
			t.Errorf("%s: %+v, total %s", c.query, got, res.Header.Get("X-Total-Count"))
		}
	}
	for _, bad := range []string{"?limit=0", "?limit=x", "?offset=-1"} {
		if res := ask(t, l, "GET", "/api/search"+bad, ""); res.StatusCode != 400 {
			t.Errorf("%s: %s", bad, res.Status)
		}
	}
	// Wrong credentials are not as good as none.
	req, _ := http.NewRequest("GET", l.HTTP.URL+"/api/search?search=flex", nil)
	req.SetBasicAuth(servertest.Session, "wrong")
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 401 {
		t.Errorf("%v, %v", res, err)
	}
}
