// Package vm is the driver contract between the engine and a VMM (a backend).
// In goes a Spec with no optional field left open; out comes a running Machine
// with a channel to its agent and a stream of events.
//
// A driver keeps everything it needs to find its process again under
// Spec.Dir, so that a later labd adopts a machine that outlived an earlier one.
//
//	Start ─▶ running ──guest reboot──▶ Event{Reset}  (machine goes on)
//	            │──guest poweroff────▶ Event{Exited, Poweroff}
//	            │──VMM died──────────▶ Event{Exited, Crashed}
//	            └──Kill──────────────▶ Event{Exited, Killed}
//
// vmtest is the contract as a test suite; every driver passes it.
package vm

import (
	"context"
	"errors"
	"net"
)

// ErrNotRunning is returned by Adopt when no live VMM belongs to a Spec.
var ErrNotRunning = errors.New("machine is not running")

// MaxDir bounds the length of Spec.Dir in bytes.
const MaxDir = 80

// Spec is everything a driver needs to run one machine. Paths are absolute.
type Spec struct {
	// Name is unique on the host and safe in file, cgroup and process names:
	// "<play id>-<machine>".
	Name string
	// Dir is the run directory; it exists. Sockets, the console and the pid
	// record live in it. Start makes it root's: a VMM that its guest has taken
	// over must not place names in it that labd would follow. At most MaxDir
	// bytes long, so that Unix socket paths fit in sun_path (108 bytes).
	Dir string
	// UID and GID the VMM runs as; it can read the kernel and the initramfs
	// and open the drives. 0 means: do not change user (tests only).
	UID, GID uint32
	// NetNS is the path of the network namespace that holds the taps; empty
	// means the caller's own.
	NetNS string
	// Cgroup is the parent cgroup's name for this instance of labd; a driver
	// puts its process into "<Cgroup>/<Name>". Empty means none.
	Cgroup string
	// CPUWeight is the machine's share of the processors from the beginning, as
	// Weigher sets it later; 0 is FullWeight.
	CPUWeight int
	// CPUs is the number of vCPUs, at least 1.
	CPUs int
	// MemoryMiB is guest memory in MiB.
	MemoryMiB int
	Kernel    Kernel
	// Initramfs is the whole (concatenated) initramfs file.
	Initramfs string
	// Cmdline is the kernel command line, without a console argument: the
	// driver knows which console it offers and adds it.
	Cmdline string
	// Drives appear as /dev/vda, /dev/vdb, … in this order.
	Drives []Drive
	// NICs appear on the PCI bus in this order.
	NICs []NIC
}

// Kernel is one kernel in the two forms VMMs take.
type Kernel struct {
	BzImage string // compressed, with the Linux boot header
	VMLinux string // uncompressed ELF with a PVH entry note
}

// Drive is one raw volume file.
type Drive struct {
	Path     string
	ReadOnly bool
}

// NIC is one tap device in Spec.NetNS and the MAC its guest side has.
type NIC struct {
	Tap string
	MAC string // "02:xx:xx:xx:xx:xx"
}

// Capabilities is what a backend can do; the plan checks it before anything
// is made.
type Capabilities struct {
	MaxDrives       int
	MaxNICs         int
	Discard         bool   // guest discards free space in the volume
	Nested          bool   // machines can run KVM themselves
	RebootInProcess bool   // a guest reboot keeps the VMM process
	Isolation       string // "kvm" or "none"
}

// Driver starts and finds machines of one backend. All methods may be called
// again with the same Spec: Start of a running machine adopts it, Kill of a
// dead one succeeds.
//
// A driver that holds on to machines is also an io.Closer: Close lets go of
// all without touching them, so that another driver can adopt them.
type Driver interface {
	// Start boots the machine and returns once its VMM runs.
	Start(ctx context.Context, spec Spec) (Machine, error)
	// Adopt finds a machine an earlier labd started; ErrNotRunning if there
	// is none. A machine that powered itself off meanwhile is returned and
	// reports its exit as its first event.
	Adopt(ctx context.Context, spec Spec) (Machine, error)
	// Kill ends the VMM and waits until it is gone. It needs only Spec.Name,
	// Spec.Dir and Spec.Cgroup.
	Kill(ctx context.Context, spec Spec) error
	Capabilities() Capabilities
}

// Machine is one running VMM.
type Machine interface {
	// Agent opens the byte channel to the agent in the guest. At most one is
	// open at a time; opening another closes the former.
	Agent(ctx context.Context) (net.Conn, error)
	// Events is closed after the Exited event, and without one when the driver
	// is closed.
	Events() <-chan Event
	// PID of the VMM process, for accounting; 0 if there is none.
	PID() int
}

// EventKind says what happened to a machine.
type EventKind string

const (
	Reset  EventKind = "reset"  // the guest rebooted in process
	Exited EventKind = "exited" // the VMM is gone
)

// Reason says why a machine exited.
type Reason string

const (
	Poweroff Reason = "poweroff" // the guest asked for it
	Killed   Reason = "killed"   // Driver.Kill did it
	Crashed  Reason = "crashed"  // anything else
)

// Event is one thing that happened to a machine. Detail is for a person.
type Event struct {
	Kind   EventKind
	Reason Reason
	Detail string
}

// FullWeight is what a machine that nobody has weighed has.
const FullWeight = 100

// Weigher is the extra power of backends whose machines can get more of the
// host's processors than others, where there is not enough for all.
type Weigher interface {
	// SetCPUWeight sets the machine's share, 1 to 10,000, beside machines that
	// have FullWeight.
	SetCPUWeight(weight int) error
}

// Pauser is the extra power of backends whose machines can be paused.
type Pauser interface {
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}
