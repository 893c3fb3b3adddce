//go:build linux

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
)

// Prober tells whether KVM works by booting a guest under it. Nothing less
// will do: there are hosts whose /dev/kvm opens, answers every ioctl and runs
// a few instructions, and whose guests then hang for ever.
type Prober struct {
	// Kernel and Initramfs to boot. Without a kernel the verdict is unknown.
	// Without an initramfs the kernel's own end (no root filesystem) is taken
	// as the sign of life.
	Kernel    vm.Kernel
	Initramfs string
	// Marker is what the console must show; default vm.BootMarker, printed by
	// the first process: user mode works too.
	Marker string
	// Cmdline is the guest's kernel command line; default "panic=-1".
	Cmdline string
	// UID and GID QEMU runs as: KVM must work for them.
	UID, GID uint32
	// Dir is an existing directory; the probe makes and removes one in it.
	Dir string
	// Cache is the file that keeps the verdict; empty means no cache.
	Cache string
	// Limit of one boot; default 10 s.
	Limit time.Duration
	// Device is looked at before anything is booted; default /dev/kvm.
	Device string
	// tcg replaces the accelerator, for tests of the prober itself.
	tcg bool
}

// Verdict is the answer of a probe.
type Verdict struct {
	// KVM works. False also when it is not known.
	KVM bool `json:"kvm"`
	// Known is false if there was nothing to boot.
	Known bool `json:"known"`
	// CPU is the model that worked.
	CPU string `json:"cpu,omitempty"`
	// Detail is for a person.
	Detail string `json:"detail"`
	// Duration of the probe boot.
	Duration time.Duration `json:"duration"`
	// Key is what the verdict holds for: the host's boot and the kernel.
	Key string `json:"key"`
}

// noRootMarker is the kernel's last word without an initramfs.
const noRootMarker = "VFS: Unable to mount root fs"

// Probe gives the cached verdict, or boots a guest. The error is about the
// probe itself, never about KVM.
func (p Prober) Probe(ctx context.Context) (Verdict, error) {
	if p.Device == "" {
		p.Device = kvmDevice
	}
	if p.Limit == 0 {
		p.Limit = 10 * time.Second
	}
	if p.Marker == "" {
		p.Marker = vm.BootMarker
		if p.Initramfs == "" {
			p.Marker = noRootMarker
		}
	}
	if p.Cmdline == "" {
		p.Cmdline = "panic=-1"
	}
	if _, err := os.Stat(p.Device); err != nil && !p.tcg {
		return Verdict{Known: true, Detail: "this host has no " + p.Device}, nil
	}
	if p.Kernel == (vm.Kernel{}) {
		return Verdict{Detail: "no kernel to probe KVM with yet (labd kernel pull)"}, nil
	}
	key, err := p.key()
	if err != nil {
		return Verdict{}, err
	}
	if cached, ok := p.cached(key); ok {
		return cached, nil
	}
	// Whether KVM works comes first: a mend for the device's mode is no use
	// where it does not.
	var access error
	if !p.tcg {
		if _, access = kvmGroups(p.Device, p.UID); access != nil {
			p.UID, p.GID = 0, 0
		}
	}
	verdict, err := p.boot(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if verdict.KVM && access != nil {
		// Not kept: the mend shall show at once.
		verdict.KVM, verdict.Detail = false, "a guest booted as root, but "+access.Error()
		return verdict, nil
	}
	verdict.Key = key
	return verdict, p.store(verdict)
}

// key names what a verdict depends on: this boot of the host, the kernel that
// was booted and the user.
func (p Prober) key() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot read boot id: %v", err)
	}
	info, err := os.Stat(p.Kernel.VMLinux)
	if err != nil {
		return "", fmt.Errorf("cannot probe KVM: %v", err)
	}
	return fmt.Sprintf("%s %s %d %d %d", strings.TrimSpace(string(boot)), p.Kernel.VMLinux, info.Size(), info.ModTime().UnixNano(), p.UID), nil
}

func (p Prober) cached(key string) (Verdict, bool) {
	if p.Cache == "" {
		return Verdict{}, false
	}
	var v Verdict
	body, err := os.ReadFile(p.Cache)
	if err != nil || json.Unmarshal(body, &v) != nil || v.Key != key {
		return Verdict{}, false
	}
	return v, true
}

func (p Prober) store(v Verdict) error {
	if p.Cache == "" {
		return nil
	}
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.Cache+".new", body, 0o644); err != nil {
		return fmt.Errorf("cannot keep KVM verdict: %v", err)
	}
	if err := os.Rename(p.Cache+".new", p.Cache); err != nil {
		return fmt.Errorf("cannot keep KVM verdict: %v", err)
	}
	return nil
}

// boot tries CPU models until one boots. Some hosts abort QEMU at once with
// plain "host" (they lack an MSR it sets); only that leads to the next model:
// a guest that hangs is the end of it.
func (p Prober) boot(ctx context.Context) (Verdict, error) {
	var failures []string
	began := time.Now()
	models := []string{"host", "host,-arch-capabilities", "max"}
	if p.tcg {
		models = []string{"qemu64"}
	}
	for _, cpu := range models {
		v, early, err := p.bootOne(ctx, cpu)
		if err != nil {
			return Verdict{}, err
		}
		v.Duration = time.Since(began).Round(time.Millisecond)
		if v.KVM {
			return v, nil
		}
		failures = append(failures, fmt.Sprintf("-cpu %s: %s", cpu, v.Detail))
		if !early {
			break
		}
	}
	return Verdict{Known: true, Detail: strings.Join(failures, "; "), Duration: time.Since(began).Round(time.Millisecond)}, nil
}

// bootOne boots once; early tells that QEMU ended before the limit.
func (p Prober) bootOne(ctx context.Context, cpu string) (v Verdict, early bool, err error) {
	dir, err := os.MkdirTemp(p.Dir, "probe-")
	if err != nil {
		return Verdict{}, false, fmt.Errorf("cannot probe KVM: %v", err)
	}
	defer os.RemoveAll(dir)
	spec := vm.Spec{
		Name: filepath.Base(dir), Dir: dir, UID: p.UID, GID: p.GID, CPUs: 1, MemoryMiB: 256,
		Kernel: p.Kernel, Initramfs: p.Initramfs, Cmdline: p.Cmdline,
	}
	driver := New(Options{KVM: !p.tcg, CPU: cpu})
	if _, err := exec.LookPath(driver.options.Binary); err != nil {
		return Verdict{Detail: fmt.Sprintf("cannot find QEMU: %v", err)}, false, nil
	}
	defer func() {
		if killErr := driver.Kill(context.WithoutCancel(ctx), spec); err == nil {
			err = killErr
		}
	}()
	limited, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	m, err := driver.Start(limited, spec)
	if err != nil {
		if ctx.Err() != nil {
			return Verdict{}, false, ctx.Err()
		}
		return Verdict{Known: true, Detail: firstLine(err.Error())}, limited.Err() == nil, nil
	}
	// The console is a file that QEMU writes: there is nothing to wait on but
	// its growth.
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	var ended *vm.Event
	for {
		console, err := vm.ReadConsole(dir)
		if err != nil {
			return Verdict{}, false, err
		}
		if bytes.Contains(console, []byte(p.Marker)) {
			return Verdict{KVM: true, Known: true, CPU: cpu, Detail: "a guest booted"}, false, nil
		}
		if ended != nil {
			log, _ := os.ReadFile(filepath.Join(dir, launch.LogFile))
			return Verdict{Known: true, Detail: "QEMU ended: " + vm.Tail(append(log, ended.Detail...), 3)}, true, nil
		}
		select {
		case <-look.C:
		case event := <-m.Events():
			if event.Kind == vm.Exited {
				ended = &event // a guest may give its sign and end between two looks
			}
		case <-limited.Done():
			if ctx.Err() != nil {
				return Verdict{}, false, ctx.Err()
			}
			return Verdict{Known: true, Detail: fmt.Sprintf("the guest did not start within %v; its last line: %q", p.Limit, vm.Tail(console, 1))}, false, nil
		}
	}
}

func firstLine(s string) string {
	line, rest, _ := strings.Cut(s, "\n")
	if rest = strings.TrimSpace(rest); rest != "" {
		line += ": " + strings.ReplaceAll(rest, "\n", ": ")
	}
	return line
}
