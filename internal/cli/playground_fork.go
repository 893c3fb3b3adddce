package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundFork() *cobra.Command {
	var req api.ForkPlay
	var quiet, ssh, skip bool
	var login login
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
		ValidArgsFunction: a.completePlays,
	}
	format := outputFlag(cmd, "id", "json")
	f := cmd.Flags()
	f.StringVar(&req.Title, "title", "", "title of the new play (default: the same)")
	f.BoolVarP(&quiet, "quiet", "q", false, "print the new play's id alone")
	f.BoolVar(&skip, "skip-wait", false, "do not wait for the machines")
	f.BoolVar(&ssh, "ssh", false, "end in a shell on the machine")
	f.StringVarP(&login.machine, "machine", "m", "", "machine for --ssh (default: the first)")
	f.StringVarP(&login.user, "user", "u", "", "user for --ssh (default: the machine's default user)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.ForkPlay(ctx, args[0], req)
		if err != nil {
			return err
		}
		if p, err = a.await(ctx, c, p, waits{running: !skip, ready: !skip}, quiet); err != nil {
			return err
		}
		if ssh {
			return a.runSSH(ctx, c, p, login, nil)
		}
		if format.value == "json" {
			return printAs(a.Out, "json", p)
		}
		_, err = fmt.Fprintln(a.Out, p.ID)
		return err
	}
	return cmd
}
