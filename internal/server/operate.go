package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sandlot/api"
	"sandlot/internal/server/openapi"
)

// Check is one thing labd cannot work without.
type Check struct {
	Name string
	// Probe is quick, and may be called by several at once.
	Probe func(ctx context.Context) error
}

// healthReply answers /healthz.
type healthReply struct {
	Status string `json:"status"` // "ok"
}

// readyReply answers /readyz.
type readyReply struct {
	Status string `json:"status"` // "ready" or "not ready"
	// Checks are "ok" or "failed" by name; labd's log says why.
	Checks map[string]string `json:"checks"`
}

func health(*Server, *call) (any, error) { return healthReply{"ok"}, nil }

// checkTimeout bounds all checks together.
const checkTimeout = 5 * time.Second

func ready(s *Server, w http.ResponseWriter, c *call) error {
	ctx, cancel := context.WithTimeout(c.Context(), checkTimeout)
	defer cancel()
	reply, status := readyReply{"ready", map[string]string{"recovered": "ok"}}, http.StatusOK
	fail := func(name string) {
		reply.Checks[name], reply.Status, status = "failed", "not ready", http.StatusServiceUnavailable
	}
	if !s.recovered() {
		fail("recovered")
	}
	for _, check := range s.Checks {
		reply.Checks[check.Name] = "ok"
		if err := check.Probe(ctx); err != nil {
			s.Log.WarnContext(ctx, "labd is not ready", "check", check.Name, "error", err)
			fail(check.Name)
		}
	}
	writeJSON(w, status, reply)
	return nil
}

func (s *Server) recovered() bool {
	select {
	case <-s.Recovered:
		return true
	default:
		return s.Recovered == nil
	}
}

// holdFor is how long requests wait for labd's start. Clients repeat quickly
// what was refused sooner.
const holdFor = 10 * time.Second

// hold lets requests wait until labd has recovered, except those about labd
// itself.
func (s *Server) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz", "/metrics":
		default:
			if !s.recovered() {
				timeout := time.NewTimer(holdFor)
				defer timeout.Stop()
				select {
				case <-s.Recovered:
				case <-r.Context().Done():
					return
				case <-timeout.C:
					s.refuse(w, r, api.Errorf(api.NotYet, "labd is starting: ask again in a moment"))
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func metrics(s *Server, w http.ResponseWriter, c *call) error {
	w.Header().Set("Cache-Control", "no-store")
	promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, c.Request)
	return nil
}

func serveDocument(_ *Server, w http.ResponseWriter, c *call) error {
	servePublic(w, c.Request, "application/json", api.OpenAPI)
	return nil
}

// documentPage is made once: the document does not change.
var documentPage = sync.OnceValues(func() ([]byte, error) { return openapi.Page(api.OpenAPI) })

func servePage(_ *Server, w http.ResponseWriter, c *call) error {
	html, err := documentPage()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	servePublic(w, c.Request, "text/html; charset=utf-8", html)
	return nil
}
