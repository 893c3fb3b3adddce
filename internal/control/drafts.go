package control

import (
	"cmp"
	"context"
	"fmt"

	"sandlot/api"
	"sandlot/internal/manifest"
)

// A draft is a manifest that somebody is writing: text, for the sake of its
// lines. What is stored is made of the definition that the check returns.

// emptyLab is what a draft over a base without machines begins with.
const emptyLab = `kind: playground
title: My lab
description: ""
categories: [linux]
playground:
  networks:
    - name: local
      subnet: 172.16.0.0/24
  machines:
    - name: debian
      users:
        - name: root
        - name: laborant
          default: true
      drives:
        - source: debian-12
          mount: /
          size: 10GiB
      network:
        interfaces:
          - network: local
      resources:
        cpuCount: 2
        ramSize: 1GiB
  tabs:
    - kind: terminal
      machine: debian
      name: Terminal
  accessControl:
    canList: [owner]
    canRead: [owner]
    canStart: [owner]
`

// ManifestText returns a playground's manifest as YAML, without its name, base
// and cover, which stay as they are when it is changed. anew means what a new
// playground over it begins with: that is its author's alone.
func (c *Control) ManifestText(ctx context.Context, user api.Me, name string, anew bool) (string, error) {
	t, err := c.readable(ctx, user, name)
	if err != nil {
		return "", err
	}
	m := *t.complete
	m.Name, m.Base, m.Cover = "", "", ""
	if anew {
		if len(m.Playground.Machines) == 0 {
			return emptyLab, nil
		}
		only := []string{"owner"}
		m.Playground.AccessControl = &manifest.AccessControl{CanList: only, CanRead: only, CanStart: only}
		m.Playground.RegistryAuth = ""
	}
	text, err := manifest.Marshal(&m)
	return string(text), err
}

// CheckDraft says everything that is wrong with a manifest, with its lines, as
// creating or changing the playground would; without errors it returns the
// definition to do that with.
func (c *Control) CheckDraft(ctx context.Context, user api.Me, d api.Draft) (api.CheckedDraft, error) {
	checked := api.CheckedDraft{Problems: []api.Problem{}}
	base, replace, err := c.draftBase(ctx, user, d)
	if err != nil {
		return checked, err
	}
	m, problems := manifest.Parse("", []byte(d.Text))
	if m != nil {
		m.Name, m.Base, m.Cover = d.Name, base.Name, ""
		lay := manifest.Derive
		if replace {
			lay = manifest.Replace
		}
		whole, more := lay(base, m)
		problems = append(more, checkSaved(whole, base)...)
		for _, p := range c.checkSources(ctx, whole) {
			p = m.At(manifest.Warning, p.Path, p.Message, p.Fix) // it may be built by then
			problems = append(problems, p)
		}
	}
	for _, p := range problems {
		w := wireProblems(manifest.Problems{p})[0]
		w.Severity = string(p.Severity)
		checked.Problems = append(checked.Problems, w)
	}
	if len(problems.Errors()) > 0 {
		return checked, nil
	}
	spec := &api.PlaygroundSpec{Title: m.Title, Description: m.Description, Categories: m.Categories, Markdown: m.Markdown}
	if err := convert(m.Playground, spec); err != nil {
		return checked, fmt.Errorf("cannot translate a manifest: %w", err)
	}
	checked.Definition = spec
	return checked, nil
}

// draftBase is what a draft is laid over, and whether it replaces a playground
// of the user's.
func (c *Control) draftBase(ctx context.Context, user api.Me, d api.Draft) (base *manifest.Manifest, replace bool, err error) {
	if d.Playground == "" {
		t, err := c.readable(ctx, user, cmp.Or(d.Base, manifest.Flexbox))
		return t.manifest, false, err
	}
	t, err := c.owned(ctx, user, d.Playground, "change")
	if err != nil {
		return nil, true, err
	}
	base, err = c.baseOf(ctx, user, t)
	return base, true, err
}
