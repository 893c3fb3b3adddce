package cli

import (
	"net/http"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
)

func (a *App) authWhoami() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "whoami",
		Aliases: []string{"who", "me"},
		Short:   "Show who is signed in",
		Args:    cobra.NoArgs,
	}
	format := outputFlag(cmd, "yaml", "json", "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		if !cfg.signedIn() {
			a.say(false, "Not logged in: run labctl auth login.")
			return nil
		}
		c, err := a.dial(cfg)
		if err != nil {
			return err
		}
		me, err := c.Me(cmd.Context())
		if client.StatusOf(err) == http.StatusUnauthorized {
			a.say(false, "The session has expired: run labctl auth login.")
			return nil
		}
		if err != nil {
			return err
		}
		if format.value == "table" {
			return table(a.Out, []string{"USER"}, [][]string{{me.ID}})
		}
		return printAs(a.Out, format.value, struct {
			UserID          string             `json:"userId"`
			GithubProfileID string             `json:"githubProfileId"`
			PreferredRegion string             `json:"preferredRegion"`
			PremiumAccess   *api.PremiumAccess `json:"premiumAccess"`
		}{me.ID, me.GithubProfileID, me.PreferredRegion, me.PremiumAccess})
	}
	return cmd
}
