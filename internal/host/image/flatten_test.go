package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The rules of the OCI image specification's layer.md, one case each.
func TestFlatten(t *testing.T) {
	long := strings.Repeat("long-folder/", 30) // 360 bytes
	for _, c := range []struct {
		name   string
		layers [][]member
		want   string
	}{
		{"whiteout", [][]member{
			{dir("a"), file("a/x", "1"), file("a/y", "2"), dir("b"), file("b/z", "3")},
			{whiteout("a/.wh.x"), whiteout(".wh.b"), whiteout(".wh.never-there"), whiteout("no/such/.wh.dir")},
		}, `
5 0755 ./
5 0755 a/
0 0644 a/y "2"
`},
		{"whiteout hides lower layers only", [][]member{
			{file("x", "old")},
			{file("x", "new"), whiteout(".wh.x"), whiteout(".wh.y"), file("y", "also")},
		}, `
5 0755 ./
0 0644 x "new"
0 0644 y "also"
`},
		{"opaque directory before its siblings", [][]member{
			{dir("d"), file("d/old", "1"), dir("d/sub"), file("d/sub/old", "2")},
			{dir("d", mode(0o700)), whiteout("d/.wh..wh..opq"), file("d/new", "3")},
		}, `
5 0755 ./
5 0700 d/
0 0644 d/new "3"
`},
		{"opaque directory after its siblings", [][]member{
			{dir("d"), file("d/old", "1"), file("d/both", "2")},
			{file("d/both", "3"), dir("d/sub"), file("d/sub/f", "4"), whiteout("d/.wh..wh..opq")},
		}, `
5 0755 ./
5 0755 d/
0 0644 d/both "3"
5 0755 d/sub/
0 0644 d/sub/f "4"
`},
		{"opaque root", [][]member{
			{file("old", "1")}, {file("new", "2"), whiteout(".wh..wh..opq")},
		}, `
5 0755 ./
0 0644 new "2"
`},
		{"AUFS's own names are dropped", [][]member{
			{whiteout(".wh..wh.aufs"), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file("f", "1")},
		}, `
5 0755 ./
0 0644 f "1"
`},
		{"hard link across layers", [][]member{
			{file("a", "1", mode(0o600))}, {link("b", "a")},
		}, `
5 0755 ./
0 0600 a "1"
1 0600 b -> a
`},
		{"hard link keeps its inode when the other name is overwritten later", [][]member{
			{file("a", "old"), link("b", "a")}, {link("c", "a")}, {file("a", "new")},
		}, `
5 0755 ./
0 0644 a "new"
0 0644 b "old"
1 0644 c -> b
`},
		{"hard link within a layer binds to what stood there before", [][]member{
			{file("a", "old")}, {link("b", "a"), file("a", "new"), link("c", "a")},
		}, `
5 0755 ./
0 0644 a "new"
0 0644 b "old"
1 0644 c -> a
`},
		{"hard link to what the same layer removes", [][]member{
			{dir("d"), file("d/a", "1"), file("x", "2")},
			{whiteout(".wh.d"), link("b", "d/a"), link("y", "x"), whiteout(".wh.x")},
		}, `
5 0755 ./
0 0644 b "1"
0 0644 y "2"
`},
		{"hard link to a symlink, a fifo and a device", [][]member{
			{symlink("s", "/etc"), link("s2", "s"), fifo("p"), link("p2", "p"), device(tar.TypeChar, "z", 1, 5), link("z2", "z")},
		}, `
5 0755 ./
6 0640 p
1 0640 p2 -> p
2 0777 s -> /etc
1 0777 s2 -> s
3 0600 z dev 1:5
1 0600 z2 -> z dev 1:5
`},
		{"hard link to itself", [][]member{{file("a", "1"), link("a", "./a")}}, `
5 0755 ./
0 0644 a "1"
`},
		{"file over directory and back", [][]member{
			{dir("x"), file("x/in", "1"), file("y", "2")}, {file("x", "3"), dir("y"), file("y/in", "4")}, {dir("x", mode(0o711))},
		}, `
5 0755 ./
5 0711 x/
5 0755 y/
0 0644 y/in "4"
`},
		{"directory over directory keeps children and takes attributes", [][]member{
			{dir("d", xattr("user.a", "1")), file("d/f", "1")}, {dir("d", mode(0o1777), owner(5, 6))},
		}, `
5 0755 ./
5 1777 d/ 5:6
0 0644 d/f "1"
`},
		{"symlink replaced by a directory, which is not followed", [][]member{
			{dir("usr"), symlink("lib", "usr")}, {dir("lib"), file("lib/f", "1")},
		}, `
5 0755 ./
5 0755 lib/
0 0644 lib/f "1"
5 0755 usr/
`},
		{"attributes of the root", [][]member{{dir(".", mode(0o700), owner(1, 2))}}, `
5 0700 ./ 1:2
`},
		{"names with a leading slash or dot", [][]member{{file("/a", "1"), file("./b", "2"), file("c//d", "3")}}, `
5 0755 ./
0 0644 a "1"
0 0644 b "2"
5 0755 c/
0 0644 c/d "3"
`},
		{"duplicate names: the last one holds", [][]member{{file("a", "1"), file("a", "2")}}, `
5 0755 ./
0 0644 a "2"
`},
		{"extended attributes and capabilities, but not the overlay's", [][]member{
			{file("ping", "1", xattr("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00"), xattr("trusted.overlay.opaque", "y"), xattr("user.overlay.x", "y"))},
		}, `
5 0755 ./
0 0644 ping security.capability="\x01\x00\x00\x02\x00 \x00\x00" "1"
`},
		{"setuid, devices, owners", [][]member{
			{file("su", "1", mode(0o4755)), file("big", "2", owner(70000, 4294967294)), device(tar.TypeBlock, "b", 259, 70000)},
		}, `
5 0755 ./
4 0600 b dev 259:70000
0 0644 big 70000:4294967294 "2"
0 4755 su "1"
`},
		{"long and non-ASCII names", [][]member{
			{file(long+"f", "1"), file("größe-文件", "2"), file("latin-\xe9", "3")},
		}, "\n5 0755 ./\n0 0644 größe-文件 \"2\"\n0 0644 latin-\xe9 \"3\"\n" + folders(long) + "0 0644 " + long + "f \"1\"\n"},
		{"empty image", nil, "\n5 0755 ./\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers []layerOf
			for n, members := range c.layers {
				layers = append(layers, []func(testing.TB, ...member) layerOf{gzipLayer, zstdLayer, plainLayer}[n%3](t, members...))
			}
			got, err := flatten(t, imageOf(t, layers...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, "\n"+got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// folders describes each directory of a path.
func folders(p string) string {
	var out strings.Builder
	for i := range p {
		if p[i] == '/' {
			fmt.Fprintf(&out, "5 0755 %s\n", p[:i+1])
		}
	}
	return out.String()
}

func TestFlattenRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]member
		want   string
	}{
		{"path that leaves the image", [][]member{{file("../etc/passwd", "x")}}, `"../etc/passwd" leaves the image`},
		{"path that leaves and comes back", [][]member{{file("a/../../b", "x")}}, "leaves the image"},
		{"path through a symlink of the same layer", [][]member{{symlink("evil", "/etc"), file("evil/passwd", "x")}}, `goes through the symlink "evil"`},
		{"path through a symlink of a lower layer", [][]member{{symlink("evil", "../../etc")}, {file("evil/passwd", "x")}}, `goes through the symlink "evil"`},
		{"hard link through a symlink", [][]member{{symlink("evil", "/etc"), link("x", "evil/passwd")}}, "does not exist"},
		{"hard link that leaves the image", [][]member{{link("x", "../../etc/passwd")}}, "leaves the image"},
		{"hard link to nothing", [][]member{{link("x", "y")}}, `"y" does not exist`},
		{"hard link to a directory", [][]member{{dir("d"), link("x", "d")}}, "is a directory"},
		{"hard link to a later entry", [][]member{{link("x", "y"), file("y", "1")}}, "does not exist"},
		{"path through a file", [][]member{{file("f", "1"), file("f/g", "2")}}, "is not a directory"},
		{"whiteout of nothing", [][]member{{whiteout("d/.wh.")}}, "not a valid whiteout"},
		{"whiteout of the parent", [][]member{{whiteout("d/.wh...")}}, "not a valid whiteout"},
		{"path through a whiteout", [][]member{{file("d/.wh.x/y", "1")}}, "through a whiteout"},
		{"long name", [][]member{{file(strings.Repeat("x", 256), "1")}}, "longer than 255 bytes"},
		{"deep path", [][]member{{file(strings.Repeat("d/", 513)+"f", "1")}}, "folders deep"},
		{"root as a file", [][]member{{symlink(".", "/etc")}}, "root is not a directory"},
		{"owner out of range", [][]member{{file("f", "1", owner(4294967295, 0))}}, "out of range"},
		{"device out of range", [][]member{{device(tar.TypeChar, "d", 4096, 0)}}, "out of range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers []layerOf
			for _, members := range c.layers {
				layers = append(layers, gzipLayer(t, members...))
			}
			got, err := flatten(t, imageOf(t, layers...))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q; got\n%s", err, c.want, got)
			}
		})
	}
}

// Broken streams and wrong digests, whatever the compression.
func TestFlattenRefusesBrokenLayers(t *testing.T) {
	big := file("f", strings.Repeat("0123456789abcdef", 1<<16)) // 1 MiB
	whole := tarOf(t, big)
	other := tarOf(t, file("f", "other"))
	for _, c := range []struct {
		name  string
		layer layerOf
		want  string
	}{
		{"truncated gzip", layerOf{whole, gzipped(t, whole)[:len(gzipped(t, whole))/2], types.OCILayer}, "truncated"},
		{"gzip without its trailer", layerOf{whole, gzipped(t, whole)[:len(gzipped(t, whole))-8], types.OCILayer}, "truncated"},
		{"gzip cut in its header", layerOf{whole, gzipped(t, whole)[:5], types.OCILayer}, "truncated"},
		{"truncated zstd", layerOf{whole, zstded(t, whole)[:len(zstded(t, whole))/2], types.OCILayerZStd}, "truncated"},
		{"truncated tar", layerOf{whole, whole[:len(whole)/2], types.OCIUncompressedLayer}, "truncated"},
		{"gzip, another layer's content", layerOf{whole, gzipped(t, other), types.OCILayer}, "layer does not match its digest"},
		{"zstd, another layer's content", layerOf{whole, zstded(t, other), types.OCILayerZStd}, "layer does not match its digest"},
		{"plain, another layer's content", layerOf{whole, other, types.OCIUncompressedLayer}, "layer does not match its digest"},
		{"data after the end of the archive", layerOf{whole, append(bytes.Clone(whole), make([]byte, 512)...), types.OCIUncompressedLayer}, "layer does not match its digest"},
		{"xz", layerOf{whole, []byte("\xfd7zXZ\x00rest"), types.OCILayer}, "compression is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := flatten(t, imageOf(t, c.layer))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
	for _, what := range []string{"layer", "config", "manifest"} {
		t.Run("changed "+what, func(t *testing.T) {
			i := imageOf(t, gzipLayer(t, file("f", "1")))
			changed := map[string][]byte{"layer": i.layers[0], "config": i.config, "manifest": i.manifest}[what]
			hex := hashOf(changed).Hex
			b := bytes.Clone(changed)
			b[len(b)-1] ^= 1
			i.blobs[hex] = b
			if got, err := flatten(t, i); err == nil {
				t.Fatalf("accepted:\n%s", got)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	i := imageOf(t, gzipLayer(t, file("a", "12345"), file("b", "12345")), gzipLayer(t, file("c", "1")))
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{Entries: 2}, "more than 2 entries"},
		{Limits{Bytes: 9}, "larger than 9 bytes"},
		{Limits{Layers: 1}, "has 2 layers"},
		{Limits{Blob: 10}, "more than the limit of 10"},
	} {
		opts := testOptions(t)
		opts.Limits = c.limits
		err := openStore(t, opts).Flatten(context.Background(), i.layout(t), io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.limits, err, c.want)
		}
	}
}

func TestSparseFilesStaySparse(t *testing.T) {
	const size = 8 << 20
	content := make([]byte, size)
	copy(content[3<<20:], "data in the middle")
	dir := t.TempDir()
	w, err := diskWorkspace(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	sink := newSink(w.content)
	entries, err := readLayer(context.Background(), bytes.NewReader(tarOf(t, file("sparse", string(content)), file("end", string(content[:3<<20])+"x"))), sink,
		&budget{limits: Limits{}.withDefaults()})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []int64{size, 3<<20 + 1} {
		ino := entries[n].inode
		if ino.stored != blockSize && ino.stored != 2*blockSize {
			t.Errorf("stored %d bytes of %d, want one or two blocks", ino.stored, ino.size)
		}
		p := filepath.Join(dir, "content", contentName(ino.content))
		got, err := os.ReadFile(p)
		if err != nil || int64(len(got)) != want {
			t.Fatalf("read %d bytes, %v; want %d", len(got), err, want)
		}
		if n == 0 && !bytes.Equal(got, content) {
			t.Error("content differs")
		}
		if room := allocated(p); room > 64<<10 {
			t.Errorf("takes %d bytes on disk", room)
		}
	}
}

func TestFlattenKeepsTimesAndOrder(t *testing.T) {
	when := time.Unix(1700000000, 987654321)
	i := imageOf(t, gzipLayer(t, file("z", "1", at(when)), dir("a", at(when)), file("a/b", "2")))
	s := openStore(t, testOptions(t))
	var one, two bytes.Buffer
	for _, out := range []*bytes.Buffer{&one, &two} {
		if err := s.Flatten(context.Background(), i.layout(t), out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two runs differ")
	}
	times := map[string]time.Time{}
	tr := tar.NewReader(&one)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		times[h.Name] = h.ModTime
	}
	for _, name := range []string{"z", "a/"} {
		if !times[name].Equal(when) {
			t.Errorf("%s has time %v, want %v", name, times[name], when)
		}
	}
}

func TestResolveDirFollowsTheImagesLinks(t *testing.T) {
	build := func(members ...member) *node {
		w, err := diskWorkspace(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		sink := newSink(w.content)
		entries, err := readLayer(context.Background(), bytes.NewReader(tarOf(t, members...)), sink, &budget{limits: Limits{}.withDefaults()})
		if err != nil {
			t.Fatal(err)
		}
		root, err := mergeLayers([][]entry{entries})
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	for _, c := range []struct {
		name    string
		members []member
		at      string // where lib/modules must end up; empty: an error
	}{
		{"plain", []member{dir("lib")}, "lib/modules"},
		{"missing", nil, "lib/modules"},
		{"merged /usr", []member{dir("usr/lib"), symlink("lib", "usr/lib")}, "usr/lib/modules"},
		{"absolute", []member{dir("usr/lib"), symlink("lib", "/usr/lib")}, "usr/lib/modules"},
		{"out of the image", []member{symlink("lib", "../../../usr/lib")}, "usr/lib/modules"},
		{"dangling", []member{symlink("lib", "opt/lib")}, "opt/lib/modules"},
		{"loop", []member{symlink("lib", "lib")}, ""},
		{"file", []member{file("lib", "x")}, ""},
	} {
		root := build(c.members...)
		got, err := root.resolveDir("lib/modules")
		if (err != nil) != (c.at == "") {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		if c.at != "" && root.find(c.at) != got {
			t.Errorf("%s: not at %s", c.name, c.at)
		}
	}
}

// The archive's own trouble is reported, and never leads to a second attempt
// that would write its beginning again.
func TestFlattenStopsWhenTheWriterFails(t *testing.T) {
	i := imageOf(t, gzipLayer(t, file("f", strings.Repeat("x", 1<<20))))
	s := openStore(t, testOptions(t))
	w := &fullWriter{}
	if err := s.Flatten(context.Background(), i.layout(t), w); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if w.failed != 1 {
		t.Errorf("written to %d times after the failure", w.failed-1)
	}
	wantNoStaging(t, s)
}

// fullWriter takes 64 KiB.
type fullWriter struct{ n, failed int }

func (w *fullWriter) Write(b []byte) (int, error) {
	if w.n += len(b); w.n > 64<<10 {
		w.failed++
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

func TestAvailableMemory(t *testing.T) {
	if got := availableMemory(writeTemp(t, "meminfo", []byte("MemTotal: 100 kB\nMemAvailable:   2048 kB\n"))); got != 2<<20 {
		t.Errorf("got %d", got)
	}
	if got := availableMemory("/does/not/exist"); got != 0 {
		t.Errorf("got %d", got)
	}
}
