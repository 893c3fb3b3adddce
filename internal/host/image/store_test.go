package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func TestSourcesOnDisk(t *testing.T) {
	i := imageOf(t, gzipLayer(t, file("a", "1"), dir("d")), zstdLayer(t, whiteout(".wh.a"), file("d/b", "2")))
	const want = "5 0755 ./\n5 0755 d/\n0 0644 d/b \"2\"\n"
	oci, docker := i.ociArchive(t), i.dockerArchive(t)
	for name, source := range map[string]string{
		"layout":         i.layout(t),
		"oci archive":    writeTemp(t, "image.tar", oci),
		"docker archive": writeTemp(t, "image", docker),
		"gzipped":        writeTemp(t, "image.tar.gz", gzipped(t, docker)),
		"zstd":           writeTemp(t, "image.tar.zst", zstded(t, oci)),
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, testOptions(t))
			if got := flattenSource(t, s, source); got != want {
				t.Errorf("read in place:\n%s", got)
			}
			img, err := s.Pull(context.Background(), source, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if wantName := strings.SplitN(filepath.Base(source), ".", 2)[0]; img.Name != wantName {
				t.Errorf("name %q, want %q", img.Name, wantName)
			}
			if img.ID != hashOf(i.config).String() {
				t.Errorf("id %s", img.ID)
			}
			if got := flattenSource(t, s, img.Name); got != want {
				t.Errorf("from the store:\n%s", got)
			}
			wantNoStaging(t, s)
			// Other tools read the store as an OCI layout.
			p, err := layout.FromPath(s.opts.Dir)
			if err != nil {
				t.Fatal(err)
			}
			index, err := p.ImageIndex()
			if err != nil {
				t.Fatal(err)
			}
			m, err := index.IndexManifest()
			if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Annotations[refName] != img.Name {
				t.Errorf("index %+v, %v", m, err)
			}
		})
	}
}

func TestArchivesRefused(t *testing.T) {
	one, two := imageOf(t, gzipLayer(t, file("a", "1"))), imageOf(t, gzipLayer(t, file("b", "2")))
	docker := one.dockerArchive(t)
	for _, c := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"not an archive", []byte(strings.Repeat("hello", 300)), "cannot read archive"},
		{"another kind of archive", tarOf(t, file("etc/passwd", "x")), "neither an OCI nor a Docker archive"},
		{"truncated", docker[:len(docker)/2], "truncated"},
		{"two images", tarOf(t, file("manifest.json", `[{},{}]`)), "holds 2 images"},
		{"configuration under another's name", tarOf(t, file(hashOf(two.config).Hex+".json", string(one.config)),
			file("manifest.json", `[{"Config":"`+hashOf(two.config).Hex+`.json","Layers":[]}]`)), "does not match its digest"},
		{"no layer", tarOf(t, file("c.json", string(one.config)), file("manifest.json", `[{"Config":"c.json","Layers":["../../etc/passwd"]}]`)), "cannot read layer 1"},
	} {
		s := openStore(t, testOptions(t))
		_, err := s.Pull(context.Background(), writeTemp(t, "x.tar", c.content), "x", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
		wantNoStaging(t, s)
	}
	// A folder that is no layout, and a layout that reaches outside itself.
	s := openStore(t, testOptions(t))
	if _, err := s.Pull(context.Background(), t.TempDir(), "x", nil); err == nil || !strings.Contains(err.Error(), "not an OCI layout") {
		t.Errorf("error %v", err)
	}
	evil := one.layout(t)
	blob := filepath.Join(evil, "blobs", "sha256", hashOf(one.layers[0]).Hex)
	outside := writeTemp(t, "outside", one.layers[0])
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, blob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(context.Background(), evil, "x", nil); err == nil {
		t.Error("a layout's symlink to the outside was followed")
	}
}

func TestLookupSaysWhatExistsAndHowToMakeIt(t *testing.T) {
	opts := testOptions(t)
	opts.Recipes = map[string]string{"debian-12": "/src/images/debian-12", "ubuntu-24-04": "/src/images/ubuntu-24-04"}
	s := openStore(t, opts)
	wantError := func(source, want string) {
		t.Helper()
		_, err := s.Lookup(source)
		var missing *NotFoundError
		if !errors.As(err, &missing) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	wantError("debian-12", `cannot find image "debian-12": it is not built yet; run: labd image build debian-12`)
	wantError("foo", `cannot find image "foo": there are no images yet; can be made: labd image build debian-12, labd image build ubuntu-24-04`)
	archive := writeTemp(t, "debian-12.tar", imageOf(t, gzipLayer(t, file("a", "1"))).ociArchive(t))
	if _, err := s.Pull(context.Background(), archive, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup("debian-12"); err != nil {
		t.Error(err)
	}
	wantError("foo", `cannot find image "foo": the images here are debian-12; can be made: labd image build ubuntu-24-04`)
	wantError("oci://debian:12", `cannot find image "oci://debian:12": the images here are debian-12; fetch it with: labd image pull oci://debian:12`)
	wantError("ghcr.io/x/y:z", `cannot find image "ghcr.io/x/y:z": the images here are debian-12; a registry's image is written oci://ghcr.io/x/y:z`)
}

func TestRemoveAndPrune(t *testing.T) {
	s := openStore(t, testOptions(t))
	ctx := context.Background()
	shared := gzipLayer(t, file("shared", "1"))
	one, two := imageOf(t, shared, gzipLayer(t, file("a", "1"))), imageOf(t, shared, gzipLayer(t, file("b", "2")))
	for name, i := range map[string]*testImage{"one": one, "two": two} {
		if _, err := s.Pull(ctx, i.layout(t), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	base := func(i *testImage, rest string) string {
		p := filepath.Join(s.opts.Bases, hashOf(i.config).Hex+rest)
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	kept, unused, busy, old := base(one, "-none-v1.ext4"), base(two, "-none-v1.ext4"), base(two, "-6.1.0-1-v1.ext4"), base(one, "-none-v0.ext4")
	inUse := func(p string) bool { return p == busy }
	if err := s.Remove(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "two"); err == nil {
		t.Error("removed twice")
	}
	got, err := s.Prune(ctx, inUse)
	if err != nil {
		t.Fatal(err)
	}
	// two's own layer, configuration and manifest.
	if got.Blobs != 3 || got.Bases != 2 || got.Bytes == 0 {
		t.Errorf("pruned %+v", got)
	}
	for p, want := range map[string]bool{kept: true, busy: true, unused: false, old: false} {
		if _, err := os.Stat(p); (err == nil) != want {
			t.Errorf("%s: %v, want it kept: %t", p, err, want)
		}
	}
	if got := flattenSource(t, s, "one"); !strings.Contains(got, "shared") {
		t.Errorf("got\n%s", got)
	}
	if again, err := s.Prune(ctx, inUse); err != nil || again.Blobs+again.Bases != 0 {
		t.Errorf("pruned again: %+v, %v", again, err)
	}
	images, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
	}
	if diff := cmp.Diff([]string{"one"}, names); diff != "" {
		t.Error(diff)
	}
}

// What a dead process staged goes; what a living one stages stays.
func TestOpenCleansAfterTheDeadOnly(t *testing.T) {
	opts := testOptions(t)
	alive := openStore(t, opts)
	working, remove, err := alive.staging.temp("base")
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	dead := filepath.Join(opts.Staging, "s123")
	if err := os.MkdirAll(filepath.Join(dead, "base-1", "tree", "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	openStore(t, opts)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead one's folder: %v", err)
	}
	if _, err := os.Stat(working); err != nil {
		t.Errorf("the living one's folder: %v", err)
	}
}
