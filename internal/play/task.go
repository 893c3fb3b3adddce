package play

import "time"

// TaskState is where a task of a play stands:
//
//	BLOCKED ─▶ CREATED ─▶ RUNNING ─▶ COMPLETED
//	                         └─────▶ FAILED
type TaskState string

const (
	TaskBlocked   TaskState = "BLOCKED" // waits for other tasks
	TaskCreated   TaskState = "CREATED" // waits for its machine only
	TaskRunning   TaskState = "RUNNING"
	TaskCompleted TaskState = "COMPLETED"
	TaskFailed    TaskState = "FAILED"
)

// TaskStatus is what is known of one task of a play. A task runs at most once
// in the life of its play.
type TaskStatus struct {
	Name  string    `json:"name"`
	State TaskState `json:"state"`
	// Boot is the boot of the machine in which it runs.
	Boot      string        `json:"boot,omitempty"`
	StartedAt time.Time     `json:"startedAt,omitzero"`
	Duration  time.Duration `json:"duration,omitempty"`
	ExitCode  int           `json:"exitCode,omitempty"`
	// Message says why it failed.
	Message string `json:"message,omitempty"`
	// Stdout and Stderr are the ends of what it wrote, at most 64 KiB each.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	// Written counts the bytes that it wrote so far while it runs. Not kept.
	Written int64 `json:"-"`
}

// Begun tells whether the task has run or runs.
func (s TaskStatus) Begun() bool {
	return s.State == TaskRunning || s.State == TaskCompleted || s.State == TaskFailed
}
