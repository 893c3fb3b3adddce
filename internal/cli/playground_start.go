package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/manifest"
)

func (a *App) playgroundStart() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start PLAYGROUND [-f FILE]",
		Short: "Start a play and wait until its machines can be entered",
		Example: `  labctl playground start flexbox -f examples/two-networks.yaml
  labctl playground start debian --ssh`,
		Args: cobra.MaximumNArgs(1),
	}
	format := &choice{choices: []string{"id", "json"}, value: "id"}
	f := cmd.Flags()
	f.Var(format, "output", "output format: id, json")
	o.ending.flags(cmd)
	f.BoolVar(&o.free, "as-free-tier-user", false, "with the limits of a free account, where labd has plans")
	f.StringVarP(&o.file, "file", "f", "", "manifest to take machines, networks, tabs, tasks and conditions from; - is stdin")
	f.StringVar(&o.backend, "backend", "", "run the playground's machines on this backend")
	f.StringVar(&o.title, "title", "", "title of the play")
	f.StringArrayVarP(&o.conditions, "init-condition", "i", nil, "choice as KEY=VALUE; repeatable")
	f.BoolVar(&o.consent, "safety-disclaimer-consent", false, "start other people's playgrounds without asking")
	f.BoolVar(&o.skipRunning, "skip-wait-running", false, "do not wait until the machines run")
	f.BoolVar(&o.skipReady, "skip-wait-ready", false, "do not wait until the machines take SSH")
	f.BoolVar(&o.skipInit, "skip-wait-init", false, "do not wait until the init tasks are done")
	cmd.MarkFlagsMutuallyExclusive("file", "backend")
	cmd.ValidArgsFunction = a.completePlaygrounds("")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return a.whichPlayground(ctx, c)
		}
		if err := o.check(); err != nil {
			return err
		}
		return a.start(ctx, c, args[0], o, format.value)
	}
	return cmd
}

type startOptions struct {
	ending
	file, backend, title             string
	conditions                       []string
	consent, free                    bool
	skipRunning, skipReady, skipInit bool
}

func (a *App) start(ctx context.Context, c *client.Client, name string, o startOptions, format string) error {
	req := api.StartPlay{Playground: name, SafetyDisclaimerConsent: o.consent, Title: o.title, AsFreeTierUser: o.free}
	var err error
	if req.InitConditions, err = parseConditions(o.conditions); err != nil {
		return err
	}
	var source *manifest.Manifest
	if o.file != "" {
		if source, err = a.readManifest(o.file, o.quiet, req.InitConditions); err != nil {
			return err
		}
		if err := fill(&req, source); err != nil {
			return err
		}
		if req.Title == "" {
			req.Title = source.Title
		}
	}
	if len(req.InitConditions) > 0 && req.InitConditionSpec == nil {
		if err := a.checkChoices(ctx, c, name, req.InitConditions); err != nil {
			return err
		}
	}
	if !o.consent {
		if err := a.consent(ctx, c, &req); err != nil {
			return err
		}
	}
	if o.backend != "" {
		pg, err := c.Playground(ctx, name)
		if err != nil {
			return err
		}
		req.Machines = pg.Machines
		for i := range req.Machines {
			req.Machines[i].Backend = o.backend
		}
	}
	p, err := c.StartPlay(ctx, req)
	if ctx.Err() != nil {
		a.say(false, "\nThe play may have been started nevertheless: see labctl playground list")
	}
	if err != nil {
		return a.refusedManifest(err, source, nothingStarted)
	}
	if o.title != "" && p.Title != o.title { // a labd that does not know our addition
		if _, err := c.Act(ctx, p.ID, api.Action{Action: api.ActionSetTitle, Title: o.title}); err != nil {
			a.say(false, "labctl: cannot set the title: %v", err)
		}
	}
	for _, line := range unsaid(source, p.Warnings) {
		a.say(o.quiet, "%s", line)
	}
	for _, n := range p.Notes {
		a.say(o.quiet, "note: %s", n)
	}
	a.say(o.quiet, "Play %s is starting.", p.ID)
	w := waits{running: !o.skipRunning, ready: !o.skipReady, init: !o.skipInit && len(p.Tasks) > 0}
	if p, err = a.await(ctx, c, p, w, o.quiet); err != nil {
		return err
	}
	for _, line := range warnings(p) {
		a.say(o.quiet, "%s", line)
	}
	if !o.ssh && o.ide == "" && p.PageURL != "" && !o.open {
		a.say(o.quiet, "Open it:  %s", p.PageURL)
	}
	a.say(o.quiet || o.ssh || o.ide != "", "Enter it: labctl ssh %s", p.ID)
	return a.conclude(ctx, c, p, o.ending, format)
}

// checkChoices refuses values that the stored playground does not take.
func (a *App) checkChoices(ctx context.Context, c *client.Client, name string, given map[string]string) error {
	pg, err := c.Playground(ctx, name)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(pg.InitConditions)
	if err != nil {
		return err
	}
	var m manifest.Manifest
	if err := json.Unmarshal(raw, &m.Playground.InitConditions); err != nil {
		return fmt.Errorf("cannot read the init conditions of playground %q: %v", name, err)
	}
	_, problems := m.Choose(given)
	for _, p := range problems {
		a.say(false, "%s", p)
	}
	if n := len(problems.Errors()); n > 0 {
		return problemsIn("init conditions", n, nothingStarted)
	}
	return nil
}

// parseConditions reads KEY=VALUE; keys may have spaces.
func parseConditions(given []string) (map[string]string, error) {
	if len(given) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, g := range given {
		key, value, ok := strings.Cut(g, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("cannot read -i %q: want KEY=VALUE", g)
		}
		out[key] = value
	}
	return out, nil
}

// maxManifest is one byte more than a manifest may have, so that the parser
// says what is wrong.
const maxManifest = manifest.MaxDocument + 1

// readManifest reads and checks a manifest; all problems are printed at once.
func (a *App) readManifest(file string, quiet bool, chosen map[string]string) (*manifest.Manifest, error) {
	raw, name, err := a.readFile(file)
	if err != nil {
		return nil, err
	}
	m, problems := manifest.Parse(name, raw)
	if m != nil && m.Playground.InitConditions != nil {
		_, more := m.Choose(chosen)
		problems = append(problems, more...)
	}
	for _, p := range problems {
		if p.Severity == manifest.Error || !quiet {
			a.say(false, "%s", p)
		}
	}
	if n := len(problems.Errors()); n > 0 {
		return nil, problemsError(n, nothingStarted)
	}
	return m, nil
}

// readFile reads a manifest's bytes and the name to show for it; "-" is stdin.
func (a *App) readFile(file string) (raw []byte, name string, err error) {
	in, name := a.In, "stdin"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, "", fmt.Errorf("cannot read manifest: %v", err)
		}
		defer f.Close()
		in, name = f, file
	}
	if raw, err = io.ReadAll(io.LimitReader(in, maxManifest)); err != nil {
		return nil, "", fmt.Errorf("cannot read manifest %s: %v", name, err)
	}
	return raw, name, nil
}

// unsaid are labd's warnings without those that reading the file brought, at
// their places in it; m is nil if there is no file.
func unsaid(m *manifest.Manifest, found []api.Problem) []string {
	var said manifest.Problems
	if m != nil {
		said = manifest.Validate(m, manifest.Start)
	}
	var lines []string
	for _, w := range found {
		switch {
		case m == nil:
			lines = append(lines, w.String())
		case !slices.ContainsFunc(said, func(p manifest.Problem) bool { return p.Path == w.Path && p.Message == w.Message }):
			lines = append(lines, m.At(manifest.Warning, w.Path, w.Message, w.Fix).String())
		}
	}
	return lines
}

const nothingStarted = "; nothing was started"

func problemsError(n int, then string) error { return problemsIn("manifest", n, then) }

func problemsIn(where string, n int, then string) error {
	what := "1 problem"
	if n != 1 {
		what = fmt.Sprintf("%d problems", n)
	}
	return &exitError{code: exitProblems, cause: fmt.Errorf("%s in the %s%s", what, where, then)}
}

// fill puts the manifest's parts into the request. Both packages name the
// fields as the API does, so JSON is the translation.
func fill(req *api.StartPlay, m *manifest.Manifest) error {
	raw, err := json.Marshal(m.Playground)
	if err != nil {
		return err
	}
	var pg api.Playground
	if err := json.Unmarshal(raw, &pg); err != nil {
		return fmt.Errorf("cannot translate manifest: %v", err)
	}
	req.Machines, req.Networks, req.Tabs = pg.Machines, pg.Networks, pg.Tabs
	req.InitTasks, req.InitConditionSpec, req.RegistryAuth = pg.InitTasks, pg.InitConditions, pg.RegistryAuth
	return nil
}

// refusedManifest prints the problems that labd found, at their places in the
// file if there is one.
// Then ends the message.
func (a *App) refusedManifest(err error, m *manifest.Manifest, then string) error {
	var refusal *client.Refusal
	if !errors.As(err, &refusal) || len(refusal.Reason.Problems) == 0 {
		return err
	}
	for _, p := range refusal.Reason.Problems {
		if m != nil {
			at := m.At(manifest.Error, p.Path, p.Message, p.Fix)
			if p.Severity == string(manifest.Warning) {
				at.Severity = manifest.Warning
			}
			a.say(false, "%s", at)
		} else {
			a.say(false, "%s", p)
		}
	}
	errs := 0
	for _, p := range refusal.Reason.Problems {
		if p.Severity != string(manifest.Warning) {
			errs++
		}
	}
	return problemsError(errs, then)
}

// consent asks before somebody else's playground is started.
func (a *App) consent(ctx context.Context, c *client.Client, req *api.StartPlay) error {
	pg, err := c.Playground(ctx, req.Playground)
	if err != nil {
		return err
	}
	if pg.Owner == "" {
		req.SafetyDisclaimerConsent = true
		return nil
	}
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	if pg.Owner == me.ID {
		req.SafetyDisclaimerConsent = true
		return nil
	}
	if _, ok := terminalOf(a.In); !ok {
		return fmt.Errorf("playground %q belongs to somebody else: look at it, then start it with --safety-disclaimer-consent", pg.Name)
	}
	ok, err := a.confirm(fmt.Sprintf("Playground %s belongs to somebody else and runs their code on your machines.\nStart it?", pg.Name))
	if err != nil || !ok {
		return orNothing(err, "nothing was started")
	}
	req.SafetyDisclaimerConsent = true
	return nil
}

func (a *App) whichPlayground(ctx context.Context, c *client.Client) error {
	all, err := c.Playgrounds(ctx, "")
	if err != nil {
		return err
	}
	var names []string
	for _, pg := range all {
		names = append(names, pg.Name)
	}
	return fmt.Errorf("which playground? There are: %s", strings.Join(names, ", "))
}
