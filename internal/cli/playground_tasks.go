package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
)

func (a *App) playgroundTasks() *cobra.Command {
	var wait, failFast bool
	var timeout time.Duration
	kind := &choice{choices: []string{"", "init", "helper", "regular"}}
	cmd := &cobra.Command{
		Use:               "tasks PLAY",
		Short:             "Show the tasks of a play, or wait for them",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	format := outputFlag(cmd, "table", "json", "yaml", "name", "none")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the tasks are completed; exit code 2 if they are not")
	cmd.Flags().BoolVar(&failFast, "fail-fast", false, "with --wait: stop at the first failed task")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait: how long (default: for ever)")
	cmd.Flags().Var(kind, "kind", "only init, helper or regular tasks")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		finished := true
		if wait {
			if finished, err = waitTasks(ctx, c, args[0], kind.value, timeout, failFast); err != nil {
				return err
			}
		}
		if err := a.printTasks(ctx, c, args[0], kind.value, format.value); err != nil {
			return err
		}
		if !finished {
			return &exitError{code: exitProblems}
		}
		return nil
	}
	return cmd
}

// waitTasks tells whether the tasks of a kind got completed.
func waitTasks(ctx context.Context, c *client.Client, id, kind string, timeout time.Duration, failFast bool) (bool, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	done := func(p api.Play) (all, failed bool) {
		all = true
		for _, t := range p.Tasks {
			if t.Helper {
				continue
			}
			failed = failed || t.Status == api.TaskFailed
			if counts := kind != "init" || t.Init; counts && kind != "helper" {
				all = all && t.Status == api.TaskCompleted
			}
		}
		return all, failed
	}
	for pause := 500 * time.Millisecond; ; pause = min(pause*13/10, 10*time.Second) {
		p, err := c.Play(ctx, id)
		if errors.Is(err, context.DeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		all, failed := done(p)
		if all || (failed && failFast) {
			return all, nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return false, nil
			}
			return false, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (a *App) printTasks(ctx context.Context, c *client.Client, id, kind, format string) error {
	if format == "none" {
		return nil
	}
	tasks, err := c.Tasks(ctx, id)
	if err != nil {
		return err
	}
	tasks = slices.DeleteFunc(tasks, func(t api.TaskDetails) bool {
		switch kind {
		case "init":
			return !t.Init
		case "helper":
			return !t.Helper
		case "regular":
			return t.Init || t.Helper
		}
		return false
	})
	slices.SortFunc(tasks, func(x, y api.TaskDetails) int { return cmp.Compare(x.Name, y.Name) })
	switch format {
	case "name":
		for _, t := range tasks {
			fmt.Fprintln(a.Out, clean(t.Name))
		}
		return nil
	case "json", "yaml":
		byName := map[string]api.TaskDetails{}
		for _, t := range tasks {
			byName[t.Name] = t
		}
		return printAs(a.Out, format, byName)
	}
	var rows [][]string
	for _, t := range tasks {
		what := "regular"
		if t.Init {
			what = "init"
		} else if t.Helper {
			what = "helper"
		}
		status := taskStatus(t.Status)
		if t.Message != "" {
			status += ": " + t.Message
		}
		rows = append(rows, []string{t.Name, t.Machine, what, status})
	}
	return table(a.Out, []string{"TASK", "MACHINE", "KIND", "STATUS"}, rows)
}
