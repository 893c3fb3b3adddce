package image

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// memoryShare of the available memory may hold the files of one conversion.
const memoryShare = 4

// compression is how much smaller than its content a compressed layer is
// taken to be. Guessing too low costs a second attempt.
const compression = 4

// workspace is where one conversion has its files: the contents of the layers
// and the tree made of them, which mke2fs copies. Nobody needs these files
// afterwards, so they are in memory if they fit: creating, renaming and
// deleting tens of thousands of small files is most of the work on a disk.
type workspace struct {
	content *os.File // folder of the sink
	tree    *os.File // empty folder
	close   func()
}

// diskWorkspace makes a workspace in an empty folder.
func diskWorkspace(dir string) (*workspace, error) {
	root, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return newWorkspace(root)
}

// memoryWorkspace makes a workspace of at most limit bytes in a tmpfs that is
// mounted nowhere: it exists only through open files, so it is gone with this
// process, however that ends. Linux 5.2.
func memoryWorkspace(limit int64) (*workspace, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot open tmpfs: %w", err)
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"size", strconv.FormatInt(limit, 10)}, {"nr_inodes", "0"}, {"mode", "0700"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return nil, fmt.Errorf("cannot configure tmpfs: %w", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("cannot make tmpfs: %w", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make tmpfs: %w", err)
	}
	root := os.NewFile(uintptr(mount), "tmpfs")
	defer root.Close()
	return newWorkspace(root)
}

func newWorkspace(root *os.File) (*workspace, error) {
	open := func(name string) (*os.File, error) {
		if err := unix.Mkdirat(int(root.Fd()), name, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make %q: %w", name, err)
		}
		fd, err := unix.Openat(int(root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot open %q: %w", name, err)
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	content, err := open("content")
	if err != nil {
		return nil, err
	}
	tree, err := open("tree")
	if err != nil {
		content.Close()
		return nil, err
	}
	return &workspace{content: content, tree: tree, close: func() { content.Close(); tree.Close() }}, nil
}

// inWorkspace calls f with a workspace for an image: in memory if that is
// likely to do, on disk otherwise or if it did not do.
func (s *Store) inWorkspace(o *opened, f func(*workspace) error) error {
	if limit := s.memoryLimit(); expectedBytes(o) <= limit {
		if w, err := memoryWorkspace(limit); err == nil {
			err = f(w)
			w.close()
			if !memoryFailed(err) {
				return err
			}
		}
	}
	dir, remove, err := s.staging.temp("files")
	if err != nil {
		return err
	}
	defer remove()
	w, err := diskWorkspace(dir)
	if err != nil {
		return err
	}
	defer w.close()
	return f(w)
}

// memoryFailed tells whether a conversion failed for want of memory, or for
// want of something that tmpfs lacks: user.* attributes, before Linux 6.6.
func memoryFailed(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EOPNOTSUPP)
}

// memoryLimit is how many bytes a workspace in memory may hold.
func (s *Store) memoryLimit() int64 {
	if s.opts.Memory != 0 {
		return max(0, s.opts.Memory)
	}
	return availableMemory(filepath.Join("/proc", "meminfo")) / memoryShare
}

// availableMemory reads MemAvailable, in bytes; 0 if it cannot.
func availableMemory(meminfo string) int64 {
	f, err := os.Open(meminfo)
	if err != nil {
		return 0
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// expectedBytes guesses the uncompressed size of all layers. Those of a Docker
// archive are plain; the type of others is not looked at.
func expectedBytes(o *opened) int64 {
	if o.manifest == nil {
		return o.bytes()
	}
	return o.bytes() * compression
}
