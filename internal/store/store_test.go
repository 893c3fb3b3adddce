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
	session := store.Session{ID: "s1", UserID: "u1", TokenHash: "ab", Kind: store.SessionCLI, CreatedAt: now}
	play := store.Play{ID: "0123456789abcdef01234567", Owner: "u1", Playground: "flexbox", Title: "T",
		Manifest: "{}", Summary: "[]", Goal: store.GoalRunning, Persistent: true, DiskBytes: 10 << 30,
		MaxPlayMinutes: 60, StartedAt: now, EndsAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now.Add(time.Second)}
	record := store.BenderPlay{ID: play.ID, Goal: "running", Record: []byte(`{"a":1}`)}
	journal := s.Journal(play.ID)
	for _, err := range []error{
		s.AddUser(ctx, user), s.PutSession(ctx, session), s.AddPlay(ctx, play, store.Limits{}, nil), s.PutBenderPlay(ctx, record),
		journal.Record(ctx, "network", step.Doing), journal.Record(ctx, "network", step.Done),
		journal.Record(ctx, "boot/a", step.Doing), journal.Record(ctx, "boot/a", ""),
		s.PutBenderTask(ctx, play.ID, "b", []byte("1")), s.PutBenderTask(ctx, play.ID, "a", []byte("2")),
		s.PutBenderTask(ctx, play.ID, "b", []byte("3")),
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
	gotTasks, err6 := s.BenderTasks(ctx, play.ID)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{
		cmp.Diff(user, gotUser), cmp.Diff(session, gotSession), cmp.Diff(play, gotPlay),
		cmp.Diff([]store.BenderPlay{record}, gotRecords), cmp.Diff([][]byte{[]byte("2"), []byte("3")}, gotTasks),
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
	if tasks, err := s.BenderTasks(ctx, play.ID); err != nil || len(tasks) != 0 {
		t.Errorf("tasks outlived their play: %v %v", tasks, err)
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

func TestPlaygrounds(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	ctx := t.Context()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, id := range []string{"u1", "u2"} {
		if err := s.AddUser(ctx, store.User{ID: id, Name: id, CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
	}
	a := store.Playground{Name: "a-01234567", Owner: "u1", Base: "flexbox", Manifest: []byte(`{"tabs":[]}`), CreatedAt: now, UpdatedAt: now}
	none := store.Limits{}
	if err := s.AddPlayground(ctx, a, none, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddPlayground(ctx, store.Playground{Name: a.Name, Owner: "u2"}, none, nil); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same name again: %v", err)
	}
	if err := s.AddPlayground(ctx, store.Playground{Name: "b", Owner: "nobody"}, none, nil); err == nil || errors.Is(err, store.ErrExists) {
		t.Errorf("an owner that does not exist: %v", err)
	}
	a.Manifest, a.Summary, a.UpdatedAt = []byte(`{}`), "s", now.Add(time.Hour)
	if err := s.ChangePlayground(ctx, a, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangePlayground(ctx, store.Playground{Name: "b"}, nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a change of nothing: %v", err)
	}
	got, err := s.Playground(ctx, a.Name)
	all, err2 := s.Playgrounds(ctx)
	listed := a
	listed.Manifest = nil
	if d := cmp.Diff(a, got) + cmp.Diff([]store.Playground{listed}, all); d != "" || err != nil || err2 != nil {
		t.Errorf("%v %v\n%s", err, err2, d)
	}
	for owner, want := range map[string]int{"u1": 1, "u2": 0} {
		if u, err := s.UseOf(ctx, owner); u.Playgrounds != want || err != nil {
			t.Errorf("%s has %d, %v", owner, u.Playgrounds, err)
		}
	}
	for i, u := range [][2]string{{a.Name, "u1"}, {"flexbox", "u1"}, {a.Name, "u2"}, {a.Name, "u1"}} {
		if err := s.RecordUse(ctx, u[0], u[1], now.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	recent, err := s.UsedBy(ctx, "u1")
	popular, err2 := s.MostUsed(ctx)
	want := []string{a.Name, "flexbox"}
	if d := cmp.Diff(want, recent) + cmp.Diff(want, popular); d != "" || err != nil || err2 != nil {
		t.Errorf("%v %v\n%s", err, err2, d)
	}
	for range 2 {
		if err := s.DeletePlayground(ctx, a.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Playground(ctx, a.Name); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after its end: %v", err)
	}
	if uses, err := s.MostUsed(ctx); len(uses) != 1 || err != nil {
		t.Errorf("its uses outlived it: %v, %v", uses, err)
	}
}
