package dns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// rounds over all upstreams before giving up: one packet may get lost.
const rounds = 2

var errNoUpstream = errors.New("no upstream")

// forward asks the upstreams one after the other and returns the first useful
// reply, made to fit the client's query. A reply that does not fit into limit
// bytes is truncated.
func (s *Server) forward(ctx context.Context, q *dns.Msg, limit int) *dns.Msg {
	ask := new(dns.Msg)
	ask.RecursionDesired, ask.CheckingDisabled, ask.AuthenticatedData = true, q.CheckingDisabled, q.AuthenticatedData
	ask.Question = q.Question
	opt := q.IsEdns0()
	if opt != nil {
		// The options (cookies, client subnet) are between the machine and us.
		ask.SetEdns0(maxUDP, opt.Do())
	}
	got, err := s.askAll(ctx, ask)
	reply := new(dns.Msg)
	if err != nil {
		reply.SetRcode(q, dns.RcodeServerFailure)
	} else {
		reply.MsgHdr = got.MsgHdr
		reply.Answer, reply.Ns = got.Answer, got.Ns
		for _, rr := range got.Extra {
			switch rr.Header().Rrtype {
			case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG: // between the upstream and us
			default:
				reply.Extra = append(reply.Extra, rr)
			}
		}
		reply.Id, reply.Response, reply.Authoritative = q.Id, true, false
		reply.RecursionDesired = q.RecursionDesired
		reply.Question = q.Question
		if reply.Rcode > 0xf && opt == nil {
			reply.Rcode = dns.RcodeServerFailure // the others need EDNS
		}
	}
	reply.RecursionAvailable = true
	if opt != nil {
		reply.SetEdns0(maxUDP, opt.Do())
	}
	reply.Compress = true
	reply.Truncate(limit)
	return reply
}

// askAll returns the last refusal if no upstream has anything better.
func (s *Server) askAll(ctx context.Context, ask *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*rounds*s.timeout())
	defer cancel()
	var upstreams []string
	if s.Upstreams != nil {
		upstreams = s.Upstreams()
	}
	var refusal *dns.Msg
	for range rounds {
		for _, upstream := range upstreams {
			if ctx.Err() != nil {
				break
			}
			got, err := s.ask(ctx, upstream, ask)
			if err != nil {
				continue
			}
			if got.Rcode == dns.RcodeSuccess || got.Rcode == dns.RcodeNameError {
				return got, nil
			}
			refusal = got
		}
		if refusal != nil {
			return refusal, nil
		}
	}
	return nil, errNoUpstream
}

// ask goes over UDP, and over TCP if the answer does not fit.
func (s *Server) ask(ctx context.Context, upstream string, ask *dns.Msg) (*dns.Msg, error) {
	if _, _, err := net.SplitHostPort(upstream); err != nil {
		upstream = net.JoinHostPort(upstream, "53")
	}
	got, err := s.exchange(ctx, "udp", upstream, ask)
	if err != nil || !got.Truncated {
		return got, err
	}
	if whole, err := s.exchange(ctx, "tcp", upstream, ask); err == nil {
		return whole, nil
	}
	return got, nil
}

// exchange sends one query from a socket of its own, whose port nobody can
// guess, and takes only a reply to it.
func (s *Server) exchange(ctx context.Context, network, upstream string, ask *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, upstream)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	ask = ask.Copy()
	ask.Id = uint16(rand.Uint32())
	data, err := ask.Pack()
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		data = append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...)
	}
	if _, err := conn.Write(data); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		var packet []byte
		if network == "tcp" {
			if packet, err = readTCP(conn, dns.MaxMsgSize); err != nil {
				return nil, err
			}
		} else {
			n, err := conn.Read(buf)
			if err != nil {
				return nil, err
			}
			packet = buf[:n]
		}
		got := new(dns.Msg)
		err := got.Unpack(packet)
		if got.Id != ask.Id || !got.Response || !sameQuestion(got, ask) {
			continue
		}
		if err != nil && !got.Truncated {
			return nil, err
		}
		return got, nil
	}
}

func sameQuestion(a, b *dns.Msg) bool {
	return len(a.Question) == 1 && len(b.Question) == 1 &&
		a.Question[0].Qtype == b.Question[0].Qtype && a.Question[0].Qclass == b.Question[0].Qclass &&
		strings.EqualFold(a.Question[0].Name, b.Question[0].Name)
}

// readTCP reads one message of at most limit bytes.
func readTCP(r io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, errors.New("message too long")
	}
	packet := make([]byte, n)
	_, err := io.ReadFull(r, packet)
	return packet, err
}

// HostUpstreams returns a function for Server.Upstreams that lists the name
// servers of a resolv.conf(5) file, "/etc/resolv.conf" if path is empty, and
// reads it again when it changes. Servers of all plays can share it.
func HostUpstreams(path string) func() []string {
	if path == "" {
		path = "/etc/resolv.conf"
	}
	var mu sync.Mutex
	var seen os.FileInfo
	var servers []string
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		now, err := os.Stat(path)
		if err != nil {
			return nil
		}
		if seen != nil && os.SameFile(seen, now) && seen.Size() == now.Size() && seen.ModTime().Equal(now.ModTime()) {
			return servers
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		seen, servers = now, nameservers(data)
		return servers
	}
}

// nameservers reads the first three, as the C library does.
func nameservers(data []byte) []string {
	var servers []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() && len(servers) < 3 {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(f[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53).String())
		}
	}
	return servers
}

func (s *Server) timeout() time.Duration {
	if s.Timeout == 0 {
		return 2 * time.Second
	}
	return s.Timeout
}
