// Package web serves the page: what Vite made of web/ goes in, embedded by the
// build, replies to browsers come out. It knows nothing of the API.
//
// Files below assets/ have a hash of their content in their name, so browsers
// keep them for ever; all others are asked for again each time. A labd that was
// built without Node says so in place of the page.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed all:dist
var built embed.FS

// Views are what browsers open; each looks at its address by itself.
const (
	index = "index.html"
	shell = "shell.html" // of an exposed shell, on its own host name
)

// Built is the page that this program was built with; empty if it was built
// without one.
func Built() fs.FS {
	sub, err := fs.Sub(built, "dist/app")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}

// file is one reply in each encoding that it exists in.
type file struct {
	contentType string
	plain       []byte
	encoded     map[string][]byte // by content encoding: br, gzip
	tag         string            // of the plain content, without quotes
}

// Page answers with files.
type Page struct{ files map[string]file }

// encodings in order of preference, and the endings of files that have them.
var encodings = []struct{ name, ending string }{{"br", ".br"}, {"gzip", ".gz"}}

// New reads all files: they are few, and served from memory.
func New(files fs.FS) (*Page, error) {
	p := &Page{files: map[string]file{}}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return fs.SkipAll // built without a page
		case err != nil || d.IsDir() || slices.ContainsFunc(encodings, func(e struct{ name, ending string }) bool { return path.Ext(name) == e.ending }):
			return err
		}
		f := file{contentType: mime.TypeByExtension(path.Ext(name)), encoded: map[string][]byte{}}
		if own, ok := types[path.Ext(name)]; ok {
			f.contentType = own
		}
		if f.plain, err = fs.ReadFile(files, name); err != nil {
			return fmt.Errorf("cannot read page file %q: %w", name, err)
		}
		sum := sha256.Sum256(f.plain)
		f.tag = base64.RawURLEncoding.EncodeToString(sum[:12])
		for _, e := range encodings {
			if body, err := fs.ReadFile(files, name+e.ending); err == nil {
				f.encoded[e.name] = body
			}
		}
		p.files[name] = f
		return nil
	})
	return p, err
}

// types are ours rather than the host's: its mime.types may lack or change them.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json", ".woff2": "font/woff2",
}

// Ready tells whether there is a page at all.
func (p *Page) Ready() bool { _, ok := p.files[index]; return ok }

// HasShell tells whether there is a page for exposed shells.
func (p *Page) HasShell() bool { _, ok := p.files[shell]; return ok }

// ServeFile answers with a file by its path, and tells whether there is one.
func (p *Page) ServeFile(w http.ResponseWriter, r *http.Request, name string) bool {
	f, ok := p.files[name]
	if !ok || name == index || name == shell { // those have a policy
		return false
	}
	if strings.HasPrefix(name, "assets/") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		w.Header().Set("Cache-Control", "no-cache")
	}
	f.serve(w, r)
	return true
}

// ServeIndex answers with the page itself, which looks at its address.
func (p *Page) ServeIndex(w http.ResponseWriter, r *http.Request, status int) {
	p.serveView(w, r, index, status)
}

// ServeShell answers with the page of an exposed shell.
func (p *Page) ServeShell(w http.ResponseWriter, r *http.Request) {
	p.serveView(w, r, shell, http.StatusOK)
}

func (p *Page) serveView(w http.ResponseWriter, r *http.Request, view string, status int) {
	w.Header().Set("Cache-Control", "no-cache")
	f, ok := p.files[view]
	if !ok {
		f, status = file{contentType: types[".html"], plain: []byte(missing)}, http.StatusNotImplemented
	}
	if status != http.StatusOK { // a tag would turn it into 200 or 304
		w.Header().Set("Content-Type", f.contentType)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = w.Write(f.plain)
		}
		return
	}
	f.serve(w, r)
}

const missing = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Sandlot</title>
<p>This labd was built without its page. Build it with <code>make build</code>, which needs Node.js;
labctl and the API work all the same.</p></html>
`

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h, body, tag := w.Header(), f.plain, f.tag
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Encoding")
	for _, e := range encodings {
		if encoded, ok := f.encoded[e.name]; ok && accepts(r, e.name) {
			h.Set("Content-Encoding", e.name)
			body, tag = encoded, tag+"-"+e.name
			break
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// accepts tells whether a client takes a content encoding.
func accepts(r *http.Request, encoding string) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), encoding) {
			q := strings.ReplaceAll(weight, " ", "")
			return !strings.HasPrefix(q, "q=0") || strings.Trim(q[3:], "0.") != ""
		}
	}
	return false
}
