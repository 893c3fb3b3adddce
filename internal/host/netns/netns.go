// Package netns makes a play's network: in goes a Spec (a namespace, its
// uplink, bridges and taps), out comes a network namespace in which VMMs find
// their taps, and which nothing but the play's own traffic enters or leaves.
//
//	machine ── tap ┐                        ┌ 198.18.x.y/31
//	machine ── tap ┴ br0 (gateway) ─ NAT ─ uplink ══ sl1a2b… ─ NAT ─ the host's own links
//	machine ── tap ─ br1 (private)
//	└──────── namespace sandlot-1a2b-… ────────┘     └──── the host ────
//
// Where isolation stands:
//   - a bridge and its machines are one Ethernet segment; nothing filters it;
//   - the namespace's rules (PlayRules) keep its networks from each other, and
//     offer machines of each network DNS and ping at their own gateway only;
//   - the host's rules (HostRules) keep plays from the host's own services,
//     from each other and from link-local metadata addresses. They match a
//     whole instance of labd by the prefix of its links, so a play needs no
//     rules of its own there.
//
// Every effect can be repeated and undone, and what a crash left half-made is
// completed or made anew. No program is run: links go through netlink, rules
// through nftables' own netlink messages, one transaction a table.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
)

// UplinkName is the play's end of its uplink, inside the namespace.
const UplinkName = "uplink"

// UplinkPool holds the addresses of all uplinks: the range for benchmarks of
// RFC 2544, which no real network uses.
var UplinkPool = netip.MustParsePrefix("198.18.0.0/15")

// linkLocal holds the metadata services of clouds, credentials included.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// Manager makes and removes the networks of one instance of labd. Its methods
// may be called at once for several plays; calls for one play take turns.
type Manager struct {
	// Table is the name of the host's nftables table, "sandlot-1a2b".
	Table string
	// UplinkPrefix begins the names of the host's ends of uplinks, "sl1a2b".
	UplinkPrefix string
	// NSPrefix begins the names of namespaces, "sandlot-1a2b-".
	NSPrefix string
	// Record is the file that remembers what EnsureHost changed on the host,
	// so that RemoveHost can put it back. The instances on a host share it;
	// empty means DefaultRecord.
	Record string
	// Dir holds the named namespaces; empty means /run/netns.
	Dir string
	// HostNS is the path of the namespace that plays the host; empty means
	// this process's own. Tests give theirs.
	HostNS string
	// Services are offered to the machines of every network at their gateway,
	// besides DNS and ping.
	Services []Service
	// Fault is called before each named stage of Ensure, and its error ends
	// it there. Tests only.
	Fault func(stage string) error

	mu    sync.Mutex
	plays map[string]*turn
}

// DefaultRecord stands in /run since what it remembers ends with the boot too.
const DefaultRecord = "/run/sandlot/host-network.json"

// Service is a port that a process in the namespace answers on.
type Service struct {
	Proto string // "tcp" or "udp"
	Port  uint16
}

// Spec is the network of one play.
type Spec struct {
	NS     string // name of the namespace, beginning with Manager.NSPrefix
	Uplink Uplink
	// Bridges hold one bridge for each network.
	Bridges []Bridge
	Taps    []Tap
}

// Uplink is the veth pair between the host and the namespace.
type Uplink struct {
	HostLink string       // name on the host, beginning with Manager.UplinkPrefix, at most 15 bytes
	Host     netip.Prefix // address of the host's end, /31 in UplinkPool
	Play     netip.Prefix // address of the play's end, the other one of the /31
}

// Bridge is one network of the play.
type Bridge struct {
	Name    string       // unique in the play, at most 15 bytes
	MAC     string       // "02:…", the same for the life of the play
	Address netip.Prefix // the gateway's address with the subnet's mask
	Private bool         // no way to the uplink
}

// Tap is the host side of one interface of a machine.
type Tap struct {
	Name   string // unique in the play, at most 15 bytes
	Bridge string
	UID    uint32 // the user who may attach to it
}

// Stages of Ensure, in order.
var Stages = []string{"namespace", "sysctls", "rules", "bridges", "taps", "uplink", "routes"}

var linkName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
var nsName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// check refuses what would reach outside the play: a name of another
// instance, a path, an address that is not an uplink's.
func (m *Manager) check(s Spec) error {
	if err := m.checkNames(s.NS, s.Uplink.HostLink); err != nil {
		return err
	}
	u := s.Uplink
	if !u.Host.IsValid() || !u.Play.IsValid() || u.Host.Bits() != 31 || u.Host.Masked() != u.Play.Masked() || u.Host == u.Play || !UplinkPool.Contains(u.Host.Addr()) {
		return fmt.Errorf("uplink addresses %s and %s: want the two addresses of one /31 in %s", u.Host, u.Play, UplinkPool)
	}
	bridges := map[string]bool{}
	taken := map[string]bool{"lo": true, UplinkName: true}
	for _, b := range s.Bridges {
		if !linkName.MatchString(b.Name) || taken[b.Name] {
			return fmt.Errorf("bridge name %q: want a unique name of at most 15 letters and digits", b.Name)
		}
		taken[b.Name], bridges[b.Name] = true, true
		if mac, err := net.ParseMAC(b.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return fmt.Errorf("MAC %q of bridge %q: want a unicast address of 6 bytes", b.MAC, b.Name)
		}
		if !b.Address.IsValid() || !b.Address.Addr().Is4() {
			return fmt.Errorf("address %s of bridge %q: want an IPv4 address with a mask", b.Address, b.Name)
		}
	}
	for _, t := range s.Taps {
		if !linkName.MatchString(t.Name) || taken[t.Name] {
			return fmt.Errorf("tap name %q: want a unique name of at most 15 letters and digits", t.Name)
		}
		taken[t.Name] = true
		if !bridges[t.Bridge] {
			return fmt.Errorf("bridge %q of tap %q: no such bridge in the play", t.Bridge, t.Name)
		}
	}
	return nil
}

func (m *Manager) checkNames(ns, hostLink string) error {
	if m.NSPrefix == "" || m.UplinkPrefix == "" || m.Table == "" {
		return errors.New("netns.Manager needs Table, UplinkPrefix and NSPrefix")
	}
	if !nsName.MatchString(ns) || !strings.HasPrefix(ns, m.NSPrefix) {
		return fmt.Errorf("namespace name %q: want one that begins with %q", ns, m.NSPrefix)
	}
	if !linkName.MatchString(hostLink) || !strings.HasPrefix(hostLink, m.UplinkPrefix) {
		return fmt.Errorf("uplink name %q: want at most 15 bytes that begin with %q", hostLink, m.UplinkPrefix)
	}
	return nil
}

// turn lets one call at a time work on a play.
type turn struct {
	ch    chan struct{}
	users int
}

// take waits for the play's turn and returns what gives it back.
func (m *Manager) take(ctx context.Context, ns string) (func(), error) {
	m.mu.Lock()
	if m.plays == nil {
		m.plays = map[string]*turn{}
	}
	t := m.plays[ns]
	if t == nil {
		t = &turn{ch: make(chan struct{}, 1)}
		m.plays[ns] = t
	}
	t.users++
	m.mu.Unlock()
	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(m.plays, ns)
		}
	}
	select {
	case t.ch <- struct{}{}:
		return func() { <-t.ch; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
