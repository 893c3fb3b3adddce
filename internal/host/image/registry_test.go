package image

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// fakeRegistry is go-containerregistry's, over plain HTTP on localhost.
type fakeRegistry struct {
	host  string
	blobs atomic.Int64 // requests for blobs
	// user and password are asked for if set.
	user, password string
	// corrupt changes the last byte of the blob with this hex digest.
	corrupt string
}

func startRegistry(t *testing.T) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != f.user || password != f.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			f.blobs.Add(1)
		}
		if f.corrupt == "" || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, f.corrupt) {
			inner.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		inner.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		body[len(body)-1] ^= 1
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	f.host = strings.TrimPrefix(server.URL, "http://")
	return f
}

// push uploads an image under repo:tag, or an index of several if platforms
// are given.
func (f *fakeRegistry) push(t *testing.T, repo, tag string, i *testImage) {
	t.Helper()
	for hex, b := range i.blobs {
		if hex == hashOf(i.manifest).Hex {
			continue
		}
		f.do(t, http.MethodPost, fmt.Sprintf("/v2/%s/blobs/uploads/?digest=sha256:%s", repo, hex), "application/octet-stream", b)
	}
	f.do(t, http.MethodPut, fmt.Sprintf("/v2/%s/manifests/%s", repo, tag), string(types.OCIManifestSchema1), i.manifest)
}

func (f *fakeRegistry) do(t *testing.T, method, path, contentType string, body []byte) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+f.host+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if f.user != "" {
		req.SetBasicAuth(f.user, f.password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, b)
	}
}

func flattenSource(t *testing.T, s *Store, source string) string {
	t.Helper()
	var out bytes.Buffer
	if err := s.Flatten(context.Background(), source, &out); err != nil {
		t.Fatal(err)
	}
	return describeTar(t, out.Bytes())
}

func TestPullFromRegistry(t *testing.T) {
	r := startRegistry(t)
	i := imageOf(t, gzipLayer(t, file("a", "1")), zstdLayer(t, file("b", "2")), plainLayer(t, whiteout(".wh.a")))
	r.push(t, "team/app", "v1", i)
	s := openStore(t, testOptions(t))
	ctx := context.Background()
	var stages []string
	img, err := s.Pull(ctx, "oci://"+r.host+"/team/app:v1", "", func(p Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "oci://" + r.host + "/team/app:v1"; img.Name != want || img.ID != hashOf(i.config).String() || img.Manifest != hashOf(i.manifest).String() {
		t.Errorf("image %+v", img)
	}
	if diff := cmp.Diff([]string{"resolve", "download"}, stages); diff != "" {
		t.Error(diff)
	}
	wantNoStaging(t, s)
	const want = "5 0755 ./\n0 0644 b \"2\"\n"
	if got := flattenSource(t, s, img.Name); got != want {
		t.Errorf("got\n%s", got)
	}
	// The same layers are not fetched again, whatever the name.
	before := r.blobs.Load()
	r.push(t, "team/app", "v2", i)
	for _, source := range []string{"oci://" + r.host + "/team/app:v1", "oci://" + r.host + "/team/app:v2",
		"oci://" + r.host + "/team/app:v1@" + img.Manifest, "oci://" + r.host + "/team/app@" + img.Manifest} {
		if _, err := s.Pull(ctx, source, "", nil); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	// The configuration is small and asked for again; the three layers are not.
	if got := r.blobs.Load() - before; got > 4 {
		t.Errorf("%d blobs were fetched again", got)
	}
	// Used without a pull before, and from the store while the tag moves on.
	other := imageOf(t, gzipLayer(t, file("c", "3")))
	r.push(t, "team/app", "v3", i)
	source := "oci://" + r.host + "/team/app:v3"
	if got := flattenSource(t, s, source); got != want {
		t.Errorf("got\n%s", got)
	}
	r.push(t, "team/app", "v3", other)
	if got := flattenSource(t, s, source); got != want {
		t.Errorf("a moved tag was followed without a pull: got\n%s", got)
	}
	if _, err := s.Pull(ctx, source, "", nil); err != nil {
		t.Fatal(err)
	}
	if got := flattenSource(t, s, source); got == want {
		t.Error("a moved tag was not followed by a pull")
	}
}

func TestPullChoosesPlatform(t *testing.T) {
	r := startRegistry(t)
	amd := imageOf(t, gzipLayer(t, file("amd64", "1")))
	arm := imageOf(t, gzipLayer(t, file("arm64", "1")))
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, p := range []struct {
		arch string
		i    *testImage
	}{{"arm64", arm}, {"amd64", amd}} {
		r.push(t, "x", p.arch, p.i)
		index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hashOf(p.i.manifest),
			Size: int64(len(p.i.manifest)), Platform: &v1.Platform{OS: "linux", Architecture: p.arch}})
	}
	r.do(t, http.MethodPut, "/v2/x/manifests/multi", string(types.OCIImageIndex), jsonOf(t, index))
	index.Manifests = index.Manifests[:1]
	r.do(t, http.MethodPut, "/v2/x/manifests/foreign", string(types.OCIImageIndex), jsonOf(t, index))

	s := openStore(t, testOptions(t))
	if got := flattenSource(t, s, "oci://"+r.host+"/x:multi"); !strings.Contains(got, " amd64 ") {
		t.Errorf("got\n%s", got)
	}
	_, err := s.Pull(context.Background(), "oci://"+r.host+"/x:foreign", "", nil)
	if err == nil || !strings.Contains(err.Error(), "no image for linux/amd64 (it has: linux/arm64)") {
		t.Errorf("error %v", err)
	}
}

func TestPullUsesDockerCredentials(t *testing.T) {
	r := startRegistry(t)
	r.user, r.password = "ann", "s3cret"
	r.push(t, "private", "1", imageOf(t, gzipLayer(t, file("f", "1"))))
	source := "oci://" + r.host + "/private:1"
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", home)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", home)

	s := openStore(t, testOptions(t))
	if _, err := s.Pull(context.Background(), source, "", nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Fatalf("without credentials: error %v", err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte("ann:s3cret"))
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.host, auth)
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(context.Background(), source, "", nil); err != nil {
		t.Fatalf("with credentials: %v", err)
	}
}

func TestPullRefusesWrongDigests(t *testing.T) {
	i := imageOf(t, gzipLayer(t, file("f", "1")))
	for what, b := range map[string][]byte{"layer": i.layers[0], "config": i.config} {
		r := startRegistry(t)
		r.push(t, "x", "1", i)
		r.corrupt = hashOf(b).Hex
		s := openStore(t, testOptions(t))
		if _, err := s.Pull(context.Background(), "oci://"+r.host+"/x:1", "", nil); err == nil {
			t.Errorf("%s: accepted", what)
		}
		if _, err := s.Lookup("oci://" + r.host + "/x:1"); err == nil {
			t.Errorf("%s: stored", what)
		}
		if _, err := os.Stat(s.blobFile(hashOf(b))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the bad blob was kept", what)
		}
		wantNoStaging(t, s)
	}
}

func TestPullSaysWhatIsWrong(t *testing.T) {
	r := startRegistry(t)
	s := openStore(t, testOptions(t))
	closed := httptest.NewServer(nil)
	gone := strings.TrimPrefix(closed.URL, "http://")
	closed.Close()
	for _, c := range []struct{ source, want string }{
		{"oci://" + r.host + "/none:1", "check the name and the tag: " + r.host + " has no none:1"},
		{"oci://" + gone + "/x:1", "connection refused; check the registry's name, and that this host reaches it: curl -I https://" + gone + "/v2/"},
		{"oci://UPPER/Case", "cannot read image reference"},
		{"ghcr.io/x/y:z", "written oci://ghcr.io/x/y:z"},
		{"nothing", "want oci://REGISTRY/REPO:TAG"},
		{"/does/not/exist.tar", "no such file"},
	} {
		_, err := s.Pull(context.Background(), c.source, "", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.source, err, c.want)
		}
	}
}

func TestReferenceSpellings(t *testing.T) {
	for source, want := range map[string]string{
		"oci://debian:12":                   "oci://docker.io/library/debian:12",
		"oci://docker.io/library/debian:12": "oci://docker.io/library/debian:12",
		"oci://debian":                      "oci://docker.io/library/debian:latest",
		"oci://ghcr.io/a/b:c":               "oci://ghcr.io/a/b:c",
	} {
		ref, err := parseReference(source)
		if err != nil || fullName(ref) != want {
			t.Errorf("%s: %v, %v; want %s", source, ref, err, want)
		}
	}
}
