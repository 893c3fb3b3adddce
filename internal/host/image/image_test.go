package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// stamp is the time of every entry that does not say otherwise.
var stamp = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

// The following make entries of test layers.

func file(name, content string, edit ...func(*tar.Header)) member {
	return entryOf(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content, edit)
}
func dir(name string, edit ...func(*tar.Header)) member {
	return entryOf(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, "", edit)
}
func symlink(name, target string) member {
	return entryOf(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, "", nil)
}
func link(name, target string) member {
	return entryOf(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}, "", nil)
}
func device(kind byte, name string, major, minor int64) member {
	return entryOf(tar.Header{Typeflag: kind, Name: name, Mode: 0o600, Devmajor: major, Devminor: minor}, "", nil)
}
func fifo(name string) member {
	return entryOf(tar.Header{Typeflag: tar.TypeFifo, Name: name, Mode: 0o640}, "", nil)
}
func whiteout(name string) member { return file(name, "") }

func mode(m int64) func(*tar.Header)       { return func(h *tar.Header) { h.Mode = m } }
func owner(uid, gid int) func(*tar.Header) { return func(h *tar.Header) { h.Uid, h.Gid = uid, gid } }
func at(when time.Time) func(*tar.Header)  { return func(h *tar.Header) { h.ModTime = when } }
func xattr(k, v string) func(*tar.Header) {
	return func(h *tar.Header) {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+k] = v
	}
}

type member struct {
	hdr     tar.Header
	content string
}

func entryOf(h tar.Header, content string, edit []func(*tar.Header)) member {
	h.Format, h.ModTime = tar.FormatPAX, stamp
	for _, e := range edit {
		e(&h)
	}
	return member{h, content}
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&m.hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// testImage is an image made by hand.
type testImage struct {
	blobs    map[string][]byte // by hex digest
	config   []byte
	manifest []byte
	layers   [][]byte // as stored
	plain    [][]byte
}

type layerOf struct {
	plain, stored []byte
	mediaType     types.MediaType
}

func plainLayer(t testing.TB, members ...member) layerOf {
	b := tarOf(t, members...)
	return layerOf{b, b, types.OCIUncompressedLayer}
}
func gzipLayer(t testing.TB, members ...member) layerOf {
	b := tarOf(t, members...)
	return layerOf{b, gzipped(t, b), types.OCILayer}
}
func zstdLayer(t testing.TB, members ...member) layerOf {
	b := tarOf(t, members...)
	return layerOf{b, zstded(t, b), types.OCILayerZStd}
}

func imageOf(t testing.TB, layers ...layerOf) *testImage {
	t.Helper()
	i := &testImage{blobs: map[string][]byte{}}
	config := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, hashOf(l.plain))
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: l.mediaType, Digest: hashOf(l.stored), Size: int64(len(l.stored))})
		i.blobs[hashOf(l.stored).Hex] = l.stored
		i.layers, i.plain = append(i.layers, l.stored), append(i.plain, l.plain)
	}
	i.config = jsonOf(t, config)
	m.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: hashOf(i.config), Size: int64(len(i.config))}
	i.manifest = jsonOf(t, m)
	i.blobs[hashOf(i.config).Hex] = i.config
	i.blobs[hashOf(i.manifest).Hex] = i.manifest
	return i
}

func jsonOf(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// files is the image as an OCI layout, by path.
func (i *testImage) files(t testing.TB) map[string][]byte {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Digest: hashOf(i.manifest), Size: int64(len(i.manifest))}}}
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": jsonOf(t, index)}
	for hex, b := range i.blobs {
		files["blobs/sha256/"+hex] = b
	}
	return files
}

func writeFiles(t testing.TB, dir string, files map[string][]byte) string {
	t.Helper()
	for name, b := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (i *testImage) layout(t testing.TB) string {
	return writeFiles(t, filepath.Join(t.TempDir(), "layout"), i.files(t))
}

func (i *testImage) ociArchive(t testing.TB) []byte {
	var members []member
	for name, b := range i.files(t) {
		members = append(members, file(name, string(b)))
	}
	return tarOf(t, members...)
}

// dockerArchive is what `docker save` wrote before it wrote layouts, with a
// symlink in it as buildah's has.
func (i *testImage) dockerArchive(t testing.TB) []byte {
	m := dockerManifest{Config: hashOf(i.config).Hex + ".json", RepoTags: []string{"x:latest"}}
	members := []member{file(m.Config, string(i.config))}
	for n, b := range i.plain {
		members = append(members, file(fmt.Sprintf("%d.tar", n), string(b)), symlink(fmt.Sprintf("l%d/layer.tar", n), fmt.Sprintf("../%d.tar", n)))
		m.Layers = append(m.Layers, fmt.Sprintf("l%d/layer.tar", n))
	}
	return tarOf(t, append(members, file("manifest.json", string(jsonOf(t, []dockerManifest{m}))))...)
}

func writeTemp(t testing.TB, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func testOptions(t testing.TB) Options {
	dir := t.TempDir()
	return Options{Dir: filepath.Join(dir, "images"), Bases: filepath.Join(dir, "bases"), Staging: filepath.Join(dir, "staging")}
}

func openStore(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// wantNoStaging checks that nothing is left half-made.
func wantNoStaging(t testing.TB, s *Store) {
	t.Helper()
	for _, session := range []*session{s.staging, s.tmp} {
		entries, err := os.ReadDir(session.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != sessionLock {
				t.Errorf("left in staging: %s", e.Name())
			}
		}
	}
}

// flatten returns the image's merged tree as text: one line for each name.
func flatten(t testing.TB, i *testImage) (string, error) {
	t.Helper()
	s := openStore(t, testOptions(t))
	var out bytes.Buffer
	err := s.Flatten(context.Background(), i.layout(t), &out)
	wantNoStaging(t, s)
	if err != nil {
		return "", err
	}
	return describeTar(t, out.Bytes()), nil
}

func describeTar(t testing.TB, b []byte) string {
	t.Helper()
	var out strings.Builder
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%c %04o %s", h.Typeflag, h.Mode, h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&out, " -> %s", h.Linkname)
		}
		if h.Uid != 0 || h.Gid != 0 {
			fmt.Fprintf(&out, " %d:%d", h.Uid, h.Gid)
		}
		if h.Devmajor != 0 || h.Devminor != 0 {
			fmt.Fprintf(&out, " dev %d:%d", h.Devmajor, h.Devminor)
		}
		for k, v := range h.PAXRecords {
			if name, ok := strings.CutPrefix(k, xattrRecord); ok {
				fmt.Fprintf(&out, " %s=%q", name, v)
			}
		}
		if h.Typeflag == tar.TypeReg {
			fmt.Fprintf(&out, " %.20q", content)
		}
		out.WriteByte('\n')
	}
}
