package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoRoom is wrapped by every error whose cause is a full pool.
var ErrNoRoom = errors.New("destroy plays (labctl playground destroy), remove images (labd image prune) or enlarge the pool")

// The policy of admission. Volumes are thin, so a play is not asked for the
// full size of its drives, only for what starting it surely takes; what must
// not happen is that a start takes the last blocks from machines that run.
const (
	// MinPerVolume is what a new volume must find free: a distribution's
	// first boot writes about this much into its root drive.
	MinPerVolume = 128 << 20
	// minReserve and reservePart (one part in so many) are kept for the
	// volumes that are there, whichever is more, but never more than a
	// quarter of a small pool.
	minReserve  = 512 << 20
	reservePart = 20
	maxReserve  = 4
)

// Usage is a pool's room in bytes.
type Usage struct {
	Total, Free int64
	// Reserve of Free is not given to new volumes.
	Reserve int64
}

// Used is Total without Free.
func (u Usage) Used() int64 { return u.Total - u.Free }

// Usage asks the filesystem. With reflink only written blocks count, shared
// ones once.
func (p *Pool) Usage() (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		return Usage{}, fmt.Errorf("cannot measure pool %q: %v", p.dir, err)
	}
	u := Usage{Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize}
	u.Reserve = reserve(u.Total)
	return u, nil
}

func reserve(total int64) int64 {
	return min(max(total/reservePart, minReserve), total/maxReserve)
}

// Need is what a number of new volumes must find free, in bytes.
func Need(volumes int) int64 { return int64(volumes) * MinPerVolume }

// CheckRoom tells whether need more bytes fit in without touching the
// reserve; the error wraps ErrNoRoom. XFS gives a deleted file's blocks back
// in the background, so a "no" takes a second: it may be outdated.
func (p *Pool) CheckRoom(ctx context.Context, need int64) error {
	deadline := time.NewTimer(time.Second)
	defer deadline.Stop()
	for {
		u, err := p.Usage()
		if err != nil {
			return err
		}
		full := u.check(p.dir, need)
		if full == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return full
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (u Usage) check(dir string, need int64) error {
	if u.Free-u.Reserve >= need {
		return nil
	}
	return fmt.Errorf("pool %q has no room: %s needed, %s free of %s and %s of that kept for running machines; %w",
		dir, human(need), human(u.Free), human(u.Total), human(u.Reserve), ErrNoRoom)
}

// noRoom makes a full disk recognisable.
func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("the pool is full; %w", ErrNoRoom)
	}
	return err
}
