package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/internal/manifest"
)

func (a *App) playgroundUpdate() *cobra.Command {
	var file, dir string
	var quiet, force bool
	cmd := &cobra.Command{
		Use:   "update NAME [-f FILE | -d DIR]",
		Short: "Replace a playground of your own with a complete manifest",
		Long: `Replace a playground of your own with a complete manifest, as labctl playground
manifest prints it. Without -f the manifest is manifest.yaml in the folder of
-d, or in NAME. Other files of the folder are not stored.`,
		Example: `  labctl playground manifest my-lab-0a1b2c3d > lab.yaml
  labctl playground update my-lab-0a1b2c3d -f lab.yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlaygrounds("my-custom"),
	}
	format := outputFlag(cmd, "name", "json")
	cmd.Flags().StringVarP(&file, "file", "f", "", "manifest; - is stdin")
	cmd.Flags().StringVarP(&dir, "dir", "d", "", "folder with the manifest (default: NAME)")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite other files of the folder without asking: labd keeps none, so this changes nothing")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the name alone")
	cmd.MarkFlagsMutuallyExclusive("file", "dir")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		c, err := a.client()
		if err != nil {
			return err
		}
		if file == "" {
			folder := cmp.Or(dir, name)
			if file, err = manifestIn(folder); err != nil {
				return err
			}
			if n := otherFiles(folder); n > 0 {
				a.say(quiet, "note: %d other file(s) in %s are not stored; a manifest's markdown and cover are part of it", n, folder)
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

// otherFiles counts what is in a folder beside its manifest.
func otherFiles(dir string) (n int) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != "manifest.yaml" && e.Name() != "manifest.yml" && !strings.HasPrefix(e.Name(), ".") {
			n++
		}
	}
	return n
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
