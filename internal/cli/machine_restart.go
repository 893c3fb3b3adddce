package cli

import (
	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) machineRestart() *cobra.Command {
	return a.machineVerb("restart", "Start a stopped machine again, or cut a running one's power and start it", api.ActionMachineRestart)
}
