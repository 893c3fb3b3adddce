package initramfs

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"sandlot/guest/initramfs/list"
	"sandlot/guest/wire"
)

// compress packs data as a module file with this extension would be.
func compress(t *testing.T, ext string, data []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case "":
		return data
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// modulesDir makes a lib/modules/<release> of the given modules: name → deps.
func modulesDir(t *testing.T, ext string, mods map[string]string, builtin ...string) string {
	dir := t.TempDir()
	var dep strings.Builder
	for name, deps := range mods {
		file := "kernel/drivers/" + name + ".ko" + ext
		dep.WriteString(file + ":")
		for d := range strings.FieldsSeq(deps) {
			dep.WriteString(" kernel/drivers/" + d + ".ko" + ext)
		}
		dep.WriteString("\n")
		path := filepath.Join(dir, file)
		os.MkdirAll(filepath.Dir(path), 0o755)
		os.WriteFile(path, compress(t, ext, []byte("code of "+name)), 0o644)
	}
	os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(dep.String()), 0o644)
	var b strings.Builder
	for _, name := range builtin {
		b.WriteString("kernel/" + name + ".ko\n")
	}
	os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte(b.String()), 0o644)
	return dir
}

var debian61 = map[string]string{
	"virtio_ring": "", "virtio": "", "virtio_pci_modern_dev": "", "virtio_pci_legacy_dev": "",
	"virtio_pci": "virtio_pci_legacy_dev virtio_pci_modern_dev virtio virtio_ring",
	"virtio_blk": "virtio virtio_ring",
	"failover":   "", "net_failover": "failover",
	"virtio_net": "net_failover failover virtio virtio_ring",
	"virtio-rng": "virtio virtio_ring",
	"unwanted":   "virtio",
}

type entry struct {
	header *cpio.Header
	body   string
}

// unpack reads concatenated archives as the kernel does: each must start at a
// multiple of four.
func unpack(t *testing.T, b []byte) map[string]entry {
	out := map[string]entry{}
	for len(b) > 0 {
		in := bytes.NewReader(b)
		r := cpio.NewReader(in)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if parent := filepath.Dir(h.Name); parent != "." && out[parent].header == nil {
				t.Errorf("%s comes before its directory", h.Name)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			out[h.Name] = entry{h, string(body)}
		}
		used := len(b) - in.Len()
		used += (4 - used%4) % 4
		b = b[used:]
	}
	return out
}

func TestConcatenatedArchives(t *testing.T) {
	for _, ext := range []string{"", ".xz", ".zst", ".gz"} {
		t.Run("ko"+ext, func(t *testing.T) {
			dir := modulesDir(t, ext, debian61, "fs/ext4/ext4")
			var b, again bytes.Buffer
			if err := Shared(&b, []byte("binary"), dir); err != nil {
				t.Fatal(err)
			}
			if err := Shared(&again, []byte("binary"), dir); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), again.Bytes()) {
				t.Error("the same input gave different bytes")
			}
			if b.Len()%4 != 0 {
				t.Errorf("shared archive has %d bytes: the next one would not be found", b.Len())
			}
			config := wire.Config{Hostname: "m1", SSHHostKey: "secret"}
			if err := Machine(&b, config); err != nil {
				t.Fatal(err)
			}
			files := unpack(t, b.Bytes())
			if e := files["init"]; e.body != "binary" || e.header.Mode.Perm() != 0o755 {
				t.Errorf("init is %q, mode %v", e.body, e.header.Mode)
			}
			if e := files["dev/console"]; e.header == nil || e.header.Mode&^0o777 != cpio.TypeChar {
				t.Error("dev/console is no character device")
			}
			e := files[wire.ConfigPath[1:]]
			if e.header == nil || e.header.Mode.Perm() != 0o600 {
				t.Fatalf("configuration is missing or readable by others: %v", e.header)
			}
			var got wire.Config
			if err := json.Unmarshal([]byte(e.body), &got); err != nil || got.Hostname != "m1" {
				t.Errorf("configuration is %q, %v", e.body, err)
			}
			loaded := map[string]bool{}
			for _, m := range list.Parse(files[list.Path[1:]].body) {
				for _, d := range m.Deps {
					if !loaded[d] {
						t.Errorf("%s comes before %s, which it needs", m.Name, d)
					}
				}
				loaded[m.Name] = true
				if want := "code of " + m.Name; strings.ReplaceAll(files[m.File[1:]].body, "-", "_") != want {
					t.Errorf("%s is %q, want %q", m.File, files[m.File[1:]].body, want)
				}
			}
			for _, want := range []string{"virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "net_failover"} {
				if !loaded[want] {
					t.Errorf("%s is missing from the list", want)
				}
			}
			if loaded["unwanted"] {
				t.Error("a module nobody wants is in the list")
			}
		})
	}
}

func TestFilesystemArchive(t *testing.T) {
	mods := map[string]string{"xfs": "libcrc32c", "libcrc32c": "", "virtio_pci": "", "virtio_blk": "", "ext4": ""}
	dir := modulesDir(t, ".xz", mods)
	var b bytes.Buffer
	if err := Shared(&b, []byte("binary"), dir); err != nil {
		t.Fatal(err)
	}
	if files := unpack(t, b.Bytes()); files["sandlot/modules/xfs.ko"].header != nil {
		t.Error("every machine carries xfs")
	}
	if err := Filesystems(&b, dir, []string{"xfs"}); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, b.Bytes())
	got := list.Parse(files[list.Extra[1:]].body)
	if len(got) != 2 || got[0].Name != "libcrc32c" || got[1].Name != "xfs" || files["sandlot/modules/xfs.ko"].body != "code of xfs" {
		t.Errorf("the list is %v", got)
	}
}

// virtio_ring exports what virtio uses, yet modules.dep orders by nearness.
func TestFarthestDependencyFirst(t *testing.T) {
	dir := modulesDir(t, "", map[string]string{"c": "b a", "b": "a", "a": ""})
	os.Remove(filepath.Join(dir, "modules.builtin"))
	mods, err := resolveModules(dir, []string{"c"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range mods {
		names = append(names, m.name)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(names, want) {
		t.Errorf("order is %v, want %v", names, want)
	}
}

func TestUnusableModules(t *testing.T) {
	for name, c := range map[string]struct {
		dir  string
		want string
	}{
		"no index":         {t.TempDir(), "run depmod"},
		"no virtio_blk":    {modulesDir(t, "", map[string]string{"virtio_pci": ""}, "ext4"), "no virtio_blk"},
		"corrupt module":   {corrupt(t), "cannot decompress"},
		"index leads away": {escaping(t), "outside its directory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Shared(io.Discard, nil, c.dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one about %q", err, c.want)
			}
		})
	}
}

func corrupt(t *testing.T) string {
	dir := modulesDir(t, ".xz", map[string]string{"virtio_pci": "", "virtio_blk": ""}, "ext4")
	os.WriteFile(filepath.Join(dir, "kernel/drivers/virtio_blk.ko.xz"), []byte("no xz"), 0o644)
	return dir
}

func escaping(t *testing.T) string {
	dir := modulesDir(t, "", map[string]string{"virtio_pci": ""}, "virtio_blk", "ext4")
	os.WriteFile(filepath.Join(dir, "modules.dep"), []byte("../../virtio_pci.ko:\n"), 0o644)
	return dir
}
