package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// Beside is the way to a machine through its play's network, beside the
// channel.
type Beside struct {
	// Address of the machine.
	Address netip.Addr
	// Dial connects to it by TCP.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

const (
	// besideTimeout is what the network may take; a person waits meanwhile.
	besideTimeout = time.Second
	// besideAvoid is how long a network that did not work is let alone.
	besideAvoid = time.Minute
	// besideOpen is how long a port is thought to be open.
	besideOpen = time.Minute
	// maxSecret is more than the agent's keys have.
	maxSecret = 64
)

var errNotTheAgent = errors.New("somebody else answers at the machine's address")

// DialBeside is Dial, but the bytes go over the network where that works: to
// the port itself if it is open to everybody and the agent confirms that the
// machine is the other end, else to the agent, which makes the connection
// inside and has to prove that it is the agent. Where the network does not
// work they go through the channel. A connection over the network ends with
// the channel, too. To a port that was open to everybody a moment ago the
// connection is made before the agent is asked, which spares a way to it.
func (a *Agent) DialBeside(ctx context.Context, address string, way Beside) (_ net.Conn, err error) {
	a.mu.Lock()
	avoid := time.Now().Before(a.avoid)
	a.mu.Unlock()
	if avoid {
		return a.Dial(ctx, address)
	}
	dial := wire.Dial{Network: "tcp", Address: address, Beside: way.Address.String(), Direct: strings.HasPrefix(address, ":")}
	// The port is the caller's: the agent's word is not needed for it.
	number, err := strconv.ParseUint(strings.TrimPrefix(address, ":"), 10, 16)
	port := uint16(number)
	dial.Direct = dial.Direct && err == nil
	var tcp net.Conn
	defer func() {
		if err != nil && tcp != nil {
			tcp.Close()
		}
	}()
	silent := false
	if dial.Direct && a.wasOpen(port) {
		if tcp, silent, err = way.connect(ctx, port); err == nil {
			dial.From = tcp.LocalAddr().String()
		}
	}
	s, res, stop, err := a.request(ctx, wire.Request{Op: wire.OpDial, Dial: &dial})
	if err != nil {
		return nil, err
	}
	if dial.Direct && res.Direct != 0 && !(tcp != nil && res.Confirmed) {
		if tcp == nil && !silent {
			tcp, silent, _ = way.connect(ctx, port)
		}
		res, err = confirm(s, tcp)
	}
	if tcp != nil && err == nil && res.Direct == 0 {
		tcp.Close()
		tcp = nil
	}
	if dial.Direct {
		a.noteOpen(port, tcp != nil && err == nil)
	}
	if tcp == nil && err == nil && res.Beside != nil {
		choice := wire.BesideTaken
		if !silent {
			tcp, _ = way.take(ctx, *res.Beside)
		}
		if tcp == nil {
			choice = wire.BesideRefused
			a.mu.Lock()
			a.avoid = time.Now().Add(besideAvoid)
			a.mu.Unlock()
		}
		_, err = s.Write([]byte{choice})
	}
	if !stop() || err != nil {
		drop(s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, channelError(err)
	}
	if tcp == nil {
		return &conn{Stream: s, remote: guestAddr(address)}, nil
	}
	c := &besideConn{Conn: tcp, stream: s, remote: guestAddr(address)}
	go c.watch()
	return c, nil
}

// wasOpen tells whether the port was open to everybody a moment ago.
func (a *Agent) wasOpen(port uint16) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.direct[port])
}

// noteOpen notes whether the port is open to everybody.
func (a *Agent) noteOpen(port uint16, open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if open {
		a.direct[port] = time.Now().Add(besideOpen)
	} else {
		delete(a.direct, port)
	}
}

// connect connects to the port itself. Silent is a network that carries nothing
// to the machine.
func (b Beside) connect(ctx context.Context, port uint16) (tcp net.Conn, silent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, besideTimeout)
	defer cancel()
	tcp, err = b.Dial(ctx, netip.AddrPortFrom(b.Address, port))
	return tcp, ctx.Err() != nil, err
}

// confirm asks the agent whether the machine is the other end of tcp, which is
// nil if there is none; the answer has Direct if it is, else how it goes on.
func confirm(s *yamux.Stream, tcp net.Conn) (res wire.Response, err error) {
	var made wire.Direct
	if tcp != nil {
		made.From = tcp.LocalAddr().String()
	}
	if err = wire.WriteMessage(s, made); err == nil {
		err = wire.ReadMessage(s, &res)
	}
	if err == nil && res.Error != "" {
		err = &RemoteError{Op: wire.OpDial, Message: clip(res.Error)}
	}
	return res, err
}

// take connects to what the agent offers. Of the address it says, only the
// port is believed.
func (b Beside) take(ctx context.Context, offer wire.Beside) (net.Conn, error) {
	at, err := netip.ParseAddrPort(offer.Address)
	if err != nil || offer.Key == "" || offer.Proof == "" || len(offer.Key) > maxSecret || len(offer.Proof) > maxSecret {
		return nil, errNotTheAgent
	}
	ctx, cancel := context.WithTimeout(ctx, besideTimeout)
	defer cancel()
	c, err := b.Dial(ctx, netip.AddrPortFrom(b.Address, at.Port()))
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	proof := make([]byte, len(offer.Proof))
	if _, err = io.WriteString(c, offer.Key); err == nil {
		_, err = io.ReadFull(c, proof)
	}
	if err == nil && subtle.ConstantTimeCompare(proof, []byte(offer.Proof)) != 1 {
		err = errNotTheAgent
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// besideConn is a connection over the network whose end the channel tells if
// the machine can no longer.
type besideConn struct {
	net.Conn
	stream *yamux.Stream
	remote guestAddr
	once   sync.Once
}

// watch closes the connection when the channel is lost: a machine that was
// stopped says nothing on its network.
func (c *besideConn) watch() {
	_, _ = io.Copy(io.Discard, io.LimitReader(c.stream, 1))
	if c.stream.Session().IsClosed() {
		_ = c.Close()
	}
}

func (c *besideConn) RemoteAddr() net.Addr { return c.remote }
func (c *besideConn) LocalAddr() net.Addr  { return guestAddr("labd") }

// CloseWrite sends end of file and leaves reading open.
func (c *besideConn) CloseWrite() error {
	if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return nil
}

func (c *besideConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { drop(c.stream) })
	return err
}
