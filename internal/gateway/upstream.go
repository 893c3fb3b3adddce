package gateway

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// blockSize bounds what of a client's data waits for a machine.
	blockSize = 256 << 10
	// readSize is how much of it is read at a time.
	readSize = 64 << 10
	// drainFor is how long a machine may take for what waits when the client
	// has gone.
	drainFor = time.Minute
)

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// upstream carries what a client sends to a connection. While the connection
// is busy it gathers what comes, and sends that at once: a machine pays for
// each packet, and clients send little ones.
type upstream struct {
	conn net.Conn
	// held is set while the connection takes no more.
	held *atomic.Bool

	mu      sync.Mutex
	changed *sync.Cond
	waiting *[blockSize]byte // nil if nothing waits
	n       int              // bytes in waiting
	ended   bool             // no more will come
	failed  bool             // the connection took an end: what comes is dropped
}

func newUpstream(conn net.Conn, held *atomic.Bool) *upstream {
	u := &upstream{conn: conn, held: held}
	u.changed = sync.NewCond(&u.mu)
	return u
}

// Write waits for room; it never fails.
func (u *upstream) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for rest := p; len(rest) > 0; {
		for u.n == blockSize && !u.failed {
			u.held.Store(true)
			u.changed.Wait()
		}
		u.held.Store(false)
		if u.failed {
			break
		}
		if u.waiting == nil {
			u.waiting = blocks.Get().(*[blockSize]byte)
		}
		n := copy(u.waiting[u.n:], rest)
		u.n, rest = u.n+n, rest[n:]
		u.changed.Broadcast()
	}
	return len(p), nil
}

// end says that no more will come; run returns when the rest is sent.
func (u *upstream) end() {
	_ = u.conn.SetWriteDeadline(time.Now().Add(drainFor))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	u.changed.Broadcast()
}

// run sends until the end and closes the connection then.
func (u *upstream) run() {
	defer u.conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		for u.n == 0 && !u.ended {
			u.changed.Wait()
		}
		if u.n == 0 {
			return
		}
		block, n := u.waiting, u.n
		u.waiting, u.n = nil, 0
		u.changed.Broadcast()
		u.mu.Unlock()
		_, err := u.conn.Write(block[:n])
		blocks.Put(block)
		u.mu.Lock()
		if err != nil {
			// It takes no more but may still be sending.
			u.failed, u.n = true, 0
			u.changed.Broadcast()
		}
	}
}
