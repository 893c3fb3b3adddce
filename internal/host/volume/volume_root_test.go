package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandlot/internal/labtest"
)

const testPool = 512 << 20

// testOptions is a pool in a folder without reflink; all of it is gone after
// the test, or the test fails.
func testOptions(t testing.TB) Options {
	t.Helper()
	labtest.Require(t, labtest.Root)
	root := t.TempDir()
	if ok, _ := hasReflink(root); ok {
		// Even a folder with reflink is mounted over if an image is there.
		t.Log("the test folder has reflink itself")
	}
	o := Options{Dir: filepath.Join(root, "pool"), ImageFile: filepath.Join(root, "pool.img"), Size: testPool}
	t.Cleanup(func() {
		if err := Destroy(context.Background(), o); err != nil {
			t.Error(err)
		}
		if left := loopsOn(t, o.ImageFile); len(left) > 0 {
			t.Errorf("loop devices left: %v", left)
		}
		if entries, _ := os.ReadDir(root); len(entries) > 0 {
			t.Errorf("files left: %v", entries)
		}
	})
	return o
}

// openImagePool opens a pool that stands on an image whatever the folder is.
func openImagePool(t testing.TB, o Options) *Pool {
	t.Helper()
	if _, err := os.Stat(o.ImageFile); err != nil {
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := makeImage(context.Background(), o); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func loopsOn(t testing.TB, image string) []string {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if strings.HasPrefix(string(text), image) {
			found = append(found, file)
		}
	}
	return found
}

func mounts(t testing.TB, dir string) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(raw), " "+dir+" ")
}

func writeBase(t testing.TB, p *Pool, size int64) string {
	t.Helper()
	base := filepath.Join(p.Dir(), "bases", "base.raw")
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, 8<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return base
}

func TestOpenTwiceAndConcurrently(t *testing.T) {
	o := testOptions(t)
	openImagePool(t, o)
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			_, err := Open(context.Background(), o)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := mounts(t, o.Dir); n != 1 {
		t.Errorf("%d mounts, want 1", n)
	}
	if n := len(loopsOn(t, o.ImageFile)); n != 1 {
		t.Errorf("%d loop devices, want 1", n)
	}
}

func TestImageIsPreallocatedAndStaysSo(t *testing.T) {
	o := testOptions(t)
	p := openImagePool(t, o)
	allocated := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(o.ImageFile, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	if got := allocated(); got < testPool {
		t.Fatalf("%d bytes allocated of %d", got, testPool)
	}
	base := writeBase(t, p, 64<<20)
	if err := p.Delete(base); err != nil {
		t.Fatal(err)
	}
	// fstrim fails where the device takes no discards: that is the point.
	_ = exec.Command("fstrim", p.Dir()).Run()
	if got := allocated(); got < testPool {
		t.Errorf("after fstrim %d bytes are allocated of %d", got, testPool)
	}
	if !p.directIO {
		t.Error("no direct I/O")
	}
}

func TestOpenMends(t *testing.T) {
	ctx := context.Background()
	for name, damage := range map[string]func(t *testing.T, o Options){
		// The host rebooted: the image is there, nothing is mounted.
		"reboot": func(t *testing.T, o Options) {
			if err := unix.Unmount(o.Dir, 0); err != nil {
				t.Fatal(err)
			}
		},
		// labd was killed while it made the image.
		"half-made image": func(t *testing.T, o Options) {
			if err := unix.Unmount(o.Dir, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(o.ImageFile+".new", []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		// Somebody attached the image by hand.
		"leftover loop device": func(t *testing.T, o Options) {
			if err := unix.Unmount(o.Dir, 0); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("losetup", "-f", o.ImageFile).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		},
		"folder gone": func(t *testing.T, o Options) {
			if err := unix.Unmount(o.Dir, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(o.Dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			p := openImagePool(t, o)
			volume := filepath.Join(p.Dir(), "volumes", "a.raw")
			if err := p.Blank(ctx, volume, 1<<30, "", 1000); err != nil {
				t.Fatal(err)
			}
			damage(t, o)
			p, err := Open(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(volume); err != nil {
				t.Error(err)
			}
			if n := mounts(t, o.Dir); n != 1 {
				t.Errorf("%d mounts, want 1", n)
			}
			if ok, why := hasReflink(p.Dir()); !ok {
				t.Error(why)
			}
		})
	}
}

func TestOpenUsesReflinkFolderAsItIs(t *testing.T) {
	o := testOptions(t)
	p := openImagePool(t, o)
	inner := Options{Dir: filepath.Join(p.Dir(), "inner"), ImageFile: filepath.Join(p.Dir(), "inner.img")}
	q, err := Open(context.Background(), inner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(inner.ImageFile); err == nil {
		t.Error("an image was made in a folder that has reflink")
	}
	if err := q.Blank(context.Background(), filepath.Join(q.Dir(), "v.raw"), 1<<20, "", 0); err != nil {
		t.Error(err)
	}
}

func TestOpenEnlarges(t *testing.T) {
	o := testOptions(t)
	before, err := openImagePool(t, o).Usage()
	if err != nil {
		t.Fatal(err)
	}
	o.Size = 2 * testPool
	p, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if after.Total-before.Total < testPool*9/10 {
		t.Errorf("grew from %d to %d", before.Total, after.Total)
	}
	// A smaller wish is no reason to lose volumes.
	o.Size = testPool
	if _, err := Open(context.Background(), o); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t)
	tooLarge := o
	tooLarge.Size = 1 << 60
	if ok, _ := hasReflink(filepath.Dir(o.Dir)); !ok {
		if _, err := Open(ctx, tooLarge); err == nil || !strings.Contains(err.Error(), "does not fit") {
			t.Errorf("too large: %v", err)
		}
		if _, err := os.Stat(o.ImageFile + ".new"); err == nil {
			t.Error("a half-made image is left")
		}
	}
	if err := os.WriteFile(o.ImageFile, make([]byte, testPool), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("no filesystem in the image: %v", err)
	}
	if n := len(loopsOn(t, o.ImageFile)); n != 0 {
		t.Errorf("%d loop devices left by a failed Open", n)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), "precious") {
		t.Errorf("files in the folder: %v", err)
	}
}

func TestUnmountRefusesWhileInUse(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t)
	p := openImagePool(t, o)
	volume := filepath.Join(p.Dir(), "v.raw")
	if err := p.Blank(ctx, volume, 1<<20, "", 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(volume)
	if err != nil {
		t.Fatal(err)
	}
	if err := Destroy(ctx, o); err == nil {
		t.Error("destroyed a pool in use")
	}
	if _, err := os.Stat(volume); err != nil {
		t.Errorf("a refused Destroy lost a volume: %v", err)
	}
	f.Close()
	for range 2 {
		if err := Unmount(ctx, o); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := Destroy(ctx, o); err != nil {
			t.Error(err)
		}
	}
}

func TestClone(t *testing.T) {
	ctx := context.Background()
	p := openImagePool(t, testOptions(t))
	base := writeBase(t, p, 64<<20)
	want, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	volume := filepath.Join(p.Dir(), "volumes", "play", "m0-vda.raw")
	before, _ := p.Usage()
	if err := p.Clone(ctx, base, volume, 40<<30, 60123); err != nil {
		t.Fatal(err)
	}
	after, _ := p.Usage()
	if grown := before.Free - after.Free; grown > 1<<20 {
		t.Errorf("a clone took %d bytes", grown)
	}
	var st unix.Stat_t
	if err := unix.Stat(volume, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 40<<30 || st.Uid != 60123 || st.Gid != 60123 || st.Mode&0o7777 != 0o600 {
		t.Errorf("size %d, owner %d:%d, mode %o", st.Size, st.Uid, st.Gid, st.Mode&0o7777)
	}
	f, err := os.OpenFile(volume, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil || string(got) != string(want) {
		t.Errorf("content differs (%v)", err)
	}

	// A repeated clone keeps what the machine wrote.
	if _, err := f.WriteAt([]byte("written"), 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Clone(ctx, base, volume, 40<<30, 60123); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(got[:7], 0); err != nil || string(got[:7]) != "written" {
		t.Errorf("a repeated clone lost data: %q, %v", got[:7], err)
	}
	if now, _ := os.ReadFile(base); string(now) != string(want) {
		t.Error("the base changed")
	}

	if err := p.Clone(ctx, base, filepath.Join(p.Dir(), "small.raw"), 1<<20, 0); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("clone smaller than its base: %v", err)
	}
	if err := p.Clone(ctx, base, filepath.Join(p.Dir(), "..", "out.raw"), 1<<30, 0); err == nil {
		t.Error("cloned out of the pool")
	}
	for range 2 {
		if err := p.Delete(filepath.Dir(volume)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(p.Dir(), "volumes")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBlankFilesystems(t *testing.T) {
	ctx := context.Background()
	p := openImagePool(t, testOptions(t))
	for filesystem, check := range map[string][]string{
		"ext4":  {"e2fsck", "-fn"},
		"ext3":  {"e2fsck", "-fn"},
		"ext2":  {"e2fsck", "-fn"},
		"xfs":   {"xfs_repair", "-n", "-f"},
		"btrfs": {"btrfs", "check", "--readonly"},
	} {
		t.Run(filesystem, func(t *testing.T) {
			path := filepath.Join(p.Dir(), filesystem+".raw")
			if err := p.Blank(ctx, path, 40<<30, filesystem, 1234); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("blkid", "-p", "-s", "TYPE", "-o", "value", path).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != filesystem {
				t.Errorf("blkid says %q, %v", got, err)
			}
			if out, err := exec.Command(check[0], append(check[1:], path)...).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				t.Fatal(err)
			}
			if st.Size != 40<<30 || st.Uid != 1234 || st.Blocks*512 > 160<<20 {
				t.Errorf("size %d, uid %d, %d bytes allocated", st.Size, st.Uid, st.Blocks*512)
			}
			if err := p.Delete(path); err != nil {
				t.Error(err)
			}
		})
	}
	if err := p.Blank(ctx, filepath.Join(p.Dir(), "x.raw"), 1<<30, "ntfs", 0); err == nil || !strings.Contains(err.Error(), "btrfs, ext2, ext3, ext4, xfs") {
		t.Errorf("unknown filesystem: %v", err)
	}
	if err := p.Blank(ctx, filepath.Join(p.Dir(), "x.raw"), 100<<20, "xfs", 0); err == nil || !strings.Contains(err.Error(), "300 MiB") {
		t.Errorf("small XFS: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.Dir(), "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCanceled(t *testing.T) {
	o := testOptions(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, o); err == nil {
		if ok, _ := hasReflink(filepath.Dir(o.Dir)); !ok {
			t.Error("opened with a canceled context")
		}
	}
	if _, err := os.Stat(o.ImageFile + ".new"); err == nil {
		t.Error("a half-made image is left")
	}
	p := openImagePool(t, o)
	path := filepath.Join(p.Dir(), "v.raw")
	if err := p.Blank(ctx, path, 1<<30, "ext4", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a half-made volume is left")
	}
}

func TestFullPool(t *testing.T) {
	ctx := context.Background()
	p := openImagePool(t, testOptions(t))
	if err := p.CheckRoom(ctx, Need(1)); err != nil {
		t.Fatal(err)
	}
	base := writeBase(t, p, 64<<20)
	running := filepath.Join(p.Dir(), "running.raw")
	if err := p.Clone(ctx, base, running, 1<<30, 0); err != nil {
		t.Fatal(err)
	}

	hog, err := os.Create(filepath.Join(p.Dir(), "hog"))
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = hog.Write(block)
	}
	hog.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := p.CheckRoom(ctx, Need(1)); !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "128 MiB needed") {
		t.Errorf("CheckRoom of a full pool: %v", err)
	}
	// The machine that runs still reads its volume.
	if got, err := os.ReadFile(base); err != nil || len(got) != 64<<20 {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
	// Filesystems keep a few blocks for themselves, so tiny volumes may still
	// be made; one that writes must fail whole.
	var path string
	for i := 0; ; i++ {
		path = filepath.Join(p.Dir(), fmt.Sprintf("new%d.raw", i))
		if err = p.Blank(ctx, path, 10<<30, "ext4", 0); err != nil || i == 100 {
			break
		}
	}
	if !errors.Is(err, ErrNoRoom) {
		t.Errorf("Blank in a full pool: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a half-made volume is left")
	}

	if err := p.Delete(filepath.Join(p.Dir(), "hog")); err != nil {
		t.Fatal(err)
	}
	if err := p.CheckRoom(ctx, Need(1)); err != nil {
		t.Errorf("after making room: %v", err)
	}
	if err := p.Clone(ctx, base, filepath.Join(p.Dir(), "later.raw"), 1<<30, 0); err != nil {
		t.Error(err)
	}
}

func TestGrow(t *testing.T) {
	ctx := context.Background()
	p := openImagePool(t, testOptions(t))
	path := filepath.Join(p.Dir(), "v.raw")
	if err := p.Blank(ctx, path, 1<<20, "", 0); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1 << 20, 5 << 30, 5 << 30} {
		if err := p.Grow(ctx, path, size); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != size {
			t.Errorf("size %v, %v", info.Size(), err)
		}
	}
	if err := p.Grow(ctx, path, 1<<20); err == nil {
		t.Error("shrank")
	}
}

func BenchmarkClone(b *testing.B) {
	for _, size := range []int64{2 << 30, 40 << 30} {
		b.Run(strings.ReplaceAll(human(size), " ", ""), func(b *testing.B) {
			p := openImagePool(b, testOptions(b))
			base := writeBase(b, p, size)
			for i := 0; b.Loop(); i++ {
				path := filepath.Join(p.Dir(), "volumes", fmt.Sprint(i), "m0-vda.raw")
				if err := p.Clone(context.Background(), base, path, size, 1000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestInspectFollowsThePool(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t)
	root := filepath.Dir(o.Dir)
	see := func(ready bool, text string) {
		t.Helper()
		s, err := Inspect(o)
		if err != nil || s.Ready != ready || !strings.Contains(s.Info, text) {
			t.Errorf("%+v, %v; want ready=%v and %q", s, err, ready, text)
		}
	}
	if ok, _ := hasReflink(root); !ok {
		see(false, "512 MiB of XFS")
	}
	if entries, _ := os.ReadDir(root); len(entries) != 0 {
		t.Errorf("Inspect made %v", entries)
	}
	openImagePool(t, o)
	see(true, "direct I/O")
	if err := Unmount(ctx, o); err != nil {
		t.Fatal(err)
	}
	see(false, "not mounted now")
	if err := Destroy(ctx, o); err != nil {
		t.Fatal(err)
	}
	o.Size = 1 << 60
	if ok, _ := hasReflink(root); !ok {
		if _, err := Inspect(o); err == nil || !strings.Contains(err.Error(), "does not fit") {
			t.Errorf("got %v", err)
		}
	}
}
