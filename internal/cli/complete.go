package cli

import (
	"github.com/spf13/cobra"

	"sandlot/internal/play"
)

// Completion asks labd and keeps quiet about errors.

func (a *App) completePlays(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
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
		if p.State() != string(play.Destroyed) {
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

func (a *App) completePlaygrounds(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := c.Playgrounds(cmd.Context(), "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, pg := range all {
		out = append(out, clean(pg.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
