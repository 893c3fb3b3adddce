package bender

import (
	"slices"
	"strings"

	"sandlot/guest/wire"
	"sandlot/internal/host/layout"
	"sandlot/internal/plan"
	"sandlot/internal/vm"
)

// machineConfig is what machine i is told at boot.
func machineConfig(p *plan.Plan, s *Secrets, i int) wire.Config {
	m := p.Machines[i]
	c := wire.Config{
		Hostname: m.Name, MachineID: m.MachineID,
		Nameserver: m.Nameserver.String(),
		SSHHostKey: s.HostKeys[i], SSHUserKey: s.UserKey,
		NoSSH: m.NoSSH, Seed: s.Seed, InitConditions: p.Conditions,
	}
	for _, d := range m.Drives {
		mount := wire.Mount{Device: d.Device, Path: d.Mount, Filesystem: d.Filesystem, ReadOnly: d.ReadOnly}
		switch d.Mount {
		case "":
			c.Unmounted = true
			if d.Source != "" && !d.ReadOnly {
				c.Grow = append(c.Grow, d.Device)
			}
		case "/":
			c.Root = mount
		default:
			c.Mounts = append(c.Mounts, mount)
		}
	}
	for _, n := range m.Interfaces {
		gateway := ""
		if n.Gateway.IsValid() {
			gateway = n.Gateway.String()
		}
		c.Interfaces = append(c.Interfaces, wire.Interface{
			Name: n.Name, MAC: n.MAC, Address: n.Address.String(), Gateway: gateway,
		})
	}
	if len(m.Interfaces) > 0 {
		c.Hosts = []wire.Host{{Address: m.Interfaces[0].Address.Addr().String(), Names: []string{m.Name}}}
	}
	keys := append([]string{s.UserPublicKey}, s.AuthorizedKeys...)
	if m.NoSSH {
		// Nobody gets in by a key, and nobody out of there to the others.
		c.SSHUserKey, keys = "", nil
	}
	for _, u := range m.Users {
		c.Users = append(c.Users, wire.User{Name: u.Name, Welcome: u.Welcome, AuthorizedKeys: keys})
	}
	for j, peer := range p.Machines {
		names := []string{peer.Name}
		for _, n := range peer.Interfaces {
			names = append(names, peer.Name+"."+n.Network, n.Address.Addr().String())
		}
		c.KnownHosts = append(c.KnownHosts, strings.Join(names, ",")+" "+s.HostPublicKeys[j])
	}
	for _, f := range m.StartupFiles {
		c.StartupFiles = append(c.StartupFiles, wire.StartupFile(f))
	}
	return c
}

// filesystems are those a machine mounts before its image's own modules can
// be loaded, beside ext4; sorted. A read-only root is the lower layer of an
// overlay.
func filesystems(m plan.Machine) []string {
	var kinds []string
	for _, d := range m.Drives {
		switch {
		case d.Mount == "/" && d.ReadOnly:
			kinds = append(kinds, "overlay")
		case d.Mount != "" && (d.Filesystem == "xfs" || d.Filesystem == "btrfs"):
			kinds = append(kinds, d.Filesystem)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// machineSpec is what the driver is asked to run for machine i.
func machineSpec(l layout.Layout, p *plan.Plan, i int, k vm.Kernel) vm.Spec {
	m := p.Machines[i]
	id := string(p.Play)
	spec := vm.Spec{
		Name: l.MachineName(id, i),
		Dir:  l.Machine(id, i),
		UID:  m.UID, GID: m.UID,
		NetNS:  "/run/netns/" + l.NetNS(id),
		Cgroup: l.Cgroup(),
		CPUs:   m.CPUs, MemoryMiB: m.MemoryMiB,
		Kernel: k, Initramfs: l.Initramfs(id, i), Cmdline: m.Cmdline,
	}
	for j, d := range m.Drives {
		spec.Drives = append(spec.Drives, vm.Drive{Path: l.Volume(id, i, j), ReadOnly: d.ReadOnly})
	}
	for _, n := range m.Interfaces {
		spec.NICs = append(spec.NICs, vm.NIC{Tap: n.Tap, MAC: n.MAC})
	}
	return spec
}
