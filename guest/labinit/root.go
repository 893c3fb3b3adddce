package labinit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
)

// mountRoot mounts the root drive at newRoot and starts to grow its filesystem
// to the drive's size: the channel tells how that ended. Files can be written
// meanwhile. A read-only root drive gets a writable layer in memory.
func mountRoot(mods *modules, m wire.Mount) (grown <-chan error, err error) {
	if err := waitForDevice(m.Device); err != nil {
		return nil, err
	}
	dir := newRoot
	if m.ReadOnly {
		dir = lowerRoot
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	kind, err := mountFilesystem(mods, m, dir)
	if err != nil {
		return nil, fmt.Errorf("cannot mount the root drive %s: %v", m.Device, err)
	}
	done := make(chan error, 1)
	if m.ReadOnly {
		if err := overlayRoot(mods); err != nil {
			return nil, fmt.Errorf("cannot put a writable layer on the read-only root: %v", err)
		}
		close(done)
		return done, nil
	}
	go func() {
		err := grow(m.Device, newRoot, kind)
		if err != nil {
			err = fmt.Errorf("cannot grow the root filesystem: %v", err)
		}
		done <- err
	}()
	return done, nil
}

func waitForDevice(device string) error {
	for end := time.Now().Add(deviceWait); ; time.Sleep(2 * time.Millisecond) {
		if info, err := os.Stat(device); err == nil && info.Mode()&os.ModeDevice != 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("cannot find drive %s: it did not appear within %s", device, deviceWait)
		}
	}
}

// mountFilesystem returns the driver that serves the filesystem it found.
func mountFilesystem(mods *modules, m wire.Mount, dir string) (kind string, err error) {
	kind = m.Filesystem
	if found, err := probeDevice(m.Device); err == nil && found != "" {
		kind = found // what is there counts, not what should be
	}
	var options string
	as := kind // the name the table of mounts will show
	switch kind {
	case "ext2", "ext3", "ext4":
		// One driver for all three. The inode tables of a base are left to be
		// zeroed lazily; doing it would dirty gigabytes of a clone.
		kind, as, options = "ext4", "ext4", "noinit_itable"
		if m.Filesystem == "ext2" || m.Filesystem == "ext3" {
			as, options = m.Filesystem, ""
		}
		err = errors.Join(mods.ensure("crc32c_generic"), mods.ensure("ext4"))
	case "xfs", "btrfs":
		err = errors.Join(mods.ensure("crc32c_generic"), mods.ensure("crc32c_cryptoapi"), mods.ensure(kind))
	case "":
		return "", errors.New("no filesystem found on it")
	}
	if err != nil {
		return "", err
	}
	var flags uintptr
	if m.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(m.Device, dir, as, flags, options); err != nil {
		return "", fmt.Errorf("%s: %v", as, err)
	}
	return kind, nil
}

// superblock is enough of a device's start to tell its filesystem.
const superblock = 0x10048

func probeDevice(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return probe(f)
}

// probe tells the filesystem by its magic number, "" if it knows none.
func probe(r io.ReaderAt) (string, error) {
	head := make([]byte, superblock)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	head = head[:n]
	at := func(offset int, magic string) bool {
		return len(head) >= offset+len(magic) && string(head[offset:offset+len(magic)]) == magic
	}
	switch {
	case at(0, "XFSB"):
		return "xfs", nil
	case at(1080, "\x53\xef"):
		return "ext4", nil
	case at(0x10040, "_BHRfS_M"):
		return "btrfs", nil
	}
	return "", nil
}

// Ioctls of the filesystems' online growing, from the kernel's
// fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h and include/uapi/linux/btrfs.h.
const (
	ext4IocResizeFS     = 0x40086610
	xfsIocFSGeometryV1  = 0x80705864
	xfsIocFSGrowFSData  = 0x4010586e
	btrfsIocResize      = 0x50009403
	ext4Incompat64Bit   = 0x80
	growAtLeast         = 16 << 20 // less than a block group is not worth an ioctl
	xfsGeometryV1Length = 112
)

// grow makes the filesystem mounted at dir as large as its device.
func grow(device, dir, kind string) error {
	dev, err := os.Open(device)
	if err != nil {
		return err
	}
	defer dev.Close()
	size, err := dev.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	mounted, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer mounted.Close()
	fd := mounted.Fd()
	switch kind {
	case "ext4":
		want, err := ext4Wants(dev)
		if err != nil || want == 0 {
			return err
		}
		return ioctl(fd, ext4IocResizeFS, unsafe.Pointer(&want))
	case "xfs":
		var geometry [xfsGeometryV1Length]byte
		if err := ioctl(fd, xfsIocFSGeometryV1, unsafe.Pointer(&geometry)); err != nil {
			return err
		}
		blockSize := int64(binary.NativeEndian.Uint32(geometry[0:]))
		blocks := int64(binary.NativeEndian.Uint64(geometry[32:]))
		if blockSize == 0 || size-blocks*blockSize < growAtLeast {
			return nil
		}
		want := struct {
			blocks     uint64
			maxPercent uint32
			_          uint32
		}{uint64(size / blockSize), binary.NativeEndian.Uint32(geometry[28:]), 0}
		return ioctl(fd, xfsIocFSGrowFSData, unsafe.Pointer(&want))
	case "btrfs":
		var args [4096]byte // __s64 fd, then the name
		copy(args[8:], "max")
		return ioctl(fd, btrfsIocResize, unsafe.Pointer(&args))
	}
	return nil
}

// ext4Wants is the number of blocks that an ext4 filesystem on a device would
// have if it filled it, 0 if it does.
func ext4Wants(dev io.ReadSeeker) (uint64, error) {
	size, err := dev.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if _, err := dev.Seek(1024, io.SeekStart); err != nil {
		return 0, err
	}
	head := make([]byte, 1024)
	if _, err := io.ReadFull(dev, head); err != nil {
		return 0, err
	}
	blocks, blockSize := ext4Size(head)
	if blockSize == 0 || size-blocks*blockSize < growAtLeast {
		return 0, nil
	}
	return uint64(size / blockSize), nil
}

// ext4Size reads the number of blocks and their size in bytes from an ext4
// superblock.
func ext4Size(sb []byte) (blocks, blockSize int64) {
	if !bytes.Equal(sb[0x38:0x3a], []byte{0x53, 0xef}) {
		return 0, 0
	}
	shift := binary.LittleEndian.Uint32(sb[0x18:])
	if shift > 6 {
		return 0, 0
	}
	blocks = int64(binary.LittleEndian.Uint32(sb[0x4:]))
	if binary.LittleEndian.Uint32(sb[0x60:])&ext4Incompat64Bit != 0 {
		blocks |= int64(binary.LittleEndian.Uint32(sb[0x150:])&0xffff) << 32
	}
	return blocks, 1024 << shift
}

func ioctl(fd uintptr, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// CreditEntropy adds b to the kernel's random pool and counts every bit of it
// (RNDADDENTROPY of random(4)).
func CreditEntropy(b []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	arg := binary.NativeEndian.AppendUint32(nil, uint32(len(b)*8))
	arg = binary.NativeEndian.AppendUint32(arg, uint32(len(b)))
	arg = append(arg, b...)
	return ioctl(f.Fd(), unix.RNDADDENTROPY, unsafe.Pointer(&arg[0]))
}
