package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/labtest"
	"sandlot/internal/play"
	"sandlot/internal/server/servertest"
)

// openTunnel returns the tunnel's base URL and cookie.
func openTunnel(t *testing.T, l *servertest.Lab, id play.ID) (base, cookie string) {
	t.Helper()
	reply := decode[api.Tunnel](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/tunnels", `{"machine":"","port":0,"access":"private","generateLoginUrl":true,"sshUser":"","sshPubKey":""}`))
	for range 2 { // the link tolerates repeats
		res, err := http.Get(reply.LoginURL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if len(res.Cookies()) != 1 || res.Cookies()[0].Name != ".ixcondsess" {
			t.Fatalf("login: %s, cookies %v", res.Status, res.Cookies())
		}
		cookie = res.Cookies()[0].Value
	}
	return reply.URL, cookie
}

func socket(t *testing.T, base, cookie, payload string) (*websocket.Conn, int) {
	t.Helper()
	address := "ws" + strings.TrimPrefix(base, "http") + "/tunnels/" + base64.StdEncoding.EncodeToString([]byte(payload))
	ws, res, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {".ixcondsess=" + cookie}}})
	if err != nil {
		if res == nil {
			t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws, http.StatusSwitchingProtocols
}

func TestTunnelForward(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	base, cookie := openTunnel(t, l, id)
	echo := labtest.Service(t, func(c net.Conn) { defer c.Close(); _, _ = io.Copy(c, c) })

	for _, payload := range []string{":" + echo, "127.0.0.1:" + echo, "dial:127.0.0.1:" + echo, " :" + echo + "\n"} {
		ws, status := socket(t, base, cookie, payload)
		if ws == nil {
			t.Fatalf("payload %q: %d", payload, status)
		}
		conn := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
		go func() { _, _ = conn.Write(sent) }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("payload %q: echo differs: %v", payload, err)
		}
	}

	t.Run("the target's end closes the socket properly after the last byte", func(t *testing.T) {
		hello := labtest.Service(t, func(c net.Conn) { _, _ = c.Write([]byte("bye")); c.Close() })
		ws, _ := socket(t, base, cookie, ":"+hello)
		if _, msg, err := ws.Read(t.Context()); err != nil || string(msg) != "bye" {
			t.Fatalf("got %q, %v", msg, err)
		}
		if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("got %v, want close 1000", err)
		}
	})
	t.Run("a client that drops TCP ends the target's connection", func(t *testing.T) {
		ended := make(chan struct{})
		port := labtest.Service(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c); close(ended) })
		ws, _ := socket(t, base, cookie, ":"+port)
		ws.CloseNow()
		<-ended
	})
	t.Run("a text message is refused", func(t *testing.T) {
		ws, _ := socket(t, base, cookie, ":"+echo)
		if err := ws.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
			t.Errorf("got %v", err)
		}
	})
	t.Run("fifty at once", func(t *testing.T) {
		var conns []net.Conn
		for range 50 {
			ws, _ := socket(t, base, cookie, ":"+echo)
			conns = append(conns, websocket.NetConn(t.Context(), ws, websocket.MessageBinary))
		}
		for i, c := range conns {
			if _, err := c.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			var b [1]byte
			if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != byte(i) {
				t.Fatalf("connection %d: %v, %v", i, b, err)
			}
		}
	})
}

func TestTunnelRefusals(t *testing.T) {
	l := servertest.New(t)
	id, other := l.Add("", "m1"), l.Add("", "m1")
	l.Ready(id)
	l.Ready(other)
	base, cookie := openTunnel(t, l, id)
	_, foreign := openTunnel(t, l, other)
	closed := labtest.Service(t, func(net.Conn) {})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l.Dialer = func(context.Context, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	for _, tt := range []struct {
		name, cookie, payload string
		status                int
	}{
		{"no cookie", "", ":22", 401},
		{"wrong cookie", "x", ":22", 401},
		{"cookie of another play", foreign, ":22", 401},
		{"no colon", cookie, "22", 400},
		{"no port", cookie, "host:", 400},
		{"port too large", cookie, "host:65536", 400},
		{"refused target", cookie, ":" + closed, 502},
		{"unknown connection", cookie, "connect:0123", 404},
		{"taken port", cookie, "listen:" + taken.Addr().String(), 409},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if ws, status := socket(t, base, tt.cookie, tt.payload); ws != nil || status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
		})
	}
	if res, err := http.Get(base + "/login?code=wrong"); err != nil || res.StatusCode != 401 || len(res.Cookies()) != 0 {
		t.Errorf("login with a wrong code: %v %v", res, err)
	}
	l.Gateway.Revoke(id)
	if _, status := socket(t, base, cookie, ":22"); status != 401 {
		t.Errorf("after the play's end: %d, want 401", status)
	}
}

func TestNoSSHMachine(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Change(id, func(p *api.Play) { p.Machines[0].NoSSH = true })
	l.Ready(id)
	base, cookie := openTunnel(t, l, id)
	if _, status := socket(t, base, cookie, ":22"); status != 403 {
		t.Errorf("port 22: %d", status)
	}
	if _, status := socket(t, base, cookie, "127.0.0.1:022"); status != 403 {
		t.Errorf("port 022: %d", status)
	}
	if res := ask(t, l, "POST", "/api/plays/"+string(id)+"/terminals", `{}`); res.StatusCode != 403 {
		t.Errorf("terminal: %s", res.Status)
	}
}

func TestTunnelReverse(t *testing.T) {
	l := servertest.New(t)
	l.Gateway.PendingFor = 200 * time.Millisecond
	id := l.Add("", "m1")
	l.Ready(id)
	base, cookie := openTunnel(t, l, id)
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	probe.Close()
	control, _ := socket(t, base, cookie, "listen:"+address)
	if control == nil {
		t.Fatal("cannot listen")
	}
	inside, err := net.Dial("tcp", address) // bound before the upgrade was answered
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	kind, raw, err := control.Read(t.Context())
	var m api.TunnelConnect
	if err != nil || kind != websocket.MessageText || json.Unmarshal(raw, &m) != nil || m.Type != "connect" || len(m.CID) != 32 {
		t.Fatalf("control message %q: %v", raw, err)
	}
	ws, _ := socket(t, base, cookie, "connect:"+m.CID)
	conn := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	if _, err := conn.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2)
	if _, err := io.ReadFull(inside, got); err != nil || string(got) != "hi" {
		t.Fatalf("inside got %q, %v", got, err)
	}
	if _, status := socket(t, base, cookie, "connect:"+m.CID); status != 404 {
		t.Errorf("used cid: %d", status)
	}

	// Nobody fetches this one: it is dropped.
	dropped, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer dropped.Close()
	if _, err := dropped.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("unfetched connection: %v, want its end", err)
	}

	// The control socket's end releases the port; what is open lives on.
	control.CloseNow()
	for {
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			break
		}
	}
	if _, err := inside.Write([]byte("yo")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "yo" {
		t.Errorf("data socket after the control's end: %q, %v", got, err)
	}
}

func TestTunnelHolds(t *testing.T) {
	l := servertest.New(t)
	l.Gateway.Hold, l.Gateway.MinHold = 300*time.Millisecond, 400*time.Millisecond
	id := l.Add("", "m1")
	path := "/api/plays/" + string(id) + "/tunnels"
	start := time.Now()
	res := ask(t, l, "POST", path, `{}`)
	if took := time.Since(start); res.StatusCode != 503 || took < 400*time.Millisecond || res.Close {
		t.Errorf("while booting: %s after %s, Connection: close is %v", res.Status, took, res.Close)
	}
	l.Gateway.Hold = time.Minute
	done := make(chan int, 1)
	go func() {
		req, _ := http.NewRequest("POST", l.HTTP.URL+path, strings.NewReader(`{}`))
		req.SetBasicAuth(servertest.Session, servertest.Token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- 0
			return
		}
		res.Body.Close()
		done <- res.StatusCode
	}()
	l.Ready(id)
	if status := <-done; status != 200 {
		t.Errorf("held request: %d", status)
	}
	l.State(id, play.Stopped)
	if res := ask(t, l, "POST", path, `{}`); res.StatusCode != 409 {
		t.Errorf("stopped play: %s", res.Status)
	}
	l.State(id, play.Destroyed)
	if res := ask(t, l, "POST", path, `{}`); res.StatusCode != 410 {
		t.Errorf("destroyed play: %s", res.Status)
	}
}

func TestTunnelKeys(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	for _, key := range []string{"nonsense", "ssh-ed25519 AAAA", "a\nb"} {
		in, _ := json.Marshal(api.TunnelRequest{SSHUser: "root", SSHPubKey: key})
		if res := ask(t, l, "POST", "/api/plays/"+string(id)+"/tunnels", string(in)); res.StatusCode != 400 {
			t.Errorf("key %q: %s", key, res.Status)
		}
	}
	if res := ask(t, l, "POST", "/api/plays/"+string(id)+"/tunnels", `{"machine":"m9"}`); res.StatusCode != 404 || !strings.Contains(body(t, res), "m1") {
		t.Errorf("unknown machine: %s", res.Status)
	}
}

func TestTerminalIsSingleUse(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	reply := decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/terminals", `{"command":"fail"}`))
	ws := dial(t, reply.URL, nil)
	var got []string
	for {
		_, msg, err := ws.Read(t.Context())
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("end: %v", err)
			}
			break
		}
		got = append(got, string(rune('0'+msg[0]))+string(msg[1:]))
	}
	if want := "2it failed\n|5{\"code\":7}"; strings.Join(got, "|") != want {
		t.Errorf("frames %q, want %q", got, want)
	}
	ghost, _ := url.Parse(decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/terminals", `{"user":"ghost"}`)).URL)
	if res, err := http.Get("http://" + ghost.Host + ghost.Path); err != nil || res.StatusCode != 502 || !strings.Contains(body(t, res), "ghost") {
		t.Errorf("program that cannot start: %v %v", res, err)
	}
	u, _ := url.Parse(reply.URL)
	if res, err := http.Get("http://" + u.Host + u.Path); err != nil || res.StatusCode != 401 {
		t.Errorf("second use: %v %v", res, err)
	}
}

func TestTerminalEndsWithItsClientAndItsPlay(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	open := func() *websocket.Conn {
		t.Helper()
		ws := dial(t, decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/terminals", `{"command":"wait"}`)).URL, nil)
		if _, msg, err := ws.Read(t.Context()); err != nil || string(msg[1:]) != "waiting\n" {
			t.Fatalf("%q, %v", msg, err)
		}
		return ws
	}
	before := l.Running()
	open().CloseNow()
	for l.Running() != before {
		time.Sleep(time.Millisecond)
	}
	ws := open()
	l.Gateway.Revoke(id)
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("after Revoke: %v, want close 1001", err)
			}
			break
		}
	}
	bad := open()
	if err := bad.Write(t.Context(), websocket.MessageBinary, []byte{api.FrameExit}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := bad.Read(t.Context()); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
				t.Errorf("a frame only the server may send: %v", err)
			}
			break
		}
	}
}
