package server_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/admin"
	"sandlot/internal/bender"
	"sandlot/internal/control"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/server"
	"sandlot/playgrounds"
)

// shelf is a bender whose plays run and do what they are told.
type shelf map[play.ID]bender.Record

func (s shelf) Start(_ context.Context, p plan.Plan, _ bender.Secrets) error {
	r := bender.Record{Plan: p, Events: []play.StateEvent{{State: play.Running, At: time.Now()}}}
	for _, m := range p.Machines {
		r.Machines = append(r.Machines, play.MachineStatus{Name: m.Name, State: play.MachineRunning})
	}
	s[p.Play] = r
	return nil
}
func (s shelf) Stop(context.Context, play.ID) error                   { return nil }
func (s shelf) Restart(context.Context, play.ID) error                { return nil }
func (s shelf) Destroy(context.Context, play.ID) error                { return nil }
func (s shelf) StopMachine(context.Context, play.ID, string) error    { return nil }
func (s shelf) RestartMachine(context.Context, play.ID, string) error { return nil }
func (s shelf) RebootMachine(context.Context, play.ID, string) error  { return nil }
func (s shelf) FreeUplink(func(int) bool) int                         { return 1 }
func (s shelf) Status(id play.ID) (bender.Record, error)              { return s[id], nil }
func (s shelf) Announce(context.Context, play.ID, string) error       { return nil }
func (s shelf) Version(play.ID) (uint64, error)                       { return 0, nil }
func (s shelf) Hold(_ context.Context, id play.ID, f func(bender.Record) error) error {
	return f(s[id])
}
func (s shelf) Console(play.ID, string) ([]byte, error) { return nil, nil }
func (s shelf) Tasks(context.Context, play.ID) ([]play.TaskStatus, error) {
	return nil, nil
}
func (s shelf) Watch(play.ID) (<-chan struct{}, func(), error) { return nil, func() {}, nil }

// attic keeps saved drives.
type attic struct{}

func (attic) SaveDrive(context.Context, play.ID, int, int, string) error { return nil }
func (attic) RemoveSaved(context.Context, string) error                  { return nil }
func (attic) ListSaved(context.Context) ([]string, error)                { return nil, nil }

// way is a gateway that opens everything and serves nothing.
type way struct{ server.Gateway }

func (way) OpenTunnel(context.Context, api.Play, api.TunnelRequest) (id, code string, err error) {
	return "x", "y", nil
}
func (way) OpenTerminal(context.Context, api.Play, api.TerminalRequest) (string, error) {
	return "x", nil
}
func (way) OpenJournal(context.Context, api.Play, api.JournalRequest) (string, error) {
	return "x", nil
}
func (way) ScanPorts(context.Context, api.Play, string) ([]api.ScannedPort, error) { return nil, nil }

// things are ann's, made anew for every cell.
type things struct {
	t       testing.TB
	site    *site
	control *control.Control
	admin   *admin.Admin
	ann     api.Me
}

// fill puts what is ann's into a path.
func (f things) fill(path string) string {
	f.t.Helper()
	ctx := f.t.Context()
	var id play.ID
	if strings.Contains(path, "{id}") || strings.HasPrefix(path, "/exposed/") {
		p, err := f.control.Start(ctx, f.ann, api.StartPlay{Playground: manifest.Flexbox, Machines: machines()})
		if err != nil {
			f.t.Fatal(err)
		}
		id = play.ID(p.ID)
	}
	if strings.HasPrefix(path, "/api/sessions/") {
		id = "not-mine"
	}
	for _, part := range strings.Split(path, "/") {
		var value string
		var err error
		switch part {
		case "{id}":
			value = string(id)
		case "{name}":
			value, err = f.playground()
		case "{port}":
			var p api.Port
			p, err = f.control.ExposePort(ctx, f.ann, id, api.Port{Machine: "m", Number: 80})
			value = p.ID
		case "{shell}":
			var s api.Shell
			s, err = f.control.ExposeShell(ctx, f.ann, id, api.Shell{Machine: "m"})
			value = s.ID
		case "{index}":
			value, err = "0", f.control.AddPortForward(ctx, f.ann, id, api.PortForward{Kind: "local", Machine: "m", LocalPort: 1, RemotePort: 2})
		case "{user}":
			value = "bob"
		case "{job}":
			var j api.Job
			j, err = f.admin.StartJob(ctx, f.ann, api.CreateJob{Kind: api.JobBuild, Name: "x"})
			value = j.ID
		case "{code}":
			_, value, err = f.site.people.NewSession(ctx, api.Origin{Address: rand.Text()})
		case "{token}", "{tunnel}":
			value = "x"
		case "{payload...}":
			value = "OjIy"
		default:
			if strings.HasPrefix(part, "{") {
				f.t.Fatalf("%s: the test does not know %s", path, part)
			}
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		path = strings.Replace(path, part, value, 1)
	}
	return path
}

func machines() []api.MachineSpec {
	return []api.MachineSpec{{
		Name: "m", Users: []api.User{{Name: "root", Default: true}}, Drives: []api.Drive{{Source: "debian-12", Mount: "/"}},
		Network: &api.MachineNet{Interfaces: []api.Interface{{Network: "local"}}},
	}}
}

// playground makes one that nobody but ann may list, read or start.
func (f things) playground() (string, error) {
	mine := []string{"owner"}
	p, err := f.control.CreatePlayground(f.t.Context(), f.ann, api.CreatePlayground{Name: "mine", Base: manifest.Flexbox, PlaygroundSpec: api.PlaygroundSpec{
		Title: "A lab of ann's", Categories: []string{"linux"}, Machines: machines(),
		AccessControl: &api.AccessControl{CanList: mine, CanRead: mine, CanStart: mine},
	}})
	return p.Name, err
}

// body is one that the route accepts.
func (f things) body(method, path string) string {
	f.t.Helper()
	switch strings.Fields(method + " " + path)[1] {
	case "/api/plays":
		if method == http.MethodPost {
			name, err := f.playground()
			if err != nil {
				f.t.Fatal(err)
			}
			return fmt.Sprintf(`{"playground":%q,"safetyDisclaimerConsent":true}`, name)
		}
	case "/api/account/password":
		return fmt.Sprintf(`{"old":%q,"new":%[1]q}`, password) // changes nothing
	case "/api/plays/{id}/actions":
		return `{"action":"stop"}`
	case "/api/admin/jobs":
		return `{"kind":"build","name":"x"}`
	case "/api/plays/{id}/playgrounds":
		return `{"name":"saved"}`
	case "/api/plays/{id}/ports":
		return `{"machine":"m","number":80}`
	case "/api/plays/{id}/port-forwards":
		return `{"kind":"local","machine":"m","localPort":1,"remotePort":2}`
	}
	return "{}"
}

// realControl is labd's own, over the site's store.
func realControl(t testing.TB, o *server.Options, plays control.Bender, standard string) *control.Control {
	t.Helper()
	c, err := control.New(control.Options{
		Store: o.Accounts.(kept).store, Bender: plays, Pool: attic{}, DefaultPlan: standard, Bases: playgrounds.Names, ReadBase: playgrounds.Read,
		Facts: func(context.Context) (plan.Facts, error) {
			return plan.Facts{Backends: map[string]plan.BackendFacts{"qemu": {MaxDrives: 24, MaxNICs: 5}}, Kernels: []string{"6.1"}}, nil
		},
		Uplinks:     func(context.Context) (func(int) bool, error) { return func(int) bool { return false }, nil },
		CheckSource: func(context.Context, string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newHouse is a site whose plays and playgrounds are kept by internal/control,
// and ann in it. Plays run at once and do nothing.
func newHouse(t testing.TB, changes ...func(*server.Options)) things {
	t.Helper()
	var f things
	wire := func(o *server.Options) {
		c := realControl(t, o, shelf{}, control.UnlimitedPlan)
		f.control = c
		o.Playgrounds, o.Plays, o.Lifecycle, o.Settings, o.Machines, o.Budgets, o.Saver = c, c, c, c, c, c, c
		o.Ports, o.Shells, o.Forwards = c, c, c
		f.admin = newAdmin(t, o)
		o.Administration = f.admin
		o.Visitors = o.Gateway.(server.Visitors)
		o.Gateway, o.Scanner = way{o.Gateway}, way{}
	}
	f.t, f.site = t, newSite(t, append([]func(*server.Options){wire}, changes...)...)
	f.ann = f.site.add(t, "ann")
	return f
}

// session signs somebody in.
func (f things) session(who api.Me) (authorization string) {
	f.t.Helper()
	c, err := f.site.people.NewUserSession(f.t.Context(), who, api.Origin{})
	if err != nil {
		f.t.Fatal(err)
	}
	return basic(c.ID, c.AccessToken)
}

// token makes an access token of ann's.
func (f things) token(scopes ...string) (authorization string) {
	f.t.Helper()
	made, err := f.site.people.NewToken(f.t.Context(), f.ann, api.CreateToken{Name: "t", Scope: scopes})
	if err != nil {
		f.t.Fatal(err)
	}
	return "Bearer " + made.AccessToken
}

// Every cell of the table of access, with real accounts, plays and
// playgrounds. A route without a rule fails.
func TestAccess(t *testing.T) {
	f := newHouse(t)
	s, bob := f.site, f.site.add(t, "bob")
	for name, role := range map[string]string{"root": api.RoleAdministrator, "gone": api.RoleUser} {
		if _, err := s.people.Add(t.Context(), name, password, role); err != nil {
			t.Fatal(err)
		}
	}
	wide := f.token(api.Scopes...)
	narrow := map[string]string{"": wide}
	for _, without := range api.Scopes {
		var rest []string
		for _, scope := range api.Scopes {
			if scope != without {
				rest = append(rest, scope)
			}
		}
		narrow[without] = f.token(rest...)
	}
	disabled := f.session(api.Me{ID: "gone"})
	if err := s.people.SetDisabled(t.Context(), "gone", true); err != nil {
		t.Fatal(err)
	}
	ann, other, root := f.session(f.ann), f.session(bob), f.session(api.Me{ID: "root"})
	for _, rule := range server.Rules() {
		want := server.Allowed(rule.Access)
		if want == nil {
			t.Errorf("%s %s: %q is no rule", rule.Method, rule.Path, rule.Access)
			continue
		}
		if rule.Page || rule.Access == "anyone" {
			continue // TestLoginOfAClient and others
		}
		for i, cell := range server.Cells {
			credentials := map[string]string{
				"wrong": disabled, "other": other, "token": wide, "narrow": narrow[rule.Scope], "administrator": root, "owner": ann,
			}[cell]
			path, body := f.fill(rule.Path), f.body(rule.Method, rule.Path)
			if rule.Path == "/api/oauth/tokens/{token}" {
				continue // its owner alone: TestAccessTokensAreBoundToTheirScopes
			}
			req, err := http.NewRequestWithContext(t.Context(), rule.Method, s.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if credentials != "" {
				req.Header.Set("Authorization", credentials)
			}
			if rule.Access == "operator" {
				req.Header.Set("X-Forwarded-For", "192.0.2.1") // from another host
			}
			res, err := noRedirect.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			got := strconv.Itoa(res.StatusCode)
			if got != "401" && got != "403" && got != "404" && res.StatusCode < 500 {
				got = "yes"
			}
			if got != want[i] {
				t.Errorf("%s %s (%s) as %s: %s, want %s", rule.Method, rule.Path, rule.Access, cell, got, want[i])
			}
		}
	}
}

var noRedirect = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func TestAccessDocument(t *testing.T) {
	const file = "../../docs/access.md"
	want := server.AccessDocument()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the routes say (%v): go test ./internal/server -run Access -update, and look at the diff", file, err)
	}
}
