package bender

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"sandlot/guest/wire"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/step"
)

// Tasks are not steps of the graph: a play whose task fails stays as it is, so
// that a person can look, and no task is ever undone or done again. What they
// share with steps is the order of things: a task is recorded as running, with
// the boot of its machine, before the agent is asked; the agent runs a task at
// most once in a boot and keeps its result. So a later bender that finds a
// running task asks for it again, and gets the same run, or hears that its
// boot is over.
//
// Nobody waits: advance is called whenever something changed, and starts what
// can start.

// conditionUp is what a task waits for. Not Boot nor Ready: an init that has
// only begun still empties /tmp, and sshd is the first that it starts.
const conditionUp = "Up"

// taskGrace is how much longer than its timeout a task may take to say how it
// ended: it is killed gently, and its channel may have to be opened again.
const taskGrace = time.Minute

func stepTask(name string) string { return "task/" + name }

// setTasks lays what was recorded over the tasks of the plan.
func (r *Record) setTasks(saved []play.TaskStatus) {
	byName := make(map[string]play.TaskStatus, len(saved))
	for _, s := range saved {
		s.Stdout, s.Stderr = "", ""
		byName[s.Name] = s
	}
	r.Tasks = make([]play.TaskStatus, len(r.Plan.Tasks))
	for j, t := range r.Plan.Tasks {
		r.Tasks[j] = byName[t.Name]
		r.Tasks[j].Name = t.Name
	}
	r.unblock()
}

// unblock finds out which of the tasks that have not begun still wait for
// others.
func (r *Record) unblock() {
	completed := make(map[string]bool, len(r.Tasks))
	for _, t := range r.Tasks {
		completed[t.Name] = t.State == play.TaskCompleted
	}
	for j := range r.Tasks {
		if r.Tasks[j].Begun() {
			continue
		}
		r.Tasks[j].State = play.TaskCreated
		for _, need := range r.Plan.Tasks[j].Needs {
			if !completed[need] {
				r.Tasks[j].State = play.TaskBlocked
			}
		}
	}
}

// Tasks returns the play's tasks in the plan's order, with their output.
func (b *Bender) Tasks(ctx context.Context, id play.ID) ([]play.TaskStatus, error) {
	w, err := b.worker(id)
	if err != nil {
		return nil, err
	}
	saved, err := b.opts.Records.Tasks(id).All(ctx)
	if err != nil {
		return nil, err
	}
	tasks, written := w.outputs()
	for j := range tasks {
		for _, s := range saved {
			if s.Name == tasks[j].Name && s.State == tasks[j].State {
				tasks[j] = s
			}
		}
		if o, ok := written[j]; ok {
			tasks[j].Stdout, tasks[j].Stderr = text(o.stdout), text(o.stderr)
		}
	}
	return tasks, nil
}

// advance starts every task whose machine is up and whose needs are completed,
// and follows those that run.
func (w *worker) advance() {
	w.weigh()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rec.Goal != GoalRunning {
		return
	}
	for j, t := range w.plan.Tasks {
		i := w.index(t.Machine)
		m := w.machines[i]
		if m == nil || w.followed[j] {
			continue
		}
		switch w.rec.Tasks[j].State {
		case play.TaskCreated:
			if !m.takesTasks(conditionUp) {
				continue
			}
		case play.TaskRunning:
			if !m.takesTasks(play.ConditionBoot) {
				continue
			}
		default:
			continue
		}
		w.followed[j] = true
		m.done.Go(func() { w.task(m, i, j) })
	}
}

// takesTasks tells whether the machine has reached a condition and is not
// about to leave.
func (m *machine) takesTasks(condition string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reached[condition] && !m.asked && !m.leaving && !m.gone()
}

// task runs the task at j on machine i to its end, or until that machine is
// detached.
func (w *worker) task(m *machine, i, j int) {
	defer w.advance()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.followed, j)
		delete(w.written, j)
	}()
	t := w.plan.Tasks[j]
	m.mu.Lock()
	boot := m.boot
	m.mu.Unlock()
	w.saveTask(m.ctx, j, play.TaskCreated, func(s *play.TaskStatus) {
		s.State, s.Boot, s.StartedAt = play.TaskRunning, boot, w.bender.opts.Now()
	})
	s := w.status().Tasks[j]
	if s.State != play.TaskRunning {
		return // not recorded, so it must not run
	}
	w.hook(step.BeforeDo, t.Name)
	result, err := w.follow(m, j, s)
	if err != nil {
		return // its machine is going, or labd is
	}
	w.hook(step.AfterDo, t.Name)
	w.saveTask(m.ctx, j, play.TaskRunning, func(s *play.TaskStatus) { conclude(s, t, result, w.bender.opts.Now()) })
}

func (w *worker) hook(p step.Point, task string) {
	if hook := w.bender.opts.Runner.Hook; hook != nil {
		hook(p, stepTask(task))
	}
}

// follow asks the agent for the task until it has answered, over channels that
// get lost and agents that do not come back.
func (w *worker) follow(m *machine, j int, s play.TaskStatus) (wire.TaskResult, error) {
	t := w.plan.Tasks[j]
	timeout := time.Duration(t.TimeoutSeconds) * time.Second
	ctx, cancel := context.WithTimeout(m.ctx, timeout+taskGrace)
	defer cancel()
	request := wire.Task{Name: t.Name, User: t.User, Boot: s.Boot, TimeoutSeconds: t.TimeoutSeconds}
	for {
		result, err := m.agent.Task(ctx, request, t.Run, func(stdout, stderr []byte, total int64) {
			w.wrote(j, output{stdout, stderr}, total)
		})
		if err == nil {
			return result, nil
		}
		w.bender.opts.Log.Debug("task lost", "play", w.id(), "task", t.Name, "error", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-m.exited:
			return wire.TaskResult{}, err
		case <-ctx.Done():
			if m.ctx.Err() != nil {
				return wire.TaskResult{}, m.ctx.Err()
			}
			return wire.TaskResult{Code: -1, TimedOut: true, Error: "and its machine does not answer"}, nil
		}
	}
}

// output is what a task that runs has written: the end of each stream.
type output struct{ stdout, stderr []byte }

// outputs are the tasks and, by their place, what those that run have written.
func (w *worker) outputs() ([]play.TaskStatus, map[int]output) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.rec.Tasks), maps.Clone(w.written)
}

// wrote keeps what the task at j has written so far. In memory only: the agent
// keeps it, too, and tells a later bender.
func (w *worker) wrote(j int, o output, total int64) {
	w.update(func(r *Record) bool {
		if r.Tasks[j].State != play.TaskRunning {
			return false
		}
		w.written[j], r.Tasks[j].Written = o, total
		return true
	})
}

// saveTask changes the task at j durably, if it is in the state that the
// change starts from; it tries until it succeeds or ctx ends.
func (w *worker) saveTask(ctx context.Context, j int, from play.TaskState, f func(s *play.TaskStatus)) {
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		next := w.rec.Tasks[j]
		if next.State != from {
			return struct{}{}, nil
		}
		f(&next)
		next.Written = 0
		if err := w.bender.opts.Records.Tasks(w.id()).Put(ctx, next); err != nil {
			w.bender.opts.Log.Error("cannot save task", "play", w.id(), "task", next.Name, "error", err)
			return struct{}{}, err
		}
		next.Stdout, next.Stderr = "", ""
		w.rec.Tasks[j] = next
		w.rec.unblock()
		w.notify()
		return struct{}{}, nil
	}, backoff.WithMaxElapsedTime(0))
}

// interrupted fails the tasks that run on machine i, whose boot is over.
func (w *worker) interrupted(ctx context.Context, i int, how string) {
	name := w.plan.Machines[i].Name
	for j, t := range w.plan.Tasks {
		if t.Machine == name {
			w.saveTask(ctx, j, play.TaskRunning, func(s *play.TaskStatus) {
				s.State, s.ExitCode, s.Message = play.TaskFailed, -1, fmt.Sprintf("machine %q %s while the task ran", name, how)
				s.Duration = max(0, w.bender.opts.Now().Sub(s.StartedAt))
			})
		}
	}
}

// conclude writes a result, whose every field the guest chose, into the status.
func conclude(s *play.TaskStatus, t plan.Task, r wire.TaskResult, now time.Time) {
	s.State, s.ExitCode = play.TaskFailed, r.Code
	s.Duration = min(max(0, time.Duration(r.DurationMs)*time.Millisecond), max(0, now.Sub(s.StartedAt)))
	s.Stdout, s.Stderr = text(r.Stdout), text(r.Stderr)
	switch {
	case r.Rebooted:
		s.Message = fmt.Sprintf("machine %q rebooted or was stopped while the task ran", t.Machine)
	case r.TimedOut:
		s.Message = timedOut(t)
		if r.Error != "" {
			s.Message += ", " + r.Error
		}
	case r.Error != "":
		s.Message = "cannot run: " + r.Error
	case r.Code > 128:
		s.Message = fmt.Sprintf("exit code %d: killed by signal %d", r.Code, r.Code-128)
	case r.Code != 0:
		s.Message = fmt.Sprintf("exit code %d", r.Code)
	default:
		s.State = play.TaskCompleted
	}
}

// timedOut says whose limit it was: many authors never knew of the default.
func timedOut(t plan.Task) string {
	if t.TimeoutIsDefault {
		return fmt.Sprintf("timed out after %d s (the default; set timeout_seconds)", t.TimeoutSeconds)
	}
	return fmt.Sprintf("timed out after %d s (its timeout_seconds)", t.TimeoutSeconds)
}

// text is output as text that JSON and terminals take.
func text(b []byte) string {
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
