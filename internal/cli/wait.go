package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
)

// stallLimit ends a wait in which nothing changes at all. Not a limit on the
// whole start: a host without KVM, or a first pull of an image, takes its
// time, and shows it.
const stallLimit = 10 * time.Minute

// waits are the things a start waits for.
type waits struct {
	running, ready, init bool
	again                bool // a play that ran before: it stops first
}

func (w waits) none() bool { return !w.running && !w.ready && !w.init }

// met tells whether p is what was waited for.
func (w waits) met(p api.Play) bool {
	if w.again && p.State() == string(play.Stopping) {
		return false // what is true of its machines is about to end
	}
	for _, m := range p.Machines {
		status, ok := p.Status.Machine(m.Name)
		if w.running && (!ok || status.State != string(play.MachineRunning)) {
			return false
		}
		if w.ready && !status.Is(api.ConditionReady) {
			return false
		}
	}
	if w.init {
		for _, t := range p.Tasks {
			if t.Init && t.Status != api.TaskCompleted {
				return false
			}
		}
	}
	return true
}

// await follows a play until it is what w says, and shows how it goes. It
// ends early when that cannot come any more.
func (a *App) await(ctx context.Context, c *client.Client, p api.Play, w waits, quiet bool) (api.Play, error) {
	if w.none() {
		return p, nil
	}
	show := a.progress(quiet)
	watchCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("nothing has changed for %s", stallLimit)
	stall := time.AfterFunc(stallLimit, func() { cancel(stalled) })
	defer stall.Stop()
	ticking := make(chan struct{})
	go func() {
		defer close(ticking)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-watchCtx.Done():
				return
			case <-tick.C:
				show.tick()
			}
		}
	}()

	var fingerprint string
	met := false
	err := c.Watch(watchCtx, p.ID, func(now api.Play) error {
		if f := fingerprintOf(now); f != fingerprint {
			fingerprint = f
			stall.Reset(stallLimit)
		}
		p = now
		show.update(p)
		if met = w.met(p); met {
			return client.ErrStop
		}
		return hopeless(p, w)
	})
	cancel(nil)
	<-ticking // or it would draw over what is printed next
	switch {
	case met:
		return p, nil
	case ctx.Err() != nil:
		a.say(false, "\nThe play goes on without you. Watch it: labctl playground status %s. End it: labctl playground destroy %s", p.ID, p.ID)
		return p, ctx.Err()
	case err == nil:
		err = hopeless(p, w)
		if err == nil {
			err = fmt.Errorf("play %s is %s", p.ID, orDash(p.State()))
		}
	}
	switch {
	case errors.Is(err, errFailed):
		a.explain(ctx, c, p)
	case errors.Is(err, errTaskFailed):
		a.explainTasks(ctx, c, p)
	}
	return p, err
}

func fingerprintOf(p api.Play) string {
	raw, _ := json.Marshal(struct {
		S *api.PlayStatus
		T api.Tasks
	}{p.Status, p.Tasks})
	return string(raw)
}

// These mark errors whose reason stands in the play and in its tasks.
var (
	errFailed     = errors.New("play failed")
	errTaskFailed = errors.New("failed")
)

// hopeless says why what is waited for cannot come any more; nil if it can.
func hopeless(p api.Play, w waits) error {
	switch state := play.State(p.State()); {
	case state == play.Stopping && w.again:
		return nil
	case state == play.Failed:
		return fmt.Errorf("%w: remove it with labctl playground destroy %s", errFailed, p.ID)
	case state == play.Destroying || state == play.Destroyed || state == play.Stopping || state == play.Stopped:
		return fmt.Errorf("play %s is %s", p.ID, strings.ToLower(string(state)))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Tasks)) {
		if t := p.Tasks[name]; w.init && t.Init && t.Status == api.TaskFailed {
			return fmt.Errorf("init task %q %w: see labctl playground tasks %s -o yaml; the machines can be entered with labctl ssh %s", name, errTaskFailed, p.ID, p.ID)
		}
	}
	return nil
}

// consoleTail is how many lines of a failed machine's console are shown.
const consoleTail = 20

// explain prints why a play failed: its own message, and for each failed
// machine the message and the end of the console.
func (a *App) explain(ctx context.Context, c *client.Client, p api.Play) {
	if p.Status == nil {
		return
	}
	if n := len(p.Status.StateEvents); n > 0 && p.Status.StateEvents[n-1].Message != "" {
		a.say(false, "%s", p.Status.StateEvents[n-1].Message)
	}
	for _, m := range p.Status.Machines {
		if !failed(m.State) {
			continue
		}
		if m.Message != "" { // it has the console's last lines
			a.say(false, "machine %s: %s", m.Name, m.Message)
			continue
		}
		a.say(false, "machine %s failed", m.Name)
		consoles, err := c.Consoles(ctx, p.ID, m.Name)
		if err != nil || len(consoles) == 0 {
			continue
		}
		content, err := c.Console(ctx, p.ID, m.Name, consoles[len(consoles)-1])
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimRight(content, "\r\n"), "\n")
		for _, line := range lines[max(0, len(lines)-consoleTail):] {
			a.say(false, "  | %s", line)
		}
	}
}

// outputTail is how many last lines of each of a failed task's outputs are
// shown.
const outputTail = 10

// explainTasks prints why tasks failed, with the ends of what they wrote.
func (a *App) explainTasks(ctx context.Context, c *client.Client, p api.Play) {
	details, err := c.Tasks(ctx, p.ID)
	if err != nil {
		a.say(false, "labctl: cannot read the tasks of play %s: %v", p.ID, err)
		return
	}
	slices.SortFunc(details, func(x, y api.TaskDetails) int { return cmp.Compare(x.Name, y.Name) })
	for _, t := range details {
		if t.Status != api.TaskFailed {
			continue
		}
		why := t.Message
		if why == "" {
			why = fmt.Sprintf("exit code %d", t.ExitCode)
		}
		a.say(false, "task %s on machine %s failed: %s", t.Name, t.Machine, why)
		for _, out := range []struct{ name, text string }{{"stdout", t.Stdout}, {"stderr", t.Stderr}} {
			if strings.TrimSpace(out.text) == "" {
				continue
			}
			a.say(false, "the last of its %s:", out.name)
			lines := strings.Split(strings.TrimRight(out.text, "\r\n"), "\n")
			for _, line := range lines[max(0, len(lines)-outputTail):] {
				a.say(false, "  | %s", line)
			}
		}
	}
}
