package server

import (
	"net/http"
	"strings"

	"sandlot/api"
)

// views are the addresses that the page shows something at; what that is it
// finds out by itself, and it asks the API for everything it shows. Only these
// can be kept as links, so anything else is a 404 that looks like the page.
var views = []route{
	{"GET", "/{$}", page, nil, view200, about{summary: "The catalog"}},
	{"GET", "/playgrounds/{name}", page, nil, view200, about{summary: "A playground"}},
	{"GET", "/new", page, nil, view200, about{summary: "A new playground, in the editor"}},
	{"GET", "/playgrounds/{name}/edit", page, nil, view200, about{summary: "The editor of a playground's manifest"}},
	{"GET", "/plays", page, nil, view200, about{summary: "The user's plays"}},
	{"GET", "/plays/{id}", page, nil, view200, about{summary: "A play: its start, then its tabs"}},
	{"GET", "/account/{view}", page, nil, view200, about{summary: "A part of the user's account"}},
	{"GET", "/admin", page, nil, view200, about{summary: "Administration"}},
	{"GET", "/admin/{view}", page, nil, view200, about{summary: "A part of it"}},
	{"GET", "/assets/{file...}", anyone, nil, asset, about{summary: "Files of the page, under names that change with their content"}},
	{"GET", "/{rest...}", page, nil, elsewhereView, about{summary: "Other files of the page; else 404, as a page"}},
}

// plain tells whether a request gets forms of plain HTML: where there is no
// page, or from who does not ask for HTML by name, as browsers do.
func (s *Server) plain(c *call) bool {
	return !s.Page.Ready() || !strings.Contains(c.Header.Get("Accept"), "text/html")
}

func view200(s *Server, w http.ResponseWriter, c *call) error {
	return s.serveView(w, c, http.StatusOK)
}

func (s *Server) serveView(w http.ResponseWriter, c *call, status int) error {
	w.Header().Set("Content-Security-Policy", s.viewPolicy(c.Request))
	s.Page.ServeIndex(w, c.Request, status)
	return nil
}

// viewPolicy lets the page load its own files, talk to its own server and frame
// machines' content, and nothing else. Styles are inline because xterm.js and
// the primitives of the page write them; scripts never are.
func (s *Server) viewPolicy(r *http.Request) string {
	exposed := strings.TrimPrefix(strings.TrimPrefix(s.front(r, "*"), "http://"), "https://")
	return strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "font-src 'self'", "img-src 'self' data:",
		"connect-src 'self'", "manifest-src 'self'", "frame-src 'self' http://" + exposed + " https://" + exposed,
		"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "object-src 'none'",
	}, "; ")
}

func asset(s *Server, w http.ResponseWriter, c *call) error {
	if s.Page.ServeFile(w, c.Request, "assets/"+c.PathValue("file")) {
		return nil
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "there is no such file of the page: load the page again", http.StatusNotFound)
	return nil
}

// elsewhereView answers programs in plain words and people with the page.
func elsewhereView(s *Server, w http.ResponseWriter, c *call) error {
	if s.Page.ServeFile(w, c.Request, c.PathValue("rest")) {
		return nil
	}
	if !s.plain(c) {
		return s.serveView(w, c, http.StatusNotFound)
	}
	s.refuse(w, c.Request, api.Errorf(api.NotFound, "there is nothing at %s", c.URL.Path))
	return nil
}
