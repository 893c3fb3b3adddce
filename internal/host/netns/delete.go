package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Delete removes a play's namespace with everything in it, and its link on
// the host. What is gone already is fine. The namespace's name goes last, so
// that after a crash List still reports the play.
func (m *Manager) Delete(ctx context.Context, ns, hostLink string) error {
	if err := m.checkNames(ns, hostLink); err != nil {
		return fmt.Errorf("cannot remove network: %w", err)
	}
	done, err := m.take(ctx, ns)
	if err != nil {
		return err
	}
	defer done()
	if mounted, err := isNamespace(m.Path(ns)); err != nil {
		return fmt.Errorf("cannot remove network %q: %w", ns, err)
	} else if mounted {
		// A namespace lives on while any process or any copy of the mount
		// does; its links must not.
		if err := m.Do(ns, func() error { return removeLinks(ctx) }); err != nil {
			return fmt.Errorf("cannot remove network %q: %w", ns, err)
		}
	}
	// Still there if its other end was not in the namespace.
	err = m.onHost(func() error {
		link, err := find(hostLink)
		if err != nil || link == nil {
			return err
		}
		if alias := link.Attrs().Alias; alias != "" && alias != ns {
			return nil // a namesake of another play
		}
		return remove(link)
	})
	if err != nil {
		return fmt.Errorf("cannot remove network %q: %w", ns, err)
	}
	return m.removeNamespace(ns)
}

// condemned is the group of links that removeLinks deletes; lo is in group 0.
const condemned = 0x51

// removeLinks empties the namespace of the calling thread, and takes the host's
// end of the uplink with it. The kernel waits for its readers once for each
// deletion, some 25 ms; a group goes at once, whatever its size.
func removeLinks(ctx context.Context) error {
	links, err := listLinks(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, link := range links {
		switch link.Type() {
		case "bridge", "tuntap", "veth":
			if err := netlink.LinkSetGroup(link, condemned); err == nil {
				found = true
			} else if !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("cannot condemn link %q: %w", link.Attrs().Name, err)
			}
		}
	}
	if !found {
		return nil
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(condemned)))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot delete links: %w", err)
	}
	return nil
}

// Found is what exists of this instance's networks, whoever made it.
type Found struct {
	Namespaces []string
	HostLinks  []HostLink
}

// HostLink is the host's end of an uplink. Namespace is empty if a crash came
// before it was recorded.
type HostLink struct{ Name, Namespace string }

// List reports all namespaces and host links of this instance, half-made ones
// too, for a reconciler to compare with the plays there should be. Both lists
// are sorted.
func (m *Manager) List(ctx context.Context) (Found, error) {
	var found Found
	entries, err := os.ReadDir(m.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found, fmt.Errorf("cannot list namespaces: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), m.NSPrefix) {
			found.Namespaces = append(found.Namespaces, e.Name())
		}
	}
	err = m.onHost(func() error {
		links, err := listLinks(ctx)
		for _, link := range links {
			a := link.Attrs()
			if link.Type() == "veth" && strings.HasPrefix(a.Name, m.UplinkPrefix) {
				found.HostLinks = append(found.HostLinks, HostLink{Name: a.Name, Namespace: a.Alias})
			}
		}
		return err
	})
	if err != nil {
		return found, fmt.Errorf("cannot list links: %w", err)
	}
	slices.SortFunc(found.HostLinks, func(a, b HostLink) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// listLinks asks again while links change under the kernel's answer.
func listLinks(ctx context.Context) ([]netlink.Link, error) {
	for {
		links, err := netlink.LinkList()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return links, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// addresses lists a link's IPv4 addresses, or all links' for nil; it asks
// again as listLinks does.
func addresses(ctx context.Context, link netlink.Link) ([]netlink.Addr, error) {
	for {
		addrs, err := netlink.AddrList(link, unix.AF_INET)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return addrs, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// DeleteLink removes a host link that List reported and no play claims.
func (m *Manager) DeleteLink(_ context.Context, name string) error {
	if !linkName.MatchString(name) || !strings.HasPrefix(name, m.UplinkPrefix) {
		return fmt.Errorf("cannot remove link %q: want a name that begins with %q", name, m.UplinkPrefix)
	}
	return m.onHost(func() error { return removeNamed(name) })
}

// UsedUplinks lists the addresses in UplinkPool that the host's links have,
// whichever instance made them, so that a new play gets others.
func (m *Manager) UsedUplinks(ctx context.Context) ([]netip.Prefix, error) {
	var used []netip.Prefix
	err := m.onHost(func() error {
		addrs, err := addresses(ctx, nil)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			ip, ok := netip.AddrFromSlice(a.IP.To4())
			ones, _ := a.Mask.Size()
			if ok && UplinkPool.Contains(ip) {
				used = append(used, netip.PrefixFrom(ip, ones))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list uplink addresses: %w", err)
	}
	return used, nil
}
