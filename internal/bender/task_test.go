package bender_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/guest/wire"
	"sandlot/internal/bender"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/step"
	"sandlot/internal/vm"
)

// guestTasks are the tasks inside the machines: what an agent keeps of them
// in one boot. A script of the tests is a JSON result, or "hang", which ends
// when the test says so.
type guestTasks struct {
	mu      sync.Mutex
	begun   map[string]chan struct{} // by boot and name; closed at the end
	started []string                 // in order, by machine and name
	asked   chan string              // gets the name of each task that hangs
}

// Task is the fake of an agent that runs a task once in a boot.
func (a *agent) Task(ctx context.Context, t wire.Task, script string, wrote func(stdout, stderr []byte, total int64)) (wire.TaskResult, error) {
	a.mu.Lock()
	name, lost := a.name, a.lost
	a.mu.Unlock()
	guest := a.host.vms.Guest(name)
	if guest == nil {
		return wire.TaskResult{}, vm.ErrNotRunning
	}
	if guest.BootID() != t.Boot {
		return wire.TaskResult{Rebooted: true, Code: -1}, nil
	}
	var end chan struct{}
	err := a.host.effect("task", func() error { end = a.host.guests.begin(name, t, script); return nil })
	if err != nil {
		return wire.TaskResult{}, err
	}
	if script == "hang" {
		wrote([]byte("begun\n"), []byte{0xff}, 7)
	}
	select {
	case <-end:
	case <-ctx.Done():
		return wire.TaskResult{}, ctx.Err()
	case <-lost:
		return wire.TaskResult{}, errors.New("lost")
	}
	var r wire.TaskResult
	if script != "hang" {
		err = json.Unmarshal([]byte(script), &r)
	}
	return r, errors.Join(err, a.host.effect("result", func() error { return nil }))
}

func (g *guestTasks) begin(machine string, t wire.Task, script string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.begun == nil {
		g.begun = map[string]chan struct{}{}
	}
	key := t.Boot + "/" + t.Name
	if end, ok := g.begun[key]; ok {
		return end
	}
	end := make(chan struct{})
	g.begun[key] = end
	g.started = append(g.started, machine[len(machine)-2:]+"/"+t.Name)
	if script != "hang" {
		close(end)
	} else {
		g.asked <- t.Name
	}
	return end
}

// finish ends tasks that hang, in whatever boot.
func (g *guestTasks) finish(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, end := range g.begun {
		if strings.HasSuffix(key, "/"+name) {
			close(end)
		}
	}
}

func (g *guestTasks) order() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.started)
}

func (r records) Tasks(id play.ID) bender.TaskRecords { return taskRecords{r.host, id} }

type taskRecords struct {
	*host
	id play.ID
}

func (r taskRecords) All(context.Context) ([]play.TaskStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.tasks[r.id])), nil
}

func (r taskRecords) Put(_ context.Context, s play.TaskStatus) error {
	return r.effect("task record", func() error {
		if r.tasks[r.id] == nil {
			r.tasks[r.id] = map[string]play.TaskStatus{}
		}
		r.tasks[r.id][s.Name] = s
		return nil
	})
}

const ok = `{"stdout": "b3V0", "stderr": "/2U="}` // "out" and a broken "e"

// task is "name machine script needs…".
func tasks(lines ...string) plan.Plan {
	p := labPlan()
	for _, line := range lines {
		f := strings.Fields(line)
		t := plan.Task{Name: f[0], Machine: f[1], User: "root", Run: f[2], Needs: f[3:], Init: true, TimeoutSeconds: 60, TimeoutIsDefault: true}
		if t.Run == "ok" {
			t.Run = ok
		}
		p.Tasks = append(p.Tasks, t)
	}
	return p
}

func (h *host) startTasks(t *testing.T, runner step.Runner, lines ...string) *labd {
	t.Helper()
	h.guests.asked = make(chan string, 100)
	l := h.start(t, runner)
	if err := l.Start(t.Context(), tasks(lines...), secrets()); err != nil {
		t.Fatal(err)
	}
	return l
}

// are tells whether the tasks stand so, in the plan's order.
func are(states ...play.TaskState) func(bender.Record) bool {
	return func(r bender.Record) bool {
		return slices.EqualFunc(r.Tasks, states, func(s play.TaskStatus, want play.TaskState) bool { return s.State == want })
	}
}

func (l *labd) destroyed(t *testing.T, h *host) {
	t.Helper()
	if err := l.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Destroyed))
	h.empty(t)
}

const (
	blocked   = play.TaskBlocked
	created   = play.TaskCreated
	running   = play.TaskRunning
	completed = play.TaskCompleted
	failed    = play.TaskFailed
)

// The graph runs over all machines, in parallel where it allows.
func TestTasksFollowTheirNeeds(t *testing.T) {
	h := newHost(t)
	l := h.startTasks(t, step.Runner{}, "a one hang", "b two hang", "c two ok a", "d one ok b c")
	got := []string{<-h.guests.asked, <-h.guests.asked} // together: each waits for the test
	slices.Sort(got)
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("at first run %v", got)
	}
	reach(t, l, func(r bender.Record) bool {
		return are(running, running, blocked, blocked)(r) && r.Tasks[0].Written == 7 && r.Tasks[2].Written == 0
	})
	if all, err := l.Tasks(t.Context(), id); err != nil || all[0].Stdout != "begun\n" || all[0].Stderr != "\uFFFD" || all[2].Stdout != "" {
		t.Errorf("%v, while they run: %+v", err, all)
	}
	h.guests.finish("a")
	reach(t, l, are(completed, running, completed, blocked))
	h.guests.finish("b")
	reach(t, l, are(completed, completed, completed, completed))
	order := h.guests.order()
	slices.Sort(order[:2])
	if diff := cmp.Diff([]string{"m0/a", "m1/b", "m1/c", "m0/d"}, order); diff != "" {
		t.Error(diff)
	}
	all, err := l.Tasks(t.Context(), id)
	if err != nil || all[0].Stdout != "" || all[0].Written != 0 || all[2].Stdout != "out" || all[2].Stderr != "\uFFFDe" || all[2].StartedAt.IsZero() {
		t.Errorf("%v, %+v", err, all)
	}
	// Neither a restart nor another labd runs them again.
	if err := l.Restart(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, func(r bender.Record) bool {
		return r.State() == play.Running && h.vms.Starts(string(id)+"-m0") == 2
	})
	h.kill(l)
	l = h.start(t, step.Runner{})
	reach(t, l, state(play.Running))
	if again := h.guests.order(); len(again) != 4 {
		t.Errorf("ran %v", again)
	}
	l.destroyed(t, h)
}

// A machine that comes up late keeps only its own tasks waiting.
func TestTasksStartWithTheirMachine(t *testing.T) {
	h := newHost(t)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	l := h.startTasks(t, step.Runner{Hook: func(p step.Point, name string) {
		if p == step.BeforeDo && name == "boot/two" {
			<-gate
		}
	}}, "a one ok", "b two ok", "c one ok b")
	t.Cleanup(open) // else a labd whose test has failed never ends
	// It then leaves the processors to the other; in the end both are alike.
	weight := func(machine string) int { return h.vms.Guest(string(id) + "-" + machine).Weight() }
	r := reach(t, l, func(r bender.Record) bool { return are(completed, created, blocked)(r) && weight("m0") == 1 })
	if r.State() != play.Starting {
		t.Errorf("the play is %s", r.State())
	}
	open()
	reach(t, l, func(r bender.Record) bool {
		return are(completed, completed, completed)(r) && weight("m0") == 100 && weight("m1") == 100
	})
	l.destroyed(t, h)
}

func TestATaskThatFailsLeavesThePlay(t *testing.T) {
	h := newHost(t)
	p := tasks(`code one {"code":3,"stdout":"b3V0"}`, "after two ok code", "other two ok",
		`killed one {"code":137}`, `late one {"code":143,"timedOut":true}`, `own one {"code":143,"timedOut":true}`,
		`refused one {"code":-1,"error":"no-bash"}`)
	p.Tasks[5].TimeoutSeconds, p.Tasks[5].TimeoutIsDefault = 90, false
	h.guests.asked = make(chan string, 100)
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), p, secrets()); err != nil {
		t.Fatal(err)
	}
	r := reach(t, l, func(r bender.Record) bool {
		return r.State() == play.Running && are(failed, blocked, completed, failed, failed, failed, failed)(r)
	})
	want := []string{
		"exit code 3", "", "", "exit code 137: killed by signal 9",
		"timed out after 60 s (the default; set timeout_seconds)", "timed out after 90 s (its timeout_seconds)",
		"cannot run: no-bash",
	}
	for j, s := range r.Tasks {
		if s.Message != want[j] {
			t.Errorf("task %s: %q, want %q", s.Name, s.Message, want[j])
		}
	}
	if r.Tasks[0].ExitCode != 3 || r.Machines[0].State != play.MachineRunning {
		t.Errorf("%+v", r)
	}
	l.destroyed(t, h)
}

// A task does not survive its machine's boot; what has not begun runs later.
func TestTasksEndWithTheBoot(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, h *host, l *labd)
		want string
	}{
		"reboot": {func(t *testing.T, h *host, _ *labd) { h.vms.Guest(string(id) + "-m0").Reboot() }, "rebooted"},
		"crash":  {func(t *testing.T, h *host, _ *labd) { h.vms.Guest(string(id) + "-m0").Crash("x") }, "stopped"},
		"machine restart": {func(t *testing.T, h *host, l *labd) {
			if err := l.RestartMachine(t.Context(), id, "one"); err != nil {
				t.Fatal(err)
			}
		}, "stopped"},
		"stop and restart": {func(t *testing.T, h *host, l *labd) {
			if err := l.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			reach(t, l, state(play.Stopped))
			if err := l.Restart(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			reach(t, l, state(play.Running))
		}, "stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			l := h.startTasks(t, step.Runner{}, "a one hang", "b two ok a")
			<-h.guests.asked
			reach(t, l, state(play.Running))
			c.end(t, h, l)
			r := reach(t, l, are(failed, blocked))
			if m := r.Tasks[0].Message; !strings.Contains(m, `machine "one"`) || !strings.Contains(m, c.want) {
				t.Errorf("message %q", m)
			}
			l.destroyed(t, h)
		})
	}
}

// TestTasksKilledAnywhere kills labd at every point of a task; the next labd
// ends it, and nothing runs twice.
func TestTasksKilledAnywhere(t *testing.T) {
	for _, point := range []step.Point{step.BeforeDo, step.AfterDo} {
		for _, name := range []string{"a", "b", "c"} {
			t.Run(fmt.Sprintf("%s %s", point, name), func(t *testing.T) {
				h := newHost(t)
				reached := make(chan struct{})
				var once sync.Once
				l := h.startTasks(t, step.Runner{Hook: func(p step.Point, n string) {
					if p == point && n == "task/"+name {
						h.die()
						once.Do(func() { close(reached) })
					}
				}}, "a one ok", "b two ok a", "c one ok b")
				<-reached
				h.kill(l)
				l = h.start(t, step.Runner{})
				reach(t, l, are(completed, completed, completed))
				if diff := cmp.Diff([]string{"m0/a", "m1/b", "m0/c"}, h.guests.order()); diff != "" {
					t.Errorf("ran (-want +got):\n%s", diff)
				}
				l.destroyed(t, h)
			})
		}
	}
}

// While labd is away, a task goes on; or its machine reboots or ends, and with
// it the task.
func TestTasksWhileLabdIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(h *host)
		want      play.TaskState
	}{
		"nothing":  {func(h *host) {}, running},
		"it ends":  {func(h *host) { h.guests.finish("a") }, completed},
		"reboot":   {func(h *host) { h.vms.Guest(string(id) + "-m0").Reboot() }, failed},
		"poweroff": {func(h *host) { h.vms.Guest(string(id) + "-m0").Poweroff() }, failed},
		"crash":    {func(h *host) { h.vms.Guest(string(id) + "-m0").Crash("x") }, failed},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			l := h.startTasks(t, step.Runner{}, "a one hang", "b two ok a")
			<-h.guests.asked
			reach(t, l, state(play.Running))
			h.kill(l)
			c.meanwhile(h)
			l = h.start(t, step.Runner{})
			reach(t, l, func(r bender.Record) bool { return r.Tasks[0].State == c.want })
			if c.want == running {
				h.guests.finish("a")
				reach(t, l, are(completed, completed))
			}
			if n := strings.Count(strings.Join(h.guests.order(), " "), "m0/a"); n != 1 {
				t.Errorf("the task was begun %d times", n)
			}
			l.destroyed(t, h)
		})
	}
}

// The host's own restart ends what ran.
func TestTasksEndWithTheHost(t *testing.T) {
	h := newHost(t)
	l := h.startTasks(t, step.Runner{}, "a one hang", "b two ok")
	<-h.guests.asked
	reach(t, l, are(running, completed))
	h.kill(l)
	for _, m := range []string{"-m0", "-m1"} {
		h.vms.Guest(string(id) + m).Crash("the host is gone")
	}
	l = h.startIn(t, "boot-2", step.Runner{})
	r := reach(t, l, are(failed, completed))
	if m := r.Tasks[0].Message; !strings.Contains(m, "with the host") {
		t.Errorf("message %q", m)
	}
	l.destroyed(t, h)
}

// A store that fails for a moment neither loses nor repeats a task.
func TestTasksOutlastAStoreThatFails(t *testing.T) {
	h := newHost(t)
	h.guests.asked = make(chan string, 1)
	h.refuse["task record"] = errors.New("the disk is full")
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), tasks("a one hang"), secrets()); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	if got := h.guests.order(); len(got) != 0 {
		t.Errorf("ran unrecorded: %v", got)
	}
	h.mu.Lock()
	delete(h.refuse, "task record")
	h.mu.Unlock()
	<-h.guests.asked
	h.guests.finish("a")
	reach(t, l, are(completed))
	l.destroyed(t, h)
}

// What had not begun when a play was stopped runs after its restart.
func TestTasksThatHaveNotBegunRunLater(t *testing.T) {
	h := newHost(t)
	h.refuse["task record"] = errors.New("not yet")
	l := h.startTasks(t, step.Runner{}, "a one ok", "b two ok a")
	reach(t, l, state(play.Running))
	if err := l.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Stopped))
	h.mu.Lock()
	delete(h.refuse, "task record")
	h.mu.Unlock()
	if err := l.Restart(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, are(completed, completed))
	l.destroyed(t, h)
}
