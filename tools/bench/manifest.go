package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
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

// hostile is the reader's worst mebibyte of those that its tests know: the
// longest processor time and the most memory, whichever documents those are.
func (b *bench) hostile() ([]figure, error) {
	out, err := b.command(nil, "go", "test", "./internal/manifest", "-run", "^$", "-bench", "^BenchmarkHostileMebibyte$", "-benchtime", "5x")
	if err != nil {
		return nil, err
	}
	worst := map[string]float64{}
	of := map[string]string{}
	for line := range strings.Lines(out) {
		name, metrics, _ := strings.Cut(line, "\t")
		_, name, found := strings.Cut(strings.TrimSpace(name), "/")
		if !found {
			continue
		}
		for metric := range strings.SplitSeq(metrics, "\t") {
			number, unit, _ := strings.Cut(strings.TrimSpace(metric), " ")
			if v, err := strconv.ParseFloat(number, 64); err == nil && v > worst[unit] {
				worst[unit], of[unit] = v, name
			}
		}
	}
	t, used := worst["cpu-ms/op"], worst["B/op"]
	if t == 0 || used == 0 {
		return nil, fmt.Errorf("the benchmark said:\n%s", out)
	}
	fmt.Fprintf(os.Stderr, "  worst in time: %s, in memory: %s\n", of["cpu-ms/op"], of["B/op"])
	return []figure{
		{"the reader's worst mebibyte, processor time", fmt.Sprintf("%.0f ms", t), "100 ms", t / 100, 1},
		{"allocated for its worst mebibyte", fmt.Sprintf("%.0f MiB", used/(1<<20)), "64 MiB", used / (64 << 20), 1},
	}, nil
}
