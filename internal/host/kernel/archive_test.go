package kernel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// archive is a small copy of Debian's archive on 127.0.0.1 with fake kernels
// in real packages.
type archive struct {
	root     string
	server   *httptest.Server
	releases int

	mu    sync.Mutex
	hold  chan struct{} // if set, downloads of packages wait for it
	asked chan struct{} // told when one waits
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	t.Setenv("no_proxy", "127.0.0.1")
	a := &archive{root: t.TempDir()}
	files := http.FileServer(http.Dir(a.root))
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		hold, asked := a.hold, a.asked
		a.mu.Unlock()
		if hold != nil && strings.HasSuffix(r.URL.Path, ".deb") {
			select {
			case asked <- struct{}{}:
			default:
			}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(a.server.Close)
	for _, src := range known {
		for _, suite := range src.Suites {
			a.publish(t, suite)
		}
	}
	return a
}

// block makes package downloads wait; asked receives when the first does.
func (a *archive) block() (asked <-chan struct{}, release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hold, told := make(chan struct{}), make(chan struct{}, 1)
	a.hold, a.asked = hold, told
	return told, sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.hold = nil
		close(hold)
	})
}

func (a *archive) mirror() Mirror {
	return Mirror{a.server.URL + "/debian", a.server.URL + "/debian-security"}
}

func (a *archive) store(t *testing.T) *Store {
	return &Store{Dir: filepath.Join(t.TempDir(), "kernels"), Mirror: a.mirror(), trusted: true}
}

// deb is one package: files by path, and its control fields.
type deb struct {
	name, version, depends string
	files                  map[string][]byte
}

// fakeKernel is a whole kernel as one package, the way Debian 12 has it.
func fakeKernel(t *testing.T, release, version string) deb {
	t.Helper()
	return deb{name: "linux-image-" + release, version: version, depends: "kmod", files: map[string][]byte{
		"boot/vmlinuz-" + release:                           fakeBzImage(pack(t, openGzip, fakeELF(pvhNote), false)),
		"boot/config-" + release:                            []byte("CONFIG_PVH=y\n# " + version + "\n"),
		"boot/System.map-" + release:                        []byte("stub\n"),
		"lib/modules/" + release + "/kernel/fs/fake.ko":     fakeELF(pvhNote),
		"lib/modules/" + release + "/modules.order":         []byte("kernel/fs/fake.ko\n"),
		"lib/modules/" + release + "/modules.builtin":       nil,
		"usr/share/doc/linux-image-" + release + "/copying": []byte("not kept"),
	}}
}

// publish makes the suite hold exactly these packages.
func (a *archive) publish(t *testing.T, suite Suite, debs ...deb) {
	t.Helper()
	root := filepath.Join(a.root, "debian")
	if suite.Security {
		root += "-security"
	}
	var packages bytes.Buffer
	for _, d := range debs {
		tree := t.TempDir()
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: fake\n", d.name, d.version)
		if d.depends != "" {
			control += "Depends: " + d.depends + "\n"
		}
		write(t, filepath.Join(tree, "DEBIAN", "control"), []byte(control))
		for path, content := range d.files {
			write(t, filepath.Join(tree, path), content)
		}
		file := filepath.Join("pool", d.name+"_"+strings.ReplaceAll(d.version, ":", "%3a")+"_amd64.deb")
		if err := os.MkdirAll(filepath.Join(root, "pool"), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, filepath.Join(root, file)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&packages, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", control, file, len(raw), sha256.Sum256(raw))
	}
	dists := filepath.Join(root, "dists", suite.Name)
	write(t, filepath.Join(dists, "main", "binary-amd64", "Packages"), packages.Bytes())
	write(t, filepath.Join(dists, "Release"), fmt.Appendf(nil,
		"Origin: test\nSuite: %s\nCodename: %s\nArchitectures: amd64\nComponents: main\nDate: Sat, 21 Nov 2020 00:00:00 UTC\nSHA256:\n %x %d main/binary-amd64/Packages\n",
		suite.Name, suite.Name, sha256.Sum256(packages.Bytes()), packages.Len()))
	// HTTP tells changes apart by whole seconds only.
	a.releases++
	changed := time.Date(2020, 11, 21, 0, 0, a.releases, 0, time.UTC)
	for _, file := range []string{"Release", "main/binary-amd64/Packages"} {
		if err := os.Chtimes(filepath.Join(dists, file), changed, changed); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
