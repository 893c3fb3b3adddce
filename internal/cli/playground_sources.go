package cli

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func (a *App) playgroundSources() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "sources",
		Short: "List the images that drives can be made from",
		Long: `List the images that drives can be made from, as a manifest names them. Those
that are not ready have to be built on the host first; images of registries are
written oci://REGISTRY/REPOSITORY:TAG and need no preparation.`,
		Example: `  labctl playground sources
  labctl playground sources -o json`,
		Args: cobra.NoArgs,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		all, err := c.Sources(cmd.Context())
		if err != nil {
			return err
		}
		if !quiet && format.value != "table" {
			return printAs(a.Out, format.value, all)
		}
		var rows [][]string
		for _, s := range all {
			if quiet {
				fmt.Fprintln(a.Out, clean(s.Name))
			}
			rows = append(rows, []string{
				s.Name, orDash(s.Distribution), size(s.SizeBytes), orDash(shortDigest(s.Digest)),
				orDash(strings.Join(s.Users, ",")), orDash(strings.Join(s.Kernels, ",")), yesNo(s.Ready),
			})
		}
		if quiet {
			return nil
		}
		return table(a.Out, []string{"NAME", "DISTRIBUTION", "SIZE", "DIGEST", "USERS", "KERNELS", "READY"}, rows)
	}
	return cmd
}

// size in bytes, for a person.
func size(bytes int64) string {
	if bytes <= 0 {
		return "-"
	}
	return humanize.IBytes(uint64(bytes))
}

// shortDigest is enough of a digest to tell images apart.
func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(12, len(hex))]
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
