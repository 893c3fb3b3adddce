package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundPersist() *cobra.Command {
	return &cobra.Command{
		Use:   "persist PLAY",
		Short: "Keep a play's disks when its time is up",
		Long: `Keep a play's disks when its time is up: it is stopped then, and not destroyed.
It counts as a stored play of your plan from now on.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.Act(cmd.Context(), args[0], api.Action{Action: api.ActionMakePersistent}); err != nil {
				return err
			}
			a.say(false, "Play %s is persistent.", args[0])
			return nil
		},
	}
}
