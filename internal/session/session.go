// Package session holds the host's side of the conversations with a machine.
// In go a way to open the channel to the machine's agent and what a person or
// the engine asks for; out come processes, terminals, connections, files and
// events. Nothing the guest says is believed: sizes, counts and times are
// bounded, and what breaks the rules ends the session with a clear error.
package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// ErrClosed is what every method returns after Close.
var ErrClosed = errors.New("the session with the machine is closed")

// Agent speaks to one machine's agent. It opens the channel when it is first
// needed and again whenever it was lost. Its methods may be called at once
// from many goroutines.
type Agent struct {
	// Repeat is how often the handshake is repeated until it is answered.
	Repeat time.Duration
	// Retry is how long to wait before the channel is opened again.
	Retry time.Duration
	// Random gives the nonces of handshakes.
	Random io.Reader

	dial func(ctx context.Context) (net.Conn, error)

	connecting chan struct{} // a lock that can be waited for with a context
	mu         sync.Mutex
	session    *yamux.Session
	closed     bool
	// avoid is until when the machine's network is not tried.
	avoid time.Time
	// direct are ports that were open to everybody, and until when that is
	// thought to be so still.
	direct map[uint16]time.Time
	done   chan struct{}
}

// New makes an Agent over dial, which opens the machine's channel; see
// vm.Machine. Nothing is opened yet.
func New(dial func(ctx context.Context) (net.Conn, error)) *Agent {
	return &Agent{
		Repeat:     500 * time.Millisecond,
		Retry:      200 * time.Millisecond,
		Random:     rand.Reader,
		dial:       dial,
		connecting: make(chan struct{}, 1),
		direct:     make(map[uint16]time.Time),
		done:       make(chan struct{}),
	}
}

// Close ends the session and everything that runs over it.
func (a *Agent) Close() error {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.done)
	}
	a.mu.Unlock()
	a.Reset()
	return nil
}

// Reset drops the channel, because the caller knows that the machine has
// rebooted or was restored; the next call opens it again.
func (a *Agent) Reset() {
	a.mu.Lock()
	session := a.session
	a.session = nil
	a.mu.Unlock()
	if session != nil {
		session.Close()
	}
}

// live returns the session if it still is one.
func (a *Agent) live() (*yamux.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	if a.session != nil && a.session.IsClosed() {
		a.session = nil
	}
	return a.session, nil
}

// connect returns the live session, opening one until it works or ctx ends.
func (a *Agent) connect(ctx context.Context) (*yamux.Session, error) {
	if s, err := a.live(); s != nil || err != nil {
		return s, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	var cause error
	for {
		select {
		case a.connecting <- struct{}{}:
		case <-ctx.Done():
			return nil, a.unreachable(ctx, cause)
		}
		s, err := a.live()
		if s == nil && err == nil {
			s, err = a.open(ctx)
		}
		<-a.connecting
		if s != nil || errors.Is(err, ErrClosed) {
			return s, err
		}
		cause = err
		select {
		case <-time.After(a.Retry):
		case <-ctx.Done():
			return nil, a.unreachable(ctx, cause)
		}
	}
}

func (a *Agent) unreachable(ctx context.Context, cause error) error {
	if _, err := a.live(); err != nil {
		return err
	}
	if cause == nil || errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("cannot reach the machine's agent: %w", ctx.Err())
	}
	return fmt.Errorf("cannot reach the machine's agent: %w (%v)", ctx.Err(), cause)
}

// open makes one new session.
func (a *Agent) open(ctx context.Context) (*yamux.Session, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	in, err := a.handshake(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	config := yamux.DefaultConfig()
	config.KeepAliveInterval = 10 * time.Second
	config.ConnectionWriteTimeout = 30 * time.Second
	config.StreamOpenTimeout = time.Minute
	config.StreamCloseTimeout = 30 * time.Minute
	config.LogOutput = io.Discard
	s, err := yamux.Client(&guarded{Conn: conn, in: in}, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		s.Close()
		return nil, ErrClosed
	}
	a.session = s
	return s, nil
}

// maxStale bounds what is thrown away while the answer to a handshake is
// awaited: a guest's and a VMM's buffers hold far less of an old session.
const maxStale = 16 << 20

// padEvery says which repetitions of the handshake come behind a pad.
const padEvery = 4

// handshake follows the rules in package wire. It returns the reader that
// stands behind the answer.
func (a *Agent) handshake(ctx context.Context, conn net.Conn) (io.Reader, error) {
	var raw [16]byte
	if _, err := io.ReadFull(a.Random, raw[:]); err != nil {
		return nil, err
	}
	nonce := hex.EncodeToString(raw[:])
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	answered := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		line := []byte("\n" + wire.HandshakeHost + nonce + "\n")
		tick := time.NewTicker(a.Repeat)
		defer tick.Stop()
		for i := 0; ; i++ {
			b := line
			if i%padEvery == 1 {
				b = append(bytes.Repeat([]byte("\n"), wire.HandshakePad), line...)
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-answered:
				return
			}
		}
	})
	in, err := awaitAnswer(conn, wire.HandshakeBack+nonce+"\n")
	close(answered)
	if err == nil {
		writer.Wait() // or yamux's first frame could come between
	}
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("the agent does not answer: %v", err)
	}
	return in, nil
}

// awaitAnswer discards bytes up to and including answer.
func awaitAnswer(r io.Reader, answer string) (io.Reader, error) {
	var window []byte
	buf := make([]byte, 32<<10)
	for total := 0; total < maxStale; {
		n, err := r.Read(buf)
		total += n
		window = append(window, buf[:n]...)
		if i := bytes.Index(window, []byte(answer)); i >= 0 {
			rest := append([]byte(nil), window[i+len(answer):]...)
			return &prefixed{rest: rest, r: r}, nil
		}
		if keep := len(answer) - 1; len(window) > keep {
			window = append(window[:0], window[len(window)-keep:]...)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%d bytes came without an answer", maxStale)
}

// request opens a stream, asks, and returns the stream behind the response.
// The stream is closed when ctx ends, until the returned function is called.
func (a *Agent) request(ctx context.Context, req wire.Request) (*yamux.Stream, wire.Response, func() bool, error) {
	for {
		session, err := a.connect(ctx)
		if err != nil {
			return nil, wire.Response{}, nil, err
		}
		stream, err := openStream(ctx, session)
		if err != nil {
			if ctx.Err() != nil {
				return nil, wire.Response{}, nil, ctx.Err()
			}
			session.Close()
			continue // nothing was asked yet: the next session may do
		}
		stop := context.AfterFunc(ctx, func() { interrupt(stream) })
		var res wire.Response
		if err = wire.WriteMessage(stream, req); err == nil {
			err = wire.ReadMessage(stream, &res)
		}
		if err == nil && res.Error == "" {
			return stream, res, stop, nil
		}
		stop()
		drop(stream)
		if err == nil {
			return nil, res, nil, &RemoteError{Op: req.Op, Message: clip(res.Error)}
		}
		if ctx.Err() != nil {
			return nil, res, nil, fmt.Errorf("the machine's agent does not answer: %w", ctx.Err())
		}
		return nil, res, nil, fmt.Errorf("cannot talk to the machine's agent: %w", channelError(err))
	}
}

// ErrLost is the cause when the channel broke under a running operation.
var ErrLost = errors.New("the channel to the machine was lost")

func channelError(err error) error {
	switch {
	case errors.Is(err, yamux.ErrTimeout), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, yamux.ErrSessionShutdown),
		errors.Is(err, yamux.ErrConnectionReset), errors.Is(err, yamux.ErrStreamClosed), errors.Is(err, os.ErrDeadlineExceeded):
		return ErrLost
	}
	return err
}

// RemoteError is a refusal by the agent: it works, but not this.
type RemoteError struct {
	Op      string
	Message string // the guest's words
}

func (e *RemoteError) Error() string { return e.Message }

// clip bounds a text the guest sent, for a person's eyes.
func clip(s string) string {
	const most = 4 << 10
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// openStream does not wait longer than ctx for a guest that acknowledges
// nothing.
func openStream(ctx context.Context, session *yamux.Session) (*yamux.Stream, error) {
	type result struct {
		s   *yamux.Stream
		err error
	}
	c := make(chan result, 1)
	go func() {
		s, err := session.OpenStream()
		c <- result{s, err}
	}()
	select {
	case r := <-c:
		return r.s, r.err
	case <-ctx.Done():
		go func() {
			if r := <-c; r.s != nil {
				drop(r.s)
			}
		}()
		return nil, ctx.Err()
	}
}

// interrupt makes blocked reads and writes of a stream return.
func interrupt(s *yamux.Stream) { s.SetDeadline(time.Unix(1, 0)) }

// drop closes a stream whose further bytes nobody wants. Reading a little on
// lets the guest end its side at once; one that will not is cut off by
// StreamCloseTimeout.
func drop(s *yamux.Stream) {
	s.Close()
	s.SetReadDeadline(time.Now().Add(5 * time.Second))
	go io.Copy(io.Discard, io.LimitReader(s, 1<<20))
}
