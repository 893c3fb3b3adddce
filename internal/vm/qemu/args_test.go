//go:build linux

package qemu

import (
	"fmt"
	"strings"
	"testing"

	"sandlot/internal/labtest"
	"sandlot/internal/vm"
)

func example() vm.Spec {
	return vm.Spec{
		Name: "0123456789abcdef01234567-web", Dir: "/var/lib/sandlot/plays/0123456789abcdef01234567/m0",
		UID: 200000, GID: 200000, NetNS: "/run/netns/sandlot-ab12-0123", Cgroup: "sandlot-ab12",
		CPUs: 2, MemoryMiB: 2048,
		Kernel:    vm.Kernel{BzImage: "/k/bzImage", VMLinux: "/k/vmlinux"},
		Initramfs: "/p/m0.initramfs", Cmdline: "net.ifnames=0 panic=1",
		Drives: []vm.Drive{{Path: "/pool/m0-vda.raw"}, {Path: "/pool/odd,name.raw", ReadOnly: true}},
		NICs:   []vm.NIC{{Tap: "t0-0", MAC: "02:00:00:00:00:01"}, {Tap: "t0-1", MAC: "02:00:00:00:00:02"}},
	}
}

func TestArgs(t *testing.T) {
	full := example()
	full.Drives, full.NICs = nil, nil
	for i := range maxDrives {
		full.Drives = append(full.Drives, vm.Drive{Path: fmt.Sprintf("/pool/%d.raw", i)})
	}
	for i := range maxNICs {
		full.NICs = append(full.NICs, vm.NIC{MAC: fmt.Sprintf("02:00:00:00:00:%02x", i)})
	}
	for name, tc := range map[string]struct {
		spec    vm.Spec
		options Options
	}{
		"tcg":     {example(), Options{}},
		"kvm":     {example(), Options{KVM: true}},
		"seabios": {example(), Options{SeaBIOS: true, BzImage: true, CPU: "qemu64", TBSizeMiB: 64, DirectIO: true}},
		"full":    {full, Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			labtest.Golden(t, name+".args", strings.Join(Args(tc.spec, tc.options), "\n")+"\n")
		})
	}
}

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*vm.Spec)
		want   string
	}{
		"good":            {func(*vm.Spec) {}, ""},
		"name":            {func(s *vm.Spec) { s.Name = "../x" }, "machine's name"},
		"no CPU":          {func(s *vm.Spec) { s.CPUs = 0 }, "0 CPUs"},
		"too many drives": {func(s *vm.Spec) { s.Drives = make([]vm.Drive, maxDrives+1) }, "qemu takes 24"},
		"too many NICs":   {func(s *vm.Spec) { s.NICs = make([]vm.NIC, maxNICs+1) }, "qemu takes 5"},
		"long directory":  {func(s *vm.Spec) { s.Dir = "/" + strings.Repeat("d", 80) }, "81 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := example()
			tc.change(&spec)
			err := check(spec)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
