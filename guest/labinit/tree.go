package labinit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxFile bounds what is read of any file of an image.
const maxFile = 16 << 20

// maxLinks is the kernel's own limit of symlinks in one path.
const maxLinks = 40

// tree is the machine's root filesystem, mounted or changed-root at base.
// Symlinks are followed as a process changed-root there would follow them, so
// no image can lead a write outside. Nothing else runs while labinit does:
// there is nobody to race with.
type tree struct{ base string }

// attr is the owner and mode of a file to be made.
type attr struct {
	uid, gid int
	mode     fs.FileMode
}

var (
	rootFile   = attr{0, 0, 0o644}
	rootSecret = attr{0, 0, 0o600}
	rootDir    = attr{0, 0, 0o755}
)

// resolve returns the host path of path, whose last element need not exist.
func (t tree) resolve(path string) (string, error) {
	rest := strings.Split(path, "/")
	at := "/" // always clean, below base
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(filepath.Join(t.base, next))
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if links++; links > maxLinks {
				return "", fmt.Errorf("cannot resolve %q: too many symlinks", path)
			}
			target, err := os.Readlink(filepath.Join(t.base, next))
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(target, "/") {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		at = next
	}
	return filepath.Join(t.base, at), nil
}

// read returns a regular file's content; a missing file is empty.
func (t tree) read(path string) ([]byte, error) {
	file, err := t.resolve(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("%s is over %d bytes", path, maxFile)
	}
	return body, err
}

func (t tree) exists(path string) bool {
	file, err := t.resolve(path)
	if err != nil {
		return false
	}
	_, err = os.Lstat(file)
	return err == nil
}

// list returns the names in a directory; none if it is not there.
func (t tree) list(dir string) []string {
	file, err := t.resolve(dir)
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(file)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

func (t tree) isDir(path string) bool {
	file, err := t.resolve(path)
	if err != nil {
		return false
	}
	info, err := os.Lstat(file)
	return err == nil && info.IsDir()
}

// mkdir makes a directory and its parents; those it makes get a.
func (t tree) mkdir(path string, a attr) error {
	dir, err := t.resolve(path)
	if err != nil {
		return err
	}
	return t.mkdirHost(dir, a)
}

func (t tree) mkdirHost(dir string, a attr) error {
	info, err := os.Lstat(dir)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.mkdirHost(filepath.Dir(dir), a); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return own(dir, a)
}

// own sets the owner before the mode: chown clears setuid and setgid bits.
func own(file string, a attr) error {
	if os.Geteuid() == 0 {
		if err := os.Lchown(file, a.uid, a.gid); err != nil {
			return err
		}
	}
	return syscall.Chmod(file, uint32(a.mode.Perm())|specialBits(a.mode))
}

func specialBits(m fs.FileMode) uint32 {
	var bits uint32
	if m&fs.ModeSetuid != 0 {
		bits |= syscall.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		bits |= syscall.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		bits |= syscall.S_ISVTX
	}
	return bits
}

// write makes path a regular file with this content, owner and mode. A file
// that is so already is not touched; otherwise a new one takes its place by
// rename, so a power cut leaves the old or the new.
func (t tree) write(path string, body []byte, a attr) error {
	file, err := t.resolve(path)
	if err != nil {
		return err
	}
	info, err := os.Lstat(file)
	if err == nil {
		if info.IsDir() {
			return fmt.Errorf("cannot write %s: it is a directory", path)
		}
		st := info.Sys().(*syscall.Stat_t)
		same := info.Mode() == a.mode && int(st.Uid) == a.uid && int(st.Gid) == a.gid && info.Size() == int64(len(body))
		if same {
			if old, err := t.read(path); err == nil && bytes.Equal(old, body) {
				return nil
			}
		}
	}
	if err := t.mkdirHost(filepath.Dir(file), rootDir); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(file), ".sandlot-tmp")
	os.Remove(tmp)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	var broken *fs.PathError
	if errors.As(err, &broken) {
		return broken.Err // its path is none that an author knows
	}
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := own(tmp, a); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}

// edit replaces the content of path by change of it; an existing file keeps
// its owner and mode, a new one gets a.
func (t tree) edit(path string, a attr, change func(string) string) error {
	old, err := t.read(path)
	if err != nil {
		return err
	}
	body := change(string(old))
	if file, err := t.resolve(path); err == nil {
		if info, err := os.Lstat(file); err == nil {
			st := info.Sys().(*syscall.Stat_t)
			a = attr{int(st.Uid), int(st.Gid), info.Mode()}
			if body == string(old) {
				return nil
			}
		}
	}
	return t.write(path, []byte(body), a)
}
