package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sandlot/internal/host/volume"
	"sandlot/internal/play"
)

func history(states ...play.State) []play.StateEvent {
	var events []play.StateEvent
	for i, s := range states {
		events = append(events, play.StateEvent{State: s, At: time.Unix(int64(10*i), 0)})
	}
	return events
}

func TestStartOf(t *testing.T) {
	for _, c := range []struct {
		events       []play.StateEvent
		kind, result string
		took         time.Duration
	}{
		{history(play.Created), "", "", 0},
		{history(play.Created, play.Starting), "", "", 0},
		{history(play.Created, play.Starting, play.Running), "new", "running", 20 * time.Second},
		{history(play.Created, play.Starting, play.Failed), "new", "failed", 20 * time.Second},
		{history(play.Created, play.Starting, play.Running, play.Stopping, play.Stopped, play.Starting, play.Running), "restart", "running", 10 * time.Second},
		{history(play.Created, play.Starting, play.Failed, play.Starting, play.Running), "restart", "running", 10 * time.Second},
		{history(play.Created, play.Starting, play.Running, play.Running), "", "", 0},
		{history(play.Created, play.Starting, play.Running, play.Failed), "", "", 0},
	} {
		kind, took, result := startOf(c.events)
		if kind != c.kind || took != c.took || result != c.result {
			t.Errorf("%v: %s %s %s, want %s %s %s", c.events, kind, took, result, c.kind, c.took, c.result)
		}
	}
}

func TestMetrics(t *testing.T) {
	r := newRegistry()
	s := newStarts(r)
	l := levels{
		count: func() (map[play.State]int, map[play.MachineState]int) {
			return map[play.State]int{play.Running: 2}, map[play.MachineState]int{play.MachineRunning: 5, play.MachineFailed: 1}
		},
		pool: func() (volume.Usage, error) { return volume.Usage{Total: 100, Free: 60, Reserve: 5}, nil },
	}
	r.MustRegister(l)
	s.entered("", history(play.Created, play.Starting, play.Running))
	s.entered("", history(play.Created, play.Starting, play.Failed))
	err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP sandlot_play_starts_total Starts of plays that ended, by how.
# TYPE sandlot_play_starts_total counter
sandlot_play_starts_total{kind="new",result="failed"} 1
sandlot_play_starts_total{kind="new",result="running"} 1
sandlot_play_starts_total{kind="restart",result="failed"} 0
sandlot_play_starts_total{kind="restart",result="running"} 0
# HELP sandlot_pool_bytes Room of the pool of volumes; reserved is the part of free that new plays do not get.
# TYPE sandlot_pool_bytes gauge
sandlot_pool_bytes{kind="free"} 60
sandlot_pool_bytes{kind="reserved"} 5
sandlot_pool_bytes{kind="used"} 40
# HELP sandlot_plays Plays by state.
# TYPE sandlot_plays gauge
sandlot_plays{state="CREATED"} 0
sandlot_plays{state="DESTROYING"} 0
sandlot_plays{state="FAILED"} 0
sandlot_plays{state="RUNNING"} 2
sandlot_plays{state="STARTING"} 0
sandlot_plays{state="STOPPED"} 0
sandlot_plays{state="STOPPING"} 0
`), "sandlot_play_starts_total", "sandlot_pool_bytes", "sandlot_plays")
	if err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(r)
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "sandlot_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if err != nil {
		t.Error(err)
	}
	// A pool that cannot be measured hides nothing else.
	l.pool = func() (volume.Usage, error) { return volume.Usage{}, errors.New("not mounted") }
	if n := testutil.CollectAndCount(l); n != 14 {
		t.Errorf("%d figures without a pool", n)
	}
}
