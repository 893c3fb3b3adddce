package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
)

func (a *App) playgroundRestart() *cobra.Command {
	var end ending
	cmd := &cobra.Command{
		Use:               "restart PLAY|TITLE",
		Short:             "Start a stopped play again, with its disks",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeStopped,
	}
	format := &choice{choices: []string{"id", "json"}, value: "id"}
	cmd.Flags().Var(format, "output", "output format: id, json")
	end.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := end.check(); err != nil {
			return err
		}
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		id, err := byTitle(ctx, c, args[0])
		if err != nil {
			return err
		}
		p, err := c.Act(ctx, id, api.Action{Action: api.ActionRestart})
		if err != nil {
			return err
		}
		if p, err = a.await(ctx, c, p, waits{running: true, ready: true, again: true}, end.quiet); err != nil {
			return err
		}
		return a.conclude(ctx, c, p, end, format.value)
	}
	return cmd
}

// byTitle returns the id of the one kept play whose title starts with what is
// not an id.
func byTitle(ctx context.Context, c *client.Client, idOrTitle string) (string, error) {
	if _, err := play.ParseID(idOrTitle); err == nil {
		return idOrTitle, nil
	}
	kept, err := c.Plays(ctx, true)
	if err != nil {
		return "", err
	}
	var ids, titles []string
	for _, p := range kept {
		if strings.HasPrefix(p.Title, idOrTitle) {
			ids = append(ids, p.ID)
			titles = append(titles, p.Title)
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("there is no play with a title that starts with %q", idOrTitle)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("several plays have a title that starts with %q: %s", idOrTitle, strings.Join(titles, ", "))
}
