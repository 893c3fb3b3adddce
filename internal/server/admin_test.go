package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/admin"
	"sandlot/internal/control"
	"sandlot/internal/server"
)

// newAdmin is labd's own, on a host that is made up. Jobs are "x", which ends
// at once, and "endless", which says so and waits for its end.
func newAdmin(t testing.TB, o *server.Options) *admin.Admin {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k := o.Accounts.(kept)
	a := admin.New(ctx, admin.Options{
		Store: k.store, Accounts: k.Accounts, Plans: control.DefaultPlans(), DefaultPlan: control.FreePlan,
		About:   api.HostState{Name: "box", CPUs: 2},
		Measure: func() (api.HostSample, error) { return api.HostSample{CPU: 0.5, MemoryTotal: 8, MemoryUsed: 2}, nil },
		Images: func(context.Context) ([]api.HostImage, error) {
			return []api.HostImage{{Name: "debian-12", SizeBytes: 5}}, nil
		},
		Kernels: func(context.Context) ([]api.KernelVersion, error) {
			return []api.KernelVersion{{Version: "6.1", Ready: true}}, nil
		},
		Settings: func() (api.SettingsReport, error) {
			return api.SettingsReport{File: "/etc/sandlot/labd.yaml", Settings: []api.Setting{{Name: "listen", Value: "x", From: "flag"}}}, nil
		},
		Work: func(req api.CreateJob) (admin.Work, error) {
			if req.Kind != api.JobBuild || req.Name != "x" && req.Name != "endless" {
				return nil, api.Errorf(api.Invalid, "cannot build %q", req.Name)
			}
			return func(ctx context.Context, tell func(admin.Step)) error {
				tell(admin.Step{Stage: "build", Done: 1, Total: 2, Line: "step \x1b[31m1"})
				if req.Name == "endless" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}, nil
		},
	})
	t.Cleanup(func() {
		cancel()
		a.Wait()
	})
	return a
}

func (f things) root() (authorization string) {
	f.t.Helper()
	if _, err := f.site.people.Add(f.t.Context(), "root", password, api.RoleAdministrator); err != nil {
		f.t.Fatal(err)
	}
	return f.session(api.Me{ID: "root"})
}

func TestAdministratorsManagePeople(t *testing.T) {
	f := newHouse(t)
	f.site.add(t, "bob")
	root, ann := f.root(), f.session(f.ann)
	names := func(query string) (list []string) {
		t.Helper()
		for _, a := range decode[[]api.Account](t, f.site.call(t, "GET", "/api/admin/users"+query, root, "")) {
			list = append(list, a.Name+" "+a.Role+" "+a.Plan)
		}
		return list
	}
	if got, want := names(""), []string{"admin administrator unlimited", "ann user free", "bob user free", "root administrator unlimited"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := names("?search=AN&limit=5"); !slices.Equal(got, []string{"ann user free"}) {
		t.Errorf("a search: %v", got)
	}
	if res := f.site.call(t, "GET", "/api/admin/users?limit=1&offset=2", root, ""); res.Header.Get("X-Total-Count") != "4" {
		t.Errorf("%s in all", res.Header.Get("X-Total-Count"))
	}
	change := func(who, body string) (int, string) {
		t.Helper()
		status, text, _ := f.sent("PATCH", "/api/admin/users/"+who, root, body)
		return status, text
	}
	for _, bad := range []struct {
		who, body string
		status    int
		why       string
	}{
		{"root", `{"disabled":true}`, 409, "your own account"}, {"root", `{"role":"user"}`, 409, "yourself"},
		{"ann", `{"role":"king"}`, 400, "king"}, {"ann", `{"plan":"gold"}`, 400, "there are free, paid, unlimited"},
		{"nobody", `{}`, 404, "nobody"},
	} {
		if status, text := change(bad.who, bad.body); status != bad.status || !strings.Contains(text, bad.why) {
			t.Errorf("%+v: %d %s", bad, status, text)
		}
	}
	if status, text := change("ann", `{"plan":"paid","role":"administrator"}`); status != 200 || !strings.Contains(text, `"plan":"paid"`) {
		t.Fatalf("%d %s", status, text)
	}
	if status, _, _ := f.sent("GET", "/api/admin/users", ann, ""); status != 200 {
		t.Errorf("an administrator since now: %d", status)
	}
	// A token of an administrator looks, and changes nothing.
	token := f.token(api.Scopes...)
	if status, _, _ := f.sent("GET", "/api/admin/users", token, ""); status != 200 {
		t.Errorf("a token looks: %d", status)
	}
	for method, path := range map[string]string{"POST": "/api/admin/invitations", "PATCH": "/api/admin/users/bob"} {
		if status, text, _ := f.sent(method, path, token, "{}"); status != 403 || !strings.Contains(text, "tokens cannot do this") {
			t.Errorf("%s by a token: %d %s", path, status, text)
		}
	}
	if status, _ := change("ann", `{"disabled":true}`); status != 200 {
		t.Fatal(status)
	}
	if status, _, _ := f.sent("GET", "/api/auth/me", ann, ""); status != 401 {
		t.Errorf("disabled: %d", status)
	}
	if status, text, _ := f.sent("POST", "/api/admin/users/ann/links", root, ""); status != 409 {
		t.Errorf("a link for who is disabled: %d %s", status, text)
	}
	if status, _ := change("ann", `{"disabled":false,"plan":"","role":"user"}`); status != 200 {
		t.Fatal(status)
	}
	if got := names("?search=ann"); !slices.Equal(got, []string{"ann user free"}) {
		t.Errorf("%v", got)
	}
	// Links make accounts and set passwords.
	link := decode[api.AccountLink](t, f.site.call(t, "POST", "/api/admin/invitations", root, `{"role":"administrator"}`))
	if status, path, body := f.site.browser(t).do("POST", link.URL, url.Values{"name": {"eve"}, "password": {password}}); status != 200 || path != "/account" {
		t.Errorf("%d at %s: %s", status, path, body)
	}
	if got := names("?search=eve"); !slices.Equal(got, []string{"eve administrator unlimited"}) {
		t.Errorf("%v", got)
	}
	link = decode[api.AccountLink](t, f.site.call(t, "POST", "/api/admin/users/bob/links", root, ""))
	if status, _, _ := f.site.browser(t).do("POST", link.URL, url.Values{"password": {"yet another one"}}); status != 200 || link.ExpiresAt == "" {
		t.Errorf("%d %+v", status, link)
	}
	log, err := f.site.people.Audit(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(log, func(e api.AuditEntry) bool {
		return e.UserName == "root" && e.Action == "change user" && e.Target == "ann disabled"
	}) {
		t.Errorf("the audit log does not tell: %+v", log)
	}
}

func TestAdministratorsLookAtTheHost(t *testing.T) {
	f := newHouse(t, func(o *server.Options) {
		o.Checks = []server.Check{{Name: "store", Probe: func(context.Context) error { return nil }}, {Name: "pool", Probe: func(context.Context) error { return errors.New("not mounted") }}}
	})
	root := f.root()
	for range 200 {
		if err := f.admin.Sample(); err != nil {
			t.Fatal(err)
		}
	}
	h := decode[api.HostState](t, f.site.call(t, "GET", "/api/admin/host", root, ""))
	if h.Name != "box" || len(h.Samples) != 180 || h.Samples[0].CPU != 0.5 || h.Samples[0].At == "" || len(h.Images) != 1 || len(h.Kernels) != 1 {
		t.Errorf("%+v", h)
	}
	r := decode[api.SettingsReport](t, f.site.call(t, "GET", "/api/admin/settings", root, ""))
	if got := fmt.Sprint(r.Checks); got != "[{recovered true } {store true } {pool false not mounted}]" || r.File == "" || len(r.Settings) != 1 {
		t.Errorf("%+v", r)
	}
	if plans := decode[[]api.NamedPlan](t, f.site.call(t, "GET", "/api/admin/plans", root, "")); len(plans) != 3 || !plans[0].Default || plans[0].Limits.Plays != 2 {
		t.Errorf("%+v", plans)
	}
}

func TestAdministratorsStartAndCancelJobs(t *testing.T) {
	f := newHouse(t)
	root := f.root()
	start := func(name string) api.Job {
		t.Helper()
		return decode[api.Job](t, f.site.call(t, "POST", "/api/admin/jobs", root, fmt.Sprintf(`{"kind":"build","name":%q}`, name)))
	}
	state := func(id string) api.Job {
		t.Helper()
		for {
			list := decode[[]api.Job](t, f.site.call(t, "GET", "/api/admin/jobs", root, ""))
			j := list[slices.IndexFunc(list, func(j api.Job) bool { return j.ID == id })]
			if j.State != api.JobRunning || j.Stage != "" && j.Stage != "cancelling" {
				return j
			}
		}
	}
	if status, text, _ := f.sent("POST", "/api/admin/jobs", root, `{"kind":"build","name":"../etc"}`); status != 400 {
		t.Errorf("%d %s", status, text)
	}
	endless, twice, next := start("endless"), start("endless"), start("x")
	if endless.ID != twice.ID || next.State != api.JobWaiting || endless.By != "root" {
		t.Fatalf("%+v %+v %+v", endless, twice, next)
	}
	if got := state(endless.ID); got.Stage != "build" || got.Total != 2 || len(got.Lines) != 1 || strings.Contains(got.Lines[0], "\x1b") {
		t.Errorf("%+v", got)
	}
	if status, text, _ := f.sent("DELETE", "/api/admin/jobs/"+endless.ID, root, ""); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if got := state(endless.ID); got.State != api.JobCancelled || got.EndedAt == "" {
		t.Errorf("%+v", got)
	}
	f.admin.Wait() // the next has run by now
	if got := state(next.ID); got.State != api.JobDone {
		t.Errorf("%+v", got)
	}
	if status, _, _ := f.sent("DELETE", "/api/admin/jobs/none", root, ""); status != 404 {
		t.Errorf("no such job: %d", status)
	}
}

// Who watches is told of all jobs at once, then of what changes, and of nothing
// twice.
func TestJobsAreTold(t *testing.T) {
	f := newHouse(t)
	root := f.root()
	start := func(name string) api.Job {
		return decode[api.Job](t, f.site.call(t, "POST", "/api/admin/jobs", root, fmt.Sprintf(`{"kind":"build","name":%q}`, name)))
	}
	watch := func() *websocket.Conn {
		return dial(t, decode[api.Conn](t, f.site.call(t, "POST", "/api/admin/jobs/conns", root, "")).URL, nil)
	}
	heard := map[string]api.Job{}
	hear := func(ws *websocket.Conn, id, state string) {
		t.Helper()
		until(t, ws, func(m api.ConnMessage) bool {
			if m.Kind == api.KindJobs && len(heard) == 0 {
				for _, job := range m.Jobs {
					heard[job.ID] = job
				}
				return heard[id].State == state
			}
			if m.Kind != api.KindJob || reflect.DeepEqual(heard[m.Job.ID], *m.Job) {
				t.Errorf("told again, or no job: %+v", m)
			}
			heard[m.Job.ID] = *m.Job
			return m.Job.ID == id && m.Job.State == state
		})
	}
	ws := watch()
	until(t, ws, func(m api.ConnMessage) bool { return m.Kind == api.KindJobs && len(m.Jobs) == 0 })
	endless := start("endless")
	hear(ws, endless.ID, api.JobRunning)
	next := start("x")
	hear(ws, next.ID, api.JobWaiting)
	f.sent("DELETE", "/api/admin/jobs/"+endless.ID, root, "")
	hear(ws, next.ID, api.JobDone)
	if got := heard[endless.ID]; got.State != api.JobCancelled {
		t.Errorf("%+v", got)
	}
	clear(heard)
	late := watch()
	hear(late, next.ID, api.JobDone)
	if heard[endless.ID].State != api.JobCancelled {
		t.Errorf("who comes late hears of %v", heard)
	}
}
