package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"sandlot/api"
	"sandlot/internal/play"
)

// progress shows a person how a start goes: on a terminal a table that is
// redrawn in place, elsewhere one line for each change.
type progress struct {
	out   io.Writer
	now   func() time.Time
	fd    int
	live  bool // a terminal
	quiet bool

	mu     sync.Mutex
	lines  int // of the table on the screen
	last   api.Play
	anchor time.Time // our time when the start began
	began  time.Time // the same by labd's clock
	said   map[string]string
}

func (a *App) progress(quiet bool) *progress {
	fd, live := terminalOf(a.Err)
	return &progress{out: a.Err, now: a.Now, fd: fd, live: live, quiet: quiet, said: map[string]string{}}
}

// update shows what is new in p.
func (g *progress) update(p api.Play) {
	if g.quiet {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = p
	// Clocks differ: what labd has reported must lie behind us, no more.
	if start, behind := began(p), latest(p).Sub(began(p)); !start.Equal(g.began) || g.now().Sub(g.anchor) < behind {
		g.began, g.anchor = start, g.now().Add(-behind)
	}
	if g.live {
		g.draw()
		return
	}
	for _, line := range changes(p, g.said) {
		fmt.Fprintln(g.out, clean(line))
	}
}

// tick redraws the table, so that seconds count.
func (g *progress) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.live && !g.quiet && g.lines > 0 {
		g.draw()
	}
}

func (g *progress) draw() {
	width := 80
	if w, _, err := term.GetSize(g.fd); err == nil && w > 0 {
		width = w
	}
	var b strings.Builder
	if g.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", g.lines)
	}
	rows := tableRows(g.last, g.now().Sub(g.anchor))
	for _, row := range rows {
		// A line that wraps would break the count of lines to go up.
		if r := []rune(clean(row)); len(r) >= width {
			row = string(r[:width-1])
		}
		b.WriteString("\r" + clean(row) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	g.lines = len(rows)
	fmt.Fprint(g.out, b.String())
}

// began is when the current start of a play began, by labd's clock.
func began(p api.Play) time.Time {
	at := api.ParseTime(p.CreatedAt)
	if p.Status == nil {
		return at
	}
	for _, e := range slices.Backward(p.Status.StateEvents) {
		if !play.State(e.State).Active() {
			break
		}
		if t := api.ParseTime(e.At); !t.IsZero() {
			at = t
		}
	}
	return at
}

// latest is the newest moment that labd reported.
func latest(p api.Play) time.Time {
	at := began(p)
	if p.Status == nil {
		return at
	}
	for _, m := range p.Status.Machines {
		for _, c := range m.Conditions {
			if t := api.ParseTime(c.LastTransitionAt); t.After(at) {
				at = t
			}
		}
	}
	return at
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", max(d, 0).Seconds()) }

// tableRows is the live table, elapsed after the start began.
func tableRows(p api.Play, elapsed time.Duration) []string {
	width := len("MACHINE")
	for _, m := range p.Machines {
		width = max(width, len(m.Name))
	}
	head := fmt.Sprintf("%-*s", width, "MACHINE")
	for _, c := range api.Conditions {
		head += fmt.Sprintf("  %-8s", strings.ToUpper(c))
	}
	rows := []string{strings.TrimRight(head, " ")}
	start := began(p)
	for _, m := range p.Machines {
		status, _ := p.Status.Machine(m.Name)
		row := fmt.Sprintf("%-*s", width, m.Name)
		pending, note := false, ""
		for _, name := range api.Conditions {
			cell := "·"
			if c, ok := status.Condition(name); ok && c.Status == api.True {
				cell = "✓ " + seconds(api.ParseTime(c.LastTransitionAt).Sub(start))
			} else if !pending {
				pending = true
				if cell = "… " + seconds(elapsed); failed(status.State) {
					cell = "✗ failed"
				}
				if ok && c.Message != "" {
					note = "  " + c.Message
				}
			}
			row += fmt.Sprintf("  %-8s", cell)
		}
		rows = append(rows, strings.TrimRight(row, " ")+note)
	}
	if line := tasksLine(p.Tasks); line != "" {
		rows = append(rows, line)
	}
	return rows
}

func failed(state string) bool { return state == string(play.Failed) }

// tasksLine sums up the init tasks; "" if there are none.
func tasksLine(tasks api.Tasks) string {
	total, done := 0, 0
	var running []string
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		t := tasks[name]
		if !t.Init {
			continue
		}
		total++
		switch t.Status {
		case api.TaskCompleted:
			done++
		case api.TaskRunning:
			running = append(running, name)
		case api.TaskFailed:
			running = append(running, name+" FAILED")
		}
	}
	if total == 0 {
		return ""
	}
	line := fmt.Sprintf("tasks %d/%d", done, total)
	if len(running) > 0 {
		line += ": " + strings.Join(running, ", ")
	}
	return line
}

// changes returns one line for each thing that said does not know yet, and
// adds it there.
func changes(p api.Play, said map[string]string) []string {
	var lines []string
	tell := func(key, value, format string, args ...any) {
		if said[key] != value {
			said[key] = value
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	start := began(p)
	for _, m := range p.Machines {
		status, _ := p.Status.Machine(m.Name)
		for _, name := range api.Conditions {
			c, ok := status.Condition(name)
			key := m.Name + "/" + name
			switch {
			case !ok:
			case c.Status == api.True:
				tell(key, c.Status+c.LastTransitionAt, "%s: %s %s", m.Name, strings.ToLower(name), seconds(api.ParseTime(c.LastTransitionAt).Sub(start)))
			case c.Message != "":
				tell(key, c.Message, "%s: %s: %s", m.Name, strings.ToLower(name), c.Message)
			}
		}
		if failed(status.State) {
			tell(m.Name, status.State, "%s: failed", m.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Tasks)) {
		t := p.Tasks[name]
		if t.Init && t.Status >= api.TaskRunning {
			tell("task "+name, taskStatus(t.Status), "task %s: %s", name, taskStatus(t.Status))
		}
	}
	return lines
}

func taskStatus(n int) string {
	names := map[int]string{
		api.TaskNone: "none", api.TaskCreated: "created", api.TaskBlocked: "blocked",
		api.TaskRunning: "running", api.TaskFailed: "failed", api.TaskCompleted: "completed",
	}
	if name, ok := names[n]; ok {
		return name
	}
	return "unknown"
}
