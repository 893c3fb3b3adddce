package api

import "encoding/json"

// Playground is a named, stored template.
type Playground struct {
	ID    string `json:"id,omitempty"`
	Owner string `json:"owner"` // "" means official
	Name  string `json:"name"`
	Base  string `json:"base,omitempty"`

	Title       string   `json:"title,omitempty"`
	Description string   `json:"description,omitempty"`
	Categories  []string `json:"categories,omitzero"`
	Cover       string   `json:"cover,omitempty"`
	Markdown    string   `json:"markdown,omitempty"`
	Published   bool     `json:"published,omitempty"`
	PageURL     string   `json:"pageUrl,omitempty"`

	Networks       []Network           `json:"networks,omitzero"`
	Machines       []MachineSpec       `json:"machines,omitzero"`
	Tabs           []Tab               `json:"tabs,omitzero"`
	InitTasks      map[string]InitTask `json:"initTasks,omitzero"`
	InitConditions *InitConditions     `json:"initConditions,omitempty"`
	RegistryAuth   string              `json:"registryAuth,omitempty"`
	PortForwards   []PortForward       `json:"portForwards,omitzero"`
	AccessControl  *AccessControl      `json:"accessControl,omitempty"`
	UserAccess     *UserAccess         `json:"userAccess,omitempty"`
}

// Network is one Ethernet segment of a playground.
type Network struct {
	Name    string `json:"name"`
	Subnet  string `json:"subnet"`
	Gateway string `json:"gateway,omitempty"`
	Private bool   `json:"private,omitempty"`
}

// MachineSpec is a machine as an author asked for it.
type MachineSpec struct {
	Name         string        `json:"name"`
	Users        []User        `json:"users,omitzero"`
	Backend      string        `json:"backend,omitempty"`
	Kernel       *Kernel       `json:"kernel,omitempty"`
	Drives       []Drive       `json:"drives,omitzero"`
	Network      *MachineNet   `json:"network,omitempty"`
	Resources    *Resources    `json:"resources,omitempty"`
	StartupFiles []StartupFile `json:"startupFiles,omitzero"`
	NoSSH        bool          `json:"noSSH,omitempty"`
}

// MachineNet lists a machine's interfaces: eth0, eth1, … in list order.
type MachineNet struct {
	Interfaces []Interface `json:"interfaces"`
}

// Interface is one NIC.
type Interface struct {
	Address string `json:"address,omitempty"`
	Network string `json:"network,omitempty"`
}

// Kernel names a kernel version, like "6.1".
type Kernel struct {
	Source   string    `json:"source,omitempty"`
	Snapshot *Snapshot `json:"snapshot,omitempty"`
}

// Drive is one block device: /dev/vda, /dev/vdb, … in list order.
type Drive struct {
	Source     string    `json:"source,omitempty"`
	Mount      string    `json:"mount,omitempty"`
	Size       string    `json:"size,omitempty"` // "10GiB"
	Filesystem string    `json:"filesystem,omitempty"`
	ReadOnly   bool      `json:"readOnly,omitempty"`
	Persistent bool      `json:"persistent,omitempty"`
	Snapshot   *Snapshot `json:"snapshot,omitempty"`
}

// Snapshot names a kept state; it stands in dumps only.
type Snapshot struct {
	ID      string `json:"id,omitempty"`
	LeaseID string `json:"leaseId,omitempty"`
}

// StartupFile is written before any login is possible.
type StartupFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Mode    string `json:"mode,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Append  bool   `json:"append,omitempty"`
}

// Tab is one pane of the play's page.
type Tab struct {
	ID          string `json:"id,omitempty"`
	Kind        string `json:"kind"`
	Name        string `json:"name"`
	Machine     string `json:"machine,omitempty"`
	Number      int    `json:"number,omitempty"`
	Access      string `json:"access,omitempty"`
	TLS         bool   `json:"tls,omitempty"`
	HostRewrite string `json:"hostRewrite,omitempty"`
	PathRewrite string `json:"pathRewrite,omitempty"`
	URL         string `json:"url,omitempty"`
	Pane        string `json:"pane,omitempty"`
}

// InitTask is one node of the provisioning graph.
type InitTask struct {
	Name           string          `json:"name,omitempty"`
	Machine        string          `json:"machine,omitempty"`
	Init           bool            `json:"init,omitempty"`
	User           string          `json:"user,omitempty"`
	TimeoutSeconds int             `json:"timeout_seconds,omitempty"`
	Needs          []string        `json:"needs,omitzero"`
	Run            string          `json:"run,omitempty"`
	Status         int             `json:"status,omitempty"`
	Conditions     []TaskCondition `json:"conditions,omitzero"`
}

// TaskCondition makes a task run only for one value of an init condition.
type TaskCondition struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// InitConditions are the choices a person has at start.
type InitConditions struct {
	Values []InitConditionValue `json:"values,omitzero"`
}

// InitConditionValue is one choice.
type InitConditionValue struct {
	Key             string   `json:"key"`
	Default         string   `json:"default,omitempty"`
	Nullable        bool     `json:"nullable,omitempty"`
	Options         []string `json:"options,omitzero"`
	Placeholder     string   `json:"placeholder,omitempty"`
	ValidationRegex string   `json:"validationRegex,omitempty"`
}

// AccessControl lists principals for each right.
type AccessControl struct {
	CanList  []string `json:"canList,omitzero"`
	CanRead  []string `json:"canRead,omitzero"`
	CanStart []string `json:"canStart,omitzero"`
}

// UserAccess is what the asking user may do.
type UserAccess struct {
	CanList  bool `json:"canList"`
	CanRead  bool `json:"canRead"`
	CanStart bool `json:"canStart"`
}

// PortForward is one forwarded port, kept with the play.
type PortForward struct {
	Kind       string `json:"kind"` // local or remote
	Machine    string `json:"machine"`
	LocalHost  string `json:"localHost,omitempty"`
	LocalPort  int    `json:"localPort,omitempty"`
	RemotePort int    `json:"remotePort,omitempty"`
	RemoteHost string `json:"remoteHost,omitempty"`
}

// UnmarshalJSON also takes the bare version string of old manifests.
func (k *Kernel) UnmarshalJSON(b []byte) error {
	var source string
	if json.Unmarshal(b, &source) == nil {
		*k = Kernel{Source: source}
		return nil
	}
	type plain Kernel
	return json.Unmarshal(b, (*plain)(k))
}

// PlaygroundSpec is the body of PUT /playgrounds/{name} and most of that of
// POST. In every list and map null, or no field, means "as the base has it"
// when creating, and is refused for networks, machines, tabs and categories
// when updating.
type PlaygroundSpec struct {
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Categories  []string `json:"categories"`
	Cover       string   `json:"cover,omitempty"`
	Markdown    string   `json:"markdown,omitempty"`

	Networks       []Network           `json:"networks"`
	Machines       []MachineSpec       `json:"machines"`
	Tabs           []Tab               `json:"tabs"`
	InitTasks      map[string]InitTask `json:"initTasks"`
	InitConditions *InitConditions     `json:"initConditions,omitempty"`
	RegistryAuth   string              `json:"registryAuth"`
	AccessControl  *AccessControl      `json:"accessControl,omitempty"`
	// PortForwards stay as they are without the field. Addition.
	PortForwards []PortForward `json:"portForwards,omitzero"`
}

// CreatePlayground is the body of POST /playgrounds. The name in the reply is
// longer than the one asked for.
type CreatePlayground struct {
	Name string `json:"name" jsonschema:"required"`
	Base string `json:"base" jsonschema:"required"`
	PlaygroundSpec
}

// ContentFile is a file beside a playground's manifest.
type ContentFile struct {
	Path   string `json:"path"`
	Digest string `json:"digest"` // MD5
}
