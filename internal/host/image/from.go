package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// localPrefix is the registry that buildah and podman use for images which
// were built on the host.
const localPrefix = "localhost/"

// fromImages returns the images a Dockerfile starts from as it writes them,
// each once; its own stages are none.
func fromImages(dockerfile []byte) []string {
	var images, stages []string
	for line := range strings.Lines(string(dockerfile)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.EqualFold(fields[0], "FROM") {
			continue
		}
		fields = slices.DeleteFunc(fields[1:], func(f string) bool { return strings.HasPrefix(f, "--") })
		if len(fields) == 0 {
			continue
		}
		image := fields[0]
		if !slices.Contains(stages, strings.ToLower(image)) && !slices.Contains(images, image) {
			images = append(images, image)
		}
		if len(fields) == 3 && strings.EqualFold(fields[1], "AS") {
			stages = append(stages, strings.ToLower(fields[2]))
		}
	}
	return images
}

// storeBases finds which of a Dockerfile's images are those of this store, as
// docker and buildah look at their own images before they ask a registry: a
// plain name ("debian-12") that is stored or that there is a recipe of, and
// every localhost/NAME. The recipes among them are built if they changed.
// chain are the images that wait for this, outermost first.
func (s *Store) storeBases(ctx context.Context, images []string, chain []string, progress func(Progress)) ([]Image, error) {
	var bases []Image
	for _, from := range images {
		name, local := strings.CutPrefix(from, localPrefix)
		recipe := s.opts.Recipes[name]
		img, err := s.Lookup(name)
		var missing *NotFoundError
		switch {
		case !local && (!namePattern.MatchString(name) || name == chain[len(chain)-1]):
			continue // a registry's, like python:3; also `FROM golang` of one's own golang
		case err != nil && !errors.As(err, &missing):
			return nil, err
		case missing != nil && recipe == "" && !local:
			continue
		case missing != nil && recipe == "":
			return nil, missing
		case slices.Contains(chain, name):
			return nil, fmt.Errorf("the images start from each other: %s → %s", strings.Join(chain, " → "), name)
		case missing != nil, recipe != "" && img.Origin == recipe:
			if img, err = s.build(ctx, name, "", BuildOptions{Progress: progress}, chain...); err != nil {
				return nil, fmt.Errorf("base image %q: %w", name, err)
			}
		}
		bases = append(bases, img)
	}
	return bases, nil
}

// provideStored makes an image of the store available to buildah under the
// names a Dockerfile may use for it.
func (b *builder) provideStored(ctx context.Context, img Image) error {
	unlock, err := b.store.lockBlobs(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	b.rep.note("reading image " + img.Name)
	dir, err := filepath.Abs(b.store.opts.Dir)
	if err != nil {
		return err
	}
	link := filepath.Join(b.work, "stored")
	if err := os.Symlink(dir, link); err != nil {
		return err
	}
	defer os.Remove(link)
	return b.pull(ctx, "stored", img.Name, localPrefix+img.Name)
}

// packedLayers are the layers of all named images by the digest of their
// uncompressed content: images that share a base share its blobs.
func (s *Store) packedLayers() (map[v1.Hash]v1.Descriptor, error) {
	n, err := s.readNames()
	if err != nil {
		return nil, err
	}
	packed := make(map[v1.Hash]v1.Descriptor)
	for _, img := range n.Images {
		o, err := s.openStored(img)
		if err != nil {
			continue // damaged: said when it is used
		}
		o.close()
		var m v1.Manifest
		if err := json.Unmarshal(o.manifest, &m); err != nil {
			return nil, err
		}
		for i, l := range m.Layers {
			info, err := os.Stat(s.blobFile(l.Digest))
			if err == nil && info.Size() == l.Size && l.MediaType == types.OCILayerZStd {
				packed[o.layers[i].diffID] = l
			}
		}
	}
	return packed, nil
}
