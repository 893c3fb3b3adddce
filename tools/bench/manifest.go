package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/playgrounds"
)

const five = "examples/five-machines.yaml"

// manifest is everything between a file and its plan: read, check, lay over
// the base, check again, plan. Plain figures: there is nothing to compare with.
func (b *bench) manifest() ([]figure, error) {
	const rounds = 500
	data, err := os.ReadFile(five)
	if err != nil {
		return nil, err
	}
	raw, err := playgrounds.Read(manifest.Flexbox)
	if err != nil {
		return nil, err
	}
	base, problems := manifest.Parse(manifest.Flexbox, raw)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	facts := plan.Facts{Backends: map[string]plan.BackendFacts{"qemu": {MaxDrives: 24, MaxNICs: 5}}, Kernels: []string{version}}
	times := make([]time.Duration, rounds)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range times {
		begin := time.Now()
		m, _ := manifest.Parse(five, data)
		m, problems := manifest.Inherit(base, m)
		if err := problems.Err(); err != nil {
			return nil, err
		}
		if _, problems := plan.Make(play.ID("000000000000000000000000"), m, facts); problems.Err() != nil {
			return nil, problems
		}
		times[i] = time.Since(begin)
	}
	runtime.ReadMemStats(&after)
	t, used := median(times), float64(after.TotalAlloc-before.TotalAlloc)/rounds
	return []figure{
		{"manifest of five machines to its plan", fmt.Sprintf("%.2f ms", t.Seconds()*1000), "2 ms", t.Seconds() / 0.002, 1},
		{"allocated for it", fmt.Sprintf("%.2f MB", used/1e6), "2 MB", used / 2e6, 1},
	}, nil
}
