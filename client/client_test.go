package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"encoding/pem"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
	"sandlot/internal/server/servertest"
)

func dial(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{APIBaseURL: url, SessionID: servertest.Session, AccessToken: servertest.Token, UserAgent: "labctl/test"})
	if err != nil {
		t.Fatal(err)
	}
	c.Retry.First = time.Millisecond
	return c
}

func TestRetry(t *testing.T) {
	for _, tt := range []struct {
		name     string
		statuses []int // one per request, the last one repeats
		header   string
		method   func(*client.Client) error
		tries    int32
		want     int // status of the error, 0 for none
	}{
		{"503 for ever", []int{503}, "", get, 5, 503},
		{"503 once on a POST", []int{503, 200}, "", post, 2, 0},
		{"504 and 429", []int{504, 429, 200}, "", get, 3, 0},
		{"429 that says when", []int{429, 200}, "1", get, 2, 0},
		{"429 that says much later", []int{429}, "60", get, 1, 429},
		{"400", []int{400}, "", post, 1, 400},
		{"401", []int{401}, "", get, 1, 401},
		{"404", []int{404}, "", get, 1, 404},
		{"500", []int{500}, "", get, 1, 500},
		{"502", []int{502}, "", get, 1, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := int(tries.Add(1))
				if body, _ := io.ReadAll(r.Body); r.Method == "POST" && !strings.Contains(string(body), `"playground":"flexbox"`) {
					t.Errorf("request %d has the body %q", n, body)
				}
				if user, token, _ := r.BasicAuth(); user != servertest.Session || token != servertest.Token {
					t.Errorf("credentials %q %q", user, token)
				}
				if tt.header != "" {
					w.Header().Set("X-Ratelimit-Reset", tt.header)
				}
				w.WriteHeader(tt.statuses[min(n, len(tt.statuses))-1])
				_, _ = io.WriteString(w, `{"error":"no"}`)
			}))
			defer srv.Close()
			err := tt.method(dial(t, srv.URL+"/api"))
			if client.StatusOf(err) != tt.want || (err == nil) != (tt.want == 0) || tries.Load() != tt.tries {
				t.Errorf("%v after %d requests; want status %d after %d", err, tries.Load(), tt.want, tt.tries)
			}
		})
	}
}

func get(c *client.Client) error {
	_, err := c.Plays(context.Background(), false)
	return ignoreShape(err)
}
func post(c *client.Client) error {
	_, err := c.StartPlay(context.Background(), api.StartPlay{Playground: "flexbox"})
	return ignoreShape(err)
}

// ignoreShape: the fake's body is no list.
func ignoreShape(err error) error {
	var shape *json.UnmarshalTypeError
	if errors.As(err, &shape) || (err != nil && strings.HasPrefix(err.Error(), "cannot read reply")) {
		return nil
	}
	return err
}

// A POST whose reply got lost may have started a play: it is not repeated.
func TestLostReplyToPostIsNotRepeated(t *testing.T) {
	var tries atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		_, _ = io.ReadAll(r.Body)
		conn, _, _ := http.NewResponseController(w).Hijack()
		conn.Close()
	}))
	defer srv.Close()
	if err := post(dial(t, srv.URL)); err == nil || tries.Load() != 1 {
		t.Errorf("POST: %v after %d requests, want an error after 1", err, tries.Load())
	}
	tries.Store(0)
	if err := get(dial(t, srv.URL)); err == nil || tries.Load() < 2 {
		t.Errorf("GET: %v after %d requests, want several", err, tries.Load())
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = post(dial(t, "http://"+l.Addr().String()+"/api"))
	if err == nil || !strings.Contains(err.Error(), "cannot reach labd at http://"+l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestPlainTextRefusal(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "quota of 3 plays", http.StatusConflict)
	}))
	defer srv.Close()
	if err := get(dial(t, srv.URL)); err == nil || err.Error() != "quota of 3 plays (409)" {
		t.Errorf("got %v", err)
	}
}

func TestBadAddress(t *testing.T) {
	for _, url := range []string{"", "localhost:8080", "ftp://x", "/api"} {
		if _, err := client.New(client.Config{APIBaseURL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

func TestWatchFollowsAndEnds(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	c := dial(t, l.HTTP.URL+"/api")
	var states []string
	err := c.Watch(t.Context(), string(id), func(p api.Play) error {
		s := p.State()
		if len(states) == 0 || states[len(states)-1] != s {
			states = append(states, s)
			switch s {
			case "CREATED":
				go l.State(id, play.Starting)
			case "STARTING":
				go l.State(id, play.Failed)
			}
		}
		return nil
	})
	if got := strings.Join(states, " "); err != nil || got != "CREATED STARTING FAILED" {
		t.Errorf("saw %s, %v", got, err)
	}
	if err := c.Watch(t.Context(), string(id), func(api.Play) error { return client.ErrStop }); err != nil {
		t.Errorf("ErrStop came back: %v", err)
	}
	if err := c.Watch(t.Context(), "ffffffffffffffffffffffff", nil); client.StatusOf(err) != 404 {
		t.Errorf("unknown play: %v", err)
	}
}

func TestWatchSurvivesALostConnection(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	c := dial(t, l.HTTP.URL+"/api")
	dropped := false
	err := c.Watch(t.Context(), string(id), func(p api.Play) error {
		if p.State() == "RUNNING" {
			return client.ErrStop
		}
		if !dropped {
			dropped = true
			go func() {
				l.HTTP.CloseClientConnections()
				l.Ready(id)
			}()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTunnelWaitsForTheMachine(t *testing.T) {
	l := servertest.New(t)
	l.Gateway.Hold, l.Gateway.MinHold = 20*time.Millisecond, 20*time.Millisecond
	id := l.Add("", "m1")
	c := dial(t, l.HTTP.URL+"/api")
	c.Retry.Tries = 1
	waited := 0
	tunnel, err := c.OpenTunnel(t.Context(), string(id), api.TunnelRequest{}, func() {
		if waited++; waited == 2 {
			l.Ready(id)
		}
	})
	if err != nil || waited < 2 {
		t.Fatalf("after %d waits: %v", waited, err)
	}
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	conn, err := tunnel.Dial(t.Context(), echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := tunnel.Listen(t.Context(), echo.Addr().String()); client.StatusOf(err) != http.StatusConflict {
		t.Errorf("taken port: %v", err)
	}
}

func TestTunnelListen(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	tunnel, err := dial(t, l.HTTP.URL+"/api").OpenTunnel(t.Context(), string(id), api.TunnelRequest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	probe.Close()
	listener, err := tunnel.Listen(t.Context(), probe.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	inside, err := net.Dial("tcp", probe.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(inside, "from inside"); err != nil {
		t.Fatal(err)
	}
	inside.Close()
	if got, err := io.ReadAll(conn); string(got) != "from inside" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
}

// With TLS the tunnel's WebSocket is wss, trusted through the CA file.
func TestTLS(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	secure := httptest.NewTLSServer(l.Server)
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{APIBaseURL: secure.URL + "/api", SessionID: servertest.Session, AccessToken: servertest.Token, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := c.OpenTunnel(t.Context(), string(id), api.TunnelRequest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Dialer = func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.WriteString(theirs, "tls"); theirs.Close() }()
		return ours, nil
	}
	conn, err := tunnel.Dial(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "tls" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
