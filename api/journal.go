package api

// JournalRequest is the body of POST /plays/{id}/journals: what to show of the
// systemd journal of a machine.
type JournalRequest struct {
	Machine string `json:"machine"`        // "" means the first
	Unit    string `json:"unit,omitempty"` // "" means all
	// Lines are how many of the past; 0 means journalctl's own number.
	Lines int `json:"lines,omitempty"`
	// Since and Until are what journalctl reads, like "10 min ago". Without
	// Until the journal is followed.
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
	// Cursor goes on after an entry.
	Cursor string `json:"cursor,omitempty"`
}

// JournalMessage is one message of a journal's WebSocket.
type JournalMessage struct {
	Stdout   string `json:"stdout,omitempty"`
	Stderr   string `json:"stderr,omitempty"`
	ExitCode int    `json:"exitCode,omitempty"`
	// EOF is the last message.
	EOF bool `json:"eof,omitempty"`
}
