package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// refName is the annotation under which other tools look for a name.
const refName = "org.opencontainers.image.ref.name"

// names is the content of names.json.
type names struct {
	Version int              `json:"version"`
	Images  map[string]Image `json:"images"`
}

func (s *Store) namesPath() string { return filepath.Join(s.opts.Dir, "names.json") }

func (s *Store) readNames() (names, error) {
	n := names{Version: 1, Images: map[string]Image{}}
	raw, err := os.ReadFile(s.namesPath())
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &n)
	}
	if err == nil && n.Version != 1 {
		err = fmt.Errorf("version %d is not known; it was written by a newer labd", n.Version)
	}
	if err != nil {
		return n, fmt.Errorf("cannot read image names: %v", err)
	}
	return n, nil
}

// changeNames changes names.json and the index.json that follows from it.
func (s *Store) changeNames(ctx context.Context, change func(map[string]Image) error) error {
	unlock, err := s.lockNamed(ctx, ".names")
	if err != nil {
		return err
	}
	defer unlock()
	n, err := s.readNames()
	if err != nil {
		return err
	}
	if err := change(n.Images); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	if err := writeDurably(s.namesPath(), raw); err != nil {
		return fmt.Errorf("cannot write image names: %v", err)
	}
	return s.writeIndex(n)
}

// writeIndex lists the named images for tools that read OCI layouts.
func (s *Store) writeIndex(n names) error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, name := range slices.Sorted(maps.Keys(n.Images)) {
		h, err := v1.NewHash(n.Images[name].Manifest)
		if err != nil {
			return err
		}
		raw, err := s.readStored(h)
		if err != nil {
			continue
		}
		var m v1.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			continue
		}
		d := v1.Descriptor{MediaType: m.MediaType, Digest: h, Size: int64(len(raw)), Platform: &platform,
			Annotations: map[string]string{refName: strings.TrimPrefix(name, ociScheme)}}
		if d.MediaType == "" {
			d.MediaType = types.OCIManifestSchema1
		}
		index.Manifests = append(index.Manifests, d)
	}
	raw, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	if err := writeDurably(filepath.Join(s.opts.Dir, "index.json"), raw); err != nil {
		return fmt.Errorf("cannot write image index: %v", err)
	}
	return nil
}

func (s *Store) writeLayoutFile() error {
	p := filepath.Join(s.opts.Dir, "oci-layout")
	if _, err := os.Stat(p); err == nil {
		return nil
	}
	return writeDurably(p, []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// List returns the images by name.
func (s *Store) List() ([]Image, error) {
	n, err := s.readNames()
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, name := range slices.Sorted(maps.Keys(n.Images)) {
		images = append(images, n.Images[name])
	}
	return images, nil
}

// Lookup returns the image a manifest's source means: a name, or oci://… in
// any spelling. It asks no registry. The error is a *NotFoundError if the
// image is not here.
func (s *Store) Lookup(source string) (Image, error) {
	name := source
	if strings.HasPrefix(source, ociScheme) {
		ref, err := parseReference(source)
		if err != nil {
			return Image{}, err
		}
		name = fullName(ref)
	}
	n, err := s.readNames()
	if err != nil {
		return Image{}, err
	}
	img, ok := n.Images[name]
	if !ok {
		missing := &NotFoundError{Source: source, Known: slices.Sorted(maps.Keys(n.Images))}
		for _, recipe := range slices.Sorted(maps.Keys(s.opts.Recipes)) {
			if _, built := n.Images[recipe]; !built {
				missing.Buildable = append(missing.Buildable, recipe)
			}
		}
		return Image{}, missing
	}
	return img, nil
}

// Remove forgets a name. What it used is deleted by Prune. The error is a
// *NotFoundError if the name is not here.
func (s *Store) Remove(ctx context.Context, source string) error {
	img, err := s.Lookup(source)
	if err != nil {
		return err
	}
	return s.changeNames(ctx, func(images map[string]Image) error {
		delete(images, img.Name)
		return nil
	})
}

func (s *Store) blobFile(h v1.Hash) string {
	return filepath.Join(s.opts.Dir, filepath.FromSlash(blobPath(h)))
}

// readStored reads a small blob of the store and checks it.
func (s *Store) readStored(h v1.Hash) ([]byte, error) {
	root, err := os.OpenRoot(s.opts.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readDigested(rootFS{root}, h)
}

// openStored opens an image of the store. Its blobs were checked on the way
// in; the uncompressed layers are checked again as they are read.
func (s *Store) openStored(img Image) (*opened, error) {
	h, err := v1.NewHash(img.Manifest)
	if err != nil {
		return nil, fmt.Errorf("cannot open image %q: %v", img.Name, err)
	}
	root, err := os.OpenRoot(s.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open image %q: %v", img.Name, err)
	}
	raw, err := readDigested(rootFS{root}, h)
	if err == nil {
		var o *opened
		if o, err = openManifest(rootFS{root}, raw, false); err == nil {
			o.close = func() { root.Close() }
			return o, nil
		}
	}
	root.Close()
	return nil, fmt.Errorf("cannot open image %q: %w (fetch or build it again)", img.Name, err)
}

// writeDurably replaces a file as a whole, also across a power cut.
func writeDurably(p string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(p), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err == nil {
		err = syncDir(filepath.Dir(p))
	}
	return err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// fileSafe turns a name into a short file name, without collisions.
func fileSafe(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, name)
	if safe == name && len(name) < 100 {
		return name
	}
	return fmt.Sprintf("%.60s-%s", safe, hashOf([]byte(name)).Hex[:16])
}
