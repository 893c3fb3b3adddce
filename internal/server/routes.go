package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"sandlot/api"
	"sandlot/internal/play"
)

// access says who may call a route.
type access string

const (
	anyone access = "anyone"
	// user needs the session and token of a signed-in user (Basic).
	user access = "user"
	// ticket needs the credential in the URL or cookie; the handler checks it.
	ticket access = "ticket"
)

// route is one line of the table. Exactly one of json and raw is set.
type route struct {
	method, path string
	access       access
	// json returns the reply's body.
	json func(*Server, *call) (any, error)
	// raw answers itself; an error means it has not.
	raw func(*Server, http.ResponseWriter, *call) error
}

// routes is the whole API. Order is that of docs/api.md.
var routes = []route{
	{"GET", "/healthz", anyone, health, nil},

	{"POST", "/api/sessions", anyone, newSession, nil},
	{"GET", "/api/sessions/{id}", anyone, pollSession, nil}, // pending sessions are nobody's yet
	{"DELETE", "/api/sessions/{id}", user, endSession, nil},
	{"GET", "/api/auth/me", user, me, nil},

	{"GET", "/api/sources", anyone, listSources, nil},
	{"GET", "/api/kernels", anyone, listKernels, nil},
	{"GET", "/api/bases", anyone, listBases, nil},

	{"GET", "/api/playgrounds", user, listPlaygrounds, nil},
	{"POST", "/api/playgrounds", user, createPlayground, nil},
	{"GET", "/api/playgrounds/{name}", user, getPlayground, nil},
	{"PUT", "/api/playgrounds/{name}", user, updatePlayground, nil},
	{"DELETE", "/api/playgrounds/{name}", user, removePlayground, nil},

	{"GET", "/api/plays", user, listPlays, nil},
	{"POST", "/api/plays", user, startPlay, nil},
	{"GET", "/api/plays/{id}", user, getPlay, nil},
	{"POST", "/api/plays/{id}/actions", user, act, nil},
	{"GET", "/api/plays/{id}/tasks", user, listTasks, nil},

	{"POST", "/api/plays/{id}/conns", user, openConn, nil},
	{"GET", "/conns/{token}", ticket, nil, serveConn},

	{"POST", "/api/plays/{id}/tunnels", user, openTunnel, nil},
	{"GET", "/t/{tunnel}/login", ticket, nil, loginTunnel},
	{"GET", "/t/{tunnel}/tunnels/{payload...}", ticket, nil, serveTunnel},

	{"POST", "/api/plays/{id}/terminals", user, openTerminal, nil},
	{"GET", "/terminals/{token}", ticket, nil, serveTerminal},
}

// call is one request and who sent it.
type call struct {
	*http.Request
	user api.Me
}

// maxBody bounds a request: a manifest is at most 1 MiB of YAML, and JSON may
// take more room for the same.
const maxBody = 4 << 20

// maxValues bounds what a body becomes: a machine takes 2 bytes of JSON and a
// hundred times that in memory. It is as many as a manifest of YAML may have.
const maxValues = 20_000

// serve checks access, calls the handler and writes its reply or refusal.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if rt.raw != nil {
			socket, done := s.socket(r)
			defer done()
			r = socket
		}
		c := &call{Request: r}
		if rt.access == user {
			id, token, ok := r.BasicAuth()
			if !ok {
				s.refuse(w, r, api.Errorf(api.Unauthenticated, "authentication required: run labctl auth login"))
				return
			}
			var err error
			if c.user, err = s.Auth.Authenticate(r.Context(), id, token); err != nil {
				s.refuse(w, r, err)
				return
			}
		}
		if rt.raw != nil {
			if err := rt.raw(s, w, c); err != nil {
				s.refuse(w, r, err)
			}
			return
		}
		reply, err := rt.json(s, c)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		if public, ok := reply.(publicReply); ok {
			s.writePublic(w, r, public)
			return
		}
		writeJSON(w, http.StatusOK, reply)
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The only error left is a client that went away.
	_ = json.NewEncoder(w).Encode(body)
}

// decode reads a JSON body whatever its Content-Type says: clients send none.
func decode[T any](c *call) (T, error) {
	var body T
	raw, err := io.ReadAll(c.Body)
	if err == nil {
		if values(raw) > maxValues {
			return body, api.Errorf(api.Invalid, "the request has more than %d values; move big files into an image", maxValues)
		}
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(&body)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, io.EOF):
		return body, api.Errorf(api.Invalid, "the request has no body: want JSON")
	case errors.As(err, &tooLarge):
		return body, api.Errorf(api.Invalid, "the request is over %d bytes", tooLarge.Limit)
	}
	return body, api.Errorf(api.Invalid, "cannot read request: %v", err)
}

// values counts what JSON has outside its strings: a bound, whatever comes.
func values(raw []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

// playID reads the {id} of the path; what cannot be an id cannot be found.
func (c *call) playID() (play.ID, error) {
	id, err := play.ParseID(c.PathValue("id"))
	if err != nil {
		return "", api.Errorf(api.NotFound, "there is no play %q", c.PathValue("id"))
	}
	return id, nil
}

func notFound(_ *Server, c *call) (any, error) {
	return nil, api.Errorf(api.NotFound, "there is no %s %s in this API", c.Method, c.URL.Path)
}
