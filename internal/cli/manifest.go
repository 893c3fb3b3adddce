package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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
		Long: `Check manifests without a labd; - is stdin. Every problem is printed with its
place and its mend, and the exit code is 2 if there is one that refuses the
manifest. With -o yaml or json sound manifests are printed as they take effect
over their bases, several as YAML documents or one JSON value after another.`,
		Args: cobra.MinimumNArgs(1),
	}
	format := outputFlag(cmd, "none", "yaml", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var failed error
		printed := false
		for _, file := range args {
			m, err := a.effectiveManifest(file)
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			if printed && format.value == "yaml" {
				fmt.Fprintln(a.Out, "---")
			}
			printed = true
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
		Long: `Print what a play of this manifest would consist of, without a labd; - is stdin:
machines, addresses, MACs, devices, routes, names, and the tasks in an order
that satisfies their needs, without those that the choices leave out.`,
		Args: cobra.ExactArgs(1),
	}
	format := outputFlag(cmd, "text", "json", "yaml")
	var conditions []string
	cmd.Flags().StringArrayVarP(&conditions, "init-condition", "i", nil, "choice as KEY=VALUE; repeatable")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		given, err := parseConditions(conditions)
		if err != nil {
			return err
		}
		m, err := a.effectiveManifest(args[0])
		if err != nil {
			return err
		}
		facts := manifestFacts
		chosen, problems := m.Choose(given)
		if err := a.refused(problems); err != nil {
			return err
		}
		facts.Conditions = chosen
		p, problems := plan.Make(samplePlay, m, facts)
		if err := a.refused(problems); err != nil {
			return err
		}
		if format.value != "text" {
			return printAs(a.Out, format.value, p)
		}
		_, err = fmt.Fprint(a.Out, p.String())
		return err
	}
	return cmd
}

func (a *App) manifestSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of manifests, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of manifests. Editors complete and check
with it; "labctl manifest validate" finds more. With the YAML language server:

  labctl manifest schema > manifest.schema.json

and as the first line of the manifest

  # yaml-language-server: $schema=manifest.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := manifest.Schema()
			if err != nil {
				return err
			}
			_, err = a.Out.Write(schema)
			return err
		},
	}
}

// effectiveManifest reads a file and lays it over the official base it names,
// flexbox if it names none; problems go to stderr, those of reading even if
// there is no such base.
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
		return nil, a.refused(append(problems, m.At(manifest.Error, "base", fmt.Sprintf("%q is not an official playground", base),
			"known here are "+strings.Join(playgrounds.Names(), ", ")+"; others are checked when labd creates or starts one")))
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
