package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundRegion() *cobra.Command {
	regions := []string{"eu", "ap"}
	return &cobra.Command{
		Use:   "region [eu|ap]",
		Short: "Print or set the region that you prefer, which labd keeps and does not use",
		Args:  cobra.MaximumNArgs(1), ValidArgs: regions,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var me api.Me
			if len(args) == 1 {
				me, err = c.SetPreferences(cmd.Context(), api.Preferences{Region: args[0]})
			} else {
				me, err = c.Me(cmd.Context())
			}
			if err != nil {
				return err
			}
			if me.PreferredRegion == "" {
				return errors.New("no region is set: labctl playground region eu")
			}
			_, err = fmt.Fprintln(a.Out, clean(me.PreferredRegion))
			return err
		},
	}
}
