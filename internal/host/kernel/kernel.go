// Package kernel keeps the kernels machines boot. In goes a version ("6.1");
// out comes a folder with that kernel in every form a VMM or an image needs,
// made from Debian's signed packages.
//
//	<store>/6.1/bzImage        compressed, with the Linux boot header (QEMU)
//	<store>/6.1/vmlinux        the ELF inside it, with a PVH entry (Firecracker)
//	<store>/6.1/modules/       becomes /lib/modules/<release>; has modules.dep
//	<store>/6.1/boot/          becomes /boot: vmlinuz-, config-, System.map-<release>
//	<store>/6.1/kernel.json    the Kernel below
//	<store>/.apt/6.1/          apt's own lists, kept to make the next pull quick
//	<store>/.staging/6.1/      half-made; emptied by the next pull
//	<store>/.lock-6.1          held while a version is changed
//
// A version's folder appears, is replaced and disappears in one rename, so
// whatever kills labd, it is either whole or absent.
package kernel

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// ErrNotPulled is returned by Get for a version the store does not hold.
var ErrNotPulled = errors.New("kernel is not in the store")

// Kernel is one pulled kernel. The JSON form is kernel.json.
type Kernel struct {
	Version        string    `json:"version"`        // "6.1", the name in manifests
	Release        string    `json:"release"`        // uname -r, like "6.1.0-56-cloud-amd64"
	Package        string    `json:"package"`        // Debian package it came from
	PackageVersion string    `json:"packageVersion"` // like "6.1.192-2"
	Pulled         time.Time `json:"pulled"`
	SizeBytes      int64     `json:"sizeBytes"` // of all its files

	// Dir is where the kernel lies; set on reading.
	Dir string `json:"-"`
}

// BzImage is the compressed kernel with the Linux boot header.
func (k Kernel) BzImage() string { return filepath.Join(k.Dir, "bzImage") }

// VMLinux is the uncompressed ELF with a PVH entry note.
func (k Kernel) VMLinux() string { return filepath.Join(k.Dir, "vmlinux") }

// Modules is the content of /lib/modules/<release>.
func (k Kernel) Modules() string { return filepath.Join(k.Dir, "modules") }

// Boot is the content of /boot.
func (k Kernel) Boot() string { return filepath.Join(k.Dir, "boot") }

// Key changes whenever the kernel's files do, and is safe in file names: the
// key for everything built with this kernel's modules inside.
func (k Kernel) Key() string { return k.Release + "_" + k.PackageVersion }

// Store is a folder of kernels. Only Dir must be set. Its methods may be
// called concurrently, also by several processes.
type Store struct {
	Dir string
	// InUse tells how many plays use each version; Remove refuses those.
	// nil means none are used.
	InUse func(ctx context.Context) (map[string]int, error)
	// Mirror the packages come from; the zero value means the one of the
	// host's own apt sources, else deb.debian.org.
	Mirror Mirror
	// Keyring that signs the archive; empty means DebianKeyring.
	Keyring string
	// Etc is the root of the host's configuration; empty means "/etc".
	Etc string
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// trusted switches signature checks off, for a test's own archive.
	trusted bool
}

// List returns the kernels in the store, oldest version first.
func (s *Store) List() ([]Kernel, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list kernels: %v", err)
	}
	var list []Kernel
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
			continue
		}
		k, err := s.Get(e.Name())
		if errors.Is(err, ErrNotPulled) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Kernel) int { return compareVersions(a.Version, b.Version) })
	return list, nil
}

// Get returns one kernel of the store; ErrNotPulled if it is not there.
func (s *Store) Get(version string) (Kernel, error) {
	if _, err := source(version); err != nil {
		return Kernel{}, fmt.Errorf("cannot use kernel %q: %v", version, err)
	}
	dir := filepath.Join(s.Dir, version)
	raw, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Kernel{}, fmt.Errorf("cannot use kernel %q: %w; get it with: labd kernel pull %s", version, ErrNotPulled, version)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot use kernel %q: %v", version, err)
	}
	var k Kernel
	if err := json.Unmarshal(raw, &k); err != nil {
		return Kernel{}, fmt.Errorf("cannot use kernel %q: its kernel.json is damaged (%v); get it again with: labd kernel pull %s", version, err, version)
	}
	k.Version, k.Dir = version, dir
	return k, nil
}

// Ensure returns the kernel if the store has it and pulls it otherwise: no
// network is touched for one that is there.
func (s *Store) Ensure(ctx context.Context, version string, progress func(string)) (Kernel, error) {
	k, err := s.Get(version)
	if !errors.Is(err, ErrNotPulled) {
		return k, err
	}
	return s.Pull(ctx, version, progress)
}

// Remove deletes a kernel; one that is not there is no error, one that a play
// uses is.
func (s *Store) Remove(ctx context.Context, version string) error {
	if _, err := source(version); err != nil {
		return fmt.Errorf("cannot remove kernel %q: %v", version, err)
	}
	if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.lock(ctx, version)
	if err != nil {
		return fmt.Errorf("cannot remove kernel %q: %v", version, err)
	}
	defer unlock()
	if s.InUse != nil {
		used, err := s.InUse(ctx)
		if err != nil {
			return fmt.Errorf("cannot remove kernel %q: %v", version, err)
		}
		if n := used[version]; n > 0 {
			return fmt.Errorf("cannot remove kernel %q: %d %s it; destroy them first (labctl playground list)", version, n, pluralUse(n))
		}
	}
	staging, err := s.staging(version)
	if err != nil {
		return fmt.Errorf("cannot remove kernel %q: %v", version, err)
	}
	defer os.RemoveAll(staging)
	err = os.Rename(filepath.Join(s.Dir, version), filepath.Join(staging, "removed"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove kernel %q: %v", version, err)
	}
	if err := os.RemoveAll(s.aptDir(version)); err != nil {
		return fmt.Errorf("cannot remove kernel %q: %v", version, err)
	}
	return nil
}

func pluralUse(n int) string {
	if n == 1 {
		return "play uses"
	}
	return "plays use"
}

func (s *Store) aptDir(version string) string { return filepath.Join(s.Dir, ".apt", version) }

// staging returns an empty folder on the store's file system. The caller
// holds the version's lock.
func (s *Store) staging(version string) (string, error) {
	dir := filepath.Join(s.Dir, ".staging", version)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// lock makes the caller the only one, in any process, that changes a version.
func (s *Store) lock(ctx context.Context, version string) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(s.Dir, ".lock-"+version))
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, err
	}
	return func() { l.Close() }, nil
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Store) etc() string { return cmp.Or(s.Etc, "/etc") }
