package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"sandlot/internal/host/layout"
	"sandlot/internal/oidc"
	"sandlot/internal/server"
)

// signIn is how people sign in to this labd.
type signIn struct {
	singleUser bool
	oidc       oidc.Config
	secretFile string
	// proxies are addresses and networks.
	proxies []string
}

func (s *signIn) flags(f *pflag.FlagSet) {
	f.BoolVar(&s.singleUser, "single-user", false, "no logins: whoever is on this host is the administrator; needs a loopback address")
	f.StringSliceVar(&s.proxies, "trusted-proxy", nil, "address or network of a proxy in front of labd, whose X-Forwarded-For is believed (repeatable)")
	f.StringVar(&s.oidc.Issuer, "oidc-issuer", os.Getenv("LABD_OIDC_ISSUER"), "OpenID Connect provider that signs people in, like https://id.example.org (LABD_OIDC_ISSUER)")
	f.StringVar(&s.oidc.ClientID, "oidc-client-id", os.Getenv("LABD_OIDC_CLIENT_ID"), "labd's client id there; its redirect is <labd>/auth/provider/callback (LABD_OIDC_CLIENT_ID)")
	f.StringVar(&s.secretFile, "oidc-client-secret-file", os.Getenv("LABD_OIDC_CLIENT_SECRET_FILE"), "file with labd's client secret there (LABD_OIDC_CLIENT_SECRET_FILE)")
	f.StringVar(&s.oidc.Name, "oidc-name", os.Getenv("LABD_OIDC_NAME"), "what people call the provider; default: its host (LABD_OIDC_NAME)")
	f.StringSliceVar(&s.oidc.Allow, "oidc-allow", nil, "who may sign in there: verified addresses or @domains; default: everybody it knows")
}

// check refuses single-user mode where others could reach it.
func (s *signIn) check(listen, public string) error {
	for _, v := range s.proxies {
		if _, err := proxyNetwork(v); err != nil {
			return fmt.Errorf("cannot use --trusted-proxy %q: write an address or a network, like 127.0.0.1 or 10.0.0.0/8", v)
		}
	}
	if s.oidc.Issuer == "" && (s.oidc.ClientID != "" || s.secretFile != "" || len(s.oidc.Allow) > 0) {
		return fmt.Errorf("cannot use --oidc-client-id, --oidc-client-secret-file or --oidc-allow without --oidc-issuer: write which provider")
	}
	if !s.singleUser {
		return nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil || !isLoopback(host) {
		return fmt.Errorf("cannot use --single-user with --listen %s: whoever reaches it would be the administrator; listen on 127.0.0.1, or leave --single-user out", listen)
	}
	if u, err := url.Parse(public); public != "" && (err != nil || !isLoopback(u.Hostname())) {
		return fmt.Errorf("cannot use --single-user with --public-url %s: whoever reaches it would be the administrator; leave one of them out", public)
	}
	return nil
}

// trustedProxies are what --trusted-proxy says, once its values are checked.
func (s *signIn) trustedProxies() []netip.Prefix {
	var list []netip.Prefix
	for _, v := range s.proxies {
		if p, err := proxyNetwork(v); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// proxyNetwork reads an address or a network.
func proxyNetwork(v string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(v); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(v)
	return p.Masked(), err
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// provider is nil if none is configured.
func (s *signIn) provider() (server.Provider, error) {
	if s.oidc.Issuer == "" {
		return nil, nil
	}
	if s.secretFile != "" {
		secret, err := os.ReadFile(s.secretFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read --oidc-client-secret-file: %w", err)
		}
		s.oidc.ClientSecret = strings.TrimSpace(string(secret))
	}
	return oidc.New(s.oidc)
}

// rootOf is where people reach a labd that listens at addr; with a public URL
// they reach it there. Where it listens everywhere, the host's name leads to it.
func rootOf(public string, addr net.Addr, hostname string) string {
	if public != "" {
		return strings.TrimRight(public, "/")
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err == nil && hostname != "" && net.ParseIP(host).IsUnspecified() {
		return "http://" + net.JoinHostPort(hostname, port)
	}
	return "http://" + addr.String()
}

// keepAddress tells commands beside labd where it answers.
func keepAddress(l layout.Layout, root string) error {
	err := writeFile(l.Address(), func(out io.Writer) error {
		_, err := fmt.Fprintln(out, root)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot keep labd's address: %w", err)
	}
	return nil
}

// address is where people reach the labd of this data directory: where it
// answered last.
func address(l layout.Layout) string {
	kept, err := os.ReadFile(l.Address())
	if root := strings.TrimSpace(string(kept)); err == nil && isRoot(root) {
		return root
	}
	return "http://" + envOr("LABD_LISTEN", DefaultListen)
}

// tellFirst prints the link of the first administrator while nobody can sign
// in.
func (d *daemon) tellFirst(ctx context.Context, root string) {
	if d.singleUser {
		d.log.Info("single-user mode: everybody on this host is the administrator")
		return
	}
	token, err := d.accounts.First(ctx)
	if err != nil {
		d.log.Error("cannot make the link of the first administrator", "error", err)
	}
	if token == "" {
		return
	}
	d.log.Info("nobody has a password yet: make the first administrator at this address, good once within a day", "open", joinURL(root, token))
}
