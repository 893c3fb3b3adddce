package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "labctl %s (built: %s commit: %s)\n", a.Version, a.Built, a.Commit)
			return err
		},
	}
}
