package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
)

func page(t *testing.T, files fstest.MapFS) *Page {
	t.Helper()
	p, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var some = fstest.MapFS{
	"index.html":          {Data: []byte("<html>index</html>")},
	"index.html.br":       {Data: []byte("BR")},
	"assets/a-1.js":       {Data: []byte("script")},
	"assets/a-1.js.br":    {Data: []byte("BR")},
	"assets/a-1.js.gz":    {Data: []byte("GZ")},
	"assets/b-2.woff2":    {Data: []byte("font")},
	"favicon.svg":         {Data: []byte("<svg/>")},
	"assets/orphan.js.br": {Data: []byte("nobody asks")},
}

func TestServeFile(t *testing.T) {
	const forever = "public, max-age=31536000, immutable"
	for _, c := range []struct {
		name, accept                 string
		found                        bool
		body, encoding, cache, media string
	}{
		{"assets/a-1.js", "gzip, deflate, br", true, "BR", "br", forever, "text/javascript; charset=utf-8"},
		{"assets/a-1.js", "gzip", true, "GZ", "gzip", forever, "text/javascript; charset=utf-8"},
		{"assets/a-1.js", "br;q=0, gzip;q=0.5", true, "GZ", "gzip", forever, "text/javascript; charset=utf-8"},
		{"assets/a-1.js", "", true, "script", "", forever, "text/javascript; charset=utf-8"},
		{"assets/b-2.woff2", "br", true, "font", "", forever, "font/woff2"},
		{"favicon.svg", "br", true, "<svg/>", "", "no-cache", "image/svg+xml"},
		{"assets/a-1.js.br", "", false, "", "", "", ""},
		{"index.html", "", false, "", "", "", ""}, // has a policy: ServeIndex
		{"../web.go", "", false, "", "", "", ""},
		{"", "", false, "", "", "", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", c.accept)
		w := httptest.NewRecorder()
		found := page(t, some).ServeFile(w, r, c.name)
		h := w.Header()
		if found != c.found || w.Body.String() != c.body || h.Get("Content-Encoding") != c.encoding || h.Get("Cache-Control") != c.cache || h.Get("Content-Type") != c.media {
			t.Errorf("%q for %q: %v %q %v", c.name, c.accept, found, w.Body, h)
		}
	}
}

func TestEachEncodingHasItsOwnTag(t *testing.T) {
	tags := map[string]bool{}
	for _, accept := range []string{"", "gzip", "br"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		page(t, some).ServeFile(w, r, "assets/a-1.js")
		tag := w.Header().Get("ETag")
		tags[tag] = true
		r.Header.Set("If-None-Match", tag)
		w = httptest.NewRecorder()
		page(t, some).ServeFile(w, r, "assets/a-1.js")
		if w.Code != http.StatusNotModified {
			t.Errorf("%q again: %d", accept, w.Code)
		}
	}
	if len(tags) != 3 {
		t.Errorf("tags: %v", tags)
	}
}

func TestServeIndex(t *testing.T) {
	for _, c := range []struct {
		files        fstest.MapFS
		status, want int
		body         string
	}{
		{some, 200, 200, "BR"},
		{some, 404, 404, "<html>index</html>"},
		{nil, 200, 501, missing},
	} {
		r := httptest.NewRequest(http.MethodGet, "/anything", nil)
		r.Header.Set("Accept-Encoding", "br")
		w := httptest.NewRecorder()
		p := page(t, c.files)
		p.ServeIndex(w, r, c.status)
		if w.Code != c.want || w.Body.String() != c.body || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%d: %d %q %v", c.status, w.Code, w.Body, w.Header())
		}
		if p.Ready() != (c.files != nil) {
			t.Errorf("ready: %v", p.Ready())
		}
	}
}
