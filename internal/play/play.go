// Package play holds the nouns every other package speaks of: the identifier
// of a play, its states and its machines' states, and the events between them.
// It has no effects and imports the standard library only.
//
// The states of a play:
//
//	CREATED ─▶ STARTING ─▶ RUNNING ─▶ STOPPING ─▶ STOPPED ─▶ STARTING …
//	               │           │                      │
//	               ▼           ▼                      ▼
//	             FAILED ──────────────────────▶ DESTROYING ─▶ DESTROYED
//
// The state names are those of the labctl API (docs/api.md).
package play

import (
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"time"
)

// ID names one play: 24 lower-case hex digits.
type ID string

var idPattern = regexp.MustCompile(`^[0-9a-f]{24}$`)

// NewID reads 12 bytes from random and returns them as an ID.
func NewID(random io.Reader) (ID, error) {
	var b [12]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make play id: %w", err)
	}
	return ID(hex.EncodeToString(b[:])), nil
}

// ParseID accepts exactly what NewID makes.
func ParseID(s string) (ID, error) {
	if !idPattern.MatchString(s) {
		return "", fmt.Errorf("cannot read play id %q: want 24 lower-case hex digits", s)
	}
	return ID(s), nil
}

// Short is the first eight digits: enough to name kernel objects whose names
// are limited to 15 bytes.
func (id ID) Short() string { return string(id[:8]) }

// State is where a play stands.
type State string

const (
	Created    State = "CREATED"
	Starting   State = "STARTING"
	Running    State = "RUNNING"
	Stopping   State = "STOPPING"
	Stopped    State = "STOPPED"
	Destroying State = "DESTROYING"
	Destroyed  State = "DESTROYED"
	Failed     State = "FAILED"
)

// Active tells whether a play still holds machines or is about to.
func (s State) Active() bool { return s != Stopped && s != Destroyed }

// MachineState is where one machine of a play stands.
type MachineState string

const (
	MachineCreated   MachineState = "CREATED"
	MachineStarting  MachineState = "STARTING"
	MachineRunning   MachineState = "RUNNING"
	MachineRebooting MachineState = "REBOOTING"
	MachineStopping  MachineState = "STOPPING"
	MachineStopped   MachineState = "STOPPED"
	MachineFailed    MachineState = "FAILED"
)

// Conditions of a machine, in the order a start reaches them.
const (
	ConditionVolume  = "Volume"  // every drive exists
	ConditionNetwork = "Network" // bridges, taps and names exist
	ConditionBoot    = "Boot"    // the agent answers
	ConditionReady   = "Ready"   // sshd accepts connections
)

// Conditions lists the conditions in order.
var Conditions = []string{ConditionVolume, ConditionNetwork, ConditionBoot, ConditionReady}

// Condition is one observed fact about a machine. Message is for a person.
type Condition struct {
	Name    string
	Status  bool
	At      time.Time
	Message string
}

// StateEvent is one entry in a play's history; the last one is its state.
type StateEvent struct {
	State State
	Error bool
	At    time.Time
	// Message says why, for a person; empty on ordinary transitions.
	Message string
}

// MachineStatus is what is known of one machine of a play.
type MachineStatus struct {
	Name       string
	State      MachineState
	Conditions []Condition
	// Message says why a machine failed, with the console's last lines.
	Message string
}

// Condition returns the named condition, and whether it was ever reported.
func (m MachineStatus) Condition(name string) (Condition, bool) {
	for _, c := range m.Conditions {
		if c.Name == name {
			return c, true
		}
	}
	return Condition{}, false
}
