//go:build linux

// Package qemu is the driver for QEMU's q35 machine, under KVM or TCG. In goes
// a vm.Spec; out comes a QEMU process whose argument list is a pure function
// of it (Args), watched over QMP.
//
// QEMU runs as an unprivileged user in a directory it cannot write: the
// console, both sockets and the taps reach it as descriptors that labd opened.
// Sockets are bound before QEMU starts, so connecting never races with it.
//
// A guest's poweroff or kernel panic pauses QEMU instead of ending it: the
// state waits there until some labd, perhaps a later one, has seen it and
// sends "quit". A guest's reboot stays in the process.
//
//	running ──guest reboot────▶ running         (RESET)
//	   ├─────guest poweroff───▶ shutdown  ─quit─▶ Exited/Poweroff
//	   ├─────guest panic──────▶ guest-panicked ─▶ Exited/Crashed
//	   ├─────KVM gave up──────▶ internal-error ─▶ Exited/Crashed
//	   └─────process died───────────────────────▶ Exited/Crashed or Killed
package qemu

import (
	"fmt"
	"log/slog"
	"strings"

	"sandlot/guest/wire"
	"sandlot/internal/vm"
)

// Options choose among what every machine of a driver shares. The zero value
// is QEMU from PATH, under TCG.
type Options struct {
	// Binary is QEMU's path or name; default "qemu-system-x86_64".
	Binary string
	// KVM uses the kernel's virtual machines; decide it by Probe only.
	KVM bool
	// CPU is QEMU's CPU model; default "host" under KVM, else DefaultTCGCPU.
	CPU string
	// TBSizeMiB bounds TCG's buffer of translated code; default 256. QEMU's
	// own default is 1 GiB, which the memory limit would have to include.
	TBSizeMiB int
	// SeaBIOS boots with QEMU's default firmware instead of qboot.
	SeaBIOS bool
	// BzImage boots the compressed kernel instead of the ELF by PVH.
	BzImage bool
	// DirectIO bypasses the host's page cache. Off by default: the cache's
	// read-ahead shortens a boot, guests' flushes are honoured either way.
	DirectIO bool
	// ConsoleLimit is when a console file is cut, in bytes; default 4 MiB.
	// At most twice as much is kept.
	ConsoleLimit int64
	// Log is told of machines that run without a limit; default nobody.
	Log *slog.Logger
}

// DefaultTCGCPU is the CPU model under TCG.
//
// qemu64 lacks SSE4.2 and POPCNT: images built for x86-64-v2 (Rocky 9 and its
// kin) do not run on it. "max" costs boot time for features nothing asks for.
const DefaultTCGCPU = "Nehalem"

const (
	defaultBinary  = "qemu-system-x86_64"
	defaultTBSize  = 256
	defaultConsole = 4 << 20
)

func (o Options) withDefaults() Options {
	if o.Binary == "" {
		o.Binary = defaultBinary
	}
	if o.CPU == "" {
		o.CPU = DefaultTCGCPU
		if o.KVM {
			o.CPU = "host"
		}
	}
	if o.TBSizeMiB == 0 {
		o.TBSizeMiB = defaultTBSize
	}
	if o.ConsoleLimit == 0 {
		o.ConsoleLimit = defaultConsole
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Slots of q35's root bus. Slot 0 is the host bridge, 31 the chipset. Each
// device has a slot of its own whatever else the machine has, and the guest
// enumerates in slot order, so names follow from the position in the Spec.
const (
	slotControl = 1  // function 0 the agent's serial bus, function 1 the rng
	slotDrives  = 2  // to 25
	slotNICs    = 26 // to 30

	maxDrives = slotNICs - slotDrives
	maxNICs   = 31 - slotNICs
)

// Descriptors that the process starts with, see launch.Command.Files.
const (
	fdConsole = 3
	fdQMP     = 4
	fdAgent   = 5
	fdTaps    = 6 // one for each NIC
)

// Args gives QEMU's arguments for a machine, without the program's name.
func Args(spec vm.Spec, options Options) []string {
	o := options.withDefaults()
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-name", "guest=" + escape(spec.Name) + ",debug-threads=on",
		// No SMM, SATA or SMBus: nothing here uses them, the firmware and the
		// guest would spend time on them.
		"-machine", "q35,usb=off,vmport=off,smm=off,sata=off,smbus=off,dump-guest-core=off",
		// A guest that suspends could never be woken.
		"-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1",
	}
	if o.KVM {
		args = append(args, "-accel", "kvm")
	} else {
		args = append(args, "-accel", fmt.Sprintf("tcg,thread=multi,tb-size=%d", o.TBSizeMiB))
	}
	args = append(args,
		"-cpu", o.CPU,
		"-smp", fmt.Sprintf("cpus=%d,sockets=1,cores=%d,threads=1", spec.CPUs, spec.CPUs),
		"-m", fmt.Sprintf("size=%dM", spec.MemoryMiB),
		"-rtc", "base=utc",
	)
	if !o.SeaBIOS {
		args = append(args, "-bios", "qboot.rom")
	}
	kernel := spec.Kernel.VMLinux
	if o.BzImage {
		kernel = spec.Kernel.BzImage
	}
	args = append(args, "-kernel", kernel)
	if spec.Initramfs != "" {
		args = append(args, "-initrd", spec.Initramfs)
	}
	cmdline := spec.Cmdline + " console=ttyS0"
	if !o.KVM {
		// The kernel counts timer interrupts against its clock, and panics if
		// few came: on a busy host an emulated processor runs too seldom. Under
		// KVM the kernel leaves this out by itself. And an emulated processor
		// has none of the flaws that a kernel works around at every system call:
		// page-table isolation alone doubles the time of a boot.
		cmdline += " no_timer_check mitigations=off"
	}
	args = append(args,
		"-append", strings.TrimSpace(cmdline),
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-action", "reboot=reset,shutdown=pause,panic=pause",
		"-add-fd", fmt.Sprintf("set=1,fd=%d", fdConsole),
		"-chardev", "file,id=console,path=/dev/fdset/1,append=on", "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", fdQMP), "-mon", "chardev=qmp,mode=control",
		"-device", "pvpanic",
		// Port 0 is reserved for a console: two ports are the least there is,
		// the default 31 would cost 62 virtqueues.
		"-device", device("virtio-serial-pci", slotControl, "multifunction=on", "max_ports=2"),
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d,server=on,wait=off", fdAgent),
		"-device", "virtserialport,chardev=agent,name="+wire.PortName,
		"-object", "rng-builtin,id=rng",
		"-device", fmt.Sprintf("virtio-rng-pci,bus=pcie.0,addr=%#x.1,rng=rng", slotControl),
	)
	for i, drive := range spec.Drives {
		args = append(args, driveArgs(i, drive, o)...)
	}
	for i, nic := range spec.NICs {
		args = append(args,
			"-netdev", fmt.Sprintf("tap,id=net%d,fd=%d", i, fdTaps+i),
			// Without an option ROM for network boot: it saves seconds.
			"-device", device("virtio-net-pci", slotNICs+i, fmt.Sprintf("netdev=net%d", i), "mac="+nic.MAC, "romfile="))
	}
	return args
}

func driveArgs(i int, drive vm.Drive, o Options) []string {
	name := fmt.Sprintf("vd%c", 'a'+i)
	aio := "threads"
	if o.DirectIO {
		aio = "native"
	}
	return []string{
		"-blockdev", fmt.Sprintf("driver=raw,node-name=%s,read-only=%s,discard=unmap,detect-zeroes=off,cache.direct=%s,"+
			"file.driver=file,file.aio=%s,file.filename=%s", name, onOff(drive.ReadOnly), onOff(o.DirectIO), aio, escape(drive.Path)),
		// A full pool is an I/O error inside, as on every other backend, not a
		// silent pause that somebody would have to notice.
		"-device", device("virtio-blk-pci", slotDrives+i, "drive="+name, "werror=report", "rerror=report"),
	}
}

func device(kind string, slot int, properties ...string) string {
	return fmt.Sprintf("%s,bus=pcie.0,addr=%#x,%s", kind, slot, strings.Join(properties, ","))
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// escape doubles commas, which separate properties.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// check refuses what Args cannot express.
func check(spec vm.Spec) error {
	switch {
	case spec.Name == "" || strings.ContainsAny(spec.Name, "/\x00\n"):
		return fmt.Errorf("cannot use %q as a machine's name", spec.Name)
	case spec.CPUs < 1 || spec.MemoryMiB < 1:
		return fmt.Errorf("cannot run %q with %d CPUs and %d MiB", spec.Name, spec.CPUs, spec.MemoryMiB)
	case len(spec.Drives) > maxDrives:
		return fmt.Errorf("cannot give %q %d drives: qemu takes %d", spec.Name, len(spec.Drives), maxDrives)
	case len(spec.NICs) > maxNICs:
		return fmt.Errorf("cannot give %q %d interfaces: qemu takes %d", spec.Name, len(spec.NICs), maxNICs)
	case len(spec.Dir) > vm.MaxDir:
		return fmt.Errorf("cannot use run directory %q: %d bytes is over %d", spec.Dir, len(spec.Dir), vm.MaxDir)
	}
	return nil
}
