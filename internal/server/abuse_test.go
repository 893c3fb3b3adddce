package server_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/labtest"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
)

// lines hands over what a log says.
type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

// until waits for a line of the log that has these words.
func (l lines) until(t *testing.T, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		select {
		case line := <-l:
			if strings.Contains(line, words) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the log never said %q", words)
		}
	}
}

// serving answers on a listener of its own, as labd does.
func serving(t *testing.T, l *servertest.Lab, change func(*server.Options)) (address string) {
	t.Helper()
	o := server.Options{
		Auth: l, Playgrounds: l, Plays: l, Lifecycle: l, Settings: l, Machines: l, References: l,
		Gateway: l.Gateway, Visitors: l.Gateway, Ports: l, Shells: l, Forwards: l, Scanner: l.Gateway, Log: slog.New(slog.DiscardHandler),
	}
	change(&o)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.New(o).Serve(ctx, time.Second, server.Sniff(listener, nil)) }()
	t.Cleanup(func() { cancel(); <-served })
	return listener.Addr().String()
}

// connect opens a connection, and says something on it.
func connect(t *testing.T, address, say string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	return c
}

func signed() string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(servertest.Session, servertest.Token)
	return "Host: localhost\r\nAuthorization: " + r.Header.Get("Authorization") + "\r\n"
}

// Clients that begin something and go no further are dropped, whatever they
// stopped in.
func TestSlowClients(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	l.Catalog[0].Description = strings.Repeat("x", 32<<20) // more than sockets hold
	log := make(lines, 100)
	address := serving(t, l, func(o *server.Options) {
		o.HeadTimeout, o.BodyTimeout, o.ReplyTimeout = 100*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for name, c := range map[string]struct{ say, want string }{
		"in the head":                 {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-", ""},
		"in the body":                 {"POST /api/plays HTTP/1.1\r\n" + signed() + "Content-Length: 100\r\n\r\n{", "took too long"},
		"in a chunk":                  {"POST /api/plays HTTP/1.1\r\n" + signed() + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", "took too long"},
		"in a body that nobody reads": {"POST /api/plays/" + id + "/conns HTTP/1.1\r\n" + signed() + "Content-Length: 100\r\n\r\n{", "/conns/"},
		"in a body without a sign-in": {"POST /api/plays HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", "401"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(connect(t, address, c.say))
			if err != nil && !strings.Contains(err.Error(), "reset") || !strings.Contains(string(got), c.want) {
				t.Errorf("%v, %q", err, got)
			}
		})
	}
	t.Run("in the reply", func(t *testing.T) {
		c := connect(t, address, "GET /api/playgrounds/flexbox HTTP/1.1\r\n"+signed()+"\r\n")
		log.until(t, "route=/api/playgrounds/{name}") // it is over, and nothing was read
		if got, _ := io.ReadAll(c); len(got) == 0 || len(got) >= 32<<20 {
			t.Errorf("%d bytes arrived", len(got))
		}
	})
}

// A deadline of one request is none of the next: what is held for long, and
// what streams, comes after ordinary requests of the same connection.
func TestDeadlinesEndWithTheirRequest(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	l.Gateway.MinHold, l.Gateway.Hold = 300*time.Millisecond, 300*time.Millisecond
	address := serving(t, l, func(o *server.Options) { o.BodyTimeout, o.ReplyTimeout = 100*time.Millisecond, 100*time.Millisecond })
	c := connect(t, address, "")
	r := bufio.NewReader(c)
	for _, want := range []int{200, 503, 200} {
		say := "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
		if want == 503 { // held three times as long as the deadlines are
			say = "POST /api/plays/" + id + "/tunnels HTTP/1.1\r\n" + signed() + "Content-Length: 16\r\n\r\n{\"machine\":\"m1\"}"
		}
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != want {
			t.Fatalf("%v %v, want %d", res, err, want)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
}

// handshake opens a WebSocket by hand: its client never answers, and reads
// nothing after the reply.
func handshake(t *testing.T, address, path, cookie string) net.Conn {
	t.Helper()
	c := connect(t, address, "GET "+path+" HTTP/1.1\r\nHost: "+address+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nCookie: "+cookie+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %v %v", path, res, err)
	}
	return c
}

// A WebSocket whose peer never answers is dropped with all that hangs on it;
// one whose peer lives stays.
func TestHalfOpenWebSockets(t *testing.T) {
	l := servertest.New(t)
	l.Gateway.PingEvery, l.Gateway.MaxSilence = 50*time.Millisecond, 3
	id := l.Add("", "m1")
	l.Ready(id)
	log := make(lines, 1000)
	address := serving(t, l, func(o *server.Options) {
		o.PingEvery, o.StatusEvery = 50*time.Millisecond, time.Hour
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	play := "/api/plays/" + string(id)
	base, cookie := openTunnel(t, l, id)
	tunnel := func(port string) string {
		return strings.TrimPrefix(base, l.HTTP.URL) + "/tunnels/" + base64.StdEncoding.EncodeToString([]byte(":"+port))
	}
	ended := make(chan struct{}, 1)
	silent := labtest.Service(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c); c.Close(); ended <- struct{}{} })
	echo := labtest.Service(t, func(c net.Conn) { defer c.Close(); _, _ = io.Copy(c, c) })

	live, res, err := websocket.Dial(t.Context(), "ws://"+address+tunnel(echo), &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {api.TunnelCookie + "=" + cookie}}})
	if err != nil {
		t.Fatal(err, res)
	}
	defer live.CloseNow()
	conn := websocket.NetConn(t.Context(), live, websocket.MessageBinary)
	echoed := make(chan error, 1)
	go func() {
		var b [1]byte
		for {
			if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] == 'z' {
				echoed <- err
				return
			}
		}
	}()

	handshake(t, address, tunnel(silent), api.TunnelCookie+"="+cookie)
	<-ended
	log.until(t, "route=/t/{tunnel}/tunnels/{payload...} status=101")

	opened := func(path, body string) string {
		t.Helper()
		u, err := url.Parse(decode[api.Conn](t, ask(t, l, "POST", play+path, body)).URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Path
	}
	half := handshake(t, l.HTTP.Listener.Addr().String(), opened("/terminals", `{"machine":"m1"}`), "")
	if _, err := io.Copy(io.Discard, half); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	for l.Running() > 0 { // its program ends
		time.Sleep(time.Millisecond)
	}
	// Tickets of connections are each server's own.
	req, _ := http.NewRequest("POST", "http://"+address+play+"/conns", nil)
	u, err := url.Parse(decode[api.Conn](t, l.Request(t, req)).URL)
	if err != nil {
		t.Fatal(err)
	}
	handshake(t, address, u.Path, "")
	log.until(t, "route=/conns/{token} status=101")

	if _, err := conn.Write([]byte("z")); err != nil {
		t.Fatal(err)
	}
	if err := <-echoed; err != nil {
		t.Errorf("a WebSocket whose peer answers: %v", err)
	}
}

// Thousands of connections that say nothing, or half a request, keep nobody
// out.
func TestThousandsOfIdleConnections(t *testing.T) {
	l := servertest.New(t)
	address := serving(t, l, func(*server.Options) {})
	for i := range 2000 {
		connect(t, address, []string{"", "GET /healthz HTTP/1.1\r\nHost: "}[i%2])
	}
	for range 20 {
		if status, text := get(t, "http://"+address+"/healthz"); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
}

// What a client says of its own address is believed from proxies of ours only.
func TestGuessesAreCountedByAddress(t *testing.T) {
	guess := func(s *site, i int, forwarded string) int {
		form := url.Values{"name": {fmt.Sprintf("nobody%d", i)}, "password": {strings.Repeat("x", 300)}}
		req, err := http.NewRequest("POST", s.URL+"/login", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if forwarded != "" {
			req.Header.Set("X-Forwarded-For", forwarded)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	const burst = 30
	for name, c := range map[string]struct {
		proxies   []netip.Prefix
		forwarded func(i int) string
		limited   bool
	}{
		"no proxy, and a new address in each request": {nil, func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, true},
		"another proxy":                                {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, true},
		"our proxy, and many people":                   {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, false},
		"our proxy, and one who makes addresses up":    {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, func(i int) string { return fmt.Sprintf("192.0.2.%d, 198.51.100.7", i) }, true},
		"two proxies of ours, and who makes them up":   {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}, func(i int) string { return fmt.Sprintf("192.0.2.%d, 198.51.100.7, 10.1.1.1", i) }, true},
		"our proxy, and something that is no address":  {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, func(i int) string { return fmt.Sprintf("192.0.2.%d, unknown%d", i, i) }, true},
		"our proxy, and IPv6 addresses of one network": {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, func(i int) string { return fmt.Sprintf("2001:db8::%d", i) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(o *server.Options) { o.TrustedProxies = c.proxies })
			for i := range burst {
				if status := guess(s, i, c.forwarded(i)); status != 401 {
					t.Fatalf("guess %d: %d", i, status)
				}
			}
			if limited := guess(s, burst, c.forwarded(burst)) == 429; limited != c.limited {
				t.Errorf("limited: %v", limited)
			}
		})
	}
	// The audit log says who it was, by the same rule.
	s := newSite(t, func(o *server.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	s.add(t, "ann")
	b := s.browser(t)
	b.header.Set("X-Forwarded-For", "evil, 203.0.113.5")
	b.signIn("ann")
	list, err := s.people.Audit(t.Context(), 1)
	if err != nil || len(list) != 1 || list[0].Address != "203.0.113.5" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A fault in labd is a 500 with a name to look for, never a connection cut
// without a word or with a Go stack in it.
func TestACrashIsTold(t *testing.T) {
	l := servertest.New(t)
	log := make(lines, 100)
	address := serving(t, l, func(o *server.Options) {
		o.Plays = nil // calling it crashes
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	req, _ := http.NewRequest("GET", "http://"+address+"/api/plays", nil)
	res := l.Request(t, req)
	if got := body(t, res); res.StatusCode != 500 || !strings.Contains(got, "(request "+res.Header.Get("X-Request-Id")+")") || strings.Contains(got, "nil pointer") {
		t.Errorf("%s: %s", res.Status, got)
	}
	log.until(t, "request crashed")
}
