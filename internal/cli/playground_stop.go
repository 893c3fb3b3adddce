package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundStop() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:               "stop PLAY",
		Short:             "Stop the machines of a play and keep their disks",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.end(cmd.Context(), args[0], api.ActionStop, quiet)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return cmd
}
