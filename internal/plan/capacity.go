package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sandlot/internal/manifest"
)

// What a machine gets that asks for nothing, if there is room, and the least
// any machine is scaled down to.
const (
	autoCPUs      = 2
	autoMemoryMiB = 2048
	minCPUs       = 1
	minMemoryMiB  = int(manifest.MinRAM >> 20)
)

type share struct{ cpus, memory int }

// resources gives every machine its CPUs and memory (MiB). Requests above a
// limit are scaled down with a note, never refused; machines that ask for
// nothing share what is left.
func (p *planner) resources(machines []manifest.Machine) []share {
	cpus := make([]int, len(machines))
	memory := make([]int, len(machines))
	for i, m := range machines {
		if m.Resources == nil {
			continue
		}
		cpus[i] = m.Resources.CPUCount
		if bytes, err := manifest.ParseSize(m.Resources.RAMSize); err == nil {
			memory[i] = int(bytes >> 20)
		}
	}
	f := p.facts
	cpus = p.divide(machines, cpus, autoCPUs, minCPUs, f.MaxCPUs, f.PlayCPUs, showCPUs)
	memory = p.divide(machines, memory, autoMemoryMiB, minMemoryMiB, f.MaxMemoryMiB, f.PlayMemoryMiB, func(n int) string { return manifest.FormatSize(int64(n) << 20) })
	out := make([]share, len(machines))
	for i := range out {
		out[i] = share{cpus[i], memory[i]}
	}
	return out
}

func showCPUs(n int) string {
	if n == 1 {
		return "1 CPU"
	}
	return fmt.Sprintf("%d CPUs", n)
}

// divide works on one resource: asked is each machine's request, 0 for none.
func (p *planner) divide(machines []manifest.Machine, asked []int, auto, least, perMachine, perPlay int, show func(int) string) []int {
	got := slices.Clone(asked)
	open, used := 0, 0
	for i := range got {
		if perMachine > 0 {
			got[i] = min(got[i], max(perMachine, least))
		}
		if asked[i] == 0 {
			open++
		}
		used += got[i]
	}
	for i := range got {
		if asked[i] != 0 {
			continue
		}
		got[i] = auto
		if perMachine > 0 {
			got[i] = min(got[i], perMachine)
		}
		if perPlay > 0 {
			got[i] = min(got[i], (perPlay-used)/open)
		}
		got[i] = max(got[i], least)
	}
	if perPlay > 0 && total(got) > perPlay {
		got = scale(got, perPlay, least)
	}
	for i := range got {
		if asked[i] > 0 && got[i] != asked[i] {
			limit := "a machine may have " + show(perMachine)
			if perMachine <= 0 || got[i] < min(asked[i], max(perMachine, least)) {
				limit = "a play may have " + show(perPlay)
			}
			p.note("machine %q asks for %s and gets %s: %s", machines[i].Name, show(asked[i]), show(got[i]), limit)
		}
	}
	return got
}

// scale shares out a limit in proportion to what is wanted, which is more. What
// rounding leaves goes to the largest fractions. Nobody gets less than least,
// even if the limit is too small for that; the others pay for it.
func scale(want []int, limit, least int) []int {
	got := slices.Clone(want)
	var rest []int // those above their least
	for i := range want {
		if got[i] = min(want[i], least); want[i] > least {
			rest = append(rest, i)
		}
	}
	for len(rest) > 0 {
		room, sum := limit-total(got), 0
		for _, i := range rest {
			room, sum = room+got[i], sum+want[i]
		}
		above := slices.DeleteFunc(slices.Clone(rest), func(i int) bool { return want[i]*room <= least*sum })
		if len(above) < len(rest) {
			rest = above
			continue
		}
		left := room
		for _, i := range rest {
			got[i] = want[i] * room / sum
			left -= got[i]
		}
		slices.SortStableFunc(rest, func(a, b int) int { return cmp.Compare(want[b]*room%sum, want[a]*room%sum) })
		for _, i := range rest[:left] { // fewer than rest has
			got[i]++
		}
		break
	}
	return got
}

func total(ns []int) int {
	sum := 0
	for _, n := range ns {
		sum += n
	}
	return sum
}

// backend chooses the VMM of a machine: the one it asks for; else the default
// one; else the most preferred that has room for its drives and interfaces.
func (p *planner) backend(path string, m *manifest.Machine) string {
	have := p.facts.Backends
	if len(have) == 0 {
		p.errorf(path+".backend", `see "labd doctor"`, "no backend works on this host")
		return ""
	}
	order := slices.SortedFunc(maps.Keys(have), func(a, b string) int {
		return cmp.Or(cmp.Compare(have[a].Preference, have[b].Preference), cmp.Compare(a, b))
	})
	if _, ok := have[m.Backend]; ok {
		p.fits(path, m, m.Backend)
		return m.Backend
	}
	if m.Backend != "" && p.facts.Strict {
		p.errorf(path+".backend", "it has "+strings.Join(order, ", "), "backend %q does not work on this host", m.Backend)
		return ""
	}
	chosen := order[0]
	if _, ok := have[manifest.DefaultBackend]; ok && m.Backend == "" {
		order = slices.Insert(order, 0, manifest.DefaultBackend)
	}
	for _, name := range order {
		if lacks(have[name], m) == "" {
			chosen = name
			break
		}
	}
	p.fits(path, m, chosen)
	if m.Backend != "" {
		p.note("machine %q asks for backend %q, which does not work on this host; it gets %q", m.Name, m.Backend, chosen)
	}
	return chosen
}

// fits reports drives and interfaces the backend has no room for.
func (p *planner) fits(path string, m *manifest.Machine, backend string) {
	limits := p.facts.Backends[backend]
	if n := len(m.Drives); n > limits.MaxDrives {
		p.errorf(path+".drives", "take some away or choose another backend", "%d drives; backend %q has room for %d", n, backend, limits.MaxDrives)
	}
	if n := len(m.Network.Interfaces); n > limits.MaxNICs {
		p.errorf(path+".network.interfaces", "take some away or choose another backend", "%d interfaces; backend %q has room for %d", n, backend, limits.MaxNICs)
	}
}

func lacks(limits BackendFacts, m *manifest.Machine) string {
	switch {
	case len(m.Drives) > limits.MaxDrives:
		return "drives"
	case len(m.Network.Interfaces) > limits.MaxNICs:
		return "interfaces"
	}
	return ""
}
