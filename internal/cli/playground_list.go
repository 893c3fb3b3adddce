package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
)

func (a *App) playgroundList() *cobra.Command {
	var all, quiet bool
	var filter string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List plays",
		Args:    cobra.NoArgs,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "destroyed plays, too")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print ids only")
	cmd.Flags().StringVarP(&filter, "filter", "f", "", "only plays of playground=NAME")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var name string
		if filter != "" {
			key, value, ok := strings.Cut(filter, "=")
			if !ok || key != "playground" {
				return fmt.Errorf("cannot read filter %q: want playground=NAME", filter)
			}
			name = value
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		plays, err := allPlays(cmd.Context(), c)
		if err != nil {
			return err
		}
		plays = slices.DeleteFunc(plays, func(p api.Play) bool {
			return (!all && p.State() == string(play.Destroyed)) || (name != "" && p.Playground.Name != name)
		})
		switch {
		case format.value != "table":
			return printAs(a.Out, format.value, plays)
		case quiet:
			for _, p := range plays {
				fmt.Fprintln(a.Out, p.ID)
			}
			return nil
		}
		var rows [][]string
		for _, p := range plays {
			state := orDash(p.State())
			if state == string(play.Running) && p.ExpiresIn > 0 {
				state += " (ends " + expiry(p) + ")"
			}
			link := "-"
			if play.State(p.State()).Active() {
				link = orDash(p.PageURL)
			}
			rows = append(rows, []string{p.ID, p.Playground.Name, orDash(p.Title), a.ago(p.CreatedAt), state, link})
		}
		return table(a.Out, []string{"PLAY ID", "PLAYGROUND", "TITLE", "CREATED", "STATUS", "LINK"}, rows)
	}
	return cmd
}

// allPlays are the recent plays and those whose state is kept, newest change
// first.
func allPlays(ctx context.Context, c *client.Client) ([]api.Play, error) {
	plays, err := c.Plays(ctx, false)
	if err != nil {
		return nil, err
	}
	kept, err := c.Plays(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		if !slices.ContainsFunc(plays, func(p api.Play) bool { return p.ID == k.ID }) {
			plays = append(plays, k)
		}
	}
	slices.SortStableFunc(plays, func(x, y api.Play) int { return cmp.Compare(y.UpdatedAt, x.UpdatedAt) })
	return plays, nil
}
