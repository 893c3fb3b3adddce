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
