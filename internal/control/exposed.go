package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sandlot/api"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// maxExposed bounds the ports and shells of one play together.
const maxExposed = 64

// ended tells whether a play in this state has nothing to expose any more.
func ended(p api.Play) bool {
	s := play.State(p.State())
	return s == play.Destroying || s == play.Destroyed
}

// exposable returns the user's play, if things of it may be exposed.
func (c *Control) exposable(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	p, err := c.Get(ctx, user, id)
	if err == nil && ended(p) {
		err = api.Errorf(api.Gone, "play %s was destroyed", id)
	}
	return p, err
}

// Ports lists the exposed ports of the user's play, oldest first, without
// addresses: those are the server's.
func (c *Control) Ports(ctx context.Context, user api.Me, id play.ID) ([]api.Port, error) {
	return exposed(ctx, c, user, id, store.ExposedPort, wirePort)
}

// Shells is Ports for shells.
func (c *Control) Shells(ctx context.Context, user api.Me, id play.ID) ([]api.Shell, error) {
	return exposed(ctx, c, user, id, store.ExposedShell, wireShell)
}

func exposed[T any](ctx context.Context, c *Control, user api.Me, id play.ID, kind string, wire func(store.Exposed) T) ([]T, error) {
	list := []T{}
	p, err := c.Get(ctx, user, id)
	if err != nil || ended(p) {
		return list, err
	}
	rows, err := c.opts.Store.ExposedOf(ctx, id, kind)
	for _, r := range rows {
		list = append(list, wire(r))
	}
	return list, err
}

// ExposePort exposes a port of the user's play, in any state but its end. The
// same request again returns what there is.
func (c *Control) ExposePort(ctx context.Context, user api.Me, id play.ID, req api.Port) (api.Port, error) {
	p, err := c.exposable(ctx, user, id)
	if err != nil {
		return api.Port{}, err
	}
	m, err := machineNamed(p, req.Machine)
	if err != nil {
		return api.Port{}, err
	}
	e := store.Exposed{
		Kind: store.ExposedPort, Play: id, Machine: m.Name, Number: req.Number, Access: req.Access,
		TLS: req.TLS, HostRewrite: req.HostRewrite, PathRewrite: req.PathRewrite,
	}
	if e.Access == "" {
		e.Access = api.AccessPrivate
	}
	// Manifests say both "app" and "/app".
	if e.PathRewrite != "" && e.PathRewrite[0] != '/' && !strings.Contains(e.PathRewrite, ":") {
		e.PathRewrite = "/" + e.PathRewrite
	}
	if err := checkPort(e); err != nil {
		return api.Port{}, err
	}
	if m.NoSSH && e.Number == 22 {
		return api.Port{}, api.Errorf(api.Forbidden, "machine %q takes no SSH: its manifest says noSSH", m.Name)
	}
	e, err = c.expose(ctx, e)
	return wirePort(e), err
}

// ExposeShell exposes a terminal of the user's play.
func (c *Control) ExposeShell(ctx context.Context, user api.Me, id play.ID, req api.Shell) (api.Shell, error) {
	p, err := c.exposable(ctx, user, id)
	if err != nil {
		return api.Shell{}, err
	}
	m, err := machineNamed(p, req.Machine)
	if err != nil {
		return api.Shell{}, err
	}
	if m.NoSSH {
		return api.Shell{}, api.Errorf(api.Forbidden, "machine %q takes no SSH and no terminals: its manifest says noSSH", m.Name)
	}
	e := store.Exposed{Kind: store.ExposedShell, Play: id, Machine: m.Name, User: req.User, Access: req.Access}
	if e.User == "" {
		e.User = m.DefaultUser()
	}
	if e.Access == "" {
		e.Access = api.AccessPrivate
	}
	if err := checkAccess(e.Access); err != nil {
		return api.Shell{}, err
	}
	if len(e.User) > 32 || strings.ContainsFunc(e.User, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == '/' }) {
		return api.Shell{}, api.Errorf(api.Invalid, "cannot expose a shell of user %q: write a user's name", clip(e.User))
	}
	e, err = c.expose(ctx, e)
	return wireShell(e), err
}

// expose adds a row, or returns the one that differs in nothing.
func (c *Control) expose(ctx context.Context, e store.Exposed) (store.Exposed, error) {
	have, err := c.opts.Store.ExposedOf(ctx, e.Play, e.Kind)
	if err != nil {
		return e, err
	}
	for _, h := range have {
		same := e
		same.ID, same.CreatedAt = h.ID, h.CreatedAt
		if same == h {
			return h, nil
		}
	}
	var b [12]byte
	if _, err := io.ReadFull(c.opts.Random, b[:]); err != nil {
		return e, fmt.Errorf("cannot make an id: %w", err)
	}
	e.ID, e.CreatedAt = hex.EncodeToString(b[:]), c.opts.Now().UTC()
	err = c.opts.Store.AddExposed(ctx, e, maxExposed)
	if errors.Is(err, store.ErrFull) {
		return e, api.Errorf(api.TooMany, "play %s exposes %d ports and shells, the most there may be: remove some with labctl expose remove", e.Play, maxExposed)
	}
	return e, err
}

// RemovePort ends the exposing of a port.
func (c *Control) RemovePort(ctx context.Context, user api.Me, id play.ID, port string) error {
	return c.removeExposed(ctx, user, id, store.ExposedPort, port)
}

// RemoveShell ends the exposing of a shell.
func (c *Control) RemoveShell(ctx context.Context, user api.Me, id play.ID, shell string) error {
	return c.removeExposed(ctx, user, id, store.ExposedShell, shell)
}

func (c *Control) removeExposed(ctx context.Context, user api.Me, id play.ID, kind, exposed string) error {
	if _, err := c.row(ctx, user, id); err != nil {
		return err
	}
	err := c.opts.Store.DeleteExposed(ctx, id, kind, exposed)
	if errors.Is(err, store.ErrNotFound) {
		return api.Errorf(api.NotFound, "play %s exposes no %s %q", id, kind, clip(exposed))
	}
	return err
}

// ExposedPort finds an exposed port by its id, for whoever asks: what is
// private is guarded by who calls. NotFound once its play has ended.
func (c *Control) ExposedPort(ctx context.Context, exposed string) (api.Port, error) {
	e, err := c.exposedByID(ctx, exposed, store.ExposedPort)
	return wirePort(e), err
}

// ExposedShell is ExposedPort for shells.
func (c *Control) ExposedShell(ctx context.Context, exposed string) (api.Shell, error) {
	e, err := c.exposedByID(ctx, exposed, store.ExposedShell)
	return wireShell(e), err
}

// PlayOfShell is the play that an exposed shell's visitors enter: for the
// server, which has asked whether they may.
func (c *Control) PlayOfShell(ctx context.Context, exposed string) (api.Play, error) {
	e, err := c.exposedByID(ctx, exposed, store.ExposedShell)
	if err != nil {
		return api.Play{}, err
	}
	row, err := c.opts.Store.Play(ctx, e.Play)
	if err != nil {
		return api.Play{}, err
	}
	return c.view(row)
}

func (c *Control) exposedByID(ctx context.Context, exposed, kind string) (store.Exposed, error) {
	missing := api.Errorf(api.NotFound, "nothing is exposed here: its play may have ended")
	e, err := c.opts.Store.Exposed(ctx, exposed)
	if errors.Is(err, store.ErrNotFound) || err == nil && e.Kind != kind {
		return e, missing
	}
	if err != nil {
		return e, err
	}
	record, err := c.opts.Bender.Status(e.Play)
	if err != nil || record.State() == play.Destroying || record.State() == play.Destroyed {
		return e, missing
	}
	return e, nil
}

func wirePort(e store.Exposed) api.Port {
	return api.Port{
		ID: e.ID, PlayID: string(e.Play), Machine: e.Machine, Number: e.Number, Access: e.Access,
		TLS: e.TLS, HostRewrite: e.HostRewrite, PathRewrite: e.PathRewrite,
	}
}

func wireShell(e store.Exposed) api.Shell {
	return api.Shell{ID: e.ID, PlayID: string(e.Play), Machine: e.Machine, User: e.User, Access: e.Access}
}

func machineNamed(p api.Play, name string) (api.Machine, error) {
	var names []string
	for _, m := range p.Machines {
		if m.Name == name || name == "" {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return api.Machine{}, api.Errorf(api.NotFound, "play %s has no machine %q; it has %v", p.ID, clip(name), names)
}

// hostPattern is a name or address with or without a port: nothing that could
// end a header or begin a path.
var hostPattern = regexp.MustCompile(`^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?)(:[0-9]{1,5})?$`)

func checkPort(e store.Exposed) error {
	if err := checkAccess(e.Access); err != nil {
		return err
	}
	if e.Number < 1 || e.Number > 65535 {
		return api.Errorf(api.Invalid, "cannot expose port %d: write 1 to 65535", e.Number)
	}
	if e.HostRewrite != "" && !hostPattern.MatchString(e.HostRewrite) {
		return api.Errorf(api.Invalid, "cannot use hostRewrite %q: write a host's name, like localhost or app.example.org:8080", clip(e.HostRewrite))
	}
	return checkPath(e.PathRewrite)
}

func checkPath(path string) error {
	if path == "" {
		return nil
	}
	bad := api.Errorf(api.Invalid, "cannot use pathRewrite %q: write a path, like /app, without spaces, # or ..", clip(path))
	if len(path) > 1024 || path[0] != '/' || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == '#' || r == '\\'
	}) {
		return bad
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || slices.Contains(strings.Split(u.Path, "/"), "..") || strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return bad
	}
	return nil
}

func checkAccess(access string) error {
	if access != api.AccessPrivate && access != api.AccessPublic {
		return api.Errorf(api.Invalid, "there is no access %q: write private or public", clip(access))
	}
	return nil
}

// clip keeps what somebody sent short in an answer.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
