package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// What another process writes, and what this one does, is seen by the next who
// asks for a session.
func TestSessionUserFollowsEveryWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open := func() *Store {
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	labd, command := open(), open()
	now := time.Now()
	if err := errors.Join(
		labd.AddUser(t.Context(), User{ID: "u", Name: "ann", Role: RoleUser, CreatedAt: now}),
		labd.PutSession(t.Context(), Session{ID: "s", UserID: "u", TokenHash: "h", CreatedAt: now}),
	); err != nil {
		t.Fatal(err)
	}
	disabled := func() bool {
		session, user, err := labd.SessionUser(t.Context(), "s")
		if err != nil || session.TokenHash != "h" || session.UserID != "u" || user.Name != "ann" {
			t.Fatalf("got %+v, %+v, %v", session, user, err)
		}
		return user.Disabled
	}
	for i := range 50 {
		want := i%2 == 1
		writer := labd
		if i%3 == 0 { // others are noticed within a moment
			writer = command
		}
		// Not SetDisabled: that ends sessions.
		if err := writer.exec(t.Context(), "change user", `UPDATE users SET disabled = ? WHERE id = 'u'`, truth(want)); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); disabled() != want; {
			if writer == labd {
				t.Fatal("what labd has written itself is not seen")
			}
			if time.Since(begin) > 10*time.Second {
				t.Fatal("what another has written is not seen")
			}
		}
	}
	// Ending many of a user's is such a write, too.
	for i := range 50 {
		if err := labd.PutSession(t.Context(), Session{ID: "browser", UserID: "u", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := labd.SessionUser(t.Context(), "browser"); err != nil {
			t.Fatal(err)
		}
		ended, err := labd.DeleteSessions(t.Context(), "u", "s")
		if err != nil || len(ended) != 1 || ended[0] != "browser" {
			t.Fatalf("ended %q, %v", ended, err)
		}
		if _, _, err := labd.SessionUser(t.Context(), "browser"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("round %d: a session that was ended among others: %v", i, err)
		}
	}
	if err := labd.DeleteSession(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := labd.SessionUser(t.Context(), "s"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session that was ended: %v", err)
	}
}

func BenchmarkSessionUser(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "state.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	now := time.Now()
	if err := errors.Join(s.AddUser(b.Context(), User{ID: "u", Name: "ann", CreatedAt: now}), s.PutSession(b.Context(), Session{ID: "s", UserID: "u", CreatedAt: now})); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := s.SessionUser(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
	}
}
