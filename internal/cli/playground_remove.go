package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) playgroundRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "remove NAME",
		Aliases:           []string{"rm"},
		Short:             "Remove a playground of your own; its plays go on",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlaygrounds("my-custom"),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		name := args[0]
		if !force {
			if _, err := c.Playground(cmd.Context(), name); err != nil {
				return err
			}
			if _, ok := terminalOf(a.In); !ok {
				return fmt.Errorf("cannot ask whether to remove playground %q: this is no terminal; to remove it without a question, add -f", name)
			}
			if ok, err := a.confirm(fmt.Sprintf("Remove playground %s for good?", name)); err != nil || !ok {
				return orNothing(err, "nothing was removed")
			}
		}
		return c.RemovePlayground(cmd.Context(), name)
	}
	return cmd
}
