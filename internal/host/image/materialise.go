package image

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// materialise makes the tree's files in the empty folder dir. Contents are
// renamed out of the sink, so they are not written a second time. Every system
// call names one component relative to an open folder and follows no symlink.
// It needs root for owners, devices and capabilities.
func materialise(ctx context.Context, root *node, sink *sink, dir *os.File) error {
	m := &materialiser{ctx: ctx, sink: sink, left: root.links(), placed: map[*inode]string{}}
	return m.fill(int(dir.Fd()), root, "/")
}

type materialiser struct {
	ctx  context.Context
	sink *sink
	// left counts the names an inode still has to get.
	left map[*inode]int
	// placed names the file in the sink of an inode that has several names.
	placed map[*inode]string
}

// fill makes the children of the open directory fd and then gives it its own
// attributes, last, because adding children changes its time.
func (m *materialiser) fill(fd int, dir *node, at string) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	for name, child := range dir.sorted() {
		if err := m.place(fd, name, child, at); err != nil {
			return err
		}
	}
	if err := setAttributes(fd, "", dir.inode); err != nil {
		return fmt.Errorf("cannot make directory %q: %w", at, err)
	}
	return nil
}

func (m *materialiser) place(fd int, name string, n *node, at string) error {
	p := at + name
	if n.isDir() {
		if err := unix.Mkdirat(fd, name, 0o700); err != nil {
			return fmt.Errorf("cannot make directory %q: %w", p, err)
		}
		child, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot open directory %q: %w", p, err)
		}
		defer unix.Close(child)
		return m.fill(child, n, p+"/")
	}
	if err := m.placeFile(fd, name, n.inode); err != nil {
		return fmt.Errorf("cannot make %q: %w", p, err)
	}
	return nil
}

// placeFile gives an inode one of its names. An inode with several names is
// made in the sink and linked from there; the last name takes it away.
func (m *materialiser) placeFile(fd int, name string, ino *inode) error {
	sinkFD := int(m.sink.dir.Fd())
	if from, ok := m.placed[ino]; ok {
		m.left[ino]--
		if m.left[ino] == 0 {
			return unix.Renameat(sinkFD, from, fd, name)
		}
		return unix.Linkat(sinkFD, from, fd, name, 0)
	}
	if ino.content != 0 {
		from := contentName(ino.content)
		if m.left[ino] == 1 {
			if err := unix.Renameat(sinkFD, from, fd, name); err != nil {
				return err
			}
			return setAttributes(fd, name, ino)
		}
		if err := setAttributes(sinkFD, from, ino); err != nil {
			return err
		}
	}
	if m.left[ino] == 1 {
		if err := m.create(fd, name, ino); err != nil {
			return err
		}
		return setAttributes(fd, name, ino)
	}
	from := contentName(ino.content)
	if ino.content == 0 {
		from = contentName(m.sink.reserve())
		if err := m.create(sinkFD, from, ino); err != nil {
			return err
		}
		if err := setAttributes(sinkFD, from, ino); err != nil {
			return err
		}
	}
	m.placed[ino] = from
	m.left[ino]--
	return unix.Linkat(sinkFD, from, fd, name, 0)
}

// create makes a file whose content is not in the sink.
func (m *materialiser) create(fd int, name string, ino *inode) error {
	switch ino.kind {
	case kindSymlink:
		return unix.Symlinkat(ino.target, fd, name)
	case kindChar:
		return unix.Mknodat(fd, name, unix.S_IFCHR|0o600, int(unix.Mkdev(ino.major, ino.minor)))
	case kindBlock:
		return unix.Mknodat(fd, name, unix.S_IFBLK|0o600, int(unix.Mkdev(ino.major, ino.minor)))
	case kindFifo:
		return unix.Mknodat(fd, name, unix.S_IFIFO|0o600, 0)
	}
	out, err := unix.Openat(fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, ino.mode&0o777)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(out), name)
	defer f.Close()
	if ino.host != "" {
		in, err := os.Open(ino.host)
		if err != nil {
			return err
		}
		defer in.Close()
		if n, err := io.Copy(f, in); err != nil || n != ino.size {
			return fmt.Errorf("copied %d of %d bytes of %q: %w", n, ino.size, ino.host, err)
		}
	}
	return f.Close()
}

// setAttributes sets owner, mode, extended attributes and times, in the one
// order that works: a change of owner clears setuid bits and capabilities. An
// empty name means the directory fd itself.
func setAttributes(fd int, name string, ino *inode) error {
	at, flags := name, unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		at, flags = ".", 0
	}
	// Looking is far cheaper than changing: each change is a transaction of
	// the filesystem, and most files are root's, with the mode they were
	// created with.
	var st unix.Stat_t
	if err := unix.Fstatat(fd, at, &st, flags); err != nil {
		return err
	}
	if st.Uid != ino.uid || st.Gid != ino.gid {
		if err := unix.Fchownat(fd, at, int(ino.uid), int(ino.gid), flags); err != nil {
			return fmt.Errorf("set owner %d:%d: %w", ino.uid, ino.gid, err)
		}
		st.Mode &^= unix.S_ISUID | unix.S_ISGID
	}
	if ino.kind != kindSymlink && st.Mode&0o7777 != ino.mode {
		// The name was made by us in a folder only root enters, and is not a
		// symlink; fchmodat has no flag to say so before Linux 6.6.
		if err := unix.Fchmodat(fd, at, ino.mode, 0); err != nil {
			return fmt.Errorf("set mode %o: %w", ino.mode, err)
		}
	}
	if len(ino.xattrs) > 0 {
		// There is no setxattrat before Linux 6.13; only the last component,
		// which lsetxattr does not follow, comes from the image.
		p := "/proc/self/fd/" + strconv.Itoa(fd) + "/" + at
		for _, key := range slices.Sorted(maps.Keys(ino.xattrs)) {
			if err := unix.Lsetxattr(p, key, []byte(ino.xattrs[key]), 0); err != nil {
				return fmt.Errorf("set extended attribute %q: %w", key, err)
			}
		}
	}
	t, err := unix.TimeToTimespec(ino.mtime)
	if err != nil {
		return fmt.Errorf("set time %s: %w", ino.mtime, err)
	}
	if err := unix.UtimesNanoAt(fd, at, []unix.Timespec{t, t}, flags); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}
