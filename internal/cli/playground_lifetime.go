package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) playgroundLifetime() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "lifetime PLAY [DURATION]",
		Short:             "Show or set how long a play may live, counted from its start",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completePlays,
	}
	format := outputFlag(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if len(args) == 2 {
			d, err := time.ParseDuration(args[1])
			if err != nil || d < time.Minute {
				return fmt.Errorf("cannot read duration %q: want at least 1m, like 90m or 4h", args[1])
			}
			p, err := c.Act(cmd.Context(), args[0], api.Action{
				Action: api.ActionSetMaxPlayTime, MaxPlayTimeMinutes: int(d.Round(time.Minute) / time.Minute),
			})
			if err != nil {
				return err
			}
			if format.value != "text" {
				return printAs(a.Out, format.value, lifetime{p.MaxPlayTime, p.ExpiresIn})
			}
			a.say(false, "Play %s ends %s.", args[0], expiry(p))
			return nil
		}
		p, err := c.Play(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if format.value != "text" {
			return printAs(a.Out, format.value, lifetime{p.MaxPlayTime, p.ExpiresIn})
		}
		if p.MaxPlayTime == "" {
			return errors.New("the play has no limit on its lifetime")
		}
		_, err = fmt.Fprintf(a.Out, "%s (ends %s)\n", clean(p.MaxPlayTime), expiry(p))
		return err
	}
	return cmd
}

// lifetime is a play's in JSON: "" and 0 if it has no end.
type lifetime struct {
	MaxPlayTime string `json:"maxPlayTime"` // from its start, like "4h0m0s"
	ExpiresIn   int64  `json:"expiresIn"`   // in milliseconds from now
}
