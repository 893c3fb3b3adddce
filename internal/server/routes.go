package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"sandlot/api"
	"sandlot/internal/play"
)

// access says who may call a route.
type access string

const (
	anyone access = "anyone"
	// user needs the session and token of a signed-in user (Basic).
	user access = "user"
	// visitor may sign in, and sees more then.
	visitor access = "visitor"
	// ticket needs the credential in the URL or cookie; the handler checks it.
	ticket access = "ticket"
	// operator needs an administrator, or somebody on this host.
	operator access = "operator"
)

// route is one line of the table. Exactly one of json and raw is set.
type route struct {
	method, path string
	access       access
	// json returns the reply's body.
	json func(*Server, *call) (any, error)
	// raw answers itself; an error means it has not.
	raw func(*Server, http.ResponseWriter, *call) error
	// about is what the OpenAPI document says of it.
	about about
}

// about describes a route for people and programs.
type about struct {
	summary string
	// in is a value of the body's type, nil without one; out are values of the
	// types of replies, or media types of text. A raw route without out is a
	// WebSocket.
	in    any
	out   []any
	query map[string]string
}

// replies lists the types of a route's replies.
func replies(out ...any) []any { return out }

// routes is the whole API. Order is that of docs/api.md.
var routes = []route{
	{"GET", "/healthz", anyone, health, nil,
		about{"Tells that labd is alive", nil, replies(healthReply{}), nil}},
	{"GET", "/readyz", anyone, nil, ready,
		about{"Tells whether labd can do its work; 503 if not", nil, replies(readyReply{}), nil}},
	{"GET", "/metrics", operator, nil, metrics,
		about{"Figures for Prometheus", nil, replies("text/plain"), nil}},
	{"GET", "/api/openapi.json", anyone, nil, serveDocument,
		about{"This document", nil, replies(map[string]any{}), nil}},
	{"GET", "/api/docs", anyone, nil, servePage,
		about{"This document as a page", nil, replies("text/html"), nil}},

	{"POST", "/api/sessions", anyone, newSession, nil,
		about{"Starts a login that a person confirms at authUrl", nil, replies(api.Session{}), nil}},
	{"GET", "/api/sessions/{id}", anyone, pollSession, nil, // pending sessions are nobody's yet
		about{"The session whose credentials are sent, pending or not", nil, replies(api.Session{}), nil}},
	{"DELETE", "/api/sessions/{id}", user, endSession, nil,
		about{"Ends a session; an unknown one is fine, too", nil, replies(struct{}{}), nil}},
	{"GET", "/api/auth/me", user, me, nil,
		about{"The signed-in user", nil, replies(api.Me{}), map[string]string{"authenticate": "ignored; clients send true"}}},

	{"GET", "/api/sources", anyone, listSources, nil,
		about{"Images that manifests may name, ready on this host or not", nil, replies([]api.Source{}), nil}},
	{"GET", "/api/kernels", anyone, listKernels, nil,
		about{"Kernels that manifests may name", nil, replies([]api.KernelVersion{}), nil}},
	{"GET", "/api/bases", anyone, listBases, nil,
		about{"Official playgrounds to derive from, with their whole definitions", nil, replies([]api.Playground{}), nil}},

	{"GET", "/api/playgrounds", user, listPlaygrounds, nil,
		about{"Playgrounds to start, without their definitions", nil, replies([]api.Playground{}), map[string]string{"filter": "my-custom, recent, popular, community or base; none for the official ones"}}},
	{"POST", "/api/playgrounds", user, createPlayground, nil,
		about{"Stores a playground; its name in the reply is longer than the one asked for", api.CreatePlayground{}, replies(api.Playground{}), nil}},
	{"GET", "/api/playgrounds/{name}", user, getPlayground, nil,
		about{"One playground", nil, replies(api.Playground{}), map[string]string{"format": "extended: with all that comes from the base"}}},
	{"PUT", "/api/playgrounds/{name}", user, updatePlayground, nil,
		about{"Replaces the whole definition of one's own playground", api.PlaygroundSpec{}, replies(api.Playground{}), nil}},
	{"DELETE", "/api/playgrounds/{name}", user, removePlayground, nil,
		about{"Removes one's own playground", nil, replies(struct{}{}), nil}},

	{"GET", "/api/search", visitor, search, nil,
		about{"Playgrounds by words, the best match first; X-Total-Count counts all", nil, replies(api.SearchResult{}), map[string]string{
			"search": "words that must all occur", "kind": "playground, or another kind, of which there are none; may be repeated", "category": "may be repeated", "tag": "may be repeated",
			"difficulty": "may be repeated", "limit": "at most 100; default 20", "offset": "how many to leave out",
		}}},

	{"GET", "/api/plays", user, listPlays, nil,
		about{"The user's recent plays", nil, replies([]api.Play{}), map[string]string{"persistent": "true: those whose state is kept, running or stopped"}}},
	{"POST", "/api/plays", user, startPlay, nil,
		about{"Starts a play and returns while it boots", api.StartPlay{}, replies(api.Play{}), nil}},
	{"GET", "/api/plays/{id}", user, getPlay, nil,
		about{"One play; destroyed ones stay readable for some minutes", nil, replies(api.Play{}), nil}},
	{"POST", "/api/plays/{id}/actions", user, act, nil,
		about{"Changes a play or one of its machines, or reads a console", api.Action{}, replies(api.Play{}, api.Consoles{}, api.Console{}), nil}},
	{"GET", "/api/plays/{id}/tasks", user, listTasks, nil,
		about{"Tasks with what they wrote", nil, replies([]api.TaskDetails{}), map[string]string{"machine": "only those of this machine; may be repeated"}}},

	{"POST", "/api/plays/{id}/conns", user, openConn, nil,
		about{"A WebSocket that tells what happens to a play", nil, replies(api.Conn{}), nil}},
	{"GET", "/conns/{token}", ticket, nil, serveConn,
		about{"Status and tasks of a play: at once, and after each change", nil, nil, nil}},

	{"POST", "/api/plays/{id}/tunnels", user, openTunnel, nil,
		about{"Opens the way to TCP ports of a machine; held while it boots", api.TunnelRequest{}, replies(api.Tunnel{}), nil}},
	{"GET", "/t/{tunnel}/login", ticket, nil, loginTunnel,
		about{"Answers with the tunnel's cookie", nil, replies(struct{}{}), map[string]string{"code": "from loginUrl"}}},
	{"GET", "/t/{tunnel}/tunnels/{payload...}", ticket, nil, serveTunnel,
		about{"One TCP connection; payload is base64 of host:port, listen:host:port or connect:cid", nil, nil, nil}},

	{"GET", "/api/plays/{id}/ports", user, listPorts, nil,
		about{"Exposed ports of a play", nil, replies([]api.Port{}), nil}},
	{"POST", "/api/plays/{id}/ports", user, exposePort, nil,
		about{"Exposes a port at a host name of its own; the same again returns the same", api.Port{}, replies(api.Port{}), nil}},
	{"DELETE", "/api/plays/{id}/ports/{port}", user, removePort, nil,
		about{"Exposes a port no more, and ends what is under way to it", nil, replies(struct{}{}), nil}},
	{"POST", "/api/plays/{id}/ports/{port}/links", user, linkPort, nil,
		about{"An address that opens a private port once, within a minute", nil, replies(api.Conn{}), nil}},
	{"POST", "/api/plays/{id}/ports/scan", user, scanPorts, nil,
		about{"Ports inside machines that answer to HTTP or HTTPS", nil, replies([]api.ScannedPort{}), map[string]string{"machine": "only those of this machine"}}},
	{"GET", "/exposed/{port}/enter", user, nil, enterPort,
		about{"Hands a signed-in browser over to a private port by a redirect", nil, replies("text/html"), map[string]string{"to": "path to go on to"}}},
	{"GET", "/api/plays/{id}/shells", user, listShells, nil,
		about{"Exposed shells of a play", nil, replies([]api.Shell{}), nil}},
	{"POST", "/api/plays/{id}/shells", user, exposeShell, nil,
		about{"Exposes a shell at a host name of its own", api.Shell{}, replies(api.Shell{}), nil}},
	{"DELETE", "/api/plays/{id}/shells/{shell}", user, removeShell, nil,
		about{"Exposes a shell no more", nil, replies(struct{}{}), nil}},

	{"GET", "/api/plays/{id}/port-forwards", user, listForwards, nil,
		about{"Saved port forwards: the playground's, then what was added", nil, replies([]api.PortForward{}), nil}},
	{"POST", "/api/plays/{id}/port-forwards", user, addForward, nil,
		about{"Saves a port forward", api.PortForward{}, replies(struct{}{}), nil}},
	{"DELETE", "/api/plays/{id}/port-forwards/{index}", user, removeForward, nil,
		about{"Removes a saved port forward by its index in the list, from 0", nil, replies(struct{}{}), nil}},

	{"POST", "/api/plays/{id}/terminals", user, openTerminal, nil,
		about{"A program on a machine, through its agent", api.TerminalRequest{}, replies(api.Conn{}), nil}},
	{"POST", "/api/plays/{id}/journals", user, openJournal, nil,
		about{"The systemd journal of a machine", api.JournalRequest{}, replies(api.Conn{}), nil}},
	{"GET", "/journals/{token}", ticket, nil, serveJournal,
		about{"The journal, as messages with stdout, stderr and at last eof", nil, nil, nil}},

	{"GET", "/terminals/{token}", ticket, nil, serveTerminal,
		about{"The program's streams, one type byte a message", nil, nil, nil}},
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
		_, _, signsIn := r.BasicAuth()
		if rt.access == user || rt.access == visitor && signsIn || rt.access == operator && !fromThisHost(r) {
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
			traceOf(r.Context()).user = c.user.ID
			if rt.access == operator && !c.user.Administrator() {
				s.refuse(w, r, api.Errorf(api.Forbidden, "this is for administrators"))
				return
			}
		}
		if id, err := c.playID(); err == nil && strings.HasPrefix(rt.path, "/api/plays/{id}") {
			traceOf(r.Context()).play = string(id)
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
		switch special := reply.(type) {
		case publicReply:
			s.writePublic(w, r, special)
			return
		case countedReply:
			w.Header().Set(api.TotalHeader, strconv.Itoa(special.total))
			reply = special.body
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
