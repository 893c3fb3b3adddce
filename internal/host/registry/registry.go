// Package registry is the container registry of a play. In go a folder, a TLS
// configuration, optional credentials, a limit and listeners at the play's
// gateways; out comes a registry that docker, podman, buildah and skopeo speak
// to. The protocol and the files are those of github.com/distribution/distribution.
//
//	machine ──▶ listener ─ TLS ─▶ guard ──▶ distribution ──▶ bounded ──▶ folder
//	                          (credentials,                 (the limit)
//	                           "full" as 403)
//
// Everything that arrives here was sent by a machine: connections, headers and
// bytes on disk are bounded, and what a machine can cause is not logged.
package registry

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"
)

// Name is where machines always find their registry: the reference platform's.
const Name = "registry.iximiuz.com"

const (
	// maxConns bounds the connections from one network, and with them the
	// requests at once and the manifests (4 MiB) in memory: docker pushes five
	// layers at a time.
	maxConns = 48
	// maxHeader bounds the headers of a request; real ones have less than 2 KiB.
	maxHeader = 32 << 10
	// idle is how long a connection may wait for its next request.
	idle = 30 * time.Second
	// maxDrain bounds what is read of an upload that was refused, for clients
	// that look at the answer only after they sent it all.
	maxDrain     = 1 << 30
	maxDrainTime = time.Minute
)

// Options are what a Server is made of.
type Options struct {
	// Dir holds the content; it is made if it is not there.
	Dir string
	TLS *tls.Config
	// Credentials are "user:password"; empty lets everybody in.
	Credentials string
	// Limit bounds the content of Dir in bytes.
	Limit int64
	// Room refuses need more bytes if the file system has no room for them;
	// nil means it has.
	Room func(ctx context.Context, need int64) error
}

// Server is one play's registry.
type Server struct {
	opts    Options
	app     *handlers.App
	handler http.Handler
}

// New opens the content of an earlier Server, if there is any.
func New(opts Options) (s *Server, err error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make registry's folder: %w", err)
	}
	files, err := newBounded(opts)
	if err != nil {
		return nil, fmt.Errorf("cannot open registry %q: %w", opts.Dir, err)
	}
	defer func() {
		// The library has no other way to refuse.
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("cannot open registry %q: %v", opts.Dir, r)
		}
	}()
	app := handlers.NewApp(context.Background(), &configuration.Configuration{
		Storage: configuration.Storage{
			driverName: {driverKey: files},
			"delete":   {"enabled": true},
			"redirect": {"disable": true},
			// Uploads that nobody finished go.
			"maintenance": {"uploadpurging": map[any]any{"enabled": true, "age": "6h", "interval": "1h", "dryrun": false}},
		},
		Catalog: configuration.Catalog{MaxEntries: 1000},
	})
	s = &Server{opts: opts, app: app}
	s.handler = s.guard(app)
	return s, nil
}

// Serve answers on the listeners until the context ends, which is no error, or
// one of them fails. It closes them all and returns when no request runs any
// more. A Server serves once.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener) error {
	defer func() { _ = s.app.Shutdown() }()
	// Clients need no HTTP/2, and its streams would get past maxConns.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler: s.handler, TLSConfig: s.opts.TLS, Protocols: protocols,
		ReadHeaderTimeout: idle, IdleTimeout: idle, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0),
		// Requests end with the context: it is labd that ends, or the play.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var wait sync.WaitGroup
	// A connection is closed once its last request has ended.
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			wait.Add(1)
		case http.StateClosed, http.StateHijacked:
			wait.Done()
		}
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		wait.Go(func() { failed <- server.ServeTLS(netutil.LimitListener(l, maxConns), "", "") })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, l := range listeners {
		_ = l.Close() // ServeTLS may not have met it yet
	}
	_ = server.Close()
	wait.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("cannot serve registry: %v", err)
}

// outcomeKey finds a request's outcome in its context.
type outcomeKey struct{}

// outcome is what storage and the request's handler tell each other.
type outcome struct {
	full atomic.Pointer[fullError] // the limit was met
	cut  atomic.Bool               // the client sent less than it had announced
}

// body notices a client that stops in the middle: the request's context may
// end only after the upload was put away.
type body struct {
	io.ReadCloser
	outcome *outcome
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.outcome.cut.Store(true)
	}
	return n, err
}

// guard checks credentials, and says what the library cannot: that there is no
// room.
func (s *Server) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(s.opts.Credentials))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Credentials != "" {
			user, password, _ := r.BasicAuth()
			got := sha256.Sum256([]byte(user + ":" + password))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				// Old clients take a 401 without it for another kind of server.
				w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
				_ = errcode.ServeJSON(w, errcode.ErrorCodeUnauthorized)
				return
			}
		}
		o := new(outcome)
		r = r.WithContext(context.WithValue(r.Context(), outcomeKey{}, o))
		r.Body = body{r.Body, o}
		next.ServeHTTP(&answer{ResponseWriter: w, full: &o.full}, r)
		if o.full.Load() == nil {
			return
		}
		control := http.NewResponseController(w)
		_ = control.Flush()
		_ = control.SetReadDeadline(time.Now().Add(maxDrainTime))
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
	})
}

// answer turns the failure of a request that met the limit, a 500 without a
// reason, into one that clients show and do not try again.
type answer struct {
	http.ResponseWriter
	full     *atomic.Pointer[fullError]
	replaced bool
}

func (a *answer) WriteHeader(status int) {
	full := a.full.Load()
	if full == nil || status < 400 {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.replaced = true
	a.Header().Del("Content-Length")
	_ = errcode.ServeJSON(a.ResponseWriter, errcode.ErrorCodeDenied.WithMessage(full.Error()))
}

func (a *answer) Write(p []byte) (int, error) {
	if a.replaced {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// LogTo sends what the library logs, for the whole process, to log, all of it
// as debugging: machines cause it, and it must not fill the host's log.
func LogTo(l *slog.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(hook{l})
}

type hook struct{ log *slog.Logger }

func (hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h hook) Fire(e *logrus.Entry) error {
	h.log.Debug("registry: "+e.Message, "level", e.Level, "error", e.Data["err.detail"])
	return nil
}
