package kernel

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mends tells, for each program a pull runs, the package that has it.
var mends = map[string]string{
	"apt-get":  "apt",
	"dpkg-deb": "dpkg",
	"depmod":   "kmod",
}

// Pull fetches the newest kernel of a version and makes it the store's. A
// version that is already the newest stays as it is. progress is called with
// one line per step and may be nil.
func (s *Store) Pull(ctx context.Context, version string, progress func(string)) (Kernel, error) {
	if progress == nil {
		progress = func(string) {}
	}
	src, err := source(version)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot pull kernel %q: %v", version, err)
	}
	k, err := s.pull(ctx, src, progress)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Kernel{}, fmt.Errorf("cannot pull kernel %q: %w", version, err)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot pull kernel %q: %v", version, err)
	}
	return k, nil
}

func (s *Store) pull(ctx context.Context, src Source, progress func(string)) (Kernel, error) {
	for _, program := range []string{"apt-get", "dpkg-deb", "depmod"} {
		if _, err := exec.LookPath(program); err != nil {
			return Kernel{}, fmt.Errorf("the program %s is missing; install the package %s", program, mends[program])
		}
	}
	keyring := cmp.Or(s.Keyring, DebianKeyring)
	if _, err := os.Stat(keyring); err != nil && !s.trusted {
		return Kernel{}, fmt.Errorf("cannot check packages: the archive's keys are missing (%s); install the package debian-archive-keyring", keyring)
	}
	unlock, err := s.lock(ctx, src.Version)
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	staging, err := s.staging(src.Version)
	if err != nil {
		return Kernel{}, err
	}
	defer os.RemoveAll(staging)

	a, image, release, err := s.resolve(ctx, src, keyring, progress)
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{
		Version: src.Version, Release: release,
		Package: image.Name, PackageVersion: image.Version,
		Pulled: s.now().UTC(),
	}
	if have, err := s.Get(src.Version); err == nil && have.Key() == k.Key() && whole(have) {
		progress(fmt.Sprintf("%s is already here", image))
		return have, nil
	}

	progress("downloading " + image.String())
	debs := filepath.Join(staging, "debs")
	if err := os.Mkdir(debs, 0o755); err != nil {
		return Kernel{}, err
	}
	list, err := closure(ctx, a, image)
	if err != nil {
		return Kernel{}, err
	}
	if err := a.download(ctx, debs, list); err != nil {
		return Kernel{}, fmt.Errorf("%w; check the network and the proxy of apt", err)
	}

	progress("unpacking " + release)
	tree := filepath.Join(staging, "tree")
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil || len(files) == 0 {
		return Kernel{}, errors.New("apt-get downloaded no package")
	}
	for _, file := range files {
		if _, err := run(ctx, "", nil, "dpkg-deb", "-x", file, tree); err != nil {
			return Kernel{}, err
		}
	}
	out := filepath.Join(staging, "kernel")
	if err := assemble(ctx, tree, out, release); err != nil {
		return Kernel{}, err
	}
	if k.SizeBytes, err = treeSize(out); err != nil {
		return Kernel{}, err
	}
	if err := s.commit(k, out); err != nil {
		return Kernel{}, err
	}
	progress(fmt.Sprintf("kernel %s is ready: %s", k.Version, k.Release))
	return s.Get(src.Version)
}

// resolve finds the newest package: on the host's mirror, or on Debian's own
// if the host's lacks the suite.
func (s *Store) resolve(ctx context.Context, src Source, keyring string, progress func(string)) (*apt, pkg, string, error) {
	mirrors := []Mirror{s.Mirror}
	if s.Mirror == (Mirror{}) {
		mirrors = []Mirror{hostMirror(s.hostSources())}
		if mirrors[0] != defaultMirror {
			mirrors = append(mirrors, defaultMirror)
		}
	}
	var complaint string
	for _, m := range mirrors {
		progress("reading the package lists of " + m.Debian)
		a, err := newApt(ctx, s.aptDir(src.Version), src, m, keyring, s.trusted)
		if err != nil {
			return nil, pkg{}, "", err
		}
		missing, err := a.update(ctx)
		if err != nil {
			return nil, pkg{}, "", err
		}
		list, err := a.packages(ctx, src.Version)
		if err != nil {
			return nil, pkg{}, "", err
		}
		if image, release, ok := newest(src.Version, list); ok {
			if missing != "" {
				progress("warning: not all package lists could be read: " + missing)
			}
			return a, image, release, nil
		}
		complaint = cmp.Or(complaint, missing)
	}
	if complaint != "" {
		return nil, pkg{}, "", fmt.Errorf("cannot reach Debian's archive: %s; check the network and the proxy of apt", complaint)
	}
	var suites []string
	for _, suite := range src.Suites {
		suites = append(suites, suite.Name)
	}
	return nil, pkg{}, "", fmt.Errorf("%s no longer has this version; use another one of %s",
		strings.Join(suites, " and "), strings.Join(Known(), ", "))
}

// hostSources is the text of all apt sources of the host.
func (s *Store) hostSources() string {
	var b strings.Builder
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		files, _ := filepath.Glob(filepath.Join(s.etc(), "apt", pattern))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				b.Write(text)
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

// closure is the image's package and those that hold the rest of the kernel.
func closure(ctx context.Context, a *apt, image pkg) ([]pkg, error) {
	list := []pkg{image}
	seen := map[string]bool{image.Name: true}
	for i := 0; i < len(list); i++ {
		for _, dep := range dependencies(list[i]) {
			if seen[dep.Name] {
				continue
			}
			seen[dep.Name] = true
			full, err := a.show(ctx, dep)
			if err != nil {
				return nil, err
			}
			list = append(list, full)
		}
	}
	return list, nil
}

// assemble turns the unpacked packages in tree into a version's folder.
func assemble(ctx context.Context, tree, out, release string) error {
	if err := os.MkdirAll(filepath.Join(out, "boot"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"vmlinuz-", "config-", "System.map-"} {
		err := os.Rename(filepath.Join(tree, "boot", name+release), filepath.Join(out, "boot", name+release))
		// Later packages leave the stub of a System.map out.
		if errors.Is(err, fs.ErrNotExist) && name == "System.map-" {
			continue
		}
		if err != nil {
			return fmt.Errorf("package lacks a file: %v", err)
		}
	}
	bzImage := filepath.Join(out, "bzImage")
	if err := os.Link(filepath.Join(out, "boot", "vmlinuz-"+release), bzImage); err != nil {
		return err
	}
	packed, err := os.ReadFile(bzImage)
	if err != nil {
		return err
	}
	elf, err := extractVMLinux(packed)
	if err != nil {
		return fmt.Errorf("cannot extract vmlinux of %s: %v", release, err)
	}
	if err := os.WriteFile(filepath.Join(out, "vmlinux"), elf, 0o644); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}

	// depmod wants lib/modules/<release>; merged-/usr packages have it below
	// usr.
	base := filepath.Join(tree, "depmod")
	modules := filepath.Join(base, "lib", "modules", release)
	if err := os.MkdirAll(filepath.Dir(modules), 0o755); err != nil {
		return err
	}
	err = os.Rename(filepath.Join(tree, "lib", "modules", release), modules)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(filepath.Join(tree, "usr", "lib", "modules", release), modules)
	}
	if err != nil {
		return fmt.Errorf("package lacks the modules: %v", err)
	}
	for _, link := range []string{"build", "source"} {
		if err := os.RemoveAll(filepath.Join(modules, link)); err != nil {
			return err
		}
	}
	if _, err := run(ctx, "", nil, "depmod", "-b", base, release); err != nil {
		return err
	}
	return os.Rename(modules, filepath.Join(out, "modules"))
}

// commit makes out the version's folder, on disk before it has its name.
func (s *Store) commit(k Kernel, out string) error {
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "kernel.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	dir, err := os.Open(s.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return err
	}
	target := filepath.Join(s.Dir, k.Version)
	err = unix.Renameat2(unix.AT_FDCWD, out, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(out, target)
	}
	if err != nil {
		return fmt.Errorf("cannot replace %s: %v", target, err)
	}
	return dir.Sync()
}

// whole tells whether nobody deleted parts of a pulled kernel.
func whole(k Kernel) bool {
	for _, path := range []string{k.BzImage(), k.VMLinux(), filepath.Join(k.Modules(), "modules.dep"), k.Boot()} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

func treeSize(root string) (int64, error) {
	var total int64
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
