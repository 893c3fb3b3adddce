package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sandlot/client"
)

func (a *App) authLogin() *cobra.Command {
	var session, token, passphrase, publicKey string
	cmd := &cobra.Command{
		Use:   "login [-s SESSION -t TOKEN]",
		Short: "Sign in, and make the SSH key that machines will know you by",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (session == "") != (token == "") {
				return errors.New("-s and -t go together: give both or none")
			}
			ctx := cmd.Context()
			stored, err := a.storedConfig()
			if err != nil {
				return err
			}
			cfg := stored
			a.override(&cfg)
			// Credentials of one labd are no business of another.
			if cfg.signedIn() && cfg.APIBaseURL == stored.APIBaseURL {
				c, err := a.dial(cfg)
				if err != nil {
					return err
				}
				_, err = c.Me(ctx)
				if err == nil {
					return errors.New("already logged in: run labctl auth logout first")
				}
				// The reference client forgets the key on any error; only a
				// refusal says that the session has really ended.
				if status := client.StatusOf(err); status != http.StatusUnauthorized && session == "" {
					return err
				}
			}
			cfg.SessionID, cfg.AccessToken = session, token
			if session == "" {
				if cfg, err = a.browserLogin(ctx, cfg); err != nil {
					return err
				}
			}
			if publicKey != "" {
				cfg.SSHIdentityFile = publicKey
			} else {
				cfg.SSHIdentityFile = privatePath(cfg.SSHIdentityFile)
				if err := generateKey(cfg.SSHIdentityFile, passphrase); err != nil {
					return err
				}
			}
			if err := a.saveConfig(cfg); err != nil {
				return err
			}
			a.say(false, "Signed in to %s.", cfg.BaseURL)
			return nil
		},
	}
	cmd.Flags().StringVarP(&session, "session-id", "s", "", "session id, instead of a login with the browser")
	cmd.Flags().StringVarP(&token, "access-token", "t", "", "access token of that session")
	cmd.Flags().StringVarP(&passphrase, "ssh-passphrase", "p", "", "passphrase of the SSH key to make")
	cmd.Flags().StringVarP(&publicKey, "ssh-authorized-key", "k", "", "path of a public key to use instead of making one")
	cmd.MarkFlagsMutuallyExclusive("ssh-passphrase", "ssh-authorized-key")
	return cmd
}

// How long a person has to confirm a login, and how often labctl looks.
const (
	loginLimit = 10 * time.Minute
	loginPoll  = 2 * time.Second
)

func (a *App) browserLogin(ctx context.Context, cfg Config) (Config, error) {
	c, err := a.dial(cfg)
	if err != nil {
		return cfg, err
	}
	pending, err := c.NewSession(ctx)
	if err != nil {
		return cfg, err
	}
	fmt.Fprintf(a.Err, "Open this page and confirm:\n\n  %s\n\n", clean(pending.AuthURL))
	if _, ok := terminalOf(a.Err); ok {
		a.browse(pending.AuthURL)
	}
	cfg.SessionID, cfg.AccessToken = pending.ID, pending.AccessToken
	if c, err = a.dial(cfg); err != nil {
		return cfg, err
	}
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	for {
		if s, err := c.Session(ctx); err == nil && s.Authenticated {
			cfg.SessionID = s.ID
			return cfg, nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return cfg, fmt.Errorf("nobody confirmed the login within %s", loginLimit)
			}
			return cfg, ctx.Err()
		case <-time.After(loginPoll):
		}
	}
}
