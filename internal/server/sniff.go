package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// helloByte is the first byte of every TLS connection: a handshake record. No
// HTTP request begins with it.
const helloByte = 0x16

// sniffTimeout is how long a connection may say nothing. Browsers open
// connections ahead of need, and open them again.
const sniffTimeout = 30 * time.Second

// maxSilent bounds connections that have said nothing yet. Over it the one that
// has been silent longest makes room: who has something to ask says so at once,
// so no number of silent ones keeps others out.
const maxSilent = 4096

// Sniff returns a listener that takes TLS and plain connections on one port:
// the first byte decides. A connection is accepted once it has said something,
// so Accept never waits for a client that is silent.
func Sniff(l net.Listener, config *tls.Config) net.Listener {
	s := &sniffer{Listener: l, config: config, ready: make(chan net.Conn), done: make(chan struct{}), max: maxSilent, silent: list.New()}
	go s.run()
	return s
}

type sniffer struct {
	net.Listener
	config *tls.Config
	ready  chan net.Conn

	once sync.Once
	done chan struct{} // closed after the last connection
	err  error         // of Accept, once done

	max    int
	mu     sync.Mutex
	closed bool
	silent *list.List // of net.Conn, the oldest first
}

func (s *sniffer) run() {
	for {
		conn, err := s.Listener.Accept()
		if err == nil {
			if place := s.hold(conn); place != nil {
				go s.sniff(conn, place)
			} else {
				conn.Close()
			}
			continue
		}
		// As net/http does: out of files, say, passes.
		if temporary(err) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		s.end(err)
		return
	}
}

func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !errors.Is(err, net.ErrClosed)
}

// sniff reads one byte and hands the connection on.
func (s *sniffer) sniff(conn net.Conn, place *list.Element) {
	var first [1]byte
	_ = conn.SetReadDeadline(time.Now().Add(sniffTimeout))
	n, err := conn.Read(first[:])
	if !s.release(place) || n == 0 || err != nil {
		conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	var out net.Conn = &peeked{Conn: conn, first: first[0], held: true}
	if first[0] == helloByte {
		out = tls.Server(out, s.config) // its handshake is the server's to time
	}
	select {
	case s.ready <- out:
	case <-s.done:
		conn.Close()
	}
}

// hold gives a connection its place among the silent ones; nil after the end.
func (s *sniffer) hold(conn net.Conn) *list.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.silent.Len() >= s.max {
		s.silent.Remove(s.silent.Front()).(net.Conn).Close()
	}
	return s.silent.PushBack(conn)
}

func (s *sniffer) release(place *list.Element) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent.Remove(place) // nothing, if it has made room
	return !s.closed
}

func (s *sniffer) end(err error) {
	s.once.Do(func() {
		s.err = err
		s.mu.Lock()
		s.closed = true
		for e := s.silent.Front(); e != nil; e = e.Next() {
			e.Value.(net.Conn).Close()
		}
		s.mu.Unlock()
		close(s.done)
	})
}

func (s *sniffer) Accept() (net.Conn, error) {
	select {
	case conn := <-s.ready:
		return conn, nil
	case <-s.done:
		return nil, s.err
	}
}

func (s *sniffer) Close() error {
	s.end(net.ErrClosed)
	return s.Listener.Close()
}

// peeked is a connection whose first byte was read already.
type peeked struct {
	net.Conn
	first byte
	held  bool // only the one reader of the connection looks at it
}

func (p *peeked) Read(b []byte) (int, error) {
	if p.held && len(b) > 0 {
		p.held = false
		b[0] = p.first
		return 1, nil
	}
	return p.Conn.Read(b)
}
