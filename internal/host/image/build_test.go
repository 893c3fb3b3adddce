package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"sandlot/internal/labtest"
)

func wantNoMounts(t testing.TB, dir string) {
	t.Helper()
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil || len(left) != 0 {
		t.Errorf("mounts left: %v, %v", left, err)
	}
}

// Without RUN and base this needs no network; that buildah, its namespaces and
// the import work together is the same.
func TestBuild(t *testing.T) {
	labtest.Require(t, labtest.Root)
	opts := testOptions(t)
	opts.Recipes = map[string]string{"tiny": writeFiles(t, t.TempDir(), map[string][]byte{
		"Dockerfile": []byte("FROM scratch\nCOPY one /etc/one\nCOPY two /etc/two\n"), "one": []byte("1"), "two": []byte("2"),
	})}
	s := openStore(t, opts)
	ctx := context.Background()
	builds := 0
	build := func(force bool) Image {
		t.Helper()
		img, err := s.Build(ctx, "tiny", "", BuildOptions{Force: force, Progress: func(p Progress) {
			if strings.HasPrefix(p.Note, "STEP 1/") {
				builds++
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		wantNoStaging(t, s)
		wantNoMounts(t, opts.Dir)
		return img
	}
	first := build(false)
	if got := flattenSource(t, s, "tiny"); !strings.Contains(got, `0 0644 etc/one "1"`) || !strings.Contains(got, `0 0644 etc/two "2"`) {
		t.Errorf("got\n%s", got)
	}
	if again := build(false); again != first || builds != 1 {
		t.Errorf("an unchanged folder was built again: %d builds", builds)
	}
	if build(true); builds != 2 {
		t.Errorf("Force: %d builds", builds)
	}
	if err := os.WriteFile(filepath.Join(opts.Recipes["tiny"], "one"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	build(false)
	if got := flattenSource(t, s, "tiny"); !strings.Contains(got, `etc/one "changed"`) {
		t.Errorf("a changed folder was not built again:\n%s", got)
	}
	// What the store lost is built again.
	if err := os.RemoveAll(filepath.Join(opts.Dir, "blobs", "sha256")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(opts.Dir, "blobs", "sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	if build(false); builds != 4 {
		t.Errorf("lost blobs: %d builds", builds)
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	labtest.Require(t, labtest.Root)
	s := openStore(t, testOptions(t))
	ctx := context.Background()
	context := func(dockerfile string) string {
		return writeFiles(t, t.TempDir(), map[string][]byte{"Dockerfile": []byte(dockerfile)})
	}
	for _, c := range []struct{ name, dir, want string }{
		{"x", t.TempDir(), "there is no Dockerfile"},
		{"x", "", "no recipe of that name"},
		{"Bad Name", context("FROM scratch\n"), "not allowed"},
		{"x", context("FROM scratch\nCOPY missing /\n"), "missing"},
		{"x", context("FROM scratch\nNONSENSE\n"), "NONSENSE"},
	} {
		_, err := s.Build(ctx, c.name, c.dir, BuildOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
		wantNoStaging(t, s)
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	labtest.Require(t, labtest.Root)
	s := openStore(t, testOptions(t))
	dir := writeFiles(t, t.TempDir(), map[string][]byte{"Dockerfile": []byte("FROM scratch\nCOPY f /f\n"), "f": []byte("1")})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Build(ctx, "x", dir, BuildOptions{Progress: func(p Progress) {
		if strings.HasPrefix(p.Note, "STEP") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantNoStaging(t, s)
	wantNoMounts(t, s.opts.Dir)
	if _, err := s.Lookup("x"); err == nil {
		t.Error("stored")
	}
}

func TestBuildFromStoredImages(t *testing.T) {
	labtest.Require(t, labtest.Root)
	opts := testOptions(t)
	recipe := func(dockerfile, content string) string {
		return writeFiles(t, t.TempDir(), map[string][]byte{"Dockerfile": []byte(dockerfile), "f": []byte(content)})
	}
	opts.Recipes = map[string]string{
		"base": recipe("FROM scratch\nCOPY f /base\n", "1"),
		"top":  recipe("FROM localhost/base AS files\nFROM base\nCOPY --from=files base /copy\nCOPY f /top\n", "2"),
		"one":  recipe("FROM two\nCOPY f /f\n", ""), "two": recipe("FROM one\nCOPY f /f\n", ""),
		"alone": recipe("FROM localhost/nothing\nCOPY f /f\n", ""),
	}
	s := openStore(t, opts)
	ctx := context.Background()
	build := func(name, dir string) Image {
		t.Helper()
		img, err := s.Build(ctx, name, dir, BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantNoStaging(t, s)
		return img
	}
	wantFiles := func(name string, want ...string) {
		t.Helper()
		got := flattenSource(t, s, name)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s has no %s:\n%s", name, w, got)
			}
		}
	}
	top := build("top", "") // and base before it
	wantFiles("top", `base "1"`, `copy "1"`, `top "2"`)
	layers := func(name string) []string {
		t.Helper()
		img, err := s.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.openStored(img)
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		m, err := parseManifest(o.manifest)
		if err != nil {
			t.Fatal(err)
		}
		var digests []string
		for _, l := range m.Layers {
			digests = append(digests, l.Digest.String())
		}
		return digests
	}
	if base, top := layers("base"), layers("top"); len(base) != 1 || len(top) != 2 || top[0] != base[0] {
		t.Errorf("layers %q over %q, want one more", top, base)
	}
	if again := build("top", ""); again != top {
		t.Error("an unchanged image over an unchanged base was built again")
	}
	// A base that changed is built again, and with it what stands on it.
	if err := os.WriteFile(filepath.Join(opts.Recipes["base"], "f"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	build("top", "")
	wantFiles("top", `base "changed"`, `copy "changed"`)
	// A name that somebody gave to an image of theirs stays theirs.
	mine := build("base", recipe("FROM scratch\nCOPY f /mine\n", "3"))
	if got, err := s.storeBases(ctx, []string{"base", "debian:12", "python"}, []string{"x"}, nil); err != nil || len(got) != 1 || got[0] != mine {
		t.Errorf("bases %+v, %v, want only %+v", got, err, mine)
	}
	for name, want := range map[string]string{
		"one":   "the images start from each other: one → two → one",
		"alone": `cannot find image "nothing"`,
	} {
		if _, err := s.Build(ctx, name, "", BuildOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	wantNoStaging(t, s)
	wantNoMounts(t, opts.Dir)
}
