package image

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
)

// writeTar writes the tree as one normalised PAX archive: the root entry
// first, parents before children, names sorted and unique, no whiteouts, a
// hard link repeating its target's metadata because some readers apply it.
func writeTar(ctx context.Context, root *node, sink *sink, w io.Writer) error {
	tw := tar.NewWriter(w)
	first := map[*inode]string{}
	if err := tw.WriteHeader(header("./", root.inode)); err != nil {
		return fmt.Errorf("cannot write archive: %w", err)
	}
	var walk func(dir *node, at string) error
	walk = func(dir *node, at string) error {
		for name, child := range dir.sorted() {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := at + name
			if child.isDir() {
				if err := tw.WriteHeader(header(p+"/", child.inode)); err != nil {
					return fmt.Errorf("cannot write %q: %w", p, err)
				}
				if err := walk(child, p+"/"); err != nil {
					return err
				}
				continue
			}
			hdr := header(p, child.inode)
			target, linked := first[child.inode]
			if linked {
				hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, target, 0
			} else {
				first[child.inode] = p
			}
			if err := tw.WriteHeader(hdr); err != nil {
				return fmt.Errorf("cannot write %q: %w", p, err)
			}
			if hdr.Size > 0 {
				if err := writeContent(tw, sink, child.inode); err != nil {
					return fmt.Errorf("cannot write %q: %w", p, err)
				}
			}
		}
		return nil
	}
	if err := walk(root, ""); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("cannot write archive: %w", err)
	}
	return nil
}

func writeContent(w io.Writer, sink *sink, ino *inode) error {
	f, err := sink.open(ino.content)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(w, f, ino.size)
	return err
}

func header(name string, ino *inode) *tar.Header {
	hdr := &tar.Header{
		Format: tar.FormatPAX, Name: name, Mode: int64(ino.mode),
		Uid: int(ino.uid), Gid: int(ino.gid), ModTime: ino.mtime,
	}
	for key, value := range ino.xattrs {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[xattrRecord+key] = value
	}
	switch ino.kind {
	case kindDir:
		hdr.Typeflag = tar.TypeDir
	case kindSymlink:
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, ino.target
	case kindChar, kindBlock:
		hdr.Typeflag = tar.TypeChar
		if ino.kind == kindBlock {
			hdr.Typeflag = tar.TypeBlock
		}
		hdr.Devmajor, hdr.Devminor = int64(ino.major), int64(ino.minor)
	case kindFifo:
		hdr.Typeflag = tar.TypeFifo
	default:
		hdr.Typeflag, hdr.Size = tar.TypeReg, ino.size
	}
	return hdr
}
