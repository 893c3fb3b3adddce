package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/internal/labtest"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/playgrounds"
)

const id = play.ID("0123456789abcdef01234567")

func facts() plan.Facts {
	return plan.Facts{
		Backends: map[string]plan.BackendFacts{"qemu": {MaxDrives: 24, MaxNICs: 8, Preference: 3}},
		Kernels:  []string{"5.10", "6.1", "6.12", "6.18"},
	}
}

// base reads an official base with its defaults filled in.
func base(t testing.TB, name string) *manifest.Manifest {
	t.Helper()
	data, err := playgrounds.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	m, problems := manifest.Parse(name+".yaml", data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return m
}

func effective(t testing.TB, file string, data []byte) *manifest.Manifest {
	t.Helper()
	m, problems := manifest.Parse(file, data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	m, problems = manifest.Inherit(base(t, "flexbox"), m)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return m
}

func TestExamplesPlan(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, problems := plan.Make(id, effective(t, file, data), facts())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			labtest.Golden(t, name+".plan.txt", p.String())
		})
	}
}

func TestBasesPlan(t *testing.T) {
	for _, name := range playgrounds.Names() {
		if name == manifest.Flexbox {
			continue // the blank one has no machines
		}
		t.Run(name, func(t *testing.T) {
			b := base(t, name)
			m, problems := manifest.Inherit(b, &manifest.Manifest{})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			p, problems := plan.Make(id, m, facts())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			labtest.Golden(t, "base-"+name+".plan.txt", p.String())
		})
	}
}
