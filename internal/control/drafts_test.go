package control_test

import (
	"slices"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/playgrounds"
)

// What a draft is checked with is what creating and changing refuse by, and it
// knows the lines.
func TestDrafts(t *testing.T) {
	c, ctx := newLab(t), t.Context()
	ann, bob := c.another(t, "ann"), c.another(t, "bob")
	text, err := c.ManifestText(ctx, ann, "flexbox", true)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := c.CheckDraft(ctx, ann, api.Draft{Text: text, Name: "mine"})
	if err != nil || checked.Definition == nil {
		t.Fatalf("the empty lab: %+v %v", checked.Problems, err)
	}
	made, err := c.CreatePlayground(ctx, ann, api.CreatePlayground{Name: "mine", Base: "flexbox", PlaygroundSpec: *checked.Definition})
	if err != nil {
		t.Fatal(err)
	}
	// Its own text, unchanged, changes nothing.
	text, err = c.ManifestText(ctx, ann, made.Name, false)
	if err != nil || strings.Contains(text, made.Name) || strings.Contains(text, "cover") {
		t.Fatalf("%v\n%s", err, text)
	}
	checked, err = c.CheckDraft(ctx, ann, api.Draft{Text: text, Playground: made.Name})
	if err != nil || checked.Definition == nil {
		t.Fatalf("%+v %v", checked.Problems, err)
	}
	if _, err := c.UpdatePlayground(ctx, ann, made.Name, *checked.Definition); err != nil {
		t.Fatal(err)
	}
	if again, err := c.ManifestText(ctx, ann, made.Name, false); err != nil || again != text {
		t.Errorf("%v: it was\n%s\nand is\n%s", err, text, again)
	}
	// All that is wrong, each at its line.
	bad := strings.Replace(strings.Replace(text, "size: 10GiB", "size: 10 elephants", 1), "cpuCount: 2", "cpuCount: 0", 1)
	checked, err = c.CheckDraft(ctx, ann, api.Draft{Text: bad, Playground: made.Name})
	if err != nil || checked.Definition != nil || len(checked.Problems) < 2 {
		t.Fatalf("%+v %v", checked, err)
	}
	lines := strings.Split(bad, "\n")
	for _, p := range checked.Problems {
		if p.Line == 0 || p.Severity != "error" || !strings.Contains(lines[p.Line-1], "elephants") && !strings.Contains(lines[p.Line-1], "cpuCount") {
			t.Errorf("%+v", p)
		}
	}
	if checked, err = c.CheckDraft(ctx, ann, api.Draft{Text: "kind: [", Name: "x"}); err != nil || len(checked.Problems) != 1 || checked.Problems[0].Line == 0 {
		t.Errorf("no YAML: %+v %v", checked, err)
	}
	// Every official playground is a base that can be copied, by its author alone.
	for _, name := range playgrounds.Names() {
		text, err := c.ManifestText(ctx, ann, name, true)
		if err != nil {
			t.Fatal(err)
		}
		checked, err := c.CheckDraft(ctx, ann, api.Draft{Text: text, Name: "copy", Base: name})
		if err != nil || checked.Definition == nil {
			t.Errorf("%s: %+v %v", name, checked.Problems, err)
			continue
		}
		if got := checked.Definition.AccessControl; len(got.CanStart) != 1 || got.CanStart[0] != "owner" {
			t.Errorf("%s: a copy is for %v", name, got.CanStart)
		}
	}
	// Nobody learns of, or checks against, what is not theirs.
	if _, err := c.ManifestText(ctx, bob, made.Name, false); err == nil || !strings.Contains(err.Error(), "there is no playground") {
		t.Errorf("bob reads: %v", err)
	}
	for _, d := range []api.Draft{{Text: text, Playground: made.Name}, {Text: text, Base: made.Name}, {Text: text, Playground: "flexbox"}} {
		if _, err := c.CheckDraft(ctx, bob, d); err == nil {
			t.Errorf("bob: %+v", d)
		}
	}
}

func TestBackendsAreThoseOfTheHost(t *testing.T) {
	list, err := newLab(t).Backends(t.Context())
	if want := []api.Backend{{Name: "firecracker"}, {Name: "cloud-hypervisor"}, {Name: "qemu", Ready: true}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("%v %v, want %v", list, err, want)
	}
}
