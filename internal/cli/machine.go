package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

// machineVerb is a command that sends one action for one machine and does not
// wait.
func (a *App) machineVerb(name, short, action string) *cobra.Command {
	return &cobra.Command{
		Use:               name + " PLAY MACHINE",
		Short:             short,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeMachines,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.Act(cmd.Context(), args[0], api.Action{Action: action, Machine: args[1]}); err != nil {
				return err
			}
			a.say(false, "Machine %s: %s requested.", args[1], name)
			return nil
		},
	}
}
