package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sandlot/internal/labtest"
)

const testRelease = "6.1.0-99-cloud-amd64"

// kernelOptions are options with a kernel 6.1 made of three files.
func kernelOptions(t testing.TB) Options {
	opts := testOptions(t)
	dir := writeFiles(t, t.TempDir(), map[string][]byte{
		"modules/modules.dep": []byte("kernel/a.ko:\n"), "modules/kernel/a.ko": []byte("module"), "boot/vmlinuz-" + testRelease: []byte("kernel"),
	})
	opts.Kernel = func(_ context.Context, version string) (Kernel, error) {
		if version != "6.1" {
			return Kernel{}, fmt.Errorf("cannot find kernel %q", version)
		}
		return Kernel{Version: version, Release: testRelease, ModulesDir: filepath.Join(dir, "modules"), BootDir: filepath.Join(dir, "boot")}, nil
	}
	return opts
}

func debugfs(t testing.TB, file string, commands ...string) string {
	t.Helper()
	cmd := exec.Command("debugfs", "-f", "-", file)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("debugfs: %v: %s", err, out)
	}
	return string(out)
}

func wantClean(t testing.TB, file string) {
	t.Helper()
	if out, err := exec.Command("e2fsck", "-fn", file).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v: %s", err, out)
	}
}

func makeBase(t testing.TB, s *Store, source, kernel string) Base {
	t.Helper()
	base, err := s.Base(context.Background(), source, kernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantClean(t, base.Path)
	wantNoStaging(t, s)
	return base
}

func TestBaseKeepsEverything(t *testing.T) {
	labtest.Require(t, labtest.Root)
	for name, memory := range map[string]int64{"in memory": 0, "on disk": -1, "too large for memory": 4 << 20} {
		t.Run(name, func(t *testing.T) {
			opts := kernelOptions(t)
			opts.Memory = memory
			keepsEverything(t, openStore(t, opts))
		})
	}
}

func keepsEverything(t *testing.T, s *Store) {
	const caps = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	long := strings.Repeat("long-folder/", 30) + "f"
	sparse := make([]byte, 64<<20)
	copy(sparse[32<<20:], "data")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	i := imageOf(t,
		gzipLayer(t, dir(".", mode(0o751), owner(7, 8)), dir("usr/bin"), dir("usr/lib"), symlink("lib", "usr/lib"), dir("boot"), file("boot/own", "x"),
			file("usr/bin/ping", "ping", mode(0o755), xattr("security.capability", caps)),
			file("usr/bin/su", "su", mode(0o4755)), file("usr/bin/group", "g", mode(0o2755), owner(0, 42)),
			dir("tmp", mode(0o1777)), dir("secret", mode(0)), file("secret/f", "s", mode(0)),
			file("keep", "old"), link("linked", "keep"), file("big", string(big))),
		zstdLayer(t, file("keep", "new"), device(tar.TypeChar, "null", 1, 3), device(tar.TypeBlock, "disk", 259, 70000), fifo("pipe"),
			file("rich", "r", owner(70000, 3000000000), xattr("user.note", "hello")), dir("d", xattr("user.dir", "yes")),
			file(long, "deep"), file("größe-文件", "u"), file("sparse", string(sparse)), file("empty", "", mode(0o600)),
			symlink("long-link", "/"+strings.Repeat("x", 200)), link("big2", "big")))
	base := makeBase(t, s, i.layout(t), "6.1")
	if want := filepath.Join(s.opts.Bases, hashOf(i.config).Hex+"-"+testRelease+"-v1.ext4"); base.Path != want {
		t.Errorf("path %s, want %s", base.Path, want)
	}
	if info, err := os.Stat(base.Path); err != nil || info.Size() != base.FSBytes {
		t.Errorf("%v, %v; want %d bytes", info, err, base.FSBytes)
	}
	if room := allocated(base.Path); room > 50<<20 {
		t.Errorf("the volume takes %d bytes on disk", room)
	}
	for _, c := range []struct{ path, want string }{
		{"/", `Mode: +0751.*User: +7 +Group: +8 .*mtime: 0x663881d9:`},
		{"/usr/bin/ping", `Type: regular +Mode: +0755`},
		{"/usr/bin/su", `Mode: +04755`},
		{"/usr/bin/group", `Mode: +02755.*Group: +42`},
		{"/tmp", `Mode: +01777`},
		{"/secret", `Mode: +0000`},
		{"/secret/f", `Mode: +0000`},
		{"/null", `Type: character special.*Device major/minor number: 01:03`},
		{"/disk", `Type: block special.*Device major/minor number: 259:70000`},
		{"/pipe", `Type: FIFO +Mode: +0640`},
		{"/rich", `User: +70000 +Group: +-1294967296`},
		{"/" + long, `Type: regular`},
		{"/größe-文件", `Type: regular`},
		{"/sparse", `Size: 67108864.*Blockcount: 8\b`},
		{"/empty", `Mode: +0600.*Size: 0`},
		{"/long-link", `Type: symlink.*Size: 201`},
		{"/big2", `Links: 2`},
		{"/linked", `Links: 1`},
		{"/keep", `Links: 1`},
		{"/rich", `mtime: 0x663881d9:\w+ -- .* 2024`},
		{"/lib", `Type: symlink`},
		{"/usr/lib/modules/" + testRelease + "/kernel/a.ko", `Mode: +0644.*User: +0 +Group: +0`},
		{"/boot/vmlinuz-" + testRelease, `Type: regular`},
		{"/boot/own", `Type: regular`},
	} {
		stat := strings.Join(strings.Fields(debugfs(t, base.Path, `stat "`+c.path+`"`)), " ")
		if !regexp.MustCompile(strings.ReplaceAll(c.want, " +", " ?")).MatchString(stat) {
			t.Errorf("%s: want %s in\n%s", c.path, c.want, stat)
		}
	}
	for _, c := range []struct{ command, want string }{
		{"ea_get /rich user.note", "hello"}, {"ea_get /d user.dir", "yes"},
		{"ea_get -x /usr/bin/ping security.capability", "01 00 00 02 00 20 00 00"},
		{"cat /keep", "new"}, {"cat /linked", "old"}, {"cat /usr/lib/modules/" + testRelease + "/modules.dep", "kernel/a.ko:"},
	} {
		if got := debugfs(t, base.Path, c.command); !strings.Contains(got, c.want) {
			t.Errorf("%s: want %q in\n%s", c.command, c.want, got)
		}
	}
	dump := filepath.Join(t.TempDir(), "big")
	debugfs(t, base.Path, "dump /big2 "+dump)
	if got, err := os.ReadFile(dump); err != nil || !bytes.Equal(got, big) {
		t.Errorf("content of %d bytes differs: %v", len(got), err)
	}
	dump = filepath.Join(t.TempDir(), "sparse")
	debugfs(t, base.Path, "dump /sparse "+dump)
	if got, err := os.ReadFile(dump); err != nil || !bytes.Equal(got, sparse) {
		t.Errorf("content of %d bytes differs: %v", len(got), err)
	}
	// Clones must grow online far beyond this, on the oldest kernel, and no
	// kernel may write inode tables in the background.
	super := debugfs(t, base.Path, "stats")
	if !regexp.MustCompile(`Reserved GDT blocks:\s+255\b`).MatchString(super) || strings.Contains(super, "orphan_file") {
		t.Errorf("superblock:\n%s", super)
	}
	if m := regexp.MustCompile(`(?m)Group +0: .*\[.*\]|\[ITABLE_ZEROED\]|Itable not|Inode table.*`).FindString(super); strings.Contains(m, "Itable not") {
		t.Error(m)
	}
}

func TestBaseCostsNothingTwice(t *testing.T) {
	labtest.Require(t, labtest.Root)
	s := openStore(t, kernelOptions(t))
	layer := []member{file("f", "1")}
	gz, zs := imageOf(t, gzipLayer(t, layer...)), imageOf(t, zstdLayer(t, layer...))
	first := makeBase(t, s, gz.layout(t), "6.1")
	before, err := os.Stat(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	// The same content compressed otherwise, and from an archive.
	for _, source := range []string{zs.layout(t), writeTemp(t, "a.tar", gz.dockerArchive(t))} {
		if again := makeBase(t, s, source, "6.1"); again != first {
			t.Errorf("got %+v, want %+v", again, first)
		}
	}
	after, err := os.Stat(first.Path)
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("made again: %v", err)
	}
	// Without a kernel it is another volume, without modules.
	plain := makeBase(t, s, gz.layout(t), "")
	if plain.Path == first.Path || strings.Contains(debugfs(t, plain.Path, "ls -p /"), "/lib/") {
		t.Errorf("%s has modules", plain.Path)
	}
	if _, err := s.Base(context.Background(), gz.layout(t), "4.4", nil); err == nil || !strings.Contains(err.Error(), `cannot find kernel "4.4"`) {
		t.Errorf("error %v", err)
	}
}

// Two stores on the same folders, as two processes would have, and several
// callers each.
func TestConcurrentBasesConvertOnce(t *testing.T) {
	labtest.Require(t, labtest.Root)
	opts := kernelOptions(t)
	a := openStore(t, opts)
	b := openStore(t, opts)
	source := imageOf(t, gzipLayer(t, file("f", strings.Repeat("x", 1<<20)))).layout(t)
	var conversions atomic.Int64
	var group sync.WaitGroup
	results := make([]Base, 8)
	for n := range results {
		group.Go(func() {
			s := []*Store{a, b}[n%2]
			var err error
			results[n], err = s.Base(context.Background(), source, "6.1", func(p Progress) {
				if p.Stage == "format" && p.Done == 0 {
					conversions.Add(1)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := conversions.Load(); n != 1 {
		t.Errorf("converted %d times", n)
	}
	for _, r := range results {
		if r != results[0] {
			t.Errorf("results differ: %+v and %+v", r, results[0])
		}
	}
	wantClean(t, results[0].Path)
}

func wantNoBases(t testing.TB, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(s.opts.Bases)
	if err != nil || len(entries) != 0 {
		t.Errorf("bases: %v, %v; want none", entries, err)
	}
}

func TestInterruptedConversionLeavesNothing(t *testing.T) {
	labtest.Require(t, labtest.Root)
	source := imageOf(t, gzipLayer(t, file("f", strings.Repeat("x", 1<<20)))).layout(t)
	for _, stage := range []string{"flatten", "format", "check"} {
		s := openStore(t, kernelOptions(t))
		ctx, cancel := context.WithCancel(context.Background())
		_, err := s.Base(ctx, source, "6.1", func(p Progress) {
			if p.Stage == stage {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled in %s: error %v", stage, err)
		}
		wantNoStaging(t, s)
		wantNoBases(t, s)
		makeBase(t, s, source, "6.1")
	}
}

// A failing tool and a failing check leave nothing and say why.
func TestFailedConversion(t *testing.T) {
	labtest.Require(t, labtest.Root)
	source := imageOf(t, gzipLayer(t, file("f", "1"))).layout(t)
	failing := writeTemp(t, "tool", []byte("#!/bin/sh\necho broken tool >&2\nexit 1\n"))
	if err := os.Chmod(failing, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(*Programs){
		"mke2fs": func(p *Programs) { p.Mke2fs = failing }, "e2fsck": func(p *Programs) { p.E2fsck = failing },
	} {
		opts := kernelOptions(t)
		set(&opts.Programs)
		s := openStore(t, opts)
		_, err := s.Base(context.Background(), source, "6.1", nil)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "broken tool") {
			t.Errorf("%s: error %v", name, err)
		}
		wantNoStaging(t, s)
		wantNoBases(t, s)
	}
}

// The estimate may be wrong; the filesystem is then made larger.
func TestFilesystemGrowsUntilItFits(t *testing.T) {
	labtest.Require(t, labtest.Root)
	s := openStore(t, kernelOptions(t))
	dir := writeFiles(t, t.TempDir(), map[string][]byte{"f": bytes.Repeat([]byte("x"), 80<<20)})
	fs := planFilesystem(implicitDir(), "k")
	fs.bytes = 140 << 20 // 64 of them for the journal
	out := filepath.Join(t.TempDir(), "x.ext4")
	tree, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	size, err := s.makeFilesystem(context.Background(), fs, tree, out)
	if err != nil || size <= fs.bytes {
		t.Fatalf("%d bytes, %v", size, err)
	}
	wantClean(t, out)
}

func TestManySmallFilesGetInodes(t *testing.T) {
	labtest.Require(t, labtest.Root)
	var members []member
	for n := range 12000 {
		members = append(members, file(fmt.Sprintf("d%d/f%d", n%10, n), ""))
	}
	s := openStore(t, kernelOptions(t))
	makeBase(t, s, imageOf(t, gzipLayer(t, members...)).layout(t), "")
}

// killStage is set in the child process of TestKilledConversion.
const killStage = "SANDLOT_IMAGE_KILL_STAGE"

// SIGKILL in each stage: the next Open leaves nothing half-made, and the
// conversion's own processes are gone.
func TestKilledConversion(t *testing.T) {
	labtest.Require(t, labtest.Root)
	if stage := os.Getenv(killStage); stage != "" {
		killedChild(t, stage)
		return
	}
	source := imageOf(t, gzipLayer(t, file("f", strings.Repeat("x", 1<<20)))).layout(t)
	for _, stage := range []string{"flatten", "format", "check"} {
		opts := kernelOptions(t)
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledConversion$")
		cmd.Env = append(os.Environ(), killStage+"="+stage, "TMPDIR="+t.TempDir(), "DIRS="+strings.Join([]string{opts.Dir, opts.Bases, opts.Staging, source}, ":"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		reached := false
		for !reached && lines.Scan() {
			reached = lines.Text() == "reached "+stage
		}
		if !reached {
			t.Errorf("%s was not reached", stage)
		}
		cmd.Process.Kill()
		cmd.Wait()
		left, err := filepath.Glob(filepath.Join(opts.Staging, "s*", "base-*"))
		if err != nil || len(left) != 1 {
			t.Errorf("killed in %s: staging has %v; the test shows nothing", stage, left)
		}
		s := openStore(t, opts)
		if left, _ := filepath.Glob(filepath.Join(opts.Staging, "s*")); len(left) != 1 || left[0] != s.staging.dir {
			t.Errorf("killed in %s: staging has %v", stage, left)
		}
		wantNoBases(t, s)
		makeBase(t, s, source, "6.1")
	}
}

func killedChild(t *testing.T, stage string) {
	dirs := strings.Split(os.Getenv("DIRS"), ":")
	opts := kernelOptions(t)
	opts.Dir, opts.Bases, opts.Staging = dirs[0], dirs[1], dirs[2]
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Base(context.Background(), dirs[3], "6.1", func(p Progress) {
		if p.Stage == stage {
			fmt.Println("reached " + stage)
			// Killed here; should the parent fail, not for ever.
			<-time.After(20 * time.Second)
		}
	})
}

// A tree that was left with something mounted in it is not deleted through the
// mount.
func TestCleaningDoesNotReachThroughMounts(t *testing.T) {
	labtest.Require(t, labtest.Root)
	opts := testOptions(t)
	precious := writeFiles(t, t.TempDir(), map[string][]byte{"f": []byte("1")})
	mounted := filepath.Join(opts.Staging, "s1", "build-1", "mnt")
	if err := os.MkdirAll(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(precious, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(mounted, syscall.MNT_DETACH) })
	openStore(t, opts)
	if _, err := os.Stat(filepath.Join(opts.Staging, "s1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not removed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(precious, "f")); err != nil {
		t.Errorf("deleted through the mount: %v", err)
	}
}
