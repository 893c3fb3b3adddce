package agent

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// HelperName is argv[0] of the process that copies files as a user.
const HelperName = "@sandlot-tar"

// copy runs the helper as the user: the kernel then decides what may be read
// and written.
func (a *Agent) copy(ctx context.Context, s *yamux.Stream, op string, c wire.Copy) error {
	u, err := a.account(c.User)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(u.Home, c.Path)
	}
	argv := append(slices.Clone(a.Helper[1:]), op, c.Path)
	attr := &os.ProcAttr{Dir: "/", Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: true, Credential: a.credential(u)}}
	p, err := a.startPipes(a.Helper[0], argv, attr)
	if err != nil {
		return fmt.Errorf("cannot start copy: %v", err)
	}
	respond(s, wire.Response{})
	a.conduct(ctx, s, &frames{w: s}, p)
	return nil
}

// HelperMain is the whole life of a helper process: op is OpPut (a tar on in
// is extracted below path) or OpGet (path goes to out as a tar).
func HelperMain(op, path string, in io.Reader, out io.Writer) error {
	switch op {
	case wire.OpPut:
		return extract(path, in)
	case wire.OpGet:
		return archive(path, out)
	}
	return fmt.Errorf("cannot copy: unknown direction %q", op)
}

// extract writes the regular files, directories and symlinks of a tar below
// dir. No name and no symlink leads outside of it.
func extract(dir string, in io.Reader) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make directory: %v", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	r := tar.NewReader(bufio.NewReaderSize(in, 64<<10))
	var modes []*tar.Header // of directories, set last: one may be read-only
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read tar: %v", err)
		}
		name := filepath.Clean(h.Name)
		if !filepath.IsLocal(name) {
			return fmt.Errorf("cannot extract %q: it is outside of the target", h.Name)
		}
		if err := extractEntry(root, name, h, r); err != nil {
			return fmt.Errorf("cannot extract %q: %v", h.Name, err)
		}
		if h.Typeflag == tar.TypeDir {
			modes = append(modes, h)
		}
	}
	for _, h := range slices.Backward(modes) {
		root.Chmod(filepath.Clean(h.Name), h.FileInfo().Mode().Perm())
	}
	// What follows the end of the archive must be read, or the sender blocks.
	io.Copy(io.Discard, in)
	return nil
}

func extractEntry(root *os.Root, name string, h *tar.Header, body io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if parent := filepath.Dir(name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if info, err := root.Lstat(name); err == nil && !info.Mode().IsRegular() {
			if info.IsDir() {
				return errors.New("a directory is in the way")
			}
			if err := root.Remove(name); err != nil {
				return err
			}
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, body)
		// One may write a file of another owner, but not change its mode.
		f.Chmod(h.FileInfo().Mode().Perm())
		err = errors.Join(err, f.Close())
		if err == nil && !h.ModTime.IsZero() {
			root.Chtimes(name, h.ModTime, h.ModTime)
		}
		return err
	case tar.TypeSymlink:
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(h.Linkname, name)
	}
	return fmt.Errorf("entries of type %q are not copied", h.Typeflag)
}

// archive sends path; names in the tar start with its last element. Sockets,
// devices and the like are left out.
func archive(path string, out io.Writer) error {
	path = filepath.Clean(path)
	// Only the path itself is followed if it is a symlink, as cp -r would.
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		w := tar.NewWriter(out)
		if err := archiveEntry(w, path, filepath.Base(path), info); err != nil {
			return err
		}
		return w.Close()
	}
	base := filepath.Base(path)
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	err = filepath.WalkDir(resolved, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(resolved, file)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted while we walk
		}
		if err != nil {
			return err
		}
		return archiveEntry(w, file, filepath.Join(base, rel), info)
	})
	if err != nil {
		return err
	}
	return w.Close()
}

func archiveEntry(w *tar.Writer, file, name string, info fs.FileInfo) error {
	var link string
	var err error
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	case !info.IsDir() && !info.Mode().IsRegular():
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	if !info.Mode().IsRegular() {
		return w.WriteHeader(h)
	}
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	// A file may grow or shrink while it is read (/proc, logs): send exactly
	// what the header says.
	n, err := io.Copy(w, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		_, err = io.CopyN(w, zeros{}, h.Size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
