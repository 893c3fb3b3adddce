package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) playgroundKernels() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "List the kernels that machines can boot",
		Long: `List the kernels that machines can boot, as a manifest names them. Those that are
not ready have to be pulled on the host first.`,
		Example: `  labctl playground kernels
  labctl playground kernels -o yaml`,
		Args: cobra.NoArgs,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print versions only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		all, err := c.Kernels(cmd.Context())
		if err != nil {
			return err
		}
		if !quiet && format.value != "table" {
			return printAs(a.Out, format.value, all)
		}
		var rows [][]string
		for _, k := range all {
			if quiet {
				fmt.Fprintln(a.Out, clean(k.Version))
			}
			rows = append(rows, []string{k.Version, orDash(k.Release), size(k.SizeBytes), yesNo(k.Default), yesNo(k.Ready)})
		}
		if quiet {
			return nil
		}
		return table(a.Out, []string{"VERSION", "RELEASE", "SIZE", "DEFAULT", "READY"}, rows)
	}
	return cmd
}
