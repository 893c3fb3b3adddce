package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"sandlot/internal/host/ca"
	"sandlot/internal/host/layout"
	"sandlot/internal/host/netns"
	"sandlot/internal/host/registry"
	"sandlot/internal/plan"
)

// registryService is offered to machines at every gateway, besides DNS.
var registryService = netns.Service{Proto: "tcp", Port: 443}

// defaultRegistrySize bounds what the machines of one play store in its
// registry.
const defaultRegistrySize = 10 << 30

// registries serves each play's registry at its gateways.
type registries struct {
	layout    layout.Layout
	authority *ca.Authority
	// names are what machines find their registry by.
	names []string
	// size bounds each play's registry, in bytes.
	size int64
	// room is the pool's CheckRoom.
	room func(ctx context.Context, need int64) error
}

func newRegistries(s settings, room func(ctx context.Context, need int64) error) (*registries, error) {
	r := &registries{layout: s.layout, names: []string{registry.Name}, size: s.registrySize, room: room}
	if s.registryName != "" && s.registryName != registry.Name {
		r.names = append([]string{s.registryName}, r.names...)
	}
	var err error
	r.authority, err = ca.Open(s.layout.CA(), time.Now)
	return r, err
}

// checkRegistryName takes names that DNS and certificates can carry and that
// no machine can have.
func checkRegistryName(name string) error {
	labels, ok := dns.IsDomainName(name)
	if !ok || labels < 2 || strings.HasSuffix(name, ".") || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-')
	}) || slices.ContainsFunc(strings.Split(name, "."), func(label string) bool {
		return label == "" || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-")
	}) {
		return fmt.Errorf("cannot use --registry-name %q: write a name of lower-case letters, digits and hyphens with a dot in it, like registry.example.com", name)
	}
	return nil
}

// open prepares the play's registry; the result serves it on listeners until
// its context ends.
func (r *registries) open(p *plan.Plan, credentials string) (*registry.Server, error) {
	return registry.New(registry.Options{
		Dir: r.layout.Registry(string(p.Play)), TLS: r.authority.Serve(r.names...),
		Credentials: credentials, Limit: r.size, Room: r.room,
	})
}

// listenTCP opens one port at each gateway of the play; after an error none is
// open.
func (n *networks) listenTCP(p *plan.Plan, port uint16) (listeners []net.Listener, err error) {
	for _, network := range p.Networks {
		l, err := n.manager.ListenTCP(n.layout.NetNS(string(p.Play)), netip.AddrPortFrom(network.Gateway, port))
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}
