package step_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"sandlot/internal/step"
)

// memory is a journal that survives a simulated crash.
type memory struct {
	mu     sync.Mutex
	dead   bool
	states map[string]step.State
}

func (m *memory) States(context.Context) (map[string]step.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.states), nil
}

func (m *memory) Record(_ context.Context, name string, s step.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDead
	}
	if m.states == nil {
		m.states = make(map[string]step.State)
	}
	if s == "" {
		delete(m.states, name)
	} else {
		m.states[name] = s
	}
	return nil
}

// world is the host: the effects that exist, and the order they came in.
type world struct {
	mu    sync.Mutex
	dead  bool
	made  map[string]bool
	trace []string
}

var errDead = errors.New("the process is dead")

// die stands for SIGKILL: from here on nothing has an effect, on the host or
// in the journal.
func (w *world) die(j *memory) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	w.dead, j.dead = true, true
}

// revive is the next process on the same host; false if none died.
func (w *world) revive(j *memory) bool {
	was := w.dead
	w.dead, j.dead = false, false
	return was
}

func (w *world) step(name string, needs ...string) step.Step {
	return step.Step{
		Name: name, Needs: needs,
		Do: func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.dead {
				return errDead
			}
			for _, n := range needs {
				if !w.made[n] {
					return fmt.Errorf("%s before its need %s", name, n)
				}
			}
			w.made[name] = true
			w.trace = append(w.trace, "+"+name)
			return nil
		},
		Undo: func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.dead {
				return errDead
			}
			delete(w.made, name)
			w.trace = append(w.trace, "-"+name)
			return nil
		},
	}
}

func diamond(w *world) []step.Step {
	return []step.Step{w.step("d", "b", "c"), w.step("b", "a"), w.step("c", "a"), w.step("a")}
}

func TestRunAndUndoKeepTheOrder(t *testing.T) {
	w, j := &world{made: map[string]bool{}}, &memory{}
	if err := (step.Runner{}).Run(t.Context(), diamond(w), j); err != nil {
		t.Fatal(err)
	}
	if w.trace[0] != "+a" || w.trace[3] != "+d" {
		t.Errorf("order %v", w.trace)
	}
	w.trace = nil
	if err := (step.Runner{}).Undo(t.Context(), diamond(w), j); err != nil {
		t.Fatal(err)
	}
	if w.trace[0] != "-d" || w.trace[3] != "-a" {
		t.Errorf("undo order %v", w.trace)
	}
	if len(w.made)+len(j.states) != 0 {
		t.Errorf("left over: %v %v", w.made, j.states)
	}
}

func TestFailureCancelsTheRestAndNamesTheStep(t *testing.T) {
	w, j := &world{made: map[string]bool{}}, &memory{}
	boom := errors.New("boom")
	started, cancelled := make(chan struct{}), make(chan struct{})
	steps := []step.Step{
		w.step("a"),
		{Name: "fails", Needs: []string{"a"}, Do: func(context.Context) error { <-started; return boom }},
		{Name: "slow", Needs: []string{"a"}, Do: func(ctx context.Context) error {
			close(started)
			<-ctx.Done()
			close(cancelled)
			return ctx.Err()
		}},
		w.step("after", "fails"),
	}
	err := (step.Runner{}).Run(t.Context(), steps, j)
	var failed *step.Error
	if !errors.As(err, &failed) || failed.Step != "fails" || !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	<-cancelled
	if w.made["after"] {
		t.Error("a step ran although its need failed")
	}
}

func TestUndoGoesOnPastFailuresAndKeepsWhatFailed(t *testing.T) {
	w, j := &world{made: map[string]bool{}}, &memory{}
	steps := diamond(w)
	fail := true
	undo := steps[1].Undo
	steps[1].Undo = func(ctx context.Context) error {
		if fail {
			return errors.New("device busy")
		}
		return undo(ctx)
	}
	if err := (step.Runner{}).Run(t.Context(), steps, j); err != nil {
		t.Fatal(err)
	}
	err := (step.Runner{}).Undo(t.Context(), steps, j)
	if err == nil || !strings.Contains(err.Error(), "device busy") {
		t.Fatalf("got %v", err)
	}
	if got := slices.Sorted(maps.Keys(j.states)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("journal holds %v, want a (needed by b) and b", got)
	}
	fail = false
	if err := (step.Runner{}).Undo(t.Context(), steps, j); err != nil || len(w.made) != 0 {
		t.Errorf("second undo: %v, left %v", err, w.made)
	}
}

func TestCheckNamesEveryMistake(t *testing.T) {
	err := step.Check([]step.Step{
		{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}},
		{Name: "c"}, {Name: "c"},
	})
	for _, want := range []string{
		`two steps are named "c"`, "steps need each other: a → b → a",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	err = step.Check([]step.Step{{Name: "c", Needs: []string{"nowhere"}}})
	if err == nil || err.Error() != `step "c" needs "nowhere", which does not exist` {
		t.Fatalf("got %v", err)
	}
}

// TestCrashAnywhere kills a run at every point of every step of random graphs,
// and then shows that both ways out work: running on reaches the goal, and
// undoing leaves nothing.
func TestCrashAnywhere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		size := 1 + random.IntN(6)
		names := make([]string, size)
		needs := make([][]string, size)
		for i := range size {
			names[i] = fmt.Sprint("s", i)
			for j := range i {
				if random.IntN(2) == 0 {
					needs[i] = append(needs[i], names[j])
				}
			}
		}
		build := func(w *world) []step.Step {
			var steps []step.Step
			for i, n := range names {
				steps = append(steps, w.step(n, needs[i]...))
			}
			return steps
		}
		for _, name := range names {
			for _, point := range []step.Point{step.BeforeDo, step.AfterDo, step.BeforeUndo, step.AfterUndo} {
				w, j := &world{made: map[string]bool{}}, &memory{}
				dying := step.Runner{Hook: func(p step.Point, n string) {
					if p == point && n == name {
						w.die(j)
					}
				}}
				_ = dying.Run(t.Context(), build(w), j)
				_ = dying.Undo(t.Context(), build(w), j)
				if !w.revive(j) {
					t.Fatalf("%s of %s was never reached", point, name)
				}
				if err := (step.Runner{}).Run(t.Context(), build(w), j); err != nil {
					t.Fatalf("%s %s: run on: %v", point, name, err)
				}
				if len(w.made) != size {
					t.Fatalf("%s %s: made %v of %d", point, name, w.made, size)
				}
				if err := (step.Runner{}).Undo(t.Context(), build(w), j); err != nil {
					t.Fatal(err)
				}
				if len(w.made)+len(j.states) != 0 {
					t.Fatalf("%s %s: left over %v %v", point, name, w.made, j.states)
				}
			}
		}
	}
}
