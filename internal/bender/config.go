package bender

import (
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
	for _, u := range m.Users {
		c.Users = append(c.Users, wire.User{
			Name: u.Name, Welcome: u.Welcome,
			AuthorizedKeys: append([]string{s.UserPublicKey}, s.AuthorizedKeys...),
		})
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
