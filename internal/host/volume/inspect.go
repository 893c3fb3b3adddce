package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// State is what Inspect finds.
type State struct {
	// Ready tells that Open has nothing to make: Usage is set.
	Ready bool
	// Info says what the pool stands on, or will, for a person.
	Info  string
	Usage Usage
}

// Inspect tells the state of a pool and changes nothing; the error is what
// Open would fail with, as far as that can be foreseen.
func Inspect(o Options) (State, error) {
	s, err := inspect(o)
	if err != nil {
		return State{}, fmt.Errorf("cannot open pool %q: %v", o.Dir, err)
	}
	return s, nil
}

func inspect(o Options) (State, error) {
	if dir, err := filepath.EvalSymlinks(o.Dir); err == nil {
		o.Dir = dir
	}
	m, err := mountAt(o.Dir)
	if err != nil {
		return State{}, err
	}
	image, imageErr := os.Stat(o.ImageFile)
	switch {
	case m != nil && sameLoop(m.Source, o.ImageFile):
		return (&Pool{dir: o.Dir, image: o.ImageFile, device: m.Source, directIO: loopDirectIO(m.Source)}).state()
	case imageErr == nil:
		if err := empty(nearest(o.Dir)); err != nil && nearest(o.Dir) == o.Dir {
			return State{}, err
		}
		return State{Info: fmt.Sprintf("%s in %s, not mounted now", human(image.Size()), o.ImageFile)}, nil
	}
	near := nearest(o.Dir)
	if reflink, why := hasReflink(near); reflink && near == o.Dir {
		return (&Pool{dir: o.Dir}).state()
	} else if reflink {
		return State{Info: "the folder's own filesystem has reflink"}, nil
	} else if errors.Is(why, os.ErrPermission) {
		return State{}, errors.New("that needs root")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(nearest(filepath.Dir(o.ImageFile)), &st); err != nil {
		return State{}, err
	}
	size, err := chooseSize(o.Size, int64(st.Bavail)*st.Bsize)
	if err != nil {
		return State{}, err
	}
	return State{Info: fmt.Sprintf("%s of XFS in %s", human(size), o.ImageFile)}, nil
}

func (p *Pool) state() (State, error) {
	u, err := p.Usage()
	return State{Ready: true, Info: p.Info(), Usage: u}, err
}
