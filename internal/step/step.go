// Package step runs steps that depend on each other. In go steps, each with a
// Do and an Undo that may both be repeated, and a journal; out comes either
// every step done, or an error naming the step that failed. It knows no VMs
// and has no effects of its own.
//
// A step's state is written to the journal before its effect, so that after a
// crash at any point the journal names everything that may exist:
//
//	(none) ──▶ doing ──▶ done ──▶ undoing ──▶ (none)
//	             └─────────────────▶┘
//
// After a crash Run does again what is "doing" and skips what is "done";
// Undo takes back everything the journal names, in reverse order.
package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// State is what the journal knows of a step.
type State string

const (
	Doing   State = "doing"
	Done    State = "done"
	Undoing State = "undoing"
)

// Step is one effect, or one thing to wait for.
type Step struct {
	// Name is unique among the steps of one graph and stable over versions:
	// journals name it.
	Name string
	// Needs are names of steps that must be done first.
	Needs []string
	// Do makes the effect; it succeeds if the effect is already there.
	Do func(ctx context.Context) error
	// Undo removes it; it succeeds if there is nothing to remove. Nil for
	// steps that leave nothing behind: these are not recorded, and done again
	// on every Run.
	Undo func(ctx context.Context) error
}

// Journal keeps the states of one graph's steps. Record must be durable when
// it returns; an empty state forgets the step.
type Journal interface {
	States(ctx context.Context) (map[string]State, error)
	Record(ctx context.Context, name string, state State) error
}

// Point is a place in a step's life where a Runner calls its Hook.
type Point string

const (
	BeforeDo   Point = "before-do"   // recorded, not yet done
	AfterDo    Point = "after-do"    // done, not yet recorded as such
	BeforeUndo Point = "before-undo" // recorded, not yet undone
	AfterUndo  Point = "after-undo"  // undone, not yet forgotten
)

// Runner carries graphs out. The zero value works.
type Runner struct {
	// Hook, if set, is called at every Point of every step; tests kill the
	// process there.
	Hook func(p Point, step string)
}

func (r Runner) hook(p Point, name string) {
	if r.Hook != nil {
		r.Hook(p, name)
	}
}

// Check returns an error that names every unknown need, duplicate name and
// cycle of a graph.
func Check(steps []Step) error {
	_, err := order(steps, true)
	return err
}

// order returns the steps so that needs come first. A whole graph has every
// step that one of its steps needs.
func order(steps []Step, whole bool) ([]Step, error) {
	byName := make(map[string]Step, len(steps))
	var problems []error
	for _, s := range steps {
		if _, twice := byName[s.Name]; twice {
			problems = append(problems, fmt.Errorf("two steps are named %q", s.Name))
		}
		byName[s.Name] = s
	}
	var sorted []Step
	const visiting, visited = 1, 2
	mark := make(map[string]int, len(steps))
	var visit func(s Step, path []string)
	visit = func(s Step, path []string) {
		path = append(path, s.Name)
		switch mark[s.Name] {
		case visited:
			return
		case visiting:
			from := slices.Index(path, s.Name)
			problems = append(problems, fmt.Errorf("steps need each other: %s", strings.Join(path[from:], " → ")))
			return
		}
		mark[s.Name] = visiting
		for _, n := range s.Needs {
			need, ok := byName[n]
			if !ok && !whole {
				continue
			}
			if !ok {
				problems = append(problems, fmt.Errorf("step %q needs %q, which does not exist", s.Name, n))
				continue
			}
			visit(need, path)
		}
		mark[s.Name] = visited
		sorted = append(sorted, s)
	}
	for _, s := range steps {
		visit(s, nil)
	}
	return sorted, errors.Join(problems...)
}

// Run does every step that is not done, each as soon as its needs are. The
// first failure cancels the steps under way; Run waits for them and returns
// that failure. Nothing is undone.
func (r Runner) Run(ctx context.Context, steps []Step, journal Journal) error {
	sorted, err := order(steps, true)
	if err != nil {
		return err
	}
	states, err := journal.States(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(map[string]chan struct{}, len(sorted))
	for _, s := range sorted {
		finished[s.Name] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for _, s := range sorted {
		if s.Undo != nil && states[s.Name] == Done {
			close(finished[s.Name])
			continue
		}
		wg.Go(func() {
			for _, n := range s.Needs {
				select {
				case <-finished[n]:
				case <-ctx.Done():
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			if err := r.do(ctx, s, journal); err != nil {
				cancel(err)
				return
			}
			close(finished[s.Name])
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Error tells which step failed.
type Error struct {
	Step string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func (r Runner) do(ctx context.Context, s Step, journal Journal) error {
	if s.Undo != nil {
		if err := journal.Record(ctx, s.Name, Doing); err != nil {
			return err
		}
	}
	r.hook(BeforeDo, s.Name)
	if err := s.Do(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &Error{Step: s.Name, Err: err}
	}
	r.hook(AfterDo, s.Name)
	if s.Undo != nil {
		return journal.Record(ctx, s.Name, Done)
	}
	return nil
}

// Undo takes back every given step that the journal names, each after the
// steps that need it. It goes on past failures and returns them joined; what
// failed stays in the journal, so calling Undo again tries again. The steps may
// be a part of a graph.
func (r Runner) Undo(ctx context.Context, steps []Step, journal Journal) error {
	sorted, err := order(steps, false)
	if err != nil {
		return err
	}
	states, err := journal.States(ctx)
	if err != nil {
		return err
	}
	settled := make(map[string]chan struct{}, len(sorted))
	dependents := make(map[string][]string, len(sorted))
	for _, s := range sorted {
		settled[s.Name] = make(chan struct{})
		for _, n := range s.Needs {
			dependents[n] = append(dependents[n], s.Name)
		}
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		stuck = make(map[string]bool)
		errs  []error
	)
	for _, s := range sorted {
		wg.Go(func() {
			defer close(settled[s.Name])
			blocked := false
			for _, d := range dependents[s.Name] {
				<-settled[d]
				mu.Lock()
				blocked = blocked || stuck[d]
				mu.Unlock()
			}
			var err error
			if !blocked && s.Undo != nil && states[s.Name] != "" {
				err = r.undo(ctx, s, journal)
			}
			if blocked || err != nil {
				mu.Lock()
				defer mu.Unlock()
				stuck[s.Name] = true
				if err != nil {
					errs = append(errs, &Error{Step: s.Name, Err: err})
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r Runner) undo(ctx context.Context, s Step, journal Journal) error {
	if err := journal.Record(ctx, s.Name, Undoing); err != nil {
		return err
	}
	r.hook(BeforeUndo, s.Name)
	if err := s.Undo(ctx); err != nil {
		return err
	}
	r.hook(AfterUndo, s.Name)
	return journal.Record(ctx, s.Name, "")
}
