package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) machineStop() *cobra.Command {
	return a.machineVerb("stop", "Stop a machine and keep its disks", api.ActionMachineStop)
}
