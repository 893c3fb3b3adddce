package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Doctor examines this host. The callbacks come from the packages that do
// the measured thing for real; a nil one leaves its check out.
type Doctor struct {
	// DataDir is where labd keeps its data; it need not exist.
	DataDir string
	// Tables begins the names of labd's nftables tables ("sandlot-"), Uplink
	// the names of its links on the host ("sl").
	Tables, Uplink string
	// KVM boots a probe guest; took is the time of that boot, though the
	// verdict may come from a cache.
	KVM func(ctx context.Context) (works bool, detail string, took time.Duration)
	// Pool tells the state of the volume pool.
	Pool func(ctx context.Context) (Pool, error)
	// QEMU is the program; empty means "qemu-system-x86_64".
	QEMU string
	// LookPath finds programs; nil means exec.LookPath, and the sbin folders
	// that are in root's path only.
	LookPath func(program string) (string, error)
}

// Examine runs every check, and the extra ones after them. It takes as long
// as the KVM probe, and about a tenth of a second besides.
func (d *Doctor) Examine(ctx context.Context, extra ...Check) Report {
	checks := []Check{d.root()}
	if d.KVM != nil {
		checks = append(checks, kvmVerdict(d.KVM(ctx)))
	}
	checks = append(checks, d.qemu(ctx))
	has := func(program string) bool {
		_, err := d.lookPath(program)
		return err == nil
	}
	checks = append(checks,
		toolsVerdict("tools", Error, "kernels and volumes are made with them", neededTools, has),
		toolsVerdict("image tools", Warning, "only for building images and btrfs drives", usefulTools, has))
	poolReady := false
	if d.Pool != nil {
		p, err := d.Pool(ctx)
		poolReady = err == nil && p.Ready
		checks = append(checks, poolVerdict(p, err))
	}
	checks = append(checks, loopCheck(poolReady))
	checks = append(checks, networkChecks()...)
	checks = append(checks, d.forward(), cgroupCheck(), d.disk(poolReady), memoryCheck())
	return NewReport(append(checks, extra...))
}

func (d *Doctor) lookPath(program string) (string, error) {
	if d.LookPath != nil {
		return d.LookPath(program)
	}
	found, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		found, err = exec.LookPath(filepath.Join(dir, program))
	}
	return found, err
}

func (d *Doctor) root() Check {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fail("root", err.Error(), "mount /proc")
	}
	return rootVerdict(os.Geteuid(), string(status))
}

func (d *Doctor) qemu(ctx context.Context) Check {
	program, err := d.lookPath(cmp.Or(d.QEMU, "qemu-system-x86_64"))
	if err != nil {
		return fail("qemu", "not installed", "apt-get install qemu-system-x86")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return fail("qemu", fmt.Sprintf("%s does not run: %v", program, err), "apt-get install --reinstall qemu-system-x86")
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return qemuVerdict(first)
}

// loopCheck asks for a free loop device without taking it.
func loopCheck(poolReady bool) Check {
	bad := fail
	if poolReady {
		bad = warn
	}
	f, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return bad("loop", err.Error(), "modprobe loop; not needed where the data directory is on XFS or btrfs")
	}
	defer f.Close()
	n, err := unix.IoctlRetInt(int(f.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return bad("loop", "no free device: "+err.Error(), "detach some (losetup -a lists them)")
	}
	return ok("loop", fmt.Sprintf("/dev/loop%d is free", n))
}

func (d *Doctor) forward() Check {
	on, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return fail("forward", err.Error(), "use a kernel with IPv4")
	}
	chains, err := forwardChains()
	if err != nil {
		return warn("forward", "cannot read the host's firewall: "+err.Error(), "run it as root, with nf_tables in the kernel")
	}
	return forwardVerdict(string(on), chains, cmp.Or(d.Tables, "sandlot-"), cmp.Or(d.Uplink, "sl"))
}

func cgroupCheck() Check {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return warn("cgroups", err.Error(), "mount /proc")
	}
	found := readCgroups(string(mounts), func(dir string) string {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		return string(text)
	})
	return found.verdict(func(dir string) error {
		group := filepath.Join(dir, fmt.Sprintf("sandlot-doctor-%d", os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Remove(group)
	})
}

func (d *Doctor) disk(poolReady bool) Check {
	dir := d.DataDir
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			return diskVerdict(dir, int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize, poolReady)
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" || dir == "." || dir == "" {
			return fail("disk", fmt.Sprintf("cannot measure %q: %v", d.DataDir, err), "choose another data directory")
		}
		dir = filepath.Dir(dir)
	}
}

func memoryCheck() Check {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return warn("memory", err.Error(), "mount /proc")
	}
	return memoryVerdict(string(meminfo))
}
