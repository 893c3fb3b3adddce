// Package test holds the stories: scripts that run the built programs on this
// host, boot real machines and look at what a person would see. In go
// test/script/*.txtar, a kernel and an image; nothing is left on the host.
//
// The scripts' own commands are in commands_test.go (labd and the host) and
// pty_test.go (a person at a terminal). `make test-prepare` makes the data
// directory they share, named by LAB_CACHE.
package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sandlot/internal/host/layout"
	"sandlot/internal/labtest"
)

// world is what all scripts share.
type world struct {
	bin      string // the built programs
	data     layout.Layout
	tiny     string   // archive of the tiny image
	userland string   // archive of the image with a userland
	nothing  []string // the host while no labd runs and no play exists
}

func TestStories(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM)
	cache := os.Getenv("LAB_CACHE")
	if cache == "" {
		cache = "/var/cache/sandlot-test"
	}
	w := &world{data: layout.Layout{Root: cache}}
	if _, err := os.Stat(filepath.Join(w.data.Kernels(), "6.1")); err != nil {
		t.Fatalf("%s holds no kernel 6.1: run make test-prepare", cache)
	}
	w.programs(t)
	w.settle(t)
	testscript.RunT(serial{t}, testscript.Params{
		Dir:                 "script",
		WorkdirRoot:         t.TempDir(),
		Setup:               w.setup,
		Cmds:                w.commands(),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
	})
}

// programs builds what the scripts run. Everybody may execute it: one script
// does so as nobody.
func (w *world) programs(t *testing.T) {
	dir, err := os.MkdirTemp("", "stories")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.bin = dir
	build(t, filepath.Join(dir, "labd"), "../cmd/labd", "")
	build(t, filepath.Join(dir, "labctl"), "../cmd/labctl", "")
	build(t, filepath.Join(dir, "labinit"), "../cmd/labinit", "-s -w")
	w.tiny = tinyArchive(t, dir)
	w.userland = userlandArchive(t, dir, filepath.Join(dir, "tiny"))
}

func build(t testing.TB, out, pkg, ldflags string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags="+ldflags, "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, b)
	}
}

// settle brings the data directory to where every script starts: no play, the
// images in the store, the pool mounted, the host's own rules made.
func (w *world) settle(t *testing.T) {
	for _, args := range [][]string{{"image", "pull", w.tiny, "--name", "tiny", "--prepare", "6.1"}, {"image", "list"}} {
		cmd := exec.Command(filepath.Join(w.bin, "labd"), args...)
		cmd.Env = append(os.Environ(), "LABD_DATA_DIR="+w.data.Root, "LABD_POOL_SIZE=10GiB")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("labd %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		if args[1] == "list" && !strings.Contains(string(out), "debian-12 ") {
			t.Fatalf("%s holds no image debian-12: run make test-prepare", w.data.Root)
		}
	}
	l := &lab{world: w, root: w.data.Root, home: t.TempDir(), log: t.Logf}
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	l.clean()
	var err error
	if w.nothing, err = w.inventory(); err != nil {
		t.Fatal(err)
	}
}

// serial runs one script after the other: boots share two cores, and one data
// directory has one labd.
type serial struct{ *testing.T }

func (serial) Parallel() {}

func (serial) Verbose() bool { return testing.Verbose() }

func (s serial) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(serial{t}) })
}
