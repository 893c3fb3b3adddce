package server

import (
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sandlot/api"
	"sandlot/internal/gateway"
	"sandlot/internal/play"
)

// enterPath is the one path of an exposed port's host name that is labd's.
const enterPath = "/.sandlot/enter"

// exposure is what is exposed at one host name: a port or a shell.
type exposure struct {
	id     string
	play   play.ID
	access string
	port   *api.Port
	shell  *api.Shell
}

// errNothingExposed is what everybody hears who may not see what they ask for,
// whether there is such a thing or not.
var errNothingExposed = api.Errorf(api.NotFound, "nothing is exposed here for you: its play may have ended, or it is private: "+
	"then open it in a browser that is signed in, or a port by labctl expose port --link")

// domain is the name, and the port if it has one of its own, below which
// exposed things live.
func (s *Server) domain() (host, port string) {
	if s.Domain == "" {
		return "localhost", ""
	}
	if host, port, err := net.SplitHostPort(s.Domain); err == nil {
		return strings.ToLower(host), port
	}
	return strings.ToLower(s.Domain), ""
}

// exposedHost tells whether a Host header is one of a machine's content, and
// its first label: an id, or anything that somebody made up.
func (s *Server) exposedHost(header string) (id string, is bool) {
	host := strings.ToLower(strings.TrimSuffix(hostOf(header), "."))
	domain, _ := s.domain()
	id, is = strings.CutSuffix(host, "."+domain)
	if is && s.PublicURL != "" {
		if u, err := url.Parse(s.PublicURL); err == nil && strings.EqualFold(u.Hostname(), host) {
			return "", false // labd's own name may be below the domain
		}
	}
	return id, is
}

func hostOf(header string) string {
	if host, _, err := net.SplitHostPort(header); err == nil {
		return host
	}
	return header
}

// front is the root of an exposed thing's address, for whoever sent r.
func (s *Server) front(r *http.Request, id string) string {
	host, port := s.domain()
	scheme, ownPort := s.outside(r)
	if port == "" {
		port = ownPort
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + id + "." + host
}

// outside is the scheme and port by which clients reach labd.
func (s *Server) outside(r *http.Request) (scheme, port string) {
	if s.PublicURL != "" {
		if u, err := url.Parse(s.PublicURL); err == nil {
			return u.Scheme, u.Port()
		}
	}
	if _, p, err := net.SplitHostPort(r.Host); err == nil {
		port = p
	}
	if r.TLS != nil {
		return "https", port
	}
	return "http", port
}

// apiRoot is the API's own address for a request that came to an exposed host.
func (s *Server) apiRoot(r *http.Request) string {
	if s.PublicURL != "" {
		return s.PublicURL
	}
	host, _ := s.domain()
	scheme, port := s.outside(r)
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + host
}

func (s *Server) addressPort(c *call, p *api.Port) {
	p.URL = s.front(c.Request, p.ID)
	p.Hostname = strings.TrimPrefix(strings.TrimPrefix(p.URL, "http://"), "https://")
}

func (s *Server) addressShell(c *call, p *api.Shell) {
	p.URL = s.front(c.Request, p.ID)
	p.Hostname = strings.TrimPrefix(strings.TrimPrefix(p.URL, "http://"), "https://")
}

// serveExposed answers on the host names of machines' content. Nothing of the
// API is reachable here, whatever the path.
func (s *Server) serveExposed(w http.ResponseWriter, r *http.Request, id string) {
	// The connection may have carried replies of the API, which have one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	// Until labd has taken over what runs, it knows of no play.
	if s.Recovered != nil {
		select {
		case <-s.Recovered:
		case <-r.Context().Done():
			return
		}
	}
	if r.Header.Get("Upgrade") != "" {
		socket, done := s.socket(r)
		defer done()
		r = socket
	}
	x, err := s.exposure(r, id)
	if errors.Is(err, errNothingExposed) {
		s.keepOut(w, r, id)
		return
	}
	if err == nil && r.Method == http.MethodConnect {
		err = api.Errorf(api.Invalid, "an exposed port is no proxy: use labctl port-forward")
	}
	if err != nil {
		s.refuseVisitor(w, r, err)
		return
	}
	if r.URL.Path == enterPath {
		s.enter(w, r, x)
		return
	}
	allowed, err := s.mayVisit(w, r, x)
	if err == nil && allowed && x.shell != nil {
		err = s.serveShell(w, r, *x.shell)
	}
	if err != nil {
		s.refuseVisitor(w, r, err)
		return
	}
	if allowed && x.port != nil {
		s.Visitors.ServePort(w, r, *x.port, s.front(r, id), s.refuseVisitor)
	}
}

// exposure finds what is exposed under an id; errNothingExposed if nothing is.
func (s *Server) exposure(r *http.Request, id string) (exposure, error) {
	// Ids look like those of plays.
	if _, err := play.ParseID(id); err != nil {
		return exposure{}, errNothingExposed
	}
	notFound := func(err error) bool {
		var refusal *api.Error
		return errors.As(err, &refusal) && refusal.Kind == api.NotFound
	}
	p, err := s.Ports.ExposedPort(r.Context(), id)
	if err == nil {
		return exposure{id: id, play: play.ID(p.PlayID), access: p.Access, port: &p}, nil
	}
	if !notFound(err) {
		return exposure{}, err
	}
	shell, err := s.Shells.ExposedShell(r.Context(), id)
	if notFound(err) {
		err = errNothingExposed
	}
	return exposure{id: id, play: play.ID(shell.PlayID), access: shell.Access, shell: &shell}, err
}

// enter trades a code for the cookie of a private port or shell, and goes on to
// a path of the same host.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, x exposure) {
	cookie, err := s.Visitors.Admit(x.play, x.id, r.URL.Query().Get("code"))
	if err != nil {
		s.keepOut(w, r, x.id)
		return
	}
	c := http.Cookie{Name: gateway.PortCookie, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	scheme, _ := s.outside(r)
	// Every name below localhost is a site of its own, so in a frame of the UI
	// the plain cookie is not sent; but browsers take secure ones there without
	// TLS. Those that do not still have the plain one, for windows.
	domain, _ := s.domain()
	local := strings.HasSuffix("."+domain, ".localhost")
	if scheme != "https" {
		http.SetCookie(w, &c)
	}
	if scheme == "https" || local {
		// So that the page may stand in a frame of the UI, and of no other site.
		c.Secure, c.SameSite, c.Partitioned = true, http.SameSiteNoneMode, true
		http.SetCookie(w, &c)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, s.front(r, x.id)+localPath(r.URL.Query().Get("to")), http.StatusSeeOther)
}

// localPath keeps a path with its query, and turns everything that could lead
// to another host into the root.
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") ||
		strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || len(to) > 4096 {
		return "/"
	}
	return u.RequestURI()
}

// mayVisit guards what is private, and takes credentials of ours out of the
// request. If it returns neither, it has answered.
func (s *Server) mayVisit(w http.ResponseWriter, r *http.Request, x exposure) (bool, error) {
	mine := false
	if r.Header.Get("Authorization") != "" {
		if who, err := s.identify(r); err == nil {
			r.Header.Del("Authorization") // the application's own passes
			// A token is bounded by its scopes, of which none is for this.
			if who.via == "session" {
				if mine, err = s.mayUse(&call{Request: r, caller: who}, x.play); err != nil {
					return false, err
				}
			}
		}
	}
	if x.access == api.AccessPublic || mine {
		return true, nil
	}
	for _, c := range r.CookiesNamed(gateway.PortCookie) {
		if s.Visitors.Visits(x.play, x.id, c.Value) {
			return true, sameOrigin(r)
		}
	}
	s.keepOut(w, r, x.id)
	return false, nil
}

// keepOut answers who may not see what has this id, and who asks for an id that
// nothing has: the same, so that nobody learns which. A browser is sent to
// labd's own host name, where people may be signed in.
func (s *Server) keepOut(w http.ResponseWriter, r *http.Request, id string) {
	_, err := play.ParseID(id)
	if err != nil || r.Method != http.MethodGet || r.Header.Get("Upgrade") != "" || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.refuseVisitor(w, r, errNothingExposed)
		return
	}
	to := r.URL.RequestURI()
	if r.URL.Path == enterPath { // its code is good no more
		to = localPath(r.URL.Query().Get("to"))
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, s.apiRoot(r)+"/exposed/"+id+"/enter?"+url.Values{"to": {to}}.Encode(), http.StatusSeeOther)
}

// sameOrigin refuses what a page of another origin sends with the cookie: what
// changes something, and WebSockets.
func sameOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" || (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Upgrade") == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return api.Errorf(api.Forbidden, "a page of another origin may not send this")
}

// mayUse tells whether the caller may use a play.
func (s *Server) mayUse(c *call, id play.ID) (bool, error) {
	_, err := s.Plays.Get(c.Context(), c.user, id)
	var refusal *api.Error
	if errors.As(err, &refusal) {
		return false, nil
	}
	return err == nil, err
}

// refuseVisitor is refuse for people in front of a browser, on host names that
// are not the API's.
func (s *Server) refuseVisitor(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Cache-Control", "no-store")
	var refusal *api.Error
	if !strings.Contains(r.Header.Get("Accept"), "text/html") || !errors.As(err, &refusal) {
		s.refuse(w, r, err)
		return
	}
	status, ok := statuses[refusal.Kind]
	if !ok {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<!doctype html><meta name="viewport" content="width=device-width"><title>`+http.StatusText(status)+
		`</title><body style="font:1.1rem/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem"><h1 style="font-size:1.3rem">`+
		http.StatusText(status)+`</h1><p>`+html.EscapeString(refusal.Error())+`</p>`)
}
