// Package wire is what crosses the border between labd and a machine: the
// per-machine configuration that labinit finds in the initramfs, and the
// messages of the agent's channel. Standard library only: it is linked into
// the guest's first process as well as into labd.
//
// # Channel
//
// The channel is one reliable byte stream (a virtio-serial port or a vsock
// connection) that either side may lose and reopen at any time. The host opens
// with a handshake line "SANDLOT <nonce>\n" and discards everything it reads
// until the answer "AGENT <nonce>\n"; then both run yamux on it, the host as
// client.
//
// Neither side can know what a former session left in the channel, so both
// ends are written to recover from any stale bytes:
//   - The host repeats its line (same nonce, preceded by "\n") until it is
//     answered, now and then behind HandshakePad newlines. A newline is no
//     valid start of a yamux frame and the pad is longer than any frame, so an
//     agent that still sits in the old session, even in mid-frame, leaves it.
//   - The agent answers each nonce once and then skips newlines and repeated
//     lines until the first yamux byte (0).
//   - An agent that starts, or that reads bytes it cannot understand, writes
//     HandshakeHello: no yamux either, so a host that missed the guest's
//     reboot notices.
//   - Nobody writes a yamux frame over MaxChunk plus a frame's header.
//
// Each stream starts with one Request from the host and one Response
// from the agent, as frames (see WriteMessage); what follows depends on the
// operation. The host trusts nothing the agent says: sizes are bounded, text
// is data.
package wire

import "fmt"

// ConfigPath is where labinit finds its Config in the initramfs.
const ConfigPath = "/sandlot/config.json"

// PortName is the virtio-serial port that carries the channel on QEMU.
const PortName = "org.sandlot.agent"

// VsockPort is the vsock port the agent listens on where there is vsock.
const VsockPort = 1024

// GuestDir holds what labinit leaves in the machine: the agent and its config.
const GuestDir = "/run/sandlot"

// UpSlice is the unit by whose cgroup the agent knows how far systemd is.
const UpSlice = "sandlotup.slice"

// UpFile is there once the agent has seen that tasks may run.
const UpFile = GuestDir + "/up"

// Config is all a machine is told about itself at boot.
type Config struct {
	Hostname  string `json:"hostname"`
	MachineID string `json:"machineID"` // 32 hex digits
	Root      Mount  `json:"root"`
	// Mounts are the other mounted drives; each gets a line in fstab.
	Mounts []Mount `json:"mounts,omitempty"`
	// Unmounted tells that there are drives besides these: who wants one asks
	// udev which it is.
	Unmounted bool `json:"unmounted,omitempty"`
	// Grow are the devices of writable drives with an image that are not
	// mounted: their filesystem is made as large as the drive.
	Grow       []string    `json:"grow,omitempty"`
	Interfaces []Interface `json:"interfaces,omitempty"`
	Nameserver string      `json:"nameserver,omitempty"`
	// Hosts are lines for /etc/hosts besides localhost.
	Hosts []Host `json:"hosts,omitempty"`
	Users []User `json:"users,omitempty"`
	// SSHHostKey is an OpenSSH private key (PEM, ed25519).
	SSHHostKey string `json:"sshHostKey,omitempty"`
	// SSHUserKey is the private key the play's machines use among themselves;
	// its public half is in every user's AuthorizedKeys.
	SSHUserKey string `json:"sshUserKey,omitempty"`
	// KnownHosts are known_hosts lines for the machines of the play.
	KnownHosts []string `json:"knownHosts,omitempty"`
	// CACertificates are PEM blocks the machine's system store shall trust.
	CACertificates []string      `json:"caCertificates,omitempty"`
	StartupFiles   []StartupFile `json:"startupFiles,omitempty"`
	// InitConditions are the values chosen for the play; nil stands for null.
	InitConditions map[string]*string `json:"initConditions,omitempty"`
	NoSSH          bool               `json:"noSSH,omitempty"`
	// Seed is 32 random bytes, base64, credited to the guest's random pool.
	Seed string `json:"seed,omitempty"`
}

// Mount is one drive with a filesystem.
type Mount struct {
	Device     string `json:"device"` // "/dev/vda"
	Path       string `json:"path"`   // "/" for the root drive
	Filesystem string `json:"filesystem"`
	ReadOnly   bool   `json:"readOnly,omitempty"`
}

// Interface is one NIC, found by its MAC and renamed to Name.
type Interface struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	Address string `json:"address"`           // "172.16.0.2/24"
	Gateway string `json:"gateway,omitempty"` // only where the default route goes
}

// Host is one line of /etc/hosts.
type Host struct {
	Address string   `json:"address"`
	Names   []string `json:"names"`
}

// User is an account of the image.
type User struct {
	Name           string   `json:"name"`
	Welcome        string   `json:"welcome,omitempty"` // "" image's own, "-" none
	AuthorizedKeys []string `json:"authorizedKeys,omitempty"`
}

// StartupFile is as in the manifest.
type StartupFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Append  bool   `json:"append,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Mode    string `json:"mode,omitempty"`
}

// Operations of the agent.
const (
	OpInfo      = "info"      // Response.Info, then the stream ends
	OpWatch     = "watch"     // Event messages until either side closes
	OpExec      = "exec"      // frames of a process, see FrameType
	OpDial      = "dial"      // raw bytes of a TCP connection made inside
	OpListen    = "listen"    // Accepted messages, one per connection made inside
	OpAccept    = "accept"    // raw bytes of a connection that OpListen announced
	OpPut       = "put"       // extract a tar: frames as of OpExec, the tar is stdin, stderr says what failed
	OpGet       = "get"       // make a tar: frames as of OpExec, the tar is stdout
	OpAuthorize = "authorize" // add a public key to a user
	OpPorts     = "ports"     // Response.Ports: listening TCP ports
	OpLinks     = "links"     // Response.Links: network interfaces
	OpShutdown  = "shutdown"  // ask the machine's init to power off or reboot
	OpRestored  = "restored"  // reseed and set the clock after a snapshot restore
	OpTask      = "task"      // run a task once, or go on with it: see Task
	OpAnnounce  = "announce"  // write a message to every terminal
)

// Request opens a stream. Exactly the field of its operation is set.
type Request struct {
	Op        string     `json:"op"`
	Exec      *Exec      `json:"exec,omitempty"`
	Dial      *Dial      `json:"dial,omitempty"` // for OpDial and OpListen
	Accept    string     `json:"accept,omitempty"`
	Copy      *Copy      `json:"copy,omitempty"` // for OpPut and OpGet
	Authorize *Authorize `json:"authorize,omitempty"`
	Shutdown  string     `json:"shutdown,omitempty"` // "poweroff" or "reboot"
	Restored  *Restored  `json:"restored,omitempty"`
	Task      *Task      `json:"task,omitempty"`
	Announce  string     `json:"announce,omitempty"`
}

// Response answers a Request. Error is empty on success.
type Response struct {
	Error string `json:"error,omitempty"`
	Info  *Info  `json:"info,omitempty"`
	Ports []Port `json:"ports,omitempty"`
	Links []Link `json:"links,omitempty"`
	// Listening is the address OpListen listens on, with its real port.
	Listening string `json:"listening,omitempty"`
	// Beside is an offer to an OpDial that asked for one.
	Beside *Beside `json:"beside,omitempty"`
	// Direct is the port for an OpDial that said it can; see Direct.
	Direct int `json:"direct,omitempty"`
	// Confirmed, with Direct: the machine is the other end of the connection.
	Confirmed bool `json:"confirmed,omitempty"`
}

// Info describes the running guest.
type Info struct {
	BootID   string `json:"bootID"`
	Hostname string `json:"hostname"`
	Kernel   string `json:"kernel"` // uname -r
	Init     string `json:"init"`   // what labinit handed over to
}

// Exec runs a program as a user. With Login, the environment is that of a
// login shell of the user (HOME, USER, SHELL, PATH, working directory) and an
// empty Argv means the user's shell.
type Exec struct {
	Argv  []string          `json:"argv,omitempty"`
	User  string            `json:"user,omitempty"` // default root
	Env   map[string]string `json:"env,omitempty"`
	Dir   string            `json:"dir,omitempty"`
	Login bool              `json:"login,omitempty"`
	// TTY, if set, gives the process a terminal; stderr is then part of stdout.
	TTY *TTY `json:"tty,omitempty"`
	// Keep, if set, names a process with a terminal that outlives its stream:
	// another OpExec with the same name goes on with it. The first frame of
	// the agent is then FrameAttached. Seen is how many bytes of its output
	// the host's side has already.
	Keep string `json:"keep,omitempty"`
	Seen uint64 `json:"seen,omitempty"`
}

// Of kept processes: KeepOutput is how many of the last bytes of its output one
// can be asked for again, MaxKept how many there are in a machine, MaxKeepName
// how long a name is.
const (
	KeepOutput  = 512 << 10
	MaxKept     = 64
	MaxKeepName = 64
)

// Attached opens the stream of a kept process.
type Attached struct {
	// From is the number, counted from 0, of the first byte of output that
	// follows. What lies between Seen and it is lost.
	From uint64 `json:"from"`
	// Upto is where what was written before the attachment ends.
	Upto uint64 `json:"upto"`
	// New: the process was started for this stream.
	New bool `json:"new,omitempty"`
}

// TTY is a terminal's kind and size in characters.
type TTY struct {
	Term string `json:"term,omitempty"`
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Dial names an address as seen from inside the machine. Network is "tcp".
// An empty host means the machine itself, loopback first.
type Dial struct {
	Network string `json:"network"`
	Address string `json:"address"`
	// Beside, for OpDial, is an address of the machine at which the agent may
	// offer the connection over the network; see Response.Beside. Older agents
	// do not look at it.
	Beside string `json:"beside,omitempty"`
	// Direct, with Beside and an empty host, says that the host may make the
	// connection itself; see Direct. Older agents do not look at it.
	Direct bool `json:"direct,omitempty"`
	// From, with Direct, is what a Direct message would say, of a connection that
	// the host has made already because the port was open to everybody a moment
	// ago. Older agents do not look at it.
	From string `json:"from,omitempty"`
}

// Direct spares a connection the way through the agent. What listens on the
// asked port for everybody is the same from the network as from loopback, so
// the agent answers with Response.Direct, the port. The host connects to it
// over the network and says in a Direct message from where; the agent looks
// whether a socket of this machine is the other end. If so, it answers with
// Response.Direct again, and the stream stays open for as long as the
// connection is used. If not, it goes on as if Direct had not been said. With
// Dial.From the first answer is the second one, Confirmed, or there is none.
type Direct struct {
	// From is the host's end, "address:port"; "" if it could not connect.
	From string `json:"from"`
}

// Beside is where the agent waits, for one connection and a short time. Who
// connects sends Key and gets Proof; the bytes behind those are the
// connection's. On the stream the host answers with one byte, BesideTaken or
// BesideRefused; after the latter the stream carries the bytes as without it.
type Beside struct {
	Address string `json:"address"` // host:port
	Key     string `json:"key"`
	Proof   string `json:"proof"`
}

// What the host answers to an offer.
const (
	BesideTaken   byte = 1
	BesideRefused byte = 2
)

// Accepted announces a connection on an OpListen stream; open it with
// OpAccept within 15 seconds.
type Accepted struct {
	ID string `json:"id"`
}

// Copy names a path in the machine and the user who reads or writes it. For
// OpPut, Path is the directory to extract below; it is made if missing. For
// OpGet, it is the file or directory to send; the names in the tar start with
// the last element of Path.
type Copy struct {
	Path string `json:"path"`
	User string `json:"user,omitempty"`
}

// Authorize adds one authorized_keys line to a user, once.
type Authorize struct {
	User string `json:"user"`
	Key  string `json:"key"`
}

// Task is a bash script that runs once. After the Response the host sends the
// script as FrameStdin frames, an empty one at its end; the agent answers with
// a TaskResult message when the task has ended, and if asked to with others
// before it. Asking again by the same name follows the same run: at most one is
// ever started in a boot, whoever asks, and it goes on without a host that
// listens and without the agent's process.
type Task struct {
	// Name has 1 to 64 letters, digits, underscores, hyphens.
	Name string `json:"name"`
	User string `json:"user"`
	// Boot is the Info.BootID of the boot that the task belongs to; in any
	// other one it is not run.
	Boot           string `json:"boot"`
	TimeoutSeconds int    `json:"timeoutSeconds"`
	// Follow asks for a TaskResult that is Running now and then while the task
	// writes. An agent that does not know it sends the last one only.
	Follow bool `json:"follow,omitempty"`
}

// MaxScript bounds a task's script, MaxTaskOutput what is kept of its output:
// the last bytes of each of its two streams.
const (
	MaxScript     = 16 << 20
	MaxTaskOutput = 64 << 10
)

// TaskResult is how a task ended.
type TaskResult struct {
	// Code is as in Exit.
	Code int `json:"code"`
	// Error says why it could not be run, or why its end is not known.
	Error string `json:"error,omitempty"`
	// TimedOut: its time was up, and it was killed.
	TimedOut bool `json:"timedOut,omitempty"`
	// Rebooted: the boot it belongs to is over, or ended while it ran.
	Rebooted   bool   `json:"rebooted,omitempty"`
	DurationMs int64  `json:"durationMs,omitempty"`
	Stdout     []byte `json:"stdout,omitempty"`
	Stderr     []byte `json:"stderr,omitempty"`
	// Running: the task goes on. Then Stdout and Stderr are no more than what
	// is new, at most MaxTaskOutput each, and StdoutAt and StderrAt say how
	// many bytes the task wrote before them: more than were sent if the host
	// or the agent could not keep up.
	Running  bool  `json:"running,omitempty"`
	StdoutAt int64 `json:"stdoutAt,omitempty"`
	StderrAt int64 `json:"stderrAt,omitempty"`
}

// TaskTail is the end of a stream as people read it, at most MaxTaskOutput:
// behind a line that says how many bytes came before it, if any did.
func TaskTail(kept []byte, dropped int64) []byte {
	most := MaxTaskOutput
	if dropped > 0 || len(kept) > most {
		most -= 64 // for that line
	}
	if over := len(kept) - most; over > 0 {
		kept, dropped = kept[over:], dropped+int64(over)
	}
	if dropped == 0 {
		return kept
	}
	return append(fmt.Appendf(nil, "[%d bytes before this are not kept]\n", dropped), kept...)
}

// Restored tells a restored guest what changed while it was away.
type Restored struct {
	Seed     string `json:"seed"` // base64
	UnixNano int64  `json:"unixNano"`
}

// Port is one listening TCP socket.
type Port struct {
	Address string `json:"address"`
	Number  int    `json:"number"`
}

// Link is one network interface that is not the loopback.
type Link struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
}

// Event kinds on an OpWatch stream. The current facts are repeated at once
// when the stream opens.
const (
	EventProblem = "problem" // Detail says what could not be set up; comes before EventBooted
	EventBooted  = "booted"  // the image's init was started
	EventSSH     = "ssh"     // sshd sent its banner
	EventUp      = "up"      // tasks may run: init has mounted drives, emptied /tmp, made sockets
	EventLeave   = "leave"   // poweroff or reboot was announced; Detail says which
)

// MaxProblem bounds the detail of an EventProblem, in bytes.
const MaxProblem = 4 << 10

// Event is one thing the agent saw.
type Event struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
}

// FrameType is the first byte of a frame on an OpExec stream; four bytes of
// big-endian length follow, then the payload (at most MaxFrame bytes).
type FrameType byte

const (
	FrameStdin     FrameType = 0 // host → agent; empty means end of input
	FrameStdout    FrameType = 1
	FrameStderr    FrameType = 2
	FrameResize    FrameType = 3 // host → agent: JSON TTY
	FrameSignal    FrameType = 4 // host → agent: signal name like "INT"
	FrameExit      FrameType = 5 // agent → host: JSON Exit, the last frame
	FrameAttached  FrameType = 6 // agent → host: JSON Attached, the first frame of a kept process
	FrameEnd       FrameType = 7 // host → agent: end a kept process
	MaxFrame                 = 64 << 10
	MaxMessage               = 1 << 20
	HandshakeHost            = "SANDLOT "
	HandshakeBack            = "AGENT "
	HandshakeHello           = "\nAGENT started\n"
	// MaxChunk bounds what one write puts on a stream.
	MaxChunk = 16 << 10
	// HandshakePad is longer than any yamux frame either side writes.
	HandshakePad = 20 << 10
)

// Exit is how a process ended: Code as a shell would give it (128+n for
// signal n). Error is set when it could not be started.
type Exit struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
	// Taken: the kept process goes on, on another stream.
	Taken bool `json:"taken,omitempty"`
}
