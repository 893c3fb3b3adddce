package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sound is a manifest without problems in any mode. Tests replace one piece.
const sound = `kind: playground
name: demo
title: A demo playground
categories: [linux]
playground:
  networks:
    - name: local
      subnet: 172.16.0.0/24
    - name: back
      subnet: 10.0.0.0/24
      private: true
  machines:
    - name: dev
      users:
        - name: root
        - name: laborant
      drives:
        - source: debian-12
          mount: /
          size: 10GiB
      network:
        interfaces:
          - network: local
    - name: db
      users: [{name: root}]
      drives: [{source: "oci://ghcr.io/x/y:z", mount: /, size: 10GiB}]
      network: {interfaces: [{network: back}]}
  tabs:
    - machine: dev
  accessControl:
    canList: [owner]
    canRead: [owner]
    canStart: [owner]
`

func TestSoundManifestHasNoProblems(t *testing.T) {
	m, problems := Parse("lab.yaml", []byte(sound))
	if len(problems) > 0 {
		t.Errorf("parse: %s", problems)
	}
	for _, mode := range []Mode{Start, Create, Update, Effective} {
		if problems := Validate(m, mode); len(problems) > 0 {
			t.Errorf("mode %d: %s", mode, problems)
		}
	}
}

// replaced is the sound manifest with one piece replaced.
func replaced(t testing.TB, old, new string) []byte {
	t.Helper()
	if strings.Count(sound, old) == 0 {
		t.Fatalf("the sound manifest has no %q", old)
	}
	return []byte(strings.Replace(sound, old, new, 1))
}

// extra adds lines to the first machine.
func extra(lines string) (old, new string) {
	return "    - name: db\n", lines + "\n    - name: db\n"
}

// drive replaces the first machine's root drive by a list in flow style.
func drives(list string) (old, new string) {
	return "      drives:\n        - source: debian-12\n          mount: /\n          size: 10GiB\n", "      drives: " + list + "\n"
}

func pieces(old, new string) [2]string { return [2]string{old, new} }

// problemCase is one manifest and everything that is said about it.
type problemCase struct {
	name, text string
	mode       Mode
	want       string // all problems, one a line; empty means none
}

// check reads the manifest and compares every problem.
func (c problemCase) check(t *testing.T) {
	t.Helper()
	m, problems := Parse("lab.yaml", []byte(c.text))
	if m != nil && c.mode != Start {
		problems = Validate(m, c.mode)
	}
	if diff := cmp.Diff(c.want, problems.String()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func checkAll(t *testing.T, cases []problemCase) {
	for _, c := range cases {
		t.Run(c.name, c.check)
	}
}

func TestProblems(t *testing.T) { checkAll(t, fieldCases(t)) }

// fieldCases change one field of the sound manifest.
func fieldCases(t testing.TB) (cases []problemCase) {
	many := func(n int, item string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(item, i)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	const root = "{source: debian-12, mount: /, size: 1GiB}"
	tests := []struct {
		name   string
		change [2]string
		mode   Mode
		want   string // all problems, one a line; empty means none
	}{
		// Top level.
		{"no kind", pieces("kind: playground\n", ""), Start, `lab.yaml:1:1: kind: missing; write "kind: playground"`},
		{"other kind", pieces("kind: playground", "kind: course"), Start, `lab.yaml:1:7: kind: "course" is not a kind this reads; write "kind: playground"`},
		{"short title", pieces("A demo playground", "Four"), Start, `lab.yaml:3:8: title: has 4 characters; write 5 to 120`},
		{"shortest title", pieces("A demo playground", "Fives"), Start, ""},
		{"longest title", pieces("A demo playground", strings.Repeat("ü", 120)), Start, ""},
		{"long title", pieces("A demo playground", strings.Repeat("ü", 121)), Start, `lab.yaml:3:8: title: has 121 characters; write 5 to 120`},
		{"longest description", pieces("title:", "description: "+strings.Repeat("a", 500)+"\ntitle:"), Start, ""},
		{"long description", pieces("title:", "description: "+strings.Repeat("a", 501)+"\ntitle:"), Start, `lab.yaml:3:14: description: has 501 characters; write at most 500`},
		{"longest markdown", pieces("title:", "markdown: "+strings.Repeat("a", 100_000)+"\ntitle:"), Start, ""},
		{"long markdown", pieces("title:", "markdown: "+strings.Repeat("a", 100_001)+"\ntitle:"), Start, `lab.yaml:3:11: markdown: has 100001 characters; write at most 100000`},
		{"title on start", pieces("title: A demo playground\n", ""), Start, ""},
		{"title on create", pieces("title: A demo playground\n", ""), Create, `lab.yaml:1:1: title: missing; give 5 to 120 characters`},
		{"name", pieces("name: demo", "name: My Demo"), Start, `lab.yaml:2:7: name: "My Demo" is not a playground name; write "my-demo"`},
		{"longest name on create", pieces("name: demo", "name: "+strings.Repeat("a", 54)), Create, ""},
		{"long name on create", pieces("name: demo", "name: "+strings.Repeat("a", 55)), Create, `lab.yaml:2:7: name: has 55 characters; 54 are left beside the suffix that is added`},
		{"category", pieces("[linux]", "[linx]"), Start, `lab.yaml:4:14: warning: categories[0]: "linx" is not a category of the catalog; did you mean "linux"?`},
		{"no categories on update", pieces("categories: [linux]\n", ""), Update, `lab.yaml:1:1: categories: missing; write "categories: []" for none`},
		{"no categories on create", pieces("categories: [linux]\n", ""), Create, ""},
		{"registryAuth", pieces("  networks:\n", "  registryAuth: secret\n  networks:\n"), Start, `lab.yaml:6:17: playground.registryAuth: not a user and a password; write "user:password"`},
		{"good registryAuth", pieces("  networks:\n", "  registryAuth: user:pass\n  networks:\n"), Start, ""},

		// Machines and users.
		{"no machines", pieces(sound[strings.Index(sound, "  machines:"):strings.Index(sound, "  tabs:")], "  machines: []\n"), Start,
			"lab.yaml:12:13: playground.machines: no machines; give 1 to 5, or leave the field out to take the base's\n" +
				`lab.yaml:14:16: playground.tabs[0].machine: there is no machine "dev"; machines here are `},
		{"machine name", pieces("name: dev", "name: Dev_1"), Start,
			`lab.yaml:13:13: playground.machines[0].name: "Dev_1" is not a machine name; write "dev-1"` + "\n" +
				`lab.yaml:29:16: playground.tabs[0].machine: there is no machine "dev"; did you mean "Dev_1"?`},
		{"machine name twice", pieces("name: db", "name: dev"), Start, `lab.yaml:24:13: playground.machines[1].name: "dev" is also the name of playground.machines[0]; give each machine its own`},
		{"localhost", pieces("name: db", "name: localhost"), Start, `lab.yaml:24:13: playground.machines[1].name: "localhost" always means the machine itself; choose another name`},
		{"no users", pieces("      users: [{name: root}]\n", ""), Start, `lab.yaml:24:7: playground.machines[1].users: missing; list at least one, as "users: [{name: root}]"`},
		{"users of names", pieces("[{name: root}]", "[root]"), Start, `lab.yaml:25:15: playground.machines[1].users[0]: "root" where fields are expected; write "name: root"`},
		{"user twice", pieces("[{name: root}]", "[{name: root}, {name: root}]"), Start, `lab.yaml:25:36: playground.machines[1].users[1].name: "root" is also playground.machines[1].users[0]; list each user once`},
		{"two default users", pieces("[{name: root}]", "[{name: root, default: true}, {name: me, default: yes}]"), Start, `lab.yaml:25:64: playground.machines[1].users[1].default: "root" and "me" are both the default user; keep one`},
		{"user name", pieces("name: laborant", "name: 1user"), Start, `lab.yaml:16:17: playground.machines[0].users[1].name: "1user" is not a user name; use 1 to 32 letters, digits, hyphens and underscores, no digit first`},
		{"backend", pieces(extra("      backend: firecraker")), Start, `lab.yaml:24:16: playground.machines[0].backend: "firecraker" is not a backend; write "firecracker" (known are firecracker, cloud-hypervisor, qemu)`},
		{"kernel float", pieces(extra("      kernel: {source: 6.1}")), Start, ""},
		{"kernel legacy", pieces(extra("      kernel: 6.12")), Start, ""},
		{"noSSH text", pieces(extra("      noSSH: \"true\"")), Start, `lab.yaml:24:14: playground.machines[0].noSSH: "true" is not true or false; write "noSSH: true" without quotes`},

		// Drives.
		{"25 drives", pieces(drives("[" + root + ", " + strings.TrimPrefix(many(24, "{size: 1GiB, mount: /d%d}"), "["))), Start,
			`lab.yaml:17:670: playground.machines[0].drives[24]: 25 drives; a machine has at most 24`},
		{"24 drives", pieces(drives("[" + root + ", " + strings.TrimPrefix(many(23, "{size: 1GiB, mount: /d%d}"), "["))), Start, ""},
		{"least size", pieces(drives("[{source: a, mount: /, size: 1GiB}]")), Start, ""},
		{"under least size", pieces(drives("[{source: a, mount: /, size: 1023MiB}]")), Start, `lab.yaml:17:44: playground.machines[0].drives[0].size: "1023MiB" is below the least, 1GiB; write "1GiB"`},
		{"most size", pieces(drives("[{source: a, mount: /, size: 100GiB}]")), Start, ""},
		{"over most size", pieces(drives("[{source: a, mount: /, size: 100.1GiB}]")), Start, `lab.yaml:17:44: playground.machines[0].drives[0].size: "100.1GiB" is above the most, 100GiB; write "100GiB"`},
		{"most of all", pieces(drives("[{source: a, mount: /, size: 100GiB}, {size: 100GiB}, {size: 30GiB}]")), Start, ""},
		{"more than all", pieces(drives("[{source: a, mount: /, size: 100GiB}, {size: 100GiB}, {size: 31GiB}]")), Start,
			`lab.yaml:23:64: playground.machines[1].drives[0].size: the drives of all machines are 241GiB together, above the most, 240GiB; take away 1GiB`},
		{"no unit", pieces("size: 10GiB", "size: 10"), Start, `lab.yaml:20:17: playground.machines[0].drives[0].size: "10" is not a size; write the unit, as "10GiB"`},
		{"no size", pieces("size: 10GiB", "size: big"), Start, `lab.yaml:20:17: playground.machines[0].drives[0].size: "big" is not a size; write it like "10GiB"`},
		{"two roots", pieces(drives("[{source: a, mount: /}, {source: a, mount: /}]")), Start, `lab.yaml:17:58: playground.machines[0].drives[1].mount: "/" is also the mount of playground.machines[0].drives[0]; mount each drive at its own place`},
		{"no root of two", pieces(drives("[{source: a}, {size: 1GiB}]")), Start, `lab.yaml:17:15: playground.machines[0].drives: no drive is the root; write "mount: /" on the one to boot from`},
		{"relative mount", pieces(drives("[" + root + ", {mount: data}]")), Start, `lab.yaml:17:67: playground.machines[0].drives[1].mount: "data" is not a mount point; write an absolute path, like "/data"`},
		{"mount not plain", pieces(drives("[" + root + ", {mount: /data/}]")), Start, `lab.yaml:17:67: playground.machines[0].drives[1].mount: "/data/" is not a plain path; write "/data"`},
		{"mount of the system", pieces(drives("[" + root + ", {mount: /proc/x}]")), Start, `lab.yaml:17:67: playground.machines[0].drives[1].mount: "/proc/x" belongs to the system; choose another place, like "/data"`},
		{"empty root", pieces(drives("[{mount: /}]")), Start, `lab.yaml:17:16: playground.machines[0].drives[0].source: missing; the root drive needs a named image or "oci://registry/repo:tag"`},
		{"filesystem", pieces(drives("[" + root + ", {filesystem: zfs}]")), Start, `lab.yaml:17:72: playground.machines[0].drives[1].filesystem: "zfs" is not a filesystem; write "xfs" (known are ext4, ext2, ext3, xfs, btrfs)`},
		{"filesystem of an image", pieces(drives("[{source: a, mount: /, filesystem: xfs}]")), Start, `lab.yaml:17:50: warning: playground.machines[0].drives[0].filesystem: a drive with a source is always ext4; leave it out`},
		{"raw drive", pieces(drives("[" + root + ", {}]")), Start, ""},
		{"read-only format", pieces(drives("[" + root + ", {readOnly: true, filesystem: xfs}]")), Start, `lab.yaml:17:70: playground.machines[0].drives[1].readOnly: an empty drive that is read-only cannot be formatted; give the drive a source, or leave readOnly out`},
		{"snapshot", pieces(drives("[{source: snapshot, mount: /}]")), Start, `lab.yaml:17:25: playground.machines[0].drives[0].source: "snapshot" appears in dumps only; write a named image or "oci://registry/repo:tag"`},
		{"docker scheme", pieces("debian-12", "docker://ghcr.io/x/y"), Start, `lab.yaml:18:19: playground.machines[0].drives[0].source: "docker://ghcr.io/x/y" is not a source; write "oci://ghcr.io/x/y"`},
		{"tag without registry", pieces("debian-12", "ubuntu:22.04"), Start, `lab.yaml:18:19: playground.machines[0].drives[0].source: "ubuntu:22.04" is not a source; write "oci://docker.io/library/ubuntu:22.04"`},
		{"upper-case source", pieces("debian-12", "oci://ghcr.io/X/y"), Start, `lab.yaml:18:19: playground.machines[0].drives[0].source: "oci://ghcr.io/X/y" is not a source; write "oci://ghcr.io/x/y"`},
		{"source with digest", pieces("debian-12", "oci://localhost:5000/x/y:z@sha256:"+strings.Repeat("0a", 32)), Start, ""},
		{"source with bad digest", pieces("debian-12", "oci://x/y@sha256:00"), Start, `lab.yaml:18:19: playground.machines[0].drives[0].source: "oci://x/y@sha256:00" is not a source; write "oci://registry/repo[:tag][@sha256:digest]"`},
		{"drive of text", pieces(drives("[debian-12]")), Start, `lab.yaml:17:16: playground.machines[0].drives[0]: "debian-12" where fields are expected; write "source: debian-12"`},

		// Resources.
		{"resources", pieces(extra("      resources: {cpuCount: 1, ramSize: 4Gi}")), Start, ""},
		{"no CPU", pieces(extra("      resources: {cpuCount: 0}")), Start, `lab.yaml:24:29: playground.machines[0].resources.cpuCount: 0 is not a number of CPUs; write 1 or more`},
		{"half a CPU", pieces(extra("      resources: {cpuCount: 0.5}")), Start, `lab.yaml:24:29: playground.machines[0].resources.cpuCount: "0.5" is not a whole number; write it like "cpuCount: 2"`},
		{"quoted CPU", pieces(extra("      resources: {cpuCount: \"2\"}")), Start, `lab.yaml:24:29: playground.machines[0].resources.cpuCount: "2" is not a whole number; write "cpuCount: 2" without quotes`},
		{"least RAM", pieces(extra("      resources: {ramSize: 128MiB}")), Start, ""},
		{"under least RAM", pieces(extra("      resources: {ramSize: 127MiB}")), Start, `lab.yaml:24:28: playground.machines[0].resources.ramSize: "127MiB" is too little to boot with; write at least "128MiB"`},
		{"RAM without unit", pieces(extra("      resources: {ramSize: 4}")), Start, `lab.yaml:24:28: playground.machines[0].resources.ramSize: "4" is not a size; write the unit, as "4GiB"`},

		// Startup files.
		{"11 startup files", pieces(extra("      startupFiles: " + many(11, "{path: /f%d}"))), Start, `lab.yaml:24:152: playground.machines[0].startupFiles[10]: 11 startup files; a machine has at most 10; put the rest into an image`},
		{"10 startup files", pieces(extra("      startupFiles: " + many(10, "{path: /f%d}"))), Start, ""},
		{"startup file modes", pieces(extra(`      startupFiles: [{path: /a, mode: "0600", owner: ""}, {path: /b, mode: 0644, owner: "1000:1000"}, {path: /c, mode: "", owner: laborant}, {path: /d, mode: "4755", owner: "a:b"}]`)), Start, ""},
		{"mode", pieces(extra("      startupFiles: [{path: /a, mode: rw-r}]")), Start, `lab.yaml:24:39: playground.machines[0].startupFiles[0].mode: "rw-r" is not a mode; write octal digits, like "644"`},
		{"owner", pieces(extra("      startupFiles: [{path: /a, owner: a b}]")), Start, `lab.yaml:24:40: playground.machines[0].startupFiles[0].owner: "a b" is not an owner; write "user", "user:group" or numbers like "1000:1000"`},
		{"relative file", pieces(extra("      startupFiles: [{path: etc/motd}]")), Start, `lab.yaml:24:29: playground.machines[0].startupFiles[0].path: "etc/motd" is not an absolute path; write an absolute path, like "/etc/motd"`},
		{"file in home", pieces(extra("      startupFiles: [{path: ~/x}]")), Start, `lab.yaml:24:29: playground.machines[0].startupFiles[0].path: "~/x" is not an absolute path; write the home directory out, like "/home/laborant/…"`},
		{"file through ..", pieces(extra("      startupFiles: [{path: /a/../b}]")), Start, `lab.yaml:24:29: playground.machines[0].startupFiles[0].path: "/a/../b" is not the plain path of a file; write "/b"`},
		{"directory", pieces(extra("      startupFiles: [{path: /a/}]")), Start, `lab.yaml:24:29: playground.machines[0].startupFiles[0].path: "/a/" is not the plain path of a file; name a file`},

		// Networks.
		{"network name twice", pieces("name: back", "name: local"), Start,
			`lab.yaml:9:13: playground.networks[1].name: "local" is also the name of playground.networks[0]; give each network its own` + "\n" +
				`lab.yaml:27:40: playground.machines[1].network.interfaces[0].network: there is no network "back"; networks here are local, local`},
		{"subnet missing", pieces("      subnet: 10.0.0.0/24\n", ""), Start, `lab.yaml:9:7: playground.networks[1].subnet: missing; write an IPv4 subnet, like "172.16.0.0/24"`},
		{"subnet without mask", pieces("10.0.0.0/24", "10.0.0.0"), Start, `lab.yaml:10:15: playground.networks[1].subnet: "10.0.0.0" is not an IPv4 subnet; write the mask too, as "10.0.0.0/24"`},
		{"IPv6", pieces("10.0.0.0/24", "fd00::/64"), Start, `lab.yaml:10:15: playground.networks[1].subnet: "fd00::/64" is not IPv4; write an IPv4 subnet, like "172.16.0.0/24"`},
		{"host bits", pieces("10.0.0.0/24", "10.0.0.5/24"), Start, `lab.yaml:10:15: warning: playground.networks[1].subnet: "10.0.0.5/24" is an address in a subnet; the subnet is taken; write "10.0.0.0/24"`},
		{"overlap", pieces("10.0.0.0/24", "172.16.0.128/25"), Start, `lab.yaml:10:15: playground.networks[1].subnet: 172.16.0.128/25 of network "back" overlaps 172.16.0.0/24 of network "local"; choose subnets that share no address`},
		{"loopback", pieces("10.0.0.0/24", "127.0.0.0/24"), Start, `lab.yaml:10:15: playground.networks[1].subnet: 127.0.0.0/8 is the loopback of every machine; write a private range, like "172.16.0.0/24"`},
		{"uplink", pieces("10.0.0.0/24", "198.19.0.0/24"), Start, `lab.yaml:10:15: playground.networks[1].subnet: 198.18.0.0/15 carries the traffic between plays and the host; write a private range, like "172.16.0.0/24"`},
		{"everything", pieces("10.0.0.0/24", "0.0.0.0/0"), Start, `lab.yaml:10:15: playground.networks[1].subnet: "0.0.0.0/0" is too big a subnet; write /8 to /31`},
		{"two hosts", pieces("10.0.0.0/24", "10.0.0.0/31"), Start, ""},
		{"one host", pieces("10.0.0.0/24", "10.0.0.0/32"), Start, `lab.yaml:10:15: playground.networks[1].subnet: 10.0.0.0/32 of network "back" has room for 1; its gateway and 1 interface of machines need 2; widen the mask`},
		{"just room", pieces("[{network: back}]", "[{network: back}, {network: back}, {network: back}, {network: back}, {network: back}]"), Start, ""},
		{"gateway with mask", pieces("10.0.0.0/24\n", "10.0.0.0/24\n      gateway: 10.0.0.1/24\n"), Start, `lab.yaml:11:16: playground.networks[1].gateway: "10.0.0.1/24" is not a plain IPv4 address; write "10.0.0.1", without the mask`},
		{"gateway outside", pieces("10.0.0.0/24\n", "10.0.0.0/24\n      gateway: 10.0.1.1\n"), Start, `lab.yaml:11:16: playground.networks[1].gateway: 10.0.1.1 is outside 10.0.0.0/24 of network "back"; write one between 10.0.0.1 and 10.0.0.254`},
		{"gateway is network", pieces("10.0.0.0/24\n", "10.0.0.0/24\n      gateway: 10.0.0.0\n"), Start, `lab.yaml:11:16: playground.networks[1].gateway: 10.0.0.0 is the address of network "back" itself; write one between 10.0.0.1 and 10.0.0.254`},
		{"gateway is broadcast", pieces("10.0.0.0/24\n", "10.0.0.0/24\n      gateway: 10.0.0.255\n"), Start, `lab.yaml:11:16: playground.networks[1].gateway: 10.0.0.255 is the broadcast address of network "back"; write one between 10.0.0.1 and 10.0.0.254`},

		// Interfaces.
		{"address with mask", pieces("[{network: back}]", "[{network: back, address: 10.0.0.9/24}]"), Start, ""},
		{"address without mask", pieces("[{network: back}]", "[{network: back, address: 10.0.0.9}]"), Start, ""},
		{"other mask", pieces("[{network: back}]", "[{network: back, address: 10.0.0.9/16}]"), Start, `lab.yaml:27:55: playground.machines[1].network.interfaces[0].address: the mask /16 is not that of network "back", 10.0.0.0/24; write "10.0.0.9/24"`},
		{"address outside", pieces("[{network: back}]", "[{network: back, address: 10.1.0.9/24}]"), Start, `lab.yaml:27:55: playground.machines[1].network.interfaces[0].address: 10.1.0.9 is outside 10.0.0.0/24 of network "back"; write one between 10.0.0.1 and 10.0.0.254`},
		{"address twice", pieces("[{network: back}]", "[{network: back, address: 10.0.0.9}, {address: 10.0.0.9/24}]"), Start, `lab.yaml:27:76: playground.machines[1].network.interfaces[1].address: 10.0.0.9 is taken twice: by interface eth1 of machine "db" and by interface eth0 of machine "db"; give one of them another`},
		{"address of the gateway", pieces("      private: true\n", "      gateway: 10.0.0.7\n"), Start, ""},
		{"address no address", pieces("[{network: back}]", "[{network: back, address: dhcp}]"), Start, `lab.yaml:27:55: playground.machines[1].network.interfaces[0].address: "dhcp" is not an IPv4 address; write it like "10.0.0.254/24"`},
		{"no such network", pieces("[{network: back}]", "[{network: bak}]"), Start, `lab.yaml:27:40: playground.machines[1].network.interfaces[0].network: there is no network "bak"; did you mean "back"?`},
		{"first without network", pieces("[{network: back}]", "[{address: 10.0.0.9}]"), Start, `lab.yaml:27:30: playground.machines[1].network.interfaces[0].network: missing; name the network of the first interface`},

		// Tabs.
		{"11 tabs", pieces("    - machine: dev\n", strings.Repeat("    - machine: dev\n", 0)+"    - {}\n"+numbered(10, "    - {id: t%d}\n")), Start, `lab.yaml:39:7: playground.tabs[10]: 11 tabs; a play has at most 10`},
		{"10 tabs", pieces("    - machine: dev\n", numbered(10, "    - {id: t%d}\n")), Start, ""},
		{"same tab twice", pieces("    - machine: dev\n", "    - machine: dev\n    - {}\n"), Start, `lab.yaml:30:7: playground.tabs[1].id: Tab IDs must be unique. "terminal-dev" is also that of playground.tabs[0]; give it another, as "id: terminal-dev-2"`},
		{"tab of no machine", pieces("    - machine: dev\n", "    - machine: dv\n"), Start, `lab.yaml:29:16: playground.tabs[0].machine: there is no machine "dv"; did you mean "dev"?`},
		{"port too big", pieces("- machine: dev", "- {kind: http-port, name: Web, number: 65536}"), Start, `lab.yaml:29:44: playground.tabs[0].number: 65536 is not a port; write 1 to 65535`},
		{"biggest port", pieces("- machine: dev", "- {kind: http-port, name: Web, number: 65535, tls: true, access: public, pane: left}"), Start, ""},
		{"port 0", pieces("- machine: dev", "- {kind: http-port, name: Web, number: 0}"), Start, `lab.yaml:29:44: playground.tabs[0].number: 0 is not a port; write 1 to 65535`},
		{"no name", pieces("- machine: dev", "- {kind: http-port, number: 80}"), Start, `lab.yaml:29:7: playground.tabs[0].name: missing; a tab of kind http-port needs one`},
		{"script page", pieces("- machine: dev", `- {kind: web-page, name: X, url: "javascript:alert(1)"}`), Start, `lab.yaml:29:38: playground.tabs[0].url: "javascript:alert(1)" is not a web address; write a whole address that starts with https:// or http://`},
		{"access", pieces("- machine: dev", "- {access: everyone}"), Start, `lab.yaml:29:16: playground.tabs[0].access: "everyone" is not an access; write private or public`},
		{"number on terminal", pieces("- machine: dev", "- {number: 80}"), Start, `lab.yaml:29:16: warning: playground.tabs[0].number: means nothing for a tab of kind terminal; leave it out, or write "kind: http-port"`},
		{"terminal without ssh", pieces(extra("      noSSH: true")), Start, `lab.yaml:30:7: warning: playground.tabs[0]: machine "dev" has noSSH: the tab will not open; remove the tab`},

		// Access control.
		{"no access on create", pieces(sound[strings.Index(sound, "  accessControl:"):], ""), Create, `lab.yaml:6:3: playground.accessControl: missing; write "accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}"`},
		{"no access on start", pieces(sound[strings.Index(sound, "  accessControl:"):], ""), Start, ""},
		{"a list missing", pieces("    canRead: [owner]\n", ""), Create, `lab.yaml:31:5: playground.accessControl.canRead: missing; write "canRead: [owner]" or more`},
		{"a list empty", pieces("canRead: [owner]", "canRead: []"), Update, `lab.yaml:32:14: playground.accessControl.canRead: missing; write "canRead: [owner]" or more`},
		{"list of text", pieces("canRead: [owner]", "canRead: owner"), Start, `lab.yaml:32:14: playground.accessControl.canRead: "owner" where a list is expected; write [owner]`},
		{"principals", pieces("canRead: [owner]", "canRead: [owner, anyone, authenticated, user:1a, student:go-101]"), Start, ""},
		{"principal", pieces("canRead: [owner]", "canRead: [everyone]"), Start, `lab.yaml:32:15: playground.accessControl.canRead[0]: "everyone" is not a principal; write owner, anyone, authenticated, user:<id> or student:<training>`},
		{"old access", pieces(sound[strings.Index(sound, "  accessControl:"):], "  access: {mode: public}\n"), Create, ""},
		{"wrong old access", pieces(sound[strings.Index(sound, "  accessControl:"):], "  access: {mode: open}\n"), Create, `lab.yaml:30:18: playground.access.mode: "open" is not an access mode; write "private" or "public", or better the three lists of accessControl`},

		// Update needs everything.
		{"update without networks", pieces(sound[strings.Index(sound, "  networks:"):strings.Index(sound, "  machines:")], ""), Update, `lab.yaml:6:3: playground.networks: missing; write "networks: [{name: local, subnet: 172.16.0.0/24}]"`},
		{"update without tabs", pieces("  tabs:\n    - machine: dev\n", ""), Update, `lab.yaml:6:3: playground.tabs: missing; write "tabs: []" for the default ones`},
		{"update with default tabs", pieces("  tabs:\n    - machine: dev\n", "  tabs: []\n"), Update, ""},
	}
	for _, test := range tests {
		cases = append(cases, problemCase{test.name, string(replaced(t, test.change[0], test.change[1])), test.mode, test.want})
	}
	return cases
}

func numbered(n int, line string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}

// The wrong manifests that authors really wrote: each names the place and the
// mend.
func TestWrongManifestsSeen(t *testing.T) { checkAll(t, seenCases(t)) }

func seenCases(t testing.TB) (cases []problemCase) {
	tests := []struct {
		name   string
		change [2]string
		want   string
	}{
		{"accessControl at top level",
			pieces("  accessControl:\n    canList: [owner]\n    canRead: [owner]\n    canStart: [owner]\n", "accessControl:\n  canList: [owner]\n  canRead: [owner]\n  canStart: [owner]\n"),
			`lab.yaml:30:1: playground.accessControl: missing; indent "accessControl" under "playground:"`},
		{"network as text",
			pieces("network: {interfaces: [{network: back}]}", "network: default"),
			`lab.yaml:27:16: playground.machines[1].network: "default" where fields are expected; write "network: {interfaces: [{network: default}]}"`},
		{"cpu and ram",
			pieces(extra("      resources: {cpu: 4, ram: 16GiB}")),
			"lab.yaml:24:19: warning: playground.machines[0].resources.cpu: unknown field, ignored; rename \"cpu\" to \"cpuCount\"\n" +
				`lab.yaml:24:27: warning: playground.machines[0].resources.ram: unknown field, ignored; rename "ram" to "ramSize"`},
		{"port for number",
			pieces("- machine: dev", "- {kind: http-port, name: Web, machine: dev, port: 80}"),
			`lab.yaml:29:50: playground.tabs[0].number: missing; rename "port" to "number"`},
		{"tab kind editor",
			pieces("- machine: dev", "- kind: editor"),
			`lab.yaml:29:13: playground.tabs[0].kind: "editor" is not a tab kind; write "ide" (known are terminal, ide, http-port, web-page, kexp)`},
		{"source without oci",
			pieces("debian-12", "ghcr.io/x/y:z"),
			`lab.yaml:18:19: playground.machines[0].drives[0].source: "ghcr.io/x/y:z" is not a source; write "oci://ghcr.io/x/y:z"`},
		{"no root drive",
			pieces("          mount: /\n", ""),
			`lab.yaml:18:11: playground.machines[0].drives[0].mount: missing; write "mount: /": one drive of every machine is its root`},
		{"children of network and resources one level up",
			pieces("      network: {interfaces: [{network: back}]}\n", "      network:\n      interfaces: [{network: back}]\n      resources:\n      cpuCount: 2\n      ramSize: 2GiB\n"),
			"lab.yaml:28:7: playground.machines[1].network.interfaces: missing; indent \"interfaces\" under \"network:\"\n" +
				"lab.yaml:30:7: warning: playground.machines[1].cpuCount: unknown field, ignored; indent \"cpuCount\" under \"resources:\"\n" +
				`lab.yaml:31:7: warning: playground.machines[1].ramSize: unknown field, ignored; indent "ramSize" under "resources:"`},
		{"kernel of a distribution",
			pieces(extra("      kernel: ubuntu-22.04")),
			`lab.yaml:24:15: playground.machines[0].kernel.source: "ubuntu-22.04" is not a kernel version; write a version, like "5.10", "6.1", "6.12" or "6.18"`},
		{"unknown fields seen",
			pieces("          size: 10GiB\n", "          size: 10GiB\n          format: ext4\n"),
			`lab.yaml:21:11: warning: playground.machines[0].drives[0].format: unknown field, ignored; rename "format" to "filesystem"`},
		{"unknown fields of tabs seen",
			pieces("- machine: dev", "- {machine: dev, target: _blank, enabled: true}"),
			"lab.yaml:29:22: warning: playground.tabs[0].target: unknown field, ignored; known here are id, kind, name, machine, number, access, tls, hostRewrite, pathRewrite, url, pane\n" +
				`lab.yaml:29:38: warning: playground.tabs[0].enabled: unknown field, ignored; known here are id, kind, name, machine, number, access, tls, hostRewrite, pathRewrite, url, pane`},
	}
	for _, test := range tests {
		cases = append(cases, problemCase{test.name, string(replaced(t, test.change[0], test.change[1])), Create, test.want})
	}
	head, body, _ := strings.Cut(sound, "playground:\n  ")
	return append(cases, problemCase{"everything at top level", head + strings.ReplaceAll(body, "\n  ", "\n"), Create,
		`lab.yaml:5:1: playground: missing; indent "networks", "machines", "tabs" and "accessControl" under "playground:"`})
}

// Documents that are refused before they are decoded.
func TestUnreadableDocuments(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("a%d: &a%[1]d [%s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	nested := func(n int) string {
		return "kind: playground\nplayground:\n  x: " + strings.Repeat("[", n-2) + strings.Repeat("]", n-2) + "\n"
	}
	tests := []struct{ name, text, want string }{
		{"empty", "", `lab.yaml:1:1: the document is empty; start with "kind: playground"`},
		{"a comment", "# nothing\n", `lab.yaml:1:1: the document is empty; start with "kind: playground"`},
		{"text", "hello", `lab.yaml:1:1: the document is "hello", not a manifest; start with "kind: playground"`},
		{"list", "- a", `lab.yaml:1:1: the document is a list, not a manifest; start with "kind: playground"`},
		{"two documents", "kind: playground\n---\nkind: playground\n", `lab.yaml:2:1: a second document starts here; a manifest is one document; remove the rest`},
		{"tab", "a:\n\tb: 1\n", "lab.yaml:2: the document is not YAML: found character that cannot start any token; indent with spaces, and quote values that start with @, ` or %"},
		{"two colons", "a: b: c\n", `lab.yaml:1: the document is not YAML: mapping values are not allowed in this context; check the indentation, and quote values that contain ": "`},
		{"not UTF-8", "a: b\nc: \xff\n", `lab.yaml:2:4: the document is not UTF-8 text; save it as UTF-8`},
		{"unknown alias", "a: *b\n", `lab.yaml:1:4: the document is not YAML: unknown anchor 'b' referenced; define &b before *b uses it`},
		{"anchor in itself", "a: &a [*a]\n", `lab.yaml:1:8: a[0]: the anchor &a contains itself`},
		{"alias explosion", bomb, `lab.yaml:5:5: a4: the aliases expand to too much; write it out, or use fewer aliases`},
		{"nesting 65", nested(65), `lab.yaml:3:68: playground.x` + strings.Repeat("[0]", 62) + `: nested more than 64 levels deep`},
		{"nesting by aliases", "a: &a " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\nb: " + strings.Repeat("[", 30) + "*a" + strings.Repeat("]", 30) + "\n",
			`lab.yaml:2:34: b` + strings.Repeat("[0]", 30) + `: nested more than 64 levels deep`},
		{"NUL", "a: b\nc: \x00\n", `lab.yaml:2:4: the character U+0000 cannot stand in YAML; remove it, or write "\u0000" between double quotes`},
		{"escape", "a: é\x1b[2J\n", `lab.yaml:1:5: the character U+001B cannot stand in YAML; remove it, or write "\u001b" between double quotes`},
		{"C1 control", "a: \u009b\n", `lab.yaml:1:4: the character U+009B cannot stand in YAML; remove it, or write "\u009b" between double quotes`},
		{"byte order mark inside", "a: b\n\ufeffc: d\n", `lab.yaml:2:1: the character U+FEFF cannot stand in YAML; remove it, or write "\ufeff" between double quotes`},
		{"UTF-16", "\xff\xfea\x00", `lab.yaml:1:1: the document is not UTF-8 text; save it as UTF-8`},
		{"cut in a character", "a: \xe2\x82", `lab.yaml:1:4: the document is not UTF-8 text; save it as UTF-8`},
		{"overlong", "a: \xc0\xaf\n", `lab.yaml:1:4: the document is not UTF-8 text; save it as UTF-8`},
		{"only null", "~", `lab.yaml:1:1: the document is "~", not a manifest; start with "kind: playground"`},
		{"an anchor that is in a word first", "a: x*b\nb: [*b]\n", `lab.yaml:2:5: the document is not YAML: unknown anchor 'b' referenced; define &b before *b uses it`},
		{"too many marks", "a: [" + strings.Repeat("a,", maxMarks) + "]", `lab.yaml: the document has more than 20000 colons, dashes, commas, brackets and comments that may be fields or items; move big files into an image`},
		{"too long", "# " + strings.Repeat("x", MaxDocument-1), `lab.yaml: the document has 1048577 bytes, more than 1048576; move big files into an image`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, problems := Parse("lab.yaml", []byte(test.text))
			if m != nil {
				t.Error("a manifest came out")
			}
			if diff := cmp.Diff(test.want, problems.String()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nesting 64", func(t *testing.T) {
		m, problems := Parse("lab.yaml", []byte(nested(64)))
		if m == nil || len(problems.Errors()) > 0 {
			t.Error(problems)
		}
	})
	t.Run("as long as may be", func(t *testing.T) {
		text := sound + "#" + strings.Repeat("x", MaxDocument-len(sound)-1)
		if _, problems := Parse("lab.yaml", []byte(text)); len(problems) > 0 {
			t.Error(problems)
		}
	})
}

// A document of nothing but mistakes costs little and answers little.
func TestHostileDocuments(t *testing.T) {
	fill := func(head, item string) []byte { return []byte(head + strings.Repeat(item, 999)) }
	for name, data := range map[string][]byte{
		"networks":       fill("kind: playground\nplayground:\n  networks:\n", "    - {name: a, subnet: 10.0.0.0/24}\n"),
		"machines":       fill("kind: playground\nplayground:\n  machines:\n", "    - {network: {interfaces: [{network: b}]}}\n"),
		"empty machines": fill("kind: playground\nplayground:\n  machines:\n", "    - {}\n"),
		"tabs":           fill("kind: playground\nplayground:\n  machines: [{name: a}]\n  tabs:\n", "    - {cidr: x}\n"),
		"unknown fields": []byte("kind: playground\nplayground: {}\n" + numbered(999, "field-%d: 1\n")),
		"duplicates":     fill("kind: playground\nplayground:\n  machines: []\n", "a:\n"),
	} {
		_, problems := Parse("lab.yaml", data)
		if n := len(problems); n == 0 || n > maxProblems+1 {
			t.Errorf("%s: %d problems", name, n)
		}
		if last := problems[len(problems)-1]; last.Message != "there are more problems" {
			t.Errorf("%s: the last problem is %s", name, last)
		}
		if refused := name != "unknown fields"; (problems.Err() != nil) != refused {
			t.Errorf("%s: refused %t", name, !refused)
		}
	}
}

func TestDuplicateKeys(t *testing.T) {
	_, problems := Parse("lab.yaml", replaced(t, "    - name: db\n", "    - name: db\n      name: again\n"))
	want := `lab.yaml:25:7: playground.machines[1].name: duplicate key "name", first given on line 24; remove one of them`
	if diff := cmp.Diff(want, problems.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	m, problems := Parse("lab.yaml", []byte(`kind: playground
playground:
  machines:
    - &one
      name: one
      users: &users [{name: root}]
      drives: [{source: debian-12, mount: /}]
      network: {interfaces: [{network: local}]}
    - <<: *one
      name: two
      users: *users
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	one, two := m.Playground.Machines[0], m.Playground.Machines[1]
	one.Name = "two"
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
}

func TestLegacyForms(t *testing.T) {
	m, problems := Parse("lab.yaml", replaced(t, sound[strings.Index(sound, "  accessControl:"):], "  access: {mode: private}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	owner := []string{"owner"}
	if diff := cmp.Diff(&AccessControl{owner, owner, owner}, m.Playground.AccessControl); diff != "" {
		t.Error(diff)
	}
	m, _ = Parse("lab.yaml", replaced(t, "    - name: db\n", "      kernel: 6.10\n    - name: db\n"))
	if got := m.Playground.Machines[0].Kernel.Source; got != "6.10" {
		t.Errorf("kernel %q", got)
	}
}

// The same manifest as JSON would bring it: same messages, no places.
func TestValidateWithoutPlaces(t *testing.T) {
	m := &Manifest{Title: "Four", Playground: Playground{Machines: []Machine{{Name: "a"}}}}
	want := `title: has 4 characters; write 5 to 120
playground.machines[0].users: missing; list at least one, as "users: [{name: root}]"
playground.machines[0].drives: missing; list at least the root drive, as "drives: [{source: debian-12, mount: /}]"
playground.machines[0].network.interfaces: missing; write "network: {interfaces: [{network: local}]}"
playground.accessControl: missing; write "accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}"`
	if diff := cmp.Diff(want, Validate(m, Create).String()); diff != "" {
		t.Error(diff)
	}
}

func TestParseSize(t *testing.T) {
	const gib = int64(1) << 30
	for text, want := range map[string]int64{
		"30GiB": 30 * gib, "10GIB": 10 * gib, "4Gi": 4 * gib, "4G": 4 * gib, "1.5GiB": gib + gib/2, "512MiB": gib / 2,
		"512M": gib / 2, "2 GiB": 2 * gib, "1TiB": 1024 * gib, "10gb": 10 * gib, "0GiB": 0,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "GiB", "-1GiB", "1e3GiB", "1GiBx", "NaN", "1..5GiB", "9999999999GiB", "999999999TiB", "1PiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"networks", "machines", "cpuCount", "startupFiles", "tabs", "initTasks", "ramSize"}
	for text, want := range map[string]string{"network": "networks", "machnies": "machines", "cpu": "cpuCount", "startupfiles": "startupFiles", "tasks": "initTasks", "tab": "tabs", "size": "ramSize", "zebra": "", "q": ""} {
		if got := nearest(text, known); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

var same = cmpopts.IgnoreUnexported(Manifest{})

// checkDump is the property: a dump reads back as the same manifest, and dumps
// the same again.
func checkDump(t testing.TB, m *Manifest) {
	t.Helper()
	dump, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	back, problem := read("dump.yaml", dump)
	if problem != nil {
		t.Fatalf("%s\n%s", problem, dump)
	}
	before := *m
	before.Kind = Kind
	if diff := cmp.Diff(&before, back, same); diff != "" {
		t.Fatalf("read back (-want +got):\n%s\n%s", diff, dump)
	}
	again, err := Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(dump), string(again)); diff != "" {
		t.Fatalf("dumped again (-first +second):\n%s", diff)
	}
}

func TestDumpReadsBack(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, problems := Parse(file, data)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		checkDump(t, m)
	}
	for _, text := range []string{"", "a", "true", "6.1", "null", "~", "0644", " a", "a ", "a\nb", "a\nb\n", "\na", "a\n\n", " a\nb", "a \nb", "a\n\tb\n", "\t", "a: b", "#x", "é\u2028x", "\x00", "a\r\nb", "- a", "'", "\"", "*a", "&a", "!x", "<<", "\u0085", "\ufeff", "a\n\n\nb\n", "|\n>"} {
		checkDump(t, &Manifest{Title: text, Categories: []string{text}, Playground: Playground{
			Machines: []Machine{}, Tabs: []Tab{}, Networks: []Network{},
			InitTasks:      map[string]InitTask{"a": {Run: text, Needs: []string{}}},
			InitConditions: &InitConditions{}, AccessControl: &AccessControl{CanList: []string{}},
		}})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte("kind: playground\nplayground: {machines: [{name: a, kernel: 6.1, users: [x], drives: y}], tabs: [{}, ~]}"))
	f.Add([]byte("a: &a {b: *c, <<: [*a, {x: y}]}\n? [x]\n: y\n"))
	f.Add([]byte("playground: {initTasks: {a: {needs: [b]}, b: {needs: [a]}}, initConditions: {values: [{key: k, options: [x, x], default: y}]}}"))
	f.Add([]byte("playground: {networks: [{name: a, subnet: 10.0.0.0/31, gateway: 10.0.0.1}], machines: [{network: {interfaces: [{network: a, address: 10.0.0.0/31}, {}]}}]}"))
	f.Add([]byte("kind: course\nplayground: {access: {mode: public}, tabs: [{kind: http-port, number: 0x50, hostRewrite: \"a\\0b\"}], initTasks: {1: {run: !!binary AA==, timeout_seconds: 017}}}"))
	f.Add([]byte("playground: {machines: [{drives: [{source: \"oci://x\", mount: /usr, size: 1_0GiB}, {mount: //}, ~], startupFiles: [{path: /a/../b, mode: 0o644, owner: 4294967295, content: |-\n  x\n }]}]}"))
	f.Add([]byte("x: &x {a: 1, <<: [{b: 2}, {c: 3}]}\nplayground: &p\n  machines: [*x, {<<: *x, name: *p}]\n  initConditions: {values: [{key: \" \", validationRegex: '(a{9}){9}', nullable: ~}]}\n"))
	files, _ := filepath.Glob("../../examples/*.yaml")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			f.Add(data)
		}
	}
	blank := &Manifest{Name: Flexbox}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, problems := Parse("fuzz.yaml", data)
		if m == nil {
			if len(problems.Errors()) == 0 {
				t.Fatal("neither a manifest nor an error")
			}
			return
		}
		for _, mode := range []Mode{Create, Update, Effective} {
			Validate(m, mode)
		}
		Replace(blank, m)
		if effective, problems := Inherit(blank, m); problems.Err() == nil {
			checkDump(t, effective)
		}
		if problems.Err() == nil {
			checkDump(t, m)
		}
	})
}
