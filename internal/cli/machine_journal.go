package cli

import (
	"io"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) machineJournal() *cobra.Command {
	var req api.JournalRequest
	cmd := &cobra.Command{
		Use:   "journal PLAY MACHINE",
		Short: "Print and follow the systemd journal of a machine",
		Long: `Print the systemd journal of a machine and follow it until Ctrl-C; with --until,
print it and end.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeMachines,
	}
	f := cmd.Flags()
	f.StringVarP(&req.Unit, "unit", "u", "", "only this unit, like nginx.service")
	f.IntVarP(&req.Lines, "lines", "n", 0, "how many lines of the past (default: journalctl's)")
	f.StringVar(&req.Since, "since", "", "from then on, like \"10 min ago\"")
	f.StringVar(&req.Until, "until", "", "up to then, like now")
	f.StringVar(&req.Cursor, "cursor", "", "go on after this entry")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req.Machine = args[1]
		var out io.Writer = a.Out
		if _, ok := terminalOf(a.Out); ok {
			out = cleaning{a.Out}
		}
		return c.Journal(cmd.Context(), args[0], req, out, a.Err)
	}
	return cmd
}

// cleaning makes what a machine writes safe to show.
type cleaning struct{ to io.Writer }

func (c cleaning) Write(b []byte) (int, error) {
	_, err := io.WriteString(c.to, clean(string(b)))
	return len(b), err
}
