package image

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

const ociScheme = "oci://"

// platform is the only one machines have.
var platform = v1.Platform{OS: "linux", Architecture: "amd64"}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// looksLikeReference guesses that somebody forgot oci://.
func looksLikeReference(s string) bool {
	host, _, found := strings.Cut(s, "/")
	return (found && strings.ContainsAny(host, ".:")) || (!found && strings.Contains(s, ":"))
}

// layerBlob is one layer of an opened source.
type layerBlob struct {
	// digest is that of the blob as stored; the zero Hash if its format
	// records none (a Docker archive) or it was checked when it was stored.
	digest v1.Hash
	diffID v1.Hash // of the uncompressed layer
	size   int64   // of the blob
	open   func(context.Context) (io.ReadCloser, error)
}

// opened is an image whose manifest and configuration have been read and
// checked; its layers have not.
type opened struct {
	id       v1.Hash // of config
	config   []byte
	manifest []byte // nil for a Docker archive
	digest   v1.Hash
	layers   []layerBlob
	close    func()
}

func (o *opened) bytes() (n int64) {
	for _, l := range o.layers {
		n += l.size
	}
	return n
}

// blobFS is a folder, or an archive that holds one. Names are slash-separated.
type blobFS interface {
	open(name string) (r io.ReadCloser, size int64, err error)
}

// rootFS is a folder of the host, which no name leaves.
type rootFS struct{ root *os.Root }

func (r rootFS) open(name string) (io.ReadCloser, int64, error) {
	f, err := r.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readBlob reads a small document whole.
func readBlob(bfs blobFS, name string) ([]byte, error) {
	r, size, err := bfs.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxMetadata {
		return nil, fmt.Errorf("%q of %d bytes is too large", name, size)
	}
	return io.ReadAll(io.LimitReader(r, maxMetadata))
}

func blobPath(h v1.Hash) string { return path.Join("blobs", h.Algorithm, h.Hex) }

// checkHash refuses digests that are not the 64 hex digits of a SHA-256: they
// become file names.
func checkHash(h v1.Hash) error {
	if h.Algorithm != "sha256" || !hexPattern.MatchString(h.Hex) {
		return fmt.Errorf("digest %q is not a SHA-256", h)
	}
	return nil
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func hashOf(b []byte) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(b))}
}

// readDigested reads a small blob of a layout and checks its digest.
func readDigested(bfs blobFS, h v1.Hash) ([]byte, error) {
	if err := checkHash(h); err != nil {
		return nil, err
	}
	b, err := readBlob(bfs, blobPath(h))
	if err != nil {
		return nil, err
	}
	if got := hashOf(b); got != h {
		return nil, fmt.Errorf("blob has digest %s, want %s", got, h)
	}
	return b, nil
}

// openLayout opens the one linux/amd64 image of an OCI layout.
func openLayout(bfs blobFS) (*opened, error) {
	raw, err := readBlob(bfs, "index.json")
	if err != nil {
		return nil, err
	}
	manifest, err := chooseManifest(bfs, raw, 0)
	if err != nil {
		return nil, err
	}
	return openManifest(bfs, manifest, true)
}

// chooseManifest walks nested indexes down to one manifest's bytes.
func chooseManifest(bfs blobFS, rawIndex []byte, depth int) ([]byte, error) {
	if depth > 4 {
		return nil, fmt.Errorf("indexes are nested too deeply")
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(rawIndex, &index); err != nil {
		return nil, fmt.Errorf("cannot read index: %v", err)
	}
	fits, err := fitting(index.Manifests)
	if err != nil {
		return nil, err
	}
	if len(fits) > 1 {
		return nil, fmt.Errorf("it holds %d images; give one with a single image", len(fits))
	}
	raw, err := readDigested(bfs, fits[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("cannot read manifest: %w", err)
	}
	if fits[0].MediaType.IsIndex() {
		return chooseManifest(bfs, raw, depth+1)
	}
	return raw, nil
}

// fitting returns the manifests for our platform. One that names no platform
// fits, until its configuration says otherwise; attestations do not.
func fitting(manifests []v1.Descriptor) ([]v1.Descriptor, error) {
	var fits []v1.Descriptor
	var others []string
	seen := map[v1.Hash]bool{}
	for _, d := range manifests {
		if !d.MediaType.IsImage() && !d.MediaType.IsIndex() && d.MediaType != "" {
			continue
		}
		if p := d.Platform; p != nil && (p.OS != platform.OS || p.Architecture != platform.Architecture) {
			others = append(others, p.String())
			continue
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			fits = append(fits, d)
		}
	}
	if len(fits) == 0 {
		slices.Sort(others)
		return nil, fmt.Errorf("it has no image for %s (it has: %s)", platform, strings.Join(slices.Compact(others), ", "))
	}
	return fits, nil
}

// openManifest reads a manifest's configuration from bfs. verify asks for the
// layers' own digests to be checked as they are read.
func openManifest(bfs blobFS, raw []byte, verify bool) (*opened, error) {
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	config, err := readDigested(bfs, m.Config.Digest)
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration: %w", err)
	}
	diffIDs, err := parseConfig(config, len(m.Layers))
	if err != nil {
		return nil, err
	}
	o := &opened{id: m.Config.Digest, config: config, manifest: raw, digest: hashOf(raw), close: func() {}}
	for i, l := range m.Layers {
		blob := layerBlob{diffID: diffIDs[i], size: l.Size}
		if verify {
			blob.digest = l.Digest
		}
		blob.open = func(context.Context) (io.ReadCloser, error) {
			r, size, err := bfs.open(blobPath(l.Digest))
			if err != nil {
				return nil, err
			}
			if size != l.Size {
				r.Close()
				return nil, fmt.Errorf("layer %s has %d bytes, want %d", l.Digest, size, l.Size)
			}
			return r, nil
		}
		o.layers = append(o.layers, blob)
	}
	return o, nil
}

// parseManifest checks the manifest of an image.
func parseManifest(raw []byte) (*v1.Manifest, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("cannot read manifest: %v", err)
	}
	if m.SchemaVersion != 2 || m.Config.Digest.Hex == "" {
		return nil, fmt.Errorf("cannot read manifest: it is not an image manifest of schema 2")
	}
	if err := checkHash(m.Config.Digest); err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		if err := checkHash(l.Digest); err != nil {
			return nil, err
		}
		if l.Size < 0 {
			return nil, fmt.Errorf("layer %s has a negative size", l.Digest)
		}
		if !usableLayer(l.MediaType) {
			return nil, fmt.Errorf("layer %s is of type %q, which is not a filesystem layer", l.Digest, l.MediaType)
		}
	}
	return &m, nil
}

// usableLayer goes by the kind of layer only: the compression is told from the
// first bytes, which no builder gets wrong.
func usableLayer(t types.MediaType) bool {
	s := string(t)
	return !strings.HasSuffix(s, "+encrypted") &&
		(strings.HasPrefix(s, "application/vnd.oci.image.layer.") || strings.HasPrefix(s, "application/vnd.docker.image.rootfs."))
}

// parseConfig returns the digests of the uncompressed layers.
func parseConfig(raw []byte, layers int) ([]v1.Hash, error) {
	var c v1.ConfigFile
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("cannot read configuration: %v", err)
	}
	if (c.OS != "" && c.OS != platform.OS) || (c.Architecture != "" && c.Architecture != platform.Architecture) {
		return nil, fmt.Errorf("the image is for %s/%s; machines are %s", c.OS, c.Architecture, platform)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, fmt.Errorf("the configuration lists %d layers, the manifest %d", len(c.RootFS.DiffIDs), layers)
	}
	for _, h := range c.RootFS.DiffIDs {
		if err := checkHash(h); err != nil {
			return nil, err
		}
	}
	return c.RootFS.DiffIDs, nil
}

// openPath opens an OCI layout folder, or a Docker or OCI archive file.
func (s *Store) openPath(ctx context.Context, p string) (*opened, error) {
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(p)
		if err != nil {
			return nil, err
		}
		o, err := openLayout(rootFS{root})
		if err != nil {
			root.Close()
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("it is not an OCI layout: %v", err)
			}
			return nil, err
		}
		o.close = func() { root.Close() }
		return o, nil
	}
	return s.openArchive(ctx, p)
}

// openSource opens what a manifest may name (a name in the store, oci://…) or
// a path (which has a slash or names an existing file). Images of registries
// are pulled if they are not in the store.
func (s *Store) openSource(ctx context.Context, source string, progress func(Progress)) (*opened, error) {
	if isPath(source) {
		o, err := s.openPath(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("cannot open image %q: %w", source, err)
		}
		return o, nil
	}
	img, err := s.Lookup(source)
	if strings.HasPrefix(source, ociScheme) {
		var missing *NotFoundError
		if errors.As(err, &missing) {
			img, err = s.pullRegistry(ctx, source, false, progress)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.openStored(img)
}

// isPath tells a path from a name: names have no slash.
func isPath(source string) bool {
	return !strings.HasPrefix(source, ociScheme) &&
		(strings.HasPrefix(source, "/") || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../"))
}

// readImage reads all layers, several at a time, into a merged tree. Contents
// go to the sink.
func readImage(ctx context.Context, o *opened, sink *sink, limits Limits, rep *reporter) (*node, error) {
	if len(o.layers) > limits.Layers {
		return nil, fmt.Errorf("the image has %d layers; the limit is %d", len(o.layers), limits.Layers)
	}
	rep.stage("flatten", o.bytes(), "")
	left := &budget{limits: limits}
	layers := make([][]entry, len(o.layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i, blob := range o.layers {
		group.Go(func() error {
			entries, err := readBlobLayer(ctx, blob, sink, left, rep)
			if err != nil {
				return fmt.Errorf("layer %d: %w", i+1, err)
			}
			layers[i] = entries
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return mergeLayers(layers)
}

func readBlobLayer(ctx context.Context, blob layerBlob, sink *sink, left *budget, rep *reporter) ([]entry, error) {
	if blob.size > left.limits.Blob {
		return nil, fmt.Errorf("%d bytes are more than the limit of %d", blob.size, left.limits.Blob)
	}
	r, err := blob.open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	stream, err := openStream(countReader{r, rep.add}, blob.digest, blob.diffID)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return readLayer(ctx, stream, sink, left)
}

// countReader reports what is read through it.
type countReader struct {
	r   io.Reader
	add func(int64)
}

func (c countReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.add(int64(n))
	return n, err
}
