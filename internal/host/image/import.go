package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// importImage copies an opened image into the store under img.Name. Layers of
// a layout keep their bytes. Those of a Docker archive, which are plain, are
// compressed with zstd at its fastest: a third of the size, and reading them
// later is no slower than the files that are made from them.
func (s *Store) importImage(ctx context.Context, o *opened, img Image, rep *reporter) (Image, error) {
	unlock, err := s.lockBlobs(ctx, false)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	rep.stage("import", o.bytes(), "")
	if o.manifest != nil {
		m, err := parseManifest(o.manifest)
		if err != nil {
			return Image{}, err
		}
		for i, layer := range o.layers {
			if err := s.importLayer(ctx, layer, m.Layers[i].Digest, rep); err != nil {
				return Image{}, fmt.Errorf("layer %d: %w", i+1, err)
			}
		}
		return s.finish(ctx, o.manifest, o.config, m, img)
	}
	m := &v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{
		MediaType: types.OCIConfigJSON, Digest: o.id, Size: int64(len(o.config)),
	}, Layers: []v1.Descriptor{}}
	packed, err := s.packedLayers()
	if err != nil {
		return Image{}, err
	}
	for i, layer := range o.layers {
		d, ok := packed[layer.diffID]
		if ok {
			rep.add(layer.size)
		} else if d, err = s.packLayer(ctx, layer, rep); err != nil {
			return Image{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
		m.Layers = append(m.Layers, d)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return Image{}, err
	}
	return s.finish(ctx, raw, o.config, m, img)
}

func (s *Store) importLayer(ctx context.Context, layer layerBlob, digest v1.Hash, rep *reporter) error {
	if info, err := os.Stat(s.blobFile(digest)); err == nil && info.Size() == layer.size {
		rep.add(layer.size)
		return nil
	}
	r, err := layer.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = s.storeBlob(contextReader{ctx, countReader{r, rep.add}}, digest, layer.size)
	return err
}

// packLayer stores a plain layer compressed.
func (s *Store) packLayer(ctx context.Context, layer layerBlob, rep *reporter) (v1.Descriptor, error) {
	if layer.size > s.opts.Limits.Blob {
		return v1.Descriptor{}, fmt.Errorf("%d bytes are more than the limit of %d", layer.size, s.opts.Limits.Blob)
	}
	r, err := layer.open(ctx)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close()
	stream, err := openStream(contextReader{ctx, countReader{r, rep.add}}, v1.Hash{}, layer.diffID)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer stream.Close()
	digest, err := s.writeBlob(func(w io.Writer) error {
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return err
		}
		n, err := io.Copy(z, io.LimitReader(stream, s.opts.Limits.Bytes))
		if err == nil && n == s.opts.Limits.Bytes {
			err = fmt.Errorf("the layer is larger than %d bytes uncompressed", n)
		}
		if e := z.Close(); err == nil {
			err = e
		}
		return readError(err)
	}, v1.Hash{})
	if err != nil {
		return v1.Descriptor{}, err
	}
	info, err := os.Stat(s.blobFile(digest))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: types.OCILayerZStd, Digest: digest, Size: info.Size()}, nil
}

// finish stores the small blobs, makes the large ones durable and gives the
// image its name: from then on it exists.
func (s *Store) finish(ctx context.Context, raw, config []byte, m *v1.Manifest, img Image) (Image, error) {
	for _, b := range [][]byte{config, raw} {
		if _, err := s.writeBlob(func(w io.Writer) error { _, err := w.Write(b); return err }, hashOf(b)); err != nil {
			return Image{}, err
		}
	}
	if err := syncDir(filepath.Join(s.opts.Dir, "blobs", "sha256")); err != nil {
		return Image{}, err
	}
	img.Manifest, img.ID = hashOf(raw).String(), m.Config.Digest.String()
	img.Bytes = total(m) + int64(len(raw)+len(config))
	img.Stored = s.opts.Now().UTC()
	err := s.changeNames(ctx, func(images map[string]Image) error {
		images[img.Name] = img
		return nil
	})
	return img, err
}

// contextReader ends a copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// decompressTo writes the uncompressed content of r, at most limit bytes.
func decompressTo(ctx context.Context, w io.Writer, r io.Reader, limit int64) error {
	plain, err := decompress(newBuffered(contextReader{ctx, r}))
	if err != nil {
		return err
	}
	defer plain.Close()
	n, err := io.Copy(w, io.LimitReader(plain, limit))
	if err != nil {
		return readError(err)
	}
	if n == limit {
		return fmt.Errorf("it is larger than %d bytes uncompressed", limit)
	}
	return nil
}
