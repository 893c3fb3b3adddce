package vmtest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/ulikunitz/xz"

	"sandlot/internal/vm"
)

// KernelEnv names the directory with bzImage, vmlinux and modules that tests
// boot: there is no network in a test.
const KernelEnv = "LAB_KERNEL"

// guestModules are loaded by the test guest in this order.
var guestModules = []string{
	"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
	"failover", "net_failover", "virtio_net", "virtio_blk", "virtio_console", "pvpanic", "pvpanic-mmio",
}

// Kernel gives the kernel under LAB_KERNEL; a test that was asked for with
// LAB_TEST=vm fails without it.
func Kernel(t testing.TB) vm.Kernel {
	t.Helper()
	dir := os.Getenv(KernelEnv)
	if dir == "" {
		t.Fatalf("%s is not set: it names a directory with bzImage, vmlinux and modules (labd kernel pull makes one)", KernelEnv)
	}
	kernel := vm.Kernel{BzImage: filepath.Join(dir, "bzImage"), VMLinux: filepath.Join(dir, "vmlinux")}
	for _, path := range []string{kernel.BzImage, kernel.VMLinux} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%s=%s: %v", KernelEnv, dir, err)
		}
	}
	return kernel
}

// Initramfs builds the test guest and writes its initramfs to path.
func Initramfs(t testing.TB, path string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, "sandlot/internal/vm/vmtest/testguest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build test guest: %v\n%s", err, out)
	}
	init, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	archive := bytes.Buffer{}
	w := cpio.NewWriter(&archive)
	add := func(name string, mode cpio.FileMode, body []byte) {
		if err := w.WriteHeader(&cpio.Header{Name: name, Mode: mode, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	add("dev", cpio.TypeDir|0o755, nil)
	add("modules", cpio.TypeDir|0o755, nil)
	add("init", cpio.TypeReg|0o755, init)
	for i, body := range modules(t, filepath.Join(os.Getenv(KernelEnv), "modules")) {
		// What a kernel has built in is not there to load.
		if body != nil {
			add(fmt.Sprintf("modules/%02d-%s.ko", i, guestModules[i]), cpio.TypeReg|0o644, body)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// modules reads each of guestModules from somewhere below dir.
func modules(t testing.TB, dir string) [][]byte {
	t.Helper()
	found := make([][]byte, len(guestModules))
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, suffix, _ := strings.Cut(entry.Name(), ".ko")
		name = strings.ReplaceAll(name, "-", "_")
		for i, want := range guestModules {
			if name != strings.ReplaceAll(want, "-", "_") || found[i] != nil {
				continue
			}
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if suffix == ".xz" {
				unpacked, err := xz.NewReader(bytes.NewReader(body))
				if err != nil {
					return err
				}
				if body, err = io.ReadAll(unpacked); err != nil {
					return err
				}
			}
			found[i] = body
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
