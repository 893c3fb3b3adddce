// Package labtest holds what tests of every folder share: the test tiers, the
// golden helper and the leak check. Tests only.
package labtest

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Tier is something a test needs of the machine it runs on.
type Tier string

const (
	// Root: root rights, network namespaces, loop devices.
	Root Tier = "root"
	// VM: QEMU, and Root.
	VM Tier = "vm"
	// Browser: Chromium and what web/ is built with, and VM.
	Browser Tier = "browser"
	// Bases: every official image, and the time to boot them all.
	Bases Tier = "bases"
)

// Require skips the test unless the environment variable LAB_TEST lists the
// tier ("root,vm"), and fails it if the tier was asked for but is missing: a
// test that was asked for never passes by not running.
func Require(t testing.TB, tiers ...Tier) {
	t.Helper()
	asked := strings.Split(os.Getenv("LAB_TEST"), ",")
	for _, tier := range tiers {
		if !slices.Contains(asked, string(tier)) {
			t.Skipf("needs LAB_TEST=%s", tier)
		}
		if os.Geteuid() != 0 {
			t.Fatalf("LAB_TEST lists %q, but this is not root", tier)
		}
		if tier == Browser {
			if _, err := exec.LookPath("chromium"); err != nil {
				t.Fatalf("LAB_TEST lists %q, but there is no Chromium: %v", tier, err)
			}
		}
		if tier == VM {
			if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
				t.Fatalf("LAB_TEST lists %q, but there is no QEMU: %v", tier, err)
			}
		}
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

// Golden compares got with testdata/<name>; with -update it rewrites the file.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("no golden file; run with -update: %v", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// SocketDir makes a directory whose path is short enough for Unix sockets,
// which t.TempDir's often is not.
func SocketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
