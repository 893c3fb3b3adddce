// Package labinit is the first process of every machine. In goes the
// initramfs it was started from: its modules and the machine's wire.Config;
// out comes a machine whose root drive is mounted and whose name, keys,
// network and files are as configured, with the agent running and the image's
// own init as process 1.
//
//	kernel ─▶ mount /proc /sys /dev ─▶ modules ─▶ drives ─▶ identity ─▶ agent ─▶ image's init
//	                                         └──▶ network ───┘
package labinit

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/guest/agent"
	"sandlot/guest/initramfs/list"
	"sandlot/guest/wire"
)

const newRoot = "/newroot"

// deviceWait bounds the wait for the root drive. Virtio drives are there when
// their module's loading returns; this is for slow emulation.
const deviceWait = 15 * time.Second

// inits are the places an image's init is looked for, in the kernel's order
// and then systemd's own.
var inits = []string{"/sbin/init", "/etc/init", "/bin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/init"}

// Main runs as process 1 and never returns.
func Main() {
	start := time.Now()
	if err := boot(start); err != nil {
		say("fatal: %v", err)
		powerOff()
	}
}

// say writes a line for whoever reads the console of the boot.
func say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(os.Stderr, "labinit: %s\n", strings.TrimRight(line, "\n"))
	}
}

// warn reports what went wrong but must not keep a person out of the machine.
func warn(err error) {
	if err != nil {
		say("%v", err)
	}
}

// powerOff gives the console a moment to carry the last lines out: the serial
// port of a slow VMM still holds them when write returns.
func powerOff() {
	unix.IoctlSetInt(2, unix.TCSBRK, 1)
	time.Sleep(time.Second)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func boot(start time.Time) error {
	if err := mountKernelFilesystems(); err != nil {
		return err
	}
	bootID, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	say("boot %s", strings.TrimSpace(string(bootID)))
	body, err := os.ReadFile(wire.ConfigPath)
	if err != nil {
		return fmt.Errorf("cannot read the machine's configuration: %v", err)
	}
	var config wire.Config
	if err := json.Unmarshal(body, &config); err != nil {
		return fmt.Errorf("cannot understand the machine's configuration: %v", err)
	}
	listing, err := os.ReadFile(list.Path)
	if err != nil {
		return fmt.Errorf("cannot read the list of modules: %v", err)
	}
	extra, _ := os.ReadFile(list.Extra)
	listing = append(listing, extra...)
	verbose := traced()
	trace := func(what string) {
		if verbose {
			say("%s after %d ms", what, time.Since(start).Milliseconds())
		}
	}
	mods := newModules(string(listing))
	if err := mods.ensure("virtio_pci"); err != nil {
		return err
	}
	devices := virtioDevices()
	if len(devices) == 0 {
		warn(mods.ensure("virtio_mmio"))
		devices = virtioDevices()
	}
	trace("virtio bus")
	// The drive and the other devices have nothing to wait for in each other;
	// on two CPUs the network is ready before the root drive is mounted.
	network := make(chan error, 1)
	go func() {
		var errs []error
		for _, name := range virtioModules(devices) {
			errs = append(errs, mods.ensure(name))
		}
		if config.Hostname != "" {
			errs = append(errs, unix.Sethostname([]byte(config.Hostname)))
		}
		errs = append(errs, creditSeed(config.Seed), configureNetwork(config.Interfaces))
		network <- errors.Join(errs...)
	}()
	if err := mods.ensure("virtio_blk"); err != nil {
		return err
	}
	trace("drive module")
	grown, err := mountRoot(mods, config.Root)
	if err != nil {
		return err
	}
	trace("root mounted")
	root := tree{newRoot}
	if err := mountInRoot(root); err != nil {
		return err
	}
	var problems []error
	note := func(err error) {
		warn(err)
		problems = append(problems, err)
	}
	if file, err := root.resolve(findInit(root)); err == nil && path.Base(file) == "systemd" {
		mountForSystemd()
	}
	// Before any file is written: some belong on these drives.
	note(mountDrives(mods, root, config.Mounts))
	note(growUnmounted(mods, config.Grow))
	trace("drives mounted")
	note(writeIdentity(root, config))
	trace("identity")
	note(<-network)
	trace("network")
	if err := installAgent(config); err != nil {
		warn(fmt.Errorf("cannot install agent: %v", err))
	}
	note(<-grown)
	trace("root grown")
	if err := switchRoot(); err != nil {
		return err
	}
	init := findInit(tree{"/"})
	warn(startAgent(agent.Options{Init: init, NoSSH: config.NoSSH, Problem: problemText(errors.Join(problems...))}))
	trace("agent started")
	if init == "" {
		say("the image has no init; keeping the machine alive without one")
		return runWithoutInit(config.NoSSH)
	}
	if err := unix.Exec(init, []string{init}, os.Environ()); err != nil {
		return fmt.Errorf("cannot start %s: %v", init, err)
	}
	return nil
}

// problemText is what the host is told, a line for each problem.
func problemText(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), wire.MaxProblem)], "")
}

// traced tells whether "sandlot.trace" is on the kernel command line: then
// every stage says when it was reached.
func traced() bool { return slices.Contains(kernelOptions(), "sandlot.trace") }

// kernelOptions are the words of the kernel's command line.
func kernelOptions() []string {
	b, _ := os.ReadFile("/proc/cmdline")
	return strings.Fields(string(b))
}

func mountKernelFilesystems() error {
	for _, m := range []struct {
		source, target, kind, data string
		flags                      uintptr
	}{
		{"proc", "/proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "devtmpfs", "mode=0755", unix.MS_NOSUID | unix.MS_STRICTATIME},
		// Here already, so that terminals work before the image's init.
		{"devpts", "/dev/pts", "devpts", "mode=0620,gid=5,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil && err != unix.EBUSY {
			return fmt.Errorf("cannot mount %s: %v", m.target, err)
		}
	}
	return nil
}

// mountForSystemd mounts what systemd mounts at every boot, by a process each,
// the same way: it then finds that done. What this kernel lacks is left out.
func mountForSystemd() {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		target, kind string
		flags        uintptr
	}{
		{"/dev/hugepages", "hugetlbfs", 0},
		{"/dev/mqueue", "mqueue", flags},
		{"/sys/kernel/debug", "debugfs", flags},
		{"/sys/kernel/tracing", "tracefs", flags},
	} {
		if strings.HasPrefix(m.target, "/dev/") {
			os.Mkdir(m.target, 0o755)
		}
		unix.Mount(m.kind, m.target, m.kind, m.flags, "")
	}
}

// creditSeed adds the host's random bytes to the pool and counts them: a fresh
// machine under emulation has no other good source for seconds.
func creditSeed(seed string) error {
	if seed == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(seed)
	if err != nil {
		return fmt.Errorf("cannot read the random seed: %v", err)
	}
	if err := CreditEntropy(b); err != nil {
		return fmt.Errorf("cannot credit the random seed: %v", err)
	}
	return nil
}

// mountInRoot gives the new root the filesystems an initrd is expected to
// leave there (systemd.io/INITRD_INTERFACE).
func mountInRoot(root tree) error {
	for _, dir := range []string{"proc", "sys", "dev", "run"} {
		info, err := os.Lstat(newRoot + "/" + dir)
		if err == nil && info.IsDir() {
			continue
		}
		// A symlink here would make us mount somewhere else.
		os.Remove(newRoot + "/" + dir)
		if err := os.Mkdir(newRoot+"/"+dir, 0o755); err != nil {
			return fmt.Errorf("cannot make /%s: %v", dir, err)
		}
	}
	if err := unix.Mount("tmpfs", newRoot+"/run", "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_STRICTATIME, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount /run: %v", err)
	}
	return nil
}

func switchRoot() error {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("cannot move %s: %v", dir, err)
		}
	}
	// The initramfs stays below the new root for ever; what is in it is
	// memory, and secrets.
	os.RemoveAll("/sandlot")
	os.Remove("/init")
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("cannot move the root: %v", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("cannot change root: %v", err)
	}
	return os.Chdir("/")
}

func findInit(root tree) string {
	for _, name := range inits {
		file, err := root.resolve(name)
		if err != nil {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return name
		}
	}
	return ""
}
