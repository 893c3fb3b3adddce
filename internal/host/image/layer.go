package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	// whiteoutMeta marks names that only AUFS itself understands.
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
	xattrRecord    = "SCHILY.xattr."

	// writers of small files for one layer. Creating a file is mostly waiting
	// for the filesystem's locks, so a few suffice.
	writers = 4
)

// readLayer reads one uncompressed layer to its end. Contents of regular files
// go to the sink.
func readLayer(ctx context.Context, r io.Reader, sink *sink, left *budget) ([]entry, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	entries, err := readEntries(ctx, r, sink, left, group)
	// A writer that failed has ended the reader's context; its error is the
	// one that says why.
	if e := group.Wait(); e != nil {
		err = e
	}
	return entries, err
}

func readEntries(ctx context.Context, r io.Reader, sink *sink, left *budget, group *errgroup.Group) ([]entry, error) {
	var entries []entry
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, readError(err)
		}
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := left.entry(); err != nil {
			return nil, err
		}
		e, err := parseHeader(hdr)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		if e.op == opPut && e.inode.kind == kindFile && hdr.Size > 0 {
			if err := left.spend(hdr.Size); err != nil {
				return nil, err
			}
			if err := sink.put(ctx, tr, e.inode, group); err != nil {
				return nil, fmt.Errorf("file %q: %w", e.path, readError(err))
			}
		}
		entries = append(entries, *e)
	}
	// What follows the end marker still belongs to the digest, and a broken
	// compressed stream may show only there.
	for {
		n, err := io.CopyN(io.Discard, r, 1<<20)
		if err := left.spend(n); err != nil {
			return nil, err
		}
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, readError(err)
		}
	}
}

// readError words the errors of a stream that ends too early.
func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the data is truncated")
	}
	return err
}

// parseHeader checks one header. It returns nil for entries to be ignored.
func parseHeader(hdr *tar.Header) (*entry, error) {
	p, err := cleanPath(hdr.Name)
	if err != nil {
		return nil, err
	}
	dir, base := path.Split(p)
	dir = strings.TrimSuffix(dir, "/")
	for part := range strings.SplitSeq(dir, "/") {
		switch {
		case strings.HasPrefix(part, whiteoutMeta):
			return nil, nil
		case strings.HasPrefix(part, whiteoutPrefix):
			return nil, fmt.Errorf("path %q goes through a whiteout", hdr.Name)
		}
	}
	if name, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		switch {
		case base == whiteoutOpaque:
			return &entry{op: opOpaque, path: dir}, nil
		case strings.HasPrefix(base, whiteoutMeta):
			return nil, nil
		case name == "" || name == "." || name == "..":
			return nil, fmt.Errorf("path %q is not a valid whiteout", hdr.Name)
		}
		return &entry{op: opWhiteout, path: path.Join(dir, name)}, nil
	}
	if hdr.Typeflag == tar.TypeLink {
		target, err := cleanPath(hdr.Linkname)
		if err != nil {
			return nil, fmt.Errorf("hard link %q: %w", hdr.Name, err)
		}
		return &entry{op: opLink, path: p, target: target}, nil
	}
	ino, err := parseInode(hdr)
	if err != nil {
		return nil, fmt.Errorf("entry %q: %w", hdr.Name, err)
	}
	return &entry{op: opPut, path: p, inode: ino}, nil
}

func parseInode(hdr *tar.Header) (*inode, error) {
	ino := &inode{mode: uint32(hdr.Mode & 0o7777), mtime: hdr.ModTime}
	// 2³²-1 means "no id" to the kernel.
	if hdr.Uid < 0 || hdr.Uid >= math.MaxUint32 || hdr.Gid < 0 || hdr.Gid >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	ino.uid, ino.gid = uint32(hdr.Uid), uint32(hdr.Gid)
	switch hdr.Typeflag {
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		ino.kind = kindFile
		if hdr.Size < 0 {
			return nil, fmt.Errorf("negative size")
		}
		ino.size = hdr.Size
	case tar.TypeDir:
		ino.kind = kindDir
	case tar.TypeSymlink:
		ino.kind = kindSymlink
		if hdr.Linkname == "" || len(hdr.Linkname) > maxSymlink || strings.IndexByte(hdr.Linkname, 0) >= 0 {
			return nil, fmt.Errorf("bad symlink target of %d bytes", len(hdr.Linkname))
		}
		ino.target = hdr.Linkname
	case tar.TypeChar, tar.TypeBlock:
		ino.kind = kindChar
		if hdr.Typeflag == tar.TypeBlock {
			ino.kind = kindBlock
		}
		if hdr.Devmajor < 0 || hdr.Devmajor > maxMajor || hdr.Devminor < 0 || hdr.Devminor > maxMinor {
			return nil, fmt.Errorf("device %d:%d is out of range", hdr.Devmajor, hdr.Devminor)
		}
		ino.major, ino.minor = uint32(hdr.Devmajor), uint32(hdr.Devminor)
	case tar.TypeFifo:
		ino.kind = kindFifo
	default:
		return nil, fmt.Errorf("unknown type %q", hdr.Typeflag)
	}
	return ino, parseXattrs(hdr, ino)
}

// parseXattrs keeps every extended attribute except those that only mean
// something to the overlay filesystem the image was built on.
func parseXattrs(hdr *tar.Header, ino *inode) error {
	total := 0
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if total += len(name) + len(value); total > maxXattrs || len(name) > unix.NAME_MAX || name == "" || strings.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("bad extended attributes")
		}
		if ino.xattrs == nil {
			ino.xattrs = map[string]string{}
		}
		ino.xattrs[name] = value
	}
	return nil
}
