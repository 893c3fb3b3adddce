package plan

import (
	"net/netip"

	"sandlot/internal/play"
)

// Plan is a play with every question answered: no optional field is left.
// It is stored as JSON with the play, so a later labd reads it again.
type Plan struct {
	Play       play.ID   `json:"play"`
	Playground string    `json:"playground"`
	Networks   []Network `json:"networks"`
	Machines   []Machine `json:"machines"`
	Names      []Name    `json:"names"`
	Uplink     Uplink    `json:"uplink"`
	// Tasks are in an order that satisfies their needs; those whose conditions
	// do not match the chosen values are left out.
	Tasks []Task `json:"tasks"`
	// Conditions are the chosen values by key; nil stands for null.
	Conditions map[string]*string `json:"conditions,omitempty"`
	// Notes tell the author what was changed: a fallback backend, a scaled
	// resource.
	Notes []string `json:"notes"`
}

// Network is one Ethernet segment: a bridge in the play's namespace.
type Network struct {
	Name   string       `json:"name"`
	Bridge string       `json:"bridge"` // br0, br1, … in list order
	Subnet netip.Prefix `json:"subnet"` // masked
	// Gateway is the bridge's own address.
	Gateway netip.Addr `json:"gateway"`
	MAC     string     `json:"mac"` // of the bridge, constant
	Private bool       `json:"private"`
}

// Uplink is the veth pair between the play's namespace and the host.
type Uplink struct {
	// Index is unique among the plays of a host; the addresses follow from it.
	Index int          `json:"index"`
	Host  netip.Prefix `json:"host"` // address on the host's end, /31
	Play  netip.Prefix `json:"play"` // address in the namespace, /31
}

// Machine is one virtual machine.
type Machine struct {
	Name    string `json:"name"`
	Backend string `json:"backend"`
	// UID is the host user and group the VMM runs as.
	UID       uint32 `json:"uid"`
	Kernel    string `json:"kernel"` // version, like "6.1"
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memoryMiB"`
	Users     []User `json:"users"` // root is always there
	// DefaultUser is the one terminals and labctl ssh log in as.
	DefaultUser  string        `json:"defaultUser"`
	Drives       []Drive       `json:"drives"`
	Interfaces   []Interface   `json:"interfaces"`
	Nameserver   netip.Addr    `json:"nameserver"` // gateway of the first interface's network
	StartupFiles []StartupFile `json:"startupFiles"`
	NoSSH        bool          `json:"noSSH"`
	Cmdline      string        `json:"cmdline"`
	MachineID    string        `json:"machineID"` // 32 hex digits, for /etc/machine-id
}

// User is an account of the image and the banner its logins see.
type User struct {
	Name string `json:"name"`
	// Welcome is the banner; "" keeps the image's, "-" means none.
	Welcome string `json:"welcome"`
}

// Drive is one volume and how the machine sees it.
type Drive struct {
	Device string `json:"device"` // "/dev/vda"
	// Source is an image reference ("oci://…" or a named image); empty means
	// a blank volume.
	Source string `json:"source"`
	// Saved is the id of the saved drive that this one is cloned from; it has
	// no Source then.
	Saved      string `json:"saved,omitempty"`
	SizeBytes  int64  `json:"sizeBytes"`
	Filesystem string `json:"filesystem"` // "" means raw
	Mount      string `json:"mount"`      // "" means not mounted
	ReadOnly   bool   `json:"readOnly"`
}

// Interface is one NIC, eth0, eth1, … in list order.
type Interface struct {
	Name    string       `json:"name"` // "eth0"
	Network string       `json:"network"`
	Bridge  string       `json:"bridge"`
	Tap     string       `json:"tap"` // unique within the play's namespace
	MAC     string       `json:"mac"`
	Address netip.Prefix `json:"address"` // host address with the subnet's mask
	// Gateway is set on the one interface that carries the default route;
	// elsewhere it is the zero Addr.
	Gateway netip.Addr `json:"gateway"`
}

// Name is one DNS answer of the play: "<machine>" or "<machine>.<network>". A
// machine's bare name has one answer for each of its interfaces, in list
// order; an asker on one of those networks wants that one first.
type Name struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
}

// StartupFile is written inside the machine before any login is possible.
type StartupFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Append  bool   `json:"append"`
	Owner   string `json:"owner"` // "user", "user:group" or numeric; "" is 0:0, or as it is when appending
	Mode    string `json:"mode"`  // octal; "" is 0644, or as it is when appending
}

// Task is one node of the task graph. Needs name tasks of this plan.
type Task struct {
	Name    string   `json:"name"`
	Machine string   `json:"machine"`
	User    string   `json:"user"`
	Run     string   `json:"run"` // a bash script
	Needs   []string `json:"needs"`
	// Init tasks run once, before the play is handed over.
	Init           bool `json:"init"`
	TimeoutSeconds int  `json:"timeoutSeconds"`
	// TimeoutIsDefault says that the author set none.
	TimeoutIsDefault bool `json:"timeoutIsDefault"`
}

// Facts are what the plan must know of the host, and what was chosen for this
// play; gathering them is not the plan's work.
type Facts struct {
	// Conditions are the chosen values, as manifest.Choose returns them; keys
	// that are missing here have their defaults.
	Conditions map[string]*string
	// Backends maps each backend that works on this host to its limits.
	Backends map[string]BackendFacts
	// Strict refuses a manifest that asks for a backend the host lacks
	// instead of falling back.
	Strict bool
	// Kernels the store has or can fetch, sorted by version.
	Kernels []string
	// UplinkIndex is free on this host.
	UplinkIndex int
	// MaxCPUs and MaxMemoryMiB bound one machine; 0 means unbounded.
	MaxCPUs, MaxMemoryMiB int
	// PlayCPUs and PlayMemoryMiB bound all machines together; 0 means unbounded.
	PlayCPUs, PlayMemoryMiB int
}

// BackendFacts are the limits of one backend.
type BackendFacts struct {
	MaxDrives, MaxNICs int
	// Preference orders fallbacks: lower is better.
	Preference int
}
