package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock held by somebody else is tried again. The
// kernel's blocking flock cannot be interrupted by a context.
const lockPoll = 50 * time.Millisecond

// session is the folder of one process below a staging folder. It holds a
// locked file for as long as the process lives, so that a later process can
// tell what a dead one left behind.
type session struct {
	dir  string
	lock *flock.Flock
}

const sessionLock = "alive.lock"

// openSession removes the folders of dead processes from parent and makes one
// for this process. A lock on parent itself keeps a folder from being judged
// between its creation and its locking.
func openSession(parent string) (*session, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	gate := flock.New(filepath.Join(parent, ".lock"))
	if err := gate.Lock(); err != nil {
		return nil, fmt.Errorf("cannot lock %q: %v", parent, err)
	}
	defer gate.Close()
	if err := removeDeadSessions(parent); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "s")
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, sessionLock))
	if err := lock.Lock(); err != nil {
		return nil, fmt.Errorf("cannot lock %q: %v", dir, err)
	}
	return &session{dir: dir, lock: lock}, nil
}

func removeDeadSessions(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		lock := flock.New(filepath.Join(dir, sessionLock))
		dead, err := lock.TryLock()
		if err != nil {
			return fmt.Errorf("cannot lock %q: %v", dir, err)
		}
		if !dead {
			continue
		}
		err = removeTree(dir)
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// temp makes a folder that only root can enter: a staged tree holds other
// people's setuid programs and device nodes.
func (s *session) temp(prefix string) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(s.dir, prefix+"-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = removeTree(dir) }, nil
}

func (s *session) close() error {
	err := removeTree(s.dir)
	s.lock.Close()
	return err
}

// removeTree removes dir, after detaching whatever an interrupted build left
// mounted below it: deleting through a bind mount would delete the host's own
// files. A folder that is already gone is a success.
func removeTree(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	mounts, err := mountsBelow(real)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL {
			return fmt.Errorf("cannot unmount %q: %v", m, err)
		}
	}
	if len(mounts) > 0 {
		left, err := mountsBelow(real)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("cannot remove %q: still mounted below it: %s", dir, strings.Join(left, ", "))
		}
	}
	return os.RemoveAll(dir)
}

func mountsBelow(dir string) ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("cannot read mounts: %v", err)
	}
	var points []string
	for _, m := range infos {
		if m.Mountpoint != dir {
			points = append(points, m.Mountpoint)
		}
	}
	return points, nil
}

// lockNamed takes the lock of one name or base volume, for this process and
// all others. The files stay: removing a lock file races with its next user.
func (s *Store) lockNamed(ctx context.Context, name string) (unlock func(), err error) {
	return lockFile(ctx, filepath.Join(s.opts.Dir, "locks", fileSafe(name)+".lock"), false)
}

// lockBlobs keeps Prune away while blobs are added or read.
func (s *Store) lockBlobs(ctx context.Context, exclusive bool) (unlock func(), err error) {
	return lockFile(ctx, filepath.Join(s.opts.Dir, "locks", ".blobs.lock"), !exclusive)
}

func lockFile(ctx context.Context, path string, shared bool) (func(), error) {
	lock := flock.New(path)
	try := lock.TryLockContext
	if shared {
		try = lock.TryRLockContext
	}
	if _, err := try(ctx, lockPoll); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot lock %q: %w", path, err)
	}
	return func() { lock.Close() }, nil
}

// onOneThread calls f on a thread that nobody else uses until f returns.
func onOneThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- f()
	}()
	return <-done
}
