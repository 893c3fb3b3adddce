package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"sandlot/api"
)

// Me returns the signed-in user; a 401 means the session has ended.
func (c *Client) Me(ctx context.Context) (api.Me, error) {
	return call[api.Me](ctx, c, http.MethodGet, "/auth/me?authenticate=true", nil)
}

// NewSession starts a login that a person confirms at AuthURL.
func (c *Client) NewSession(ctx context.Context) (api.Session, error) {
	return call[api.Session](ctx, c, http.MethodPost, "/sessions", nil)
}

// Session returns the client's own session, pending or not.
func (c *Client) Session(ctx context.Context) (api.Session, error) {
	return call[api.Session](ctx, c, http.MethodGet, "/sessions/"+url.PathEscape(c.cfg.SessionID), nil)
}

// EndSession ends the client's own session.
func (c *Client) EndSession(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, "/sessions/"+url.PathEscape(c.cfg.SessionID), nil, nil)
}

// Sources lists the images that manifests may name. It needs no credentials.
func (c *Client) Sources(ctx context.Context) ([]api.Source, error) {
	return call[[]api.Source](ctx, c, http.MethodGet, "/sources", nil)
}

// Kernels lists the kernels that manifests may name. It needs no credentials.
func (c *Client) Kernels(ctx context.Context) ([]api.KernelVersion, error) {
	return call[[]api.KernelVersion](ctx, c, http.MethodGet, "/kernels", nil)
}

// Search finds what the user may list; total counts what limit cuts off.
func (c *Client) Search(ctx context.Context, query url.Values) (items []api.SearchItem, total int, err error) {
	var found api.SearchResult
	header, err := c.exchange(ctx, http.MethodGet, "/search?"+query.Encode(), nil, &found)
	if err != nil {
		return nil, 0, err
	}
	if total, err = strconv.Atoi(header.Get(api.TotalHeader)); err != nil {
		total = len(found.Items)
	}
	return found.Items, total, nil
}

// Playgrounds lists the catalog; filter as in docs/api.md, "" for the
// official ones.
func (c *Client) Playgrounds(ctx context.Context, filter string) ([]api.Playground, error) {
	path := "/playgrounds"
	if filter != "" {
		path += "?filter=" + url.QueryEscape(filter)
	}
	return call[[]api.Playground](ctx, c, http.MethodGet, path, nil)
}

// Playground returns one by name.
func (c *Client) Playground(ctx context.Context, name string) (api.Playground, error) {
	return call[api.Playground](ctx, c, http.MethodGet, playgroundPath(name), nil)
}

// PlaygroundDefinition returns one with its complete effective definition.
func (c *Client) PlaygroundDefinition(ctx context.Context, name string) (api.Playground, error) {
	return call[api.Playground](ctx, c, http.MethodGet, playgroundPath(name)+"?format=extended", nil)
}

// CreatePlayground stores a playground; the reply has its full name.
func (c *Client) CreatePlayground(ctx context.Context, req api.CreatePlayground) (api.Playground, error) {
	return call[api.Playground](ctx, c, http.MethodPost, "/playgrounds", req)
}

// UpdatePlayground replaces the definition of a stored playground.
func (c *Client) UpdatePlayground(ctx context.Context, name string, spec api.PlaygroundSpec) (api.Playground, error) {
	return call[api.Playground](ctx, c, http.MethodPut, playgroundPath(name), spec)
}

// RemovePlayground forgets a stored playground.
func (c *Client) RemovePlayground(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, playgroundPath(name), nil, nil)
}

func playgroundPath(name string) string { return "/playgrounds/" + url.PathEscape(name) }

// StartPlay returns the new play while it is still booting.
func (c *Client) StartPlay(ctx context.Context, req api.StartPlay) (api.Play, error) {
	return call[api.Play](ctx, c, http.MethodPost, "/plays", req)
}

// Plays lists recent plays, or those whose state is kept.
func (c *Client) Plays(ctx context.Context, persistent bool) ([]api.Play, error) {
	path := "/plays"
	if persistent {
		path += "?persistent=true"
	}
	return call[[]api.Play](ctx, c, http.MethodGet, path, nil)
}

// pageOfPlays is how many plays are asked for at once, which is the most that
// labd gives.
const pageOfPlays = 200

// EveryPlay lists the plays of all users, the newest first, or of the user with
// the id owner. It is for administrators.
func (c *Client) EveryPlay(ctx context.Context, owner string) (plays []api.OwnedPlay, err error) {
	query := url.Values{"limit": {strconv.Itoa(pageOfPlays)}}
	if owner != "" {
		query.Set("owner", owner)
	}
	for {
		query.Set("offset", strconv.Itoa(len(plays)))
		page, err := call[[]api.OwnedPlay](ctx, c, http.MethodGet, "/admin/plays?"+query.Encode(), nil)
		if plays = append(plays, page...); err != nil || len(page) < pageOfPlays {
			return plays, err
		}
	}
}

// Play returns one by id.
func (c *Client) Play(ctx context.Context, id string) (api.Play, error) {
	return call[api.Play](ctx, c, http.MethodGet, playPath(id, ""), nil)
}

// Act changes a play and returns it as it is then.
func (c *Client) Act(ctx context.Context, id string, a api.Action) (api.Play, error) {
	return call[api.Play](ctx, c, http.MethodPost, playPath(id, "/actions"), a)
}

// SavePlay makes a playground of a stopped play; the reply has its full name.
func (c *Client) SavePlay(ctx context.Context, id string, req api.SavePlay) (api.Playground, error) {
	return call[api.Playground](ctx, c, http.MethodPost, playPath(id, "/playgrounds"), req)
}

// ForkPlay starts a new play with the drives of a stopped one.
func (c *Client) ForkPlay(ctx context.Context, id string, req api.ForkPlay) (api.Play, error) {
	return call[api.Play](ctx, c, http.MethodPost, playPath(id, "/forks"), req)
}

// Consoles names the kept consoles of a machine, oldest boot first.
func (c *Client) Consoles(ctx context.Context, id, machine string) ([]string, error) {
	reply, err := call[api.Consoles](ctx, c, http.MethodPost, playPath(id, "/actions"),
		api.Action{Action: api.ActionConsoleList, Machine: machine})
	return reply.Consoles, err
}

// Console returns what one boot of a machine wrote to its console.
func (c *Client) Console(ctx context.Context, id, machine, console string) (string, error) {
	reply, err := call[api.Console](ctx, c, http.MethodPost, playPath(id, "/actions"),
		api.Action{Action: api.ActionConsoleRead, Machine: machine, Console: console})
	return reply.Content, err
}

// Tasks returns the details of a play's tasks.
func (c *Client) Tasks(ctx context.Context, id string) ([]api.TaskDetails, error) {
	return call[[]api.TaskDetails](ctx, c, http.MethodGet, playPath(id, "/tasks"), nil)
}

func playPath(id, rest string) string { return "/plays/" + url.PathEscape(id) + rest }

func call[T any](ctx context.Context, c *Client, method, path string, in any) (T, error) {
	var out T
	err := c.do(ctx, method, path, in, &out)
	return out, err
}
