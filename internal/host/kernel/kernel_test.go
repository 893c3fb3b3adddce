package kernel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sandlot/internal/labtest"
)

var (
	bookworm         = Suite{Name: "bookworm"}
	bookwormSecurity = Suite{Name: "bookworm-security", Security: true}
	backports        = Suite{Name: "trixie-backports"}
)

func TestUnknownVersionNamesTheKnown(t *testing.T) {
	s := &Store{Dir: t.TempDir()}
	_, pullErr := s.Pull(context.Background(), "4.19", nil)
	_, getErr := s.Get("../etc")
	removeErr := s.Remove(context.Background(), "")
	for _, err := range []error{pullErr, getErr, removeErr} {
		if err == nil || !strings.Contains(err.Error(), "5.10, 6.1, 6.12, 6.18") {
			t.Errorf("got %v", err)
		}
	}
}

func TestEmptyStore(t *testing.T) {
	s := &Store{Dir: filepath.Join(t.TempDir(), "missing")}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := s.Get("6.1"); !errors.Is(err, ErrNotPulled) || !strings.Contains(err.Error(), "labd kernel pull 6.1") {
		t.Errorf("got %v", err)
	}
	if err := s.Remove(context.Background(), "6.1"); err != nil {
		t.Error(err)
	}
}

func TestListIgnoresWhatIsNoKernel(t *testing.T) {
	s := &Store{Dir: t.TempDir()}
	for _, v := range []string{"6.12", "5.10", "6.1"} {
		write(t, filepath.Join(s.Dir, v, "kernel.json"), []byte(`{"version":"`+v+`","release":"r","packageVersion":"p","unknown":1}`))
	}
	write(t, filepath.Join(s.Dir, ".staging", "6.18", "kernel.json"), []byte(`{}`))
	write(t, filepath.Join(s.Dir, "note.txt"), nil)
	if err := os.Mkdir(filepath.Join(s.Dir, "6.18"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range list {
		got = append(got, k.Version)
	}
	if want := []string{"5.10", "6.1", "6.12"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if list[1].VMLinux() != filepath.Join(s.Dir, "6.1", "vmlinux") || list[1].Key() != "r_p" {
		t.Errorf("%+v", list[1])
	}
	write(t, filepath.Join(s.Dir, "6.1", "kernel.json"), []byte(`{`))
	if _, err := s.Get("6.1"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

func TestPullSaysWhichProgramIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := &Store{Dir: t.TempDir()}
	if _, err := s.Pull(context.Background(), "6.1", nil); err == nil || err.Error() != `cannot pull kernel "6.1": the program apt-get is missing; install the package apt` {
		t.Errorf("got %v", err)
	}
}

func TestPull(t *testing.T) {
	labtest.Require(t, labtest.Root)
	ctx := context.Background()
	a := newArchive(t)
	a.publish(t, bookworm, fakeKernel(t, "6.1.0-50-cloud-amd64", "6.1.176-1"), fakeKernel(t, "6.1.0-9-cloud-amd64", "6.1.27-1"))
	s := a.store(t)

	k, err := s.Pull(ctx, "6.1", func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if k.Key() != "6.1.0-50-cloud-amd64_6.1.176-1" || k.Package != "linux-image-6.1.0-50-cloud-amd64" || k.SizeBytes == 0 {
		t.Errorf("%+v", k)
	}
	var files []string
	err = filepath.WalkDir(k.Dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(k.Dir, path)
		if err == nil && !d.IsDir() && !strings.HasPrefix(rel, "modules/modules.") {
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"boot/System.map-6.1.0-50-cloud-amd64", "boot/config-6.1.0-50-cloud-amd64", "boot/vmlinuz-6.1.0-50-cloud-amd64",
		"bzImage", "kernel.json", "modules/kernel/fs/fake.ko", "vmlinux",
	}
	if !slices.Equal(files, want) {
		t.Errorf("files:\n%v\nwant:\n%v", files, want)
	}
	if dep, err := os.ReadFile(filepath.Join(k.Modules(), "modules.dep")); err != nil || !strings.Contains(string(dep), "kernel/fs/fake.ko:") {
		t.Errorf("modules.dep: %q, %v", dep, err)
	}

	// Again: nothing is downloaded.
	asked, release := a.block()
	again, err := s.Pull(ctx, "6.1", nil)
	if err != nil || !again.Pulled.Equal(k.Pulled) {
		t.Errorf("%+v, %v", again, err)
	}
	release()
	if len(asked) > 0 {
		t.Error("a package was downloaded again")
	}

	// A newer one replaces it.
	a.publish(t, bookwormSecurity, fakeKernel(t, "6.1.0-56-cloud-amd64", "6.1.192-2"))
	if k, err = s.Pull(ctx, "6.1", nil); err != nil || k.Release != "6.1.0-56-cloud-amd64" {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := os.Stat(filepath.Join(k.Boot(), "vmlinuz-6.1.0-50-cloud-amd64")); err == nil {
		t.Error("the old kernel is still there")
	}

	// Damage is mended.
	if err := os.Remove(k.VMLinux()); err != nil {
		t.Fatal(err)
	}
	if k, err = s.Pull(ctx, "6.1", nil); err != nil || !whole(k) {
		t.Errorf("%+v, %v", k, err)
	}

	// Without network what is there can be used.
	a.server.Close()
	if _, err := s.Ensure(ctx, "6.1", nil); err != nil {
		t.Error(err)
	}
	s.InUse = func(context.Context) (map[string]int, error) { return map[string]int{"6.1": 2}, nil }
	if err := s.Remove(ctx, "6.1"); err == nil || !strings.Contains(err.Error(), "2 plays use it") {
		t.Errorf("got %v", err)
	}
	s.InUse = nil
	for range 2 {
		if err := s.Remove(ctx, "6.1"); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(s.Dir, "[^.]*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	emptyStaging(t, s)
}

// Later Debian kernels come in several packages, with modules below /usr.
func TestPullSplitPackages(t *testing.T) {
	labtest.Require(t, labtest.Root)
	a := newArchive(t)
	const release, version = "6.18.15+deb13-cloud-amd64", "6.18.15-1~bpo13+1"
	whole := fakeKernel(t, release, version)
	image := deb{name: whole.name, version: version, depends: fmt.Sprintf("linux-base-%s (= %s), linux-modules-%s (= %s)", release, version, release, version), files: map[string][]byte{}}
	modules := deb{name: "linux-modules-" + release, version: version, files: map[string][]byte{}}
	for path, content := range whole.files {
		if strings.HasPrefix(path, "lib/") {
			modules.files["usr/"+path] = content
		} else if !strings.HasPrefix(path, "boot/System.map") {
			image.files[path] = content
		}
	}
	a.publish(t, backports, image, modules)
	s := a.store(t)
	k, err := s.Pull(context.Background(), "6.18", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(k.Modules(), "kernel/fs/fake.ko")); err != nil {
		t.Error(err)
	}
}

func TestPullFailures(t *testing.T) {
	labtest.Require(t, labtest.Root)
	ctx := context.Background()
	fails := func(t *testing.T, s *Store, want string) {
		t.Helper()
		if _, err := s.Pull(ctx, "6.1", nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, want)
		}
		if list, err := s.List(); err != nil || len(list) > 0 {
			t.Errorf("in the store: %v, %v", list, err)
		}
		emptyStaging(t, s)
	}
	t.Run("no network", func(t *testing.T) {
		a := newArchive(t)
		s := a.store(t)
		a.server.Close()
		fails(t, s, "cannot reach Debian's archive")
	})
	t.Run("version gone from the archive", func(t *testing.T) {
		fails(t, newArchive(t).store(t), "bookworm-security and bookworm no longer has this version")
	})
	t.Run("package does not match its hash", func(t *testing.T) {
		a := newArchive(t)
		a.publish(t, bookworm, fakeKernel(t, "6.1.0-50-cloud-amd64", "6.1.176-1"))
		debs, _ := filepath.Glob(filepath.Join(a.root, "debian/pool/*.deb"))
		raw, err := os.ReadFile(debs[0])
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)-1] ^= 1
		write(t, debs[0], raw)
		fails(t, a.store(t), "Hash Sum mismatch")
	})
	t.Run("kernel without PVH", func(t *testing.T) {
		a := newArchive(t)
		k := fakeKernel(t, "6.1.0-50-cloud-amd64", "6.1.176-1")
		k.files["boot/vmlinuz-6.1.0-50-cloud-amd64"] = fakeBzImage(pack(t, openGzip, fakeELF(1), false))
		a.publish(t, bookworm, k)
		fails(t, a.store(t), "CONFIG_PVH")
	})
	t.Run("archive not signed", func(t *testing.T) {
		a := newArchive(t)
		a.publish(t, bookworm, fakeKernel(t, "6.1.0-50-cloud-amd64", "6.1.176-1"))
		s := a.store(t)
		s.trusted = false
		fails(t, s, "is not signed")
	})
	t.Run("no keyring", func(t *testing.T) {
		s := newArchive(t).store(t)
		s.trusted, s.Keyring = false, "/nonexistent.gpg"
		if _, err := s.Pull(ctx, "6.1", nil); err == nil || !strings.Contains(err.Error(), "debian-archive-keyring") {
			t.Errorf("got %v", err)
		}
	})
}

func TestPullCanceled(t *testing.T) {
	labtest.Require(t, labtest.Root)
	a := newArchive(t)
	a.publish(t, bookworm, fakeKernel(t, "6.1.0-50-cloud-amd64", "6.1.176-1"))
	s := a.store(t)
	asked, release := a.block()
	defer release()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := s.Pull(ctx, "6.1", nil)
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	emptyStaging(t, s)
}

func TestPullSurvivesSIGKILL(t *testing.T) {
	labtest.Require(t, labtest.Root)
	if dir := os.Getenv("KERNEL_TEST_STORE"); dir != "" {
		pullAsChild(t, dir)
		return
	}
	a := newArchive(t)
	a.publish(t, bookworm, fakeKernel(t, "6.1.0-50-cloud-amd64", "6.1.176-1"))
	s := a.store(t)
	asked, release := a.block()
	child := exec.Command(os.Args[0], "-test.run", "^TestPullSurvivesSIGKILL$", "-test.v")
	child.Env = append(os.Environ(), "KERNEL_TEST_STORE="+s.Dir, "KERNEL_TEST_MIRROR="+a.server.URL)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "downloading") {
		t.Log(lines.Text())
	}
	<-asked
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	release()
	if list, err := s.List(); err != nil || len(list) > 0 {
		t.Errorf("after the kill: %v, %v", list, err)
	}
	k, err := s.Pull(context.Background(), "6.1", nil)
	if err != nil || !whole(k) {
		t.Errorf("%+v, %v", k, err)
	}
	emptyStaging(t, s)
}

func pullAsChild(t *testing.T, dir string) {
	server := os.Getenv("KERNEL_TEST_MIRROR")
	s := &Store{Dir: dir, Mirror: Mirror{server + "/debian", server + "/debian-security"}, trusted: true}
	_, err := s.Pull(context.Background(), "6.1", func(line string) { fmt.Println(line) })
	t.Fatalf("the pull came to an end: %v", err)
}

func emptyStaging(t *testing.T, s *Store) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".staging", "*")); len(left) > 0 {
		t.Errorf("left in staging: %v", left)
	}
}
