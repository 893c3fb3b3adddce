package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"sandlot/api"
)

// flow keeps a kept program's output from running ahead of its client by more
// than api.Ahead and a frame: browsers take from a WebSocket whatever comes, and
// hold it in memory until the page has time for it.
type flow struct {
	on bool

	mu         sync.Mutex
	changed    *sync.Cond
	out, shown uint64
	over       bool
}

func newFlow(on bool) *flow {
	f := &flow{on: on}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// wait returns when more may be sent.
func (f *flow) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.on && !f.over && f.out-f.shown >= api.Ahead {
		f.changed.Wait()
	}
}

func (f *flow) sent(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out += uint64(n)
}

// ack takes a client's acknowledgement; false for what is none.
func (f *flow) ack(payload []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on || len(payload) != 8 {
		return false
	}
	total := binary.BigEndian.Uint64(payload)
	if total < f.shown || total > f.out {
		return false
	}
	f.shown = total
	f.changed.Broadcast()
	return true
}

// end lets go of who waits: there is no client any more.
func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.changed.Broadcast()
}

// keepName is what the agent calls a kept program. What visitors of an exposed
// shell keep is apart from what others do, whatever names they choose.
func keepName(req api.TerminalRequest, shell string) (string, error) {
	if req.Session == "" {
		return "", nil
	}
	if n := len(req.Session); n < 16 || n > 64 || !plain(req.Session) {
		return "", api.Errorf(api.Invalid, "session must have 16 to 64 letters, digits, - and _")
	}
	if req.TTY == nil {
		return "", api.Errorf(api.Invalid, "session needs tty: only programs with a terminal are kept")
	}
	sum := sha256.Sum256([]byte(shell + "\n" + req.Session))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

func plain(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
