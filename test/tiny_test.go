package test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tinyArchive writes an image archive whose machines boot in seconds: one
// static program, the files that make two users, and for init tasks this
// host's bash with a few of its friends.
func tinyArchive(t testing.TB, dir string) string {
	program := filepath.Join(dir, "tiny")
	build(t, program, "./testdata/tiny", "-s -w")
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "dev/", "etc/", "home/", "home/laborant/", "proc/", "root/", "sys/", "usr/", "usr/sbin/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	for name, file := range hostPrograms(t, "bash", "cat", "sleep") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		add(tar.Header{Name: name, Mode: 0o755}, string(content))
	}
	add(tar.Header{Name: "bin/sh", Mode: 0o755}, string(binary))
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/sbin/sshd", Linkname: "../../bin/sh"}, "")
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, "root:x:0:0::/root:/bin/sh\nlaborant:x:1001:1001::/home/laborant:/bin/sh\n")
	add(tar.Header{Name: "etc/group", Mode: 0o644}, "root:x:0:\nlaborant:x:1001:\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive(t, dir, "tiny", layer.Bytes())
}

// archive writes an image of one layer as docker save would.
func archive(t testing.TB, dir, image string, layer []byte) string {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64",
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{must(l.DiffID())}},
		History: []v1.History{{CreatedBy: image}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(image + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, image+".tar")
	if err := tarball.WriteToFile(path, ref, img); err != nil {
		t.Fatal(err)
	}
	return path
}

// hostPrograms returns the files of programs and of the libraries they need,
// by their names in an image.
func hostPrograms(t testing.TB, programs ...string) map[string]string {
	files := map[string]string{}
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		files["bin/"+p] = path
		out, err := exec.Command("ldd", path).CombinedOutput()
		if err != nil {
			t.Fatalf("ldd %s: %v\n%s", path, err, out)
		}
		for _, word := range strings.Fields(string(out)) {
			if strings.HasPrefix(word, "/") {
				files[strings.TrimPrefix(word, "/")] = word
			}
		}
	}
	return files
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
