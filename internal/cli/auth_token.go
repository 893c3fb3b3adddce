package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) authToken() *cobra.Command {
	var name string
	var scopes []string
	var days int
	var quiet bool
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Make an access token for a program; it is shown this once",
		Example: "  labctl auth token --scope playground:read --expires-in 7",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range scopes {
				if !api.KnownScope(s) {
					return fmt.Errorf("there is no scope %q; there are %s", s, strings.Join(api.Scopes, ", "))
				}
			}
			if days < 0 || days > 365 {
				return fmt.Errorf("cannot make a token for %d days: write 1 to 365", days)
			}
			if name == "" {
				name = "labctl"
				if host, err := os.Hostname(); err == nil {
					name += "@" + host
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := c.NewToken(cmd.Context(), api.CreateToken{Name: name, Scope: scopes, ExpiresInDays: days})
			if err != nil {
				return err
			}
			a.say(quiet, "Token %s (%s), for %s, until %s. Revoke it with: labctl auth token revoke %s", made.ID, made.Name, strings.Join(made.Scope, ", "), made.ExpiresAt, made.ID)
			fmt.Fprintln(a.Out, clean(made.AccessToken))
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what it is for (default: labctl@HOST)")
	cmd.Flags().StringSliceVar(&scopes, "scope", api.Scopes[:6], "what it may do; may be repeated")
	cmd.Flags().IntVar(&days, "expires-in", 90, "days it is good for, 1 to 365")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the token only")
	cmd.AddCommand(a.authTokenList(), a.authTokenRevoke())
	return cmd
}

func (a *App) authTokenList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List your access tokens", Args: cobra.NoArgs}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		tokens, err := c.Tokens(cmd.Context())
		if err != nil {
			return err
		}
		if format.value != "table" {
			return printAs(a.Out, format.value, tokens)
		}
		var rows [][]string
		for _, t := range tokens {
			rows = append(rows, []string{t.ID, t.Name, strings.Join(t.Scope, ","), t.ExpiresAt})
		}
		return table(a.Out, []string{"ID", "NAME", "SCOPE", "EXPIRES"}, rows)
	}
	return cmd
}

func (a *App) authTokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End an access token", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.RevokeToken(cmd.Context(), args[0])
		},
	}
}

func (a *App) authSigninURL() *cobra.Command {
	return &cobra.Command{
		Use: "signin-url", Short: "Print an address that signs a browser in, once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			link, err := c.SigninURL(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Out, clean(link.URL))
			return nil
		},
	}
}
