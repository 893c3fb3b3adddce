package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandlot/internal/host/ca"
	"sandlot/internal/host/layout"
)

func TestTLSNames(t *testing.T) {
	for _, c := range []struct {
		public, domain, listen, host string
		want                         []string
	}{
		{"", "", "127.0.0.1:8484", "box", []string{"box"}},
		{"https://Labs.example.org/x", "", ":8484", "", []string{"labs.example.org"}},
		{"https://labs.example.org", "ports.example.org:8443", "192.0.2.1:1", "box", []string{"labs.example.org", "192.0.2.1", "box", "ports.example.org", "*.ports.example.org"}},
		{"", "", "[::]:1", "", nil},
	} {
		want := append([]string{"localhost", "*.localhost", "127.0.0.1", "::1"}, c.want...)
		if got := tlsNames(c.public, c.domain, c.listen, c.host); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCertificatesCheck(t *testing.T) {
	for want, c := range map[string]certificates{
		"":                {cert: "a", key: "b", acmeDomains: []string{"labs.example.org"}},
		"give both files": {cert: "a"},
		`"*.example.org"`: {acmeDomains: []string{"*.example.org"}},
		`"192.0.2.1"`:     {acmeDomains: []string{"192.0.2.1"}},
		`"localhost"`:     {acmeDomains: []string{"localhost"}},
	} {
		err := c.check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

// writePair writes a certificate for names, as some other tool would.
func writePair(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	other, err := ca.Open(filepath.Join(t.TempDir(), "other.pem"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := other.Serve(names...).GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificateFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	l := layout.Layout{Root: dir}
	authority, err := ca.Open(l.CA(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	c := certificates{cert: filepath.Join(dir, "no"), key: filepath.Join(dir, "no")}
	if _, _, err := c.tlsConfig(l, authority, []string{"localhost"}, log); err == nil {
		t.Error("files that are not there were taken")
	}
	c.cert, c.key = writePair(t, dir, "labs.example.org")
	config, challenges, err := c.tlsConfig(l, authority, []string{"localhost", "box"}, log)
	if err != nil || challenges != nil {
		t.Fatal(err)
	}
	get := func(name string) *tls.Certificate {
		t.Helper()
		got, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := get("labs.example.org")
	if err := first.Leaf.VerifyHostname("labs.example.org"); err != nil {
		t.Error(err)
	}
	if err := get("box").Leaf.VerifyHostname("box"); err != nil {
		t.Errorf("labd's own name: %v", err)
	}
	// Half a renewal: the old pair goes on, and it is told once.
	if err := os.WriteFile(c.key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if get("labs.example.org") != first {
			t.Error("a broken pair took the place of a good one")
		}
	}
	if n := strings.Count(said.String(), "the old one goes on"); n != 1 {
		t.Errorf("told %d times: %s", n, said.String())
	}
	writePair(t, dir, "labs.example.org", "more.example.org")
	if err := get("more.example.org").Leaf.VerifyHostname("more.example.org"); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}

func TestACMEKeepsToItsNames(t *testing.T) {
	l := layout.Layout{Root: t.TempDir()}
	authority, err := ca.Open(l.CA(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody listens there: only a name of ACME's may notice.
	c := certificates{acmeDomains: []string{"labs.example.org"}, acmeDirectory: "http://127.0.0.1:1/directory"}
	config, challenges, err := c.tlsConfig(l, authority, []string{"localhost"}, slog.Default())
	if err != nil || challenges == nil || !slices.Contains(config.NextProtos, "acme-tls/1") {
		t.Fatal(err, config.NextProtos)
	}
	if _, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"}); err != nil {
		t.Error(err)
	}
	if got, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "other.example.org"}); err != nil || got.Leaf.VerifyHostname("other.example.org") == nil {
		t.Errorf("a name that is not ours: %v", err)
	}
}

func TestCACommand(t *testing.T) {
	l := layout.Layout{Root: t.TempDir()}
	var out, errOut bytes.Buffer
	run := func() error {
		cmd := caCommand(&l)
		cmd.SetArgs(nil)
		cmd.SetOut(&out)
		cmd.SetErr(&errOut)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		return cmd.Execute()
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "labd up makes it") {
		t.Errorf("before the first start: %v", err)
	}
	authority, err := ca.Open(l.CA(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil || out.String() != authority.Certificate() {
		t.Errorf("%v, %q", err, out.String())
	}
	for _, want := range []string{"update-ca-certificates", "update-ca-trust", "security add-trusted-cert"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("no %q in %q", want, errOut.String())
		}
	}
}
