package labinit

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"

	"sandlot/guest/wire"
)

// configureNetwork brings up loopback and every interface of the
// configuration, found by MAC, under its name, with its address and route.
func configureNetwork(interfaces []wire.Interface) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("cannot list network links: %v", err)
	}
	byMAC := map[string]netlink.Link{}
	taken := map[string]netlink.Link{}
	for _, l := range links {
		taken[l.Attrs().Name] = l
		if mac := l.Attrs().HardwareAddr.String(); mac != "" {
			byMAC[mac] = l
		}
	}
	var errs []error
	if lo, ok := taken["lo"]; ok {
		errs = append(errs, netlink.LinkSetUp(lo))
	}
	// First move the ones that hold another's name out of the way.
	for i, n := range interfaces {
		l, ok := byMAC[strings.ToLower(n.MAC)]
		if !ok {
			errs = append(errs, fmt.Errorf("cannot find interface %s: no link has MAC %s", n.Name, n.MAC))
			continue
		}
		if l.Attrs().Name != n.Name && taken[n.Name] != nil {
			errs = append(errs, netlink.LinkSetName(taken[n.Name], fmt.Sprintf("sandlot%d", i)))
		}
	}
	for _, n := range interfaces {
		if l, ok := byMAC[strings.ToLower(n.MAC)]; ok {
			if err := configureLink(l, n); err != nil {
				errs = append(errs, fmt.Errorf("cannot configure interface %s: %v", n.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func configureLink(l netlink.Link, n wire.Interface) error {
	if l.Attrs().Name != n.Name {
		if err := netlink.LinkSetName(l, n.Name); err != nil {
			return fmt.Errorf("rename from %s: %v", l.Attrs().Name, err)
		}
	}
	if n.Address != "" {
		addr, err := netlink.ParseAddr(n.Address)
		if err != nil {
			return err
		}
		if err := netlink.AddrReplace(l, addr); err != nil {
			return fmt.Errorf("address %s: %v", n.Address, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("link up: %v", err)
	}
	if n.Gateway == "" {
		return nil
	}
	gateway := net.ParseIP(n.Gateway)
	if gateway == nil {
		return fmt.Errorf("gateway %q is no address", n.Gateway)
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateway}); err != nil {
		return fmt.Errorf("default route via %s: %v", n.Gateway, err)
	}
	return nil
}
