package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sandlot/api"
	"sandlot/internal/play"
)

// Exposed ports: requests to a port's own host name are carried to an
// application inside the machine, by the agent's dial. Exposed shells are
// entered in the same way.
//
//	private ─▶ Invite (the play's owner) ─code─▶ Admit ─cookie─▶ Visits ─▶ ServePort
//	public  ─────────────────────────────────────────────────────────────▶ ServePort

// PortCookie is the cookie that opens a private port or shell, on its own host
// name only. No application sees it or can set it.
const PortCookie = "sandlot-port"

const (
	codeTTL  = time.Minute    // of a hand-over
	visitTTL = 12 * time.Hour // of the cookie
	// maxVisits bounds the requests of one play that are under way,
	// WebSockets included.
	maxVisits = 512
	// headTimeout bounds what an application may take to begin its answer
	// when it has the whole request: long polls answer later than a minute.
	headTimeout = 10 * time.Minute
)

// visits are the requests to exposed ports that are under way.
type visits struct {
	codes   *Tickets[visa]
	cookies *Tickets[visa]

	mu         sync.Mutex
	open       map[play.ID]map[*visit]bool
	transports map[play.ID]map[api.Port]*http.Transport
}

// visa lets into one exposed thing, as long as the login lasts that it was
// given out to.
type visa struct{ exposed, login string }

type visit struct {
	port   string
	cancel func()
}

func newVisits() *visits {
	return &visits{
		codes: NewTickets[visa](), cookies: NewTickets[visa](),
		open: map[play.ID]map[*visit]bool{}, transports: map[play.ID]map[api.Port]*http.Transport{},
	}
}

// end cancels the visits of a play; of one port of it, unless that is "".
func (v *visits) end(id play.ID, port string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for visit := range v.open[id] {
		if port == "" || visit.port == port {
			visit.cancel()
		}
	}
	for key, transport := range v.transports[id] {
		if port == "" || key.ID == port {
			transport.CloseIdleConnections()
			delete(v.transports[id], key)
		}
	}
	if port == "" {
		delete(v.transports, id)
		v.codes.Revoke(id)
		v.cookies.Revoke(id)
	}
}

// close ends everything.
func (v *visits) close() {
	v.mu.Lock()
	ids := slices.Concat(slices.Collect(maps.Keys(v.open)), slices.Collect(maps.Keys(v.transports)))
	v.mu.Unlock()
	for _, id := range ids {
		v.end(id, "")
	}
}

func (v *visits) enter(parent context.Context, id play.ID, port string) (ctx context.Context, leave func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.open[id]) >= maxVisits {
		return nil, nil, api.Errorf(api.TooMany, "the exposed ports of this play have %d requests under way, the most there may be: try again later", maxVisits)
	}
	ctx, cancel := context.WithCancel(parent)
	one := &visit{port: port, cancel: cancel}
	if v.open[id] == nil {
		v.open[id] = map[*visit]bool{}
	}
	v.open[id][one] = true
	return ctx, func() {
		cancel()
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.open[id], one)
		if len(v.open[id]) == 0 {
			delete(v.open, id)
		}
	}, nil
}

// Invite returns a code that opens an exposed port or shell once, within a
// minute. It is for the play's owner; login names what they are signed in by,
// for EndVisits.
func (g *Gateway) Invite(id play.ID, exposed, login string) (code string, err error) {
	return g.visits.codes.Issue(id, visa{exposed, login}, codeTTL)
}

// Admit trades a code for a cookie of the same thing.
func (g *Gateway) Admit(id play.ID, exposed, code string) (cookie string, err error) {
	held, of, ok := g.visits.codes.Take(code)
	if !ok || held.exposed != exposed || of != id {
		return "", api.Errorf(api.Unauthenticated, "this link was used already or is too old: open the page again")
	}
	return g.visits.cookies.Issue(id, held, visitTTL)
}

// Visits tells whether a cookie opens it.
func (g *Gateway) Visits(id play.ID, exposed, cookie string) bool {
	held, of, ok := g.visits.cookies.Look(cookie)
	return ok && held.exposed == exposed && of == id
}

// EndVisits ends the codes and cookies that a login was given; "" is none.
func (g *Gateway) EndVisits(login string) {
	if login == "" {
		return
	}
	theirs := func(v visa) bool { return v.login == login }
	g.visits.codes.Drop(theirs)
	g.visits.cookies.Drop(theirs)
}

// CloseExposed ends what is under way to a port or shell that is exposed no
// more.
func (g *Gateway) CloseExposed(id play.ID, exposed string) { g.visits.end(id, exposed) }

// ServePort carries one request to the application and answers it: also when
// the machine does not answer, with refuse. front is the root of the port's
// own address, like "http://<id>.localhost:8484". Nothing that opens labd
// leaves: cookies of ours are taken out here, and the caller takes out an
// Authorization of ours.
func (g *Gateway) ServePort(w http.ResponseWriter, r *http.Request, p api.Port, front string, refuse func(http.ResponseWriter, *http.Request, error)) {
	ctx, leave, err := g.visits.enter(r.Context(), play.ID(p.PlayID), p.ID)
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer leave()
	if p.PathRewrite != "" && climbs(r.URL) {
		refuse(w, r, api.Errorf(api.Invalid, "this path leads above the one that is exposed: leave out its .. parts"))
		return
	}
	root, err := url.Parse(front)
	if err != nil {
		refuse(w, r, err)
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport:     g.transport(p),
		FlushInterval: -1, // events and long answers leave as they come
		Rewrite:       func(out *httputil.ProxyRequest) { rewrite(out, p) },
		ModifyResponse: func(res *http.Response) error {
			guardResponse(res, root)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			refuse(w, r, unlessRefusal(visitError(err, p), api.Unreachable, "port %d of machine %q gave no answer that is HTTP: %v", p.Number, p.Machine, err))
		},
		ErrorLog: log.New(io.Discard, "", 0), // what applications do is no news of labd's
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// visitError explains the errors that people can mend.
func visitError(err error, p api.Port) error {
	var dial *dialError
	switch {
	case errors.As(err, &dial):
		return api.Errorf(api.Unreachable, "cannot reach port %d of machine %q: %v. Is the machine up, and does the application listen on this port?", p.Number, p.Machine, dial.cause)
	case errors.Is(err, context.Canceled):
		return api.Errorf(api.Unreachable, "the request to port %d of machine %q was given up", p.Number, p.Machine)
	case p.TLS && strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return api.Errorf(api.Unreachable, "port %d of machine %q does not speak HTTPS: expose it without tls", p.Number, p.Machine)
	}
	return err
}

// dialError tells a failed dial from a failed conversation.
type dialError struct{ cause error }

func (e *dialError) Error() string { return e.cause.Error() }
func (e *dialError) Unwrap() error { return e.cause }

// transport reuses connections to one port. Whatever address a request has,
// it goes to that port of that machine, from inside.
func (g *Gateway) transport(p api.Port) *http.Transport {
	key := api.Port{ID: p.ID, Machine: p.Machine, Number: p.Number, TLS: p.TLS, HostRewrite: p.HostRewrite}
	id := play.ID(p.PlayID)
	v := g.visits
	v.mu.Lock()
	defer v.mu.Unlock()
	if have := v.transports[id][key]; have != nil {
		return have
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, g.DialTimeout)
			defer cancel()
			conn, err := g.machines.Dial(ctx, id, p.Machine, ":"+strconv.Itoa(p.Number))
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		// The application's certificate says nothing: the agent's channel
		// leads to this machine and no other.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		TLSHandshakeTimeout:    15 * time.Second,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		ResponseHeaderTimeout:  headTimeout,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true, // what the client asked for passes as it is
		MaxResponseHeaderBytes: 256 << 10,
	}
	if v.transports[id] == nil {
		v.transports[id] = map[api.Port]*http.Transport{}
	}
	v.transports[id][key] = t
	return t
}

// rewrite makes the request that the application gets.
func rewrite(out *httputil.ProxyRequest, p api.Port) {
	u := out.Out.URL
	u.Scheme, u.Host = "http", out.In.Host
	if p.TLS {
		u.Scheme = "https"
	}
	u.RawQuery = out.In.URL.RawQuery // as it came: nothing here decides by it
	out.Out.Host = out.In.Host
	if p.HostRewrite != "" {
		out.Out.Host, u.Host = p.HostRewrite, p.HostRewrite
	}
	if p.PathRewrite != "" {
		rewritePath(u, p.PathRewrite)
	}
	out.SetXForwarded()
	keepCookies(out.Out.Header)
}

// rewritePath puts a path, and its query, before those of a URL. The root
// becomes the path as it was written.
func rewritePath(u *url.URL, prefix string) {
	before, err := url.ParseRequestURI(prefix)
	if err != nil {
		return // it was checked when the port was exposed
	}
	if u.Path == "/" || u.Path == "" {
		u.Path, u.RawPath = before.Path, before.RawPath
	} else {
		escaped := strings.TrimSuffix(before.EscapedPath(), "/") + u.EscapedPath()
		u.Path = strings.TrimSuffix(before.Path, "/") + u.Path
		u.RawPath = escaped
	}
	if before.RawQuery != "" {
		u.RawQuery = strings.TrimSuffix(before.RawQuery+"&"+u.RawQuery, "&")
	}
}

// climbs tells whether a path has a part that leads upwards, plain or as an
// application could understand it: browsers send none.
func climbs(u *url.URL) bool {
	parts := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' || r == '\\' })
	return slices.Contains(parts, "..")
}

// ours tells the names of labd's own cookies.
func ours(cookie string) bool {
	name := strings.ToLower(cookie)
	return strings.Contains(name, "sandlot") || name == api.TunnelCookie
}

// keepCookies takes labd's own cookies out of a request, and leaves the others
// as they were written.
func keepCookies(h http.Header) {
	var kept []string
	for _, line := range h["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(part, "=")
			if part = strings.TrimSpace(part); part != "" && !ours(strings.TrimSpace(name)) {
				kept = append(kept, part)
			}
		}
	}
	h.Del("Cookie")
	if len(kept) > 0 {
		h.Set("Cookie", strings.Join(kept, "; "))
	}
}

// guardResponse keeps an application to its own host name: its cookies reach
// no other, its redirects to itself come back here, and it announces no other
// address for this one.
func guardResponse(res *http.Response, front *url.URL) {
	h := res.Header
	if lines := h["Set-Cookie"]; len(lines) > 0 {
		h.Del("Set-Cookie")
		for _, line := range lines {
			if kept, ok := guardCookie(line); ok {
				h.Add("Set-Cookie", kept)
			}
		}
	}
	h.Del("Alt-Svc")
	if res.Request == nil {
		return
	}
	if to, err := url.Parse(h.Get("Location")); err == nil && to.Host != "" && strings.EqualFold(to.Host, res.Request.Host) {
		to.Scheme, to.Host = front.Scheme, front.Host
		h.Set("Location", to.String())
	}
}

// guardCookie drops the attribute Domain, and cookies with names of ours.
func guardCookie(line string) (string, bool) {
	parts := strings.Split(line, ";")
	name, _, _ := strings.Cut(parts[0], "=")
	if ours(strings.TrimSpace(name)) {
		return "", false
	}
	kept := parts[:1]
	for _, part := range parts[1:] {
		attribute, _, _ := strings.Cut(part, "=")
		if !strings.EqualFold(strings.TrimSpace(attribute), "domain") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ";"), true
}
