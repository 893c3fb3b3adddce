package bender

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sandlot/internal/plan"
)

func TestMachineConfig(t *testing.T) {
	p := &plan.Plan{Machines: []plan.Machine{
		{
			Name: "box", Nameserver: netip.MustParseAddr("10.0.0.1"),
			Users: []plan.User{{Name: "ann", Welcome: "hi"}, {Name: "root"}},
			Drives: []plan.Drive{
				{Device: "/dev/vda", Source: "debian-12", Filesystem: "ext4", Mount: "/", ReadOnly: true},
				{Device: "/dev/vdb", Filesystem: "xfs", Mount: "/data"},
				{Device: "/dev/vdc", Filesystem: "xfs", Mount: "/more"},
				{Device: "/dev/vdd", Filesystem: "btrfs"}, // the image's own modules mount it
				{Device: "/dev/vde", Source: "debian-12", Filesystem: "ext4"},
				{Device: "/dev/vdf", Source: "debian-12", Filesystem: "ext4", ReadOnly: true},
				{Device: "/dev/vdg"},
			},
		},
		{Name: "quiet", NoSSH: true, Nameserver: netip.MustParseAddr("10.0.0.1"), Users: []plan.User{{Name: "root"}}},
	}}
	s := &Secrets{HostKeys: []string{"H1", "H2"}, HostPublicKeys: []string{"P1", "P2"}, UserKey: "KEY", UserPublicKey: "PUB", AuthorizedKeys: []string{"ADMIN"}}

	c := machineConfig(p, s, 0)
	if c.Root.Device != "/dev/vda" || !c.Root.ReadOnly || len(c.Mounts) != 2 || !c.Unmounted || !slices.Equal(c.Grow, []string{"/dev/vde"}) {
		t.Errorf("drives are %+v, %+v, %+v", c.Root, c.Mounts, c.Grow)
	}
	if got, want := filesystems(p.Machines[0]), []string{"overlay", "xfs"}; !slices.Equal(got, want) {
		t.Errorf("filesystems are %v, want %v", got, want)
	}
	for _, u := range c.Users {
		if !slices.Equal(u.AuthorizedKeys, []string{"PUB", "ADMIN"}) {
			t.Errorf("%s is entered by %v", u.Name, u.AuthorizedKeys)
		}
	}
	if c.SSHUserKey != "KEY" || !strings.Contains(strings.Join(c.KnownHosts, "\n"), "quiet P2") {
		t.Errorf("the machine cannot reach others: %q, %q", c.SSHUserKey, c.KnownHosts)
	}

	c = machineConfig(p, s, 1)
	if c.Unmounted {
		t.Error("a machine without drives has one that is not mounted")
	}
	if !c.NoSSH || c.SSHUserKey != "" || len(c.Users[0].AuthorizedKeys) != 0 {
		t.Errorf("a machine without SSH has keys: %+v", c)
	}
	if got := filesystems(p.Machines[1]); len(got) != 0 {
		t.Errorf("it carries %v", got)
	}
}
