package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Ensure makes the play's network be as the Spec says, whatever is there
// already: nothing, all of it, or what a crash left. Taps that a running VMM
// holds are left alone if they are right. On an error Delete removes what was
// made.
func (m *Manager) Ensure(ctx context.Context, s Spec) error {
	if err := m.check(s); err != nil {
		return fmt.Errorf("cannot make network: %w", err)
	}
	done, err := m.take(ctx, s.NS)
	if err != nil {
		return err
	}
	defer done()
	work := map[string]func() error{
		"namespace": func() error { return m.ensureNamespace(s.NS) },
		"sysctls":   func() error { return m.Do(s.NS, func() error { return setSysctls(playSysctls) }) },
		// Before the first link, so that no packet ever passes unjudged.
		"rules": func() error {
			return m.Do(s.NS, func() error { return apply(PlayRules(s.Bridges, m.Services)) })
		},
		"bridges": func() error {
			return m.Do(s.NS, func() error { return ensureBridges(ctx, s.Bridges) })
		},
		"taps": func() error {
			return m.Do(s.NS, func() error { return ensureTaps(s.Taps) })
		},
		"uplink": func() error { return m.ensureUplink(ctx, s) },
		"routes": func() error { return m.Do(s.NS, func() error { return ensureRoute(s.Uplink) }) },
	}
	for _, stage := range Stages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m.Fault != nil {
			if err := m.Fault(stage); err != nil {
				return err
			}
		}
		if err := work[stage](); err != nil {
			return fmt.Errorf("cannot make network %q: %s: %w", s.NS, stage, err)
		}
	}
	return nil
}

type sysctl struct{ path, value string }

// A namespace starts with the host's settings or the kernel's, as
// net.core.devconf_inherit_init_net has it; so what matters is written down.
var playSysctls = []sysctl{
	// First: it resets others.
	{"net/ipv4/ip_forward", "1"},
	// Routers and floating addresses send what a reverse path check drops.
	{"net/ipv4/conf/all/rp_filter", "0"},
	{"net/ipv4/conf/default/rp_filter", "0"},
	// A gateway answers for its own network's address only, not for those of
	// the play's other bridges.
	{"net/ipv4/conf/all/arp_ignore", "1"},
	{"net/ipv4/conf/all/arp_announce", "2"},
	{"net/ipv4/conf/all/proxy_arp", "0"},
	{"net/ipv4/conf/default/proxy_arp", "0"},
	{"net/ipv4/conf/all/send_redirects", "0"},
	{"net/ipv4/conf/default/send_redirects", "0"},
	{"net/ipv4/conf/all/accept_redirects", "0"},
	{"net/ipv4/conf/default/accept_redirects", "0"},
	{"net/ipv4/conf/all/route_localnet", "0"},
	{"net/ipv4/conf/default/route_localnet", "0"},
	// Machines may speak IPv6 to each other; the gateway does not take part.
	{"net/ipv6/conf/all/disable_ipv6", "1"},
	{"net/ipv6/conf/default/disable_ipv6", "1"},
	// The rules judge routed packets, not frames within a network.
	{"net/bridge/bridge-nf-call-iptables", "0"},
	{"net/bridge/bridge-nf-call-ip6tables", "0"},
	{"net/bridge/bridge-nf-call-arptables", "0"},
}

// setSysctls writes those the kernel has: one without IPv6 or br_netfilter
// needs no telling to keep them quiet.
func setSysctls(list []sysctl) error {
	for _, s := range list {
		path := "/proc/sys/" + s.path
		if now, err := os.ReadFile(path); err == nil && string(bytes.TrimSpace(now)) == s.value {
			continue
		}
		err := os.WriteFile(path, []byte(s.value), 0)
		if errors.Is(err, fs.ErrNotExist) && s.path != "net/ipv4/ip_forward" {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply replaces a table in the namespace of the calling thread.
func apply(rules Ruleset) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	if err := rules.replace(conn); err != nil {
		return fmt.Errorf("cannot load rules %q: %w", rules.Table, err)
	}
	return nil
}

// find returns nil if there is no such link.
func find(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look up link %q: %w", name, err)
	}
	return link, nil
}

// remove deletes a link; one that is gone already is fine.
func remove(link netlink.Link) error {
	err := netlink.LinkDel(link)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot delete link %q: %w", link.Attrs().Name, err)
	}
	return nil
}

// ensureAddress leaves the link with this IPv4 address and no other.
func ensureAddress(ctx context.Context, link netlink.Link, want netip.Prefix) error {
	have, err := addresses(ctx, link)
	if err != nil {
		return err
	}
	found := false
	for _, a := range have {
		if a.IPNet.String() == want.String() {
			found = true
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return err
		}
	}
	if found {
		return nil
	}
	ip := &net.IPNet{IP: want.Addr().AsSlice(), Mask: net.CIDRMask(want.Bits(), 32)}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: ip})
}

func ensureBridges(ctx context.Context, bridges []Bridge) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("cannot set lo up: %w", err)
	}
	for _, b := range bridges {
		if err := ensureBridge(ctx, b); err != nil {
			return fmt.Errorf("bridge %q: %w", b.Name, err)
		}
	}
	return nil
}

func ensureBridge(ctx context.Context, b Bridge) error {
	mac, err := net.ParseMAC(b.MAC)
	if err != nil {
		return err
	}
	link, err := find(b.Name)
	if err != nil {
		return err
	}
	if link != nil && (link.Type() != "bridge" || !bytes.Equal(link.Attrs().HardwareAddr, mac)) {
		if err := remove(link); err != nil {
			return err
		}
		link = nil
	}
	if link == nil {
		off := false
		// All of 01:80:c2:00:00:0X but STP, pause and LACP, which the kernel
		// keeps: LLDP and 802.1X pass between machines as over a cable.
		forward := uint16(0xfff8)
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = b.Name, mac
		// With snooping on and no querier, a bridge may stop delivering
		// multicast (VRRP, OSPF) to ports it has heard no report from.
		br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off, GroupFwdMask: &forward}
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		if link, err = find(b.Name); err != nil || link == nil {
			return fmt.Errorf("made, then gone: %v", err)
		}
	}
	if err := plainForwarding(link.Attrs().Index); err != nil {
		return err
	}
	if err := ensureAddress(ctx, link, b.Address); err != nil {
		return fmt.Errorf("address %s: %w", b.Address, err)
	}
	return netlink.LinkSetUp(link)
}

// maxMACs bounds what a bridge learns: a machine can invent a MAC for each of
// its frames, and what is remembered of it is the host's memory. Frames to the
// others are flooded, so nothing stops working.
const maxMACs = 4096

// plainForwarding turns spanning tree and its delay off: a port passes frames
// the moment it is up. The netlink library has no fields for these. Kernels
// before 6.8 have no bound, and ignore it.
func plainForwarding(index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(unix.IFLA_BR_FDB_MAX_LEARNED, nl.Uint32Attr(maxMACs))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func ensureTaps(taps []Tap) error {
	for _, t := range taps {
		if err := ensureTap(t); err != nil {
			return fmt.Errorf("tap %q: %w", t.Name, err)
		}
	}
	return nil
}

func ensureTap(t Tap) error {
	bridge, err := netlink.LinkByName(t.Bridge)
	if err != nil {
		return err
	}
	link, err := find(t.Name)
	if err != nil {
		return err
	}
	if link != nil {
		tun, ok := link.(*netlink.Tuntap)
		if !ok || tun.Mode != netlink.TUNTAP_MODE_TAP || tun.NonPersist || tun.Owner != t.UID {
			if err := remove(link); err != nil {
				return err
			}
			link = nil
		}
	}
	if link == nil {
		if err := createTap(t.Name, t.UID); err != nil {
			return err
		}
		if link, err = find(t.Name); err != nil || link == nil {
			return fmt.Errorf("made, then gone: %v", err)
		}
	}
	if link.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := netlink.LinkSetMaster(link, bridge); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// createTap makes a persistent tap that only uid may attach to, in the
// namespace of the calling thread. It carries virtio-net headers, as QEMU and
// Firecracker attach to it.
func createTap(name string, uid uint32) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	// Owner before persistence: a tap that outlives a crash has its owner.
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, int(uid)); err != nil {
		return fmt.Errorf("TUNSETOWNER: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("TUNSETPERSIST: %w", err)
	}
	return nil
}

// ensureUplink joins the namespace to the host. The host's end carries the
// namespace's name as its alias, which tells the reconciler whose it is.
func (m *Manager) ensureUplink(ctx context.Context, s Spec) error {
	ns, err := os.Open(m.Path(s.NS))
	if err != nil {
		return err
	}
	defer ns.Close()
	u := s.Uplink
	// The play's end as it is now.
	peerOf, peerIndex := 0, 0
	err = within(ns, func() error {
		link, err := find(UplinkName)
		if err != nil || link == nil {
			return err
		}
		if link.Type() == "veth" {
			peerOf, peerIndex = link.Attrs().ParentIndex, link.Attrs().Index
			return nil
		}
		return remove(link)
	})
	if err != nil {
		return err
	}
	err = m.onHost(func() error {
		link, err := find(u.HostLink)
		if err != nil {
			return err
		}
		if link != nil {
			if alias := link.Attrs().Alias; alias != "" && alias != s.NS {
				return fmt.Errorf("link %q belongs to %q", u.HostLink, alias)
			}
			whole := link.Type() == "veth" && link.Attrs().Index == peerOf && link.Attrs().ParentIndex == peerIndex
			if !whole {
				if err := remove(link); err != nil {
					return err
				}
				link = nil
			}
		}
		if link == nil {
			if peerIndex != 0 {
				// Its other end has another name or is somebody else's.
				if err := within(ns, func() error { return removeNamed(UplinkName) }); err != nil {
					return err
				}
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name = u.HostLink
			veth := &netlink.Veth{LinkAttrs: attrs, PeerName: UplinkName, PeerNamespace: netlink.NsFd(ns.Fd())}
			if err := netlink.LinkAdd(veth); err != nil {
				return err
			}
			if link, err = find(u.HostLink); err != nil || link == nil {
				return fmt.Errorf("made, then gone: %v", err)
			}
		}
		if err := netlink.LinkSetAlias(link, s.NS); err != nil {
			return err
		}
		if err := setSysctls([]sysctl{{"net/ipv6/conf/" + u.HostLink + "/disable_ipv6", "1"}}); err != nil {
			return err
		}
		if err := ensureAddress(ctx, link, u.Host); err != nil {
			return fmt.Errorf("address %s: %w", u.Host, err)
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		return err
	}
	return within(ns, func() error {
		link, err := netlink.LinkByName(UplinkName)
		if err != nil {
			return err
		}
		if err := ensureAddress(ctx, link, u.Play); err != nil {
			return fmt.Errorf("address %s: %w", u.Play, err)
		}
		return netlink.LinkSetUp(link)
	})
}

func removeNamed(name string) error {
	link, err := find(name)
	if err != nil || link == nil {
		return err
	}
	return remove(link)
}

func ensureRoute(u Uplink) error {
	link, err := netlink.LinkByName(UplinkName)
	if err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)},
		Gw:        u.Host.Addr().AsSlice(),
	})
}
