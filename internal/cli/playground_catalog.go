package cli

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundCatalog() *cobra.Command {
	var filter string
	var quiet bool
	cmd := &cobra.Command{
		Use:     "catalog",
		Aliases: []string{"cat"},
		Short:   "List playgrounds to start",
		Args:    cobra.NoArgs,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.Flags().StringVarP(&filter, "filter", "f", "", "my-custom, recent, popular, community or base (default: official ones)")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		all, err := c.Playgrounds(cmd.Context(), filter)
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(x, y api.Playground) int { return cmp.Compare(x.Name, y.Name) })
		if format.value != "table" {
			return printAs(a.Out, format.value, all)
		}
		var rows [][]string
		for _, pg := range all {
			if quiet {
				fmt.Fprintln(a.Out, pg.Name)
			}
			rows = append(rows, []string{pg.Name, cmp.Or(pg.Description, pg.Title)})
		}
		if quiet {
			return nil
		}
		return table(a.Out, []string{"NAME", "DESCRIPTION"}, rows)
	}
	return cmd
}
