package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/playgrounds"
)

// samplePlay stands for the id that a real start makes.
const samplePlay = "000000000000000000000000"

// manifestFacts are those of a host that has everything this version knows.
var manifestFacts = plan.Facts{
	Backends: map[string]plan.BackendFacts{"qemu": {MaxDrives: 24, MaxNICs: 5}},
	Kernels:  []string{"5.10", "6.1", "6.12", "6.18"},
}

func (a *App) manifestValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check manifests without a labd, or print them with every default filled in",
		Long: `Check manifests without a labd. Every problem is printed with its place and its
mend, and the exit code is 2 if there is one that refuses the manifest. With
-o yaml or json a sound manifest is printed as it takes effect over its base.`,
		Args: cobra.MinimumNArgs(1),
	}
	format := outputFlag(cmd, "none", "yaml", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var failed error
		for _, file := range args {
			m, err := a.effectiveManifest(file)
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			if err := a.printManifest(m, format.value); err != nil {
				return err
			}
		}
		return firstExit(failed)
	}
	return cmd
}

func (a *App) manifestPlan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Print what a play of this manifest would consist of, without a labd",
		Args:  cobra.ExactArgs(1),
	}
	format := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		m, err := a.effectiveManifest(args[0])
		if err != nil {
			return err
		}
		p, problems := plan.Make(samplePlay, m, manifestFacts)
		if err := a.refused(problems); err != nil {
			return err
		}
		if format.value == "json" {
			return printAs(a.Out, format.value, p)
		}
		_, err = fmt.Fprint(a.Out, p.String())
		return err
	}
	return cmd
}

// effectiveManifest reads a file and lays it over the official base it names,
// flexbox if it names none; problems go to stderr.
func (a *App) effectiveManifest(file string) (*manifest.Manifest, error) {
	raw, name, err := a.readFile(file)
	if err != nil {
		return nil, err
	}
	m, problems := manifest.Parse(name, raw)
	if m == nil {
		return nil, a.refused(problems)
	}
	base := m.Base
	if base == "" {
		base = manifest.Flexbox
	}
	under, err := playgrounds.Read(base)
	if err != nil {
		return nil, err
	}
	b, broken := manifest.Parse(base+".yaml", under)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	// The list of the effective manifest includes the reading problems.
	effective, problems := manifest.Inherit(b, m)
	return effective, a.refused(problems)
}

// refused prints all problems; its error is set if one of them refuses.
func (a *App) refused(problems manifest.Problems) error {
	for _, p := range problems {
		a.say(false, "%s", p)
	}
	if n := len(problems.Errors()); n > 0 {
		return problemsError(n, "")
	}
	return nil
}

func (a *App) printManifest(m *manifest.Manifest, format string) error {
	switch format {
	case "yaml":
		out, err := manifest.Marshal(m)
		if err != nil {
			return err
		}
		_, err = a.Out.Write(out)
		return err
	case "json":
		e := json.NewEncoder(a.Out)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	return nil
}

// firstExit makes one error of several, with the exit code of the first.
func firstExit(err error) error {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit
	}
	return err
}
