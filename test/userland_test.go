package test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// userlandArchive writes an image archive with what a person at a router
// needs: this host's busybox and nft, and the tiny guest's program as sshd and
// as "tiny". It boots as fast as the tiny guest.
func userlandArchive(t testing.TB, dir, tiny string) string {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	dirs := map[string]bool{".": true}
	var parents func(name string)
	add := func(h tar.Header, content []byte) {
		parents(path.Dir(h.Name))
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	parents = func(name string) {
		if !dirs[name] {
			dirs[name] = true
			add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, nil)
		}
	}
	program := func(from, to string) {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		add(tar.Header{Name: to, Mode: 0o755}, content)
	}
	link := func(name, target string) {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
	}
	for _, d := range []string{"dev", "home", "proc", "root", "sys", "tmp"} {
		parents(d)
	}
	program(tiny, "bin/tiny")
	link("usr/sbin/sshd", "/bin/tiny")

	busybox := find(t, "busybox")
	program(busybox, "bin/busybox")
	applets := strings.Fields(output(t, busybox, "--list-full"))
	for _, applet := range applets {
		// Process 1 is labinit, which keeps the machine alive and Ready.
		if applet != "sbin/init" && applet != "linuxrc" && applet != "bin/busybox" {
			link(applet, "/bin/busybox")
		}
	}
	if !slices.Contains(applets, "sbin/modprobe") {
		t.Fatal("this busybox has no modprobe: install busybox-static")
	}

	nft := find(t, "nft")
	program(nft, "usr/sbin/nft")
	// Each line of ldd ends in "PATH (ADDRESS)", but the kernel's own one.
	for line := range strings.Lines(output(t, "ldd", nft)) {
		for _, word := range strings.Fields(line) {
			if filepath.IsAbs(word) {
				program(word, word[1:])
			}
		}
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive(t, dir, "userland", layer.Bytes())
}

// find looks in sbin, too, which not every root has in its PATH.
func find(t testing.TB, program string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if file, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return file
		}
	}
	t.Fatalf("no %s on this host: run make test-packages", program)
	return ""
}

func output(t testing.TB, program string, args ...string) string {
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return string(out)
}
