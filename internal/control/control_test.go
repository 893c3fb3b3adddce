package control_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/bender"
	"sandlot/internal/control"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/store"
	"sandlot/playgrounds"
)

// fakeBender remembers what it was asked and shows what it was given.
type fakeBender struct {
	plays   map[play.ID]bender.Record
	secrets bender.Secrets
	asked   []string
	refuse  error
	changes chan struct{}
	taken   bool
}

func (f *fakeBender) Start(_ context.Context, p plan.Plan, s bender.Secrets) error {
	if f.refuse != nil {
		return f.refuse
	}
	r := bender.Record{Plan: p, Events: []play.StateEvent{{State: play.Created, At: now}}}
	for _, t := range p.Tasks {
		r.Tasks = append(r.Tasks, play.TaskStatus{Name: t.Name, State: play.TaskCreated})
	}
	for _, m := range p.Machines {
		r.Machines = append(r.Machines, play.MachineStatus{Name: m.Name, State: play.MachineCreated})
	}
	f.plays[p.Play], f.secrets = r, s
	return nil
}

func (f *fakeBender) do(what string, id play.ID) error {
	f.asked = append(f.asked, what)
	if _, ok := f.plays[id]; !ok {
		return bender.ErrUnknown
	}
	return f.refuse
}

func (f *fakeBender) Stop(_ context.Context, id play.ID) error    { return f.do("stop", id) }
func (f *fakeBender) Restart(_ context.Context, id play.ID) error { return f.do("restart", id) }
func (f *fakeBender) Destroy(_ context.Context, id play.ID) error { return f.do("destroy", id) }
func (f *fakeBender) StopMachine(_ context.Context, id play.ID, m string) error {
	return f.do("stop "+m, id)
}
func (f *fakeBender) RestartMachine(_ context.Context, id play.ID, m string) error {
	return f.do("restart "+m, id)
}
func (f *fakeBender) RebootMachine(_ context.Context, id play.ID, m string) error {
	return f.do("reboot "+m, id)
}
func (f *fakeBender) FreeUplink(taken func(int) bool) int { f.taken = taken(7); return 7 }
func (f *fakeBender) Status(id play.ID) (bender.Record, error) {
	r, ok := f.plays[id]
	if !ok {
		return r, bender.ErrUnknown
	}
	return r, nil
}
func (f *fakeBender) Version(id play.ID) (uint64, error) {
	r, err := f.Status(id)
	return uint64(len(r.Events)), err
}
func (f *fakeBender) Announce(_ context.Context, id play.ID, message string) error {
	return f.do("announce "+message, id)
}
func (f *fakeBender) Hold(_ context.Context, id play.ID, use func(bender.Record) error) error {
	r, err := f.Status(id)
	if err == nil && r.State() != play.Stopped {
		err = bender.ErrState
	}
	if err != nil {
		return err
	}
	return use(r)
}
func (f *fakeBender) Watch(id play.ID) (<-chan struct{}, func(), error) {
	if _, ok := f.plays[id]; !ok {
		return nil, nil, bender.ErrUnknown
	}
	return f.changes, func() {}, nil
}
func (f *fakeBender) Tasks(_ context.Context, id play.ID) ([]play.TaskStatus, error) {
	if r, ok := f.plays[id]; ok {
		return r.Tasks, nil
	}
	return nil, bender.ErrUnknown
}
func (f *fakeBender) Console(id play.ID, machine string) ([]byte, error) {
	if machine != "hello" {
		return nil, bender.ErrUnknown
	}
	return []byte("labinit: boot 1\none\nlabinit: boot 2\ntwo\n"), nil
}

// fakePool has saved drives by id, and where each comes from.
type fakePool map[string]string

func (f fakePool) SaveDrive(_ context.Context, id play.ID, machine, drive int, saved string) error {
	f[saved] = fmt.Sprintf("%s/%d/%d", id, machine, drive)
	return nil
}
func (f fakePool) RemoveSaved(_ context.Context, saved string) error {
	delete(f, saved)
	return nil
}
func (f fakePool) ListSaved(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(f)), nil
}

var (
	now   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	admin = api.Me{ID: "admin"}
)

type lab struct {
	*control.Control
	bender *fakeBender
	pool   fakePool
	store  *store.Store
	clock  time.Time
}

func newLab(t *testing.T, changes ...func(o *control.Options)) *lab {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	l := &lab{bender: &fakeBender{plays: map[play.ID]bender.Record{}, changes: make(chan struct{}, 1)}, pool: fakePool{}, store: s, clock: now}
	opts := control.Options{
		Store: s, Bender: l.bender, Pool: l.pool, DefaultPlan: control.UnlimitedPlan, Bases: playgrounds.Names, ReadBase: playgrounds.Read,
		Facts: func(context.Context) (plan.Facts, error) {
			return plan.Facts{Backends: map[string]plan.BackendFacts{"qemu": {MaxDrives: 24, MaxNICs: 5}}, Kernels: []string{"6.1"}}, nil
		},
		Uplinks: func(context.Context) (func(int) bool, error) { return func(i int) bool { return i == 7 }, nil },
		CheckSource: func(_ context.Context, source string) error {
			if source == "alpine-3" {
				return errors.New(`image "alpine-3" is not there; make it with: labd image build alpine-3`)
			}
			return nil
		},
		Now: func() time.Time { return l.clock },
	}
	for _, change := range changes {
		change(&opts)
	}
	l.Control, err = control.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = account.EnsureAdmin(t.Context(), s, account.Credentials{}); err != nil {
		t.Fatal(err)
	}
	return l
}

// hello is a request for one machine with this root image.
func hello(source string) api.StartPlay {
	return api.StartPlay{
		Playground: manifest.Flexbox, Title: "A title",
		Machines: []api.MachineSpec{{
			Name:    "hello",
			Users:   []api.User{{Name: "root"}, {Name: "laborant", Default: true}},
			Drives:  []api.Drive{{Source: source, Mount: "/"}},
			Network: &api.MachineNet{Interfaces: []api.Interface{{Network: "local"}}},
		}},
	}
}

func kind(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestStartPlansRecordsAndHandsOver(t *testing.T) {
	l := newLab(t)
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	r := l.bender.plays[play.ID(p.ID)]
	if r.Plan.Uplink.Index != 7 || !l.bender.taken {
		t.Errorf("uplink %d, asked about others: %v", r.Plan.Uplink.Index, l.bender.taken)
	}
	if p.Title != "A title" || p.State() != "CREATED" || len(p.Machines) != 1 || p.Machines[0].DefaultUser() != "laborant" {
		t.Errorf("got %+v", p)
	}
	key, err := ssh.ParsePrivateKey([]byte(l.bender.secrets.HostKeys[0]))
	if err != nil || !strings.HasPrefix(l.bender.secrets.HostPublicKeys[0], "ssh-ed25519 ") ||
		string(ssh.MarshalAuthorizedKey(key.PublicKey())) != l.bender.secrets.HostPublicKeys[0]+"\n" {
		t.Errorf("host key %v, %v", l.bender.secrets.HostPublicKeys, err)
	}
	got, err := l.Get(t.Context(), admin, play.ID(p.ID))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, got); d != "" {
		t.Error(d)
	}
}

func TestARefusedStartLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(l *lab, req *api.StartPlay)
		kind   api.Kind
		says   string
	}{
		"no such playground": {func(_ *lab, r *api.StartPlay) { r.Playground = "nosuch" }, api.NotFound, `there is no playground "nosuch"`},
		"image not there":    {func(_ *lab, r *api.StartPlay) { r.Machines[0].Drives[0].Source = "alpine-3" }, api.Invalid, "labd image build alpine-3"},
		"kernel not there":   {func(_ *lab, r *api.StartPlay) { r.Machines[0].Kernel = &api.Kernel{Source: "6.18"} }, api.Invalid, "6.1"},
		"two mistakes": {func(_ *lab, r *api.StartPlay) {
			r.Machines[0].Drives[0].Size = "1MiB"
			r.Machines[0].Network.Interfaces[0].Network = "nowhere"
		}, api.Invalid, "nowhere"},
		"unknown condition": {func(_ *lab, r *api.StartPlay) { r.InitConditions = map[string]string{"a": "b"} }, api.Invalid, "a"},
		"bender refuses":    {func(l *lab, _ *api.StartPlay) { l.bender.refuse = errors.New("the disk is full") }, "", "the disk is full"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			req := hello("debian-12")
			c.change(l, &req)
			_, err := l.Start(t.Context(), admin, req)
			if err == nil || !strings.Contains(err.Error(), c.says) || kind(err) != c.kind {
				t.Errorf("got %q (%s), want %q (%s)", err, kind(err), c.says, c.kind)
			}
			if plays, err := l.List(t.Context(), admin, false, api.Page{}); err != nil || len(plays) != 0 {
				t.Errorf("left %v, %v", plays, err)
			}
		})
	}
}

func TestAnothersPlayDoesNotExist(t *testing.T) {
	l := newLab(t)
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	id, other := play.ID(p.ID), api.Me{ID: "somebody"}
	for what, f := range map[string]func() error{
		"get":     func() error { _, err := l.Get(t.Context(), other, id); return err },
		"destroy": func() error { _, err := l.Destroy(t.Context(), other, id); return err },
		"reboot":  func() error { _, err := l.RebootMachine(t.Context(), other, id, "hello"); return err },
		"console": func() error { _, err := l.Consoles(t.Context(), other, id, "hello"); return err },
		"watch":   func() error { _, err := l.Watch(t.Context(), other, id); return err },
		"title":   func() error { _, err := l.SetTitle(t.Context(), other, id, "mine"); return err },
	} {
		if err := f(); kind(err) != api.NotFound {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if plays, _ := l.List(t.Context(), other, false, api.Page{}); len(plays) != 0 || len(l.bender.asked) != 0 {
		t.Errorf("listed %v, asked %v", plays, l.bender.asked)
	}
}

func TestADestroyedPlayStaysReadableForADay(t *testing.T) {
	l := newLab(t)
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	id := play.ID(p.ID)
	delete(l.bender.plays, id) // bender has forgotten it
	for range 2 {
		if p, err = l.Destroy(t.Context(), admin, id); err != nil || p.State() != "DESTROYED" || len(p.Machines) != 1 {
			t.Fatalf("got %+v, %v", p, err)
		}
	}
	if _, err := l.Stop(t.Context(), admin, id); kind(err) != api.Gone {
		t.Errorf("stop: %v", err)
	}
	if kept, _ := l.List(t.Context(), admin, true, api.Page{}); len(kept) != 0 {
		t.Errorf("persistent: %v", kept)
	}
	if all, _ := l.List(t.Context(), admin, false, api.Page{}); len(all) != 1 {
		t.Errorf("all: %v", all)
	}
	l.clock = now.Add(25 * time.Hour)
	if err := l.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Get(t.Context(), admin, id); kind(err) != api.NotFound {
		t.Errorf("after a day: %v", err)
	}
}

func TestALifetimeEnds(t *testing.T) {
	l := newLab(t)
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err = l.SetMaxPlayTime(t.Context(), admin, play.ID(p.ID), 90*time.Minute); err != nil || p.MaxPlayTime != "1h30m0s" || p.ExpiresIn != 90*60*1000 {
		t.Fatalf("got %q %d %v", p.MaxPlayTime, p.ExpiresIn, err)
	}
	for _, step := range []struct {
		minutes int
		asked   string
	}{{84, ""}, {86, "announce its time is up at 04:34 UTC: it is destroyed then"}, {89, ""}, {91, "destroy"}, {92, ""}} {
		l.bender.asked, l.clock = nil, now.Add(time.Duration(step.minutes)*time.Minute)
		err := l.Expire(t.Context())
		if got := strings.Join(l.bender.asked, "; "); err != nil || !strings.HasPrefix(got, step.asked) || (got == "") != (step.asked == "") {
			t.Errorf("after %d minutes: asked %q, %v", step.minutes, got, err)
		}
	}
}

func TestWatchShowsEveryChangeUntilTheEnd(t *testing.T) {
	l := newLab(t)
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	id := play.ID(p.ID)
	plays, err := l.Watch(t.Context(), admin, id)
	if err != nil {
		t.Fatal(err)
	}
	if first := <-plays; first.State() != "CREATED" {
		t.Errorf("first %q", first.State())
	}
	r := l.bender.plays[id]
	r.Events = append(r.Events, play.StateEvent{State: play.Destroyed, At: now})
	l.bender.plays[id] = r
	l.bender.changes <- struct{}{}
	if second := <-plays; second.State() != "DESTROYED" {
		t.Errorf("second %q", second.State())
	}
	if _, more := <-plays; more {
		t.Error("a destroyed play goes on changing")
	}
}

func TestConsolesAreNamedByBoot(t *testing.T) {
	l := newLab(t)
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	id := play.ID(p.ID)
	names, err := l.Consoles(t.Context(), admin, id, "hello")
	if err != nil || !cmp.Equal(names, []string{"boot-1", "boot-2"}) {
		t.Fatalf("got %v, %v", names, err)
	}
	text, err := l.Console(t.Context(), admin, id, "hello", "boot-2")
	if err != nil || text != "labinit: boot 2\ntwo\n" {
		t.Errorf("got %q, %v", text, err)
	}
	for _, name := range []string{"boot-3", "../state.db", ""} {
		if _, err := l.Console(t.Context(), admin, id, "hello", name); kind(err) != api.NotFound {
			t.Errorf("console %q: %v", name, err)
		}
	}
}
