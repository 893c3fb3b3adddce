package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sandlot/api"
	"sandlot/internal/play"
	"sandlot/internal/server/openapi"
)

// access says who may call a route. Ownership is looked up where plays and
// playgrounds are (internal/control), in every query; the rest is checked by
// serve. docs/access.md is made from these.
type access string

const (
	anyone access = "anyone"
	// session needs the credentials of the session itself; it may be pending.
	session access = "the session itself"
	// user needs a signed-in user, who sees and changes what is their own.
	user access = "user"
	// visitor may sign in, and sees more then.
	visitor access = "visitor"
	// personal is user without access tokens: they must not beget others.
	personal access = "user, no token"
	// starter needs canStart on the playground of the body.
	starter access = "canStart"
	// reader needs canRead or canStart on the playground of the path.
	reader access = "canRead, canStart"
	// author needs the playground's owner, or an administrator.
	author access = "playground's owner"
	// owner needs the play's owner, or an administrator; for others it does not
	// exist.
	owner access = "play's owner"
	// administrator needs one.
	administrator access = "administrator"
	// operator needs an administrator, or somebody on this host.
	operator access = "operator"
	// ticket needs the credential in the URL or cookie; the handler checks it.
	ticket access = "ticket"
	// page is for browsers, signed in or not; the handler checks it.
	page access = "page"
)

// signedIn tells whether a route needs a user.
func (a access) signedIn() bool {
	switch a {
	case user, personal, starter, reader, author, owner, administrator, operator:
		return true
	}
	return false
}

// scope is what an access token must have for a route; "" is none.
func (rt route) scope() string {
	if !rt.access.signedIn() && rt.access != visitor || rt.access == personal || rt.access == operator ||
		rt.access == administrator && rt.method != http.MethodGet { // a token must not make users, or root's work
		return ""
	}
	area := "account"
	switch {
	case strings.HasPrefix(rt.path, "/api/play"), strings.HasPrefix(rt.path, "/api/content/"), rt.access == owner, rt.access == visitor:
		area = "playground"
	}
	if rt.method == http.MethodGet {
		return area + ":read"
	}
	return area + ":write"
}

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
	{"GET", "/api/sessions/{id}", session, pollSession, nil, // pending sessions are nobody's yet
		about{"The session whose credentials are sent, pending or not", nil, replies(api.Session{}), nil}},
	{"DELETE", "/api/sessions/{id}", personal, endSession, nil,
		about{"Ends a session; an unknown one is fine, too", nil, replies(struct{}{}), nil}},
	{"GET", "/api/auth/me", user, me, nil,
		about{"The signed-in user", nil, replies(api.Me{}), map[string]string{"authenticate": "ignored; clients send true"}}},

	{"GET", "/api/auth/ways", anyone, signinWays, nil,
		about{"How browsers sign in", nil, replies(api.SigninWays{}), nil}},
	{"POST", "/api/auth/signin", anyone, nil, passwordSignin,
		about{"Signs a browser in with a password; from labd's own pages", api.Signin{}, replies(api.Me{}), nil}},
	{"POST", "/api/auth/signout", anyone, nil, signout,
		about{"Ends the browser's session; from labd's own pages", nil, replies(struct{}{}), nil}},
	{"GET", "/api/auth/links/{token}", anyone, showLink, nil,
		about{"What a link to an account is for", nil, replies(api.Join{}), nil}},
	{"POST", "/api/auth/links/{token}", anyone, nil, useLink,
		about{"Uses it up: makes the account or sets its password, and signs the browser in; from labd's own pages", api.Signin{}, replies(api.Me{}), nil}},
	{"POST", "/api/auth/signin-links/{token}", anyone, nil, useSigninLink,
		about{"Signs the browser in by a link, once; from labd's own pages", nil, replies(api.Me{}), nil}},
	{"GET", "/api/auth/logins/{code}", personal, showLogin, nil,
		about{"The pending session that authUrl asks about", nil, replies(api.PendingLogin{}), nil}},
	{"POST", "/api/auth/logins/{code}", personal, answerLogin, nil,
		about{"Confirms or denies it", api.LoginAnswer{}, replies(struct{}{}), nil}},
	{"POST", "/api/auth/signin-url", personal, signinURL, nil,
		about{"An address that signs a browser in, once", nil, replies(api.SigninURL{}), nil}},
	{"GET", "/api/account", user, showAccount, nil,
		about{"The user's account: what signs them in, and since when there is one", nil, replies(api.Account{}), nil}},
	{"POST", "/api/account/password", personal, changePassword, nil,
		about{"Changes the password for who knows the old one; other sessions and all access tokens end", api.ChangePassword{}, replies(api.EndedSessions{}), nil}},
	{"GET", "/api/account/sessions", user, listSessions, nil,
		about{"Browsers and clients that the user is signed in with, the newest first", nil, replies([]api.AccountSession{}), nil}},
	{"DELETE", "/api/account/sessions", personal, endOtherSessions, nil,
		about{"Ends all of them but the one that asks and those of labd's host", nil, replies(api.EndedSessions{}), nil}},
	{"PATCH", "/api/account/preferences", user, setPreferences, nil,
		about{"Changes what the user prefers", api.Preferences{}, replies(api.Me{}), nil}},
	{"GET", "/api/account/plan", user, userPlan, nil,
		about{"The user's plan, and what they use of it", nil, replies(api.UserPlan{}), nil}},
	{"GET", "/api/oauth/tokens", user, listTokens, nil,
		about{"The user's access tokens, without their secrets", nil, replies([]api.OAuthToken{}), nil}},
	{"POST", "/api/oauth/tokens", personal, newToken, nil,
		about{"Makes an access token; its secret is in this reply alone", api.CreateToken{}, replies(api.OAuthToken{}), nil}},
	{"DELETE", "/api/oauth/tokens/{token}", user, revokeToken, nil,
		about{"Ends an access token", nil, replies(struct{}{}), nil}},
	{"GET", "/api/admin/plays", administrator, everyPlay, nil,
		about{"The plays of all users, the newest first; X-Total-Count counts all", nil, replies([]api.OwnedPlay{}), map[string]string{
			"owner": "only those of this user's id", "limit": "at most 200; default 50", "offset": "how many to leave out"}}},
	{"GET", "/api/admin/users", administrator, listUsers, nil,
		about{"Accounts by name, with their plans and what they use; X-Total-Count counts all that are found", nil, replies([]api.Account{}), map[string]string{
			"search": "a part of the name", "limit": "at most 200; default 50", "offset": "how many to leave out"}}},
	{"PATCH", "/api/admin/users/{user}", administrator, changeUser, nil,
		about{"Changes a user's role or plan, or locks them out", api.ChangeAccount{}, replies(api.Account{}), nil}},
	{"POST", "/api/admin/users/{user}/links", administrator, passwordLink, nil,
		about{"A link with which the user sets a new password, once within a day", nil, replies(api.AccountLink{}), nil}},
	{"POST", "/api/admin/invitations", administrator, inviteUser, nil,
		about{"A link with which somebody makes an account, once within a week", api.Invite{}, replies(api.AccountLink{}), nil}},
	{"GET", "/api/admin/plans", administrator, listPlans, nil,
		about{"Plans that users may be given", nil, replies([]api.NamedPlan{}), nil}},
	{"GET", "/api/admin/host", administrator, showHost, nil,
		about{"What the host has, and how much of it was used in the last hour", nil, replies(api.HostState{}), nil}},
	{"GET", "/api/admin/settings", administrator, showSettings, nil,
		about{"How labd is set up, and what is wrong with that", nil, replies(api.SettingsReport{}), nil}},
	{"GET", "/api/admin/jobs", administrator, listJobs, nil,
		about{"Builds and pulls, the newest first", nil, replies([]api.Job{}), nil}},
	{"POST", "/api/admin/jobs/conns", administrator, openJobs, nil,
		about{"A WebSocket, at /conns/{token}, that tells of jobs: of all at once, then of each that changes", nil, replies(api.Conn{}), nil}},
	{"POST", "/api/admin/jobs", administrator, startJob, nil,
		about{"Builds or pulls an image, or fetches a kernel; the same twice is one job", api.CreateJob{}, replies(api.Job{}), nil}},
	{"DELETE", "/api/admin/jobs/{job}", administrator, cancelJob, nil,
		about{"Cancels a job; one that has ended stays as it is", nil, replies(api.Job{}), nil}},
	{"GET", "/api/audit", administrator, listAudit, nil,
		about{"Who did what, the last first", nil, replies([]api.AuditEntry{}), map[string]string{"limit": "how many, 100 by default"}}},

	{"GET", "/api/sources", anyone, listSources, nil,
		about{"Images that manifests may name, ready on this host or not", nil, replies([]api.Source{}), nil}},
	{"GET", "/api/kernels", anyone, listKernels, nil,
		about{"Kernels that manifests may name", nil, replies([]api.KernelVersion{}), nil}},
	{"GET", "/api/backends", anyone, listBackends, nil,
		about{"Backends that manifests may name, on this host or not", nil, replies([]api.Backend{}), nil}},
	{"GET", "/api/bases", anyone, listBases, nil,
		about{"Official playgrounds to derive from, with their whole definitions", nil, replies([]api.Playground{}), nil}},

	{"GET", "/api/playgrounds", user, listPlaygrounds, nil,
		about{"Playgrounds to start, without their definitions; X-Total-Count counts all", nil, replies([]api.Playground{}), map[string]string{
			"filter": "my-custom, recent, popular, community or base; none for the official ones",
			"limit":  "at most 1000; default 500", "offset": "how many to leave out",
		}}},
	{"POST", "/api/playgrounds", user, createPlayground, nil,
		about{"Stores a playground; its name in the reply is longer than the one asked for", api.CreatePlayground{}, replies(api.Playground{}), nil}},
	{"GET", "/api/playgrounds/{name}", reader, getPlayground, nil,
		about{"One playground", nil, replies(api.Playground{}), map[string]string{"format": "extended: with all that comes from the base"}}},
	{"GET", "/api/playgrounds/{name}/manifest", reader, showManifest, nil,
		about{"Its manifest as YAML, without name, base and cover", nil, replies(api.ManifestText{}), map[string]string{"for": "new: what a new playground over it begins with"}}},
	{"POST", "/api/playgrounds/drafts", user, checkDraft, nil,
		about{"Says everything that is wrong with a manifest, with its lines; stores nothing", api.Draft{}, replies(api.CheckedDraft{}), nil}},
	{"PUT", "/api/playgrounds/{name}", author, updatePlayground, nil,
		about{"Replaces the whole definition of one's own playground", api.PlaygroundSpec{}, replies(api.Playground{}), nil}},
	{"DELETE", "/api/playgrounds/{name}", author, removePlayground, nil,
		about{"Removes one's own playground", nil, replies(struct{}{}), nil}},

	{"GET", "/api/content/v2/files", user, listFiles, nil,
		about{"Files beside a playground's manifest, of which there are none", nil, replies([]api.ContentFile{}), map[string]string{"kind": "ignored", "name": "ignored"}}},

	{"GET", "/api/search", visitor, search, nil,
		about{"Playgrounds by words, the best match first; X-Total-Count counts all", nil, replies(api.SearchResult{}), map[string]string{
			"search": "words that must all occur", "kind": "playground, or another kind, of which there are none; may be repeated", "category": "may be repeated", "tag": "may be repeated",
			"difficulty": "may be repeated", "limit": "at most 100; default 20", "offset": "how many to leave out",
		}}},

	{"GET", "/api/plays", user, listPlays, nil,
		about{"The user's recent plays, the newest first", nil, replies([]api.Play{}), map[string]string{
			"persistent": "true: those whose state is kept, running or stopped",
			"limit":      "how many; default all", "offset": "how many to leave out",
		}}},
	{"POST", "/api/plays", starter, startPlay, nil,
		about{"Starts a play and returns while it boots", api.StartPlay{}, replies(api.Play{}), nil}},
	{"GET", "/api/plays/{id}", owner, getPlay, nil,
		about{"One play; destroyed ones stay readable for some minutes", nil, replies(api.Play{}), nil}},
	{"POST", "/api/plays/{id}/actions", owner, act, nil,
		about{"Changes a play or one of its machines, or reads a console", api.Action{}, replies(api.Play{}, api.Consoles{}, api.Console{}), nil}},
	{"POST", "/api/plays/{id}/playgrounds", owner, savePlay, nil,
		about{"Makes a playground of a stopped play, with its drives as they are", api.SavePlay{}, replies(api.Playground{}), nil}},
	{"POST", "/api/plays/{id}/forks", owner, forkPlay, nil,
		about{"Starts a new play with clones of a stopped play's drives", api.ForkPlay{}, replies(api.Play{}), nil}},
	{"GET", "/api/plays/{id}/tasks", owner, listTasks, nil,
		about{"Tasks with what they wrote", nil, replies([]api.TaskDetails{}), map[string]string{"machine": "only those of this machine; may be repeated"}}},

	{"GET", "/api/plays/{id}/usage", owner, showUsage, nil,
		about{"CPU time, memory and links of the machines that run", nil, replies([]api.MachineUsage{}), nil}},

	{"POST", "/api/plays/{id}/conns", owner, openConn, nil,
		about{"A WebSocket that tells what happens to a play", nil, replies(api.Conn{}), nil}},
	{"GET", "/conns/{token}", ticket, nil, serveConn,
		about{"Status and tasks of a play, or jobs: at once, and after each change", nil, nil, nil}},

	{"POST", "/api/plays/{id}/tunnels", owner, openTunnel, nil,
		about{"Opens the way to TCP ports of a machine; held while it boots", api.TunnelRequest{}, replies(api.Tunnel{}), nil}},
	{"GET", "/t/{tunnel}/login", ticket, nil, loginTunnel,
		about{"Answers with the tunnel's cookie", nil, replies(struct{}{}), map[string]string{"code": "from loginUrl"}}},
	{"GET", "/t/{tunnel}/tunnels/{payload...}", ticket, nil, serveTunnel,
		about{"One TCP connection; payload is base64 of host:port, listen:host:port or connect:cid", nil, nil, nil}},

	{"GET", "/api/plays/{id}/ports", owner, listPorts, nil,
		about{"Exposed ports of a play", nil, replies([]api.Port{}), nil}},
	{"POST", "/api/plays/{id}/ports", owner, exposePort, nil,
		about{"Exposes a port at a host name of its own; the same again returns the same", api.Port{}, replies(api.Port{}), nil}},
	{"DELETE", "/api/plays/{id}/ports/{port}", owner, removePort, nil,
		about{"Exposes a port no more, and ends what is under way to it", nil, replies(struct{}{}), nil}},
	{"POST", "/api/plays/{id}/ports/{port}/links", owner, linkPort, nil,
		about{"An address that opens a private port once, within a minute", nil, replies(api.Conn{}), nil}},
	{"POST", "/api/plays/{id}/ports/scan", owner, scanPorts, nil,
		about{"Ports inside machines that answer to HTTP or HTTPS", nil, replies([]api.ScannedPort{}), map[string]string{"machine": "only those of this machine"}}},
	{"GET", "/exposed/{port}/enter", owner, nil, enterPort,
		about{"Hands a signed-in browser over to a private port by a redirect", nil, replies(openapi.Redirect{}), map[string]string{"to": "path to go on to"}}},
	{"GET", "/api/plays/{id}/shells", owner, listShells, nil,
		about{"Exposed shells of a play", nil, replies([]api.Shell{}), nil}},
	{"POST", "/api/plays/{id}/shells", owner, exposeShell, nil,
		about{"Exposes a shell at a host name of its own", api.Shell{}, replies(api.Shell{}), nil}},
	{"DELETE", "/api/plays/{id}/shells/{shell}", owner, removeShell, nil,
		about{"Exposes a shell no more", nil, replies(struct{}{}), nil}},

	{"GET", "/api/plays/{id}/port-forwards", owner, listForwards, nil,
		about{"Saved port forwards: the playground's, then what was added", nil, replies([]api.PortForward{}), nil}},
	{"POST", "/api/plays/{id}/port-forwards", owner, addForward, nil,
		about{"Saves a port forward", api.PortForward{}, replies(struct{}{}), nil}},
	{"DELETE", "/api/plays/{id}/port-forwards/{index}", owner, removeForward, nil,
		about{"Removes a saved port forward by its index in the list, from 0", nil, replies(struct{}{}), nil}},

	{"POST", "/api/plays/{id}/terminals", owner, openTerminal, nil,
		about{"A program on a machine, through its agent", api.TerminalRequest{}, replies(api.Conn{}), nil}},
	{"POST", "/api/plays/{id}/journals", owner, openJournal, nil,
		about{"The systemd journal of a machine", api.JournalRequest{}, replies(api.Conn{}), nil}},
	{"GET", "/journals/{token}", ticket, nil, serveJournal,
		about{"The journal, as messages with stdout, stderr and at last eof", nil, nil, nil}},

	{"GET", "/terminals/{token}", ticket, nil, serveTerminal,
		about{"The program's streams, one type byte a message", nil, nil, nil}},
}

// call is one request and who sent it.
type call struct {
	*http.Request
	caller
	// action and target are for the audit log; empty ones are the route's.
	action, target string
}

// did says what was done, and to what.
func (c *call) did(action string, target ...string) {
	c.action, c.target = action, strings.TrimSpace(strings.Join(target, " "))
}

// serve checks access, calls the handler and writes its reply or refusal.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.bound(w, r, maxBody)
		if rt.raw != nil {
			socket, done := s.socket(r)
			defer done()
			r = socket
		}
		c := &call{Request: r}
		if rt.access == page {
			pageHeaders(w.Header())
		}
		if err := s.admit(rt, c); err != nil {
			s.fail(rt, w, r, err)
			return
		}
		if id, err := c.playID(); err == nil && strings.HasPrefix(rt.path, "/api/plays/{id}") {
			traceOf(r.Context()).play = string(id)
		}
		if rt.raw != nil {
			if err := rt.raw(s, w, c); err != nil {
				s.fail(rt, w, r, err)
			}
			return
		}
		reply, err := rt.json(s, c)
		if rt.method != http.MethodGet && rt.access.signedIn() {
			s.record(r, c.caller, c.doing(rt), c.target, err)
		}
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		reply = s.withPages(c, reply)
		switch special := reply.(type) {
		case publicReply:
			s.writePublic(w, r, special)
			return
		case countedReply:
			w.Header().Set(api.TotalHeader, strconv.Itoa(special.total))
			reply = special.body
		}
		if list, ok := reply.(encodedList); ok {
			list.write(w)
			return
		}
		writeJSON(w, http.StatusOK, reply)
	})
}

// admit finds out who calls and refuses who may not.
func (s *Server) admit(rt route, c *call) (err error) {
	switch {
	case rt.access == ticket && s.hijack(c.Request):
		return errCross
	case rt.access == anyone || rt.access == session || rt.access == ticket:
		return nil
	case rt.access == operator && fromThisHost(c.Request):
		return nil
	case rt.access == visitor && s.anonymous(c.Request):
		return nil
	case rt.access == page:
		// Pages know what to do with somebody who is not signed in.
		if c.caller, err = s.identify(c.Request); err != nil {
			c.caller = caller{}
		}
		traceOf(c.Context()).user = c.user.ID
		return nil
	case !rt.access.signedIn() && rt.access != visitor:
		return api.Errorf(api.Forbidden, "nobody may call this: its route says not who")
	}
	if c.caller, err = s.identify(c.Request); err != nil {
		return err
	}
	traceOf(c.Context()).user = c.user.ID
	if c.via == "token" {
		if scope := rt.scope(); scope == "" {
			return api.Errorf(api.Forbidden, "access tokens cannot do this: sign in with labctl auth login")
		} else if !slices.Contains(c.scopes, scope) {
			return api.Errorf(api.Forbidden, "this access token has no scope %q", scope)
		}
	}
	if (rt.access == administrator || rt.access == operator) && !c.user.Administrator() {
		return api.Errorf(api.Forbidden, "this is for administrators")
	}
	return nil
}

// fail refuses in the words of the route: to people, or to programs.
func (s *Server) fail(rt route, w http.ResponseWriter, r *http.Request, err error) {
	var refusal *api.Error
	switch {
	case rt.access == page:
		s.showError(w, r, err)
		return
	case rt.raw != nil && rt.access == owner && strings.Contains(r.Header.Get("Accept"), "text/html") &&
		errors.As(err, &refusal) && refusal.Kind == api.Unauthenticated:
		_ = toLogin(w, &call{Request: r})
		return
	}
	s.refuse(w, r, err)
}

// doing names a request in the audit log.
func (c *call) doing(rt route) string {
	if c.target == "" {
		for _, name := range []string{"id", "name", "token"} {
			if v := c.PathValue(name); v != "" {
				c.target = v
				break
			}
		}
	}
	if c.action != "" {
		return c.action
	}
	return rt.method + " " + rt.path
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The only error left is a client that went away.
	_ = json.NewEncoder(w).Encode(body)
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
