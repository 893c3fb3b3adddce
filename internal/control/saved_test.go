package control_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/control"
	"sandlot/internal/manifest"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// resting is a stopped play of somebody.
func (l *lab) resting(t *testing.T, user api.Me) play.ID {
	t.Helper()
	req := hello("debian-12")
	req.Machines[0].StartupFiles = []api.StartupFile{{Path: "/once", Content: "x"}}
	req.Machines[0].Drives = append(req.Machines[0].Drives, api.Drive{Mount: "/data", Filesystem: "xfs", Size: "2GiB"})
	req.InitTasks = map[string]api.InitTask{"once": {Init: true, Run: "true"}}
	p, err := l.Start(t.Context(), user, req)
	if err != nil {
		t.Fatal(err)
	}
	id := play.ID(p.ID)
	if _, err := l.Stop(t.Context(), user, id); err != nil {
		t.Fatal(err)
	}
	l.goal(id, bender.GoalStopped, play.Stopped)
	return id
}

// saved starts a playground and returns the drives of its plan.
func (l *lab) drivesOf(t *testing.T, user api.Me, id string) (out []string) {
	t.Helper()
	r, err := l.bender.Status(play.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Plan.Machines {
		for _, d := range m.Drives {
			out = append(out, fmt.Sprintf("%s %s %d", l.pool[d.Saved], d.Filesystem, d.SizeBytes>>30))
		}
	}
	return out
}

func TestSaveMakesAPlaygroundOfTheDrives(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	id := l.resting(t, admin)
	pg, err := l.SavePlay(ctx, admin, id, api.SavePlay{Name: "my-lab"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(pg.Name, "my-lab-") || pg.Title != "A title" && pg.Title == "" || pg.Machines[0].StartupFiles != nil || len(pg.InitTasks) != 0 ||
		!slices.Equal(pg.AccessControl.CanStart, []string{"owner"}) || pg.Machines[0].Kernel.Source != "6.1" || pg.Machines[0].Drives[0].Source != "snapshot" {
		t.Errorf("saved %+v", pg)
	}
	// The source goes; the save stays, can be given back, and starts.
	if _, err := l.Destroy(ctx, admin, id); err != nil {
		t.Fatal(err)
	}
	delete(l.bender.plays, id)
	if _, err := l.UpdatePlayground(ctx, admin, pg.Name, spec(t, pg)); err != nil {
		t.Fatal(err)
	}
	p, err := l.Start(ctx, admin, api.StartPlay{Playground: pg.Name})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{string(id) + "/0/0 ext4 10", string(id) + "/0/1 xfs 2"}
	if got := l.drivesOf(t, admin, p.ID); !slices.Equal(got, want) {
		t.Errorf("drives %q, want %q", got, want)
	}
	// A copy holds them, too; so does a play until it has its own.
	copied, err := l.CreatePlayground(ctx, admin, api.CreatePlayground{Name: "copy", Base: pg.Name, PlaygroundSpec: spec(t, pg)})
	if err != nil {
		t.Fatal(err)
	}
	left := func(when string, want int) {
		t.Helper()
		if err := l.Expire(ctx); err != nil {
			t.Error(err)
		}
		rows, err := l.store.SavedDrives(ctx)
		if err != nil || len(rows) != want || len(l.pool) != want {
			t.Errorf("%s: %d rows, %d files, want %d; %v", when, len(rows), len(l.pool), want, err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := l.RemovePlayground(ctx, admin, name); err != nil {
			t.Fatal(err)
		}
	}
	remove(pg.Name)
	left("the copy is there", 2)
	remove(copied.Name)
	left("a play starts from them", 2)
	l.goal(play.ID(p.ID), bender.GoalRunning, play.Running)
	left("it runs", 0)
}

func TestForkStartsANewPlayWithTheDrives(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	id := l.resting(t, admin)
	p, err := l.ForkPlay(ctx, admin, id, api.ForkPlay{})
	if err != nil {
		t.Fatal(err)
	}
	if p.ID == string(id) || p.Title != "A title" || p.Playground.Name != "flexbox" || len(p.Tasks) != 0 {
		t.Errorf("forked %+v", p)
	}
	if got := l.drivesOf(t, admin, p.ID); !slices.Equal(got, []string{string(id) + "/0/0 ext4 10", string(id) + "/0/1 xfs 2"}) {
		t.Errorf("drives %q", got)
	}
	old, fresh := l.bender.plays[id].Plan.Machines[0], l.bender.plays[play.ID(p.ID)].Plan.Machines[0]
	if old.Interfaces[0].MAC != fresh.Interfaces[0].MAC || old.Interfaces[0].Address != fresh.Interfaces[0].Address || old.Name != fresh.Name {
		t.Errorf("another identity inside: %+v, %+v", old.Interfaces, fresh.Interfaces)
	}
	if old.MachineID == fresh.MachineID || old.UID == fresh.UID {
		t.Error("the same machine id or user")
	}
	if use, err := l.UserPlan(ctx, admin); err != nil || use.Use.PoolSpace != "24GiB" {
		t.Errorf("two plays of 12GiB count as %s, %v", use.Use.PoolSpace, err)
	}
	l.goal(play.ID(p.ID), bender.GoalRunning, play.Running)
	if err := l.Expire(ctx); err != nil || len(l.pool) != 0 {
		t.Errorf("left in the pool: %v, %v", l.pool, err)
	}
}

func TestARefusedSaveLeavesNothing(t *testing.T) {
	l, ann := onPlan(t, control.Budget{PoolBytes: 30 << 30, Playgrounds: 1})
	ctx := t.Context()
	running := l.begin(t, ann)
	l.goal(running, bender.GoalRunning, play.Running)
	if _, err := l.SavePlay(ctx, ann, running, api.SavePlay{Name: "x"}); kind(err) != api.Conflict || !strings.Contains(err.Error(), "it is not stopped; first: labctl playground stop") {
		t.Errorf("of a running play: %v", err)
	}
	if _, err := l.Destroy(ctx, ann, running); err != nil {
		t.Fatal(err)
	}
	id := l.resting(t, ann)
	bob := l.another(t, "bob")
	if _, err := l.SavePlay(ctx, bob, id, api.SavePlay{Name: "x"}); kind(err) != api.NotFound {
		t.Errorf("of another's: %v", err)
	}
	if _, err := l.ForkPlay(ctx, bob, id, api.ForkPlay{}); kind(err) != api.NotFound {
		t.Errorf("of another's: %v", err)
	}
	for name, says := range map[string]string{"": "without a name", "No Name": "is not a playground name"} {
		if _, err := l.SavePlay(ctx, ann, id, api.SavePlay{Name: name}); kind(err) != api.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := l.SavePlay(ctx, ann, id, api.SavePlay{Name: "one"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.SavePlay(ctx, ann, id, api.SavePlay{Name: "two"}); kind(err) != api.TooMany || !strings.Contains(err.Error(), "the others of yours 24GiB") {
		t.Errorf("over the pool: %v", err)
	}
	l.bender.refuse = errors.New("the disk is full")
	if _, err := l.ForkPlay(ctx, api.Me{ID: "admin", Role: api.RoleAdministrator}, id, api.ForkPlay{}); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("a fork that bender refuses: %v", err)
	}
	if rows, err := l.store.SavedDrives(ctx); err != nil || len(rows) != 2 || len(l.pool) != 2 {
		t.Errorf("left: %v %v %v", rows, l.pool, err)
	}
}

// Who may not read a playground does not reach its drives by naming them.
func TestSavedDrivesAreReachedThroughTheirPlaygroundOnly(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	pg, err := l.SavePlay(ctx, admin, l.resting(t, admin), api.SavePlay{Name: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	eve := l.another(t, "eve")
	theft := hello("debian-12")
	theft.Machines[0].Drives = pg.Machines[0].Drives
	says := `playground.machines[0].drives[0].snapshot: there is no saved drive "` + pg.Machines[0].Drives[0].Snapshot.ID + `" in the base`
	if _, err := l.Start(ctx, eve, theft); kind(err) != api.Invalid || !strings.Contains(err.Error(), says) {
		t.Errorf("start: %v", err)
	}
	req := mine()
	req.Machines = theft.Machines
	if _, err := l.CreatePlayground(ctx, eve, req); kind(err) != api.Invalid || !strings.Contains(err.Error(), says) {
		t.Errorf("create: %v", err)
	}
	own, err := l.CreatePlayground(ctx, eve, mine())
	if err != nil {
		t.Fatal(err)
	}
	changed := spec(t, own)
	changed.Machines = theft.Machines
	if _, err := l.UpdatePlayground(ctx, eve, own.Name, changed); kind(err) != api.Invalid || !strings.Contains(err.Error(), says) {
		t.Errorf("update: %v", err)
	}
	if _, err := l.CreatePlayground(ctx, eve, api.CreatePlayground{Name: "x", Base: pg.Name}); kind(err) != api.NotFound {
		t.Errorf("derive: %v", err)
	}
	// An id that does not exist is refused in the same words.
	theft.Machines[0].Drives = []api.Drive{{Source: "snapshot", Snapshot: &api.Snapshot{ID: "../../etc"}, Mount: "/", Size: "10GiB"}}
	if _, err := l.Start(ctx, eve, theft); kind(err) != api.Invalid || !strings.Contains(err.Error(), `there is no saved drive "../../etc" in the base`) {
		t.Errorf("a path: %v", err)
	}
	// Whoever may start it, may.
	shared := spec(t, pg)
	shared.AccessControl = &api.AccessControl{CanList: []string{"owner"}, CanRead: []string{"owner"}, CanStart: []string{"user:eve"}}
	if _, err := l.UpdatePlayground(ctx, admin, pg.Name, shared); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Start(ctx, eve, api.StartPlay{Playground: pg.Name, SafetyDisclaimerConsent: true}); err != nil {
		t.Error(err)
	}
	if _, err := l.CreatePlayground(ctx, eve, api.CreatePlayground{Name: "x", Base: pg.Name}); kind(err) != api.Forbidden {
		t.Errorf("derive from what may only be started: %v", err)
	}
}

// A labd that was killed while it saved leaves rows, files or both; the next
// one removes them, and nothing else.
func TestRecoverRemovesHalfSavedDrives(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	pg, err := l.SavePlay(ctx, admin, l.resting(t, admin), api.SavePlay{Name: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	l.pool["file-without-a-row"] = "x"
	half := manifest.Snapshot{ID: "0123456789abcdef01234567"}
	l.pool[half.ID] = "x"
	if err := l.store.AddSavedDrives(ctx, drive(half.ID), noLimits); err != nil {
		t.Fatal(err)
	}
	if err := l.store.AddSavedDrives(ctx, drive("aaaaaaaaaaaaaaaaaaaaaaaa"), noLimits); err != nil {
		t.Fatal(err)
	}
	if err := l.Expire(ctx); err != nil || len(l.pool) != 4 {
		t.Errorf("while somebody may be making it: %v, %v", l.pool, err)
	}
	if err := l.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	rows, err := l.store.SavedDrives(ctx)
	if err != nil || len(rows) != 2 || len(l.pool) != 2 {
		t.Errorf("rows %v, files %v, %v", rows, l.pool, err)
	}
	if _, err := l.Start(ctx, admin, api.StartPlay{Playground: pg.Name}); err != nil {
		t.Error(err)
	}
}

var noLimits store.Limits

func drive(id string) []store.SavedDrive {
	return []store.SavedDrive{{ID: id, Owner: "admin", Bytes: 1 << 30, CreatedAt: now}}
}
