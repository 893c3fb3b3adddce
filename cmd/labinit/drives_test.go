package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandlot/guest/wire"
	"sandlot/internal/host/volume"
	"sandlot/internal/labtest"
	"sandlot/internal/session"
)

// drives are every kind a manifest can ask for, in an order that is not the
// one to mount them in. vda is the root.
var drives = []struct {
	filesystem string // of a blank volume; "image" is a clone
	mount      string
	readOnly   bool
}{
	1: {filesystem: "xfs", mount: "/data/inner"},
	2: {filesystem: "btrfs", mount: "/data/inner/deep"},
	3: {filesystem: "ext4", mount: "/data"},
	4: {filesystem: "ext3", mount: "/e3"},
	5: {filesystem: "ext2", mount: "/home/laborant"}, // the person's, though mkfs made it root's
	6: {filesystem: "image", mount: "/image"},
	7: {filesystem: "image", mount: "/fixed", readOnly: true},
	8: {filesystem: "image"},
	9: {filesystem: "", mount: "/raw"}, // a person wiped it: the machine still boots
}

func device(i int) string { return "/dev/vd" + string(rune('a'+i)) }

// Every kind of drive is mounted before the first file is written, below a
// read-only root and below a writable one, over a reboot; the host is told what
// could not be done. test/script/kernels.txtar has the other kernels.
func TestDrives(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM)
	labtest.CheckLeaks(t)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	dir := t.TempDir()
	pool, err := volume.Open(ctx, volume.Options{Dir: filepath.Join(dir, "pool"), ImageFile: filepath.Join(dir, "pool.img"), Size: 2 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := volume.Destroy(context.Background(), volume.Options{Dir: filepath.Join(dir, "pool"), ImageFile: filepath.Join(dir, "pool.img")}); err != nil {
			t.Error(err)
		}
	})
	binary := buildLabinit(t, dir)
	base := filepath.Join(dir, "pool", "base")
	if out, err := exec.Command("cp", tinyImage(t, dir), base).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Truncate(base, 64<<20); err != nil {
		t.Fatal(err)
	}
	kernel := os.Getenv(kernelEnv)
	if kernel == "" {
		t.Fatalf("set %s to a directory with vmlinux and modules", kernelEnv)
	}
	t.Run("read-only root", func(t *testing.T) {
		agent, exited := bootDrives(t, ctx, pool, base, kernel, binary, true)
		inspectDrives(t, ctx, agent)
		if mounts := run(t, ctx, agent, "root", "cat", "/proc/mounts"); !strings.Contains(mounts, "overlay / overlay rw") {
			t.Errorf("the root is not an overlay:\n%s", mounts)
		}
		powerOff(t, ctx, agent, exited)
	})
	t.Run("writable root", func(t *testing.T) {
		agent, exited := bootDrives(t, ctx, pool, base, kernel, binary, false)
		inspectDrives(t, ctx, agent)
		run(t, ctx, agent, "root", "write", "/data/inner/deep/f", "a person's\n")
		watching := make(chan error, 1)
		go func() { watching <- agent.Watch(ctx, func(wire.Event) {}) }()
		if err := agent.Shutdown(ctx, "reboot"); err != nil {
			t.Fatal(err)
		}
		<-watching
		if got := run(t, ctx, agent, "root", "cat", "/data/inner/deep/f", "/data/log"); got != "a person's\nonce\n" {
			t.Errorf("after a reboot the files are %q", got)
		}
		inspectDrives(t, ctx, agent)
		powerOff(t, ctx, agent, exited)
	})
}

func bootDrives(t *testing.T, ctx context.Context, pool *volume.Pool, base, kernel string, binary []byte, readOnly bool) (*session.Agent, <-chan error) {
	dir, err := os.MkdirTemp(pool.Dir(), "play")
	if err != nil {
		t.Fatal(err)
	}
	config := wire.Config{
		Hostname: "m1",
		Root:     wire.Mount{Device: "/dev/vda", Path: "/", Filesystem: "ext4", ReadOnly: readOnly},
		Users:    []wire.User{{Name: "laborant"}, {Name: "ghost"}},
		StartupFiles: []wire.StartupFile{
			{Path: "/data/inner/deep/f", Content: "author's\n"},
			{Path: "/data/log", Content: "once\n", Append: true},
			{Path: "/fixed/f", Content: "never"},
		},
	}
	var disks []disk
	for i, d := range drives {
		file := filepath.Join(dir, fmt.Sprint(i))
		if i == 0 || d.filesystem == "image" {
			err = pool.Clone(ctx, base, file, 256<<20, 0)
		} else {
			err = pool.Blank(ctx, file, 1<<30, d.filesystem, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		kind := d.filesystem
		if kind == "image" {
			kind = "ext4"
		}
		switch {
		case i == 0:
		case d.mount != "":
			config.Mounts = append(config.Mounts, wire.Mount{Device: device(i), Path: d.mount, Filesystem: kind, ReadOnly: d.readOnly})
		default:
			config.Grow = append(config.Grow, device(i))
		}
		disks = append(disks, disk{file, d.readOnly || i == 0 && readOnly})
	}
	filesystems := []string{"btrfs", "xfs"}
	if readOnly {
		filesystems = []string{"btrfs", "overlay", "xfs"}
	}
	return bootVM(t, dir, kernel, binary, config, filesystems, disks...)
}

func inspectDrives(t *testing.T, ctx context.Context, a *session.Agent) {
	t.Helper()
	if _, err := a.Info(ctx); err != nil {
		t.Fatal(err)
	}
	mounts := run(t, ctx, a, "root", "cat", "/proc/mounts")
	fstab := run(t, ctx, a, "root", "cat", "/etc/fstab")
	for i, d := range drives {
		if d.mount == "" || d.filesystem == "" {
			continue
		}
		kind, mode, least := d.filesystem, "rw", 850
		if kind == "image" {
			kind, least = "ext4", 200
		}
		if d.readOnly {
			mode, least = "ro", 50
		}
		if want := fmt.Sprintf("%s %s %s %s", device(i), d.mount, kind, mode); !strings.Contains(mounts, want) {
			t.Errorf("no mount %q in\n%s", want, mounts)
		}
		if want := fmt.Sprintf("%s %s %s ", device(i), d.mount, kind); !strings.Contains(fstab, want) {
			t.Errorf("no line %q in fstab\n%s", want, fstab)
		}
		if got := size(t, ctx, a, d.mount); got < least {
			t.Errorf("%s has %d MiB, want %d", d.mount, got, least)
		}
	}
	if outer, inner := strings.Index(fstab, " /data "), strings.Index(fstab, " /data/inner "); outer < 0 || outer > inner {
		t.Errorf("fstab mounts the inner drive first:\n%s", fstab)
	}
	if got := run(t, ctx, a, "laborant", "stat", "/home/laborant"); got != "/home/laborant drwxr-xr-x 1001 1001\n" {
		t.Errorf("the drive of laborant's home is %q", got)
	}
	run(t, ctx, a, "root", "mount", "/dev/vdi", "/late", "ext4")
	if got := size(t, ctx, a, "/late"); got < 200 {
		t.Errorf("the unmounted image has %d MiB: it was not grown", got)
	}
	if got := run(t, ctx, a, "root", "cat", "/data/log"); got != "once\n" {
		t.Errorf("the startup file on the drive is %q", got)
	}
	problems := problems(t, ctx, a)
	for _, want := range []string{
		"cannot mount /dev/vdj at /raw: no filesystem found on it",
		`the image has no user "ghost", it has root, laborant; correct the machine's users`,
		"cannot write startup files: /fixed/f: ", "read-only file system",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("the host is told %q, want %q", problems, want)
		}
	}
	if n := strings.Count(problems, "\n"); n > 3 {
		t.Errorf("the host is told too much:\n%s", problems)
	}
}

func size(t *testing.T, ctx context.Context, a *session.Agent, dir string) (mib int) {
	t.Helper()
	fmt.Sscan(run(t, ctx, a, "root", "size", dir), &mib)
	return mib
}

// problems is what labinit says it could not set up.
func problems(t *testing.T, ctx context.Context, a *session.Agent) (text string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.Watch(ctx, func(e wire.Event) {
		switch e.Kind {
		case wire.EventProblem:
			text = e.Detail
		case wire.EventBooted:
			cancel()
		}
	})
	return text
}

func powerOff(t *testing.T, ctx context.Context, a *session.Agent, exited <-chan error) {
	t.Helper()
	if err := a.Shutdown(ctx, "poweroff"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if err != nil {
			t.Errorf("QEMU ended with %v", err)
		}
	case <-ctx.Done():
		t.Error("the machine does not power off")
	}
}
