package control

import (
	"context"
	"errors"
	"slices"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/plan"
	"sandlot/internal/play"
)

// taskStatus is a state as the API counts it, and the version of a task that
// stands there: a task goes through its states in this order, so the version
// rises with every change and is the same after a restart of labd.
func taskStatus(s play.TaskState) (status, version int) {
	switch s {
	case play.TaskBlocked:
		return api.TaskBlocked, 1
	case play.TaskCreated:
		return api.TaskCreated, 2
	case play.TaskRunning:
		return api.TaskRunning, 3
	case play.TaskFailed:
		return api.TaskFailed, 4
	case play.TaskCompleted:
		return api.TaskCompleted, 4
	}
	return api.TaskNone, 0
}

// tasks are the short forms of a play's tasks.
func tasks(r bender.Record) api.Tasks {
	out := make(api.Tasks, len(r.Tasks))
	for j, s := range r.Tasks {
		status, version := taskStatus(s.State)
		out[s.Name] = api.PlayTask{Name: s.Name, Init: r.Plan.Tasks[j].Init, Status: status, Version: version, Output: s.Written}
	}
	return out
}

// Tasks returns the details of a play's tasks on the named machines, on all if
// none is named.
func (c *Control) Tasks(ctx context.Context, user api.Me, id play.ID, machines []string) ([]api.TaskDetails, error) {
	list := []api.TaskDetails{}
	if _, err := c.row(ctx, user, id); err != nil {
		return nil, err
	}
	record, err := c.opts.Bender.Status(id)
	if errors.Is(err, bender.ErrUnknown) {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	statuses, err := c.opts.Bender.Tasks(ctx, id)
	if err != nil && !errors.Is(err, bender.ErrUnknown) {
		return nil, err
	}
	for j, s := range statuses {
		if t := record.Plan.Tasks[j]; len(machines) == 0 || slices.Contains(machines, t.Machine) {
			list = append(list, taskDetails(t, s))
		}
	}
	return list, nil
}

func taskDetails(t plan.Task, s play.TaskStatus) api.TaskDetails {
	d := api.TaskDetails{
		Name: t.Name, Machine: t.Machine, Init: t.Init, Needs: t.Needs, Run: t.Run, User: t.User, TimeoutSeconds: t.TimeoutSeconds,
		ExitCode: s.ExitCode, Stdout: s.Stdout, Stderr: s.Stderr, Message: s.Message, LastDurationMs: s.Duration.Milliseconds(),
	}
	d.Status, d.Version = taskStatus(s.State)
	if !s.StartedAt.IsZero() {
		d.LastRunAt = api.Time(s.StartedAt)
	}
	return d
}
