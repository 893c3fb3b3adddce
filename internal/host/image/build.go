package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// BuildOptions vary a build.
type BuildOptions struct {
	// Force builds even if the context folder has not changed.
	Force    bool
	Progress func(Progress)
}

// Build builds the Dockerfile in contextDir with buildah and stores the result
// under name. An empty contextDir means the recipe of that name. A build whose
// context folder has not changed is not repeated.
//
// The Dockerfile may start from an image of the store; a recipe that it starts
// from is built first. Its layers are shared. Where no registry answers, the Debian bases that the Dockerfile starts from
// are made by mmdebstrap instead.
func (s *Store) Build(ctx context.Context, name, contextDir string, opts BuildOptions) (Image, error) {
	img, err := s.build(ctx, name, contextDir, opts)
	if err != nil {
		return Image{}, fmt.Errorf("cannot build image %q: %w", name, err)
	}
	return img, nil
}

func (s *Store) build(ctx context.Context, name, contextDir string, opts BuildOptions, waiting ...string) (Image, error) {
	if !namePattern.MatchString(name) {
		return Image{}, fmt.Errorf("the name is not allowed: lower-case letters, digits, '.', '_' and '-', at most 63")
	}
	if contextDir == "" {
		if contextDir = s.opts.Recipes[name]; contextDir == "" {
			return Image{}, fmt.Errorf("there is no recipe of that name; give the folder of its Dockerfile")
		}
	}
	dockerfile, err := findDockerfile(contextDir)
	if err != nil {
		return Image{}, err
	}
	content, err := os.ReadFile(dockerfile)
	if err != nil {
		return Image{}, err
	}
	images := fromImages(content)
	stored, err := s.storeBases(ctx, images, append(slices.Clone(waiting), name), opts.Progress)
	if err != nil {
		return Image{}, err
	}
	key, err := contextKey(contextDir, stored)
	if err != nil {
		return Image{}, err
	}
	unlock, err := s.lockNamed(ctx, "build "+name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if !opts.Force {
		if img, err := s.Lookup(name); err == nil && img.BuildKey == key && s.complete(img) {
			return img, nil
		}
	}
	for _, p := range []string{s.opts.Programs.Buildah, s.opts.Programs.Unshare} {
		if _, err := exec.LookPath(p); err != nil {
			return Image{}, fmt.Errorf("%s is not installed; on Debian and Ubuntu: apt-get install buildah util-linux", p)
		}
	}
	rep := s.reporter(opts.Progress)
	// Builds need no reflink, and the pool is the smaller of the two.
	work, remove, err := s.tmp.temp("build")
	if err != nil {
		return Image{}, err
	}
	defer remove()
	b, err := newBuilder(ctx, s, work, rep)
	if err != nil {
		return Image{}, err
	}
	rep.stage("build", 0, name)
	for _, base := range stored {
		if err := b.provideStored(ctx, base); err != nil {
			return Image{}, err
		}
	}
	for _, base := range debianBases(images) {
		if err := b.provideBase(ctx, base); err != nil {
			return Image{}, err
		}
	}
	const tag = "localhost/sandlot-build"
	if err := b.run(ctx, buildArgs(tag, dockerfile, contextDir, len(stored) > 0)...); err != nil {
		return Image{}, err
	}
	archive := filepath.Join(work, "image.tar")
	rep.note("exporting the image")
	if err := b.run(ctx, "push", "--quiet", tag, "docker-archive:"+archive); err != nil {
		return Image{}, err
	}
	o, err := s.openArchive(ctx, archive)
	if err != nil {
		return Image{}, err
	}
	defer o.close()
	return s.importImage(ctx, o, Image{Name: name, Origin: contextDir, BuildKey: key}, rep)
}

// buildArgs is the build itself: no container runtime, no cache between
// builds, and one layer in all, so that nothing is stored that is not in the
// result; or one layer over that of a stored base, which is not stored twice.
func buildArgs(tag, dockerfile, contextDir string, onStored bool) []string {
	args := []string{"build", "--isolation", "chroot", "--layers=false"}
	if !onStored {
		args = append(args, "--squash")
	}
	return append(args, "--pull=false", "--format", "oci", "--tag", tag, "--file", dockerfile, contextDir)
}

// complete tells whether everything an image needs is still in the store.
func (s *Store) complete(img Image) bool {
	o, err := s.openStored(img)
	if err != nil {
		return false
	}
	defer o.close()
	for _, l := range o.layers {
		r, err := l.open(context.Background())
		if err != nil {
			return false
		}
		r.Close()
	}
	return true
}

func findDockerfile(contextDir string) (string, error) {
	for _, name := range []string{"Containerfile", "Dockerfile"} {
		p := filepath.Join(contextDir, name)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("there is no Dockerfile in %q", contextDir)
}

// contextKey is a hash of the names, modes and contents below a folder, and of
// the stored images that the build starts from. Of modes only the owner's
// execute bit counts: the rest depends on a umask.
func contextKey(dir string, bases []Image) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "sandlot build %d\n", FormatVersion)
	for _, base := range bases {
		fmt.Fprintf(sum, "from %q %s\n", base.Name, base.ID)
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			fmt.Fprintf(sum, "dir %q\n", rel)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "link %q %q\n", rel, target)
		case d.Type().IsRegular():
			fmt.Fprintf(sum, "file %q %t %d\n", rel, info.Mode()&0o100 != 0, info.Size())
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(sum, f)
			return err
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// builder runs buildah with a storage of its own. Every run is in mount and
// PID namespaces of its own: whenever it ends, killed or not, its mounts and
// processes end with it.
type builder struct {
	store  *Store
	work   string
	driver string
	rep    *reporter
}

const registriesConf = `# labd's own, so that the host's settings do not change what is built.
unqualified-search-registries = ["docker.io"]
short-name-mode = "disabled"
`

const policyJSON = `{"default": [{"type": "insecureAcceptAnything"}]}`

func newBuilder(ctx context.Context, s *Store, work string, rep *reporter) (*builder, error) {
	b := &builder{store: s, work: work, driver: "overlay", rep: rep}
	for name, content := range map[string]string{
		"registries.conf": registriesConf, "policy.json": policyJSON, "storage.conf": "[storage]\ndriver = \"overlay\"\n",
	} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(filepath.Join(work, "tmp"), 0o700); err != nil {
		return nil, err
	}
	// Overlay mounts are not possible everywhere, on top of another overlay
	// for one; vfs copies and always works.
	if _, err := b.output(ctx, "info"); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b.driver = "vfs"
		if err := os.RemoveAll(filepath.Join(work, "root")); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// args is the whole command line for one buildah command.
func (b *builder) args(args ...string) []string {
	var trust []string
	if args[0] == "build" || args[0] == "pull" || args[0] == "push" {
		trust = []string{"--signature-policy", filepath.Join(b.work, "policy.json")}
	}
	return append([]string{
		"--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--", b.store.opts.Programs.Buildah,
		"--root", filepath.Join(b.work, "root"), "--runroot", filepath.Join(b.work, "run"),
		"--storage-driver", b.driver, "--registries-conf", filepath.Join(b.work, "registries.conf"), args[0],
	}, append(trust, args[1:]...)...)
}

// run runs one buildah command; its output becomes notes.
func (b *builder) run(ctx context.Context, args ...string) error {
	return b.runTo(ctx, nil, args...)
}

// output runs one buildah command and returns its standard output.
func (b *builder) output(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := b.runTo(ctx, &out, args...)
	return out.String(), err
}

func (b *builder) runTo(ctx context.Context, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, b.store.opts.Programs.Unshare, b.args(args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Join(b.work, "tmp"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(b.work, "storage.conf"))
	cmd.Stdout = stdout
	if args[0] == "pull" {
		cmd.Dir = b.work
	}
	tail, err := b.runNoting(ctx, cmd)
	if err != nil {
		return fmt.Errorf("buildah %s: %w: %s", args[0], err, tail)
	}
	return nil
}

// runNoting runs a command in its own process group, reports its lines as
// notes and returns the last ones.
func (b *builder) runNoting(ctx context.Context, cmd *exec.Cmd) (tail string, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	lines := &lineWriter{note: b.rep.note}
	cmd.Stderr = lines
	if cmd.Stdout == nil {
		cmd.Stdout = lines
	}
	err = runTied(cmd)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return lines.tail(), err
}

// provideBase makes mmdebstrap's Debian available to buildah under the name
// the Dockerfile uses, unless a registry has the real one.
func (b *builder) provideBase(ctx context.Context, base debianBase) error {
	if b.store.registryHas(ctx, base.reference()) {
		return nil
	}
	b.rep.note(fmt.Sprintf("no registry answers: making %s with mmdebstrap", base.image))
	layout := filepath.Join(b.work, "base")
	defer os.RemoveAll(layout)
	if err := b.bootstrap(ctx, base, layout); err != nil {
		return err
	}
	return b.pull(ctx, "base", base.reference(), base.reference())
}

// pull reads an image of an OCI layout below work and names it. buildah makes
// a name of its own out of the layout's path, so that path is kept relative:
// names have no capital letters.
func (b *builder) pull(ctx context.Context, layout, image, name string) error {
	id, err := b.output(ctx, "pull", "--quiet", "oci:"+layout+":"+image)
	if err != nil {
		return err
	}
	return b.run(ctx, "tag", strings.TrimSpace(id), name)
}

// bootstrap writes an OCI layout with one plain layer, straight from
// mmdebstrap's output.
func (b *builder) bootstrap(ctx context.Context, base debianBase, layout string) error {
	program := b.store.opts.Programs.Mmdebstrap
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("no registry answers for %s, and %s is not installed; on Debian and Ubuntu: apt-get install mmdebstrap debian-archive-keyring", base.image, program)
	}
	blobs := filepath.Join(layout, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(layout, "layer"))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	cmd := exec.CommandContext(ctx, program, mmdebstrapArgs(base.suite, hostMirrors(os.DirFS("/"), base.suite))...)
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Join(b.work, "tmp"))
	cmd.Stdout = io.MultiWriter(f, sum)
	if tail, err := b.runNoting(ctx, cmd); err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, tail)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	layer := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	if err := os.Rename(f.Name(), filepath.Join(blobs, layer.Hex)); err != nil {
		return err
	}
	return writeSingleLayout(layout, layer, info.Size(), base.reference())
}

// lineWriter hands on whole lines and keeps the last ones.
type lineWriter struct {
	note    func(string)
	partial []byte
	last    []string
}

const keepLines = 15

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if len(w.partial)+len(b) < 64<<10 {
				w.partial = append(w.partial, b...)
			}
			return n, nil
		}
		line := strings.TrimRight(string(append(w.partial, b[:i]...)), "\r")
		w.partial, b = w.partial[:0], b[i+1:]
		w.last = append(w.last[max(0, len(w.last)-keepLines+1):], line)
		w.note(line)
	}
}

func (w *lineWriter) tail() string { return strings.Join(append(w.last, string(w.partial)), "\n") }
