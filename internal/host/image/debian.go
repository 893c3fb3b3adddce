package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// probeTimeout is how long a registry has to show that it has an image, before
// mmdebstrap is used.
const probeTimeout = 5 * time.Second

// debianBase is an official Debian image that mmdebstrap can stand in for.
type debianBase struct {
	image string // as the Dockerfile writes it
	tag   string
	suite string
}

// reference is the image's full name.
func (d debianBase) reference() string { return "docker.io/library/debian:" + d.tag }

var debianSuites = map[string]string{
	"11": "bullseye", "12": "bookworm", "13": "trixie",
	"bullseye": "bullseye", "bookworm": "bookworm", "trixie": "trixie",
	"stable": "stable", "latest": "stable",
}

// debianBases returns the official Debian images among those that a Dockerfile
// starts from, each once.
func debianBases(images []string) []debianBase {
	var bases []debianBase
	for _, image := range images {
		short := image
		for _, prefix := range []string{"docker.io/", "library/"} {
			short = strings.TrimPrefix(short, prefix)
		}
		repo, tag, tagged := strings.Cut(short, ":")
		if !tagged {
			tag = "latest"
		}
		suite := debianSuites[strings.TrimSuffix(tag, "-slim")]
		base := debianBase{image: image, tag: tag, suite: suite}
		if repo == "debian" && suite != "" && !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	return bases
}

// registryHas tells, within seconds, whether a registry answers with the
// image's manifest.
func (s *Store) registryHas(ctx context.Context, reference string) bool {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err = remote.Head(ref, append(s.remoteOptions(ctx), remote.WithRetryStatusCodes(),
		remote.WithRetryPredicate(func(error) bool { return false }))...)
	return err == nil
}

// mmdebstrapArgs bootstraps a suite as an archive on standard output. Without
// mirrors mmdebstrap takes Debian's own.
func mmdebstrapArgs(suite string, mirrors []string) []string {
	return append([]string{"--variant=minbase", "--format=tar", suite, "-"}, mirrors...)
}

const debianMirror = "http://deb.debian.org/debian"

// hostMirrors returns sources.list lines for a suite, if the host itself uses
// a mirror other than Debian's own for it: that mirror is the one reachable.
func hostMirrors(root fs.FS, suite string) []string {
	var main, security string
	for _, e := range hostSources(root) {
		for _, s := range e.suites {
			switch {
			case s == suite && main == "":
				main = e.uri
			case s == suite+"-security" && security == "":
				security = e.uri
			}
		}
	}
	if main == "" || isDebianMirror(main) {
		return nil
	}
	if security == "" {
		security = "http://security.debian.org/debian-security"
	}
	return []string{
		fmt.Sprintf("deb %s %s main", main, suite),
		fmt.Sprintf("deb %s %s-updates main", main, suite),
		fmt.Sprintf("deb %s %s-security main", security, suite),
	}
}

func isDebianMirror(uri string) bool {
	_, rest, _ := strings.Cut(strings.TrimSuffix(uri, "/"), "://")
	_, own, _ := strings.Cut(debianMirror, "://")
	return rest == own
}

// aptSource is one archive the host's apt uses.
type aptSource struct {
	uri    string
	suites []string
}

// hostSources reads apt's configuration in both its formats.
func hostSources(root fs.FS) []aptSource {
	var sources []aptSource
	files, _ := fs.Glob(root, "etc/apt/sources.list.d/*")
	for _, file := range append([]string{"etc/apt/sources.list"}, files...) {
		content, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		switch path.Ext(file) {
		case ".list":
			sources = append(sources, oneLineSources(string(content))...)
		case ".sources":
			sources = append(sources, stanzaSources(string(content))...)
		}
	}
	return slices.DeleteFunc(sources, func(s aptSource) bool {
		return !strings.HasPrefix(s.uri, "http://") && !strings.HasPrefix(s.uri, "https://")
	})
}

// oneLineSources reads "deb [options] URI SUITE COMPONENT…".
func oneLineSources(content string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(content) {
		if before, after, found := strings.Cut(line, "["); found {
			_, after, _ = strings.Cut(after, "]")
			line = before + after
		}
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "deb" {
			sources = append(sources, aptSource{f[1], f[2:3]})
		}
	}
	return sources
}

// stanzaSources reads deb822 stanzas.
func stanzaSources(content string) []aptSource {
	var sources []aptSource
	for stanza := range strings.SplitSeq(content, "\n\n") {
		field := map[string][]string{}
		for line := range strings.Lines(stanza) {
			if key, value, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, "#") {
				field[strings.ToLower(key)] = strings.Fields(value)
			}
		}
		if !slices.Contains(field["types"], "deb") || slices.Contains(field["enabled"], "no") {
			continue
		}
		for _, uri := range field["uris"] {
			sources = append(sources, aptSource{uri, field["suites"]})
		}
	}
	return sources
}

// writeSingleLayout completes an OCI layout whose one layer, plain, is already
// among its blobs.
func writeSingleLayout(dir string, layer v1.Hash, size int64, ref string) error {
	put := func(v any) (v1.Hash, int64, error) {
		raw, err := json.Marshal(v)
		if err != nil {
			return v1.Hash{}, 0, err
		}
		h := hashOf(raw)
		return h, int64(len(raw)), os.WriteFile(filepath.Join(dir, "blobs", "sha256", h.Hex), raw, 0o600)
	}
	config, configSize, err := put(v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture,
		Config: v1.Config{Cmd: []string{"bash"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{layer}},
	})
	if err != nil {
		return err
	}
	manifest, manifestSize, err := put(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: config, Size: configSize},
		Layers: []v1.Descriptor{{MediaType: types.OCIUncompressedLayer, Digest: layer, Size: size}},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Digest: manifest, Size: manifestSize, Annotations: map[string]string{refName: ref},
	}}})
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
