package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxArchiveEntries bounds the index of an archive: a few for each layer.
const maxArchiveEntries = 16 << 10

// archive is an uncompressed tar file whose entries are read in place.
type archive struct {
	f       *os.File
	entries map[string]archiveEntry
}

type archiveEntry struct {
	offset, size int64
	link         string // of a symlink, as a path in the archive
}

// indexArchive reads the headers of a tar file and skips over the contents.
func indexArchive(f *os.File) (*archive, error) {
	a := &archive{f: f, entries: map[string]archiveEntry{}}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	tr := tar.NewReader(f)
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read archive: %w", readError(err))
		}
		if len(a.entries) >= maxArchiveEntries {
			return nil, fmt.Errorf("cannot read archive: more than %d entries", maxArchiveEntries)
		}
		name, err := cleanPath(hdr.Name)
		if err != nil {
			return nil, fmt.Errorf("cannot read archive: %w", err)
		}
		switch hdr.Typeflag {
		case tar.TypeReg:
			// The reader reads whole headers only, so the file stands where
			// the content begins.
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if at+hdr.Size > end {
				return nil, fmt.Errorf("cannot read archive: the data is truncated")
			}
			a.entries[name] = archiveEntry{offset: at, size: hdr.Size}
		case tar.TypeSymlink, tar.TypeLink:
			link := hdr.Linkname
			if hdr.Typeflag == tar.TypeSymlink {
				link = path.Join("/", path.Dir(name), link)
			}
			a.entries[name] = archiveEntry{link: strings.TrimPrefix(path.Clean(link), "/")}
		}
	}
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	e, ok := a.entries[strings.TrimPrefix(path.Clean("/"+name), "/")]
	for hops := 0; ok && e.link != "" && hops < 8; hops++ {
		e, ok = a.entries[e.link]
	}
	if !ok || e.link != "" {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.f, e.offset, e.size)), e.size, nil
}

// openArchive opens an archive file: an OCI layout in a tar, or what `docker
// save` writes. What it is shows from its content; newer versions of docker
// write both at once.
func (s *Store) openArchive(ctx context.Context, p string) (_ *opened, err error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	closer := func() { f.Close() }
	defer func() {
		if err != nil {
			closer()
		}
	}()
	if compressed, err := isCompressed(f); err != nil {
		return nil, err
	} else if compressed {
		plain, remove, err := s.unpackArchive(ctx, f)
		if err != nil {
			return nil, err
		}
		f.Close()
		f = plain
		closer = func() { plain.Close(); remove() }
	}
	a, err := indexArchive(f)
	if err != nil {
		return nil, err
	}
	var o *opened
	_, isLayout := a.entries["index.json"]
	_, isDocker := a.entries["manifest.json"]
	switch {
	case isLayout:
		o, err = openLayout(a)
		if isDocker && errors.Is(err, fs.ErrNotExist) {
			o, err = openDocker(a)
		}
	case isDocker:
		o, err = openDocker(a)
	default:
		err = fmt.Errorf("it is neither an OCI nor a Docker archive: it has no index.json and no manifest.json")
	}
	if err != nil {
		return nil, err
	}
	o.close = closer
	return o, nil
}

func isCompressed(f *os.File) (bool, error) {
	var magic [4]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	m := string(magic[:n])
	return strings.HasPrefix(m, "\x1f\x8b") || strings.HasPrefix(m, "\x28\xb5\x2f\xfd"), nil
}

// unpackArchive decompresses an archive as a whole into staging.
func (s *Store) unpackArchive(ctx context.Context, f *os.File) (*os.File, func(), error) {
	dir, remove, err := s.staging.temp("archive")
	if err != nil {
		return nil, nil, err
	}
	plain, err := os.Create(filepath.Join(dir, "archive.tar"))
	if err == nil {
		if err = decompressTo(ctx, plain, f, s.opts.Limits.Bytes); err != nil {
			plain.Close()
		}
	}
	if err != nil {
		remove()
		return nil, nil, fmt.Errorf("cannot decompress archive: %w", err)
	}
	return plain, remove, nil
}

// dockerManifest is one image in the manifest.json of `docker save`.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// openDocker opens the one image of a Docker archive. Its layers have no
// digests of their own; those in the configuration are checked instead.
func openDocker(bfs blobFS) (*opened, error) {
	raw, err := readBlob(bfs, "manifest.json")
	if err != nil {
		return nil, err
	}
	var manifests []dockerManifest
	if err := json.Unmarshal(raw, &manifests); err != nil {
		return nil, fmt.Errorf("cannot read manifest.json: %v", err)
	}
	if len(manifests) != 1 {
		return nil, fmt.Errorf("it holds %d images; give one with a single image", len(manifests))
	}
	m := manifests[0]
	config, err := readBlob(bfs, m.Config)
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration: %w", err)
	}
	// The name of the configuration is its digest, in all known writers.
	id := hashOf(config)
	if named := strings.TrimSuffix(path.Base(m.Config), ".json"); hexPattern.MatchString(named) && named != id.Hex {
		return nil, &digestError{"configuration", id.Hex, "sha256:" + named}
	}
	diffIDs, err := parseConfig(config, len(m.Layers))
	if err != nil {
		return nil, err
	}
	o := &opened{id: id, config: config, close: func() {}}
	for i, name := range m.Layers {
		r, size, err := bfs.open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read layer %d: %w", i+1, err)
		}
		r.Close()
		o.layers = append(o.layers, layerBlob{
			diffID: diffIDs[i], size: size,
			open: func(context.Context) (io.ReadCloser, error) { r, _, err := bfs.open(name); return r, err },
		})
	}
	return o, nil
}
