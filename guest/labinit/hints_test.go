package labinit

import (
	"strings"
	"testing"

	"sandlot/guest/wire"
)

func TestSSHStartsFirst(t *testing.T) {
	root := image(t, debian(t))
	id := &identity{tree: root}
	for range 2 {
		if err := id.sshHints(); err != nil {
			t.Fatal(err)
		}
	}
	dropIn := content(t, root, "/run/systemd/system/ssh.service.d/50-sandlot.conf")
	for _, line := range []string{"DefaultDependencies=no\n", "Conflicts=shutdown.target\n", "StartupCPUWeight=10000\n"} {
		if !strings.Contains(dropIn, line) {
			t.Errorf("no %q in %q", line, dropIn)
		}
	}
	if got := content(t, root, "/run/systemd/system/user.slice.d/50-sandlot.conf"); !strings.Contains(got, "StartupCPUWeight=") {
		t.Errorf("logins wait behind what boots: %q", got)
	}
	bare := image(t, debian(t))
	if err := (&identity{tree: bare, config: wire.Config{NoSSH: true}}).sshHints(); err != nil {
		t.Fatal(err)
	}
	if bare.exists("/run/systemd/system/ssh.service.d") {
		t.Error("a machine without SSH got a drop-in for it")
	}
}

func TestIdleGeneratorsAreHidden(t *testing.T) {
	files := debian(t)
	files["/etc/crypttab"] = "data /dev/vdb\n"
	root := image(t, files)
	if err := (&identity{tree: root}).generatorHints(); err != nil {
		t.Fatal(err)
	}
	for name, hidden := range map[string]bool{
		"systemd-gpt-auto-generator":    true,
		"systemd-veritysetup-generator": true,
		"systemd-cryptsetup-generator":  false, // its file exists
		"systemd-fstab-generator":       false, // always needed
	} {
		path := "/run/systemd/system-generators/" + name
		if root.exists(path) != hidden {
			t.Errorf("%s hidden: %v, want %v", name, !hidden, hidden)
		}
		if hidden && content(t, root, path) != "" {
			t.Errorf("%s is not empty: that runs it", name)
		}
	}
}

// Tasks wait for what they need and for the image's own sockets, not for names
// of devices; and nobody's login waits for a logind that has not started.
func TestUpComesEarly(t *testing.T) {
	files := debian(t)
	files["/usr/lib/tmpfiles.d/systemd.conf"] = "d /run/user 0755 root root -\n\nd /run/systemd/seats 0755 root root -\nd /run/systemd/users 0755 root root -\n"
	root := image(t, files)
	if err := (&identity{tree: root}).upHints(); err != nil {
		t.Fatal(err)
	}
	unit := content(t, root, "/run/systemd/system/"+wire.UpSlice)
	for _, word := range []string{"DefaultDependencies=no\n", "=local-fs.target ", " systemd-tmpfiles-setup.service\n", " systemd-sysctl.service ", " dbus.socket\n"} {
		if !strings.Contains(unit, word) {
			t.Errorf("no %q in %q", word, unit)
		}
	}
	if strings.Contains(unit, "sysinit.target") || strings.Contains(unit, "sockets.target") {
		t.Errorf("it waits for too much: %q", unit)
	}
	if got := content(t, root, "/run/systemd/system/sysinit.target.d/50-sandlot.conf"); got != "[Unit]\nWants=sandlotup.slice\n" {
		t.Errorf("nobody wants it: %q", got)
	}
	if got := content(t, root, "/run/tmpfiles.d/systemd.conf"); got != "d /run/user 0755 root root -\n\nd /run/systemd/users 0755 root root -\n" {
		t.Errorf("temporary files: %q", got)
	}

	files["/etc/systemd/system/sockets.target.wants/docker.socket"] = ""
	delete(files, "/usr/lib/tmpfiles.d/systemd.conf")
	root = image(t, files)
	if err := (&identity{tree: root}).upHints(); err != nil {
		t.Fatal(err)
	}
	if unit := content(t, root, "/run/systemd/system/"+wire.UpSlice); !strings.HasSuffix(unit, " dbus.socket sockets.target\n") {
		t.Errorf("it does not wait for the image's sockets: %q", unit)
	}
	if root.exists("/run/tmpfiles.d/systemd.conf") {
		t.Error("temporary files of an image that has none")
	}
}
