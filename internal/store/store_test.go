package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/step"
	"sandlot/internal/store"
)

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestWhatIsWrittenIsReadAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	ctx := t.Context()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	user := store.User{ID: "u1", Name: "admin", CreatedAt: now}
	session := store.Session{ID: "s1", UserID: "u1", TokenHash: "ab", CreatedAt: now}
	play := store.Play{ID: "0123456789abcdef01234567", Owner: "u1", Playground: "flexbox", Title: "T",
		Manifest: []byte(`{}`), MaxPlayMinutes: 60, CreatedAt: now, UpdatedAt: now.Add(time.Second)}
	record := store.BenderPlay{ID: play.ID, Goal: "running", Record: []byte(`{"a":1}`)}
	journal := s.Journal(play.ID)
	for _, err := range []error{
		s.PutUser(ctx, user), s.PutSession(ctx, session), s.PutPlay(ctx, play), s.PutBenderPlay(ctx, record),
		journal.Record(ctx, "network", step.Doing), journal.Record(ctx, "network", step.Done),
		journal.Record(ctx, "boot/a", step.Doing), journal.Record(ctx, "boot/a", ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{path, path + "-wal"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; it holds keys", file, info.Mode(), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, path)
	gotUser, err1 := s.UserByName(ctx, "admin")
	gotSession, err2 := s.Session(ctx, "s1")
	gotPlay, err3 := s.Play(ctx, play.ID)
	gotRecords, err4 := s.BenderPlays(ctx)
	gotSteps, err5 := s.Journal(play.ID).States(ctx)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{
		cmp.Diff(user, gotUser), cmp.Diff(session, gotSession), cmp.Diff(play, gotPlay),
		cmp.Diff([]store.BenderPlay{record}, gotRecords),
		cmp.Diff(map[string]step.State{"network": step.Done}, gotSteps),
	} {
		if d != "" {
			t.Error(d)
		}
	}
	if err := s.DeleteBenderPlay(ctx, play.ID); err != nil {
		t.Fatal(err)
	}
	if states, err := s.Journal(play.ID).States(ctx); err != nil || len(states) != 0 {
		t.Errorf("steps outlived their play: %v %v", states, err)
	}
}

func TestAMissingRowIsErrNotFound(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	if _, err := s.Play(t.Context(), "000000000000000000000000"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := s.DeletePlay(t.Context(), "000000000000000000000000"); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
}
