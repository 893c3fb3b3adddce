package cli

import (
	"github.com/spf13/cobra"

	"sandlot/internal/play"
)

// Completion asks labd and keeps quiet about errors.

func (a *App) completePlays(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completePlay(cmd, args, func(s play.State) bool { return s != play.Destroyed })
}

// completeStopped offers what can be restarted.
func (a *App) completeStopped(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completePlay(cmd, args, func(s play.State) bool { return s == play.Stopped || s == play.Failed })
}

// completePlay offers the plays in a wanted state, as the first argument.
func (a *App) completePlay(cmd *cobra.Command, args []string, wanted func(play.State) bool) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	plays, err := allPlays(cmd.Context(), c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range plays {
		if wanted(play.State(p.State())) {
			out = append(out, p.ID+"\t"+clean(p.Playground.Name+" "+p.Title))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *App) completeMachines(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completePlays(cmd, args, prefix)
	}
	c, err := a.client()
	if err != nil || len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	p, err := c.Play(cmd.Context(), args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, m := range p.Machines {
		out = append(out, clean(m.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completePlaygrounds offers the user's own playgrounds and, with the filter
// "", the official ones.
func (a *App) completePlaygrounds(filter string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := a.client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		filters := []string{"my-custom"}
		if filter == "" {
			filters = append(filters, filter)
		}
		var out []string
		for _, f := range filters {
			some, err := c.Playgrounds(cmd.Context(), f)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, pg := range some {
				out = append(out, clean(pg.Name))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeMachineFlag completes --machine of a command whose first argument is
// a play.
func (a *App) completeMachineFlag(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("machine", func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeMachines(cmd, args[:1], prefix)
	})
}
