package server

import (
	"net/http"
	"strings"

	"sandlot/api"
)

// Paths on an exposed shell's host name; all others are its page's.
//
//	GET  /.sandlot/shell               whose shell it is
//	POST /.sandlot/terminals {"tty"}   ─▶ {"url"}: a WebSocket like those of
//	                                      POST /api/plays/{id}/terminals
const (
	shellPath     = "/.sandlot/shell"
	terminalsPath = "/.sandlot/terminals"
)

// maxShellBody bounds what a visitor sends to open a terminal.
const maxShellBody = 4 << 10

// serveShell answers a visitor who may use an exposed shell.
func (s *Server) serveShell(w http.ResponseWriter, r *http.Request, shell api.Shell) error {
	token, isSocket := strings.CutPrefix(r.URL.Path, terminalsPath+"/")
	switch {
	case isSocket:
		if err := sameOrigin(r); err != nil {
			return err
		}
		return s.Visitors.ServeShell(w, r, shell, token)
	case r.URL.Path == shellPath && r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, api.ShellVisit{Machine: shell.Machine, User: shell.User, Access: shell.Access})
		return nil
	case r.URL.Path == terminalsPath && r.Method == http.MethodPost:
		return s.openShell(w, r, shell)
	case strings.HasPrefix(r.URL.Path, "/.sandlot/"):
		return api.Errorf(api.NotFound, "there is no %s %s of an exposed shell", r.Method, r.URL.Path)
	case !s.Page.HasShell():
		return api.Errorf(api.Unsupported, "this labd has no page for shells: the owner of the play uses labctl terminal")
	case s.Page.ServeFile(w, r, strings.TrimPrefix(r.URL.Path, "/")):
		return nil
	case strings.HasPrefix(r.URL.Path, "/assets/"):
		return api.Errorf(api.NotFound, "there is no such file of the page: load the page again")
	}
	w.Header().Set("Content-Security-Policy", shellPolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	s.Page.ServeShell(w, r)
	return nil
}

// shellPolicy is that of the page (viewPolicy) without frames: nothing is shown
// in the shell's page, and it is shown in no other.
const shellPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"

func (s *Server) openShell(w http.ResponseWriter, r *http.Request, shell api.Shell) error {
	if err := sameOrigin(r); err != nil {
		return err
	}
	s.bound(w, r, maxShellBody)
	req, err := decode[api.OpenShell](&call{Request: r})
	if err != nil {
		return err
	}
	if req.TTY == nil {
		req.TTY = &api.TTY{Term: "xterm-256color", Rows: 24, Cols: 80}
	}
	p, err := s.Shells.PlayOfShell(r.Context(), shell.ID)
	if err != nil {
		return err
	}
	token, err := s.Visitors.OpenShell(r.Context(), p, shell, req)
	if err != nil {
		return err
	}
	front := s.front(r, shell.ID)
	writeJSON(w, http.StatusOK, api.Conn{URL: "ws" + strings.TrimPrefix(front, "http") + terminalsPath + "/" + token})
	return nil
}
