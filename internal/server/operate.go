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
	reply, status := readyReply{"ready", map[string]string{}}, http.StatusOK
	for _, check := range s.health(c.Context()) {
		reply.Checks[check.Name] = "ok"
		if check.Detail != "" {
			s.Log.WarnContext(c.Context(), "labd is not ready", "check", check.Name, "error", check.Detail)
		}
		if !check.OK {
			reply.Checks[check.Name], reply.Status, status = "failed", "not ready", http.StatusServiceUnavailable
		}
	}
	writeJSON(w, status, reply)
	return nil
}

// health asks every check, that of the recovery first.
func (s *Server) health(ctx context.Context) []api.HealthCheck {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	checks := []api.HealthCheck{{Name: "recovered", OK: s.recovered()}}
	for _, check := range s.Checks {
		one := api.HealthCheck{Name: check.Name, OK: true}
		if err := check.Probe(ctx); err != nil {
			one.OK, one.Detail = false, err.Error()
		}
		checks = append(checks, one)
	}
	return checks
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
