package api

// ChangeAccount changes an account as an administrator; what is absent stays.
// Addition.
type ChangeAccount struct {
	Role *string `json:"role,omitempty"`
	// Plan is a plan's name; "" is the default one.
	Plan     *string `json:"plan,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
}

// Invite asks for a link with which somebody makes an account. Addition.
type Invite struct {
	Role string `json:"role,omitempty"` // default: user
}

// AccountLink is an address that is good once: for an account or its password.
// Addition.
type AccountLink struct {
	URL       string `json:"url"`
	ExpiresAt string `json:"expiresAt"`
}

// NamedPlan is a plan that users may be given. Addition.
type NamedPlan struct {
	Name    string     `json:"name"`
	Default bool       `json:"default"` // of users who were given none
	Limits  PlanLimits `json:"limits"`
}

// HostState is what labd's host has, and how much of it is used. Addition.
type HostState struct {
	Name    string `json:"name"`
	Version string `json:"version"` // of labd
	// Accelerator is kvm, or tcg where machines are emulated.
	Accelerator string `json:"accelerator"`
	CPUs        int    `json:"cpus"`
	UpSince     string `json:"upSince"` // labd, not the host
	// SampleSeconds is the time between two samples, of which the last are
	// kept; the newest comes last.
	SampleSeconds int             `json:"sampleSeconds"`
	Samples       []HostSample    `json:"samples"`
	Images        []HostImage     `json:"images"`
	Kernels       []KernelVersion `json:"kernels"`
}

// HostSample is how much was used at one moment; sizes are bytes.
type HostSample struct {
	At          string  `json:"at"`
	CPU         float64 `json:"cpu"` // of all CPUs, 0 to 1, since the sample before
	MemoryUsed  int64   `json:"memoryUsed"`
	MemoryTotal int64   `json:"memoryTotal"`
	PoolUsed    int64   `json:"poolUsed"`
	PoolTotal   int64   `json:"poolTotal"`
	Plays       int     `json:"plays"`    // that are not stopped
	Machines    int     `json:"machines"` // that run
}

// HostImage is an image in the store of labd's host.
type HostImage struct {
	Name      string `json:"name"`
	ID        string `json:"id"` // digest of its configuration
	SizeBytes int64  `json:"sizeBytes"`
	Origin    string `json:"origin"`
	StoredAt  string `json:"storedAt"`
}

// Kinds of jobs, and where they stand.
const (
	JobBuild  = "build"
	JobPull   = "pull"
	JobKernel = "kernel"

	JobWaiting   = "waiting"
	JobRunning   = "running"
	JobDone      = "done"
	JobFailed    = "failed"
	JobCancelled = "cancelled"
)

// CreateJob asks for an image or a kernel: to build an official image by its
// name, to pull oci://REGISTRY/REPO:TAG, or to fetch a kernel by its version.
// Addition.
type CreateJob struct {
	Kind string `json:"kind" jsonschema:"required"` // build, pull or kernel
	Name string `json:"name" jsonschema:"required"`
	// Force builds what has not changed, and looks for newer kernels.
	Force bool `json:"force,omitempty"`
}

// Job is work on the host that takes a while. One runs at a time; labd forgets
// them at its end.
type Job struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	State string `json:"state"` // waiting, running, done, failed or cancelled
	// Stage is what it does at the moment, with Done of Total bytes; a Total of
	// 0 is not known.
	Stage string `json:"stage,omitempty"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	// Lines are the last that it wrote.
	Lines     []string `json:"lines"`
	Error     string   `json:"error,omitempty"`
	By        string   `json:"by"`
	CreatedAt string   `json:"createdAt"`
	StartedAt string   `json:"startedAt,omitempty"`
	EndedAt   string   `json:"endedAt,omitempty"`
}

// SettingsReport is how labd is set up, and whether that is right. Addition.
type SettingsReport struct {
	// File is the configuration file; "" if there is none. Problems are those
	// of the file as it is now, which labd reads at its start.
	File     string    `json:"file,omitempty"`
	Problems []Problem `json:"problems"`
	// Checks are what /readyz asks, with their reasons.
	Checks   []HealthCheck `json:"checks"`
	Settings []Setting     `json:"settings"`
}

// HealthCheck is one thing that labd cannot work without.
type HealthCheck struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // why not
}

// Setting is one setting as it is in force.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// From is default, flag, environment or file.
	From  string `json:"from"`
	About string `json:"about"`
}
