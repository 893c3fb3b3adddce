//go:build linux

package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandlot/internal/labtest"
	"sandlot/internal/vm"
	"sandlot/internal/vm/vmtest"
)

func TestProbeWithoutADevice(t *testing.T) {
	v, err := Prober{Device: "/nonexistent/kvm"}.Probe(t.Context())
	if err != nil || v.KVM || !v.Known {
		t.Errorf("verdict %+v, %v", v, err)
	}
}

func TestProbeWithoutAKernelIsUnknown(t *testing.T) {
	v, err := Prober{Device: os.DevNull}.Probe(t.Context())
	if err != nil || v.KVM || v.Known || !strings.Contains(v.Detail, "kernel") {
		t.Errorf("verdict %+v, %v", v, err)
	}
}

// A verdict holds for one boot of the host and one kernel.
func TestProbeCache(t *testing.T) {
	dir := t.TempDir()
	kernel := filepath.Join(dir, "vmlinux")
	if err := os.WriteFile(kernel, []byte("k"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := Prober{Kernel: vm.Kernel{VMLinux: kernel}, Cache: filepath.Join(dir, "cache")}
	key, err := p.key()
	if err != nil {
		t.Fatal(err)
	}
	want := Verdict{KVM: true, Known: true, CPU: "host", Detail: "a guest booted", Duration: time.Second, Key: key}
	if err := p.store(want); err != nil {
		t.Fatal(err)
	}
	if got, ok := p.cached(key); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := p.cached("another boot"); ok {
		t.Error("a verdict of another boot was taken")
	}
	if err := os.WriteFile(kernel, []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := p.key(); err != nil || again == key {
		t.Errorf("another kernel has the same key, %v", err)
	}
	if err := os.WriteFile(p.Cache, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.cached(key); ok {
		t.Error("a broken cache was taken")
	}
}

// The prober must be able to say yes, or it proves nothing: under TCG the same
// guest boots. And it must say no to a guest that never gives the sign.
func TestProbeBoots(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM)
	p := Prober{
		Kernel: vmtest.Kernel(t), Initramfs: testInitramfs(t), Cmdline: "quiet testguest.probe", Dir: labtest.SocketDir(t),
		UID: testUID, GID: testUID, Limit: limit, tcg: true,
	}
	v, err := p.Probe(t.Context())
	if err != nil || !v.KVM || v.CPU != "qemu64" || v.Duration <= 0 {
		t.Errorf("verdict %+v, %v", v, err)
	}
	p.Limit, p.Marker = 100*time.Millisecond, "never printed"
	v, err = p.Probe(t.Context())
	if err != nil || v.KVM || !v.Known {
		t.Errorf("verdict %+v, %v", v, err)
	}
	if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKVMGroups(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		mode os.FileMode
		uid  uint32
		ok   bool
	}{
		"everybody":              {0o666, 1000, true},
		"root alone":             {0o600, 1000, false},
		"root alone, as root":    {0o600, 0, true},
		"everybody may read":     {0o664, 1000, os.Getgid() != 0},
		"the group has no write": {0o640, 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(device, tc.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := kvmGroups(device, tc.uid); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
