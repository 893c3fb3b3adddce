package gauge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	stat    = "cpu  100 10 50 800 40 1 2 7 30 3\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n"
	meminfo = "MemTotal:        2048 kB\nMemFree:          100 kB\nMemAvailable:    512 kB\n"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", stat)
	write("meminfo", meminfo)
	got, err := Read(dir)
	if want := (Reading{Busy: 170, Idle: 840, MemoryTotal: 2 << 20, MemoryAvailable: 512 << 10}); err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	for name, bad := range map[string]string{"stat": "cpu 1 2\n", "meminfo": "MemTotal: many kB\n"} {
		write("stat", stat)
		write("meminfo", meminfo)
		write(name, bad)
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "cannot measure the ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none")); err == nil {
		t.Error("nothing there, and no error")
	}
}

func TestCPU(t *testing.T) {
	before := Reading{Busy: 100, Idle: 100}
	for now, want := range map[Reading]float64{
		{Busy: 130, Idle: 110}: 0.75, {Busy: 100, Idle: 100}: 0, {Busy: 200, Idle: 100}: 1,
		{Busy: 50, Idle: 120}: 0, // counters may start again
	} {
		if got := now.CPU(before); got != want {
			t.Errorf("%+v: %v, want %v", now, got, want)
		}
	}
}
