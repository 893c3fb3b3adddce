package api

// StartPlay is the body of POST /plays.
type StartPlay struct {
	Playground              string `json:"playground" jsonschema:"required"`
	SafetyDisclaimerConsent bool   `json:"safetyDisclaimerConsent"`
	AsFreeTierUser          bool   `json:"asFreeTierUser,omitempty"`
	// InitConditions are the chosen values.
	InitConditions map[string]string `json:"initConditions,omitempty"`

	// The rest replaces that part of the playground for this one play.
	Machines  []MachineSpec       `json:"machines,omitempty"`
	Tabs      []Tab               `json:"tabs,omitempty"`
	Networks  []Network           `json:"networks,omitempty"`
	InitTasks map[string]InitTask `json:"initTasks,omitempty"`

	// InitConditionSpec declares the choices InitConditions are made from.
	// Addition: the reference client does not send a manifest's conditions.
	InitConditionSpec *InitConditions `json:"initConditionSpec,omitempty"`
	// RegistryAuth is user:password of the play's registry. Addition.
	RegistryAuth string `json:"registryAuth,omitempty"`
	// Title saves a set_title action. Addition.
	Title string `json:"title,omitempty"`
}

// SavePlay is the body of POST /plays/{id}/playgrounds: a stopped play becomes
// a playground. The name in the reply is longer than the one asked for.
// Addition.
type SavePlay struct {
	Name  string `json:"name" jsonschema:"required"`
	Title string `json:"title,omitempty"` // "" is the play's playground's
}

// ForkPlay is the body of POST /plays/{id}/forks: a new play with the drives
// of a stopped one. Addition.
type ForkPlay struct {
	Title string `json:"title,omitempty"` // "" is the play's
}

// Draft is a manifest that somebody is writing: for a new playground over a
// base, or instead of what a playground of theirs says. Addition.
type Draft struct {
	Text string `json:"text" jsonschema:"required"` // YAML
	// Name and Base are of a new playground; no base is flexbox.
	Name string `json:"name,omitempty"`
	Base string `json:"base,omitempty"`
	// Playground is the one to be changed.
	Playground string `json:"playground,omitempty"`
}

// CheckedDraft says everything that is wrong with a draft. Definition is there
// if there are no errors: it creates or updates the playground. Addition.
type CheckedDraft struct {
	Problems   []Problem       `json:"problems"`
	Definition *PlaygroundSpec `json:"definition,omitempty"`
}

// ManifestText is a manifest as YAML, without name, base and cover. Addition.
type ManifestText struct {
	Text string `json:"text"`
}

// Names of actions on a play.
const (
	ActionSetTitle       = "set_title"
	ActionStop           = "stop"
	ActionRestart        = "restart"
	ActionDestroy        = "destroy"
	ActionMakePersistent = "make_persistent"
	ActionSetMaxPlayTime = "set_max_play_time"
	ActionMachineReboot  = "machine.reboot"
	ActionMachineStop    = "machine.stop"
	ActionMachineRestart = "machine.restart"
	ActionConsoleList    = "machine.console.list"
	ActionConsoleRead    = "machine.console.read"
)

// Action is the body of POST /plays/{id}/actions; which fields count depends
// on Action.
type Action struct {
	Action             string `json:"action" jsonschema:"required"`
	Title              string `json:"title,omitempty"`
	Machine            string `json:"machine,omitempty"`
	Console            string `json:"console,omitempty"`
	MaxPlayTimeMinutes int    `json:"maxPlayTimeMinutes,omitempty"` // total lifetime, from the start
}

// Consoles answers machine.console.list: one name per boot, oldest first.
type Consoles struct {
	Consoles []string `json:"consoles"`
}

// Console answers machine.console.read.
type Console struct {
	Content string `json:"content"`
}

// Conn answers POST /plays/{id}/conns and /terminals: a WebSocket URL that
// carries its own credential.
type Conn struct {
	URL string `json:"url"`
}

// Kinds of ConnMessage.
const (
	KindStatus = "status"
	KindTask   = "task"
	KindJobs   = "jobs" // all of them: the first message of administrators' connections
	KindJob    = "job"  // one that has changed
)

// ConnMessage is one message of a play's connection, or of one that tells of
// jobs.
type ConnMessage struct {
	Kind    string      `json:"kind"`
	Status  *PlayStatus `json:"status,omitempty"`
	Machine string      `json:"machine,omitempty"`
	Task    *PlayTask   `json:"task,omitempty"`
	Jobs    []Job       `json:"jobs,omitzero"` // the newest first
	Job     *Job        `json:"job,omitempty"`
}

// TunnelRequest is the body of POST /plays/{id}/tunnels.
type TunnelRequest struct {
	Machine          string `json:"machine"` // "" means the first
	Port             int    `json:"port"`
	Access           string `json:"access"`
	GenerateLoginURL bool   `json:"generateLoginUrl"`
	SSHUser          string `json:"sshUser"`
	// SSHPubKey is one authorized_keys line; "" asks for forwarding only.
	SSHPubKey string `json:"sshPubKey"`
}

// Tunnel is the reply. URL is the base that /tunnels/<payload> is appended
// to; LoginURL answers with the cookie.
type Tunnel struct {
	URL      string `json:"url"`
	LoginURL string `json:"loginUrl"`
}

// TunnelCookie is the cookie that opens a tunnel's WebSockets.
const TunnelCookie = ".ixcondsess"

// TunnelConnect is the message of a listen socket: a connection waits to be
// fetched with "connect:<CID>".
type TunnelConnect struct {
	Type string `json:"type"` // "connect"
	CID  string `json:"cid"`
}

// TerminalRequest is the body of POST /plays/{id}/terminals: run a program on
// a machine through its agent. It needs neither the machine's network nor its
// sshd. Addition.
type TerminalRequest struct {
	Machine string `json:"machine"` // "" means the first
	User    string `json:"user"`    // "" means the default user
	// Command is given to the user's shell; empty means a login shell.
	Command string `json:"command,omitempty"`
	// TTY, if set, gives the program a terminal.
	TTY *TTY `json:"tty,omitempty"`
	Keep
}

// Keep asks for a program with a terminal that outlives its WebSocket, by half
// an hour.
type Keep struct {
	// Session names the program: 16 to 64 letters, digits, - and _, which only
	// who may go on with it knows. Where it runs already it is gone on with.
	Session string `json:"session,omitempty"`
	// Seen is how many bytes of its output the client has.
	Seen uint64 `json:"seen,omitempty"`
}

// TTY is a terminal's kind and size in characters.
type TTY struct {
	Term string `json:"term,omitempty"`
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Frames of a terminal's WebSocket: each binary message is one byte of type
// and a payload of at most MaxFrame bytes. The numbers are those of the agent.
const (
	FrameStdin  byte = 0 // client → server; empty means end of input
	FrameStdout byte = 1
	FrameStderr byte = 2
	FrameResize byte = 3 // client → server: JSON TTY
	FrameSignal byte = 4 // client → server: a name like "INT"
	FrameExit   byte = 5 // server → client: JSON Exit, the last one
	// Of kept programs alone. Attached comes first. After Ahead bytes of output
	// the server waits for an acknowledgement.
	FrameAttached byte = 6 // server → client: JSON Attached
	FrameEnd      byte = 7 // client → server: end the program
	FrameAck      byte = 8 // client → server: 8 bytes, big-endian: output taken since the WebSocket was opened

	Ahead    = 128 << 10
	MaxFrame = 64 << 10
)

// Exit is how a program ended; Error is set when it could not be started.
type Exit struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
	// Taken: the kept program goes on, on another WebSocket.
	Taken bool `json:"taken,omitempty"`
}

// Attached tells where the output of a kept program goes on.
type Attached struct {
	// From is the number of the first byte that follows, from 0; what lies
	// between Seen and it is lost. Upto is where what is old ends.
	From uint64 `json:"from"`
	Upto uint64 `json:"upto"`
	// New: it did not run before.
	New bool `json:"new,omitempty"`
}
