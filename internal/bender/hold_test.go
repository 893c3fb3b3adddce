package bender_test

import (
	"errors"
	"testing"
	"time"

	"sandlot/internal/bender"
	"sandlot/internal/play"
	"sandlot/internal/step"
)

// While somebody holds a stopped play it neither runs nor goes, and nobody
// holds one that runs.
func TestHold(t *testing.T) {
	h := newHost(t)
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	use := func(bender.Record) error { t.Error("a running play was held"); return nil }
	if err := l.Hold(t.Context(), id, use); !errors.Is(err, bender.ErrState) {
		t.Errorf("running: %v", err)
	}
	if err := l.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Stopped))
	restarted := make(chan error)
	err := l.Hold(t.Context(), id, func(r bender.Record) error {
		go func() { restarted <- l.Restart(t.Context(), id) }()
		select {
		case <-restarted:
			t.Error("it was restarted while it was held")
		case <-time.After(50 * time.Millisecond):
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	if err := l.Hold(t.Context(), "ffffffffffffffffffffffff", use); !errors.Is(err, bender.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

// An announcement is kept in the history, shown by every machine, and does not
// change the state.
func TestAnnounce(t *testing.T) {
	h := newHost(t)
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	before, err := l.Version(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Announce(t.Context(), id, "soon"); err != nil {
		t.Fatal(err)
	}
	for range labPlan().Machines {
		if got := <-h.announced; got != "soon" {
			t.Errorf("shown: %q", got)
		}
	}
	h.kill(l)
	l = h.start(t, step.Runner{})
	r, err := l.Status(id)
	if last := r.Events[len(r.Events)-1]; err != nil || last.State != play.Running || last.Message != "soon" || last.Error {
		t.Errorf("the last event is %+v, %v", last, err)
	}
	if err := l.Announce(t.Context(), id, "sooner"); err != nil {
		t.Fatal(err)
	}
	if after, err := l.Version(id); err != nil || after == before {
		t.Errorf("version %d after %d, %v", after, before, err)
	}
}
