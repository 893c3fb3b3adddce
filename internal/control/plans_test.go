package control_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/control"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// onPlan is a lab with one small plan, which everybody has who has no other.
func onPlan(t *testing.T, b control.Budget) (*lab, api.Me) {
	t.Helper()
	l := newLab(t, func(o *control.Options) {
		o.Plans = control.DefaultPlans()
		o.Plans["small"], o.DefaultPlan = b, "small"
	})
	return l, l.another(t, "ann")
}

func (l *lab) begin(t *testing.T, user api.Me) play.ID {
	t.Helper()
	p, err := l.Start(t.Context(), user, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	return play.ID(p.ID)
}

// goal moves the fake's play to where control asked for.
func (l *lab) goal(id play.ID, g bender.Goal, s play.State) {
	r := l.bender.plays[id]
	r.Goal, r.Events = g, append(r.Events, play.StateEvent{State: s, At: l.clock})
	l.bender.plays[id] = r
}

func TestWhatRunsAndIsStoredStaysWithinThePlan(t *testing.T) {
	l, ann := onPlan(t, control.Budget{Plays: 2, StoredPlays: 2, PoolBytes: 35 << 30, Playgrounds: 1})
	ctx := t.Context()
	refused := func(what string, err error, says string) {
		t.Helper()
		if kind(err) != api.TooMany || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", what, err, says)
		}
	}
	a, b := l.begin(t, ann), l.begin(t, ann)
	_, err := l.Start(ctx, ann, hello("debian-12"))
	refused("a third play", err, `cannot start a play: 2 of yours run, and your plan "small" allows 2 at once; stop or destroy one`)
	if _, err := l.Stop(ctx, ann, a); err != nil {
		t.Fatal(err)
	}
	c := l.begin(t, ann)
	_, err = l.Restart(ctx, ann, a)
	refused("restart beyond", err, "2 of yours run")
	if _, err := l.MakePersistent(ctx, ann, b); err != nil {
		t.Fatal(err)
	}
	_, err = l.MakePersistent(ctx, ann, c)
	refused("a third stored play", err, `you keep 2 stopped or persistent plays, and your plan "small" allows 2`)
	_, err = l.Stop(ctx, ann, c)
	refused("stopping a third", err, "you keep 2 stopped")
	// A persistent play counts as stored already.
	if _, err := l.Stop(ctx, ann, b); err != nil {
		t.Error(err)
	}
	big := hello("debian-12")
	_, err = l.Start(ctx, ann, big)
	refused("more than the pool", err, `its drives have 10GiB, the others of yours 30GiB, and your plan "small" allows 35GiB together`)
	if _, err := l.Destroy(ctx, ann, a); err != nil {
		t.Fatal(err)
	}
	l.begin(t, ann)
	if _, err := l.CreatePlayground(ctx, ann, mine()); err != nil {
		t.Fatal(err)
	}
	_, err = l.CreatePlayground(ctx, ann, mine())
	refused("a second playground", err, `you have 1, and your plan "small" allows 1; remove some`)
	got, err := l.UserPlan(ctx, ann)
	want := api.UserPlan{
		Name:   "small",
		Limits: api.PlanLimits{Plays: 2, StoredPlays: 2, PoolSpace: "35GiB", Playgrounds: 1},
		Use:    api.PlanUse{Plays: 2, StoredPlays: 1, PoolSpace: "30GiB", Playgrounds: 1},
	}
	if err != nil || got != want {
		t.Errorf("%v: %+v", err, got)
	}
	// The administrator has other limits, and none of ann's are used up by them.
	for range 3 {
		l.begin(t, api.Me{ID: "admin"})
	}
	if err := l.store.SetPlan(ctx, "ann", control.PaidPlan); err != nil {
		t.Fatal(err)
	}
	l.begin(t, ann)
	if got, err := l.UserPlan(ctx, ann); err != nil || got.Name != control.PaidPlan || got.Use.Plays != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAPlanBoundsMachinesAndTheAuthorIsTold(t *testing.T) {
	l, ann := onPlan(t, control.Budget{MachineCPUs: 2, MachineMemoryMiB: 1024})
	req := hello("debian-12")
	req.Machines[0].Resources = &api.Resources{CPUCount: 8, RAMSize: "2GiB"}
	p, err := l.Start(t.Context(), ann, req)
	if err != nil || p.Machines[0].Resources.CPUCount != 2 || p.Machines[0].Resources.RAMSize != "1GiB" || len(p.Notes) != 2 {
		t.Errorf("%v: %+v %q", err, p.Machines, p.Notes)
	}
	if p, err = l.Start(t.Context(), admin, req); err != nil || p.Machines[0].Resources.CPUCount != 8 {
		t.Errorf("the administrator's: %v, %+v", err, p.Machines)
	}
}

func TestTheTimeOfAPlay(t *testing.T) {
	l, ann := onPlan(t, control.Budget{PlayTime: time.Hour, LongestPlayTime: 2 * time.Hour})
	ctx := t.Context()
	asked := func(want ...string) {
		t.Helper()
		if err := l.Expire(ctx); err != nil {
			t.Error(err)
		}
		if len(l.bender.asked) != len(want) {
			t.Fatalf("at %s: asked %q, want %q", l.clock, l.bender.asked, want)
		}
		for i := range want {
			if !strings.HasPrefix(l.bender.asked[i], want[i]) {
				t.Errorf("asked %q, want %q", l.bender.asked, want)
			}
		}
		l.bender.asked = nil
	}
	id := l.begin(t, ann)
	p, err := l.Get(ctx, ann, id)
	if err != nil || p.MaxPlayTime != "1h0m0s" || p.ExpiresIn != time.Hour.Milliseconds() {
		t.Errorf("%v: %s, %d", err, p.MaxPlayTime, p.ExpiresIn)
	}
	if _, err := l.SetMaxPlayTime(ctx, ann, id, 3*time.Hour); kind(err) != api.Invalid || !strings.Contains(err.Error(), `your plan "small" allows 2h0m0s from its start`) {
		t.Errorf("beyond the plan: %v", err)
	}
	l.clock = now.Add(56 * time.Minute)
	asked("announce its time is up at 04:04 UTC: it is destroyed then")
	asked()
	if _, err := l.MakePersistent(ctx, ann, id); err != nil {
		t.Fatal(err)
	}
	if p, err = l.SetMaxPlayTime(ctx, ann, id, 2*time.Hour); err != nil || p.ExpiresIn != (64*time.Minute).Milliseconds() {
		t.Errorf("extended: %v, %d", err, p.ExpiresIn)
	}
	asked("announce it runs until 05:04 UTC now")
	l.clock = now.Add(116 * time.Minute)
	asked("announce its time is up at 05:04 UTC: it is stopped then, and keeps its disks")
	l.clock = now.Add(2 * time.Hour)
	asked("stop")
	l.goal(id, bender.GoalStopped, play.Stopped)
	if p, err = l.Get(ctx, ann, id); err != nil || p.ExpiresIn != 0 || !p.Persistent {
		t.Errorf("stopped: %v, %+v", err, p)
	}
	l.clock = now.Add(100 * time.Hour)
	asked()
	// Its time begins anew, and the plan allows no more than before.
	if p, err = l.Restart(ctx, ann, id); err != nil || p.ExpiresIn != (2*time.Hour).Milliseconds() {
		t.Errorf("restarted: %v, %d", err, p.ExpiresIn)
	}
	l.goal(id, bender.GoalRunning, play.Running)
	// A restart of what runs gives it no more time.
	l.clock = l.clock.Add(time.Hour)
	if p, err = l.Restart(ctx, ann, id); err != nil || p.ExpiresIn != time.Hour.Milliseconds() {
		t.Errorf("restarted while it ran: %v, %d", err, p.ExpiresIn)
	}
}

// What was written before a kill, or happened while no labd ran, is put right.
func TestRecoverAgreesWithBender(t *testing.T) {
	l, ann := onPlan(t, control.Budget{PlayTime: time.Hour})
	ctx := t.Context()
	gone, stopped, over, runs := l.begin(t, ann), l.begin(t, ann), l.begin(t, ann), l.begin(t, ann)
	delete(l.bender.plays, gone) // killed before bender knew
	l.goal(stopped, bender.GoalStopped, play.Stopped)
	l.goal(over, bender.GoalRunning, play.Running)
	l.goal(runs, bender.GoalRunning, play.Running)
	// A stop that was recorded and never reached bender.
	if _, err := l.store.ChangePlay(ctx, runs, store.Limits{}, func(p *store.Play) { p.Goal, p.EndsAt = store.GoalStopped, time.Time{} }); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.ChangePlay(ctx, runs, store.Limits{}, func(p *store.Play) { p.StartedAt = now.Add(30 * time.Minute) }); err != nil {
		t.Fatal(err)
	}
	l.clock = now.Add(61 * time.Minute)
	l.bender.asked = nil
	for range 2 {
		if err := l.Recover(ctx); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(l.bender.asked, " "); got != "destroy" {
			t.Errorf("asked %q", got)
		}
		for id, want := range map[play.ID]string{gone: store.GoalEnded, stopped: store.GoalStopped, over: store.GoalEnded, runs: store.GoalRunning} {
			if row, err := l.store.Play(ctx, id); err != nil || row.Goal != want {
				t.Errorf("%q, want %q, %v", row.Goal, want, err)
			}
		}
		l.goal(over, bender.GoalDestroyed, play.Destroying)
	}
	if row, err := l.store.Play(ctx, runs); err != nil || !row.EndsAt.Equal(now.Add(90*time.Minute)) {
		t.Errorf("what runs ends at %s, %v", row.EndsAt, err)
	}
}

// A list shows each change, and its encoding is that of the whole play.
func TestListsAreUpToDate(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	list := func(persistent bool, page api.Page) (out []api.Play) {
		t.Helper()
		plays, err := l.List(ctx, admin, persistent, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, parts := range plays {
			var p api.Play
			if err := json.Unmarshal([]byte(fmt.Sprintf("%s%s%s", parts.Head, parts.ExpiresIn, string(parts.Middle)+parts.ID+string(parts.Tail))), &p); err != nil {
				t.Fatal(err)
			}
			if p.PageURL != p.ID {
				t.Errorf("the gap for the address of the play's page is elsewhere: %s", parts.Middle)
			}
			out = append(out, p)
		}
		return out
	}
	var ids []play.ID
	for range 3 {
		l.clock = l.clock.Add(time.Second)
		ids = append(ids, l.begin(t, admin))
	}
	for i, p := range list(false, api.Page{}) {
		whole, err := l.Get(ctx, admin, ids[2-i])
		if err != nil || p.ID != whole.ID || p.State() != whole.State() || p.Machines[0].Name != "hello" || p.Machines[0].DefaultUser() != "laborant" || p.Playground.Name != "flexbox" {
			t.Errorf("%v: listed\n%+v, is\n%+v", err, p, whole)
		}
	}
	if page := list(false, api.Page{Limit: 1, Offset: 1}); len(page) != 1 || page[0].ID != string(ids[1]) {
		t.Errorf("the second page: %+v", page)
	}
	hostile := `","expiresIn":0,"x":"`
	if _, err := l.SetTitle(ctx, admin, ids[0], hostile); err != nil {
		t.Fatal(err)
	}
	if _, err := l.SetMaxPlayTime(ctx, admin, ids[0], time.Hour); err != nil {
		t.Fatal(err)
	}
	l.goal(ids[1], bender.GoalRunning, play.Running)
	for _, later := range []time.Duration{0, time.Minute} {
		l.clock = now.Add(time.Second + later)
		all := list(false, api.Page{})
		if p := all[2]; p.Title != hostile || p.ExpiresIn != (time.Hour-later).Milliseconds() {
			t.Errorf("after %s: %q, %d", later, p.Title, p.ExpiresIn)
		}
		if all[1].State() != "RUNNING" {
			t.Errorf("a change of state is not listed: %+v", all[1])
		}
	}
	if _, err := l.Destroy(ctx, admin, ids[0]); err != nil {
		t.Fatal(err)
	}
	if got := len(list(true, api.Page{})); got != 2 {
		t.Errorf("%d are kept", got)
	}
}
