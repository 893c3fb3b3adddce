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
	var all, quiet, everyone bool
	var filter, owner string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List plays",
		Args:    cobra.NoArgs,
		Example: `  labctl playground list                    # yours
  labctl playground list --everyone         # all users' (administrators)
  labctl playground list --owner bob -q     # the ids of bob's`,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "destroyed plays, too")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print ids only")
	cmd.Flags().StringVarP(&filter, "filter", "f", "", "only plays of playground=NAME")
	cmd.Flags().BoolVar(&everyone, "everyone", false, "the plays of all users, for administrators")
	cmd.Flags().StringVar(&owner, "owner", "", "the plays of the user with this id, for administrators")
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
		others := everyone || owner != ""
		var plays []api.OwnedPlay
		if others {
			plays, err = c.EveryPlay(cmd.Context(), owner)
		} else {
			plays, err = allPlays(cmd.Context(), c)
		}
		if err != nil {
			return err
		}
		plays = slices.DeleteFunc(plays, func(p api.OwnedPlay) bool {
			return (!all && p.State() == string(play.Destroyed)) || (name != "" && p.Playground.Name != name)
		})
		switch {
		case format.value != "table" && others:
			return printAs(a.Out, format.value, plays)
		case format.value != "table":
			own := make([]api.Play, len(plays))
			for i, p := range plays {
				own[i] = p.Play
			}
			return printAs(a.Out, format.value, own)
		case quiet:
			for _, p := range plays {
				fmt.Fprintln(a.Out, p.ID)
			}
			return nil
		}
		head := []string{"PLAY ID", "PLAYGROUND", "TITLE", "CREATED", "STATUS", "LINK"}
		if others {
			head = slices.Insert(head, 1, "OWNER")
		}
		var rows [][]string
		for _, p := range plays {
			state := orDash(p.State())
			if state == string(play.Running) && p.ExpiresIn > 0 {
				state += " (ends " + expiry(p.Play) + ")"
			}
			link := "-"
			if play.State(p.State()).Active() {
				link = orDash(p.PageURL)
			}
			row := []string{p.ID, p.Playground.Name, orDash(p.Title), a.ago(p.CreatedAt), state, link}
			if others {
				row = slices.Insert(row, 1, p.Owner)
			}
			rows = append(rows, row)
		}
		return table(a.Out, head, rows)
	}
	return cmd
}

// allPlays are the user's recent plays and those whose state is kept, newest
// change first.
func allPlays(ctx context.Context, c *client.Client) (all []api.OwnedPlay, err error) {
	for _, persistent := range []bool{false, true} {
		plays, err := c.Plays(ctx, persistent)
		if err != nil {
			return nil, err
		}
		for _, p := range plays {
			if !slices.ContainsFunc(all, func(known api.OwnedPlay) bool { return known.ID == p.ID }) {
				all = append(all, api.OwnedPlay{Play: p})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y api.OwnedPlay) int { return cmp.Compare(y.UpdatedAt, x.UpdatedAt) })
	return all, nil
}
