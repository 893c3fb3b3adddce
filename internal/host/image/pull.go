package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

const (
	// resolveTimeout bounds finding out what a reference means, logins
	// included: a registry that is not there must not look like a slow one.
	resolveTimeout = 20 * time.Second
	// stallTimeout is how long a download may bring nothing.
	stallTimeout = 60 * time.Second
	// downloads at once, for one image.
	downloads = 3
	// downloadAttempts for one layer.
	downloadAttempts = 3
)

// CheckReference refuses what is no oci://REGISTRY/REPO with a tag or a digest,
// without asking anybody.
func CheckReference(source string) error {
	if !strings.HasPrefix(source, ociScheme) {
		return fmt.Errorf("cannot pull %q: write it like oci://REGISTRY/REPO:TAG", source)
	}
	_, err := parseReference(source)
	return err
}

// parseReference reads "oci://registry/repo[:tag][@digest]".
func parseReference(source string) (name.Reference, error) {
	ref, err := name.ParseReference(strings.TrimPrefix(source, ociScheme))
	if err != nil {
		return nil, fmt.Errorf("cannot read image reference %q: %v", source, err)
	}
	return ref, nil
}

// fullName is the one spelling of a reference, and its name in the store.
func fullName(ref name.Reference) string {
	return ociScheme + strings.Replace(ref.Name(), name.DefaultRegistry, "docker.io", 1)
}

// Pull brings an image into the store: from a registry ("oci://…", asked
// anew, so that a moved tag is followed), an OCI layout folder or an archive
// file. The last two get the name given by as, or else the base name of the
// path without its extension; as is ignored for registries.
func (s *Store) Pull(ctx context.Context, source, as string, progress func(Progress)) (Image, error) {
	if strings.HasPrefix(source, ociScheme) {
		return s.pullRegistry(ctx, source, true, progress)
	}
	if _, err := os.Stat(source); err != nil {
		if errors.Is(err, os.ErrNotExist) && !isPath(source) {
			if looksLikeReference(source) {
				return Image{}, fmt.Errorf("cannot pull image %q: a registry's image is written oci://%s", source, source)
			}
			return Image{}, fmt.Errorf("cannot pull image %q: want oci://REGISTRY/REPO:TAG, an OCI layout folder or an archive file", source)
		}
		return Image{}, fmt.Errorf("cannot pull image %q: %v", source, err)
	}
	if as == "" {
		as = nameFromPath(source)
	}
	if !namePattern.MatchString(as) {
		return Image{}, fmt.Errorf("cannot pull image %q: name %q is not allowed: lower-case letters, digits, '.', '_' and '-', at most 63", source, as)
	}
	o, err := s.openPath(ctx, source)
	if err != nil {
		return Image{}, fmt.Errorf("cannot pull image %q: %w", source, err)
	}
	defer o.close()
	origin, err := filepath.Abs(source)
	if err != nil {
		origin = source
	}
	img, err := s.importImage(ctx, o, Image{Name: as, Origin: origin}, s.reporter(progress))
	if err != nil {
		return Image{}, fmt.Errorf("cannot pull image %q: %w", source, err)
	}
	return img, nil
}

func nameFromPath(p string) string {
	base := filepath.Base(filepath.Clean(p))
	for _, ext := range []string{".gz", ".tgz", ".zst", ".tar", ".oci"} {
		base = strings.TrimSuffix(base, ext)
	}
	return strings.ToLower(base)
}

// pullRegistry pulls from a registry. Without refresh, an image that somebody
// else stored meanwhile is taken as it is.
func (s *Store) pullRegistry(ctx context.Context, source string, refresh bool, progress func(Progress)) (Image, error) {
	ref, err := parseReference(source)
	if err != nil {
		return Image{}, err
	}
	unlock, err := s.lockNamed(ctx, "pull "+fullName(ref))
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if !refresh {
		if img, err := s.Lookup(source); err == nil {
			return img, nil
		}
	}
	rep := s.reporter(progress)
	rep.stage("resolve", 0, fullName(ref))
	img, err := s.fetch(ctx, ref, rep)
	if err != nil {
		return Image{}, fmt.Errorf("cannot pull image %q: %w%s", source, err, mend(ref, err))
	}
	return img, nil
}

// mend is what a person can do about a failed pull, "" where that is not known.
func mend(ref name.Reference, err error) string {
	registry := ref.Context().RegistryStr()
	var reply *transport.Error
	if errors.As(err, &reply) {
		switch reply.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			// Docker Hub and others answer so for what does not exist, too.
			return fmt.Sprintf("; check the name %s, and if it is private, log in as the user labd runs as: docker login %s (or podman login)", ref.Context(), registry)
		case http.StatusNotFound:
			return fmt.Sprintf("; check the name and the tag: %s has no %s", registry, ref.Context().RepositoryStr()+":"+ref.Identifier())
		}
		return ""
	}
	var network net.Error
	if errors.As(err, &network) {
		return fmt.Sprintf("; check the registry's name, and that this host reaches it: curl -I https://%s/v2/", registry)
	}
	return ""
}

func (s *Store) fetch(ctx context.Context, ref name.Reference, rep *reporter) (Image, error) {
	unlock, err := s.lockBlobs(ctx, false)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	remoteImage, err := s.resolve(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	raw, err := remoteImage.RawManifest()
	if err != nil {
		return Image{}, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return Image{}, err
	}
	config, err := remoteImage.RawConfigFile()
	if err != nil {
		return Image{}, err
	}
	if got := hashOf(config); got != m.Config.Digest {
		return Image{}, &digestError{"configuration", got.Hex, m.Config.Digest.String()}
	}
	if _, err := parseConfig(config, len(m.Layers)); err != nil {
		return Image{}, err
	}
	rep.stage("download", total(m), "")
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(downloads)
	for _, layer := range m.Layers {
		group.Go(func() error { return s.download(gctx, ref, layer, rep) })
	}
	if err := group.Wait(); err != nil {
		return Image{}, err
	}
	return s.finish(ctx, raw, config, m, Image{Name: fullName(ref), Origin: fullName(ref)})
}

func total(m *v1.Manifest) (n int64) {
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

func (s *Store) remoteOptions(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(s.opts.Keychain),
		remote.WithTransport(s.opts.Transport), remote.WithPlatform(platform), remote.WithUserAgent("sandlot"),
	}
}

// resolve asks the registry what a reference means on our platform.
func (s *Store) resolve(ctx context.Context, ref name.Reference) (v1.Image, error) {
	type result struct {
		image v1.Image
		err   error
	}
	// The image keeps the context it was resolved with, so the time limit
	// must not be part of it.
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(resolveTimeout, func() {
		cancel(fmt.Errorf("the registry %s did not answer within %s; check that this host reaches it", ref.Context().RegistryStr(), resolveTimeout))
	})
	defer timer.Stop()
	done := make(chan result, 1)
	go func() {
		desc, err := remote.Get(ref, s.remoteOptions(ctx)...)
		if err != nil {
			done <- result{err: err}
			return
		}
		var fits []v1.Descriptor
		if desc.MediaType.IsIndex() {
			index, err := desc.ImageIndex()
			if err == nil {
				var im *v1.IndexManifest
				if im, err = index.IndexManifest(); err == nil {
					if fits, err = fitting(im.Manifests); err == nil {
						var img v1.Image
						img, err = index.Image(fits[0].Digest)
						if err == nil {
							_, err = img.RawConfigFile()
						}
						done <- result{img, err}
						return
					}
				}
			}
			done <- result{err: err}
			return
		}
		img, err := desc.Image()
		if err == nil {
			_, err = img.RawConfigFile()
		}
		done <- result{img, err}
	}()
	r := <-done
	if r.err != nil && ctx.Err() != nil {
		r.err = context.Cause(ctx)
	}
	return r.image, r.err
}

// download stores one layer, unless it is here.
func (s *Store) download(ctx context.Context, ref name.Reference, layer v1.Descriptor, rep *reporter) error {
	if info, err := os.Stat(s.blobFile(layer.Digest)); err == nil && info.Size() == layer.Size {
		rep.add(layer.Size)
		return nil
	}
	for attempt := 1; ; attempt++ {
		got, err := s.tryDownload(ctx, ref, layer, rep)
		if err == nil {
			return nil
		}
		var wrong *digestError
		if ctx.Err() != nil || attempt == downloadAttempts || errors.As(err, &wrong) {
			return fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
		rep.add(-got)
	}
}

func (s *Store) tryDownload(ctx context.Context, ref name.Reference, layer v1.Descriptor, rep *reporter) (got int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTimeout, func() {
		cancel(fmt.Errorf("the registry sent nothing for %s", stallTimeout))
	})
	defer stall.Stop()
	l, err := remote.Layer(ref.Context().Digest(layer.Digest.String()), s.remoteOptions(ctx)...)
	if err != nil {
		return 0, err
	}
	r, err := l.Compressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	counted := countReader{r, func(n int64) {
		got += n
		stall.Reset(stallTimeout)
		rep.add(n)
	}}
	_, err = s.storeBlob(counted, layer.Digest, layer.Size)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return got, err
}

// storeBlob stores a blob of known digest and size.
func (s *Store) storeBlob(r io.Reader, want v1.Hash, size int64) (v1.Hash, error) {
	if size > s.opts.Limits.Blob {
		return v1.Hash{}, fmt.Errorf("%d bytes are more than the limit of %d", size, s.opts.Limits.Blob)
	}
	return s.writeBlob(func(w io.Writer) error {
		n, err := io.Copy(w, io.LimitReader(r, size+1))
		if err != nil {
			return readError(err)
		}
		if n != size {
			return fmt.Errorf("it has %d bytes or more, want %d", n, size)
		}
		return nil
	}, want)
}

// writeBlob stores what fill writes, under its digest, durably. If want is
// given, it must be that digest.
func (s *Store) writeBlob(fill func(io.Writer) error, want v1.Hash) (v1.Hash, error) {
	f, err := os.CreateTemp(s.tmp.dir, "blob-*")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	bw := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	if err := fill(bw); err != nil {
		return v1.Hash{}, err
	}
	if err := bw.Flush(); err != nil {
		return v1.Hash{}, err
	}
	got := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	if want.Hex != "" && got != want {
		return v1.Hash{}, &digestError{"blob", got.Hex, want.String()}
	}
	if err := f.Sync(); err != nil {
		return v1.Hash{}, err
	}
	if err := os.Chmod(f.Name(), 0o600); err != nil {
		return v1.Hash{}, err
	}
	return got, os.Rename(f.Name(), s.blobFile(got))
}
