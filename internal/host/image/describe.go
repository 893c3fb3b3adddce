package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Description is what an author asks about an image. It is read out of a base
// volume, so all of it is empty while there is none.
type Description struct {
	// Distribution as the image calls itself, like "Debian GNU/Linux 12
	// (bookworm)".
	Distribution string
	// Users are those with a shell, root first.
	Users []string
	// Releases of kernels that base volumes exist for, sorted; "" is a volume
	// without kernel files.
	Releases []string
	// FSBytes is the size of the largest base volume.
	FSBytes int64
}

// Describe looks at the base volumes of an image. What a file of the image
// says is read once for each image and process.
func (s *Store) Describe(ctx context.Context, img Image) (Description, error) {
	var d Description
	id, err := v1.NewHash(img.ID)
	if err != nil {
		return d, fmt.Errorf("cannot describe image %q: %w", img.Name, err)
	}
	suffix := fmt.Sprintf("-v%d%s", FormatVersion, baseExt)
	files, err := filepath.Glob(filepath.Join(s.opts.Bases, id.Hex+"-*"+suffix))
	if err != nil || len(files) == 0 {
		return d, err
	}
	slices.Sort(files)
	for _, f := range files {
		release := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), id.Hex+"-"), suffix)
		if release == noKernel {
			release = ""
		}
		d.Releases = append(d.Releases, release)
		if info, err := os.Stat(f); err == nil {
			d.FSBytes = max(d.FSBytes, info.Size())
		}
	}
	if known, ok := s.described.Load(img.ID); ok {
		d.Distribution, d.Users = known.(Description).Distribution, known.(Description).Users
		return d, nil
	}
	var text [3]string
	for i, path := range []string{"/usr/lib/os-release", "/etc/os-release", "/etc/passwd"} {
		if text[i], err = s.readFromBase(ctx, files[0], path); err != nil {
			return d, fmt.Errorf("cannot describe image %q: %w", img.Name, err)
		}
	}
	if d.Distribution = distribution(text[0]); d.Distribution == "" {
		d.Distribution = distribution(text[1])
	}
	d.Users = usersWithShell(text[2])
	s.described.Store(img.ID, d)
	return d, nil
}

// maxDescribed bounds what is read of one file.
const maxDescribed = 256 << 10

// readFromBase returns the beginning of a file of a base volume, "" if it is
// not there. The volume is not mounted.
func (s *Store) readFromBase(ctx context.Context, base, path string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &firstBytes{left: maxDescribed, full: cancel}
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, s.opts.Programs.Debugfs, "-R", "cat "+path, base)
	cmd.Stdout, cmd.Stderr = out, &errs
	if err := runTied(cmd); err != nil && out.left > 0 {
		return "", fmt.Errorf("debugfs: %w: %s", err, lastLines(errs.String(), 2))
	}
	return out.text.String(), nil
}

// firstBytes keeps the first bytes and ends the writer after them.
type firstBytes struct {
	text strings.Builder
	left int
	full func()
}

func (f *firstBytes) Write(b []byte) (int, error) {
	n := min(len(b), f.left)
	f.text.Write(b[:n])
	if f.left -= n; f.left == 0 {
		f.full()
		return n, io.ErrShortWrite
	}
	return n, nil
}

// distribution reads an os-release(5).
func distribution(osRelease string) string {
	values := map[string]string{}
	for line := range strings.Lines(osRelease) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		value = strings.Trim(value, `"'`)
		values[key] = shown(value)
	}
	if name := values["PRETTY_NAME"]; name != "" {
		return name
	}
	return strings.TrimSpace(values["NAME"] + " " + values["VERSION_ID"])
}

// shown makes text of an image safe and short enough to show.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if runes := []rune(s); len(runes) > 100 {
		return string(runes[:100])
	}
	return s
}

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}$`)

// firstPerson is the least id of accounts of people, in every distribution of
// today; nobody is 65534.
const (
	firstPerson = 1000
	nobody      = 65534
	maxUsers    = 32
)

// usersWithShell reads a passwd(5).
func usersWithShell(passwd string) []string {
	var root, users []string
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 7 || !userName.MatchString(fields[0]) || slices.Contains(users, fields[0]) {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		shell := filepath.Base(fields[6])
		switch {
		case err != nil || shell == "nologin" || shell == "false":
		case id == 0 && root == nil:
			root = []string{fields[0]}
		case id >= firstPerson && id != nobody && len(users) < maxUsers:
			users = append(users, fields[0])
		}
	}
	return append(root, users...)
}
