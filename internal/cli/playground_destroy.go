package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundDestroy() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:               "destroy PLAY",
		Short:             "Remove a play and everything of it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.end(cmd.Context(), args[0], api.ActionDestroy, quiet)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return cmd
}
