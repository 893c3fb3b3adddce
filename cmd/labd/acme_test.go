package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"testing"
	"time"

	pebbleca "github.com/letsencrypt/pebble/v2/ca"
	pebbledb "github.com/letsencrypt/pebble/v2/db"
	pebbleva "github.com/letsencrypt/pebble/v2/va"
	pebblewfe "github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"sandlot/internal/host/ca"
	"sandlot/internal/host/layout"
	"sandlot/internal/server"
)

// everythingHere is a name server for which every name is this host.
func everythingHere(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

// authority is a real ACME authority that looks for its proofs on these ports
// of this host.
func authority(t *testing.T, httpPort, tlsPort int) (directory string, client *http.Client, roots *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "20")
	quiet, db := log.New(io.Discard, "", 0), pebbledb.NewMemoryStore()
	issuer := pebbleca.New(quiet, db, "", "ecdsa", 0, 1, map[string]pebbleca.Profile{"default": {Description: "the only one"}})
	prover := pebbleva.New(quiet, httpPort, tlsPort, true, everythingHere(t), db)
	front := pebblewfe.New(quiet, db, prover, issuer, []string{"ca.example.org"}, true, false, 1, 1)
	h := httptest.NewTLSServer(front.Handler())
	t.Cleanup(h.Close)
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(issuer.GetRootCert(0).PEM()) {
		t.Fatal("no root")
	}
	return h.URL + pebblewfe.DirectoryPath, h.Client(), roots
}

// A certificate comes from a real authority by either proof, on the one port of
// everything else, and is kept.
func TestACMECertificates(t *testing.T) {
	const name, nowhere = "labs.example.org", 1
	for proof, onlyTLS := range map[string]bool{"over TLS": true, "over HTTP": false} {
		t.Run(proof, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port := listener.Addr().(*net.TCPAddr).Port
			// On port 80 a request's Host would have no port.
			plain := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: listener.Addr().String()})
				r.Out.Host = name
			}})
			t.Cleanup(plain.Close)
			httpPort, tlsPort := plain.Listener.Addr().(*net.TCPAddr).Port, nowhere
			if onlyTLS {
				httpPort, tlsPort = nowhere, port
			}
			directory, client, roots := authority(t, httpPort, tlsPort)
			l := layout.Layout{Root: t.TempDir()}
			own, err := ca.Open(l.CA(), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			c := certificates{acmeDomains: []string{name}, acmeDirectory: directory, acmeHTTP: client, acmeEmail: "admin@example.org"}
			config, challenges, err := c.tlsConfig(l, own, []string{"localhost"}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			s := server.New(server.Options{Log: slog.New(slog.DiscardHandler)})
			s.Challenges(challenges)
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx, time.Second, server.Sniff(listener, config)) }()
			t.Cleanup(func() { cancel(); <-served })

			c.fetch(ctx, config)
			dial := func(name string, roots *x509.CertPool) error {
				d := &tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots}, NetDialer: &net.Dialer{Timeout: time.Minute}}
				conn, err := d.DialContext(t.Context(), "tcp", listener.Addr().String())
				if err == nil {
					conn.Close()
				}
				return err
			}
			if err := dial(name, roots); err != nil {
				t.Fatal(err)
			}
			ours := x509.NewCertPool()
			ours.AppendCertsFromPEM([]byte(own.Certificate()))
			if err := dial("localhost", ours); err != nil {
				t.Errorf("labd's own name: %v", err)
			}
			// After a restart it is still there, without the authority.
			if files, err := os.ReadDir(l.ACME()); err != nil || len(files) == 0 {
				t.Errorf("kept: %v, %v", files, err)
			}
			c.acmeDirectory = "http://127.0.0.1:1/directory"
			again, _, err := c.tlsConfig(l, own, []string{"localhost"}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			kept, err := again.GetCertificate(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
			if err != nil || kept.Leaf.VerifyHostname(name) != nil {
				t.Errorf("kept: %v", err)
			}
		})
	}
}
