package labinit

import (
	"maps"
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
	for name, tc := range map[string]struct {
		files   map[string]string
		options []string
		hidden  map[string]bool
	}{
		"nothing to do": {
			map[string]string{"/etc/init.d/kmod": "#!/bin/sh\n", "/usr/lib/systemd/system/kmod.service": "[Service]\n"},
			[]string{"quiet", "console=ttyS0"},
			map[string]bool{
				"systemd-gpt-auto-generator":    true,
				"systemd-veritysetup-generator": true,
				"systemd-cryptsetup-generator":  true,
				"systemd-fstab-generator":       false, // always needed
				"systemd-sysv-generator":        true,  // each script has a unit
				"systemd-run-generator":         true,
				"systemd-debug-generator":       true,
			}},
		"their file exists":      {map[string]string{"/etc/crypttab": "data /dev/vdb\n"}, nil, map[string]bool{"systemd-cryptsetup-generator": false}},
		"a script of init alone": {map[string]string{"/etc/init.d/theirs": "#!/bin/sh\n"}, nil, map[string]bool{"systemd-sysv-generator": false}},
		"asked by the kernel's command line": {nil, []string{"rd.systemd.mask=x.service"},
			map[string]bool{"systemd-run-generator": false, "systemd-debug-generator": false}},
	} {
		files := debian(t)
		maps.Copy(files, tc.files)
		root := image(t, files)
		if err := (&identity{tree: root, options: tc.options}).generatorHints(); err != nil {
			t.Fatal(err)
		}
		for generator, hidden := range tc.hidden {
			path := "/run/systemd/system-generators/" + generator
			if root.exists(path) != hidden {
				t.Errorf("%s: %s hidden: %v, want %v", name, generator, !hidden, hidden)
			}
			if hidden && content(t, root, path) != "" {
				t.Errorf("%s: %s is not empty: that runs it", name, generator)
			}
		}
	}
}

// What a startup file adds to counts as if the image had it.
func TestHintsSeeStartupFiles(t *testing.T) {
	root := image(t, debian(t))
	added := wire.StartupFile{Path: "/etc/rc.local", Content: "#!/bin/sh\n", Append: true}
	if err := writeIdentity(root, wire.Config{StartupFiles: []wire.StartupFile{added}}); err != nil {
		t.Fatal(err)
	}
	if root.exists("/run/systemd/system-generators/systemd-rc-local-generator") {
		t.Error("nothing would run /etc/rc.local")
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
	if strings.Contains(unit, "sysinit.target") || strings.Contains(unit, "sockets.target") || strings.Contains(unit, "udev") {
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
	if err := (&identity{tree: root, config: wire.Config{Unmounted: true}}).upHints(); err != nil {
		t.Fatal(err)
	}
	if unit := content(t, root, "/run/systemd/system/"+wire.UpSlice); !strings.HasSuffix(unit, " dbus.socket sockets.target\nWants=systemd-udev-settle.service\nAfter=systemd-udev-settle.service\n") {
		t.Errorf("it does not wait for the image's sockets, and names of drives that are not mounted: %q", unit)
	}
	if root.exists("/run/tmpfiles.d/systemd.conf") {
		t.Error("temporary files of an image that has none")
	}
}
