package cli

import (
	"cmp"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *App) authPlan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show your plan: what you may have, and have",
		Args:  cobra.NoArgs,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Plan(cmd.Context())
		if err != nil {
			return err
		}
		if format.value != "table" {
			return printAs(a.Out, format.value, p)
		}
		number := func(n int) string {
			if n == 0 {
				return "no limit"
			}
			return strconv.Itoa(n)
		}
		text := func(s string) string { return cmp.Or(s, "no limit") }
		l, u := p.Limits, p.Use
		return table(a.Out, []string{"PLAN " + p.Name, "USED", "LIMIT"}, [][]string{
			{"Running plays", strconv.Itoa(u.Plays), number(l.Plays)},
			{"Stopped and persistent plays", strconv.Itoa(u.StoredPlays), number(l.StoredPlays)},
			{"Playgrounds", strconv.Itoa(u.Playgrounds), number(l.Playgrounds)},
			{"Size of all drives", u.PoolSpace, text(l.PoolSpace)},
			{"CPUs of a machine", "-", number(l.MachineCPUs)},
			{"Memory of a machine", "-", text(l.MachineMemory)},
			{"CPUs of a play", "-", number(l.PlayCPUs)},
			{"Memory of a play", "-", text(l.PlayMemory)},
			{"Time of a play at first", "-", text(l.PlayTime)},
			{"Time of a play at most", "-", text(l.LongestPlayTime)},
		})
	}
	return cmd
}
