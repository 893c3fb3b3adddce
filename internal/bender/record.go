package bender

import (
	"slices"
	"time"

	"sandlot/internal/plan"
	"sandlot/internal/play"
)

// Goal is where a play shall be.
type Goal string

const (
	GoalRunning   Goal = "running"
	GoalStopped   Goal = "stopped"
	GoalDestroyed Goal = "destroyed"
)

// Record is everything bender keeps of a play.
type Record struct {
	Plan    plan.Plan `json:"plan"`
	Secrets Secrets   `json:"secrets"`
	Goal    Goal      `json:"goal"`
	// Again makes a stop a restart.
	Again bool `json:"again,omitempty"`
	// Halted names machines that shall not run though the play does.
	Halted []string `json:"halted,omitempty"`
	// HostBoot is the boot of the host in which the live steps were made.
	HostBoot string               `json:"hostBoot"`
	Events   []play.StateEvent    `json:"events"`
	Machines []play.MachineStatus `json:"machines"`
	// Tasks are in the plan's order and without their output; TaskRecords keep
	// them.
	Tasks []play.TaskStatus `json:"-"`
}

// Secrets are made once for each play and never leave its record and its
// machines.
type Secrets struct {
	// HostKeys are OpenSSH private keys (PEM), one for each machine in order.
	HostKeys []string `json:"hostKeys"`
	// HostPublicKeys are their public halves as "ssh-ed25519 AAAA…".
	HostPublicKeys []string `json:"hostPublicKeys"`
	// UserKey is what the machines log in to each other with.
	UserKey       string `json:"userKey"`
	UserPublicKey string `json:"userPublicKey"`
	// AuthorizedKeys may log in to every machine as every listed user.
	AuthorizedKeys []string `json:"authorizedKeys,omitempty"`
	// Seed is base64; it is mixed into each machine's random pool.
	Seed string `json:"seed"`
	// RegistryAuth is "user:password" of the play's registry, or empty.
	RegistryAuth string `json:"registryAuth,omitempty"`
}

func newRecord(p plan.Plan, s Secrets, hostBoot string, now time.Time) Record {
	r := Record{Plan: p, Secrets: s, Goal: GoalRunning, HostBoot: hostBoot}
	r.Events = []play.StateEvent{{State: play.Created, At: now}}
	for _, m := range p.Machines {
		r.Machines = append(r.Machines, play.MachineStatus{Name: m.Name, State: play.MachineCreated})
	}
	r.setTasks(nil)
	return r
}

// State is the state of the last event.
func (r Record) State() play.State { return r.Events[len(r.Events)-1].State }

// maxEvents bounds a play's history: stop and restart may go on for ever.
const maxEvents = 100

// enter appends to the history and tells whether there was anything new.
func (r *Record) enter(s play.State, message string, failed bool, now time.Time) bool {
	if r.State() == s && message == r.Events[len(r.Events)-1].Message {
		return false
	}
	r.Events = append(r.Events, play.StateEvent{State: s, Error: failed, At: now, Message: message})
	if over := len(r.Events) - maxEvents; over > 0 {
		r.Events = slices.Delete(r.Events, 1, 1+over)
	}
	return true
}

func (r Record) halted(machine string) bool { return slices.Contains(r.Halted, machine) }

// wanted tells whether a machine shall run while the play does.
func (r Record) wanted(machine string) bool { return !r.halted(machine) }

func everyMachine(string) bool { return true }

func (r *Record) halt(machine string) {
	if !r.halted(machine) {
		r.Halted = append(slices.Clone(r.Halted), machine)
	}
}

func (r *Record) resume(machine string) {
	r.Halted = slices.DeleteFunc(slices.Clone(r.Halted), func(n string) bool { return n == machine })
}

// set records a condition of machine i; it tells whether anything changed.
func (r *Record) set(i int, name string, status bool, message string, now time.Time) bool {
	for j := range r.Machines[i].Conditions {
		c := &r.Machines[i].Conditions[j]
		if c.Name != name {
			continue
		}
		if c.Status == status && c.Message == message {
			return false
		}
		if c.Status != status {
			c.At = now
		}
		c.Status, c.Message = status, message
		return true
	}
	r.Machines[i].Conditions = append(r.Machines[i].Conditions,
		play.Condition{Name: name, Status: status, At: now, Message: message})
	return true
}

// clone is a copy that shares nothing that later changes.
func (r Record) clone() Record {
	r.Events = slices.Clone(r.Events)
	r.Machines = slices.Clone(r.Machines)
	r.Tasks = slices.Clone(r.Tasks)
	for i := range r.Machines {
		r.Machines[i].Conditions = slices.Clone(r.Machines[i].Conditions)
	}
	return r
}
