// Package volume keeps the block device files of plays. In goes a base volume
// or a size; out comes a raw file that a VMM opens as a drive, cloned by
// reflink in milliseconds whatever its size.
//
// All volumes live in one pool, a folder whose filesystem has reflink. Where
// the folder already has it (XFS, btrfs), it is used as it is. Where it has
// not, Open makes it so:
//
//	ImageFile.new ──fallocate, mkfs.xfs, fsync──▶ ImageFile
//	    ──loop device, direct I/O, autoclear──▶ mounted over Dir
//
// Each arrow is one atomic act, and the loop device detaches itself when
// nobody holds it, so an Open that was killed anywhere, or a host that
// rebooted, is mended by the next Open. Volumes are made without a name and
// linked in when they are whole: a half-made one cannot be seen.
//
// Volumes are thin: a pool promises more than it has. CheckRoom is what
// admits a new play; room.go states the policy.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say where the pool is. Paths are absolute.
type Options struct {
	// Dir is the pool's folder.
	Dir string
	// ImageFile holds the pool's filesystem where Dir has no reflink. Its
	// folder must not be Dir.
	ImageFile string
	// Size of ImageFile in bytes. 0 chooses: half of the free space, at least
	// 4 GiB, at most 64 GiB. An existing pool that is smaller is enlarged to
	// a Size that is set; it never shrinks.
	Size int64
}

// Limits of the size of a pool's image.
const (
	minChosen = 4 << 30
	maxChosen = 64 << 30
	// minImage is what mkfs.xfs needs to make a filesystem at all (300 MiB),
	// and some room.
	minImage = 320 << 20
	// sizeUnit keeps images whole multiples of what any disk wants.
	sizeUnit = 1 << 20
)

// Pool is an open pool. Its methods may be called concurrently.
type Pool struct {
	dir string
	// image is empty where Dir had reflink itself.
	image    string
	device   string
	directIO bool
}

// Dir is the pool's folder, with no symbolic link in it.
func (p *Pool) Dir() string { return p.dir }

// Info says what the pool stands on, for a person.
func (p *Pool) Info() string {
	if p.image == "" {
		return "the folder's own filesystem has reflink"
	}
	io := "direct I/O"
	if !p.directIO {
		io = "no direct I/O: the host caches it twice"
	}
	return fmt.Sprintf("XFS in %s on %s, %s", p.image, p.device, io)
}

// Open makes the pool ready and returns it. It may be repeated at any time,
// also while machines run on the pool.
func Open(ctx context.Context, o Options) (*Pool, error) {
	p, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("cannot open pool %q: %w", o.Dir, err)
	}
	return p, nil
}

func open(ctx context.Context, o Options) (*Pool, error) {
	o, unlock, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()

	if m, err := mountAt(o.Dir); err != nil {
		return nil, err
	} else if m != nil && sameLoop(m.Source, o.ImageFile) {
		return o.finish(ctx, m.Source)
	}
	_, err = os.Stat(o.ImageFile)
	imageExists := err == nil
	reflink, why := hasReflink(o.Dir)
	// An image that exists holds the volumes, even where Dir has reflink by
	// now.
	if reflink && !imageExists {
		if err := os.Chmod(o.Dir, poolMode); err != nil {
			return nil, err
		}
		return &Pool{dir: o.Dir}, nil
	}
	if err := empty(o.Dir); err != nil {
		return nil, err
	}
	if !imageExists {
		if err := makeImage(ctx, o); err != nil {
			return nil, fmt.Errorf("the folder has no reflink (%v), and no XFS file can be made for it: %w; or put the folder on XFS or btrfs", why, err)
		}
	} else if err := growImage(o); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	device, err := mountImage(o)
	if err != nil {
		return nil, err
	}
	return o.finish(ctx, device)
}

// poolMode lets a VMM's own user pass through to its volumes, and list
// nothing.
const poolMode = 0o711

// prepare checks the options, makes the folders and takes the pool's lock.
func prepare(ctx context.Context, o Options) (Options, func(), error) {
	if !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.ImageFile) {
		return o, nil, errors.New("paths must be absolute")
	}
	if rel, err := filepath.Rel(o.Dir, o.ImageFile); err == nil && filepath.IsLocal(rel) {
		return o, nil, fmt.Errorf("its image %s would lie inside it", o.ImageFile)
	}
	for _, dir := range []string{o.Dir, filepath.Dir(o.ImageFile)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return o, nil, err
		}
	}
	var err error
	// The mount table knows real paths only.
	if o.Dir, err = filepath.EvalSymlinks(o.Dir); err != nil {
		return o, nil, err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(o.ImageFile))
	if err != nil {
		return o, nil, err
	}
	o.ImageFile = filepath.Join(parent, filepath.Base(o.ImageFile))
	unlock, err := lockDir(ctx, parent)
	return o, unlock, err
}

// lockDir serialises everything done to pools whose image is in dir.
func lockDir(ctx context.Context, dir string) (func(), error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hasReflink tries a clone in dir, leaving nothing there.
func hasReflink(dir string) (bool, error) {
	from, err := nameless(dir)
	if err != nil {
		return false, err
	}
	defer from.Close()
	to, err := nameless(dir)
	if err != nil {
		return false, err
	}
	defer to.Close()
	if _, err := from.Write(make([]byte, 64<<10)); err != nil {
		return false, err
	}
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err != nil {
		return false, err
	}
	return true, nil
}

// nameless opens a new file in dir that has no name and is gone when closed,
// unless it is linked.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "make a file in", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, "(nameless)")), nil
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("it holds files that a pool mounted over it would hide (%s); move them away", entries[0].Name())
	}
	return nil
}

// makeImage makes ImageFile with an empty XFS in it.
func makeImage(ctx context.Context, o Options) error {
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		return errors.New("the program mkfs.xfs is missing; install the package xfsprogs")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(o.ImageFile), &st); err != nil {
		return err
	}
	size, err := chooseSize(o.Size, int64(st.Bavail)*st.Bsize)
	if err != nil {
		return err
	}
	temp := o.ImageFile + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	defer f.Close()
	// Without preallocation a full host would turn into I/O errors inside
	// the pool.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return fmt.Errorf("cannot allocate %s for %s: %v", human(size), o.ImageFile, err)
	}
	if err := runTool(ctx, nil, poolMkfs(temp), nil); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return rename(temp, o.ImageFile)
}

// chooseSize picks the size of a new image from what was asked for and what
// is free, in bytes.
func chooseSize(asked, free int64) (int64, error) {
	size := asked
	if size == 0 {
		size = max(min(free/2, maxChosen), minChosen)
	}
	size -= size % sizeUnit
	if size < minImage {
		return 0, fmt.Errorf("a pool of %s is too small, the least is %s", human(size), human(minImage))
	}
	// What is left is for everything else the host writes.
	if keep := min(free/20, 1<<30); size > free-keep {
		return 0, fmt.Errorf("a pool of %s does not fit the %s free there; make room or ask for a smaller pool", human(size), human(free))
	}
	return size, nil
}

// growImage enlarges an existing image to the Size that was asked for.
func growImage(o Options) error {
	info, err := os.Stat(o.ImageFile)
	if err != nil {
		return err
	}
	if size := o.Size - o.Size%sizeUnit; size > info.Size() {
		f, err := os.OpenFile(o.ImageFile, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			// ext4 moves the end of the file along as it allocates.
			_ = f.Truncate(info.Size())
			return fmt.Errorf("cannot enlarge %s to %s: %v", o.ImageFile, human(size), err)
		}
		return f.Sync()
	}
	return nil
}

// finish checks a mounted pool and lets its filesystem fill its image.
func (o Options) finish(ctx context.Context, device string) (*Pool, error) {
	if err := growImage(o); err != nil {
		return nil, err
	}
	if err := resizeLoop(device, o.ImageFile); err != nil {
		return nil, err
	}
	if err := growXFS(ctx, o.Dir, device); err != nil {
		return nil, err
	}
	if ok, why := hasReflink(o.Dir); !ok {
		return nil, fmt.Errorf("%s is mounted there but cannot clone (%v); unmount it and remove the image to start anew", o.ImageFile, why)
	}
	if err := os.Chmod(o.Dir, poolMode); err != nil {
		return nil, err
	}
	return &Pool{dir: o.Dir, image: o.ImageFile, device: device, directIO: loopDirectIO(device)}, nil
}

// growXFS grows the mounted filesystem if its device is larger by more than
// the slack a filesystem may leave at its end.
func growXFS(ctx context.Context, dir, device string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	size, err := deviceSize(device)
	if err != nil {
		return err
	}
	// statfs leaves the log out: at most 2 GiB, and 64 MiB where pools are
	// small. xfs_growfs does nothing where there is nothing to do.
	if size-int64(st.Blocks)*st.Bsize < 128<<20 {
		return nil
	}
	return runTool(ctx, nil, []string{"xfs_growfs", "-d", dir}, nil)
}

// Unmount undoes the mount of a pool; the image and what is in it stay. A
// pool that is not mounted, or needs no mount, is no error.
func Unmount(ctx context.Context, o Options) error {
	if _, err := os.Lstat(o.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	o, unlock, err := prepare(ctx, o)
	if err != nil {
		return fmt.Errorf("cannot unmount pool %q: %v", o.Dir, err)
	}
	defer unlock()
	if err := unmount(o); err != nil {
		return fmt.Errorf("cannot unmount pool %q: %v", o.Dir, err)
	}
	return nil
}

func unmount(o Options) error {
	for {
		m, err := mountAt(o.Dir)
		if err != nil {
			return err
		}
		if m == nil || !sameLoop(m.Source, o.ImageFile) {
			return detachLoops(o.ImageFile)
		}
		if err := unix.Unmount(o.Dir, unix.UMOUNT_NOFOLLOW); errors.Is(err, unix.EBUSY) {
			return errors.New("files in it are open; stop the machines that use it first")
		} else if err != nil {
			return err
		}
	}
}

// Destroy removes the pool with everything in it: mount, image and folder.
// What is gone already is no error.
func Destroy(ctx context.Context, o Options) error {
	_, dirErr := os.Lstat(o.Dir)
	_, parentErr := os.Lstat(filepath.Dir(o.ImageFile))
	if errors.Is(dirErr, fs.ErrNotExist) && errors.Is(parentErr, fs.ErrNotExist) {
		return nil
	}
	o, unlock, err := prepare(ctx, o)
	if err == nil {
		defer unlock()
		err = destroy(o)
	}
	if err != nil {
		return fmt.Errorf("cannot destroy pool %q: %v", o.Dir, err)
	}
	return nil
}

func destroy(o Options) error {
	if err := unmount(o); err != nil {
		return err
	}
	for _, path := range []string{o.ImageFile, o.ImageFile + ".new"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.RemoveAll(o.Dir)
}

// rename gives a finished file its name, for good.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// human prints bytes the way manifests write them: "1.5 GiB".
func human(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i]
}
