package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// loopBlock is the sector size of the loop device and of the XFS on it:
// direct I/O works with it on every disk, also those with 4 KiB sectors.
const loopBlock = 4096

// mountAt returns the topmost mount at dir, nil if there is none.
func mountAt(dir string) (*mountinfo.Info, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	// Later lines lie on top of earlier ones.
	return mounts[len(mounts)-1], nil
}

// mountImage attaches the image to a loop device and mounts it over Dir.
func mountImage(o Options) (device string, err error) {
	image, err := os.OpenFile(o.ImageFile, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer image.Close()
	loop, err := attachLoop(image)
	if err != nil {
		return "", fmt.Errorf("cannot attach %s to a loop device: %w", o.ImageFile, err)
	}
	// The mount holds the device from here on; without one it detaches now.
	defer loop.Close()
	// Nothing in the pool is ever run, and device nodes that image staging
	// makes are never opened.
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME)
	switch err := unix.Mount(loop.Name(), o.Dir, "xfs", flags, ""); {
	case errors.Is(err, unix.ENODEV):
		return "", errors.New("the host's kernel cannot mount XFS; load its module (modprobe xfs), or put the folder on btrfs")
	case errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EINVAL):
		return "", fmt.Errorf("the filesystem in %s is damaged (%v); repair it with xfs_repair, or remove the file to start with an empty pool", o.ImageFile, err)
	case err != nil:
		return "", fmt.Errorf("cannot mount %s: %w", o.ImageFile, err)
	}
	return loop.Name(), nil
}

// attachLoop returns an open loop device on image that detaches itself with
// its last user.
func attachLoop(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the host has no loop devices; load the module (modprobe loop)")
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, errors.New("that needs root; run labd as root")
	}
	if err != nil {
		return nil, err
	}
	defer control.Close()
	// Somebody else may take a free device before us.
	for range 64 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("no loop device is free: %w", err)
		}
		loop, err := configureLoop(fmt.Sprintf("/dev/loop%d", n), image)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		return loop, err
	}
	return nil, errors.New("other programs took every free loop device; try again")
}

func configureLoop(device string, image *os.File) (*os.File, error) {
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Size: loopBlock}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	copy(config.Info.File_name[:len(config.Info.File_name)-1], image.Name())
	err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
	if errors.Is(err, unix.EINVAL) {
		// Filesystems without direct I/O (tmpfs, some network ones).
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
	}
	if err != nil {
		loop.Close()
		return nil, err
	}
	// A weekly fstrim would punch holes into the image and undo its
	// preallocation. Where this knob is missing, so is that danger.
	_ = os.WriteFile(filepath.Join(sysBlock(device), "queue", "discard_max_bytes"), []byte("0"), 0)
	return loop, nil
}

func sysBlock(device string) string {
	return filepath.Join("/sys/block", filepath.Base(device))
}

// sameLoop tells whether device is a loop device on exactly this file.
func sameLoop(device, image string) bool {
	if !strings.HasPrefix(device, "/dev/loop") {
		return false
	}
	info, err := loopStatus(device)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		return false
	}
	return info.Inode == st.Ino && info.Device == kernelDev(st.Dev)
}

// kernelDev is a device number as the kernel's 32-bit encoding has it.
func kernelDev(dev uint64) uint64 {
	major, minor := uint64(unix.Major(dev)), uint64(unix.Minor(dev))
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

func loopStatus(device string) (*unix.LoopInfo64, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unix.IoctlLoopGetStatus64(int(f.Fd()))
}

func loopDirectIO(device string) bool {
	info, err := loopStatus(device)
	return err == nil && info.Flags&unix.LO_FLAGS_DIRECT_IO != 0
}

// detachLoops frees devices on image that do not free themselves: somebody
// attached it by hand.
func detachLoops(image string) error {
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	for _, path := range devices {
		device := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(path)))
		if !sameLoop(device, image) {
			continue
		}
		f, err := os.Open(device)
		if err != nil {
			return err
		}
		err = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("cannot detach %s: %v", device, err)
		}
	}
	return nil
}

// resizeLoop lets the device see that its file grew.
func resizeLoop(device, image string) error {
	info, err := os.Stat(image)
	if err != nil {
		return err
	}
	size, err := deviceSize(device)
	if err != nil {
		return err
	}
	if size >= info.Size()-info.Size()%loopBlock {
		return nil
	}
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0)
}

// deviceSize is the size of a block device in bytes.
func deviceSize(device string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, 2)
}
