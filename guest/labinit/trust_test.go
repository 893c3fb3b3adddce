package labinit

import (
	"os"
	"strings"
	"testing"

	"sandlot/guest/wire"
)

const (
	theirCA = "-----BEGIN CERTIFICATE-----\ntheirs\n-----END CERTIFICATE-----\n"
	ourCA   = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"
	newCA   = "-----BEGIN CERTIFICATE-----\nnew\n-----END CERTIFICATE-----\n"
)

// The stores as the images of distributions have them: what programs read, and
// where the distribution's own tool looks when it writes that anew.
func TestTrust(t *testing.T) {
	for distribution, c := range map[string]struct {
		files          map[string]string
		anchor, bundle string
		also           []string // other names of the bundle
	}{
		"Debian and Ubuntu": {
			files:  map[string]string{"usr/local/share/ca-certificates/": "", "etc/ssl/certs/ca-certificates.crt": theirCA, "usr/lib/ssl/cert.pem": "→/etc/ssl/certs/ca-certificates.crt"},
			anchor: "/usr/local/share/ca-certificates/sandlot.crt", bundle: "/etc/ssl/certs/ca-certificates.crt",
			also: []string{"/usr/lib/ssl/cert.pem"},
		},
		"Alpine": {
			files:  map[string]string{"etc/ssl/certs/ca-certificates.crt": theirCA, "etc/ssl/cert.pem": "→certs/ca-certificates.crt"},
			anchor: "/usr/local/share/ca-certificates/sandlot.crt", bundle: "/etc/ssl/certs/ca-certificates.crt",
			also: []string{"/etc/ssl/cert.pem"},
		},
		"Fedora and Rocky": {
			files: map[string]string{
				"etc/pki/ca-trust/source/anchors/":                       "",
				"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem":       theirCA,
				"etc/pki/tls/certs/ca-bundle.crt":                        "→/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
				"etc/pki/tls/cert.pem":                                   "→/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
				"etc/ssl/certs":                                          "→../pki/tls/certs",
				"etc/pki/tls/certs/ca-bundle.trust.crt":                  "→/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt",
				"etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt": "another format\n",
			},
			anchor: "/etc/pki/ca-trust/source/anchors/sandlot.crt", bundle: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
			also: []string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/cert.pem"},
		},
		"Arch": {
			files: map[string]string{
				"etc/ca-certificates/trust-source/anchors/":       "",
				"etc/ca-certificates/extracted/tls-ca-bundle.pem": theirCA,
				"etc/ssl/certs/ca-certificates.crt":               "→../../ca-certificates/extracted/tls-ca-bundle.pem",
			},
			anchor: "/etc/ca-certificates/trust-source/anchors/sandlot.crt", bundle: "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
			also: []string{"/etc/ssl/certs/ca-certificates.crt"},
		},
		"no package of certificates": {
			files:  map[string]string{},
			anchor: "/usr/local/share/ca-certificates/sandlot.crt", bundle: "/etc/ssl/certs/ca-certificates.crt",
		},
	} {
		t.Run(distribution, func(t *testing.T) {
			root := image(t, c.files)
			theirs := ""
			if root.exists(c.bundle) {
				theirs = theirCA
				// Fedora's own tool leaves it like this.
				if err := os.Chmod(root.base+c.bundle, 0o444); err != nil {
					t.Fatal(err)
				}
			}
			boot := func(certificates ...string) {
				t.Helper()
				id := &identity{tree: root, config: wire.Config{CACertificates: certificates}}
				if err := id.trust(); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 { // reboots add nothing
				boot(ourCA)
				for _, name := range append(c.also, c.bundle) {
					if got := through(t, root, name); got != theirs+ourCA {
						t.Errorf("%s is %q", name, got)
					}
				}
				if got := content(t, root, c.anchor); got != ourCA {
					t.Errorf("%s is %q", c.anchor, got)
				}
			}
			if theirs != "" {
				if info, err := os.Lstat(root.base + c.bundle); err != nil || info.Mode() != 0o444 {
					t.Errorf("the bundle's mode is %v, %v; it was 0444", info.Mode(), err)
				}
			}
			if name := "/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt"; root.exists(name) && content(t, root, name) != "another format\n" {
				t.Errorf("%s was changed", name)
			}
			// The distribution's tool writes the bundle anew, from the anchors.
			rebuilt := theirs + content(t, root, c.anchor)
			if err := root.write(c.bundle, []byte(rebuilt), rootFile); err != nil {
				t.Fatal(err)
			}
			boot(ourCA)
			if got := content(t, root, c.bundle); got != rebuilt {
				t.Errorf("after the tool ran, a boot makes %q", got)
			}
			// Another labd's authority, on the same drive.
			boot(newCA)
			if got := content(t, root, c.bundle); !strings.Contains(got, newCA) || !strings.Contains(got, theirs) {
				t.Errorf("a new authority is not trusted: %q", got)
			}
			if got := content(t, root, c.anchor); got != newCA {
				t.Errorf("the anchor of a new authority is %q", got)
			}
		})
	}
}

// through reads a file of the image by any of its names.
func through(t *testing.T, root tree, name string) string {
	t.Helper()
	body, err := root.read(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestNoCertificates(t *testing.T) {
	root := image(t, map[string]string{"etc/ssl/certs/ca-certificates.crt": theirCA})
	if err := (&identity{tree: root}).trust(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, root, "/etc/ssl/certs/ca-certificates.crt"); got != theirCA || root.exists("/usr/local/share/ca-certificates") {
		t.Errorf("without certificates the store changed: %q", got)
	}
}

// A bundle that does not end in a newline must not swallow the first line of
// what is added.
func TestTrustAfterTornBundle(t *testing.T) {
	root := image(t, map[string]string{"etc/ssl/certs/ca-certificates.crt": strings.TrimSpace(theirCA)})
	id := &identity{tree: root, config: wire.Config{CACertificates: []string{strings.TrimSpace(ourCA)}}}
	if err := id.trust(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, root, "/etc/ssl/certs/ca-certificates.crt"); got != theirCA+ourCA {
		t.Errorf("the bundle is %q", got)
	}
}
