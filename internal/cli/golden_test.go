package cli

import (
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/labtest"
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	labtest.Golden(t, name, got)
}

func TestProgressTable(t *testing.T) {
	at := func(s float64) string {
		return api.Time(time.Unix(1_700_000_000, 0).Add(time.Duration(s * float64(time.Second))))
	}
	done := func(name string, s float64) api.Condition {
		return api.Condition{Name: name, Status: api.True, LastTransitionAt: at(s)}
	}
	p := api.Play{
		Machines: []api.Machine{{Name: "router"}, {Name: "db"}, {Name: "web"}, {Name: "new"}},
		Tasks: api.Tasks{
			"one": {Name: "one", Init: true, Status: api.TaskCompleted},
			"two": {Name: "two", Init: true, Status: api.TaskRunning},
			"not": {Name: "not", Status: api.TaskRunning},
		},
		Status: &api.PlayStatus{
			StateEvents: []api.StateEvent{
				{State: "CREATED", At: at(-1000)}, {State: "STOPPED", At: at(-900)},
				{State: "STARTING", At: at(0)},
			},
			Machines: []api.MachineStatus{
				{Name: "router", State: "RUNNING", Conditions: []api.Condition{done("Volume", .02), done("Network", .05), done("Boot", 3.25), done("Ready", 7)}},
				{Name: "db", State: "STARTING", Conditions: []api.Condition{{Name: "Volume", Status: api.False, Message: "pulling layer 3 of 5"}, done("Network", .05)}},
				{Name: "web", State: "FAILED", Conditions: []api.Condition{done("Volume", .02), done("Network", .05)}},
			},
		},
	}
	text := ""
	for _, row := range tableRows(p, 8500*time.Millisecond) {
		text += row + "\n"
	}
	said := map[string]string{}
	text += "--\n"
	for _, line := range changes(p, said) {
		text += line + "\n"
	}
	if again := changes(p, said); len(again) > 0 {
		t.Errorf("said twice: %q", again)
	}
	golden(t, "progress.txt", text)
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ✓\n\ttext":    "plain ✓\n\ttext",
		"\x1b[31mred\x1b[0m": "\x1b[31mred\x1b[0m",
		"\x1b]0;title\x07x":  "]0;titlex",
		"\x1b[2Jgone":        "[2Jgone",
		"a\rb\x00c\x7f":      "abc",
		"\u009b2J":           "2J",
		"bad \xff byte":      "bad � byte",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// The repeated status must not set the seconds back.
func TestProgressCountsOn(t *testing.T) {
	now := time.Unix(1000, 0)
	at := api.Time(time.Unix(5_000_000, 0)) // labd's clock is off
	g := &progress{now: func() time.Time { return now }, quiet: false, live: true, fd: -1, said: map[string]string{}}
	var out buffer
	g.out = &out
	p := api.Play{CreatedAt: at, Machines: []api.Machine{{Name: "a"}}}
	for range 4 {
		g.update(p)
		now = now.Add(10 * time.Second)
	}
	g.tick()
	golden(t, "progress-live.txt", strings.ReplaceAll(strings.ReplaceAll(out.String(), "\x1b", "<esc>"), "\r", "<cr>"))
}
