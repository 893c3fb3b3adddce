package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"sandlot/api"
	"sandlot/internal/control"
	"sandlot/internal/manifest"
)

// plansFlag is a pflag.Value: YAML that maps names of plans to their limits.
// Plans that it does not name stay as they are.
type plansFlag struct {
	text  string
	plans map[string]control.Budget
}

func newPlans() *plansFlag { return &plansFlag{plans: control.DefaultPlans()} }

func (p *plansFlag) String() string { return p.text }

func (p *plansFlag) Type() string { return "plans" }

func (p *plansFlag) Set(text string) error {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return fmt.Errorf("%s; write like {free: {plays: 2}}", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	problems := p.setNode(doc.Content[0])
	var lines []string
	for _, problem := range problems {
		lines = append(lines, problem.String())
	}
	if len(lines) > 0 {
		return fmt.Errorf("%s", strings.Join(lines, "\n"))
	}
	return nil
}

// structured is a flag whose value in the file has a structure of its own.
type structured interface {
	pflag.Value
	// setNode takes the value; the problems' paths are below the setting.
	setNode(node *yaml.Node) []api.Problem
}

// limitsOfPlans are what a plan may say, in the order of the sample.
var limitsOfPlans = []struct {
	name, mend string
	set        func(b *control.Budget, value string) bool
}{
	{"machine-cpus", "write 1 or more", count(func(b *control.Budget) *int { return &b.MachineCPUs })},
	{"machine-memory", memoryMend, memory(func(b *control.Budget) *int { return &b.MachineMemoryMiB })},
	{"play-cpus", "write 1 or more", count(func(b *control.Budget) *int { return &b.PlayCPUs })},
	{"play-memory", memoryMend, memory(func(b *control.Budget) *int { return &b.PlayMemoryMiB })},
	{"plays", "write 1 or more", count(func(b *control.Budget) *int { return &b.Plays })},
	{"stored-plays", "write 1 or more", count(func(b *control.Budget) *int { return &b.StoredPlays })},
	{"play-time", "write 1m or more, like 90m or 4h", period(func(b *control.Budget) *time.Duration { return &b.PlayTime })},
	{"longest-play-time", "write 1m or more, like 90m or 4h", period(func(b *control.Budget) *time.Duration { return &b.LongestPlayTime })},
	{"pool-space", "write like 40GiB", func(b *control.Budget, value string) (ok bool) {
		n, err := manifest.ParseSize(value)
		b.PoolBytes = n
		return err == nil && n > 0
	}},
	{"playgrounds", "write 1 or more", count(func(b *control.Budget) *int { return &b.Playgrounds })},
}

var memoryMend = "write like 4GiB, at least " + manifest.FormatSize(manifest.MinRAM)

func count(field func(b *control.Budget) *int) func(b *control.Budget, value string) bool {
	return func(b *control.Budget, value string) bool {
		n, err := strconv.Atoi(value)
		*field(b) = n
		return err == nil && n >= 1
	}
}

func memory(field func(b *control.Budget) *int) func(b *control.Budget, value string) bool {
	return func(b *control.Budget, value string) bool {
		n, err := memoryLimit("", value)
		*field(b) = n
		return err == nil && n > 0
	}
}

func period(field func(b *control.Budget) *time.Duration) func(b *control.Budget, value string) bool {
	return func(b *control.Budget, value string) bool {
		d, err := time.ParseDuration(value)
		*field(b) = d.Truncate(time.Minute)
		return err == nil && d >= time.Minute
	}
}

func (p *plansFlag) setNode(node *yaml.Node) (problems []api.Problem) {
	at := func(node *yaml.Node, path, message, fix string) {
		problems = append(problems, api.Problem{Path: path, Line: node.Line, Column: node.Column, Message: message, Fix: fix})
	}
	if node.Kind != yaml.MappingNode {
		at(node, "plans", "is no list of plans", "write lines of the form name: {plays: 2}")
		return problems
	}
	plans, seen := maps.Clone(p.plans), map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, body := node.Content[i], node.Content[i+1]
		path := "plans." + name.Value
		switch {
		case !planName(name.Value):
			at(name, path, fmt.Sprintf("%q cannot be a plan's name", name.Value), "write 1 to 32 lower-case letters, digits and hyphens")
			continue
		case name.Value == control.UnlimitedPlan:
			at(name, path, "this one has no limits", "choose another name")
			continue
		case seen[name.Value]:
			at(name, path, "stands there already", "keep one of them")
			continue
		case body.Kind != yaml.MappingNode:
			at(body, path, "is no list of limits", "write like {plays: 2}, or {} for none")
			continue
		}
		seen[name.Value] = true
		var b control.Budget
		for j := 0; j+1 < len(body.Content); j += 2 {
			key, value := body.Content[j], body.Content[j+1]
			here := path + "." + key.Value
			k := slices.IndexFunc(limitsOfPlans, func(l struct {
				name, mend string
				set        func(b *control.Budget, value string) bool
			}) bool {
				return l.name == key.Value
			})
			if k < 0 {
				at(key, here, "there is no such limit", "there are "+limitNames())
			} else if l := limitsOfPlans[k]; value.Kind != yaml.ScalarNode || !l.set(&b, value.Value) {
				at(value, here, fmt.Sprintf("cannot use %q", value.Value), l.mend+", or leave it out for no limit")
			}
		}
		if b.PlayTime > b.LongestPlayTime && b.LongestPlayTime > 0 {
			at(body, path, "play-time is above longest-play-time", "raise that, or lower this")
		}
		plans[name.Value] = b
	}
	if len(problems) == 0 {
		text, err := yaml.Marshal(node)
		if err != nil {
			at(node, "plans", err.Error(), "")
			return problems
		}
		p.plans, p.text = plans, string(text)
	}
	return problems
}

func limitNames() string {
	names := make([]string, len(limitsOfPlans))
	for i, l := range limitsOfPlans {
		names[i] = l.name
	}
	return strings.Join(names, ", ")
}

func planName(name string) bool {
	return len(name) >= 1 && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// checkPlan refuses a name that no plan has.
func (p *plansFlag) checkPlan(name string) error {
	if _, ok := p.plans[name]; !ok {
		return fmt.Errorf("there is no plan %q: there are %s; the configuration names others under plans", name, strings.Join(slices.Sorted(maps.Keys(p.plans)), ", "))
	}
	return nil
}
