package agent

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

const (
	// takeTimeout bounds how long the host may take to choose.
	takeTimeout = 10 * time.Second
	// proveTimeout bounds one stranger who connects to what is offered.
	proveTimeout = 2 * time.Second
	// maxStrangers bounds those who connect meanwhile.
	maxStrangers = 8
)

// beside offers a connection that was made inside over the machine's own
// network, from which it is read many times faster than through the channel,
// and carries it through the channel if the host prefers that: the network
// may be down, filtered or somebody else's. It closes conn.
func (a *Agent) beside(ctx context.Context, s *yamux.Stream, conn net.Conn, host string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil { // it has no such address just now
		respond(s, wire.Response{})
		splice(ctx, s, conn)
		return nil
	}
	defer l.Close()
	offer := wire.Beside{Address: l.Addr().String(), Key: rand.Text(), Proof: rand.Text()}
	came := make(chan net.Conn, 1)
	go func() {
		for range maxStrangers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if !proves(c, offer) {
					c.Close()
					return
				}
				select {
				case came <- c:
				default:
					c.Close()
				}
			}()
		}
	}()
	respond(s, wire.Response{Beside: &offer})
	var choice [1]byte
	s.SetReadDeadline(time.Now().Add(takeTimeout))
	_, err = io.ReadFull(s, choice[:])
	s.SetReadDeadline(time.Time{})
	l.Close()
	if err == nil && choice[0] == wire.BesideTaken {
		select {
		case c := <-came:
			relay(ctx, c, conn)
			return nil
		case <-time.After(proveTimeout):
		}
	}
	select {
	case c := <-came:
		c.Close()
	default:
	}
	if err != nil || choice[0] != wire.BesideRefused {
		conn.Close()
		return nil
	}
	splice(ctx, s, conn)
	return nil
}

// proves tells whether it is the host who has connected, and shows it that it
// is us who have answered.
func proves(c net.Conn, offer wire.Beside) bool {
	c.SetDeadline(time.Now().Add(proveTimeout))
	key := make([]byte, len(offer.Key))
	if _, err := io.ReadFull(c, key); err != nil || subtle.ConstantTimeCompare(key, []byte(offer.Key)) != 1 {
		return false
	}
	_, err := io.WriteString(c, offer.Proof)
	return err == nil && c.SetDeadline(time.Time{}) == nil
}

// relay carries bytes both ways until both sides have ended, each end of file
// on its own, and closes both. Between TCP connections the kernel carries them.
func relay(ctx context.Context, a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	defer context.AfterFunc(ctx, func() { a.Close(); b.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, err := io.Copy(way[0], way[1])
			if c, ok := way[0].(interface{ CloseWrite() error }); ok && err == nil {
				err = c.CloseWrite()
			}
			if err != nil {
				a.Close()
				b.Close()
			}
		})
	}
	both.Wait()
}
