package ca

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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

func TestServedNamesAndAddresses(t *testing.T) {
	c := newClock()
	a := open(t, filepath.Join(t.TempDir(), "ca.pem"), c)
	config := a.Serve("localhost", "*.localhost", "127.0.0.1", "::1")
	for _, name := range []string{"localhost", "abc.localhost", "0123abcd.localhost", "127.0.0.1", "::1"} {
		if err := verify(t, a, config, name, c.t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "ABC.localhost"})
	if err != nil || !slices.Contains(got.Leaf.DNSNames, "abc.localhost") {
		t.Errorf("a name of its own: %v, %v", got.Leaf.DNSNames, err)
	}
	for _, name := range []string{"a.b.localhost", "example.org", ".localhost", "a_b.localhost", strings.Repeat("a", 64) + ".localhost"} {
		got, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || slices.Contains(got.Leaf.DNSNames, name) {
			t.Errorf("%q stands in the certificate: %v", name, err)
		}
	}
	for i := range 3 * maxIssued {
		if _, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: fmt.Sprintf("x%d.localhost", i%(maxIssued+10))}); err != nil {
			t.Fatal(err)
		}
		if i == maxIssued+20 {
			break
		}
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	got, err = config.GetCertificate(&tls.ClientHelloInfo{Conn: at{ours}})
	if err != nil || got.Leaf.VerifyHostname("192.0.2.7") != nil {
		t.Errorf("the address the client came to: %v, %v", got.Leaf.IPAddresses, err)
	}
}

// at is a connection that came to 192.0.2.7.
type at struct{ net.Conn }

func (at) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1} }

func TestLeavesAreRenewed(t *testing.T) {
	c := newClock()
	a := open(t, filepath.Join(t.TempDir(), "ca.pem"), c)
	config := a.Serve("localhost")
	first, _ := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"})
	c.t = c.t.Add(lifeOfLeaf - renewLeaf - time.Hour)
	if again, _ := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"}); again != first {
		t.Error("renewed too early")
	}
	c.t = c.t.Add(2 * time.Hour)
	if again, _ := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"}); again == first {
		t.Error("not renewed before its end")
	}
}
