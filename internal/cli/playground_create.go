package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/manifest"
)

const nothingCreated = "; nothing was created"

func (a *App) playgroundCreate() *cobra.Command {
	var base, file string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "create [NAME] --base BASE [-f FILE]",
		Short: "Store a playground of your own",
		Long: `Store a playground of your own, made from a base: from a manifest that says what
is different, or without one, as a copy. Its full name is printed: eight hex
digits are added to NAME, and every other command wants the full name.`,
		Example: `  labctl playground create my-debian --base debian-12
  labctl playground create my-lab --base flexbox -f lab.yaml`,
		Args: cobra.MaximumNArgs(1),
	}
	format := outputFlag(cmd, "name", "json")
	cmd.Flags().StringVarP(&base, "base", "b", "", "playground to derive from (default: the one the manifest names)")
	cmd.Flags().StringVarP(&file, "file", "f", "", "manifest to take the definition from; - is stdin")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the full name alone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req := api.CreatePlayground{Base: base}
		if len(args) > 0 {
			req.Name = args[0]
		}
		var m *manifest.Manifest
		if file != "" {
			m, err = a.newDefinition(file, quiet, &req)
		} else {
			err = copyDefinition(cmd.Context(), c, &req)
		}
		if err != nil {
			return err
		}
		pg, err := c.CreatePlayground(cmd.Context(), req)
		if err != nil {
			return a.refusedManifest(err, m, nothingCreated)
		}
		return a.printStored(pg, format.value, quiet)
	}
	return cmd
}

// newDefinition reads a manifest into the request. Name and base come from the
// command or the manifest.
func (a *App) newDefinition(file string, quiet bool, req *api.CreatePlayground) (*manifest.Manifest, error) {
	m, err := a.readDefinition(file, quiet, manifest.Create, nothingCreated)
	if err != nil {
		return nil, err
	}
	switch {
	case req.Name == "":
		req.Name = m.Name
	case m.Name != "" && m.Name != req.Name:
		return nil, fmt.Errorf("cannot create playground %q: the manifest calls it %q; use the same name, or leave one out", req.Name, m.Name)
	}
	if req.Base == "" {
		req.Base = m.Base
	}
	if err := needNameAndBase(req); err != nil {
		return nil, err
	}
	req.PlaygroundSpec, err = specOf(m)
	return m, err
}

// copyDefinition takes the base's definition as it is.
func copyDefinition(ctx context.Context, c *client.Client, req *api.CreatePlayground) error {
	if err := needNameAndBase(req); err != nil {
		return err
	}
	base, err := c.PlaygroundDefinition(ctx, req.Base)
	if err != nil {
		return err
	}
	if len(base.Machines) == 0 {
		return fmt.Errorf("cannot copy playground %q: it has no machines; bring a manifest with -f", req.Base)
	}
	m, err := manifestOf(base)
	if err != nil {
		return err
	}
	req.PlaygroundSpec, err = specOf(m)
	return err
}

func needNameAndBase(req *api.CreatePlayground) error {
	switch {
	case req.Name == "":
		return fmt.Errorf("cannot create a playground without a name: labctl playground create NAME --base BASE")
	case req.Base == "":
		return fmt.Errorf("cannot create playground %q without a base: name one with --base; see labctl playground catalog -f base", req.Name)
	}
	return nil
}

// printStored prints the name of a playground that was stored, or all of it.
func (a *App) printStored(pg api.Playground, format string, quiet bool) error {
	if format == "json" {
		return printAs(a.Out, "json", pg)
	}
	if _, err := fmt.Fprintln(a.Out, clean(pg.Name)); err != nil {
		return err
	}
	if pg.PageURL != "" {
		a.say(quiet, "See it:   %s", pg.PageURL)
	}
	a.say(quiet, "Start it: labctl playground start %s", pg.Name)
	return nil
}

// readDefinition reads and checks a manifest; all problems are printed at once.
func (a *App) readDefinition(file string, quiet bool, mode manifest.Mode, then string) (*manifest.Manifest, error) {
	raw, name, err := a.readFile(file)
	if err != nil {
		return nil, err
	}
	m, problems := manifest.Parse(name, raw)
	if m != nil {
		problems = manifest.Validate(m, mode)
	}
	for _, p := range problems {
		if p.Severity == manifest.Error || !quiet {
			a.say(false, "%s", p)
		}
	}
	if n := len(problems.Errors()); n > 0 {
		return nil, problemsError(n, then)
	}
	return m, nil
}

// specOf is a manifest as the API takes it; both name the fields alike.
func specOf(m *manifest.Manifest) (api.PlaygroundSpec, error) {
	spec := api.PlaygroundSpec{
		Title: m.Title, Description: m.Description, Categories: m.Categories, Cover: m.Cover, Markdown: m.Markdown,
	}
	raw, err := json.Marshal(m.Playground)
	if err == nil {
		err = json.Unmarshal(raw, &spec)
	}
	if err != nil {
		return spec, fmt.Errorf("cannot translate manifest: %v", err)
	}
	return spec, nil
}

// manifestOf is the reverse of specOf.
func manifestOf(pg api.Playground) (*manifest.Manifest, error) {
	m := &manifest.Manifest{
		Kind: manifest.Kind, Name: pg.Name, Base: pg.Base, Title: pg.Title, Description: pg.Description,
		Categories: pg.Categories, Markdown: pg.Markdown, Cover: pg.Cover,
	}
	raw, err := json.Marshal(pg)
	if err == nil {
		err = json.Unmarshal(raw, &m.Playground)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot translate playground %q: %v", pg.Name, err)
	}
	return m, nil
}
