package labinit

import (
	"errors"
	"path"
	"slices"
	"strings"

	"sandlot/guest/wire"
)

// afterUp is a drop-in for what a boot can do without until tasks may run.
const afterUp = `[Unit]
After=` + wire.UpSlice + `
`

// notAtBoot is a drop-in for a unit that would find nothing to do at this boot.
// Once the machine is up, who starts it by hand gets what they ask for.
const notAtBoot = `[Unit]
ConditionPathExists=` + wire.UpFile + `
`

// idleHints spare a boot what nothing waits for: on an emulated processor each
// service costs a noticeable part of a second until it has found out that there
// is nothing to do. Volatile. They look at files as they are in the end, so
// this comes after every other.
func (id *identity) idleHints() error {
	var errs []error
	hint := func(unit, text string) {
		errs = append(errs, id.tree.write("/run/systemd/system/"+unit+".d/50-sandlot.conf", []byte(text), rootFile))
	}
	if !id.loadsModules() {
		hint("systemd-modules-load.service", notAtBoot)
	}
	for _, unit := range id.credentialed() {
		if text := noCredentials(id.unit(unit)); text != "" {
			hint(unit, text)
		}
	}
	if id.mountsOurs() {
		// It applies what fstab says of the root, and fstab says nothing.
		hint("systemd-remount-fs.service", notAtBoot)
		if !id.config.Unmounted {
			// Our drives are mounted, so nothing that tasks wait for waits for
			// devices, which are all there and get their names later.
			hint("systemd-udevd.service", afterUp)
			hint("systemd-udev-trigger.service", afterUp)
		}
	}
	return errors.Join(errs...)
}

// credentialed are the units of a boot that may ask for credentials
// (systemd.exec(5)) in vain: nothing is passed to our machines, and to find that
// out costs a process and mounts, of which systemd takes note. There are none if
// the image has something for them.
func (id *identity) credentialed() []string {
	for _, dir := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib"} {
		if len(id.tree.list(dir+"/credstore"))+len(id.tree.list(dir+"/credstore.encrypted")) > 0 {
			return nil
		}
	}
	return []string{"systemd-sysctl.service", "systemd-sysusers.service", "systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-setup.service"}
}

// noCredentials is a drop-in for a unit with this text, in the words of its
// version; empty if it asks for none.
func noCredentials(unit string) string {
	text := ""
	for _, key := range []string{"LoadCredential=", "ImportCredential="} {
		if strings.Contains(unit, "\n"+key) {
			text += key + "\n"
		}
	}
	if text == "" {
		return ""
	}
	return "[Service]\n" + text
}

// loadsModules tells whether the image or the kernel's command line names
// modules that systemd loads at every boot (modules-load.d(5)).
func (id *identity) loadsModules() bool {
	if slices.ContainsFunc(id.options, func(option string) bool {
		return strings.Contains(strings.ReplaceAll(option, "_", "-"), "modules-load=")
	}) {
		return true
	}
	for _, dir := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"} {
		for _, name := range id.tree.list(dir + "/modules-load.d") {
			text, err := id.tree.read(dir + "/modules-load.d/" + name)
			if err != nil || len(entries(string(text), "#;")) > 0 {
				return true
			}
		}
	}
	return false
}

// mountsOurs tells whether systemd mounts at boot nothing but what labinit has
// mounted already.
func (id *identity) mountsOurs() bool {
	fstab, err := id.tree.read("/etc/fstab")
	if err != nil || len(entries(withBlock(string(fstab), nil, false), "#")) > 0 || id.tree.exists("/etc/crypttab") {
		return false
	}
	return !slices.ContainsFunc(id.tree.list("/etc/systemd/system"), func(name string) bool {
		kind := path.Ext(name)
		return kind == ".mount" || kind == ".swap"
	})
}

// entries are the lines that are neither empty nor comments.
func entries(text, comments string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.ContainsAny(line[:1], comments) {
			found = append(found, line)
		}
	}
	return found
}
