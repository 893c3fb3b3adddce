package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// blockSize is that of the filesystems we make; holes are counted in it.
const blockSize = 4096

// copyChunk is read at a time: few system calls, and it stays in the cache.
const copyChunk = 256 << 10

var zeroBlock [blockSize]byte

// sink takes the contents of regular files, each as a file named by a number.
// They are written once, while their layer streams by, and later renamed into
// the tree: the names of the image play no part here.
type sink struct {
	dir  *os.File
	last atomic.Int64
	bufs sync.Pool
}

// newSink puts contents into an open, empty folder.
func newSink(dir *os.File) *sink {
	return &sink{dir: dir, bufs: sync.Pool{New: func() any { b := make([]byte, copyChunk); return &b }}}
}

func contentName(n int64) string { return strconv.FormatInt(n, 10) }

// reserve returns a number that no content has.
func (s *sink) reserve() int64 { return s.last.Add(1) }

// put stores the content of ino, which is read from r: ino.size bytes. Blocks
// of zeros become holes, whether or not the archive said so. It sets
// ino.content and ino.stored. Small contents are written by the workers of
// group, so r can be read on meanwhile; ino is complete when the group is done.
func (s *sink) put(ctx context.Context, r io.Reader, ino *inode, group *errgroup.Group) error {
	if ino.size > copyChunk {
		return s.write(ctx, r, ino)
	}
	bp := s.bufs.Get().(*[]byte)
	buf := (*bp)[:ino.size]
	if _, err := io.ReadFull(r, buf); err != nil {
		s.bufs.Put(bp)
		return noEOF(err)
	}
	group.Go(func() error {
		defer s.bufs.Put(bp)
		return s.write(ctx, bytes.NewReader(buf), ino)
	})
	return nil
}

// noEOF is for reads that must not meet the end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *sink) write(ctx context.Context, r io.Reader, ino *inode) error {
	number := s.reserve()
	// The file is created with its mode: later that is one change less.
	fd, err := unix.Openat(int(s.dir.Fd()), contentName(number), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, ino.mode&0o777|0o200)
	if err != nil {
		return fmt.Errorf("cannot stage content: %w", err)
	}
	defer unix.Close(fd)
	bp := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(bp)
	var off, end int64
	for off < ino.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := (*bp)[:min(copyChunk, ino.size-off)]
		if _, err := io.ReadFull(r, buf); err != nil {
			return noEOF(err)
		}
		for at := 0; at < len(buf); {
			start, stop := dataRun(buf, at)
			if start < stop {
				if err := pwriteAll(fd, buf[start:stop], off+int64(start)); err != nil {
					return fmt.Errorf("cannot stage content: %w", err)
				}
				ino.stored += roundUp(int64(stop-start), blockSize)
				end = off + int64(stop)
			}
			at = stop
		}
		off += int64(len(buf))
	}
	if end < ino.size {
		if err := unix.Ftruncate(fd, ino.size); err != nil {
			return fmt.Errorf("cannot stage content: %w", err)
		}
	}
	ino.content = number
	return nil
}

// dataRun returns the next run of blocks at or after from that are not all
// zero: buf[start:end]. start == end == len(buf) means there is none.
func dataRun(buf []byte, from int) (start, end int) {
	isZero := func(at int) bool {
		b := buf[at:min(at+blockSize, len(buf))]
		return bytes.Equal(b, zeroBlock[:len(b)])
	}
	start = from
	for start < len(buf) && isZero(start) {
		start += blockSize
	}
	start = min(start, len(buf))
	end = start
	for end < len(buf) && !isZero(end) {
		end += blockSize
	}
	return start, min(end, len(buf))
}

func pwriteAll(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// open returns the content of a regular file that has some.
func (s *sink) open(number int64) (*os.File, error) {
	fd, err := unix.Openat(int(s.dir.Fd()), contentName(number), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open staged content: %v", err)
	}
	return os.NewFile(uintptr(fd), contentName(number)), nil
}

// allocated is the disk space a file takes, in bytes; 0 if it is gone.
func allocated(p string) int64 {
	var st unix.Stat_t
	if unix.Lstat(p, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}
