package plan_test

import (
	"os"
	"testing"

	"sandlot/internal/manifest"
	"sandlot/internal/plan"
)

// BenchmarkFiveMachines is what labctl and labd do with a manifest before
// anything is made: read, check, lay over the base, check again, plan.
func BenchmarkFiveMachines(b *testing.B) {
	data, err := os.ReadFile("../../examples/five-machines.yaml")
	if err != nil {
		b.Fatal(err)
	}
	flexbox := base(b, manifest.Flexbox)
	host := facts()
	b.ReportAllocs()
	for b.Loop() {
		m, _ := manifest.Parse("five-machines.yaml", data)
		m, problems := manifest.Inherit(flexbox, m)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		if _, problems := plan.Make(id, m, host); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
