package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"sandlot/internal/host/ca"
	"sandlot/internal/host/layout"
)

// certificates are where labd's own certificate comes from, beside its own
// authority.
type certificates struct {
	// cert and key are PEM files; both or none.
	cert, key string
	// acmeDomains are the names to get certificates for from acmeDirectory.
	acmeDomains              []string
	acmeEmail, acmeDirectory string
	// acmeHTTP reaches acmeDirectory; nil trusts what this host trusts.
	acmeHTTP *http.Client
}

func (c certificates) check() error {
	if (c.cert == "") != (c.key == "") {
		return errors.New("cannot use --tls-cert or --tls-key alone: give both files")
	}
	for _, d := range c.acmeDomains {
		if net.ParseIP(d) != nil || !strings.Contains(d, ".") || strings.ContainsAny(d, "*:/ ") || d != strings.ToLower(d) {
			return fmt.Errorf("cannot use --acme-domain %q: write a public DNS name in lower case, like labs.example.org", d)
		}
	}
	return nil
}

// checkDomain takes a DNS name with or without a port. Pages of machines below
// it must know their way back to the API, so it needs --public-url.
func checkDomain(domain, public string) error {
	if domain == "" {
		return nil
	}
	host := domain
	if h, port, err := net.SplitHostPort(domain); err == nil {
		host = h
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			host = ""
		}
	}
	if net.ParseIP(host) != nil || host == "" || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" ||
		strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return fmt.Errorf("cannot use --domain %q: write a DNS name, like ports.example.org, whose every subdomain leads here", domain)
	}
	if public == "" {
		return errors.New("cannot use --domain without --public-url: pages below the domain must know where to sign in")
	}
	return nil
}

// tlsNames are what labd's own certificate is for.
func tlsNames(public, domain, listen, hostname string) []string {
	names := []string{"localhost", "*.localhost", "127.0.0.1", "::1"}
	add := func(name string) {
		if name = strings.ToLower(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if u, err := url.Parse(public); err == nil {
		add(u.Hostname())
	}
	if host, _, err := net.SplitHostPort(listen); err == nil {
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			add(host)
		}
	}
	add(hostname)
	if host, _, err := net.SplitHostPort(domain); err == nil {
		domain = host
	}
	if domain != "" {
		add(domain)
		add("*." + domain)
	}
	return names
}

// tlsConfig picks for each client the configured certificate that fits the
// name it asks for: files, then ACME, then the own authority's. The second
// result, if not nil, answers ACME's challenges over plain HTTP.
func (c certificates) tlsConfig(l layout.Layout, authority *ca.Authority, names []string, log *slog.Logger) (*tls.Config, func(http.Handler) http.Handler, error) {
	own := authority.Serve(names...)
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	var files *pairFiles
	if c.cert != "" {
		files = &pairFiles{cert: c.cert, key: c.key, log: log}
		if _, err := files.get(); err != nil {
			return nil, nil, err
		}
	}
	var challenges func(http.Handler) http.Handler
	var manager *autocert.Manager
	var told seldom
	if len(c.acmeDomains) > 0 {
		manager = &autocert.Manager{
			Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(l.ACME()), Email: c.acmeEmail,
			HostPolicy: autocert.HostWhitelist(c.acmeDomains...),
		}
		if c.acmeDirectory != "" {
			manager.Client = &acme.Client{DirectoryURL: c.acmeDirectory, HTTPClient: c.acmeHTTP}
		}
		config.NextProtos = append(config.NextProtos, acme.ALPNProto)
		challenges = manager.HTTPHandler
	}
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if files != nil {
			pair, err := files.get()
			if err == nil && pair.Leaf.VerifyHostname(hello.ServerName) == nil {
				return pair, nil
			}
		}
		if manager != nil && slices.Contains(c.acmeDomains, strings.ToLower(hello.ServerName)) {
			pair, err := manager.GetCertificate(hello)
			if err != nil {
				told.Do(log, "cannot get a certificate by ACME", "name", hello.ServerName, "error", err)
			}
			return pair, err
		}
		return own.GetCertificate(hello)
	}
	return config, challenges, nil
}

// fetch gets the certificates of ACME before anybody asks for them: whoever
// came first would wait longer than a handshake may take.
func (c certificates) fetch(ctx context.Context, config *tls.Config) {
	for _, name := range c.acmeDomains {
		if ctx.Err() != nil {
			return
		}
		// As a client of today says hello; what fails is logged there.
		_, _ = config.GetCertificate(&tls.ClientHelloInfo{
			ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		})
	}
}

// seldom logs what anybody can cause at most once a minute.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

func (s *seldom) Do(log *slog.Logger, message string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.last) > time.Minute {
		s.last = now
		log.Error(message, args...)
	}
}

// pairFiles is a certificate and its key in files that somebody renews. While
// the files cannot be read, the pair they had goes on.
type pairFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]stamp
}

// stamp tells a file from what it was.
type stamp struct {
	size    int64
	changed time.Time
}

func (p *pairFiles) get() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var now [2]stamp
	for i, name := range []string{p.cert, p.key} {
		if info, err := os.Stat(name); err == nil {
			now[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	if p.current != nil && now == p.seen {
		return p.current, nil
	}
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		err = fmt.Errorf("cannot use certificate %q with key %q: %w", p.cert, p.key, err)
		if p.current == nil {
			return nil, err
		}
		p.log.Error("cannot renew the certificate; the old one goes on", "error", err)
	} else {
		p.current = &pair
	}
	p.seen = now // a broken pair is told once
	return p.current, nil
}

func caCommand(l *layout.Layout) *cobra.Command {
	return &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate of labd's own authority, and how to trust it",
		Long: `Print the certificate of labd's own authority on standard output, and how to
trust it on standard error. Whoever trusts it reaches this labd by https: and
wss: without warnings. Its key never leaves the data directory.`,
		Example: `  sudo labd ca > sandlot-ca.crt
  SSL_CERT_FILE=$PWD/sandlot-ca.crt labctl ssh PLAY   # one program, on Linux`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pem, err := ca.Read(l.CA())
			switch {
			case errors.Is(err, os.ErrPermission):
				return fmt.Errorf("%w; run it with sudo", err)
			case errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("%w; labd up makes it at its first start", err)
			case err != nil:
				return err
			}
			if _, err := fmt.Fprint(cmd.OutOrStdout(), pem); err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.ErrOrStderr(), howToTrust)
			return err
		},
	}
}

const howToTrust = `
To trust it, save it as sandlot-ca.crt (labd ca > sandlot-ca.crt), then on
  Debian, Ubuntu:  sudo cp sandlot-ca.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates
  Fedora, RHEL:    sudo cp sandlot-ca.crt /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
  macOS:           sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain sandlot-ca.crt
  one program on Linux:  SSL_CERT_FILE=$PWD/sandlot-ca.crt labctl …
Firefox has a store of its own: Settings, Certificates, Authorities, Import.
`
