package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundSave() *cobra.Command {
	var req api.SavePlay
	var quiet bool
	cmd := &cobra.Command{
		Use:   "save PLAY NAME",
		Short: "Make a playground of a stopped play",
		Long: `Make a playground of a stopped play: with its machines, networks and tabs, and
with its drives as they are. They are cloned in a moment and take no space until
somebody writes. Startup files and init tasks are not repeated: their work is on
the drives. What the play's registry stores stays with the play.

The playground is yours alone until its accessControl says otherwise; who may
start it gets all that is on the drives. The play is not changed, and may be
destroyed.`,
		Example: "  labctl playground stop " + examplePlay + "\n  labctl playground save " + examplePlay + ` my-lab
  labctl playground save ` + examplePlay + ` my-lab --title Half-done -o json`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeStopped,
	}
	format := outputFlag(cmd, "name", "json")
	cmd.Flags().StringVar(&req.Title, "title", "", "title of the playground (default: as it was)")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the full name alone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req.Name = args[1]
		pg, err := c.SavePlay(cmd.Context(), args[0], req)
		if err != nil {
			return err
		}
		return a.printStored(pg, format.value, quiet)
	}
	return cmd
}
