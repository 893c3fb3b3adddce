// Package ca is labd's own small certificate authority. In goes a file, made
// when it is not there yet; out come the authority's certificate, for machines
// and people to trust, and TLS configurations for names that labd serves.
//
// Leaf certificates and their keys live in memory only: whoever serves a name
// gets a new one with every start of labd, and before the old one ends.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	lifeOfAuthority = 10 * 365 * 24 * time.Hour
	// renewAuthority before its end a new labd makes a new authority. Machines
	// learn it at their next boot.
	renewAuthority = 365 * 24 * time.Hour
	// lifeOfLeaf is what every client accepts (Apple: 825 days of a private
	// authority).
	lifeOfLeaf = 90 * 24 * time.Hour
	renewLeaf  = 30 * 24 * time.Hour
	// early lets machines in whose clock is behind the host's.
	early = 24 * time.Hour
)

// Authority signs certificates. Its methods may be called concurrently.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         string
	// now is the host's clock.
	now func() time.Time
}

// Open reads the authority from a file, or makes both: certificate and key
// stand in it together, so that a crash never leaves one without the other.
func Open(file string, now func() time.Time) (*Authority, error) {
	body, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return create(file, now)
	case err != nil:
		return nil, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	a, err := parse(body, now)
	if err != nil {
		return nil, fmt.Errorf("cannot read certificate authority %q: %v; move the file away for a new one", file, err)
	}
	if a.certificate.NotAfter.Sub(now()) < renewAuthority {
		return create(file, now)
	}
	return a, nil
}

// Read returns the authority's certificate as PEM without making one; an
// fs.ErrNotExist if there is none yet.
func Read(file string) (string, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read certificate authority: %w", err)
	}
	a, err := parse(body, time.Now)
	if err != nil {
		return "", fmt.Errorf("cannot read certificate authority %q: %v; move the file away for a new one", file, err)
	}
	return a.pem, nil
}

func parse(body []byte, now func() time.Time) (*Authority, error) {
	pair, err := tls.X509KeyPair(body, body)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || pair.Leaf == nil || !pair.Leaf.IsCA {
		return nil, errors.New("its certificate is no authority's")
	}
	return &Authority{certificate: pair.Leaf, key: key, pem: encode("CERTIFICATE", pair.Leaf.Raw), now: now}, nil
}

func create(file string, now func() time.Time) (*Authority, error) {
	a, body, err := generate(now)
	if err == nil {
		err = writeSecret(file, body)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make certificate authority: %w", err)
	}
	return a, nil
}

func generate(now func() time.Time) (*Authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// Two authorities of one name in one store would hide each other.
		Subject:               pkix.Name{Organization: []string{"Sandlot"}, CommonName: "Sandlot CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:             now().Add(-early),
		NotAfter:              now().Add(lifeOfAuthority),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	body := []byte(encode("CERTIFICATE", raw) + encode("PRIVATE KEY", private))
	a, err := parse(body, now)
	return a, body, err
}

// newSerial has 127 bits, the highest set: never zero, never short.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 126, 1), nil
}

func encode(kind string, raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
}

// writeSecret writes a file that only its owner reads, whole or not at all.
func writeSecret(file string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(body)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// Certificate is the authority's certificate as PEM, for others to trust.
func (a *Authority) Certificate() string { return a.pem }

// Serve returns a TLS configuration for a server of names, with a key of its
// own. A name is a DNS name, an IP address, or "*.suffix": every name with one
// more label, each with a certificate of its own when a client asks for it,
// because many clients take no wildcard right below a top-level name. What
// else clients ask for gets the certificate of all names; to a client that
// names nothing, the address it came to is one of them.
func (a *Authority) Serve(names ...string) *tls.Config {
	l := &leaf{authority: a, issued: map[string]*tls.Certificate{}}
	for _, name := range names {
		if suffix, ok := strings.CutPrefix(name, "*"); ok {
			l.suffixes = append(l.suffixes, suffix)
		}
		l.names = append(l.names, name)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: l.get}
}

// maxIssued bounds the certificates in memory: clients choose their names.
const maxIssued = 1024

// leaf is the certificates of one server.
type leaf struct {
	authority *Authority
	names     []string
	suffixes  []string

	mu     sync.Mutex
	issued map[string]*tls.Certificate // by what stands in it besides names
}

func (l *leaf) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	extra := l.extra(hello)
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.issued[extra]; have != nil && have.Leaf.NotAfter.Sub(l.authority.now()) > renewLeaf {
		return have, nil
	}
	names := l.names
	if extra != "" {
		names = append(slices.Clone(names), extra)
	}
	issued, err := l.authority.issue(names)
	if err != nil {
		return nil, fmt.Errorf("cannot issue certificate for %q: %w", names, err)
	}
	if len(l.issued) >= maxIssued {
		clear(l.issued)
	}
	l.issued[extra] = issued
	return issued, nil
}

// extra is the name or address that this client needs besides the constant
// ones; "" if there is none.
func (l *leaf) extra(hello *tls.ClientHelloInfo) string {
	if hello == nil {
		return ""
	}
	if hello.ServerName == "" {
		if hello.Conn == nil {
			return ""
		}
		if local, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String()); err == nil {
			if ip := local.Addr().Unmap().WithZone("").String(); !slices.Contains(l.names, ip) {
				return ip
			}
		}
		return ""
	}
	name := strings.ToLower(hello.ServerName)
	for _, suffix := range l.suffixes {
		label, ok := strings.CutSuffix(name, suffix)
		if ok && len(label) <= 63 && label != "" && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
			return name
		}
	}
	return ""
}

func (a *Authority) issue(names []string) (*tls.Certificate, error) {
	if len(names) == 0 {
		return nil, errors.New("no name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-early),
		NotAfter:     now.Add(lifeOfLeaf),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: parsed}, nil
}
