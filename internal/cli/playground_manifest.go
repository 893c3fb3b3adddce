package cli

import (
	"github.com/spf13/cobra"
)

func (a *App) playgroundManifest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "manifest NAME",
		Short: "Print a playground's complete manifest, ready to be edited and given to update",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: a.completePlaygrounds(""),
	}
	format := outputFlag(cmd, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		pg, err := c.PlaygroundDefinition(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		m, err := manifestOf(pg)
		if err != nil {
			return err
		}
		return a.printManifest(m, format.value)
	}
	return cmd
}
