package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/miekg/dns"

	"sandlot/internal/host/layout"
	"sandlot/internal/host/registry"
	"sandlot/internal/labtest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
)

func TestRegistryName(t *testing.T) {
	for name, good := range map[string]bool{
		"registry.example.com": true, "r.l": true, "registry-1.lab.test": true,
		"registry": false, "Registry.example.com": false, "registry.example.com.": false, ".example.com": false,
		"a..b": false, "a b.c": false, "*.example.com": false, "a/b.c": false, "-a.b": false, "a-.b": false,
		strings.Repeat("a", 64) + ".b": false, strings.Repeat("a.", 200) + "b": false, "registry.example.com:5000": false,
	} {
		if err := checkRegistryName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// gateways is a plan of nothing but two networks, one of them private.
func gateways(id play.ID, index int) *plan.Plan {
	first := netip.AddrFrom4([4]byte{198, 19, 255, byte(2 * index)})
	return &plan.Plan{
		Play:   id,
		Uplink: plan.Uplink{Index: index, Host: netip.PrefixFrom(first, 31), Play: netip.PrefixFrom(first.Next(), 31)},
		Networks: []plan.Network{
			{Name: "open", Bridge: "br0", MAC: "02:00:00:00:01:01", Subnet: netip.MustParsePrefix("172.16.0.0/24"), Gateway: netip.MustParseAddr("172.16.0.1")},
			{Name: "inside", Bridge: "br1", MAC: "02:00:00:00:02:01", Subnet: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.254"), Private: true},
		},
	}
}

// lab is the networks of one labd, as long as it lives.
func lab(t *testing.T, l layout.Layout) *networks {
	t.Helper()
	n := newNetworks(l, slog.New(slog.DiscardHandler))
	registry.LogTo(n.log)
	var err error
	n.registries, err = newRegistries(settings{layout: l, registryName: "registry.lab.test", registrySize: 1 << 30}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// asMachine does what a machine on a network does: ask the gateway for the
// name, and connect over TLS that only the authority's certificate makes good.
func asMachine(t *testing.T, n *networks, id play.ID, gateway netip.Addr) *http.Transport {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(n.registries.authority.Certificate()))
	ns := n.layout.NetNS(string(id))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			conn, err := n.manager.DialIn(ctx, ns, "udp", netip.AddrPortFrom(gateway, 53))
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			reply, _, err := (&dns.Client{Timeout: 20 * time.Second}).ExchangeWithConn(new(dns.Msg).SetQuestion(host+".", dns.TypeA), &dns.Conn{Conn: conn})
			if err != nil {
				return nil, err
			}
			if len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != gateway.String() {
				t.Errorf("%s at %s: %v", host, gateway, reply.Answer)
			}
			return n.manager.DialIn(ctx, ns, "tcp", netip.AddrPortFrom(gateway, 443))
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestRegistryInItsNetworks(t *testing.T) {
	labtest.Require(t, labtest.Root)
	l := layout.Layout{Root: t.TempDir()}
	labtest.CheckLeaks(t, l.Table(), l.UplinkPrefix())
	one, two := gateways("0123456789abcdef01234567", 120), gateways("fedcba987654321001234567", 121)
	for _, p := range []*plan.Plan{one, two} {
		if err := os.MkdirAll(l.PlayVolumes(string(p.Play)), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	first := lab(t, l)
	t.Cleanup(func() {
		for _, p := range []*plan.Plan{one, two} {
			if err := first.Delete(context.WithoutCancel(ctx), p.Play); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(first.close)
	for _, p := range []*plan.Plan{one, two, one} { // twice is once
		if err := first.Ensure(ctx, p, ""); err != nil {
			t.Fatal(err)
		}
	}
	img, err := random.Image(1<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	reference := func(host string) name.Reference {
		ref, err := name.ParseReference(host + "/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	open, inside := one.Networks[0].Gateway, one.Networks[1].Gateway
	if err := remote.Write(reference("registry.iximiuz.com"), img, remote.WithTransport(asMachine(t, first, one.Play, open))); err != nil {
		t.Fatal(err)
	}
	pull := func(n *networks, p *plan.Plan, gateway netip.Addr) error {
		_, err := remote.Get(reference("registry.lab.test"), remote.WithTransport(asMachine(t, n, p.Play, gateway)))
		return err
	}
	if err := pull(first, one, inside); err != nil {
		t.Errorf("from the private network: %v", err)
	}
	if err := pull(first, two, open); err == nil || !strings.Contains(err.Error(), "MANIFEST_UNKNOWN") {
		t.Errorf("the other play: %v", err)
	}
	// Nothing answers at the play's end of the uplink.
	if conn, err := (&net.Dialer{Timeout: 400 * time.Millisecond}).Dial("tcp", netip.AddrPortFrom(one.Uplink.Play.Addr(), 443).String()); err == nil {
		conn.Close()
		t.Error("the host reaches the play's registry")
	}

	// The next labd brings it back, with credentials this time.
	first.close()
	second := lab(t, l)
	t.Cleanup(second.close)
	if err := second.Ensure(ctx, one, "bob:secret"); err != nil {
		t.Fatal(err)
	}
	if second.registries.authority.Certificate() != first.registries.authority.Certificate() {
		t.Error("the next labd has another authority: machines do not trust it")
	}
	if err := pull(second, one, open); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("without credentials: %v", err)
	}
	if err := second.Delete(ctx, one.Play); err != nil {
		t.Fatal(err)
	}
	if err := second.Ensure(ctx, one, ""); err != nil {
		t.Fatal(err)
	}
	if err := pull(second, one, open); err != nil {
		t.Errorf("after a stop: %v", err)
	}
}
