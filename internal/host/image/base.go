package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

const baseExt = ".ext4"

// noKernel stands for the release in the name of a base volume without one.
const noKernel = "none"

var releasePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$`)

// baseKey names what a base volume is made of, and so the file.
func baseKey(id v1.Hash, release string) string {
	if release == "" {
		release = noKernel
	}
	return fmt.Sprintf("%s-%s-v%d", id.Hex, release, FormatVersion)
}

// Base returns the base volume of a source for a kernel version, made if it is
// not there. The source is a name of the store, "oci://…" (pulled if it is not
// in the store; a moved tag is not followed, Pull does that), or an absolute
// path of a layout or an archive. An empty kernel version leaves modules and
// /boot alone: for drives that are not booted from.
func (s *Store) Base(ctx context.Context, source, kernelVersion string, progress func(Progress)) (Base, error) {
	var kernel Kernel
	if kernelVersion != "" {
		if s.opts.Kernel == nil {
			return Base{}, fmt.Errorf("cannot make base volume: no kernels are configured")
		}
		var err error
		if kernel, err = s.opts.Kernel(ctx, kernelVersion); err != nil {
			return Base{}, err
		}
		if !releasePattern.MatchString(kernel.Release) {
			return Base{}, fmt.Errorf("cannot make base volume: kernel %s has the bad release %q", kernelVersion, kernel.Release)
		}
	}
	unlock, err := s.lockBlobs(ctx, false)
	if err != nil {
		return Base{}, err
	}
	defer unlock()
	o, err := s.openSource(ctx, source, progress)
	if err != nil {
		return Base{}, err
	}
	defer o.close()
	key := baseKey(o.id, kernel.Release)
	if base, ok, err := s.finishedBase(o.id, key); ok || err != nil {
		return base, err
	}
	// Whoever comes second waits here and finds the volume made. If the first
	// fails or its caller gives up, the second makes it.
	release, err := s.lockNamed(ctx, "base "+key)
	if err != nil {
		return Base{}, err
	}
	defer release()
	if base, ok, err := s.finishedBase(o.id, key); ok || err != nil {
		return base, err
	}
	size, err := s.convert(ctx, o, kernel, key, s.reporter(progress))
	if err != nil {
		return Base{}, fmt.Errorf("cannot make base volume of %q: %w", source, err)
	}
	return Base{Path: s.basePath(key), Digest: o.id.String(), FSBytes: size}, nil
}

func (s *Store) basePath(key string) string { return filepath.Join(s.opts.Bases, key+baseExt) }

// finishedBase returns the volume of a key if it exists; it is complete then.
func (s *Store) finishedBase(id v1.Hash, key string) (Base, bool, error) {
	info, err := os.Stat(s.basePath(key))
	if errors.Is(err, fs.ErrNotExist) {
		return Base{}, false, nil
	}
	if err != nil {
		return Base{}, false, err
	}
	return Base{Path: s.basePath(key), Digest: id.String(), FSBytes: info.Size()}, true, nil
}

// convert makes a base volume in staging and moves it into place.
func (s *Store) convert(ctx context.Context, o *opened, kernel Kernel, key string, rep *reporter) (int64, error) {
	dir, remove, err := s.staging.temp("base")
	if err != nil {
		return 0, err
	}
	defer remove()
	file := filepath.Join(dir, "volume"+baseExt)
	var size int64
	err = s.inWorkspace(o, func(w *workspace) error {
		sink := newSink(w.content)
		root, err := readImage(ctx, o, sink, s.opts.Limits, rep)
		if err != nil {
			return err
		}
		if err := addKernel(root, kernel); err != nil {
			return err
		}
		if err := materialise(ctx, root, sink, w.tree); err != nil {
			return err
		}
		fs := planFilesystem(root, key)
		rep.stage("format", fs.bytes, "")
		size, err = s.makeFilesystem(ctx, fs, w.tree, file)
		return err
	})
	if err != nil {
		return 0, err
	}
	rep.stage("check", size, "")
	var group errgroup.Group
	group.Go(func() error { return s.checkFilesystem(ctx, file) })
	group.Go(func() error { return syncFile(file) })
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// Nobody writes to a base volume, not even by mistake.
	if err := os.Chmod(file, 0o400); err != nil {
		return 0, err
	}
	if err := os.Rename(file, s.basePath(key)); err != nil {
		return 0, err
	}
	return size, syncDir(s.opts.Bases)
}

func syncFile(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Flatten writes the image's filesystem to w as one normalised PAX archive,
// without kernel files. Sources are those of Base.
func (s *Store) Flatten(ctx context.Context, source string, w io.Writer) error {
	unlock, err := s.lockBlobs(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	o, err := s.openSource(ctx, source, nil)
	if err != nil {
		return err
	}
	defer o.close()
	// A failed write must not lead to a second attempt: w has had a part.
	var writeErr error
	err = s.inWorkspace(o, func(ws *workspace) error {
		sink := newSink(ws.content)
		root, err := readImage(ctx, o, sink, s.opts.Limits, s.reporter(nil))
		if err != nil {
			return fmt.Errorf("cannot flatten image %q: %w", source, err)
		}
		writeErr = writeTar(ctx, root, sink, w)
		return nil
	})
	if err != nil {
		return err
	}
	return writeErr
}

// Pruned says what Prune deleted.
type Pruned struct {
	Blobs, Bases int
	Bytes        int64 // of disk space
}

// Prune deletes blobs that no image uses, and base volumes whose image is gone
// or whose format is old, unless inUse (given the path) claims them. It waits
// for pulls and conversions to end.
func (s *Store) Prune(ctx context.Context, inUse func(path string) bool) (Pruned, error) {
	unlock, err := s.lockBlobs(ctx, true)
	if err != nil {
		return Pruned{}, err
	}
	defer unlock()
	images, err := s.List()
	if err != nil {
		return Pruned{}, err
	}
	blobs, ids := map[string]bool{}, map[string]bool{}
	for _, img := range images {
		ids[strings.TrimPrefix(img.ID, "sha256:")] = true
		h, err := v1.NewHash(img.Manifest)
		if err != nil {
			return Pruned{}, fmt.Errorf("cannot prune images: %v", err)
		}
		blobs[h.Hex] = true
		raw, err := s.readStored(h)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var m *v1.Manifest
		if err == nil {
			m, err = parseManifest(raw)
		}
		if err != nil {
			return Pruned{}, fmt.Errorf("cannot prune images: image %q: %w", img.Name, err)
		}
		blobs[m.Config.Digest.Hex] = true
		for _, l := range m.Layers {
			blobs[l.Digest.Hex] = true
		}
	}
	var out Pruned
	out.Blobs, err = removeFiles(filepath.Join(s.opts.Dir, "blobs", "sha256"), &out.Bytes, func(name string) bool {
		return blobs[name]
	})
	if err != nil {
		return out, fmt.Errorf("cannot prune images: %v", err)
	}
	out.Bases, err = removeFiles(s.opts.Bases, &out.Bytes, func(name string) bool {
		id, rest, _ := strings.Cut(name, "-")
		current := ids[id] && strings.HasSuffix(rest, fmt.Sprintf("-v%d%s", FormatVersion, baseExt))
		return current || (inUse != nil && inUse(filepath.Join(s.opts.Bases, name)))
	})
	if err != nil {
		return out, fmt.Errorf("cannot prune base volumes: %v", err)
	}
	return out, nil
}

// removeFiles removes the regular files of dir that keep does not want, adds
// the room they took to freed and returns their number.
func removeFiles(dir string, freed *int64, keep func(name string) bool) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range entries {
		if !e.Type().IsRegular() || keep(e.Name()) {
			continue
		}
		p := filepath.Join(dir, e.Name())
		room := allocated(p)
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		*freed += room
		removed++
	}
	return removed, nil
}
