package server

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sandlot/api"
)

// Bounds of one page of a catalog: clients that know no pages ask for the
// first one.
const (
	defaultCatalogPage = 500
	maxCatalogPage     = 1000
)

func listPlaygrounds(s *Server, c *call) (any, error) {
	page, err := c.page(defaultCatalogPage, maxCatalogPage)
	if err != nil {
		return nil, err
	}
	list, total, err := s.Playgrounds.Playgrounds(c.Context(), c.user, c.URL.Query().Get("filter"), page)
	if err != nil {
		return nil, err
	}
	body := encodedList{}
	for i, p := range list {
		body.add(i, p)
	}
	return countedReply{body, total}, nil
}

// page reads limit and offset.
func (c *call) page(otherwise, most int) (p api.Page, err error) {
	if p.Limit, err = c.number("limit", otherwise, 1); err == nil {
		p.Offset, err = c.number("offset", 0, 0)
	}
	p.Limit = min(p.Limit, most)
	return p, err
}

// number reads a whole number of the query.
func (c *call) number(name string, otherwise, least int) (int, error) {
	q := c.URL.Query()
	if !q.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < least {
		return 0, api.Errorf(api.Invalid, "%s is %q: want a whole number from %d", name, q.Get(name), least)
	}
	return n, nil
}

func userPlan(s *Server, c *call) (any, error) {
	return s.Budgets.UserPlan(c.Context(), c.user)
}

func getPlayground(s *Server, c *call) (any, error) {
	return s.Playgrounds.Playground(c.Context(), c.user, c.PathValue("name"), c.URL.Query().Get("format") == "extended")
}

func createPlayground(s *Server, c *call) (any, error) {
	req, err := decode[api.CreatePlayground](c)
	if err != nil {
		return nil, err
	}
	return s.Playgrounds.CreatePlayground(c.Context(), c.user, req)
}

func updatePlayground(s *Server, c *call) (any, error) {
	spec, err := decode[api.PlaygroundSpec](c)
	if err != nil {
		return nil, err
	}
	return s.Playgrounds.UpdatePlayground(c.Context(), c.user, c.PathValue("name"), spec)
}

func removePlayground(s *Server, c *call) (any, error) {
	return struct{}{}, s.Playgrounds.RemovePlayground(c.Context(), c.user, c.PathValue("name"))
}

func (s *Server) drafter() (Drafter, error) {
	d, ok := s.Playgrounds.(Drafter)
	if !ok {
		return nil, api.Errorf(api.Unsupported, "this labd reads no manifests")
	}
	return d, nil
}

func showManifest(s *Server, c *call) (any, error) {
	d, err := s.drafter()
	if err != nil {
		return nil, err
	}
	text, err := d.ManifestText(c.Context(), c.user, c.PathValue("name"), c.URL.Query().Get("for") == "new")
	return api.ManifestText{Text: text}, err
}

func checkDraft(s *Server, c *call) (any, error) {
	d, err := s.drafter()
	if err != nil {
		return nil, err
	}
	draft, err := decode[api.Draft](c)
	if err != nil {
		return nil, err
	}
	return d.CheckDraft(c.Context(), c.user, draft)
}

// listFiles answers clients that compare the files of a folder with those of a
// playground, which are none: a manifest has its text and its cover in itself.
func listFiles(*Server, *call) (any, error) { return []api.ContentFile{}, nil }

func listSources(s *Server, c *call) (any, error) {
	return cached(orEmpty(s.References.Sources(c.Context())))
}

func listKernels(s *Server, c *call) (any, error) {
	return cached(orEmpty(s.References.Kernels(c.Context())))
}

func listBackends(s *Server, c *call) (any, error) {
	return cached(orEmpty(s.References.Backends(c.Context())))
}

func listBases(s *Server, c *call) (any, error) {
	return cached(orEmpty(s.References.Bases(c.Context())))
}

// Bounds of one page of a search.
const (
	defaultPage = 20
	maxPage     = 100
)

func search(s *Server, c *call) (any, error) {
	finder, ok := s.Playgrounds.(Searcher)
	if !ok {
		return nil, api.Errorf(api.Unsupported, "this labd cannot search")
	}
	q := c.URL.Query()
	page, err := c.page(defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	items, total, err := finder.Search(c.Context(), c.user, api.Search{
		Words: q.Get("search"), Kinds: q["kind"], Categories: q["category"], Tags: q["tag"], Difficulties: q["difficulty"],
		Limit: page.Limit, Offset: page.Offset,
	})
	items, err = orEmpty(items, err)
	return countedReply{api.SearchResult{Items: items}, total}, err
}

func listPlays(s *Server, c *call) (any, error) {
	page, err := c.page(0, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	list, err := s.Plays.List(c.Context(), c.user, c.URL.Query().Get("persistent") == "true", page)
	if err != nil {
		return nil, err
	}
	body := encodedList{}
	root := s.pageRoot(c)
	for i, p := range list {
		body.add(i, p.Head, p.ExpiresIn, p.Middle, []byte(playPage(root, p.ID)), p.Tail)
	}
	return body, nil
}

func startPlay(s *Server, c *call) (any, error) {
	req, err := decode[api.StartPlay](c)
	if err != nil {
		return nil, err
	}
	p, err := s.Plays.Start(c.Context(), c.user, req)
	traceOf(c.Context()).play = p.ID
	c.did("start play", p.ID, req.Playground)
	return p, err
}

func savePlay(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.SavePlay](c)
	if err != nil {
		return nil, err
	}
	pg, err := s.Saver.SavePlay(c.Context(), c.user, id, req)
	c.did("save play", string(id), pg.Name)
	return pg, err
}

func forkPlay(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.ForkPlay](c)
	if err != nil {
		return nil, err
	}
	p, err := s.Saver.ForkPlay(c.Context(), c.user, id, req)
	c.did("fork play", string(id), p.ID)
	return p, err
}

func getPlay(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	return s.Plays.Get(c.Context(), c.user, id)
}

func listTasks(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	return orEmpty(s.Plays.Tasks(c.Context(), c.user, id, c.URL.Query()["machine"]))
}

func showUsage(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	return orEmpty(s.Machines.Usage(c.Context(), c.user, id))
}

func act(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	a, err := decode[api.Action](c)
	if err != nil {
		return nil, err
	}
	ctx := c.Context()
	c.did(a.Action, string(id), a.Machine)
	switch a.Action {
	case api.ActionSetTitle:
		return s.Settings.SetTitle(ctx, c.user, id, a.Title)
	case api.ActionStop:
		return s.Lifecycle.Stop(ctx, c.user, id)
	case api.ActionRestart:
		return s.Lifecycle.Restart(ctx, c.user, id)
	case api.ActionDestroy:
		return s.Lifecycle.Destroy(ctx, c.user, id)
	case api.ActionMakePersistent:
		return s.Settings.MakePersistent(ctx, c.user, id)
	case api.ActionSetMaxPlayTime:
		if a.MaxPlayTimeMinutes < 1 || a.MaxPlayTimeMinutes > maxMinutes {
			return nil, api.Errorf(api.Invalid, "maxPlayTimeMinutes is %d: want 1 to %d", a.MaxPlayTimeMinutes, maxMinutes)
		}
		return s.Settings.SetMaxPlayTime(ctx, c.user, id, time.Duration(a.MaxPlayTimeMinutes)*time.Minute)
	case api.ActionMachineReboot:
		return s.Machines.RebootMachine(ctx, c.user, id, a.Machine)
	case api.ActionMachineStop:
		return s.Machines.StopMachine(ctx, c.user, id, a.Machine)
	case api.ActionMachineRestart:
		return s.Machines.RestartMachine(ctx, c.user, id, a.Machine)
	case api.ActionConsoleList:
		consoles, err := orEmpty(s.Machines.Consoles(ctx, c.user, id, a.Machine))
		return api.Consoles{Consoles: consoles}, err
	case api.ActionConsoleRead:
		content, err := s.Machines.Console(ctx, c.user, id, a.Machine, a.Console)
		return api.Console{Content: content}, err
	}
	return nil, api.Errorf(api.Invalid, "there is no action %q", a.Action)
}

// maxMinutes is ten years: enough for anybody, and no overflow.
const maxMinutes = 10 * 365 * 24 * 60

func openTunnel(s *Server, c *call) (any, error) {
	p, err := c.play(s)
	if err != nil {
		return nil, err
	}
	req, err := decode[api.TunnelRequest](c)
	if err != nil {
		return nil, err
	}
	id, code, err := s.Gateway.OpenTunnel(c.Context(), p, req)
	if err != nil {
		return nil, err
	}
	base := s.base(c, "http") + "/t/" + id
	return api.Tunnel{URL: base, LoginURL: base + "/login?code=" + url.QueryEscape(code)}, nil
}

// loginTunnel answers directly, without redirect: clients take the cookie from
// the final reply only.
func loginTunnel(s *Server, w http.ResponseWriter, c *call) error {
	id := c.PathValue("tunnel")
	cookie, err := s.Gateway.Login(id, c.URL.Query().Get("code"))
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: api.TunnelCookie, Value: cookie, Path: "/t/" + id,
		HttpOnly: true, Secure: c.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

func serveTunnel(s *Server, w http.ResponseWriter, c *call) error {
	cookie, err := c.Cookie(api.TunnelCookie)
	if err != nil {
		return api.Errorf(api.Unauthenticated, "the tunnel's cookie is missing: fetch its login URL first")
	}
	return s.Gateway.ServeTunnel(w, c.Request, c.PathValue("tunnel"), cookie.Value, c.PathValue("payload"))
}

func openTerminal(s *Server, c *call) (any, error) {
	p, err := c.play(s)
	if err != nil {
		return nil, err
	}
	req, err := decode[api.TerminalRequest](c)
	if err != nil {
		return nil, err
	}
	token, err := s.Gateway.OpenTerminal(c.Context(), p, req)
	if err != nil {
		return nil, err
	}
	return api.Conn{URL: s.base(c, "ws") + "/terminals/" + token}, nil
}

func openJournal(s *Server, c *call) (any, error) {
	p, err := c.play(s)
	if err != nil {
		return nil, err
	}
	req, err := decode[api.JournalRequest](c)
	if err != nil {
		return nil, err
	}
	token, err := s.Gateway.OpenJournal(c.Context(), p, req)
	if err != nil {
		return nil, err
	}
	return api.Conn{URL: s.base(c, "ws") + "/journals/" + token}, nil
}

func serveJournal(s *Server, w http.ResponseWriter, c *call) error {
	return s.Gateway.ServeJournal(w, c.Request, c.PathValue("token"))
}

func serveTerminal(s *Server, w http.ResponseWriter, c *call) error {
	return s.Gateway.ServeTerminal(w, c.Request, c.PathValue("token"))
}

// play returns the play of the path, if the user may use it.
func (c *call) play(s *Server) (api.Play, error) {
	id, err := c.playID()
	if err != nil {
		return api.Play{}, err
	}
	return s.Plays.Get(c.Context(), c.user, id)
}

// base is the root of absolute URLs in replies, for scheme "http" or "ws": its
// TLS form where the request, or PublicURL, uses TLS.
func (s *Server) base(c *call, scheme string) string {
	root := "http://" + c.Host
	if c.TLS != nil {
		root = "https://" + c.Host
	}
	if s.PublicURL != "" {
		root = s.PublicURL
	}
	return scheme + root[len("http"):]
}

// orEmpty makes an absent list an empty one: clients want [], never null.
func orEmpty[T any](list []T, err error) ([]T, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}
