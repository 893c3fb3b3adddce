package labinit

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sandlot/guest/wire"
)

// networkHints tells the network managers an image may carry what labinit
// does through netlink, so that they agree or keep away. All but the last are
// volatile, below /run.
func (id *identity) networkHints() error {
	if len(id.config.Interfaces) == 0 {
		return nil
	}
	var errs []error
	var macs []string
	for _, n := range id.config.Interfaces {
		macs = append(macs, "mac:"+n.MAC)
		// networkd takes the first file in lexical order that matches: 00
		// wins over netplan's 10. udev reads the .link file.
		base := "/run/systemd/network/00-sandlot-" + n.Name
		errs = append(errs,
			id.tree.write(base+".network", []byte(networkdFile(n, id.config.Nameserver)), rootFile),
			id.tree.write(base+".link", []byte(linkFile(n)), rootFile))
	}
	errs = append(errs, id.tree.write("/run/NetworkManager/conf.d/99-sandlot.conf",
		[]byte("[keyfile]\nunmanaged-devices="+strings.Join(macs, ";")+"\n"), rootFile))
	if id.config.Nameserver != "" {
		errs = append(errs, id.tree.write("/run/systemd/resolved.conf.d/sandlot.conf",
			[]byte("[Resolve]\nDNS="+id.config.Nameserver+"\n"), rootFile))
	}
	if id.tree.exists("/etc/network/interfaces") {
		errs = append(errs, id.tree.edit("/etc/network/interfaces", rootFile, func(old string) string {
			return withoutDHCP(old, id.config.Interfaces)
		}))
	}
	return errors.Join(errs...)
}

func networkdFile(n wire.Interface, nameserver string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Match]\nMACAddress=%s\n\n[Network]\nAddress=%s\n", n.MAC, n.Address)
	if n.Gateway != "" {
		fmt.Fprintf(&b, "Gateway=%s\n", n.Gateway)
	}
	if nameserver != "" {
		fmt.Fprintf(&b, "DNS=%s\n", nameserver)
	}
	b.WriteString("LinkLocalAddressing=ipv6\nIPv6AcceptRA=no\n")
	return b.String()
}

func linkFile(n wire.Interface) string {
	return fmt.Sprintf("[Match]\nMACAddress=%s\n\n[Link]\nNamePolicy=\nName=%s\nMACAddressPolicy=none\n", n.MAC, n.Name)
}

// withoutDHCP stops ifupdown from asking for an address where ours stands.
func withoutDHCP(text string, interfaces []wire.Interface) string {
	for _, n := range interfaces {
		re := regexp.MustCompile(`(?m)^(\s*iface\s+` + regexp.QuoteMeta(n.Name) + `\s+inet\s+)dhcp\b`)
		text = re.ReplaceAllString(text, "${1}manual")
	}
	return text
}

// sshEarly is a drop-in for sshd's unit under systemd. sshd needs nothing of
// what basic.target waits for (devices, sysctls, temporary files), and under
// emulation that is a third of the time until it answers. While the machine
// boots, sshd comes before whatever else runs, and then the sessions, which are
// in a slice of their own.
const sshEarly = `[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
StartupCPUWeight=10000
`

// sessionsEarly is a drop-in for the slice of all logins.
const sessionsEarly = `[Slice]
StartupCPUWeight=1000
`

// unitDirs are where images have units (systemd.unit(5)).
var unitDirs = []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// unit is a unit's file as systemd finds it; empty if there is none, or a link
// to /dev/null in its place.
func (id *identity) unit(name string) string {
	for _, dir := range unitDirs {
		if text, err := id.tree.read(dir + "/" + name); err == nil && len(text) > 0 {
			return string(text)
		}
	}
	return ""
}

// generators are programs that systemd runs before its first unit, one process
// each, for things no machine of ours has: partition tables, hibernation, EFI.
// The others are needed only where the file they read exists.
var generators = map[string]string{
	"systemd-gpt-auto-generator":         "",
	"systemd-hibernate-resume-generator": "",
	"systemd-bless-boot-generator":       "",
	"systemd-cryptsetup-generator":       "/etc/crypttab",
	"systemd-veritysetup-generator":      "/etc/veritytab",
	"systemd-integritysetup-generator":   "/etc/integritytab",
	"systemd-rc-local-generator":         "/etc/rc.local",
	"systemd-system-update-generator":    "/system-update",
}

// generatorHints hides the generators that would find nothing to do. Volatile.
func (id *identity) generatorHints() error {
	var errs []error
	// An empty file masks one of the same name (systemd.generator(7)).
	hide := func(name string) {
		errs = append(errs, id.tree.write("/run/systemd/system-generators/"+name, nil, rootFile))
	}
	for name, reads := range generators {
		if reads == "" || !id.tree.exists(reads) {
			hide(name)
		}
	}
	if !slices.ContainsFunc(id.options, func(option string) bool { return strings.Contains(option, "systemd.") }) {
		hide("systemd-debug-generator")
		hide("systemd-run-generator")
	}
	if !id.hasScripts() {
		hide("systemd-sysv-generator")
	}
	return errors.Join(errs...)
}

// hasScripts tells whether a service is known by its script in /etc/init.d
// alone: one with a unit of its name is that unit (systemd-sysv-generator(8)).
func (id *identity) hasScripts() bool {
	return slices.ContainsFunc(id.tree.list("/etc/init.d"), func(script string) bool {
		unit := strings.TrimSuffix(script, ".sh") + ".service"
		return !slices.ContainsFunc(unitDirs, func(dir string) bool { return id.tree.exists(dir + "/" + unit) })
	})
}

// sshHints lets sshd start first. Volatile; a file of the same name in
// /etc/systemd/system/ssh.service.d undoes it. Without the second part, users
// but root would be turned away in the time that is gained: systemd makes
// /run/nologin while it boots.
func (id *identity) sshHints() error {
	if id.config.NoSSH {
		return nil
	}
	var errs []error
	for _, unit := range []string{"ssh", "sshd"} {
		errs = append(errs, id.tree.write("/run/systemd/system/"+unit+".service.d/50-sandlot.conf", []byte(sshEarly), rootFile))
	}
	errs = append(errs, id.tree.write("/run/systemd/system/user.slice.d/50-sandlot.conf", []byte(sessionsEarly), rootFile))
	errs = append(errs, id.tree.write("/run/tmpfiles.d/systemd-nologin.conf", []byte("# sandlot: machines may be entered while they boot\n"), rootFile))
	return errors.Join(errs...)
}

// upSlice is a marker: systemd makes a cgroup for it, and starts nothing. It is
// reached when a task finds what an author expects of a machine that is up:
// drives mounted, /tmp emptied, modules loaded and kernel variables set as the
// image and startup files want them, D-Bus and the image's own sockets there, and
// drives that are not mounted where /dev/disk names them.
// The agent looks for the cgroup. It is reached before sysinit.target, which
// waits for all devices to be named (see idleHints), and never later.
const upSlice = `[Unit]
Description=Sandlot: tasks may run
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
After=local-fs.target systemd-sysusers.service systemd-tmpfiles-setup.service
After=systemd-modules-load.service systemd-sysctl.service dbus.socket`

// named lets tasks wait until udev has named all devices: those of drives that
// are not mounted are for them, by what /dev/disk calls them.
const named = `
Wants=systemd-udev-settle.service
After=systemd-udev-settle.service`

// seatsLine makes the folder by which PAM knows that logind runs. logind makes
// it itself; systemd-tmpfiles makes it earlier, and from then on every login
// would wait until logind has started.
const seatsLine = "d /run/systemd/seats"

// upHints lets the agent see early that tasks may run, and people log in
// without waiting for logind. Volatile.
func (id *identity) upHints() error {
	unit := upSlice
	if len(id.tree.list("/etc/systemd/system/sockets.target.wants")) > 0 {
		unit += " sockets.target"
	}
	if id.config.Unmounted {
		unit += named
	}
	errs := []error{
		id.tree.write("/run/systemd/system/"+wire.UpSlice, []byte(unit+"\n"), rootFile),
		id.tree.write("/run/systemd/system/sysinit.target.d/50-sandlot.conf", []byte("[Unit]\nWants="+wire.UpSlice+"\n"), rootFile),
	}
	const theirs = "tmpfiles.d/systemd.conf"
	if text, err := id.tree.read("/usr/lib/" + theirs); err == nil && strings.Contains(string(text), "\n"+seatsLine+" ") {
		var kept strings.Builder
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, seatsLine+" ") {
				kept.WriteString(line)
			}
		}
		errs = append(errs, id.tree.write("/run/"+theirs, []byte(kept.String()), rootFile))
	}
	return errors.Join(errs...)
}
