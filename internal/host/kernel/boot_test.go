package kernel

import (
	"bufio"
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandlot/internal/labtest"
)

// Every kernel of the store at LAB_KERNELS boots from its vmlinux by PVH up
// to the panic for want of a root. Without LAB_KERNELS a store in the user's
// cache folder is used, and 6.1 is pulled into it.
func TestVMLinuxBootsByPVH(t *testing.T) {
	labtest.Require(t, labtest.VM)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: cmp.Or(os.Getenv("LAB_KERNELS"), filepath.Join(cache, "sandlot-test", "kernels"))}
	if _, err := s.Ensure(ctx, "6.1", func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		t.Run(k.Version, func(t *testing.T) {
			cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "qemu64", "-m", "256",
				"-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
				"-kernel", k.VMLinux(), "-append", "console=ttyS0 panic=-1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var console []string
			var version, panicked bool
			for lines := bufio.NewScanner(out); lines.Scan(); {
				line := lines.Text()
				console = append(console, line)
				version = version || strings.Contains(line, "Linux version "+k.Release+" ")
				panicked = panicked || strings.Contains(line, "VFS: Unable to mount root fs")
			}
			if err := cmd.Wait(); err != nil || !version || !panicked {
				t.Errorf("%v; last lines:\n%s", err, strings.Join(console[max(0, len(console)-50):], "\n"))
			}
		})
	}
}
