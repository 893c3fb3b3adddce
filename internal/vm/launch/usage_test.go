//go:build linux

package launch

import (
	"os"
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	stat := "42 (a ) name 7) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 1000 8000000 300 184467\n"
	got, err := parseUsage([]byte(stat), 4096)
	if want := (Usage{CPU: 3 * time.Second, Memory: 300 * 4096}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "42 (x) S 1", "no parenthesis at all"} {
		if _, err := parseUsage([]byte(bad), 1); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	if own, err := ReadUsage(os.Getpid()); err != nil || own.Memory < 1<<20 {
		t.Errorf("of this process: %+v, %v", own, err)
	}
	if _, err := ReadUsage(1 << 30); err == nil {
		t.Error("a process that is not there uses something")
	}
}
