// Package gauge tells how busy this host is. In go the texts of /proc/stat and
// /proc/meminfo, out come CPU time and memory. The reading of both files is all
// that it touches.
package gauge

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Reading is one look at the host.
type Reading struct {
	// Busy and Idle are CPU time of all CPUs since the boot, in ticks.
	Busy, Idle uint64
	// MemoryTotal and MemoryAvailable are bytes; what caches hold is available.
	MemoryTotal, MemoryAvailable int64
}

// CPU is the part of all CPUs that was busy since the reading before, 0 to 1.
func (r Reading) CPU(before Reading) float64 {
	busy, idle := r.Busy-before.Busy, r.Idle-before.Idle
	if r.Busy < before.Busy || r.Idle < before.Idle || busy+idle == 0 {
		return 0
	}
	return float64(busy) / float64(busy+idle)
}

// Read reads both files below proc, "/proc" for real.
func Read(proc string) (Reading, error) {
	var r Reading
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err == nil {
		r.Busy, r.Idle, err = cpuTime(string(stat))
	}
	if err != nil {
		return r, fmt.Errorf("cannot measure the CPUs: %w", err)
	}
	info, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err == nil {
		r.MemoryTotal, r.MemoryAvailable, err = memory(string(info))
	}
	if err != nil {
		return r, fmt.Errorf("cannot measure the memory: %w", err)
	}
	return r, nil
}

// cpuTime reads the first line, proc_stat(5): user nice system idle iowait irq
// softirq steal guest guest_nice. Guests' time is in user's already.
func cpuTime(stat string) (busy, idle uint64, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("no line of all CPUs in stat")
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("stat says %q", field)
		}
		if i == 3 || i == 4 {
			idle += n
		} else {
			busy += n
		}
	}
	return busy, idle, nil
}

func memory(info string) (total, available int64, err error) {
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(line, ":")
		into := map[string]*int64{"MemTotal": &total, "MemAvailable": &available}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("meminfo says %q", strings.TrimSpace(line))
		}
		*into = kib << 10
	}
	if total == 0 {
		return 0, 0, fmt.Errorf("no MemTotal in meminfo")
	}
	return total, available, nil
}
