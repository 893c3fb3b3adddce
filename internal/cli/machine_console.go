package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *App) machineConsole() *cobra.Command {
	return &cobra.Command{
		Use:               "console PLAY MACHINE",
		Short:             "Print what a machine wrote to its console, boot by boot",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeMachines,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.client()
			if err != nil {
				return err
			}
			consoles, err := c.Consoles(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			_, onTerminal := terminalOf(a.Out)
			for _, name := range consoles {
				content, err := c.Console(ctx, args[0], args[1], name)
				if err != nil {
					return err
				}
				if onTerminal {
					content = clean(content)
				}
				if _, err := fmt.Fprintf(a.Out, "==> %s <==\n%s\n", clean(name), strings.TrimRight(content, "\r\n")); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
