// Package server is the HTTP and WebSocket face of labd: requests go in,
// calls on the small interfaces below come out. It holds no logic: routes.go
// is the one table of method, path, access and handler, errors.go the one
// place where an error becomes a status.
//
// docs/api.md describes what is served.
package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sandlot/api"
	"sandlot/internal/gateway"
	"sandlot/internal/play"
	"sandlot/internal/web"
)

// Every method below takes the signed-in user and refuses with an *api.Error
// (NotFound for plays the user may not know of). Any other error is labd's own
// fault and becomes a 500. They return quickly: a person polls or watches.

// Playgrounds is the catalog. A playground that the user may neither read nor
// start is NotFound; one that may not be read, started or changed is Forbidden
// where that is asked for.
type Playgrounds interface {
	// Playgrounds is one page of what the user may list, each the JSON of an
	// api.Playground, and how many there are in all. filter is "" (official),
	// my-custom, recent, popular, community or base.
	Playgrounds(ctx context.Context, user api.Me, filter string, page api.Page) (list []json.RawMessage, total int, err error)
	// Playground returns one by name; extended means the complete effective
	// definition, what comes from the base included.
	Playground(ctx context.Context, user api.Me, name string, extended bool) (api.Playground, error)
	// CreatePlayground makes one from a partial definition over a base, under a
	// name that begins like the one asked for.
	CreatePlayground(ctx context.Context, user api.Me, req api.CreatePlayground) (api.Playground, error)
	// UpdatePlayground replaces the whole definition.
	UpdatePlayground(ctx context.Context, user api.Me, name string, spec api.PlaygroundSpec) (api.Playground, error)
	RemovePlayground(ctx context.Context, user api.Me, name string) error
}

// Searcher is the extra power of Playgrounds that finds them by words. The user
// is the zero Me for somebody who has not signed in.
type Searcher interface {
	// Search returns one page, the best first, and how many there are in all.
	Search(ctx context.Context, user api.Me, what api.Search) (items []api.SearchItem, total int, err error)
}

// Drafter is the extra power of Playgrounds that knows manifests as text.
type Drafter interface {
	// ManifestText is a playground's manifest as YAML; anew, what a new one
	// over it begins with.
	ManifestText(ctx context.Context, user api.Me, name string, anew bool) (string, error)
	// CheckDraft says what is wrong with a manifest, with its lines.
	CheckDraft(ctx context.Context, user api.Me, d api.Draft) (api.CheckedDraft, error)
}

// Plays starts and shows plays.
type Plays interface {
	// Start plans the play, records it and returns it while it is still
	// booting. A manifest with problems is one Invalid error that carries
	// all of them.
	Start(ctx context.Context, user api.Me, req api.StartPlay) (api.Play, error)
	// List returns recent plays, destroyed ones of the last minutes included;
	// with persistent only those whose state is kept, running or stopped. A
	// limit of 0 is none.
	List(ctx context.Context, user api.Me, persistent bool, page api.Page) ([]api.EncodedPlay, error)
	// Get returns a play; a destroyed one for at least some minutes more, with
	// DESTROYED as its last state event.
	Get(ctx context.Context, user api.Me, id play.ID) (api.Play, error)
	// Tasks returns the details of a play's tasks; of all machines if none
	// are named.
	Tasks(ctx context.Context, user api.Me, id play.ID, machines []string) ([]api.TaskDetails, error)
	// Watch sends the whole play at once and again after each change, until
	// ctx ends or there is nothing more to see; then it closes the channel. A
	// slow reader may miss snapshots in between but never the last one.
	Watch(ctx context.Context, user api.Me, id play.ID) (<-chan api.Play, error)
}

// Lifecycle changes plays. Each returns the updated play.
type Lifecycle interface {
	Stop(ctx context.Context, user api.Me, id play.ID) (api.Play, error)
	Restart(ctx context.Context, user api.Me, id play.ID) (api.Play, error)
	// Destroy succeeds in every state and twice.
	Destroy(ctx context.Context, user api.Me, id play.ID) (api.Play, error)
}

// Saver keeps the drives of stopped plays.
type Saver interface {
	// SavePlay makes a playground of a stopped play.
	SavePlay(ctx context.Context, user api.Me, id play.ID, req api.SavePlay) (api.Playground, error)
	// ForkPlay starts a new play with clones of a stopped one's drives.
	ForkPlay(ctx context.Context, user api.Me, id play.ID, req api.ForkPlay) (api.Play, error)
}

// Settings changes what is written on a play. Each returns the updated play.
type Settings interface {
	SetTitle(ctx context.Context, user api.Me, id play.ID, title string) (api.Play, error)
	MakePersistent(ctx context.Context, user api.Me, id play.ID) (api.Play, error)
	// SetMaxPlayTime sets the total lifetime, counted from the start.
	SetMaxPlayTime(ctx context.Context, user api.Me, id play.ID, total time.Duration) (api.Play, error)
}

// Machines changes single machines of a play. A machine that does not exist is
// NotFound.
type Machines interface {
	RebootMachine(ctx context.Context, user api.Me, id play.ID, machine string) (api.Play, error)
	StopMachine(ctx context.Context, user api.Me, id play.ID, machine string) (api.Play, error)
	RestartMachine(ctx context.Context, user api.Me, id play.ID, machine string) (api.Play, error)
	// Consoles names the kept consoles: one per boot, oldest first.
	Consoles(ctx context.Context, user api.Me, id play.ID, machine string) ([]string, error)
	// Usage tells what the machines that run use.
	Usage(ctx context.Context, user api.Me, id play.ID) ([]api.MachineUsage, error)
	// Console returns the content of one; the server trusts no name, so
	// neither may the implementation: it is looked up, never joined to a path.
	Console(ctx context.Context, user api.Me, id play.ID, machine, console string) (string, error)
}

// References are what authors look up before they write: public, so nothing
// in them may belong to anybody.
type References interface {
	// Sources are the images that manifests may name, ready or not.
	Sources(ctx context.Context) ([]api.Source, error)
	Kernels(ctx context.Context) ([]api.KernelVersion, error)
	// Backends that manifests may name, here or not.
	Backends(ctx context.Context) ([]api.Backend, error)
	// Bases are the playgrounds to derive from, with their definitions.
	Bases(ctx context.Context) ([]api.Playground, error)
}

// Budgets tells users what they may have.
type Budgets interface {
	UserPlan(ctx context.Context, user api.Me) (api.UserPlan, error)
}

// Gateway carries bytes to machines; see internal/gateway.
type Gateway interface {
	OpenTunnel(ctx context.Context, p api.Play, req api.TunnelRequest) (id, code string, err error)
	Login(tunnelID, code string) (cookie string, err error)
	ServeTunnel(w http.ResponseWriter, r *http.Request, tunnelID, cookie, payload string) error
	OpenTerminal(ctx context.Context, p api.Play, req api.TerminalRequest) (token string, err error)
	OpenJournal(ctx context.Context, p api.Play, req api.JournalRequest) (token string, err error)
	ServeJournal(w http.ResponseWriter, r *http.Request, token string) error
	ServeTerminal(w http.ResponseWriter, r *http.Request, token string) error
}

// Ports are the exposed ports of plays, in any state of theirs but the end.
type Ports interface {
	Ports(ctx context.Context, user api.Me, id play.ID) ([]api.Port, error)
	// ExposePort returns the same port for the same request.
	ExposePort(ctx context.Context, user api.Me, id play.ID, req api.Port) (api.Port, error)
	RemovePort(ctx context.Context, user api.Me, id play.ID, port string) error
	// ExposedPort finds one by its id for anybody; the server guards private
	// ones. NotFound once the play has ended.
	ExposedPort(ctx context.Context, port string) (api.Port, error)
}

// Shells is Ports for terminals.
type Shells interface {
	Shells(ctx context.Context, user api.Me, id play.ID) ([]api.Shell, error)
	ExposeShell(ctx context.Context, user api.Me, id play.ID, req api.Shell) (api.Shell, error)
	RemoveShell(ctx context.Context, user api.Me, id play.ID, shell string) error
	ExposedShell(ctx context.Context, shell string) (api.Shell, error)
	// PlayOfShell is what a visitor's terminal is opened in.
	PlayOfShell(ctx context.Context, shell string) (api.Play, error)
}

// Forwards is the list of port forwards that clients save with a play.
type Forwards interface {
	PortForwards(ctx context.Context, user api.Me, id play.ID) ([]api.PortForward, error)
	// AddPortForward saves one; a second time is no error.
	AddPortForward(ctx context.Context, user api.Me, id play.ID, f api.PortForward) error
	// RemovePortForward takes the index in the list, from 0.
	RemovePortForward(ctx context.Context, user api.Me, id play.ID, index int) error
}

// Visitors carries requests to exposed ports and shells; see internal/gateway.
type Visitors interface {
	Invite(id play.ID, exposed, login string) (code string, err error)
	Admit(id play.ID, exposed, code string) (cookie string, err error)
	Visits(id play.ID, exposed, cookie string) bool
	EndVisits(login string)
	ServePort(w http.ResponseWriter, r *http.Request, p api.Port, front string, refuse func(http.ResponseWriter, *http.Request, error))
	OpenShell(ctx context.Context, p api.Play, shell api.Shell, req api.OpenShell) (token string, err error)
	ServeShell(w http.ResponseWriter, r *http.Request, shell api.Shell, token string) error
	CloseExposed(id play.ID, exposed string)
}

// Scanner finds what may be worth exposing; see internal/gateway.
type Scanner interface {
	ScanPorts(ctx context.Context, p api.Play, machine string) ([]api.ScannedPort, error)
}

// Options are what a server is made of. All interfaces are required; one value
// may implement several.
type Options struct {
	Auth        Auth
	Playgrounds Playgrounds
	Plays       Plays
	Lifecycle   Lifecycle
	Settings    Settings
	Budgets     Budgets
	Saver       Saver
	Machines    Machines
	References  References
	Gateway     Gateway
	Ports       Ports
	Shells      Shells
	Forwards    Forwards
	Visitors    Visitors
	Scanner     Scanner

	// Administration may be nil: then administrators can do less.
	Administration Administration
	// Accounts and Provider may be nil: then only sessions sign in, or there is
	// no OpenID Connect provider.
	Accounts Accounts
	Provider Provider
	// Page is what browsers are shown; nil means that there is none.
	Page *web.Page
	// SingleUser lets this host in without a login.
	SingleUser bool

	// PublicURL is the root that URLs in replies start with, without a
	// trailing slash, like "https://labs.example.org". Empty: what the request
	// was sent to.
	PublicURL string
	// Domain is where exposed things live, as <id>.Domain; it may have a port,
	// else they have that of the API. Default: localhost.
	Domain string
	// Log gets a line for each request, and labd's own faults; nil means
	// slog.Default(). LogHandler makes it name requests.
	Log *slog.Logger
	// Registry gathers what /metrics tells; nil means a new one. The server
	// adds what it knows of requests.
	Registry *prometheus.Registry
	// Checks are what /readyz asks.
	Checks []Check
	// Recovered, if set, is closed when labd has taken over what runs; until
	// then requests wait.
	Recovered <-chan struct{}
	// StatusEvery is how often a play's connection repeats its status
	// (default 3 s); PingEvery how often it pings (default 30 s).
	StatusEvery, PingEvery time.Duration
	// HeadTimeout is how long a client may take to send a request's head
	// (default 10 s), BodyTimeout its body, ReplyTimeout how long to take a
	// piece of a reply (default a minute each).
	HeadTimeout, BodyTimeout, ReplyTimeout time.Duration
	// TrustedProxies may say, by X-Forwarded-For, whom they ask for. What
	// others say there is not believed.
	TrustedProxies []netip.Prefix
}

// Server is an http.Handler. Use New.
type Server struct {
	Options
	handler http.Handler
	conns   *gateway.Tickets[conn]
	sockets sync.WaitGroup
	figures figures
	// crossOrigin finds requests that other sites' pages make browsers send.
	crossOrigin *http.CrossOriginProtection
}

// New returns a server with every route in place.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.StatusEvery == 0 {
		o.StatusEvery = 3 * time.Second
	}
	if o.PingEvery == 0 {
		o.PingEvery = 30 * time.Second
	}
	if o.HeadTimeout == 0 {
		o.HeadTimeout = 10 * time.Second
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = time.Minute
	}
	if o.ReplyTimeout == 0 {
		o.ReplyTimeout = time.Minute
	}
	o.PublicURL = strings.TrimRight(o.PublicURL, "/")
	if o.Page == nil {
		o.Page = &web.Page{}
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	s := &Server{Options: o, conns: gateway.NewTickets[conn](), figures: newFigures(o.Registry), crossOrigin: http.NewCrossOriginProtection()}
	if o.PublicURL != "" {
		if err := s.crossOrigin.AddTrustedOrigin(o.PublicURL); err != nil {
			o.Log.Warn("the public URL is no origin: forms may be refused", "url", o.PublicURL, "error", err)
		}
	}
	mux := http.NewServeMux()
	for _, rt := range slices.Concat(routes, pages, views) {
		mux.Handle(rt.method+" "+rt.path, s.serve(rt))
	}
	for _, method := range methods { // never the page
		if method != http.MethodHead { // GET is HEAD, too
			mux.Handle(method+" "+apiRest, s.serve(route{access: anyone, json: notFound}))
		}
	}
	s.handler = s.observe(s.hold(mux))
	return s
}

// ServeHTTP makes a Server an http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// First of all: nothing of a machine is served by the API's names, and
	// nothing of the API by a machine's.
	if id, is := s.exposedHost(r.Host); is {
		s.serveExposed(w, r, id)
		return
	}
	// An --endpoint with a trailing slash makes clients ask for "//api/…"; a
	// redirect would turn their POST into a GET.
	for strings.HasPrefix(r.URL.Path, "//") {
		r.URL.Path = r.URL.Path[1:]
		r.URL.RawPath = ""
	}
	s.handler.ServeHTTP(w, r)
}

// Challenges lets wrap answer some requests before the server does, as ACME
// needs; nil is none. To be called before Serve.
func (s *Server) Challenges(wrap func(http.Handler) http.Handler) {
	if wrap == nil {
		return
	}
	inner := s.handler
	challenged := wrap(inner)
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil && strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
			challenged.ServeHTTP(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// Revoke ends the connections' credentials of a destroyed play.
func (s *Server) Revoke(id play.ID) { s.conns.Revoke(id) }

// closingKey finds, in a request's context, the context that ends when the
// server should.
type closingKey struct{}

// Serve answers on every listener until ctx ends; then open WebSockets are
// closed properly, requests get grace to finish, and the rest is cut. A
// listener may do TLS itself: URLs in replies follow the connection a request
// came on. A Server serves once.
func (s *Server) Serve(ctx context.Context, grace time.Duration, listeners ...net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	base = context.WithValue(base, closingKey{}, ctx)
	srv := &http.Server{
		Handler: s,
		// No read or write timeout: tunnel requests are held for a minute,
		// and WebSockets live for hours. Bodies and replies have deadlines of
		// their own.
		ReadHeaderTimeout: s.HeadTimeout,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	shutdown, cancel := context.WithTimeout(base, grace)
	defer cancel()
	if srv.Shutdown(shutdown) != nil {
		srv.Close()
	}
	// Shutdown knows nothing of WebSockets.
	closed := make(chan struct{})
	go func() { s.sockets.Wait(); close(closed) }()
	select {
	case <-closed:
	case <-shutdown.Done():
	}
	return err
}

// socket gives a WebSocket's handler a request whose context ends when the
// server should, and lets Serve wait for it.
func (s *Server) socket(r *http.Request) (*http.Request, func()) {
	closing, ok := r.Context().Value(closingKey{}).(context.Context)
	if !ok {
		return r, func() {}
	}
	s.sockets.Add(1)
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(closing, cancel)
	return r.WithContext(ctx), func() {
		stop()
		cancel()
		s.sockets.Done()
	}
}
