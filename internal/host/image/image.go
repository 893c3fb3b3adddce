// Package image turns container images into base volumes, without Docker.
//
// In go references: "oci://registry/repo[:tag][@digest]", an OCI layout
// folder, a Docker or OCI archive file, or a folder with a Dockerfile. Out
// comes one ext4 file for each (image, kernel release), checked with
// `e2fsck -fn`, that plays clone.
//
//	Pull  ─┐                                     ┌─ Flatten: one PAX tar
//	Build ─┴▶ Dir (blobs, names) ─▶ layers ─▶ tree ─┤
//	          archive, layout ───────┘           └─ Base: staging tree ─▶ mke2fs -d
//	                                                   ─▶ e2fsck -fn ─▶ rename into Bases
//
// Layers are read once, in parallel: the metadata goes into memory, the
// content of each regular file into a numbered file of a workspace (a tmpfs, or
// Staging if the image is large). The layers are merged in memory as a tree of
// inodes (tree.go), so no path of an image ever reaches the host's filesystem
// as a path, and what survives is renamed into place. Nothing an image says is trusted: digests, sizes, counts, names.
//
// On disk:
//
//	Dir/      an OCI layout (oci-layout, index.json, blobs/sha256/…), which
//	          other tools can read, names.json, locks/ and tmp/
//	Bases/    <image id>-<kernel release>-v<format>.ext4, complete or absent
//	Staging/  one folder for each living process; those of dead processes are
//	          removed by the next Open
//
// Several processes may use the same folders at once.
package image

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// FormatVersion is part of the name of every base volume. Raise it when the
// same image would give a different filesystem.
const FormatVersion = 1

// Kernel is what a base volume takes from a kernel.
type Kernel struct {
	Version string // "6.1"
	Release string // "6.1.0-37-cloud-amd64"
	// ModulesDir becomes /lib/modules/<Release>; empty means no modules.
	ModulesDir string
	// BootDir holds the files that appear in /boot; empty means none.
	BootDir string
}

// Image is one image in the store.
type Image struct {
	// Name is what manifests call it: "debian-12", or "oci://…" in full.
	Name string `json:"name"`
	// Manifest is the digest of the linux/amd64 manifest, "sha256:…".
	Manifest string `json:"manifest"`
	// ID is the digest of the image's configuration, which lists the digests
	// of the uncompressed layers: equal IDs are equal filesystems, however
	// the layers were compressed or transported.
	ID string `json:"id"`
	// Bytes is the size of the blobs as stored.
	Bytes int64 `json:"bytes"`
	// Origin says where it came from, for a person.
	Origin string    `json:"origin"`
	Stored time.Time `json:"stored"`
	// BuildKey is the hash of the context folder a build was made from.
	BuildKey string `json:"buildKey,omitempty"`
}

// Base is a finished base volume.
type Base struct {
	Path string
	// Digest is the image's ID, "sha256:…".
	Digest string
	// FSBytes is the size of the filesystem and of the file: the least size
	// of a volume cloned from it.
	FSBytes int64
}

// Progress is one report of a long operation.
type Progress struct {
	// Stage is "resolve", "download", "import", "build", "flatten", "format"
	// or "check".
	Stage string
	// Done and Total are bytes; a Total of 0 means unknown.
	Done, Total int64
	// Note is a line for a person, such as one step of a build; may be empty.
	Note string
}

// NotFoundError reports a source that is not in the store.
type NotFoundError struct {
	Source string
	Known  []string // names in the store, sorted
	// Buildable are names that `labd image build` knows but has not made.
	Buildable []string
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cannot find image %q", e.Source)
	if slices.Contains(e.Buildable, e.Source) {
		fmt.Fprintf(&b, ": it is not built yet; run: labd image build %s", e.Source)
		return b.String()
	}
	if len(e.Known) > 0 {
		fmt.Fprintf(&b, ": the images here are %s", strings.Join(e.Known, ", "))
	} else {
		b.WriteString(": there are no images yet")
	}
	switch {
	case strings.HasPrefix(e.Source, ociScheme):
		fmt.Fprintf(&b, "; fetch it with: labd image pull %s", e.Source)
	case looksLikeReference(e.Source):
		fmt.Fprintf(&b, "; a registry's image is written oci://%s", e.Source)
	case len(e.Buildable) > 0:
		for i, name := range e.Buildable {
			sep := ", "
			if i == 0 {
				sep = "; can be made: "
			}
			fmt.Fprintf(&b, "%slabd image build %s", sep, name)
		}
	default:
		b.WriteString("; fetch one with: labd image pull oci://REGISTRY/REPO:TAG")
	}
	return b.String()
}

// Programs are the tools the store runs; the zero value finds them in PATH.
type Programs struct {
	Mke2fs, E2fsck, Debugfs, Buildah, Mmdebstrap, Unshare string
}

// Options configure a Store. Dir, Bases and Staging are required.
type Options struct {
	Dir string
	// Bases and Staging must be on one filesystem.
	Bases, Staging string
	// Kernel looks a kernel version up; needed by Base for a version that is
	// not empty.
	Kernel func(ctx context.Context, version string) (Kernel, error)
	// Recipes maps the names that can be built to their context folders.
	Recipes map[string]string
	// Keychain defaults to the Docker config file's credentials.
	Keychain authn.Keychain
	// Transport defaults to go-containerregistry's.
	Transport http.RoundTripper
	// Limits bound what one image may cost; zero fields take defaults.
	Limits Limits
	// Memory is how many bytes of memory the files of one conversion may
	// take; more goes through Staging, which is slower. 0 means a quarter of
	// what is available, less than 0 none.
	Memory   int64
	Programs Programs
	// Now defaults to time.Now.
	Now func() time.Time
}

// Store is the image store of one process. Its methods may be called
// concurrently.
type Store struct {
	opts    Options
	staging *session // on the filesystem of Bases
	tmp     *session // on the filesystem of Dir
	close   sync.Once
	// described is what images say of themselves, by their ID.
	described sync.Map
}

// Open makes the folders, removes what dead processes left in Staging, and
// returns a store that must be closed.
func Open(opts Options) (*Store, error) {
	if opts.Dir == "" || opts.Bases == "" || opts.Staging == "" {
		return nil, fmt.Errorf("cannot open image store: Dir, Bases and Staging are required")
	}
	if opts.Keychain == nil {
		opts.Keychain = authn.DefaultKeychain
	}
	if opts.Transport == nil {
		opts.Transport = remote.DefaultTransport
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Limits = opts.Limits.withDefaults()
	p := &opts.Programs
	for _, d := range []struct {
		program *string
		name    string
	}{{&p.Mke2fs, "mke2fs"}, {&p.E2fsck, "e2fsck"}, {&p.Debugfs, "debugfs"}, {&p.Buildah, "buildah"}, {&p.Mmdebstrap, "mmdebstrap"}, {&p.Unshare, "unshare"}} {
		if *d.program == "" {
			*d.program = d.name
		}
	}
	for _, dir := range []string{
		filepath.Join(opts.Dir, "blobs", "sha256"), filepath.Join(opts.Dir, "locks"), opts.Bases,
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot open image store: %v", err)
		}
	}
	staging, err := openSession(opts.Staging)
	if err != nil {
		return nil, fmt.Errorf("cannot open image store: %v", err)
	}
	tmp, err := openSession(filepath.Join(opts.Dir, "tmp"))
	if err != nil {
		staging.close()
		return nil, fmt.Errorf("cannot open image store: %v", err)
	}
	s := &Store{opts: opts, staging: staging, tmp: tmp}
	if err := s.writeLayoutFile(); err != nil {
		s.Close()
		return nil, fmt.Errorf("cannot open image store: %v", err)
	}
	return s, nil
}

// Close removes this process's staging folders. What is stored stays.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() {
		err = s.staging.close()
		if e := s.tmp.close(); err == nil {
			err = e
		}
	})
	return err
}
