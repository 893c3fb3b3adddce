package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
)

// ending is what a start or a restart ends in.
type ending struct {
	login
	open, ssh, forwardAgent, forwards, quiet bool
	ide                                      string
}

func (e *ending) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&e.open, "open", "o", false, "open the play's page in a browser")
	f.BoolVar(&e.ssh, "ssh", false, "end in a shell on the machine")
	f.StringVar(&e.ide, "ide", "", "end in this editor on the machine: "+strings.Join(editorNames(), ", "))
	f.BoolVar(&e.forwardAgent, "forward-agent", false, "with --ssh: let the machine use your SSH agent")
	f.BoolVar(&e.forwards, "with-port-forwards", false, "start the port forwards that are saved with the play; without --ssh and --ide until Ctrl-C")
	f.StringVarP(&e.machine, "machine", "m", "", "machine for --ssh and --ide (default: the first)")
	f.StringVarP(&e.user, "user", "u", "", "user for --ssh and --ide (default: the machine's default user)")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "print the play's id alone")
	cmd.MarkFlagsMutuallyExclusive("ssh", "ide")
	_ = cmd.RegisterFlagCompletionFunc("ide", cobra.FixedCompletions(editorNames(), cobra.ShellCompDirectiveNoFileComp))
}

// check refuses what could not end well, before anything is started.
func (e *ending) check() error {
	if e.ide == "" {
		return nil
	}
	_, err := findEditor(e.ide)
	return err
}

// conclude does what was asked for once the play is there: format is how the
// play itself is printed.
func (a *App) conclude(ctx context.Context, c *client.Client, p api.Play, e ending, format string) error {
	if e.open {
		a.browse(p.PageURL)
	}
	var forwards []api.PortForward
	if e.forwards {
		var err error
		if forwards, err = c.PortForwards(ctx, p.ID); err != nil {
			return err
		}
		if len(forwards) == 0 {
			a.say(e.quiet, "The play has no saved port forwards.")
		}
	}
	if !e.ssh && e.ide == "" {
		if err := a.printPlay(p, format); err != nil {
			return err
		}
		if len(forwards) > 0 {
			return a.forwardAll(ctx, c, p.ID, forwards, e.quiet)
		}
		return nil
	}
	if len(forwards) > 0 {
		behind, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := a.forwardAll(behind, c, p.ID, forwards, e.quiet); err != nil && !errors.Is(err, context.Canceled) {
				a.say(false, "cannot forward ports: %v", err)
			}
		}()
		defer func() { cancel(); <-done }()
	}
	if e.ide != "" {
		return a.runEditor(ctx, c, p, editing{login: e.login, editor: e.ide, quiet: e.quiet})
	}
	return a.runSSHWith(ctx, c, p, e.login, nil, e.forwardAgent)
}

func (a *App) printPlay(p api.Play, format string) error {
	if format == "json" {
		return printAs(a.Out, "json", p)
	}
	_, err := fmt.Fprintln(a.Out, p.ID)
	return err
}
