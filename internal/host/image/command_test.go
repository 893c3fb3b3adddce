package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sandlot/internal/labtest"
)

func TestCommandLines(t *testing.T) {
	fs := filesystem{bytes: 700 << 20, inodes: 20000, uuid: "U", hashSeed: "H"}
	many := fs
	many.inodes = 90000
	b := &builder{store: &Store{opts: Options{Programs: Programs{Buildah: "buildah"}}}, work: "/w", driver: "overlay"}
	var out strings.Builder
	for _, args := range [][]string{
		append([]string{"mke2fs"}, mke2fsArgs(fs, true, "/tree", "/out.ext4")...),
		append([]string{"mke2fs (many small files, old e2fsprogs)"}, mke2fsArgs(many, false, "/tree", "/out.ext4")...),
		append([]string{"unshare"}, b.args(buildArgs("localhost/x", "/ctx/Dockerfile", "/ctx", false)...)...),
		append([]string{"unshare (on a stored image)"}, b.args(buildArgs("localhost/x", "/ctx/Dockerfile", "/ctx", true)...)...),
		append([]string{"unshare"}, b.args("info")...),
		append([]string{"mmdebstrap"}, mmdebstrapArgs("bookworm", nil)...),
		append([]string{"mmdebstrap"}, mmdebstrapArgs("bookworm", []string{"deb http://mirror/debian bookworm main"})...),
	} {
		out.WriteString(strings.Join(args, "\n    ") + "\n")
	}
	out.WriteString("debugfs\n" + rootCommands(&inode{kind: kindDir, mode: 0o1755, uid: 1, gid: 2, mtime: stamp}))
	labtest.Golden(t, "commands.txt", out.String())
}

func TestPlanFilesystem(t *testing.T) {
	root := implicitDir()
	big := &inode{kind: kindFile, size: 1 << 40, stored: 100 << 20}
	root.put("sparse", big)
	root.put("second-name-of-it", big)
	got := planFilesystem(root, "key")
	if got.bytes < 100<<20 || got.bytes > 400<<20 || got.bytes%(1<<20) != 0 {
		t.Errorf("%d bytes for 100 MiB of data", got.bytes)
	}
	if got.inodes < 2 {
		t.Errorf("%d inodes", got.inodes)
	}
	if again := planFilesystem(root, "key"); again != got {
		t.Error("not repeatable")
	}
	if other := planFilesystem(root, "other"); other.uuid == got.uuid || other.hashSeed == got.hashSeed || got.uuid == got.hashSeed {
		t.Error("identifiers are not told apart")
	}
	if len(got.uuid) != 36 || got.uuid[14] != '4' {
		t.Errorf("uuid %q", got.uuid)
	}
}

func TestBasesOfDockerfiles(t *testing.T) {
	images := fromImages([]byte(`# FROM debian:11
ARG X=1
FROM debian:12 AS Build
from --platform=linux/amd64 docker.io/library/debian:trixie-slim
FROM
FROM debian
FROM debian:12
FROM debian:12.5
FROM build
FROM ghcr.io/debian:12
FROM golang:1.26
FROM localhost/debian-12 as run
FROM run
`))
	if diff := cmp.Diff([]string{"debian:12", "docker.io/library/debian:trixie-slim", "debian", "debian:12.5",
		"ghcr.io/debian:12", "golang:1.26", "localhost/debian-12"}, images); diff != "" {
		t.Error(diff)
	}
	var refs []string
	for _, b := range debianBases(images) {
		refs = append(refs, b.reference()+" "+b.suite)
	}
	want := []string{"docker.io/library/debian:12 bookworm", "docker.io/library/debian:trixie-slim trixie", "docker.io/library/debian:latest stable"}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Error(diff)
	}
}

func TestHostMirrors(t *testing.T) {
	custom := []string{"deb http://mirror.lan/debian bookworm main", "deb http://mirror.lan/debian bookworm-updates main"}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"none", nil, nil},
		{"Debian's own", map[string]string{"sources.list": "deb http://deb.debian.org/debian/ bookworm main\n"}, nil},
		{"one-line", map[string]string{"sources.list": "# x\ndeb [signed-by=/x y=z] http://mirror.lan/debian bookworm main contrib\ndeb-src http://src/debian bookworm main\n"},
			append(slices.Clone(custom), "deb http://security.debian.org/debian-security bookworm-security main")},
		{"stanzas", map[string]string{"sources.list.d/debian.sources": "Types: deb\nURIs: http://mirror.lan/debian\nSuites: bookworm bookworm-updates\n\nTypes: deb\nURIs: http://mirror.lan/security\nSuites: bookworm-security\n"},
			append(slices.Clone(custom), "deb http://mirror.lan/security bookworm-security main")},
		{"disabled", map[string]string{"sources.list.d/debian.sources": "Enabled: no\nTypes: deb\nURIs: http://mirror.lan/debian\nSuites: bookworm\n"}, nil},
		{"another suite", map[string]string{"sources.list": "deb http://mirror.lan/ubuntu noble main\n"}, nil},
		{"not over HTTP", map[string]string{"sources.list": "deb cdrom:[x]/ bookworm main\ndeb file:/srv/debian bookworm main\n"}, nil},
	} {
		root := fstest.MapFS{}
		for name, content := range c.files {
			root["etc/apt/"+name] = &fstest.MapFile{Data: []byte(content)}
		}
		if diff := cmp.Diff(c.want, hostMirrors(root, "bookworm")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestContextKey(t *testing.T) {
	dir := writeFiles(t, t.TempDir(), map[string][]byte{"Dockerfile": []byte("FROM debian:12\n"), "rootfs/etc/motd": []byte("hi")})
	key := func() string {
		t.Helper()
		k, err := contextKey(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key()
	if on, err := contextKey(dir, []Image{{Name: "debian-12", ID: "sha256:1"}}); err != nil || on == first {
		t.Errorf("a stored base does not count: %v", err)
	}
	motd := filepath.Join(dir, "rootfs", "etc", "motd")
	// What a clone of the repository changes does not matter.
	if err := os.Chmod(motd, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(motd, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	if key() != first {
		t.Error("the umask or the time changed the key")
	}
	for what, change := range map[string]func() error{
		"content": func() error { return os.WriteFile(motd, []byte("ho"), 0o600) },
		"execute": func() error { return os.Chmod(motd, 0o700) },
		"name":    func() error { return os.Rename(motd, motd+"2") },
		"folder":  func() error { return os.Mkdir(filepath.Join(dir, "empty"), 0o755) },
		"link":    func() error { return os.Symlink("x", filepath.Join(dir, "link")) },
	} {
		before := key()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if key() == before {
			t.Errorf("a change of %s did not change the key", what)
		}
	}
}

func TestOfficialImagesHaveDockerfiles(t *testing.T) {
	dir := "../../../images"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, err := findDockerfile(filepath.Join(dir, e.Name())); err != nil || !namePattern.MatchString(e.Name()) {
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
}
