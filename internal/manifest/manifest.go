// Package manifest reads what an author wrote. In go the bytes of a YAML
// document (or values that came as JSON); out come a Manifest and every
// problem with it at once, each with its path, line, column and mend. Inherit
// then lays a manifest over its base and fills the defaults: the result is the
// effective manifest that package plan resolves. Pure: no disk, no network, no
// clock.
//
//	bytes ─Parse▶ Manifest ─Inherit(base)▶ effective Manifest ─▶ plan.Make
//
// In every list and map, nil means "absent" (comes from the base) and empty
// means "none". YAML and JSON both keep them apart.
package manifest

// Kind is the only value of a manifest's kind.
const Kind = "playground"

// Flexbox is the blank base: the only one that takes any set of machines.
const Flexbox = "flexbox"

// Defaults of the reference. DefaultDriveSize is ours: big enough for a server
// image with Docker images on it, and 24 drives of it are just the play's
// limit.
const (
	DefaultKernel         = "6.1"
	DefaultBackend        = "firecracker"
	DefaultDriveSize      = "10GiB"
	DefaultFilesystem     = "ext4"
	DefaultNetwork        = "local"
	DefaultSubnet         = "172.16.0.0/24"
	DefaultTimeoutSeconds = 60
)

// Limits of the reference, all inclusive. Sizes are bytes.
const (
	MaxDocument           = 1 << 20
	MaxNesting            = 64
	MaxMachines           = 5
	MaxDrives             = 24
	MaxStartupFiles       = 10
	MaxTabs               = 10
	MinDrive        int64 = 1 << 30
	MaxDrive        int64 = 100 << 30
	MaxDriveTotal   int64 = 240 << 30
	MinTitle              = 5
	MaxTitle              = 120
	MaxDescription        = 500
	MaxMarkdown           = 100_000
)

// Limits the reference does not name; ours, far above any real manifest.
const (
	MinRAM        int64 = 128 << 20 // less does not boot a kernel with its initramfs
	MaxCPUs             = 1024
	MaxRAM        int64 = 16 << 40
	MaxNetworks         = 100 // a network's index is one byte of its MACs
	MaxInterfaces       = 64
	MaxTasks            = 500
	MaxConditions       = 100
	MaxRegex            = 1000 // characters, and instructions once repeats are written out
	MaxTimeout          = 86_400
)

// Choices of the reference, in the order messages list them.
var (
	Backends    = []string{"firecracker", "cloud-hypervisor", "qemu"}
	Filesystems = []string{"ext4", "ext2", "ext3", "xfs", "btrfs"}
	Categories  = []string{"linux", "networking", "containers", "kubernetes", "programming", "observability", "security", "ci-cd"}
	TabKinds    = []string{"terminal", "ide", "http-port", "web-page", "kexp"}
	Accesses    = []string{"private", "public"}
	Panes       = []string{"left", "right"}
	AccessModes = []string{"private", "public"}
)

// Manifest is one document. The order of fields, here and below, is the order
// of a dump.
type Manifest struct {
	Kind        string     `yaml:"kind" json:"kind,omitempty"`
	Name        string     `yaml:"name" json:"name,omitempty"`
	Base        string     `yaml:"base" json:"base,omitempty"`
	Title       string     `yaml:"title" json:"title,omitempty"`
	Description string     `yaml:"description" json:"description,omitempty"`
	Categories  []string   `yaml:"categories" json:"categories,omitzero"`
	Markdown    string     `yaml:"markdown" json:"markdown,omitempty"`
	Cover       string     `yaml:"cover" json:"cover,omitempty"`
	Playground  Playground `yaml:"playground" json:"playground"`

	// source is where the fields stood; nil when the manifest came as JSON.
	source *source
}

// Playground is the part that becomes machines.
type Playground struct {
	Networks       []Network           `yaml:"networks" json:"networks,omitzero"`
	Machines       []Machine           `yaml:"machines" json:"machines,omitzero"`
	Tabs           []Tab               `yaml:"tabs" json:"tabs,omitzero"`
	InitTasks      map[string]InitTask `yaml:"initTasks" json:"initTasks,omitzero"`
	InitConditions *InitConditions     `yaml:"initConditions" json:"initConditions,omitempty"`
	RegistryAuth   string              `yaml:"registryAuth" json:"registryAuth,omitempty"`
	PortForwards   []PortForward       `yaml:"portForwards" json:"portForwards,omitzero"`
	AccessControl  *AccessControl      `yaml:"accessControl" json:"accessControl,omitempty"`
	// Access is the old form of AccessControl; Parse converts it.
	Access *Access `yaml:"access" json:"-"`
}

// Network is one segment. Subnet is an IPv4 CIDR, Gateway a plain address.
type Network struct {
	Name    string `yaml:"name" json:"name"`
	Subnet  string `yaml:"subnet" json:"subnet"`
	Gateway string `yaml:"gateway" json:"gateway,omitempty"`
	Private bool   `yaml:"private" json:"private,omitempty"`
}

// Machine is one virtual machine.
type Machine struct {
	Name         string         `yaml:"name" json:"name"`
	Users        []User         `yaml:"users" json:"users,omitzero"`
	Backend      string         `yaml:"backend" json:"backend,omitempty"`
	Kernel       *Kernel        `yaml:"kernel" json:"kernel,omitempty"`
	Drives       []Drive        `yaml:"drives" json:"drives,omitzero"`
	Network      MachineNetwork `yaml:"network" json:"network"`
	Resources    *Resources     `yaml:"resources" json:"resources,omitempty"`
	StartupFiles []StartupFile  `yaml:"startupFiles" json:"startupFiles,omitzero"`
	NoSSH        bool           `yaml:"noSSH" json:"noSSH,omitempty"`
}

// User is an account of the image. Welcome "-" means no banner.
type User struct {
	Name    string `yaml:"name" json:"name"`
	Default bool   `yaml:"default" json:"default,omitempty"`
	Welcome string `yaml:"welcome" json:"welcome,omitempty"`
}

// Kernel names a version of the kernel store. In YAML a bare string is the
// legacy form; in JSON it is always an object.
type Kernel struct {
	Source   string    `yaml:"source" json:"source,omitempty"`
	Snapshot *Snapshot `yaml:"snapshot" json:"snapshot,omitempty"`
}

// Drive is one block device.
type Drive struct {
	Source     string    `yaml:"source" json:"source,omitempty"`
	Mount      string    `yaml:"mount" json:"mount,omitempty"`
	Size       string    `yaml:"size" json:"size,omitempty"`
	Filesystem string    `yaml:"filesystem" json:"filesystem,omitempty"`
	ReadOnly   bool      `yaml:"readOnly" json:"readOnly,omitempty"`
	Persistent bool      `yaml:"persistent" json:"persistent,omitempty"`
	Snapshot   *Snapshot `yaml:"snapshot" json:"snapshot,omitempty"`
}

// Snapshot appears in dumps only.
type Snapshot struct {
	ID      string `yaml:"id" json:"id,omitempty"`
	LeaseID string `yaml:"leaseId" json:"leaseId,omitempty"`
}

// MachineNetwork is a machine's side of the networks.
type MachineNetwork struct {
	Interfaces []Interface `yaml:"interfaces" json:"interfaces,omitzero"`
}

// Interface is one NIC; Address may carry a mask.
type Interface struct {
	Network string `yaml:"network" json:"network,omitempty"`
	Address string `yaml:"address" json:"address,omitempty"`
}

// Resources of a machine; zero means automatic.
type Resources struct {
	CPUCount int    `yaml:"cpuCount" json:"cpuCount,omitempty"`
	RAMSize  string `yaml:"ramSize" json:"ramSize,omitempty"`
}

// StartupFile is written before boot.
type StartupFile struct {
	Path    string `yaml:"path" json:"path"`
	Content string `yaml:"content" json:"content,omitempty"`
	Append  bool   `yaml:"append" json:"append,omitempty"`
	Owner   string `yaml:"owner" json:"owner,omitempty"`
	Mode    string `yaml:"mode" json:"mode,omitempty"`
}

// Tab is one tab of a play's page.
type Tab struct {
	ID          string `yaml:"id" json:"id,omitempty"`
	Kind        string `yaml:"kind" json:"kind"`
	Name        string `yaml:"name" json:"name"`
	Machine     string `yaml:"machine" json:"machine,omitempty"`
	Number      int    `yaml:"number" json:"number,omitempty"`
	Access      string `yaml:"access" json:"access,omitempty"`
	TLS         bool   `yaml:"tls" json:"tls,omitempty"`
	HostRewrite string `yaml:"hostRewrite" json:"hostRewrite,omitempty"`
	PathRewrite string `yaml:"pathRewrite" json:"pathRewrite,omitempty"`
	URL         string `yaml:"url" json:"url,omitempty"`
	Pane        string `yaml:"pane" json:"pane,omitempty"`
}

// InitTask is one node of the task graph. Name, if given, repeats the key.
// TimeoutSeconds stays 0 when absent, so that the message on expiry can say
// that it was the default.
type InitTask struct {
	Name           string      `yaml:"name" json:"name,omitempty"`
	Init           bool        `yaml:"init" json:"init,omitempty"`
	Machine        string      `yaml:"machine" json:"machine,omitempty"`
	User           string      `yaml:"user" json:"user,omitempty"`
	Needs          []string    `yaml:"needs" json:"needs,omitzero"`
	Run            string      `yaml:"run" json:"run,omitempty"`
	TimeoutSeconds int         `yaml:"timeout_seconds" json:"timeout_seconds,omitempty"`
	Conditions     []Condition `yaml:"conditions" json:"conditions,omitzero"`
	Status         int         `yaml:"status" json:"status,omitempty"`
}

// Condition holds when the chosen value of Key is Value.
type Condition struct {
	Key   string `yaml:"key" json:"key"`
	Value string `yaml:"value" json:"value"`
}

// InitConditions are the choices a person makes at the start.
type InitConditions struct {
	Values []InitCondition `yaml:"values" json:"values,omitzero"`
}

// InitCondition is one choice.
type InitCondition struct {
	Key             string   `yaml:"key" json:"key"`
	Default         string   `yaml:"default" json:"default,omitempty"`
	Options         []string `yaml:"options" json:"options,omitzero"`
	Nullable        bool     `yaml:"nullable" json:"nullable,omitempty"`
	Placeholder     string   `yaml:"placeholder" json:"placeholder,omitempty"`
	ValidationRegex string   `yaml:"validationRegex" json:"validationRegex,omitempty"`
}

// PortForward is stored and dumped; the client acts on it. The reference
// client dumps its keys in lower case, hence the aliases.
type PortForward struct {
	Kind       string `yaml:"kind" json:"kind,omitempty"`
	Machine    string `yaml:"machine" json:"machine,omitempty"`
	LocalHost  string `yaml:"localHost" alias:"localhost" json:"localHost,omitempty"`
	LocalPort  int    `yaml:"localPort" alias:"localport" json:"localPort,omitempty"`
	RemotePort int    `yaml:"remotePort" alias:"remoteport" json:"remotePort,omitempty"`
	RemoteHost string `yaml:"remoteHost" alias:"remotehost" json:"remoteHost,omitempty"`
}

// AccessControl lists the principals that may list, read and start.
type AccessControl struct {
	CanList  []string `yaml:"canList" json:"canList,omitzero"`
	CanRead  []string `yaml:"canRead" json:"canRead,omitzero"`
	CanStart []string `yaml:"canStart" json:"canStart,omitzero"`
}

// Access is the old form of AccessControl: "private" or "public".
type Access struct {
	Mode string `yaml:"mode" json:"mode,omitempty"`
}
