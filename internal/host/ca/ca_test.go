package ca

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock is a host's clock that tests turn.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{t: time.Now()} }

func open(t *testing.T, file string, c *clock) *Authority {
	t.Helper()
	a, err := Open(file, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// verify is what a machine that trusts the authority does.
func verify(t *testing.T, trusted *Authority, config *tls.Config, name string, at time.Time) error {
	t.Helper()
	got, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(trusted.Certificate())) {
		t.Fatal("the certificate is no PEM")
	}
	_, err = got.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: at})
	return err
}

func TestAuthorityIsMadeOnceAndKeptSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	c := newClock()
	a := open(t, file, c)
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if b := open(t, file, c); b.Certificate() != a.Certificate() {
		t.Error("the second Open made another authority")
	}
	if strings.Contains(a.Certificate(), "PRIVATE") {
		t.Error("the certificate holds the key")
	}
	if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
		t.Errorf("files were left: %v", entries)
	}
}

func TestAuthorityEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	c := newClock()
	a := open(t, file, c)
	c.t = c.t.Add(lifeOfAuthority - renewAuthority - time.Hour)
	if open(t, file, c).Certificate() != a.Certificate() {
		t.Error("made anew too early")
	}
	c.t = c.t.Add(2 * time.Hour)
	if open(t, file, c).Certificate() == a.Certificate() {
		t.Error("not made anew a year before its end")
	}
}

func TestDamagedAuthorityIsNotReplacedSilently(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	for _, body := range []string{"", "no PEM", strings.Repeat("x", 1<<16)} {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file, time.Now); err == nil || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%.10q: %v", body, err)
		}
	}
}

func TestServe(t *testing.T) {
	c := newClock()
	a, other := open(t, filepath.Join(t.TempDir(), "a"), c), open(t, filepath.Join(t.TempDir(), "b"), c)
	config := a.Serve("registry.example.com", "r.example.org")
	for _, name := range []string{"registry.example.com", "r.example.org"} {
		if err := verify(t, a, config, name, c.t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if verify(t, a, config, "example.com", c.t) == nil {
		t.Error("serves a name it was not asked for")
	}
	if verify(t, other, config, "r.example.org", c.t) == nil {
		t.Error("another authority's leaf is trusted")
	}
	if err := verify(t, a, config, "r.example.org", c.t.Add(-time.Hour)); err != nil {
		t.Errorf("a clock behind by an hour: %v", err)
	}
	// Long after the first leaf's end it still serves.
	first, _ := config.GetCertificate(nil)
	if again, _ := config.GetCertificate(nil); again != first {
		t.Error("a new leaf for every connection")
	}
	c.t = c.t.Add(lifeOfLeaf + time.Hour)
	if err := verify(t, a, config, "r.example.org", c.t); err != nil {
		t.Errorf("after its end: %v", err)
	}
}
