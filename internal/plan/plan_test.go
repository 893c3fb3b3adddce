package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/labtest"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
)

// lab builds a flexbox manifest: networks as "name subnet [gateway]", machines
// as "name: network[=address] …".
func lab(networks []string, machines []string) *manifest.Manifest {
	m := &manifest.Manifest{Name: "lab"}
	for _, line := range networks {
		f := append(strings.Fields(line), "")
		m.Playground.Networks = append(m.Playground.Networks, manifest.Network{Name: strings.TrimPrefix(f[0], "private:"), Subnet: f[1], Gateway: f[2], Private: strings.HasPrefix(f[0], "private:")})
	}
	for _, line := range machines {
		name, nics, _ := strings.Cut(line, ":")
		machine := manifest.Machine{Name: name, Users: []manifest.User{{Name: "root"}}, Drives: []manifest.Drive{{Source: "debian-12", Mount: "/"}}}
		for _, nic := range strings.Fields(nics) {
			network, address, _ := strings.Cut(nic, "=")
			machine.Network.Interfaces = append(machine.Network.Interfaces, manifest.Interface{Network: network, Address: address})
		}
		m.Playground.Machines = append(m.Playground.Machines, machine)
	}
	return m
}

func make1(t testing.TB, m *manifest.Manifest, f plan.Facts) *plan.Plan {
	t.Helper()
	p, problems := plan.Make(id, m, f)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		name               string
		networks, machines []string
		want               string
	}{
		{"automatic after the gateway", []string{"a 10.0.0.0/24"}, []string{"x: a", "y: a"}, "gw 10.0.0.1; x eth0 10.0.0.2/24 via 10.0.0.1; y eth0 10.0.0.3/24 via 10.0.0.1"},
		{"static ones first", []string{"a 10.0.0.0/24"}, []string{"x: a", "y: a=10.0.0.1", "z: a=10.0.0.3/24"}, "gw 10.0.0.2; x eth0 10.0.0.4/24 via 10.0.0.2; y eth0 10.0.0.1/24 via 10.0.0.2; z eth0 10.0.0.3/24 via 10.0.0.2"},
		{"named gateway", []string{"a 10.0.0.0/24 10.0.0.254"}, []string{"x: a"}, "gw 10.0.0.254; x eth0 10.0.0.1/24 via 10.0.0.254"},
		{"full to the last address", []string{"a 10.0.0.0/30"}, []string{"x: a"}, "gw 10.0.0.1; x eth0 10.0.0.2/30 via 10.0.0.1"},
		{"point to point", []string{"a 10.0.0.0/31"}, []string{"x: a"}, "gw 10.0.0.0; x eth0 10.0.0.1/31 via 10.0.0.0"},
		{"masked", []string{"a 10.0.0.77/24"}, []string{"x: a"}, "gw 10.0.0.1; x eth0 10.0.0.2/24 via 10.0.0.1"},
		{"default route by the first public network", []string{"private:a 10.0.0.0/24", "b 10.0.1.0/24", "c 10.0.2.0/24"}, []string{"x: a c b", "y: a"},
			"gw 10.0.0.1; gw 10.0.1.1; gw 10.0.2.1; x eth0 10.0.0.2/24; x eth1 10.0.2.2/24 via 10.0.2.1; x eth2 10.0.1.2/24; y eth0 10.0.0.3/24"},
		{"two on one network", []string{"a 10.0.0.0/24"}, []string{"x: a a"}, "gw 10.0.0.1; x eth0 10.0.0.2/24 via 10.0.0.1; x eth1 10.0.0.3/24"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := make1(t, lab(test.networks, test.machines), facts())
			var got []string
			for _, n := range p.Networks {
				got = append(got, "gw "+n.Gateway.String())
			}
			for _, m := range p.Machines {
				for _, nic := range m.Interfaces {
					line := fmt.Sprintf("%s %s %s", m.Name, nic.Name, nic.Address)
					if nic.Gateway.IsValid() {
						line += " via " + nic.Gateway.String()
					}
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUplink(t *testing.T) {
	for i, want := range map[int]string{
		0: "198.18.0.0/31 198.18.0.1/31", 1: "198.18.0.2/31 198.18.0.3/31", 127: "198.18.0.254/31 198.18.0.255/31",
		128: "198.18.1.0/31 198.18.1.1/31", 32767: "198.18.255.254/31 198.18.255.255/31", 32768: "198.19.0.0/31 198.19.0.1/31", 65535: "198.19.255.254/31 198.19.255.255/31",
	} {
		f := facts()
		f.UplinkIndex = i
		p := make1(t, lab([]string{"a 10.0.0.0/24"}, []string{"x: a"}), f)
		if got := fmt.Sprint(p.Uplink.Host, " ", p.Uplink.Play); got != want || p.Uplink.Index != i {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
	}
	f := facts()
	f.UplinkIndex = 65536
	_, problems := plan.Make(id, lab([]string{"a 10.0.0.0/24"}, []string{"x: a"}), f)
	if want := "no uplink is left on this host: index 65536 of 65536; destroy plays that are not needed"; problems.String() != want {
		t.Errorf("got %s", problems)
	}
}

// What depends on the play and what must not.
func TestIdentity(t *testing.T) {
	m := lab([]string{"a 10.0.0.0/24"}, []string{"x: a", "y: a"})
	one := make1(t, m, facts())
	two, problems := plan.Make("ffffffffffffffffffffffff", m, facts())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for i := range one.Machines {
		a, b := one.Machines[i], two.Machines[i]
		if diff := cmp.Diff(a.Interfaces, b.Interfaces, cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
			t.Errorf("interfaces differ between plays:\n%s", diff)
		}
		if a.MachineID == b.MachineID || len(a.MachineID) != 32 {
			t.Errorf("machine ids %s and %s", a.MachineID, b.MachineID)
		}
	}
	if got := two.Machines[1].UID; got != 1_600_000_000+0xffffff*8+1 || got > 1<<31-1 {
		t.Errorf("uid %d", got)
	}
	if one.Machines[0].MachineID == one.Machines[1].MachineID {
		t.Error("two machines have one machine id")
	}
}

func TestUsersAndFiles(t *testing.T) {
	m := lab([]string{"a 10.0.0.0/24"}, []string{"x: a", "y: a"})
	m.Playground.Machines[0].Users = []manifest.User{{Name: "me", Welcome: "-"}, {Name: "you", Default: true}}
	m.Playground.Machines[1].Users = []manifest.User{{Name: "me"}, {Name: "root"}}
	m.Playground.Machines[0].StartupFiles = []manifest.StartupFile{{Path: "/a", Mode: "0600"}, {Path: "/b", Mode: "644", Owner: "me"}, {Path: "/c", Append: true}, {Path: "/d", Mode: "04755"}, {Path: "/e", Mode: "0"}}
	p := make1(t, m, facts())
	if diff := cmp.Diff([]plan.User{{Name: "me", Welcome: "-"}, {Name: "you"}, {Name: "root"}}, p.Machines[0].Users); diff != "" {
		t.Error(diff)
	}
	if p.Machines[0].DefaultUser != "you" || p.Machines[1].DefaultUser != "me" || len(p.Machines[1].Users) != 2 {
		t.Errorf("users %+v, %+v", p.Machines[0], p.Machines[1])
	}
	want := []plan.StartupFile{{Path: "/a", Mode: "0600"}, {Path: "/b", Mode: "0644", Owner: "me"}, {Path: "/c", Append: true}, {Path: "/d", Mode: "4755"}, {Path: "/e", Mode: "0000"}}
	if diff := cmp.Diff(want, p.Machines[0].StartupFiles); diff != "" {
		t.Error(diff)
	}
}

func TestDrives(t *testing.T) {
	m := lab([]string{"a 10.0.0.0/24"}, []string{"x: a"})
	d := []manifest.Drive{{Source: "debian-12", Mount: "/"}, {Mount: "/data", Size: "1.5GiB"}, {Filesystem: "xfs", Size: "1GiB"}, {Size: "100GiB"}, {Source: "tools", ReadOnly: true, Size: "1GiB"}}
	for len(d) < 24 {
		d = append(d, manifest.Drive{Size: "1GiB"})
	}
	m.Playground.Machines[0].Drives = d
	got := make1(t, m, facts()).Machines[0].Drives
	const gib = 1 << 30
	want := []plan.Drive{
		{Device: "/dev/vda", Source: "debian-12", Mount: "/", SizeBytes: 10 * gib, Filesystem: "ext4"},
		{Device: "/dev/vdb", Mount: "/data", SizeBytes: gib + gib/2, Filesystem: "ext4"},
		{Device: "/dev/vdc", SizeBytes: gib, Filesystem: "xfs"},
		{Device: "/dev/vdd", SizeBytes: 100 * gib},
		{Device: "/dev/vde", Source: "tools", SizeBytes: gib, Filesystem: "ext4", ReadOnly: true},
	}
	if diff := cmp.Diff(want, got[:5]); diff != "" {
		t.Error(diff)
	}
	if got[23].Device != "/dev/vdx" {
		t.Errorf("last device %s", got[23].Device)
	}
}

func TestResources(t *testing.T) {
	ask := func(cpus int, ram string) *manifest.Resources {
		return &manifest.Resources{CPUCount: cpus, RAMSize: ram}
	}
	tests := []struct {
		name  string
		ask   []*manifest.Resources
		limit plan.Facts
		want  string
		notes string
	}{
		{"automatic", []*manifest.Resources{nil, nil}, plan.Facts{}, "2/2048 2/2048", ""},
		{"as asked", []*manifest.Resources{ask(10, "16GiB"), ask(1, "")}, plan.Facts{}, "10/16384 1/2048", ""},
		{"exactly the machine's limit", []*manifest.Resources{ask(2, "4GiB")}, plan.Facts{MaxCPUs: 2, MaxMemoryMiB: 4096}, "2/4096", ""},
		{"above the machine's limit", []*manifest.Resources{ask(3, "4.5GiB")}, plan.Facts{MaxCPUs: 2, MaxMemoryMiB: 4096}, "2/4096",
			"machine \"m0\" asks for 3 CPUs and gets 2 CPUs: a machine may have 2 CPUs\nmachine \"m0\" asks for 4608MiB and gets 4GiB: a machine may have 4GiB"},
		{"exactly the play's limit", []*manifest.Resources{ask(5, "8GiB"), ask(5, "8GiB")}, plan.Facts{PlayCPUs: 10, PlayMemoryMiB: 16384}, "5/8192 5/8192", ""},
		{"above the play's limit", []*manifest.Resources{ask(6, "12GiB"), ask(2, "4GiB")}, plan.Facts{PlayCPUs: 4, PlayMemoryMiB: 8192}, "3/6144 1/2048",
			"machine \"m0\" asks for 6 CPUs and gets 3 CPUs: a play may have 4 CPUs\nmachine \"m1\" asks for 2 CPUs and gets 1 CPU: a play may have 4 CPUs\n" +
				"machine \"m0\" asks for 12GiB and gets 6GiB: a play may have 8GiB\nmachine \"m1\" asks for 4GiB and gets 2GiB: a play may have 8GiB"},
		{"automatic shares of what is left", []*manifest.Resources{ask(2, "2GiB"), nil, nil}, plan.Facts{PlayCPUs: 5, PlayMemoryMiB: 4096}, "2/2048 1/1024 1/1024", ""},
		{"nothing is left", []*manifest.Resources{ask(4, "4GiB"), nil}, plan.Facts{PlayCPUs: 4, PlayMemoryMiB: 4096}, "3/3968 1/128",
			"machine \"m0\" asks for 4 CPUs and gets 3 CPUs: a play may have 4 CPUs\nmachine \"m0\" asks for 4GiB and gets 3968MiB: a play may have 4GiB"},
		{"one above the play's limit", []*manifest.Resources{ask(3, "4GiB"), ask(2, "4097MiB")}, plan.Facts{PlayCPUs: 4, PlayMemoryMiB: 8192}, "2/4096 2/4096",
			"machine \"m0\" asks for 3 CPUs and gets 2 CPUs: a play may have 4 CPUs\nmachine \"m1\" asks for 4097MiB and gets 4GiB: a play may have 8GiB"},
		{"rounding leaves nothing unused", []*manifest.Resources{ask(2, "4GiB"), ask(2, "4GiB"), ask(2, "4GiB")}, plan.Facts{PlayCPUs: 5, PlayMemoryMiB: 8192}, "2/2731 2/2731 1/2730",
			"machine \"m2\" asks for 2 CPUs and gets 1 CPU: a play may have 5 CPUs\n" +
				"machine \"m0\" asks for 4GiB and gets 2731MiB: a play may have 8GiB\nmachine \"m1\" asks for 4GiB and gets 2731MiB: a play may have 8GiB\nmachine \"m2\" asks for 4GiB and gets 2730MiB: a play may have 8GiB"},
		{"both limits", []*manifest.Resources{ask(8, "16GiB"), ask(2, "2GiB"), ask(2, "2GiB")}, plan.Facts{MaxCPUs: 4, MaxMemoryMiB: 8192, PlayCPUs: 4, PlayMemoryMiB: 6144}, "2/4096 1/1024 1/1024",
			"machine \"m0\" asks for 8 CPUs and gets 2 CPUs: a play may have 4 CPUs\nmachine \"m1\" asks for 2 CPUs and gets 1 CPU: a play may have 4 CPUs\nmachine \"m2\" asks for 2 CPUs and gets 1 CPU: a play may have 4 CPUs\n" +
				"machine \"m0\" asks for 16GiB and gets 4GiB: a play may have 6GiB\nmachine \"m1\" asks for 2GiB and gets 1GiB: a play may have 6GiB\nmachine \"m2\" asks for 2GiB and gets 1GiB: a play may have 6GiB"},
		{"the small ones keep their least", []*manifest.Resources{ask(8, "16GiB"), ask(1, "128MiB"), ask(1, "128MiB")}, plan.Facts{PlayCPUs: 4, PlayMemoryMiB: 1024}, "2/768 1/128 1/128",
			"machine \"m0\" asks for 8 CPUs and gets 2 CPUs: a play may have 4 CPUs\nmachine \"m0\" asks for 16GiB and gets 768MiB: a play may have 1GiB"},
		{"too small for all", []*manifest.Resources{ask(4, "4GiB"), ask(4, "4GiB"), ask(4, "4GiB")}, plan.Facts{PlayCPUs: 2, PlayMemoryMiB: 256}, "1/128 1/128 1/128",
			"machine \"m0\" asks for 4 CPUs and gets 1 CPU: a play may have 2 CPUs\nmachine \"m1\" asks for 4 CPUs and gets 1 CPU: a play may have 2 CPUs\nmachine \"m2\" asks for 4 CPUs and gets 1 CPU: a play may have 2 CPUs\n" +
				"machine \"m0\" asks for 4GiB and gets 128MiB: a play may have 256MiB\nmachine \"m1\" asks for 4GiB and gets 128MiB: a play may have 256MiB\nmachine \"m2\" asks for 4GiB and gets 128MiB: a play may have 256MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names := make([]string, len(test.ask))
			for i := range names {
				names[i] = fmt.Sprintf("m%d: a", i)
			}
			m := lab([]string{"a 10.0.0.0/24"}, names)
			for i, r := range test.ask {
				m.Playground.Machines[i].Resources = r
			}
			f := facts()
			f.MaxCPUs, f.MaxMemoryMiB, f.PlayCPUs, f.PlayMemoryMiB = test.limit.MaxCPUs, test.limit.MaxMemoryMiB, test.limit.PlayCPUs, test.limit.PlayMemoryMiB
			p := make1(t, m, f)
			var got []string
			for _, machine := range p.Machines {
				got = append(got, fmt.Sprintf("%d/%d", machine.CPUs, machine.MemoryMiB))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.notes, strings.Join(p.Notes, "\n")); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackends(t *testing.T) {
	all := map[string]plan.BackendFacts{
		"firecracker": {MaxDrives: 4, MaxNICs: 4, Preference: 2}, "cloud-hypervisor": {MaxDrives: 24, MaxNICs: 8, Preference: 1}, "qemu": {MaxDrives: 24, MaxNICs: 8, Preference: 3},
	}
	only := map[string]plan.BackendFacts{"qemu": {MaxDrives: 2, MaxNICs: 2, Preference: 3}}
	tests := []struct {
		name   string
		ask    string
		have   map[string]plan.BackendFacts
		strict bool
		drives int
		nics   int
		want   string // "<backend>" and notes, or the problems
	}{
		{"default", "", all, false, 1, 1, "firecracker"},
		{"asked", "qemu", all, true, 1, 1, "qemu"},
		{"default without room", "", all, false, 5, 1, "cloud-hypervisor"},
		{"fallback", "firecracker", only, false, 1, 1, `qemu; machine "x" asks for backend "firecracker", which does not work on this host; it gets "qemu"`},
		{"silent fallback", "", only, true, 1, 1, "qemu"},
		{"strict", "firecracker", only, true, 1, 1, `playground.machines[0].backend: backend "firecracker" does not work on this host; it has qemu`},
		{"none", "", nil, false, 1, 1, `playground.machines[0].backend: no backend works on this host; see "labd doctor"`},
		{"at the limits", "qemu", only, false, 2, 2, "qemu"},
		{"above the limits", "qemu", only, false, 3, 3, "playground.machines[0].drives: 3 drives; backend \"qemu\" has room for 2; take some away or choose another backend\n" +
			`playground.machines[0].network.interfaces: 3 interfaces; backend "qemu" has room for 2; take some away or choose another backend`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := lab([]string{"a 10.0.0.0/24"}, []string{"x:" + strings.Repeat(" a", test.nics)})
			m.Playground.Machines[0].Backend = test.ask
			for range test.drives - 1 {
				m.Playground.Machines[0].Drives = append(m.Playground.Machines[0].Drives, manifest.Drive{Size: "1GiB"})
			}
			f := facts()
			f.Backends, f.Strict = test.have, test.strict
			p, problems := plan.Make(id, m, f)
			got := problems.String()
			if p != nil {
				got = strings.Join(append([]string{p.Machines[0].Backend}, p.Notes...), "; ")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The manifest's problems and the host's come together.
func TestEveryProblemAtOnce(t *testing.T) {
	m := lab([]string{"a 10.0.0.0/24", "b 10.0.0.0/16"}, []string{"x: a", "y: a=10.0.0.0"})
	m.Playground.Machines[1].Kernel = &manifest.Kernel{Source: "4.19"}
	m.Playground.Machines[0].Backend = "firecracker"
	f := facts()
	f.Strict = true
	p, problems := plan.Make(id, m, f)
	if p != nil {
		t.Error("a plan came out")
	}
	want := `playground.networks[1].subnet: 10.0.0.0/16 of network "b" overlaps 10.0.0.0/24 of network "a"; choose subnets that share no address
playground.machines[1].network.interfaces[0].address: 10.0.0.0 is the address of network "a" itself; write one between 10.0.0.1 and 10.0.0.254
playground.machines[0].backend: backend "firecracker" does not work on this host; it has qemu
playground.machines[1].kernel.source: kernel "4.19" is not in this host's store; it has 5.10, 6.1, 6.12, 6.18; get others with "labd kernel pull"`
	if diff := cmp.Diff(want, problems.String()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for _, bad := range []play.ID{"", "x", "0123456789abcdef0123456g"} {
		if p, problems := plan.Make(bad, m, f); p != nil || problems.Err() == nil {
			t.Errorf("id %q was taken", bad)
		}
	}
}

func TestTaskOrder(t *testing.T) {
	m := lab([]string{"a 10.0.0.0/24"}, []string{"x: a"})
	m.Playground.InitTasks = map[string]manifest.InitTask{
		"a": {Run: "a", Needs: []string{"c", "b", "c"}, Init: true}, "b": {Run: "b", Needs: []string{"d"}, TimeoutSeconds: 60},
		"c": {Run: "c", User: "me", Machine: "x"}, "d": {Run: "d"},
	}
	p := make1(t, m, facts())
	_, got, _ := strings.Cut(p.String(), "\ntasks\n")
	want := `  d  task  root@x  60 s (default)  -
  b  task  root@x  60 s            d
  c  task  me@x    60 s (default)  -
  a  init  root@x  60 s (default)  b, c
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

// What is chosen decides which tasks there are; who needs a skipped one waits
// for what that one needs.
func TestTasksByCondition(t *testing.T) {
	m := lab([]string{"a 10.0.0.0/24"}, []string{"x: a"})
	m.Playground.InitConditions = &manifest.InitConditions{Values: []manifest.InitCondition{
		{Key: "Container runtime", Options: []string{"docker", "podman"}, Default: "docker"},
		{Key: "note", Nullable: true},
	}}
	when := func(pairs ...string) (all []manifest.Condition) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, manifest.Condition{Key: pairs[i], Value: pairs[i+1]})
		}
		return all
	}
	m.Playground.InitTasks = map[string]manifest.InitTask{
		"apt":      {Run: "a"},
		"docker":   {Run: "d", Needs: []string{"apt"}, Conditions: when("Container runtime", "docker")},
		"podman":   {Run: "p", Needs: []string{"apt"}, Conditions: when("Container runtime", "podman")},
		"rootless": {Run: "r", Needs: []string{"podman"}, Conditions: when("Container runtime", "podman", "note", "")},
		"noted":    {Run: "n", Conditions: when("note", "hi \"there\"")},
		"run":      {Run: "r", Needs: []string{"docker", "rootless", "noted"}},
	}
	value := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		chosen map[string]*string
		want   string
	}{
		"defaults": {nil, `
conditions
  "Container runtime"  "docker"
  "note"               null

tasks
  apt     task  root@x  60 s (default)  -
  docker  task  root@x  60 s (default)  apt
  run     task  root@x  60 s (default)  apt, docker
`},
		"the other, and null": {map[string]*string{"Container runtime": value("podman"), "note": nil}, `
conditions
  "Container runtime"  "podman"
  "note"               null

tasks
  apt       task  root@x  60 s (default)  -
  podman    task  root@x  60 s (default)  apt
  rootless  task  root@x  60 s (default)  podman
  run       task  root@x  60 s (default)  apt, rootless
`},
		"all of several must match": {map[string]*string{"Container runtime": value("podman"), "note": value(`hi "there"`)}, `
conditions
  "Container runtime"  "podman"
  "note"               "hi \"there\""

tasks
  apt     task  root@x  60 s (default)  -
  noted   task  root@x  60 s (default)  -
  podman  task  root@x  60 s (default)  apt
  run     task  root@x  60 s (default)  apt, noted, podman
`},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			f.Conditions = c.chosen
			_, got, _ := strings.Cut(make1(t, m, f).String(), "\nconditions\n")
			if diff := cmp.Diff(c.want, "\nconditions\n"+got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// A later labd reads the plan again.
func TestPlanAsJSON(t *testing.T) {
	p := make1(t, lab([]string{"private:a 10.0.0.0/24"}, []string{"x: a"}), facts())
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	labtest.Golden(t, "plan.json", string(text)+"\n")
	var back plan.Plan
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.String(), back.String()); diff != "" {
		t.Error(diff)
	}
}

// Whatever the manifest: either problems, or a plan in which no address, MAC,
// tap, user or name repeats and every address is inside its subnet.
func TestRandomPlansAreSound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	plans := 0
	for range 3000 {
		var networks, machines []string
		for i := range 1 + random.IntN(4) {
			line := fmt.Sprintf("n%d 10.%d.0.0/%d", i, random.IntN(8), 24+random.IntN(8))
			if random.IntN(4) == 0 {
				line += fmt.Sprintf(" %s", strings.Fields(line)[1][:len("10.0.0.")]+fmt.Sprint(random.IntN(5)))
			}
			networks = append(networks, line)
		}
		for i := range 1 + random.IntN(5) {
			line := fmt.Sprintf("m%d:", i)
			for range 1 + random.IntN(3) {
				n := random.IntN(len(networks))
				line += fmt.Sprintf(" n%d", n)
				if random.IntN(3) == 0 {
					line += "=" + strings.Fields(networks[n])[1][:len("10.0.0.")] + fmt.Sprint(random.IntN(12))
				}
			}
			machines = append(machines, line)
		}
		m := lab(networks, machines)
		p, problems := plan.Make(id, m, facts())
		if p == nil {
			if problems.Err() == nil || strings.Contains(problems.String(), "no address is left") {
				t.Fatalf("%v %v: %s", networks, machines, problems)
			}
			continue
		}
		plans++
		seen := map[string]bool{}
		once := func(kind, value string) {
			if seen[kind+value] {
				t.Fatalf("%v %v: %s %s is there twice", networks, machines, kind, value)
			}
			seen[kind+value] = true
		}
		for _, n := range p.Networks {
			once("address", n.Gateway.String())
			once("mac", n.MAC)
			once("bridge", n.Bridge)
			if !n.Subnet.Contains(n.Gateway) {
				t.Fatalf("%v %v: gateway %s", networks, machines, n.Gateway)
			}
		}
		for _, machine := range p.Machines {
			once("uid", fmt.Sprint(machine.UID))
			for _, nic := range machine.Interfaces {
				once("address", nic.Address.Addr().String())
				once("mac", nic.MAC)
				once("tap", nic.Tap)
				if nic.Address.Masked() == (netip.Prefix{}) || !nic.Address.IsValid() {
					t.Fatalf("%v %v: address %s", networks, machines, nic.Address)
				}
			}
		}
	}
	if plans < 300 {
		t.Errorf("only %d plans: the test proves little", plans)
	}
}

// five is about the biggest manifest there is in practice.
func five() []byte {
	var b strings.Builder
	b.WriteString("kind: playground\nname: five\ntitle: Five machines\nplayground:\n  networks:\n    - {name: lan, subnet: 10.0.0.0/24}\n    - {name: dmz, subnet: 10.0.1.0/24, private: true}\n  machines:\n")
	for i := range 5 {
		fmt.Fprintf(&b, "    - name: m%d\n      users:\n        - name: root\n        - name: laborant\n          default: true\n      kernel: {source: \"6.1\"}\n      drives:\n        - source: oci://ghcr.io/x/y:z\n          mount: /\n          size: 20GiB\n        - mount: /data\n          size: 10GiB\n      network:\n        interfaces:\n          - network: lan\n            address: 10.0.0.%d/24\n          - network: dmz\n      resources:\n        cpuCount: 2\n        ramSize: 2GiB\n      startupFiles:\n        - path: /etc/a\n          content: |\n            some\n            lines\n        - path: /etc/b\n          mode: \"0600\"\n", i, 10+i)
	}
	b.WriteString("  initTasks:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "    t%d:\n      init: true\n      machine: m%d\n      needs: [%s]\n      run: |\n        set -e\n        echo hello\n        true\n", i, i%5, map[bool]string{true: fmt.Sprintf("t%d", i-1)}[i > 0])
	}
	b.WriteString("  tabs:\n    - machine: m0\n    - {kind: http-port, name: Web, machine: m1, number: 80}\n")
	return []byte(b.String())
}

// BenchmarkPlan is the whole way from YAML to plan; it must stay below 2 ms.
func BenchmarkPlan(b *testing.B) {
	data, flexbox, f := five(), base(b, "flexbox"), facts()
	b.ReportAllocs()
	for b.Loop() {
		m, problems := manifest.Parse("five.yaml", data)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		m, problems = manifest.Inherit(flexbox, m)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		if _, problems := plan.Make(id, m, f); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
