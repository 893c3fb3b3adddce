package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundMachines() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "machines PLAY",
		Short:             "List the machines of a play",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		machines := summarize(p).Machines
		if format.value != "table" {
			return printAs(a.Out, format.value, machines)
		}
		var rows [][]string
		for _, m := range machines {
			ready := api.False
			if m.Ready {
				ready = api.True
			}
			rows = append(rows, []string{m.Name, orDash(m.State), ready})
		}
		return table(a.Out, []string{"MACHINE", "STATE", "READY"}, rows)
	}
	return cmd
}
