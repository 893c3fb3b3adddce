package labinit

import (
	"maps"
	"slices"
	"testing"

	"sandlot/guest/wire"
)

// A boot is spared what would find nothing to do, and nothing else.
func TestBootIsSpared(t *testing.T) {
	const (
		modules = "systemd-modules-load.service"
		remount = "systemd-remount-fs.service"
		udev    = "systemd-udevd.service"
		trigger = "systemd-udev-trigger.service"
	)
	for name, tc := range map[string]struct {
		files     map[string]string
		later     []string
		unmounted bool
	}{
		"the official image": {map[string]string{"/etc/fstab": "# Filled in when the machine starts.\n", "/etc/modules-load.d/modules.conf": "# one a line\n\n"},
			[]string{modules, remount, trigger, udev}, false},
		"our drives":        {map[string]string{"/etc/fstab": blockBegin + "\n/dev/vdb /data xfs defaults,nofail 0 0\n" + blockEnd + "\n"}, []string{modules, remount, trigger, udev}, false},
		"modules":           {map[string]string{"/usr/lib/modules-load.d/k8s.conf": "; for bridges\nbr_netfilter\n"}, []string{remount, trigger, udev}, false},
		"theirs in fstab":   {map[string]string{"/etc/fstab": "/dev/vda / ext4 noatime 0 1\n"}, []string{modules}, false},
		"encrypted drives":  {map[string]string{"/etc/crypttab": ""}, []string{modules}, false},
		"a unit of a mount": {map[string]string{"/etc/systemd/system/data.mount": "[Mount]\nWhat=/dev/disk/by-label/data\n"}, []string{modules}, false},
		"drives for tasks":  {map[string]string{"/etc/fstab": ""}, []string{modules, remount}, true},
	} {
		files := debian(t)
		delete(files, "/etc/fstab")
		maps.Copy(files, tc.files)
		root := image(t, files)
		if err := (&identity{tree: root, config: wire.Config{Unmounted: tc.unmounted}}).idleHints(); err != nil {
			t.Fatal(err)
		}
		var later []string
		for _, unit := range root.list("/run/systemd/system") {
			later = append(later, unit[:len(unit)-len(".d")])
			want := "[Unit]\nConditionPathExists=" + wire.UpFile + "\n"
			if unit == udev+".d" || unit == trigger+".d" {
				want = "[Unit]\nAfter=" + wire.UpSlice + "\n"
			}
			if got := content(t, root, "/run/systemd/system/"+unit+"/50-sandlot.conf"); got != want {
				t.Errorf("%s: %s: %q, want %q", name, unit, got, want)
			}
		}
		if !slices.Equal(later, slices.Sorted(slices.Values(tc.later))) {
			t.Errorf("%s: later are %q, want %q", name, later, tc.later)
		}
	}
}

func TestModulesOfTheCommandLineAreLoaded(t *testing.T) {
	if !(&identity{tree: image(t, debian(t)), options: []string{"quiet", "modules_load=br_netfilter"}}).loadsModules() {
		t.Error("nothing would load br_netfilter")
	}
}

// A service asks for no credentials where there are none, in its version's words.
func TestNoCredentialsAreLookedFor(t *testing.T) {
	const unit = "/usr/lib/systemd/system/systemd-sysctl.service"
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"Debian 12":       {map[string]string{unit: "[Service]\nLoadCredential=sysctl.extra\n"}, "[Service]\nLoadCredential=\n"},
		"Debian 13":       {map[string]string{unit: "[Service]\nImportCredential=sysctl.*\n"}, "[Service]\nImportCredential=\n"},
		"none asked for":  {map[string]string{unit: "[Service]\nType=oneshot\n"}, ""},
		"no such service": {nil, ""},
		"the image's own": {map[string]string{unit: "[Service]\nImportCredential=sysctl.*\n", "/etc/credstore/sysctl.extra": "vm.swappiness = 1\n"}, ""},
	} {
		root := image(t, tc.files)
		if err := (&identity{tree: root}).idleHints(); err != nil {
			t.Fatal(err)
		}
		const dropIn = "/run/systemd/system/systemd-sysctl.service.d/50-sandlot.conf"
		if tc.want == "" && root.exists(dropIn) {
			t.Errorf("%s: a drop-in", name)
		}
		if tc.want != "" {
			if got := content(t, root, dropIn); got != tc.want {
				t.Errorf("%s: %q, want %q", name, got, tc.want)
			}
		}
	}
}
