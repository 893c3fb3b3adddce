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
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sandlot/internal/host/layout"
	"sandlot/internal/labtest"
)

// world is what all scripts share.
type world struct {
	bin      string        // the built programs
	cache    layout.Layout // kernels and images
	tiny     string        // archive of the tiny image
	userland string        // archive of the image with a userland
	places   chan *place   // those that no script uses
}

func TestStories(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM)
	// A machine of one processor keeps one core busy.
	tell(t, "script", 2, "make test-prepare", "debian-12")
}

// tell runs the scripts of a folder, so many at once; prepare is what makes
// the images they need, if these are missing.
func tell(t *testing.T, folder string, places int, prepare string, images ...string) {
	cache := os.Getenv("LAB_CACHE")
	if cache == "" {
		cache = "/var/cache/sandlot-test"
	}
	w := &world{cache: layout.Layout{Root: cache}, places: make(chan *place, places)}
	if _, err := os.Stat(filepath.Join(w.cache.Kernels(), "6.1")); err != nil {
		t.Fatalf("%s holds no kernel 6.1: run %s", cache, prepare)
	}
	w.programs(t)
	w.images(t, prepare, images)
	for i := range places {
		w.places <- w.place(t, i)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 folder,
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

// images brings the shared data directory to what places are made from.
func (w *world) images(t *testing.T, prepare string, images []string) {
	for _, args := range [][]string{
		{"pull", w.tiny, "--name", "tiny", "--prepare", "6.1"},
		{"prune"},
		{"list"},
	} {
		cmd := exec.Command(filepath.Join(w.bin, "labd"), append([]string{"image"}, args...)...)
		cmd.Env = append(os.Environ(), "LABD_DATA_DIR="+w.cache.Root, "LABD_POOL_SIZE=10GiB")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("labd image %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		for _, image := range images {
			if args[0] == "list" && !strings.Contains("\n"+string(out), "\n"+image+" ") {
				t.Fatalf("%s holds no image %s: run %s", w.cache.Root, image, prepare)
			}
		}
	}
}

// place is a data directory, which one script at a time has for itself. It lies
// in the pool of the shared one, so kernels, images and base volumes are clones.
type place struct {
	data    layout.Layout
	nothing []string // the host while no labd runs and no play exists
}

// place makes a place, after ending what an earlier, killed run left in it.
func (w *world) place(t *testing.T, number int) *place {
	p := &place{data: layout.Layout{Root: filepath.Join(w.cache.Pool(), "s"+strconv.Itoa(number))}}
	purge := func() {
		cmd := exec.Command(filepath.Join(w.bin, "labd"), "purge", "--yes", "--data-dir", p.data.Root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("labd purge: %v\n%s", err, out)
		}
	}
	purge()
	t.Cleanup(purge)
	// Machines' users pass through.
	for _, dir := range []string{p.data.Root, p.data.Pool()} {
		if err := os.Mkdir(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{w.cache.Kernels(): p.data.Kernels(), w.cache.Images(): p.data.Images(), w.cache.Bases(): p.data.Bases()} {
		clone(t, from, to)
	}
	l := &lab{world: w, place: p, root: p.data.Root, home: t.TempDir(), log: t.Logf}
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	l.clean()
	var err error
	if p.nothing, err = p.inventory(); err != nil {
		t.Fatal(err)
	}
	return p
}

// clone copies a folder, without what somebody who builds an image right now
// keeps in it.
func clone(t *testing.T, from, to string) {
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"-a", "--reflink=auto", "-t", to}
	for _, e := range entries {
		if e.Name() != "tmp" {
			args = append(args, filepath.Join(from, e.Name()))
		}
	}
	if out, err := exec.Command("cp", args...).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}
