//go:build linux

package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// monitor is a QMP client (docs/interop/qmp-spec in QEMU's sources).
//
// digitalocean/go-qemu was looked at: its commands take no context, it drops
// the connection's errors, and it brings libvirt's RPC along. What is needed is
// five commands and four events.
type monitor struct {
	conn net.Conn

	mu      sync.Mutex
	nextID  uint64
	waiting map[uint64]chan reply
	err     error // why the connection ended
	news    news

	// notify holds a token whenever news came in, or the connection ended.
	notify chan struct{}
	closed chan struct{}
}

// news is what happened since last taken; repeated events are one, so a guest
// that resets in a loop fills nothing.
type news struct {
	reset    bool // the guest rebooted
	shutdown bool // the guest powered off
	panicked bool // the guest's kernel panicked
	stopped  bool // the machine stopped running, for whatever reason
}

type reply struct {
	value json.RawMessage
	err   error
}

// maxLine bounds one QMP message in bytes: QEMU is not trusted once a guest
// may have taken it over.
const maxLine = 1 << 20

// dialMonitor connects and negotiates. QEMU greets when its main loop runs.
func dialMonitor(ctx context.Context, path string) (*monitor, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot reach QEMU: %v", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	lines := bufio.NewReaderSize(conn, maxLine)
	if _, err = lines.ReadSlice('\n'); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot read QEMU's greeting: %w", errors.Join(err, ctx.Err()))
	}
	if !stop() {
		conn.Close()
		return nil, ctx.Err()
	}
	m := &monitor{conn: conn, waiting: map[uint64]chan reply{}, notify: make(chan struct{}, 1), closed: make(chan struct{})}
	go m.read(lines)
	if err := m.execute(ctx, "qmp_capabilities", nil); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *monitor) Close() error { return m.conn.Close() }

func (m *monitor) read(lines *bufio.Reader) {
	var err error
	for err == nil {
		var line []byte
		if line, err = lines.ReadSlice('\n'); err == nil {
			err = m.receive(line)
		}
	}
	m.conn.Close()
	m.mu.Lock()
	m.err = fmt.Errorf("connection to QEMU ended: %w", err)
	for id, c := range m.waiting {
		c <- reply{err: m.err}
		delete(m.waiting, id)
	}
	m.mu.Unlock()
	close(m.closed)
}

func (m *monitor) receive(line []byte) error {
	var message struct {
		ID     *uint64         `json:"id"`
		Return json.RawMessage `json:"return"`
		Error  *struct {
			Description string `json:"desc"`
		} `json:"error"`
		Event string `json:"event"`
		Data  struct {
			Guest bool `json:"guest"`
		} `json:"data"`
	}
	if err := json.Unmarshal(line, &message); err != nil {
		return fmt.Errorf("cannot read QMP message: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if message.ID != nil {
		if c, ok := m.waiting[*message.ID]; ok {
			delete(m.waiting, *message.ID)
			r := reply{value: message.Return}
			if message.Error != nil {
				r.err = errors.New(message.Error.Description)
			}
			c <- r
		}
		return nil
	}
	switch {
	case message.Event == "RESET" && message.Data.Guest:
		m.news.reset = true
	case message.Event == "SHUTDOWN" && message.Data.Guest:
		m.news.shutdown = true
	case message.Event == "GUEST_PANICKED":
		m.news.panicked = true
	case message.Event == "STOP":
		m.news.stopped = true
	default:
		return nil
	}
	select {
	case m.notify <- struct{}{}:
	default:
	}
	return nil
}

// take gives what is new since the last call.
func (m *monitor) take() news {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.news
	m.news = news{}
	return taken
}

// execute runs a command without arguments; out may be nil.
func (m *monitor) execute(ctx context.Context, command string, out any) error {
	answer := make(chan reply, 1)
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return m.err
	}
	m.nextID++
	id := m.nextID
	m.waiting[id] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, id)
	}()
	body, err := json.Marshal(map[string]any{"execute": command, "id": id})
	if err != nil {
		return err
	}
	// One short message: it fits the socket's buffer unless QEMU hangs, and
	// then the deadline ends the wait.
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(commandTime)
	}
	if err := m.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := m.conn.Write(append(body, '\n')); err != nil {
		return fmt.Errorf("cannot ask QEMU to %s: %w", command, err)
	}
	select {
	case r := <-answer:
		if r.err != nil {
			return fmt.Errorf("cannot %s: %w", command, r.err)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(r.value, out)
	case <-ctx.Done():
		return fmt.Errorf("cannot %s: %w", command, ctx.Err())
	}
}

// status gives QEMU's run state: "running", "paused", "shutdown", …
func (m *monitor) status(ctx context.Context) (string, error) {
	var out struct {
		Status string `json:"status"`
	}
	err := m.execute(ctx, "query-status", &out)
	return out.Status, err
}

// commandTime bounds a command whose context has no deadline of its own.
const commandTime = 10 * time.Second
