package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// sockets listen on one port of both kinds.
func sockets(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		// Another program may have the port of the other kind.
		if listener, err := net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, listener
		}
		packets.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// upstream is an in-process resolver; handler sees every query.
func upstream(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	packets, listener := sockets(t)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go server.ActivateAndServe()
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	return packets.LocalAddr().String()
}

// says replies with this address.
func says(addr string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 9}, A: net.ParseIP(addr)}}
		w.WriteMsg(m)
	}
}

func rcode(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, code)) }
}

// silent never answers.
func silent(dns.ResponseWriter, *dns.Msg) {}

// start runs the server on a socket of each kind and returns their address.
func start(t *testing.T, s *Server) string {
	t.Helper()
	packets, listener := sockets(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, []net.PacketConn{packets}, []net.Listener{listener}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return packets.LocalAddr().String()
}

func list(upstreams ...string) func() []string { return func() []string { return upstreams } }

func ask(t *testing.T, network, server string, q *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 20 * time.Second, UDPSize: 4096}
	reply, _, err := client.Exchange(q, server)
	if err != nil {
		t.Fatalf("%s: %v", q.Question[0].Name, err)
	}
	return reply
}

func TestServe(t *testing.T) {
	server := start(t, &Server{Zone: testZone(), Upstreams: list(upstream(t, says("192.0.2.80")))})
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{
			"web.": "NOERROR 172.16.0.2", "nobody.": "NXDOMAIN", "example.com.": "NOERROR 192.0.2.80",
		} {
			if got := brief(ask(t, network, server, query(name, "A"))); got != want {
				t.Errorf("%s over %s: %s, want %s", name, network, got, want)
			}
		}
	}
}

func TestForwarding(t *testing.T) {
	good, closed := upstream(t, says("192.0.2.80")), "127.0.0.1:1"
	lying := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		// Another id, another question, then the truth.
		m := new(dns.Msg).SetReply(q)
		m.Id++
		w.WriteMsg(m)
		m = new(dns.Msg).SetReply(query("evil.example.", "A"))
		m.Id = q.Id
		w.WriteMsg(m)
		says("192.0.2.81")(w, q)
	})
	garbage := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) { w.Write([]byte("garbage, garbage")) })
	for name, c := range map[string]struct {
		upstreams func() []string
		want      string
	}{
		"one":                       {list(good), "NOERROR 192.0.2.80"},
		"none configured":           {nil, "SERVFAIL"},
		"none listed":               {list(), "SERVFAIL"},
		"none that listens":         {list(closed), "SERVFAIL"},
		"none that answers":         {list(upstream(t, silent)), "SERVFAIL"},
		"nonsense":                  {list("not an address"), "SERVFAIL"},
		"the second":                {list(closed, good), "NOERROR 192.0.2.80"},
		"the one after the silent":  {list(upstream(t, silent), good), "NOERROR 192.0.2.80"},
		"the one after the failing": {list(upstream(t, rcode(dns.RcodeServerFailure)), good), "NOERROR 192.0.2.80"},
		"the one after garbage":     {list(garbage, good), "NOERROR 192.0.2.80"},
		"all refuse":                {list(upstream(t, rcode(dns.RcodeRefused))), "REFUSED"},
		"no such name":              {list(upstream(t, rcode(dns.RcodeNameError)), good), "NXDOMAIN"},
		"an error that needs EDNS": {list(upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeBadCookie).SetEdns0(1232, false))
		})), "SERVFAIL"},
		"one that lies first": {list(lying), "NOERROR 192.0.2.81"},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, &Server{Upstreams: c.upstreams, Timeout: 100 * time.Millisecond})
			reply := ask(t, "udp", server, query("example.com.", "A"))
			if got := brief(reply); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if reply.Authoritative || !reply.RecursionAvailable {
				t.Errorf("header %+v", reply.MsgHdr)
			}
		})
	}
}

// TestBigReplies come from upstream over TCP and reach a client in the size it
// takes.
func TestBigReplies(t *testing.T) {
	var overTCP atomic.Int32
	big := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncated = true
			w.WriteMsg(m)
			return
		}
		overTCP.Add(1)
		for i := range 40 {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET},
				Txt: []string{fmt.Sprintf("%02d%s", i, strings.Repeat("x", 48))}})
		}
		w.WriteMsg(m)
	})
	server := start(t, &Server{Upstreams: list(big)})
	plain := query("example.com.", "TXT")
	if got := ask(t, "udp", server, plain); !got.Truncated || len(got.Answer) == 0 || len(got.Answer) == 40 {
		t.Errorf("plain UDP: truncated=%v with %d records", got.Truncated, len(got.Answer))
	}
	edns := query("example.com.", "TXT").SetEdns0(4096, false)
	if got := ask(t, "udp", server, edns); got.Truncated || len(got.Answer) != 40 || got.IsEdns0() == nil {
		t.Errorf("UDP with room: truncated=%v with %d records", got.Truncated, len(got.Answer))
	}
	if got := ask(t, "tcp", server, plain); got.Truncated || len(got.Answer) != 40 {
		t.Errorf("TCP: truncated=%v with %d records", got.Truncated, len(got.Answer))
	}
	if overTCP.Load() != 3 {
		t.Errorf("asked upstream %d times over TCP, want 3", overTCP.Load())
	}
}

// TestForwardsAreBounded: a machine that asks without end makes the server
// wait for so many answers and no more; the play's own names still answer.
func TestForwardsAreBounded(t *testing.T) {
	release := make(chan struct{})
	var waiting atomic.Int32
	full := make(chan struct{})
	slow := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if waiting.Add(1) == maxForwards {
			close(full)
		}
		<-release
		says("192.0.2.80")(w, q)
	})
	server := start(t, &Server{Zone: testZone(), Upstreams: list(slow), Timeout: 20 * time.Second})
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range maxForwards {
		q := query(fmt.Sprintf("n%d.example.com.", i), "A")
		data, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	<-full
	if got := brief(ask(t, "udp", server, query("more.example.com.", "A"))); got != "SERVFAIL" {
		t.Errorf("one too many: %s, want SERVFAIL", got)
	}
	if got := brief(ask(t, "tcp", server, query("more.example.com.", "A"))); got != "SERVFAIL" {
		t.Errorf("one too many over TCP: %s, want SERVFAIL", got)
	}
	if got := brief(ask(t, "udp", server, query("web.", "A"))); got != "NOERROR 172.16.0.2" {
		t.Errorf("an own name meanwhile: %s", got)
	}
	if got := waiting.Load(); got != maxForwards {
		t.Errorf("%d at once, want %d", got, maxForwards)
	}
	close(release)
	buf := make([]byte, 4096)
	for range maxForwards {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileStreams: lengths that lie, silence, too many connections; the
// next client is served.
func TestHostileStreams(t *testing.T) {
	server := start(t, &Server{Zone: testZone()})
	for _, bytes := range []string{"\x00", "\x00\x00", "\xff\xffxxx", "\x00\x05xxxxx", "\x00\x0c\x00\x01\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00"} {
		conn, err := net.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, bytes)
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: read %d bytes, %v; want the connection closed", bytes, n, err)
		}
		conn.Close()
	}
	for range maxConns {
		conn, err := net.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Answered, so it is surely being served.
		client := &dns.Conn{Conn: conn}
		if err := client.WriteMsg(query("web.", "A")); err != nil {
			t.Fatal(err)
		}
		if _, err := client.ReadMsg(); err != nil {
			t.Fatal(err)
		}
	}
	more, err := net.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	more.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := more.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one connection too many: %v, want it closed", err)
	}
	if got := brief(ask(t, "udp", server, query("web.", "A"))); got != "NOERROR 172.16.0.2" {
		t.Errorf("meanwhile over UDP: %s", got)
	}
}

func TestMalformedPackets(t *testing.T) {
	s := &Server{Zone: testZone()}
	whole, err := query("web.", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if q, reply := s.local(s.Zone, whole[:i], netip.Addr{}); i < 12 && (q != nil || reply != nil) {
			t.Errorf("%d bytes: answered", i)
		} else if i > 12 && (reply == nil || reply.Rcode == dns.RcodeSuccess || len(reply.Answer) != 0 || reply.Id != 7) {
			t.Errorf("%d bytes: %v, want an error", i, reply)
		}
	}
	binary.BigEndian.PutUint16(whole[2:], 0x8000)
	if q, reply := s.local(s.Zone, whole, netip.Addr{}); q != nil || reply != nil {
		t.Error("answered a reply")
	}
}

// TestServeEnds when a socket fails, and says why; with the context it ends
// without an error (start looks).
func TestServeEnds(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets.Close()
	s := &Server{}
	if err := s.Serve(t.Context(), []net.PacketConn{packets}, []net.Listener{listener}); err == nil {
		t.Error("served a closed socket")
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

func TestHostUpstreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	upstreams := HostUpstreams(path)
	if got := upstreams(); got != nil {
		t.Errorf("no file: %v", got)
	}
	write := func(text string) {
		t.Helper()
		// As resolvconf does: another file in its place.
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		text string
		want []string
	}{
		{"# nameserver 1.1.1.1\nsearch example.com\nnameserver 127.0.0.53\noptions edns0\n", []string{"127.0.0.53:53"}},
		{"nameserver\nnameserver x\nnameserver\tfe80::1%eth0  # v6\nnameserver ::1", []string{"[fe80::1%eth0]:53", "[::1]:53"}},
		{"nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n", []string{"1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"}},
		{"", nil},
	} {
		write(c.text)
		for range 2 {
			if got := upstreams(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q: %v, want %v", c.text, got, c.want)
			}
		}
	}
}

// TestMemory: what a hundred quiet plays cost, each with three networks.
func TestMemory(t *testing.T) {
	const plays, limit = 100, 200 << 10
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := used()
	for range plays {
		s := &Server{Zone: testZone(), Upstreams: list("127.0.0.1:1"), Timeout: time.Second}
		for range 3 {
			start(t, s)
		}
	}
	if each := (used() - before) / plays; each > limit {
		t.Errorf("%d KiB for each play, want at most %d", each>>10, limit>>10)
	} else {
		t.Logf("%d KiB for each play", each>>10)
	}
}

func TestNamesOfWhatIsHere(t *testing.T) {
	server := start(t, &Server{
		Zone: testZone(), Here: []string{"Registry.example.com", "web"},
		Upstreams: list(upstream(t, says("192.0.2.80"))),
	})
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct{ name, rrtype, want string }{
			{"registry.example.com.", "A", "NOERROR 127.0.0.1"}, // the address that was asked
			{"registry.example.com.", "AAAA", "NOERROR"},
			{"web.", "A", "NOERROR 172.16.0.2"},         // a machine goes before
			{"example.com.", "A", "NOERROR 192.0.2.80"}, // its parents are others'
			{"www.example.com.", "A", "NOERROR 192.0.2.80"},
		} {
			if got := brief(ask(t, network, server, query(c.name, c.rrtype))); got != c.want {
				t.Errorf("%s %s over %s: %s, want %s", c.name, c.rrtype, network, got, c.want)
			}
		}
	}
}
