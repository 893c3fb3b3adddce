package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/internal/manifest"
)

func (a *App) playgroundUpdate() *cobra.Command {
	var file string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "update NAME [-f FILE]",
		Short: "Replace a playground of your own with a complete manifest",
		Long: `Replace a playground of your own with a complete manifest, as labctl playground
manifest prints it. Without -f the manifest is NAME/manifest.yaml.`,
		Example: `  labctl playground manifest my-lab-0a1b2c3d > lab.yaml
  labctl playground update my-lab-0a1b2c3d -f lab.yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlaygrounds("my-custom"),
	}
	format := outputFlag(cmd, "name", "json")
	cmd.Flags().StringVarP(&file, "file", "f", "", "manifest; - is stdin")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the name alone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		c, err := a.client()
		if err != nil {
			return err
		}
		if file == "" {
			if file, err = manifestIn(name); err != nil {
				return err
			}
		}
		const then = "; nothing was changed"
		m, err := a.readDefinition(file, quiet, manifest.Update, then)
		if err != nil {
			return err
		}
		if !sameName(m.Name, name) {
			return fmt.Errorf("cannot update playground %q: the manifest is that of %q", name, m.Name)
		}
		spec, err := specOf(m)
		if err != nil {
			return err
		}
		var pg api.Playground
		if pg, err = c.UpdatePlayground(cmd.Context(), name, spec); err != nil {
			return a.refusedManifest(err, m, then)
		}
		return a.printStored(pg, format.value, quiet)
	}
	return cmd
}

var createSuffix = regexp.MustCompile(`^-[0-9a-f]{8}$`)

// sameName tells whether a manifest may call a playground so: by its name, or
// by the one it was created with.
func sameName(given, full string) bool {
	n := len(full) - manifest.CreateSuffix
	return given == "" || given == full || n > 0 && given == full[:n] && createSuffix.MatchString(full[n:])
}

// manifestIn finds the manifest in a folder.
func manifestIn(dir string) (string, error) {
	for _, name := range []string{"manifest.yaml", "manifest.yml"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("cannot find a manifest: there is no %s; name one with -f", filepath.Join(dir, "manifest.yaml"))
}
