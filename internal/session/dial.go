package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// Dial connects to a TCP address as seen from inside the machine; an empty
// host (":22") means the machine itself. The connection has CloseWrite. ctx
// bounds the dialling alone.
func (a *Agent) Dial(ctx context.Context, address string) (net.Conn, error) {
	return a.conn(ctx, wire.Request{Op: wire.OpDial, Dial: &wire.Dial{Network: "tcp", Address: address}}, address)
}

func (a *Agent) conn(ctx context.Context, req wire.Request, address string) (net.Conn, error) {
	s, _, stop, err := a.request(ctx, req)
	if err != nil {
		return nil, err
	}
	if !stop() {
		drop(s)
		return nil, ctx.Err()
	}
	return &conn{Stream: s, remote: guestAddr(address)}, nil
}

// guestAddr is an address inside a machine.
type guestAddr string

func (guestAddr) Network() string  { return "tcp" }
func (a guestAddr) String() string { return string(a) }

// conn is a connection inside the machine. A yamux stream's Close ends one
// direction only: that is our CloseWrite.
type conn struct {
	*yamux.Stream
	remote guestAddr
	mu     sync.Mutex
	closed bool
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }
func (c *conn) LocalAddr() net.Addr  { return guestAddr("labd") }

// CloseWrite sends end of file and leaves reading open.
func (c *conn) CloseWrite() error { return c.Stream.Close() }

func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		drop(c.Stream)
	}
	return nil
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *conn) Read(b []byte) (int, error) {
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	return c.Stream.Read(b)
}

// Write splits: no frame may be longer than wire.MaxChunk.
func (c *conn) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		n, err := c.Stream.Write(b[:min(len(b), wire.MaxChunk)])
		total += n
		if err != nil {
			return total, err
		}
		b = b[n:]
	}
	return total, nil
}

// Listen listens on a TCP address inside the machine until the listener is
// closed or ctx ends.
func (a *Agent) Listen(ctx context.Context, address string) (net.Listener, error) {
	s, res, stop, err := a.request(ctx, wire.Request{Op: wire.OpListen, Dial: &wire.Dial{Network: "tcp", Address: address}})
	if err != nil {
		return nil, err
	}
	if res.Listening != "" {
		address = clip(res.Listening)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	l := &listener{agent: a, stream: s, address: address, ctx: ctx, cancel: cancel, conns: make(chan net.Conn)}
	stop()
	context.AfterFunc(ctx, func() { drop(s); interrupt(s) })
	go l.run()
	return l, nil
}

type listener struct {
	agent   *Agent
	stream  *yamux.Stream
	address string
	ctx     context.Context
	cancel  context.CancelCauseFunc
	conns   chan net.Conn
}

// fetchTimeout is the contract's: see wire.Accepted.
const fetchTimeout = 15 * time.Second

func (l *listener) run() {
	for {
		var accepted wire.Accepted
		if err := wire.ReadMessage(l.stream, &accepted); err != nil {
			l.cancel(fmt.Errorf("cannot listen in the machine: %w", channelError(err)))
			return
		}
		// One after another: a guest that announces many gets no more
		// goroutines for it.
		ctx, cancel := context.WithTimeout(l.ctx, fetchTimeout)
		c, err := l.agent.conn(ctx, wire.Request{Op: wire.OpAccept, Accept: accepted.ID}, l.address)
		cancel()
		if err != nil {
			continue
		}
		select {
		case l.conns <- c:
		case <-l.ctx.Done():
			c.Close()
			return
		}
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		if err := context.Cause(l.ctx); !errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.cancel(net.ErrClosed)
	return nil
}

func (l *listener) Addr() net.Addr { return guestAddr(l.address) }

var _ io.Closer = (*listener)(nil)
