package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) machineReboot() *cobra.Command {
	return a.machineVerb("reboot", "Reboot a machine", api.ActionMachineReboot)
}
