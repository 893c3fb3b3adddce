package registry

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// logged is what the library logged, of all tests.
var logged struct {
	sync.Mutex
	bytes.Buffer
}

type toLogged struct{}

func (toLogged) Write(p []byte) (int, error) {
	logged.Lock()
	defer logged.Unlock()
	return logged.Buffer.Write(p)
}

func TestMain(m *testing.M) {
	LogTo(slog.New(slog.NewTextHandler(toLogged{}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	os.Exit(m.Run())
}

// certify makes a certificate for Name and a client's trust in it.
func certify(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{Name}, NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}}},
		&tls.Config{RootCAs: pool}
}

// running is a registry that is served, and a client that finds it by Name.
type running struct {
	*Server
	t         *testing.T
	transport *http.Transport
	address   string
	stop      func()
}

func serve(t *testing.T, opts Options) *running {
	t.Helper()
	serverTLS, clientTLS := certify(t)
	opts.TLS = serverTLS
	if opts.Limit == 0 {
		opts.Limit = 1 << 30
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, []net.Listener{l}) }()
	r := &running{Server: s, t: t, address: l.Addr().String()}
	r.transport = &http.Transport{
		TLSClientConfig: clientTLS,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, r.address)
		},
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.transport.CloseIdleConnections()
	})
	t.Cleanup(r.stop)
	return r
}

func reference(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(Name + "/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func image(t *testing.T, size int64) v1.Image {
	t.Helper()
	img, err := random.Image(size, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (r *running) push(ref string, img v1.Image, options ...remote.Option) error {
	return remote.Write(reference(r.t, ref), img, append(options, remote.WithTransport(r.transport),
		remote.WithRetryStatusCodes(), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))...)
}

// pull reads an image whole and returns its digest.
func (r *running) pull(ref string, options ...remote.Option) (string, error) {
	img, err := remote.Image(reference(r.t, ref), append(options, remote.WithTransport(r.transport))...)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(io.Discard, content); err != nil { // it checks the digest
			return "", err
		}
	}
	digest, err := img.Digest()
	return digest.String(), err
}

func status(err error) int {
	var e *transport.Error
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

func TestPushAndPull(t *testing.T) {
	r := serve(t, Options{Dir: filepath.Join(t.TempDir(), "made")})
	img := image(t, 300<<10)
	want, _ := img.Digest()
	if err := r.push("team/app:v1", img); err != nil {
		t.Fatal(err)
	}
	got, err := r.pull("team/app:v1")
	if err != nil || got != want.String() {
		t.Errorf("pulled %s, %v; want %s", got, err, want)
	}
	if _, err := r.pull("team/app:v2"); status(err) != http.StatusNotFound {
		t.Errorf("an unknown tag: %v", err)
	}
	names, err := remote.Catalog(t.Context(), mustRegistry(t), remote.WithTransport(r.transport))
	if err != nil || fmt.Sprint(names) != "[team/app]" {
		t.Errorf("catalog %v, %v", names, err)
	}
}

func mustRegistry(t *testing.T) name.Registry {
	t.Helper()
	registry, err := name.NewRegistry(Name)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func TestContentStaysAndPlaysAreApart(t *testing.T) {
	dir := t.TempDir()
	first := serve(t, Options{Dir: dir})
	img := image(t, 10<<10)
	if err := first.push("app", img); err != nil {
		t.Fatal(err)
	}
	used := first.files(t).used.Load()
	first.stop()
	if _, err := net.Dial("tcp", first.address); err == nil {
		t.Error("it listens after its end")
	}

	again := serve(t, Options{Dir: dir})
	if _, err := again.pull("app"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if now := again.files(t).used.Load(); now != used {
		t.Errorf("counted %d bytes, after a restart %d", used, now)
	}
	if _, err := serve(t, Options{Dir: t.TempDir()}).pull("app"); status(err) != http.StatusNotFound {
		t.Errorf("another play's registry has it: %v", err)
	}
}

// files are the registry's own, which every request goes through.
func (s *Server) files(t *testing.T) *bounded {
	t.Helper()
	files, ok := s.app.Config.Storage[driverName][driverKey].(*bounded)
	if !ok {
		t.Fatal("no files")
	}
	return files
}

func TestCredentials(t *testing.T) {
	const password = "s3:cret€ with a colon, and longer than the 72 bytes that bcrypt would take in"
	r := serve(t, Options{Dir: t.TempDir(), Credentials: "bob:" + password})
	img := image(t, 1<<10)
	login := func(user, password string) remote.Option {
		return remote.WithAuth(&authn.Basic{Username: user, Password: password})
	}
	for what, option := range map[string]remote.Option{
		"nobody":                   remote.WithAuth(authn.Anonymous),
		"a wrong password":         login("bob", "no-such-password"),
		"no password":              login("bob", ""),
		"a wrong user":             login("eve", password),
		"a colon that moved":       login("bob:s3", "cret€"),
		"the password for a user":  login(password, password),
		"the password with a tail": login("bob", password+"x"),
	} {
		if err := r.push("app", img, option); status(err) != http.StatusUnauthorized {
			t.Errorf("%s pushes: %v", what, err)
		}
		if _, err := r.pull("app", option); status(err) != http.StatusUnauthorized {
			t.Errorf("%s pulls: %v", what, err)
		}
	}
	if err := r.push("app", img, login("bob", password)); err != nil {
		t.Error(err)
	}
	if _, err := r.pull("app", login("bob", password)); err != nil {
		t.Error(err)
	}
	logged.Lock()
	defer logged.Unlock()
	if !strings.Contains(logged.String(), "response completed") {
		t.Error("nothing was logged: the test shows nothing")
	}
	for _, secret := range []string{"cret€", "no-such-password", "Basic"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("%q was logged", secret)
		}
	}
}

func TestLimit(t *testing.T) {
	dir := t.TempDir()
	r := serve(t, Options{Dir: dir, Limit: 1 << 20})
	if err := r.push("small", image(t, 100<<10)); err != nil {
		t.Fatal(err)
	}
	before := r.files(t).used.Load()
	for range 3 {
		err := r.push("big", image(t, 2<<20))
		if status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "the play's registry is full: its limit is 1 MiB") {
			t.Fatalf("over the limit: %v", err)
		}
	}
	r.transport.CloseIdleConnections()
	// What was refused does not stay, but for at most eight small files of each
	// upload that are purged later: what is small still fits. Each push began
	// three uploads, and the last of them may still be on its way out.
	for end := time.Now().Add(10 * time.Second); r.files(t).used.Load() > before+3*3*8*perFile; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("refused uploads keep %d bytes", r.files(t).used.Load()-before)
		}
	}
	if err := r.push("other", image(t, 100<<10)); err != nil {
		t.Errorf("what fits: %v", err)
	}
	if _, err := r.pull("small"); err != nil {
		t.Errorf("what was there: %v", err)
	}
	r.stop()
	measured, err := cost(dir)
	if counted := r.files(t).used.Load(); err != nil || counted < measured {
		t.Errorf("counted %d bytes, there are %d, %v", counted, measured, err)
	}
	if measured > 1<<20 {
		t.Errorf("%d bytes are more than the limit", measured)
	}
}

func TestManySmallFilesCount(t *testing.T) {
	r := serve(t, Options{Dir: t.TempDir(), Limit: 300 << 10})
	img := image(t, 10)
	var err error
	for i := 0; i < 300 && err == nil; i++ {
		err = r.push(fmt.Sprintf("app:v%d", i), img)
	}
	if status(err) != http.StatusForbidden {
		t.Errorf("300 tags in 300 KiB: %v", err)
	}
}

func TestPoolWithoutRoom(t *testing.T) {
	r := serve(t, Options{Dir: t.TempDir(), Room: func(context.Context, int64) error { return errors.New("pool has no room") }})
	if err := r.push("app", image(t, 1<<20)); err != nil {
		t.Fatalf("a little: %v", err)
	}
	err := r.push("app", image(t, 10<<20))
	if status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "cannot store more: pool has no room") {
		t.Errorf("much: %v", err)
	}
}

// Who writes while another is refused is refused, too.
func TestRoomIsAskedForByAll(t *testing.T) {
	asked := 0
	var b *bounded
	b, err := newBounded(Options{Dir: t.TempDir(), Limit: 1 << 40, Room: func(ctx context.Context, _ int64) error {
		if asked++; asked == 1 {
			if b.take(ctx, roomEvery/2) == nil {
				t.Error("a second one was let through")
			}
		}
		return errors.New("no room")
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bytes int64
		taken bool
	}{{roomEvery - 1, true}, {1, false}, {roomEvery, false}} {
		if err := b.take(t.Context(), c.bytes); (err == nil) != c.taken {
			t.Errorf("%d bytes: %v", c.bytes, err)
		}
	}
	if used := b.used.Load(); used != roomEvery-1 || asked != 3 {
		t.Errorf("%d bytes are counted, room was asked for %d times", used, asked)
	}
}

// What is noted of an upload after its answer is counted, and never refused.
func TestNotesOfUploads(t *testing.T) {
	b, err := newBounded(Options{Dir: t.TempDir(), Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for path, taken := range map[string]bool{
		"/docker/registry/v2/repositories/app/_uploads/1/hashstates/sha256/7":    true,
		"/docker/registry/v2/repositories/app/_uploads/1/startedat":              false,
		"/docker/registry/v2/repositories/x/hashstates/y/_manifests/tags/1/link": false,
		"/docker/registry/v2/blobs/sha256/ab/abc/data":                           false,
	} {
		before := b.used.Load()
		if err := b.PutContent(t.Context(), path, []byte("abc")); (err == nil) != taken {
			t.Errorf("%s: %v", path, err)
		}
		if counted := b.used.Load() - before; (counted == perFile+3) != taken {
			t.Errorf("%s counts %d", path, counted)
		}
	}
}

func TestEndsWithRequestsUnderWay(t *testing.T) {
	r := serve(t, Options{Dir: t.TempDir()})
	client := &http.Client{Transport: r.transport}
	began, err := client.Post("https://"+Name+"/v2/app/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	began.Body.Close()
	body, feed := io.Pipe()
	defer feed.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPatch, began.Header.Get("Location"), body)
	failed := make(chan error, 1)
	go func() {
		answer, err := client.Do(req)
		if err == nil {
			answer.Body.Close()
		}
		failed <- err
	}()
	if _, err := feed.Write(make([]byte, 1<<16)); err != nil {
		t.Fatal(err)
	}
	r.stop() // returns, although the upload goes on for ever
	feed.Close()
	if err := <-failed; err == nil {
		t.Error("an upload that was cut off succeeded")
	}
	if used := r.files(t).used.Load(); used >= 1<<16 {
		t.Errorf("an upload that was cut off keeps %d bytes", used)
	}
	if err := os.RemoveAll(r.opts.Dir); err != nil {
		t.Error(err)
	}
}

func TestHostileRequests(t *testing.T) {
	outside := t.TempDir()
	r := serve(t, Options{Dir: filepath.Join(outside, "registry")})
	client := &http.Client{Transport: r.transport}
	for _, path := range []string{
		"/v2/../../../etc/passwd", "/v2/..%2f..%2fetc/manifests/x", "/v2/a/manifests/..%2f..%2fx", "/v2/a/tags/list?n=-1",
		"/v2/_catalog?n=100000000", "/v2/a/blobs/sha256:zz", "/debug/vars", "/metrics", "/",
	} {
		answer, err := client.Get("https://" + Name + path)
		if err != nil {
			continue // refused before it was read
		}
		answer.Body.Close()
		if answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("GET %s: %s", path, answer.Status)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside its folder: %v, %v", entries, err)
	}
	huge, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+Name+"/v2/", nil)
	huge.Header.Set("X-Huge", strings.Repeat("x", 2*maxHeader))
	answer, err := client.Do(huge)
	if err == nil {
		answer.Body.Close()
		if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("huge headers: %s", answer.Status)
		}
	}
}
