package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundFork() *cobra.Command {
	var req api.ForkPlay
	var skip bool
	var end ending
	cmd := &cobra.Command{
		Use:   "fork PLAY",
		Short: "Start a new play with the drives of a stopped one",
		Long: `Start a new play with the drives of a stopped one. They are cloned in a moment
and take no space until somebody writes; what is written in one of the two plays
does not appear in the other. Machines have the same names, addresses and MACs,
in a network of their own, and new SSH host keys and machine ids. Startup files
and init tasks are not repeated: their work is on the drives.`,
		Example: "  labctl playground stop " + examplePlay + "\n  labctl playground fork " + examplePlay + `
  labctl playground fork ` + examplePlay + ` --title Another --ssh`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeStopped,
	}
	format := &choice{choices: []string{"id", "json"}, value: "id"}
	cmd.Flags().Var(format, "output", "output format: id, json")
	cmd.Flags().StringVar(&req.Title, "title", "", "title of the new play (default: the same)")
	cmd.Flags().BoolVar(&skip, "skip-wait", false, "do not wait for the machines")
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
		p, err := c.ForkPlay(ctx, args[0], req)
		if err != nil {
			return err
		}
		if p, err = a.await(ctx, c, p, waits{running: !skip, ready: !skip}, end.quiet); err != nil {
			return err
		}
		return a.conclude(ctx, c, p, end, format.value)
	}
	return cmd
}
