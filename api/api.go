// Package api holds the wire types of labd's HTTP API and the kinds of its
// errors: what the server writes and what the client reads. JSON in, JSON out,
// no logic; the standard library only.
//
// The API is the one the labctl client of the reference platform speaks
// (docs/api.md). Field names and types are frozen: a wrong type fails that
// client's whole command. What is ours alone is marked "Addition"; that client
// ignores unknown fields.
package api

import (
	"encoding/json"
	"time"
)

// Time renders t as every timestamp of the API: RFC 3339 in UTC with
// milliseconds. One uniform width, because clients sort them as text.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// ParseTime reads what Time wrote; the zero time if it cannot.
func ParseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Session is one login of a client.
type Session struct {
	ID            string `json:"id"`
	UserID        string `json:"userId,omitempty"`
	Authenticated bool   `json:"authenticated"`
	// AccessToken is only in the reply that made the session.
	AccessToken string `json:"accessToken,omitempty"`
	// AuthURL is where a person confirms a pending session.
	AuthURL string `json:"authUrl,omitempty"`
}

// Me is the signed-in user.
type Me struct {
	ID              string         `json:"id"`
	GithubProfileID string         `json:"githubProfileId"`
	PreferredRegion string         `json:"preferredRegion"`
	PremiumAccess   *PremiumAccess `json:"premiumAccess"`
	// Name signs in; Role is user or administrator. Additions.
	Name string `json:"name,omitempty"`
	Role string `json:"role,omitempty"`
}

// PremiumAccess tells what plan a user is on.
type PremiumAccess struct {
	Until    string `json:"until"`
	Lifetime bool   `json:"lifetime"`
	Trial    bool   `json:"trial"`
}

// Play is one running or stopped instance of a playground.
type Play struct {
	ID          string `json:"id"` // 24 lower-case hex digits
	Title       string `json:"title"`
	CreatedAt   string `json:"createdAt"`
	UpdatedAt   string `json:"updatedAt"`
	LastStateAt string `json:"lastStateAt"`
	// ExpiresIn is in milliseconds from now; 0 means never.
	ExpiresIn int64 `json:"expiresIn"`
	// MaxPlayTime is the total lifetime as a Go duration, like "4h".
	MaxPlayTime string      `json:"maxPlayTime"`
	Status      *PlayStatus `json:"status"`
	Playground  Playground  `json:"playground"`
	PageURL     string      `json:"pageUrl"`
	// Machines is never empty: clients take the first one as the default.
	Machines []Machine `json:"machines"`
	Tasks    Tasks     `json:"tasks"`

	TutorialName  string `json:"tutorialName,omitempty"`
	ChallengeName string `json:"challengeName,omitempty"`
	CourseName    string `json:"courseName,omitempty"`
	LessonPath    string `json:"lessonPath,omitempty"`

	// Persistent plays are stopped when their time is up, others destroyed.
	// Addition.
	Persistent bool `json:"persistent,omitempty"`
	// Notes tell the author what was changed: a fallback backend, a scaled
	// resource. Addition.
	Notes []string `json:"notes,omitempty"`
	// Warnings are findings about the manifest that do not stop a start.
	// Addition.
	Warnings []Problem `json:"warnings,omitempty"`
}

// OwnedPlay is a play with whose it is, for administrators. Addition.
type OwnedPlay struct {
	Owner string `json:"owner"` // a user's id
	Play
}

// State is the play's current state: that of the last event, "" if there is
// none. It never crashes on a partial play.
func (p Play) State() string { return p.Status.State() }

// Tasks maps names to tasks; an absent map is written as {} because clients
// write into it.
type Tasks map[string]PlayTask

// MarshalJSON writes {} for a nil map.
func (t Tasks) MarshalJSON() ([]byte, error) {
	if t == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(map[string]PlayTask(t))
}

// Machine is one machine of a play.
type Machine struct {
	Name      string     `json:"name"`
	Users     []User     `json:"users"`
	Resources *Resources `json:"resources,omitempty"`
	// Backend is the VMM that runs it. Addition.
	Backend string `json:"backend,omitempty"`
	// NoSSH machines take no SSH, terminals or tunnels to port 22. Addition.
	NoSSH bool `json:"noSSH,omitempty"`
}

// DefaultUser is the user logins get unless they name one.
func (m Machine) DefaultUser() string {
	for _, u := range m.Users {
		if u.Default {
			return u.Name
		}
	}
	return "root"
}

// User is an account of a machine.
type User struct {
	Name    string `json:"name"`
	Default bool   `json:"default,omitempty"`
	Welcome string `json:"welcome,omitempty"`
}

// Resources of a machine. RAMSize is like "4GiB".
type Resources struct {
	CPUCount int    `json:"cpuCount,omitempty"`
	RAMSize  string `json:"ramSize,omitempty"`
}

// PlayStatus is where a play and its machines stand.
type PlayStatus struct {
	FactoryID string `json:"factoryId"`
	// StateEvents is the history; the last element is the current state.
	StateEvents []StateEvent    `json:"stateEvents"`
	Machines    []MachineStatus `json:"machines"`
}

// State of the last event; "" on a nil status or without events.
func (s *PlayStatus) State() string {
	if s == nil || len(s.StateEvents) == 0 {
		return ""
	}
	return s.StateEvents[len(s.StateEvents)-1].State
}

// Machine returns the status of the named machine.
func (s *PlayStatus) Machine(name string) (MachineStatus, bool) {
	if s != nil {
		for _, m := range s.Machines {
			if m.Name == name {
				return m, true
			}
		}
	}
	return MachineStatus{}, false
}

// StateEvent is one transition of a play.
type StateEvent struct {
	State string `json:"state"`
	Error bool   `json:"error,omitempty"`
	At    string `json:"at"`
	// Message says why, for a person. Addition.
	Message string `json:"message,omitempty"`
}

// MachineStatus is what is known of one machine.
type MachineStatus struct {
	Name       string      `json:"name"`
	State      string      `json:"state"`
	Conditions []Condition `json:"conditions"`
	// Message says why a machine failed, with the console's last lines.
	// Addition.
	Message string `json:"message,omitempty"`
}

// Is tells whether the named condition is "True".
func (m MachineStatus) Is(condition string) bool {
	c, ok := m.Condition(condition)
	return ok && c.Status == True
}

// Condition returns the named condition and whether it was ever reported.
func (m MachineStatus) Condition(name string) (Condition, bool) {
	for _, c := range m.Conditions {
		if c.Name == name {
			return c, true
		}
	}
	return Condition{}, false
}

// Values of Condition.Status: strings, as in the reference API.
const (
	True  = "True"
	False = "False"
)

// Names of conditions, in the order a start reaches them. The reference
// client knows Ready only; the others are additions.
const (
	ConditionVolume  = "Volume"  // every drive exists
	ConditionNetwork = "Network" // bridges, taps and names exist
	ConditionBoot    = "Boot"    // the agent answers
	ConditionReady   = "Ready"   // sshd accepts connections
)

// Conditions lists the names in order.
var Conditions = []string{ConditionVolume, ConditionNetwork, ConditionBoot, ConditionReady}

// MachineUsage is what a machine uses of the host, at one moment. Addition.
type MachineUsage struct {
	Machine string `json:"machine"`
	// CPUSeconds is the CPU time its VMM has had since it was started.
	CPUSeconds float64 `json:"cpuSeconds"`
	// MemoryBytes is what its VMM has in memory; MemoryLimit is what the
	// machine was given.
	MemoryBytes int64 `json:"memoryBytes"`
	MemoryLimit int64 `json:"memoryLimit"`
	// Links are its network interfaces as it says itself; none if it does not.
	Links []Link `json:"links,omitempty"`
	At    string `json:"at"`
}

// Link is a network interface of a machine.
type Link struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
}

// Condition is one observed fact about a machine.
type Condition struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// LastTransitionAt is RFC 3339; omitted rather than empty.
	LastTransitionAt string `json:"lastTransitionAt,omitempty"`
	Message          string `json:"message,omitempty"`
}

// PlayTask is the short form of a task, as it stands in a play.
type PlayTask struct {
	Name    string `json:"name"`
	Init    bool   `json:"init"`
	Helper  bool   `json:"helper"`
	Status  int    `json:"status"`
	Version int    `json:"version"`
	// Output counts the bytes the task has written so far while it runs; what
	// they are stands in its details. Ours: the reference client ignores it.
	Output int64 `json:"output,omitempty"`
}

// Task statuses.
const (
	TaskNone      = 0
	TaskCreated   = 10
	TaskBlocked   = 20
	TaskRunning   = 30
	TaskFailed    = 35
	TaskCompleted = 40
)

// TaskDetails is the long form of a task.
type TaskDetails struct {
	Name             string   `json:"name"`
	Machine          string   `json:"machine"`
	Status           int      `json:"status"`
	Version          int      `json:"version"`
	Init             bool     `json:"init"`
	Helper           bool     `json:"helper"`
	Needs            []string `json:"needs,omitempty"`
	Run              string   `json:"run,omitempty"`
	Env              []string `json:"env,omitempty"`
	User             string   `json:"user,omitempty"`
	TimeoutSeconds   int      `json:"timeoutSeconds,omitempty"`
	ExitCode         int      `json:"exitCode"`
	Stdout           string   `json:"stdout,omitempty"`
	Stderr           string   `json:"stderr,omitempty"`
	LastRunAt        string   `json:"lastRunAt,omitempty"`
	LastDurationMs   int64    `json:"lastDurationMs,omitempty"`
	DataPlaneOnly    bool     `json:"dataPlaneOnly,omitempty"`
	ControlPlaneOnly bool     `json:"controlPlaneOnly,omitempty"`
	// Message says why a task failed or timed out. Addition.
	Message string `json:"message,omitempty"`
}
