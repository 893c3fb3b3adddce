package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sandlot/internal/play"
	"sandlot/internal/store"
)

// What is counted and what is added is one transaction: no number of writers
// at once exceeds a limit, whoever they are.
func TestLimitsHoldForManyAtOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, id := range []string{"ann", "bob"} {
		if err := s.AddUser(t.Context(), store.User{ID: id, Name: id, CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
	}
	id := func(i int) play.ID { return play.ID(fmt.Sprintf("%024x", i)) }
	row := func(i int, owner, goal string) store.Play {
		return store.Play{ID: id(i), Owner: owner, Goal: goal, DiskBytes: 10, CreatedAt: now, UpdatedAt: now}
	}
	for i := range 10 {
		if err := s.AddPlay(t.Context(), row(i, "ann", store.GoalStopped), store.Limits{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	done, refused := map[string]int{}, map[string]int{}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			var err error
			owner := "ann"
			switch {
			case i < 10:
				_, err = s.ChangePlay(t.Context(), id(i), store.Limits{Plays: 7}, func(p *store.Play) { p.Goal = store.GoalRunning })
			case i < 60:
				err = s.AddPlay(t.Context(), row(100+i, owner, store.GoalRunning), store.Limits{Plays: 7}, nil)
			default:
				owner = "bob"
				err = s.AddPlay(t.Context(), row(100+i, owner, store.GoalRunning), store.Limits{PoolBytes: 35}, nil)
			}
			mu.Lock()
			defer mu.Unlock()
			var over *store.OverLimit
			switch {
			case err == nil:
				done[owner]++
			case errors.As(err, &over):
				refused[owner+" "+over.What]++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done["ann"] != 7 || done["bob"] != 3 || refused["ann plays"] != 53 || refused["bob pool space"] != 37 {
		t.Errorf("done %v, refused %v", done, refused)
	}
	// Less is always fine, also over a limit that was lowered.
	tight := store.Limits{Plays: 1, StoredPlays: 1, PoolBytes: 1}
	for _, p := range must(s.PlaysOf(t.Context(), "ann", now, 0, 0))(t) {
		if _, err := s.ChangePlay(t.Context(), p.ID, tight, func(p *store.Play) { p.Title = "x" }); err != nil {
			t.Error(err)
		}
		if _, err := s.ChangePlay(t.Context(), p.ID, tight, func(p *store.Play) { p.Goal = store.GoalEnded }); err != nil {
			t.Error(err)
		}
	}
	if u, err := s.UseOf(t.Context(), "ann"); err != nil || u != (store.Usage{}) {
		t.Errorf("left %+v, %v", u, err)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A drive is taken when nobody holds it, and cannot be held once it is taken.
func TestSavedDrivesAreHeld(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	ctx := t.Context()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if err := s.AddUser(ctx, store.User{ID: "ann", Name: "ann", CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddSavedDrives(ctx, []store.SavedDrive{{ID: "d", Owner: "ann", Bytes: 5, CreatedAt: now}}, store.Limits{PoolBytes: 5}); err != nil {
		t.Fatal(err)
	}
	var over *store.OverLimit
	if err := s.AddSavedDrives(ctx, []store.SavedDrive{{ID: "e", Owner: "ann", Bytes: 1, CreatedAt: now}}, store.Limits{PoolBytes: 5}); !errors.As(err, &over) || over.Have != 5 {
		t.Errorf("beyond the limit: %v", err)
	}
	taken := func(unfinished bool) int { return len(must(s.TakeUnheld(ctx, unfinished))(t)) }
	if taken(false) != 0 {
		t.Error("one that is being made was taken")
	}
	for _, name := range []string{"a", "b"} {
		if err := s.AddPlayground(ctx, store.Playground{Name: name, Owner: "ann", CreatedAt: now}, store.Limits{}, []string{"d"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeletePlayground(ctx, "a"); err != nil || taken(true) != 0 {
		t.Errorf("one that b holds was taken, %v", err)
	}
	if err := s.ChangePlayground(ctx, store.Playground{Name: "b"}, nil); err != nil || taken(false) != 1 {
		t.Errorf("one that nobody names any more was not taken, %v", err)
	}
	p := store.Play{ID: play.ID("000000000000000000000001"), Owner: "ann", Goal: store.GoalRunning, CreatedAt: now, UpdatedAt: now}
	if err := s.AddPlay(ctx, p, store.Limits{}, []string{"d"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one that is being removed was held: %v", err)
	}
	if _, err := s.Play(ctx, p.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of it was written: %v", err)
	}
	if err := s.DeleteSavedDrive(ctx, "d"); err != nil || len(must(s.SavedDrives(ctx))(t)) != 0 {
		t.Errorf("left, %v", err)
	}
}
