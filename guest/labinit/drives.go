package labinit

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
)

// mountDrives mounts the drives besides the root's below it, outer ones before
// those inside them, so that files may be written to them and every init finds
// them in place; fstab names them for the image's own tools.
func mountDrives(mods *modules, root tree, mounts []wire.Mount) error {
	var errs []error
	for _, m := range inOrder(mounts) {
		errs = append(errs, mountDrive(mods, root, m))
	}
	return errors.Join(errs...)
}

// inOrder sorts by path: a parent stands before what is below it.
func inOrder(mounts []wire.Mount) []wire.Mount {
	sorted := slices.Clone(mounts)
	slices.SortStableFunc(sorted, func(a, b wire.Mount) int { return cmp.Compare(a.Path, b.Path) })
	return sorted
}

func mountDrive(mods *modules, root tree, m wire.Mount) error {
	fail := func(err error) error { return fmt.Errorf("cannot mount %s at %s: %v", m.Device, m.Path, err) }
	if err := waitForDevice(m.Device); err != nil {
		return fail(err)
	}
	if err := root.mkdir(m.Path, rootDir); err != nil {
		return fail(err)
	}
	dir, err := root.resolve(m.Path)
	if err != nil {
		return fail(err)
	}
	kind, err := mountFilesystem(mods, m, dir)
	if err != nil {
		return fail(err)
	}
	if m.ReadOnly {
		return nil
	}
	if err := grow(m.Device, dir, kind); err != nil {
		return fmt.Errorf("cannot grow the filesystem of %s: %v", m.Device, err)
	}
	return nil
}

// growUnmounted makes the filesystem of drives with an image as large as the
// drive. What a person made of a drive since, or one that was grown before, is
// not touched.
func growUnmounted(mods *modules, devices []string) error {
	var errs []error
	for _, device := range devices {
		if err := growOne(mods, device); err != nil {
			errs = append(errs, fmt.Errorf("cannot grow the filesystem of %s: %v", device, err))
		}
	}
	return errors.Join(errs...)
}

func growOne(mods *modules, device string) error {
	if err := waitForDevice(device); err != nil {
		return err
	}
	dev, err := os.Open(device)
	if err != nil {
		return err
	}
	defer dev.Close()
	if kind, err := probe(dev); err != nil || kind != "ext4" {
		return err
	}
	if blocks, err := ext4Wants(dev); blocks == 0 {
		return err
	}
	const dir = "/grow"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	kind, err := mountFilesystem(mods, wire.Mount{Device: device}, dir)
	if err != nil {
		return err
	}
	return errors.Join(grow(device, dir, kind), unix.Unmount(dir, 0))
}

// Where a read-only root's layers are, in the initramfs.
const (
	lowerRoot = "/lower"
	upperRoot = "/upper"
)

// overlayRoot mounts at newRoot what is writable on top of the read-only root
// drive at lowerRoot: changes live in memory, until the machine stops.
func overlayRoot(mods *modules) error {
	if err := mods.ensure("overlay"); err != nil {
		return err
	}
	if err := os.MkdirAll(upperRoot, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", upperRoot, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, dir := range []string{"/files", "/work"} {
		if err := os.Mkdir(upperRoot+dir, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + lowerRoot + ",upperdir=" + upperRoot + "/files,workdir=" + upperRoot + "/work"
	return unix.Mount("overlay", newRoot, "overlay", 0, options)
}

// releaseDrives leaves every drive's filesystem clean: what is still in use
// becomes read-only.
func releaseDrives() {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		warn(err)
	}
	for _, dir := range driveMounts(string(text)) {
		if unix.Unmount(dir, 0) != nil {
			unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
}

// driveMounts are the places where drives are mounted, the last mount first,
// given the kernel's table of mounts (proc(5)).
func driveMounts(table string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var dirs []string
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[0], "/dev/vd") {
			dirs = append(dirs, unescape.Replace(f[1]))
		}
	}
	slices.Reverse(dirs)
	return dirs
}
