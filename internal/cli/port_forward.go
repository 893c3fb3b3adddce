package cli

import (
	"errors"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) portForward() *cobra.Command {
	var locals, remotes []string
	var machine string
	var list, restore, quiet bool
	remove := -1
	cmd := &cobra.Command{
		Use:   "port-forward PLAY (-L SPEC | -R SPEC | --list | --restore | --remove N)",
		Short: "Carry TCP ports between this computer and a machine",
		Long: `Carry TCP ports between this computer and a machine until Ctrl-C. -L makes a
port of the machine, or one that the machine reaches, a local one; -R makes a
local port one of the machine. Forwards are saved with the play: --restore
brings all of them back, after a stop and restart too.

  -L [[LOCAL-HOST:]LOCAL-PORT:][REMOTE-HOST:]REMOTE-PORT
  -R [REMOTE-HOST:]REMOTE-PORT:[LOCAL-HOST:]LOCAL-PORT`,
		Example: `  labctl port-forward PLAY -L 8080:80
  labctl port-forward PLAY -L 5432:10.0.0.3:5432 -R 9000:4000
  labctl port-forward PLAY --restore`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	f := cmd.Flags()
	f.StringSliceVarP(&locals, "local", "L", nil, "local port to a port of the machine (repeatable)")
	f.StringSliceVarP(&remotes, "remote", "R", nil, "port of the machine to a local one (repeatable)")
	f.StringVarP(&machine, "machine", "m", "", "machine (default: the first)")
	a.completeMachineFlag(cmd)
	f.BoolVar(&list, "list", false, "list the saved forwards")
	f.BoolVar(&restore, "restore", false, "start all saved forwards")
	f.IntVar(&remove, "remove", -1, "remove the saved forward with this number of --list")
	f.BoolVarP(&quiet, "quiet", "q", false, "print nothing but errors")
	cmd.MarkFlagsMutuallyExclusive("list", "restore", "remove", "local")
	cmd.MarkFlagsMutuallyExclusive("list", "restore", "remove", "remote")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, id := cmd.Context(), args[0]
		var forwards []api.PortForward
		for i, spec := range append(slices.Clone(locals), remotes...) {
			kind := api.ForwardLocal
			if i >= len(locals) {
				kind = api.ForwardRemote
			}
			f, err := parseForward(kind, spec)
			if err != nil {
				return err
			}
			forwards = append(forwards, f)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		switch {
		case cmd.Flags().Changed("remove"):
			return c.RemovePortForward(ctx, id, remove)
		case list, restore:
			saved, err := c.PortForwards(ctx, id)
			if err != nil {
				return err
			}
			if restore {
				if len(saved) == 0 {
					return errors.New("cannot restore port forwards: the play has none saved")
				}
				return a.forwardAll(ctx, c, id, saved, quiet)
			}
			return table(a.Out, []string{"N", "MACHINE", "KIND", "LOCAL", "REMOTE"}, forwardRows(saved))
		case len(forwards) == 0:
			return errors.New("cannot forward nothing: write -L, -R, --list, --restore or --remove")
		}
		p, err := c.Play(ctx, id)
		if err != nil {
			return err
		}
		m, _, err := login{machine: machine}.resolve(p)
		if err != nil {
			return err
		}
		for i := range forwards {
			forwards[i].Machine = m.Name
			if err := c.SavePortForward(ctx, id, forwards[i]); err != nil {
				a.say(quiet, "The port forward is not saved: %v", err)
			}
		}
		return a.forwardAll(ctx, c, id, forwards, quiet)
	}
	return cmd
}

func forwardRows(list []api.PortForward) (rows [][]string) {
	end := func(host string, port int, otherwise string) string {
		if host == "" {
			host = otherwise
		}
		number := "any"
		if port != 0 {
			number = strconv.Itoa(port)
		}
		return net.JoinHostPort(host, number)
	}
	for i, f := range list {
		rows = append(rows, []string{strconv.Itoa(i), f.Machine, f.Kind, end(f.LocalHost, f.LocalPort, "127.0.0.1"), end(f.RemoteHost, f.RemotePort, "")})
	}
	return rows
}
