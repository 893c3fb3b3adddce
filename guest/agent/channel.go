package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"sandlot/guest/wire"
)

// Serve answers on one channel. With lasting, the channel is a virtio-serial
// port: end of file only means that nobody is at the other end right now.
// It returns when the channel is closed for good or ctx ends.
func (a *Agent) Serve(ctx context.Context, ch Channel, lasting bool) error {
	defer context.AfterFunc(ctx, func() { ch.Close() })()
	c := &link{ch: ch, in: bufio.NewReaderSize(ch, 32<<10), lasting: lasting}
	c.write([]byte(wire.HandshakeHello))
	for {
		if err := c.handshake(ctx); err != nil {
			return err
		}
		a.serveSession(ctx, &sessionConn{link: c})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.open()
	}
}

// link is a channel over several sessions: what is buffered survives them.
type link struct {
	ch      Channel
	in      *bufio.Reader
	lasting bool
	apology time.Time // when we last told the host that we do not understand
}

// idleWait is how often a port without a host is looked at: the kernel answers
// such a read at once with end of file. Doubles up to ten times as long.
const idleWait = 20 * time.Millisecond

// writeTimeout bounds a write outside of a session: without a host, the port
// takes nothing.
const writeTimeout = 2 * time.Second

func (c *link) write(b []byte) error {
	c.ch.SetWriteDeadline(time.Now().Add(writeTimeout))
	defer c.ch.SetWriteDeadline(time.Time{})
	_, err := c.ch.Write(b)
	return err
}

// open lifts what sessionConn.Close did.
func (c *link) open() {
	c.ch.SetReadDeadline(time.Time{})
	c.ch.SetWriteDeadline(time.Time{})
}

// peek waits for the next byte without taking it.
func (c *link) peek(ctx context.Context) (byte, error) {
	for wait := idleWait; ; wait = min(2*wait, 10*idleWait) {
		b, err := c.in.Peek(1)
		if err == nil {
			return b[0], nil
		}
		if !c.lasting || !errors.Is(err, io.EOF) {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// line takes one line, or as much of a too long one as is buffered.
func (c *link) line() (string, error) {
	b, err := c.in.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !(c.lasting && errors.Is(err, io.EOF)) {
		return "", err
	}
	return string(bytes.TrimRight(b, "\n")), nil
}

// handshake returns once a host has been answered and its first yamux byte is
// the next one to read. See package wire.
func (c *link) handshake(ctx context.Context) error {
	var answered string
	for {
		b, err := c.peek(ctx)
		if err != nil {
			return err
		}
		if b == 0 && answered != "" {
			return nil
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		nonce, ok := strings.CutPrefix(line, wire.HandshakeHost)
		switch {
		case line == "":
		case !ok || !validNonce(nonce):
			answered = ""
			c.apologize()
		case nonce != answered:
			if err := c.write([]byte("\n" + wire.HandshakeBack + nonce + "\n")); err == nil {
				answered = nonce
			}
		}
	}
}

// apologize makes a host that believes in a session we know nothing of leave
// it, even if it waits for the rest of a frame.
func (c *link) apologize() {
	if time.Since(c.apology) < time.Second {
		return
	}
	c.apology = time.Now()
	c.write([]byte(strings.Repeat("\n", wire.HandshakePad) + wire.HandshakeHello))
}

func validNonce(s string) bool {
	return len(s) > 0 && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// sessionConn is the channel as one session sees it. Its Close only wakes the
// session's own reads and writes.
type sessionConn struct{ link *link }

func (s *sessionConn) Read(b []byte) (int, error)  { return s.link.in.Read(b) }
func (s *sessionConn) Write(b []byte) (int, error) { return s.link.ch.Write(b) }
func (s *sessionConn) Close() error {
	now := time.Unix(1, 0)
	s.link.ch.SetReadDeadline(now)
	s.link.ch.SetWriteDeadline(now)
	return nil
}
