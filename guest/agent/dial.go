package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

const (
	dialTimeout = 10 * time.Second
	// acceptTimeout is the contract's: see wire.Accepted.
	acceptTimeout = 15 * time.Second
	// maxPending bounds connections nobody fetched yet, per listener.
	maxPending = 64
	// stall is how long the machine's side of a connection may be unable to
	// send once the host has ended its own: longer means that nobody reads.
	stall = time.Minute
)

func (a *Agent) dial(ctx context.Context, s *yamux.Stream, d wire.Dial) error {
	if d.Direct && a.direct(s, d) {
		return nil
	}
	conn, err := dialInside(ctx, d)
	if err != nil {
		return err
	}
	if d.Beside != "" {
		return a.beside(ctx, s, conn, d.Beside)
	}
	respond(s, wire.Response{})
	splice(ctx, s, conn)
	return nil
}

// dialInside connects to an address as the machine sees it. An empty host
// means the machine: loopback, then the addresses it has, for a service that
// listens on one of them alone.
func dialInside(ctx context.Context, d wire.Dial) (net.Conn, error) {
	if d.Network != "" && d.Network != "tcp" {
		return nil, fmt.Errorf("cannot dial network %q: only tcp", d.Network)
	}
	host, port, err := net.SplitHostPort(d.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot dial: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var dialer net.Dialer
	if host != "" {
		return dialer.DialContext(ctx, "tcp", d.Address)
	}
	var errs []error
	for _, h := range append([]string{"127.0.0.1", "::1"}, ownAddresses()...) {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(h, port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errs[0]
}

func ownAddresses() []string {
	var out []string
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.IP.String())
		}
	}
	return out
}

// splice carries bytes both ways until both sides have ended, each end of file
// on its own, and closes conn.
func splice(ctx context.Context, s *yamux.Stream, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	hostEnded := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(hostEnded)
		_, err := copyChunks(conn, s, nil)
		if c, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			c.CloseWrite()
		} else {
			conn.Close()
		}
	})
	both.Go(func() {
		if _, err := copyChunks(s, conn, func() {
			select {
			case <-hostEnded:
				s.SetWriteDeadline(time.Now().Add(stall))
			default:
			}
		}); err != nil {
			conn.Close()
		}
		s.Close() // ends our direction only
	})
	both.Wait()
}

// copyChunks is io.Copy with writes of at most wire.MaxChunk; before each, it
// calls before.
func copyChunks(w io.Writer, r io.Reader, before func()) (int64, error) {
	buf := make([]byte, wire.MaxChunk)
	var total int64
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if before != nil {
				before()
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// accepts holds connections that a listen stream announced.
type accepts struct {
	mu      sync.Mutex
	pending map[string]net.Conn
}

func newAccepts() *accepts { return &accepts{pending: map[string]net.Conn{}} }

// put stores a connection until it is taken or acceptTimeout has passed.
func (p *accepts) put(conn net.Conn) string {
	id := rand.Text()
	p.mu.Lock()
	p.pending[id] = conn
	p.mu.Unlock()
	time.AfterFunc(acceptTimeout, func() {
		if c := p.take(id); c != nil {
			c.Close()
		}
	})
	return id
}

func (p *accepts) take(id string) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.pending[id]
	delete(p.pending, id)
	return c
}

func (p *accepts) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending)
}

func (a *Agent) listen(ctx context.Context, s *yamux.Stream, d wire.Dial) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", d.Address)
	if err != nil {
		return err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	// The address, for a caller that asked for port 0.
	wire.WriteMessage(s, wire.Response{Listening: l.Addr().String()})
	go func() {
		io.Copy(io.Discard, s) // until the host closes the stream
		l.Close()
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			a.Log("cannot accept on %s: %v", d.Address, err)
			return nil
		}
		if a.accepts.len() >= maxPending {
			conn.Close()
			continue
		}
		if err := wire.WriteMessage(s, wire.Accepted{ID: a.accepts.put(conn)}); err != nil {
			return nil
		}
	}
}

func (a *Agent) accept(ctx context.Context, s *yamux.Stream, id string) error {
	conn := a.accepts.take(id)
	if conn == nil {
		return fmt.Errorf("no connection %q is waiting", id)
	}
	respond(s, wire.Response{})
	splice(ctx, s, conn)
	return nil
}
