package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
)

func (a *App) playgroundWait() *cobra.Command {
	var initOnly, quiet bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait PLAY",
		Short: "Wait until the tasks of a play are completed, or one has failed",
		Long: `Wait until the tasks of a play are completed, or one has failed. The exit code
is 0 either way, 1 at the timeout; "labctl playground tasks --wait" tells the
two apart.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	f := cmd.Flags()
	f.BoolVar(&initOnly, "init-only", false, "wait for the init tasks only")
	f.DurationVar(&timeout, "timeout", 48*time.Hour, "how long; 0 is for ever")
	f.BoolVarP(&quiet, "quiet", "q", false, "say nothing while waiting")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return a.waitForTasks(cmd.Context(), c, args[0], initOnly, quiet, timeout)
	}
	return cmd
}

func (a *App) waitForTasks(ctx context.Context, c *client.Client, id string, initOnly, quiet bool, timeout time.Duration) error {
	watch := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		watch, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	show := a.progress(quiet)
	var last api.Play
	done, broken := false, ""
	err := c.Watch(watch, id, func(p api.Play) error {
		last = p
		if !play.State(p.State()).Active() {
			return fmt.Errorf("play %s is %s", id, orDash(p.State()))
		}
		show.update(p)
		done = true
		for _, t := range p.Tasks {
			if t.Helper {
				continue
			}
			if t.Status == api.TaskFailed {
				broken = t.Name
			}
			done = done && (t.Status == api.TaskCompleted || initOnly && !t.Init)
		}
		if done || broken != "" {
			return client.ErrStop
		}
		return nil
	})
	switch {
	case done:
		a.say(quiet, "All tasks of play %s are completed.", id)
		return nil
	case broken != "":
		a.explainTasks(ctx, c, last)
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the tasks of play %s are not completed within %s", id, timeout)
	case err == nil:
		return fmt.Errorf("play %s is %s", id, orDash(last.State()))
	}
	return err
}
