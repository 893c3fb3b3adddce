package cli

import (
	"net/http"

	"github.com/spf13/cobra"

	"sandlot/client"
)

func (a *App) authLogout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the session and forget its credentials",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if !cfg.signedIn() {
				a.say(false, "Not logged in.")
				return nil
			}
			c, err := a.dial(cfg)
			if err != nil {
				return err
			}
			if err := c.EndSession(cmd.Context()); err != nil && client.StatusOf(err) != http.StatusUnauthorized {
				return err
			}
			if err := removeKey(cfg.SSHIdentityFile); err != nil {
				return err
			}
			cfg.SessionID, cfg.AccessToken, cfg.SSHIdentityFile = "", "", ""
			return a.saveConfig(cfg)
		},
	}
}
