package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Clone makes path a volume of size bytes with the content of base, a file of
// the pool: its blocks are shared until they are written. It belongs to uid
// (user and group), mode 0600. A path that exists is a volume already and
// keeps its content. base should be on disk (fsync) when it is first cloned;
// otherwise that clone waits for it.
func (p *Pool) Clone(ctx context.Context, base, path string, size int64, uid uint32) error {
	err := p.make(ctx, path, size, uid, func(f *os.File) error {
		from, err := os.Open(base)
		if err != nil {
			return err
		}
		defer from.Close()
		info, err := from.Stat()
		if err != nil {
			return err
		}
		if info.Size() > size {
			return fmt.Errorf("its image needs %s and the drive has only %s; give the drive at least that size", human(info.Size()), human(size))
		}
		if err := unix.IoctlFileClone(int(f.Fd()), int(from.Fd())); err != nil {
			return fmt.Errorf("cannot clone %s: %w", base, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot clone volume %q: %w", path, err)
	}
	return nil
}

// Blank makes path an empty volume of size bytes with a filesystem on it:
// "ext4", "ext3", "ext2", "xfs", "btrfs", or "" for none. Ownership and
// repetition are as of Clone.
func (p *Pool) Blank(ctx context.Context, path string, size int64, filesystem string, uid uint32) error {
	err := p.make(ctx, path, size, uid, func(f *os.File) error {
		if filesystem == "" {
			return nil
		}
		if err := f.Truncate(size); err != nil {
			return err
		}
		return mkfs(ctx, f, size, filesystem)
	})
	if err != nil {
		return fmt.Errorf("cannot make blank volume %q: %w", path, err)
	}
	return nil
}

// make lets fill write a nameless file, then gives it its size, owner and, in
// one act, its name.
func (p *Pool) make(ctx context.Context, path string, size int64, uid uint32, fill func(*os.File) error) error {
	if err := p.inside(path); err != nil {
		return err
	}
	if size <= 0 {
		return fmt.Errorf("a size of %d bytes makes no drive", size)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return p.ensure(path, size, uid)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, poolMode); err != nil {
		return noRoom(err)
	}
	f, err := nameless(dir)
	if err != nil {
		return noRoom(err)
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return noRoom(err)
	}
	if err := f.Truncate(size); err != nil {
		return noRoom(err)
	}
	if err := own(f, uid); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return noRoom(err)
	}
	err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, fs.ErrExist) {
		return p.ensure(path, size, uid)
	}
	return noRoom(err)
}

// ensure gives an existing volume at least its size, and its owner.
func (p *Pool) ensure(path string, size int64, uid uint32) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("something that is no volume has its name")
	}
	if info.Size() < size {
		if err := f.Truncate(size); err != nil {
			return noRoom(err)
		}
	}
	return own(f, uid)
}

func own(f *os.File, uid uint32) error {
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	return f.Chown(int(uid), int(uid))
}

// Grow makes a volume larger; the new part reads as zeros and takes no room.
// One that is as large already is no error, shrinking is.
func (p *Pool) Grow(ctx context.Context, path string, size int64) error {
	if err := p.grow(ctx, path, size); err != nil {
		return fmt.Errorf("cannot grow volume %q: %w", path, err)
	}
	return nil
}

func (p *Pool) grow(ctx context.Context, path string, size int64) error {
	if err := p.inside(path); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > size {
		return fmt.Errorf("it has %s already, and volumes do not shrink to %s", human(info.Size()), human(size))
	}
	if info.Size() == size {
		return nil
	}
	if err := f.Truncate(size); err != nil {
		return noRoom(err)
	}
	return noRoom(f.Sync())
}

// Delete removes a volume, or a folder of volumes. What is gone already is no
// error.
func (p *Pool) Delete(path string) error {
	if err := p.inside(path); err != nil {
		return fmt.Errorf("cannot delete volume %q: %v", path, err)
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("cannot delete volume %q: %v", path, err)
	}
	return nil
}

// inside refuses paths outside of the pool, and the pool itself.
func (p *Pool) inside(path string) error {
	dir, err := filepath.EvalSymlinks(nearest(filepath.Dir(path)))
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(p.dir, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("it does not lie in the pool %s", p.dir)
	}
	if clean := filepath.Clean(path); clean == p.dir {
		return errors.New("it is the pool itself")
	}
	return nil
}

// nearest is the closest existing folder at or above dir.
func nearest(dir string) string {
	for {
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
