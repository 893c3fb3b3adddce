package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxForwards bounds the queries of one play that wait for upstreams.
	maxForwards = 32
	// maxConns bounds the TCP connections of one play.
	maxConns = 16
	// idle is how long a TCP connection may be silent.
	idle = 10 * time.Second
	// maxQuery bounds a query; real ones have less than 600 bytes.
	maxQuery = 2048
)

// Server answers the machines of one play.
type Server struct {
	Zone Zone
	// Here are names of what answers at the play's gateways: whoever asks for
	// one gets the address that was asked.
	Here []string
	// Upstreams lists the resolvers for all other names, "address" or
	// "address:port", best first. Nil means none: other names get SERVFAIL.
	Upstreams func() []string
	// Timeout of one question to one upstream; 0 means 2 s.
	Timeout time.Duration
	// Log may be nil.
	Log *slog.Logger

	once     sync.Once
	forwards chan struct{}
	conns    chan struct{}
}

// Serve answers on the sockets until the context ends, which is no error, or a
// socket fails. It closes them all and returns when nothing runs any more.
func (s *Server) Serve(ctx context.Context, packets []net.PacketConn, listeners []net.Listener) error {
	s.once.Do(func() {
		s.forwards, s.conns = make(chan struct{}, maxForwards), make(chan struct{}, maxConns)
	})
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var wait sync.WaitGroup
	for _, conn := range packets {
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		wait.Go(func() { cancel(s.servePackets(ctx, conn, &wait)) })
	}
	for _, listener := range listeners {
		defer context.AfterFunc(ctx, func() { listener.Close() })()
		wait.Go(func() { cancel(s.serveListener(ctx, listener, &wait)) })
	}
	<-ctx.Done()
	for _, conn := range packets {
		conn.Close()
	}
	for _, listener := range listeners {
		listener.Close()
	}
	wait.Wait()
	if parent.Err() != nil {
		return nil
	}
	return fmt.Errorf("cannot serve names: %v", context.Cause(ctx))
}

// servePackets answers from the zone at once and lets the rest wait elsewhere.
func (s *Server) servePackets(ctx context.Context, conn net.PacketConn, wait *sync.WaitGroup) error {
	buf := make([]byte, maxQuery)
	zone := s.zoneAt(conn.LocalAddr())
	for failures := 0; ; {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			// A socket reports trouble of an earlier reply as its own.
			if failures++; failures < 10 && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				continue
			}
			return err
		}
		failures = 0
		q, reply := s.local(zone, buf[:n], asker(from))
		switch {
		case reply != nil:
			s.sendPacket(conn, from, q, reply)
		case q != nil:
			s.tryForward(func() {
				wait.Go(func() {
					defer s.forwarded()
					defer s.survive()
					s.sendPacket(conn, from, q, s.forward(ctx, q, udpLimit(q)))
				})
			}, func() { s.sendPacket(conn, from, q, new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) })
		}
	}
}

// tryForward takes a place among the forwards, or refuses.
func (s *Server) tryForward(start, refuse func()) {
	select {
	case s.forwards <- struct{}{}:
		start()
	default:
		refuse()
	}
}

func (s *Server) forwarded() { <-s.forwards }

// local reads a packet and answers it from the zone. Without a reply the query
// is to be forwarded; without a query the packet is to be ignored.
func (s *Server) local(zone Zone, packet []byte, asker netip.Addr) (q, reply *dns.Msg) {
	defer s.survive()
	m := new(dns.Msg)
	err := m.Unpack(packet)
	// Replies are never answered: two servers would talk for ever.
	if len(packet) < 12 || m.Response {
		return nil, nil
	}
	if err != nil {
		bad := new(dns.Msg)
		bad.Id, bad.Response, bad.Opcode, bad.Rcode = binary.BigEndian.Uint16(packet), true, m.Opcode, dns.RcodeFormatError
		return m, bad
	}
	reply = zone.Answer(m)
	if reply != nil {
		zone.nearFirst(reply.Answer, asker)
	}
	return m, reply
}

// asker is the address of a machine; the zero Addr if it has none.
func asker(from net.Addr) netip.Addr {
	a, _ := netip.ParseAddrPort(from.String())
	return a.Addr().Unmap()
}

// zoneAt is the zone as the machines see it that ask at this address.
func (s *Server) zoneAt(local net.Addr) Zone {
	addr, err := netip.ParseAddrPort(local.String())
	if err != nil || len(s.Here) == 0 {
		return s.Zone
	}
	return s.Zone.with(s.Here, addr.Addr().Unmap())
}

// survive keeps a packet that trips the parser from ending labd, and with it
// the names of every other play.
func (s *Server) survive() {
	if r := recover(); r != nil && s.Log != nil {
		s.Log.Error("name server survived a panic", "panic", r, "stack", string(debug.Stack()))
	}
}

// udpLimit is the size of reply a client takes over UDP.
func udpLimit(q *dns.Msg) int {
	if opt := q.IsEdns0(); opt != nil {
		return min(max(int(opt.UDPSize()), dns.MinMsgSize), 4096)
	}
	return dns.MinMsgSize
}

func (s *Server) sendPacket(conn net.PacketConn, to net.Addr, q, reply *dns.Msg) {
	if len(reply.Answer) > 1 {
		reply.Compress = true
		reply.Truncate(udpLimit(q))
	}
	if data, err := reply.Pack(); err == nil {
		_, _ = conn.WriteTo(data, to) // who does not take it asks again
	}
}

func (s *Server) serveListener(ctx context.Context, listener net.Listener, wait *sync.WaitGroup) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			// No file descriptors, most likely; others will be closed.
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case s.conns <- struct{}{}:
			wait.Go(func() {
				defer func() { <-s.conns }()
				s.serveConn(ctx, conn)
			})
		default:
			conn.Close()
		}
	}
}

// serveConn answers one query after the other.
func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer s.survive()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	zone := s.zoneAt(conn.LocalAddr())
	for {
		if err := conn.SetDeadline(time.Now().Add(idle)); err != nil {
			return
		}
		packet, err := readTCP(conn, maxQuery)
		if err != nil {
			return
		}
		q, reply := s.local(zone, packet, asker(conn.RemoteAddr()))
		if q == nil {
			return
		}
		if reply == nil {
			s.tryForward(func() {
				defer s.forwarded()
				reply = s.forward(ctx, q, dns.MaxMsgSize)
			}, func() { reply = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) })
		}
		data, err := reply.Pack()
		if err != nil || len(data) > dns.MaxMsgSize {
			return
		}
		// Upstreams may have used the time up.
		if err := conn.SetDeadline(time.Now().Add(idle)); err != nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...)); err != nil {
			return
		}
	}
}
