package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
)

func (a *App) terminal() *cobra.Command {
	var l login
	cmd := &cobra.Command{
		Use:   "terminal PLAY [-m MACHINE] [-u USER] [-- COMMAND]",
		Short: "Enter a machine through its agent, without its network and SSH server",
		Long: `Enter a machine through its agent, or run a command there; the exit code is the
command's. Works while the machine's network, firewall or SSH server is broken.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	cmd.Flags().StringVarP(&l.machine, "machine", "m", "", "machine (default: the first)")
	a.completeMachineFlag(cmd)
	cmd.Flags().StringVarP(&l.user, "user", "u", "", "user (default: the machine's default user)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(ctx, args[0])
		if err != nil {
			return err
		}
		return a.runTerminal(ctx, c, p, l, strings.Join(args[1:], " "))
	}
	return cmd
}

// interruptGrace is how long a program may take to end after Ctrl-C.
const interruptGrace = 3 * time.Second

func (a *App) runTerminal(ctx context.Context, c *client.Client, p api.Play, l login, command string) error {
	machine, user, err := l.resolve(p)
	if err != nil {
		return err
	}
	req := api.TerminalRequest{Machine: machine.Name, User: user, Command: command}
	t, onTerminal := a.tty()
	if onTerminal {
		rows, cols := t.size()
		req.TTY = &api.TTY{Term: "xterm-256color", Rows: uint16(rows), Cols: uint16(cols)}
	}
	stopHint := a.hint(machine.Name)
	remote, err := c.OpenTerminal(ctx, p.ID, req, nil)
	stopHint()
	if err != nil {
		return err
	}
	// Reads and writes outlive ctx by a moment: Ctrl-C becomes a signal there.
	ioCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if onTerminal {
		restore, err := t.raw()
		if err != nil {
			return err
		}
		defer restore()
		t.onResize(ioCtx, func(rows, cols int) { _ = remote.Resize(ioCtx, uint16(rows), uint16(cols)) })
	}
	go func() { _ = remote.Input(ioCtx, a.In) }()
	stop := context.AfterFunc(ctx, func() {
		_ = remote.Signal(ioCtx, "INT")
		time.AfterFunc(interruptGrace, cancel)
	})
	defer stop()
	code, err := remote.Output(ioCtx, a.Out, a.Err)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	_ = remote.Close()
	if code != 0 {
		return &exitError{code: code}
	}
	return nil
}
