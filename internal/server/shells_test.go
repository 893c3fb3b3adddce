package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/play"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
)

// enterShell opens a terminal of an exposed shell as its page does.
func enterShell(t *testing.T, l *servertest.Lab, shell api.Shell, header ...string) *websocket.Conn {
	t.Helper()
	res, got := visit(t, l, "POST", shell.URL+"/.sandlot/terminals", strings.NewReader(`{"tty":{"rows":30,"cols":100}}`), header...)
	var reply api.Conn
	if res.StatusCode != 200 || json.Unmarshal([]byte(got), &reply) != nil {
		t.Fatalf("%s %s", res.Status, got)
	}
	ws, err := dialShell(t, l, reply.URL, header...)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func dialShell(t *testing.T, l *servertest.Lab, address string, header ...string) (*websocket.Conn, error) {
	t.Helper()
	h := http.Header{}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	ws, res, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPClient: visitor(l), HTTPHeader: h})
	if err != nil {
		if res != nil {
			err = fmt.Errorf("%s: %w", res.Status, err)
		}
		return nil, err
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, nil
}

// says runs a command of the fake shell and waits for its output.
func says(t *testing.T, ws *websocket.Conn, command, want string) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageBinary, append([]byte{api.FrameStdin}, command+"\n"...)); err != nil {
		t.Fatal(err)
	}
	var out string
	for !strings.Contains(out, want) {
		_, msg, err := ws.Read(t.Context())
		if err != nil {
			t.Fatalf("%v after %q", err, out)
		}
		if msg[0] == api.FrameStdout {
			out += string(msg[1:])
		}
	}
}

func exposeShell(t *testing.T, l *servertest.Lab, id play.ID, access string) api.Shell {
	t.Helper()
	return decode[api.Shell](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/shells", `{"machine":"m1","user":"laborant","access":"`+access+`"}`))
}

func TestPublicShell(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	shell, other := exposeShell(t, l, id, "public"), exposeShell(t, l, id, "public")
	if res, got := visit(t, l, "GET", shell.URL+"/.sandlot/shell", nil); res.StatusCode != 200 || strings.TrimSpace(got) != `{"machine":"m1","user":"laborant","access":"public"}` {
		t.Errorf("%s %s", res.Status, got)
	}
	ws := enterShell(t, l, shell, "Origin: "+shell.URL)
	says(t, ws, "echo hello", "hello\n")

	// A page of another origin gets nothing, and a token opens its own shell
	// once.
	if res, _ := visit(t, l, "POST", shell.URL+"/.sandlot/terminals", strings.NewReader(`{}`), "Origin: "+other.URL); res.StatusCode != 403 {
		t.Errorf("another origin: %s", res.Status)
	}
	_, got := visit(t, l, "POST", shell.URL+"/.sandlot/terminals", strings.NewReader(`{}`))
	var reply api.Conn
	if err := json.Unmarshal([]byte(got), &reply); err != nil {
		t.Fatal(err)
	}
	if _, err := dialShell(t, l, reply.URL, "Origin: http://evil.example"); err == nil || !strings.HasPrefix(err.Error(), "403") {
		t.Errorf("another origin's WebSocket: %v", err)
	}
	for _, address := range []string{
		strings.Replace(reply.URL, shell.ID, other.ID, 1),
		strings.Replace(l.HTTP.URL, "http", "ws", 1) + "/terminals/" + reply.URL[strings.LastIndex(reply.URL, "/")+1:],
		reply.URL,
	} {
		if _, err := dialShell(t, l, address); err == nil || !strings.HasPrefix(err.Error(), "401") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for request, status := range map[string]int{
		"GET /.sandlot/terminals": 404, "POST /.sandlot/shell": 404, "GET /.sandlot/x": 404, "GET /api/auth/me": 501, "GET /": 501,
	} {
		method, path, _ := strings.Cut(request, " ")
		if res, _ := visit(t, l, method, shell.URL+path, nil); res.StatusCode != status {
			t.Errorf("%s: %s, want %d", request, res.Status, status)
		}
	}
	for in, status := range map[string]int{"": 400, "[]": 400, `{"tty":{"rows":-1}}`: 400, strings.Repeat(" ", 5000): 400} {
		if res, _ := visit(t, l, "POST", shell.URL+"/.sandlot/terminals", strings.NewReader(in)); res.StatusCode != status {
			t.Errorf("%.20q: %s, want %d", in, res.Status, status)
		}
	}

	// Exposing it no more ends the terminals that are open.
	if res := ask(t, l, "DELETE", "/api/plays/"+string(id)+"/shells/"+shell.ID, ""); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("after the removal: %v", err)
			}
			break
		}
	}
	if res, _ := visit(t, l, "GET", shell.URL+"/.sandlot/shell", nil); res.StatusCode != 404 {
		t.Errorf("after the removal: %s", res.Status)
	}
	if strings.Contains(l.Logged.String(), reply.URL[strings.LastIndex(reply.URL, "/")+1:]) {
		t.Error("a token is in the log")
	}
}

// A private shell is for its owner's browsers, until they sign out there.
func TestPrivateShell(t *testing.T) {
	var lab *servertest.Lab
	site := newSite(t, func(o *server.Options) {
		lab = o.Plays.(*servertest.Lab)
	}, withPage(t, fstest.MapFS{"shell.html": somePage["shell.html"], "assets/a-1.js": somePage["assets/a-1.js"]}))
	site.add(t, "ann")
	id := lab.Add("", "m1")
	lab.Ready(id)
	shell, err := lab.ExposeShell(t.Context(), api.Me{}, id, api.Shell{})
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + shell.ID + ".localhost:" + fmt.Sprint(portOf(t, site.URL))
	for _, path := range []string{"/", "/assets/a-1.js", "/.sandlot/shell"} {
		if res, got := visit(t, lab, "GET", site.URL+path, nil, "Host: "+strings.TrimPrefix(at, "http://")); res.StatusCode != 404 {
			t.Errorf("a stranger at %s: %s %s", path, res.Status, got)
		}
	}

	b := site.browser(t)
	b.header.Set("Accept", "text/html")
	b.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, site.Listener.Addr().String())
	}}
	site.URL = "http://localhost:" + fmt.Sprint(portOf(t, site.URL))
	if _, path, got := b.do("GET", at+"/", nil); path != "/login" {
		t.Fatalf("a browser that is not signed in is at %s: %s", path, got)
	}
	b.signIn("ann")
	if status, _, got := b.do("GET", at+"/x?y=1", nil); status != 200 || !strings.Contains(got, "the shell") {
		t.Fatalf("%d %s", status, got)
	}
	if status, _, got := b.do("GET", at+"/.sandlot/shell", nil); status != 200 || !strings.Contains(got, `"private"`) {
		t.Errorf("%d %s", status, got)
	}
	u, _ := url.Parse(at)
	var cookie string
	for _, c := range b.Jar.Cookies(u) {
		cookie += c.Name + "=" + c.Value + "; "
	}
	if cookie == "" || strings.Contains(cookie, "sandlot_session") {
		t.Fatalf("at the shell's host name the browser has %q", cookie)
	}
	if status, _, got := b.do("POST", "/logout", url.Values{}); status != 200 {
		t.Fatalf("%d %s", status, got)
	}
	// What the browser still has is worth nothing now.
	if res, _ := visit(t, lab, "GET", site.URL+"/.sandlot/shell", nil, "Host: "+u.Host, "Cookie: "+cookie); res.StatusCode != 404 {
		t.Errorf("after signing out: %s", res.Status)
	}
}

// The page of a shell is served at its own host name alone, with its files.
func TestPageOfAShell(t *testing.T) {
	var lab *servertest.Lab
	site := newSite(t, func(o *server.Options) { lab = o.Plays.(*servertest.Lab) }, withPage(t, somePage))
	id := lab.Add("", "m1")
	lab.Ready(id)
	shell, err := lab.ExposeShell(t.Context(), api.Me{}, id, api.Shell{Access: api.AccessPublic})
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("Host: %s.localhost:%d", shell.ID, portOf(t, site.URL))
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/", "the shell", 200},
		{"/whatever", "the shell", 200},
		{"/plays", "the shell", 200},
		{"/shell.html", "the shell", 200},
		{"/index.html", "the shell", 200},
		{"/assets/a-1.js", "script", 200},
		{"/assets/old-2.js", "load the page again", 404},
		{"/.sandlot/x", "there is no GET /.sandlot/x", 404},
	} {
		res, got := visit(t, lab, "GET", site.URL+c.path, nil, at)
		if res.StatusCode != c.status || !strings.Contains(got, c.body) {
			t.Errorf("%s: %s %s", c.path, res.Status, got)
		}
		policy := res.Header.Get("Content-Security-Policy")
		if c.body == "the shell" && (!strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "frame-src")) {
			t.Errorf("%s: policy %q", c.path, policy)
		}
	}
	// At the API's name it is nothing.
	if res := site.call(t, "GET", "/shell.html", "", ""); res.StatusCode != 404 {
		t.Errorf("at the API's name: %s", res.Status)
	}
}
