package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/gateway"
	"sandlot/internal/play"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
)

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// ask sends a request as the reference client does: no Content-Type, no Accept.
func ask(t *testing.T, l *servertest.Lab, method, path, in string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, l.HTTP.URL+path, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	return l.Request(t, req)
}

func decode[T any](t *testing.T, res *http.Response) T {
	t.Helper()
	var v T
	if res.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s: %s", res.Request.Method, res.Request.URL.Path, res.Status, body(t, res))
	}
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEveryUserRouteWantsCredentials(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	for _, rt := range []struct{ method, path string }{
		{"GET", "/api/auth/me?authenticate=true"}, {"DELETE", "/api/sessions/s1"}, {"GET", "/api/sessions/s1"},
		{"GET", "/api/playgrounds"}, {"GET", "/api/playgrounds/flexbox"},
		{"POST", "/api/playgrounds"}, {"PUT", "/api/playgrounds/flexbox"}, {"DELETE", "/api/playgrounds/flexbox"},
		{"GET", "/api/plays"}, {"POST", "/api/plays"}, {"GET", "/api/plays/" + string(id)},
		{"POST", "/api/plays/" + string(id) + "/actions"}, {"GET", "/api/plays/" + string(id) + "/tasks"},
		{"POST", "/api/plays/" + string(id) + "/conns"}, {"POST", "/api/plays/" + string(id) + "/tunnels"},
		{"POST", "/api/plays/" + string(id) + "/terminals"},
		{"POST", "/api/plays/" + string(id) + "/journals"}, {"GET", "/journals/x"},
		{"GET", "/conns/x"}, {"GET", "/terminals/x"}, {"GET", "/t/x/login?code=x"}, {"GET", "/t/x/tunnels/OjIy"},
	} {
		for _, token := range []string{"", "wrong"} {
			req, _ := http.NewRequest(rt.method, l.HTTP.URL+rt.path, nil)
			if token != "" {
				req.SetBasicAuth(servertest.Session, token)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s with token %q: %s, want 401", rt.method, rt.path, token, res.Status)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	for _, tt := range []struct {
		name, method, path, in string
		status                 int
		want                   string
	}{
		{"health", "GET", "/healthz", "", 200, `"ok"`},
		{"me", "GET", "/api/auth/me?authenticate=true", "", 200, `"id":"u-1"`},
		{"own session", "GET", "/api/sessions/s1", "", 200, `"authenticated":true`},
		{"no browser login", "POST", "/api/sessions", "", 501, "auth login -s"},
		{"double slash", "GET", "//api/plays", "", 200, `"id":"` + id},
		{"double slash POST", "POST", "//api/plays/" + id + "/actions", `{"action":"stop"}`, 200, `"STOPPED"`},
		{"tasks is an object", "GET", "/api/plays/" + id, "", 200, `"tasks":{}`},
		{"no tasks is a list", "GET", "/api/plays/" + id + "/tasks", "", 200, "[]"},
		{"unknown path", "GET", "/api/nosuch", "", 404, "no GET /api/nosuch"},
		{"bad id", "GET", "/api/plays/xyz", "", 404, "no play"},
		{"unknown play", "GET", "/api/plays/ffffffffffffffffffffffff", "", 404, "no play"},
		{"empty body", "POST", "/api/plays", "", 400, "no body"},
		{"not JSON", "POST", "/api/plays", "kind: playground", 400, "cannot read request"},
		{"wrong type", "POST", "/api/plays", `{"playground":7}`, 400, "playground"},
		{"old kernel form", "POST", "/api/plays", `{"playground":"flexbox","machines":[{"name":"a","kernel":"6.1"}]}`, 200, `"name":"a"`},
		{"unknown action", "POST", "/api/plays/" + id + "/actions", `{"action":"fly"}`, 400, `no action "fly"`},
		{"title", "POST", "/api/plays/" + id + "/actions", `{"action":"set_title","title":"demo"}`, 200, `"title":"demo"`},
		{"lifetime", "POST", "/api/plays/" + id + "/actions", `{"action":"set_max_play_time","maxPlayTimeMinutes":90}`, 200, `"expiresIn":5400000`},
		{"no lifetime", "POST", "/api/plays/" + id + "/actions", `{"action":"set_max_play_time"}`, 400, "1 to"},
		{"consoles", "POST", "/api/plays/" + id + "/actions", `{"action":"machine.console.list","machine":"m1"}`, 200, `{"consoles":["boot-1","boot-2"]}`},
		{"console", "POST", "/api/plays/" + id + "/actions", `{"action":"machine.console.read","machine":"m1","console":"boot-1"}`, 200, "m1 boot-1 line 30"},
		{"machine", "POST", "/api/plays/" + id + "/actions", `{"action":"machine.reboot","machine":"m1"}`, 200, `"id"`},
		{"no machine", "POST", "/api/plays/" + id + "/actions", `{"action":"machine.reboot","machine":"m9"}`, 404, "m9"},
		{"as many values as may be", "POST", "/api/plays", `{"playground":"flexbox","categories":["` + strings.Repeat(`,[{\"`, 9999) + `"` + strings.Repeat(",1", 19_990) + `]}`, 200, `"name":"flexbox"`},
		{"too many values", "POST", "/api/plays", `{"playground":"flexbox","machines":[` + strings.Repeat("{},", 10_000) + `{}]}`, 400, "more than 20000 values"},
		{"too large", "POST", "/api/plays", `{"playground":"` + strings.Repeat("x", 5<<20) + `"}`, 400, "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := ask(t, l, tt.method, tt.path, tt.in)
			if got := body(t, res); res.StatusCode != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("%s: %s; want %d with %q", res.Status, got, tt.status, tt.want)
			}
		})
	}
}

// labctl api --input streams its body.
func TestChunkedBody(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	req, _ := http.NewRequest("POST", l.HTTP.URL+"/api/plays/"+id+"/actions", io.MultiReader(strings.NewReader(`{"action":"set_title",`), strings.NewReader(`"title":"x"}`)))
	if p := decode[api.Play](t, l.Request(t, req)); p.Title != "x" {
		t.Errorf("title is %q", p.Title)
	}
}

func TestRefusalsAsTextAndJSON(t *testing.T) {
	l := servertest.New(t)
	refusal := api.Errorf(api.Invalid, "the manifest has 1 problem")
	refusal.Problems = []api.Problem{{Path: "playground.machines[0].name", Line: 3, Column: 7, Message: "bad", Fix: "good"}}
	l.Refuse = refusal
	if got := body(t, ask(t, l, "POST", "/api/plays", `{"playground":"x"}`)); got != "the manifest has 1 problem\n3:7: playground.machines[0].name: bad (good)\n" {
		t.Errorf("text: %q", got)
	}
	req, _ := http.NewRequest("POST", l.HTTP.URL+"/api/plays", strings.NewReader(`{"playground":"x"}`))
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Request-Id", "from-a-proxy-1")
	res := l.Request(t, req)
	if got, want := strings.TrimSpace(body(t, res)), `{"error":"the manifest has 1 problem","kind":"invalid","problems":[{"path":"playground.machines[0].name","line":3,"column":7,"message":"bad","fix":"good"}],"request":"from-a-proxy-1"}`; got != want || res.StatusCode != 400 {
		t.Errorf("JSON: %s %s", res.Status, got)
	}
	l.Refuse = errors.New("disk on fire")
	if res := ask(t, l, "POST", "/api/plays", `{"playground":"x"}`); res.StatusCode != 500 {
		t.Errorf("internal error: %s", res.Status)
	}
}

func dial(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	ws, res, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatalf("dial %s: %v (%v)", url, err, res)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

func read(t *testing.T, ws *websocket.Conn) api.ConnMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, raw, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var m api.ConnMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// until reads messages until one fits.
func until(t *testing.T, ws *websocket.Conn, fits func(api.ConnMessage) bool) {
	t.Helper()
	for !fits(read(t, ws)) {
	}
}

func TestConnection(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Change(id, func(p *api.Play) { p.Tasks["a"] = api.PlayTask{Name: "a", Init: true, Status: api.TaskCreated} })
	reply := decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/conns", ""))
	if !strings.HasPrefix(reply.URL, "ws://127.0.0.1:") {
		t.Fatalf("url is %q", reply.URL)
	}
	// The reference client's malformed origin; and the same URL twice.
	dial(t, reply.URL, http.Header{"Origin": {"https://cli.http://localhost:8080"}}).CloseNow()
	ws := dial(t, reply.URL, http.Header{"Origin": {"https://cli.http://localhost:8080"}})
	if m := read(t, ws); m.Kind != api.KindStatus || m.Status.State() != "CREATED" || len(m.Status.Machines) != 1 {
		t.Errorf("first message: %+v", m)
	}
	if m := read(t, ws); m.Kind != api.KindTask || m.Task.Name != "a" || m.Task.Status != api.TaskCreated {
		t.Errorf("second message: %+v", m)
	}
	if m := read(t, ws); m.Kind != api.KindStatus {
		t.Errorf("repeat: %+v", m)
	}
	l.Change(id, func(p *api.Play) { p.Tasks["a"] = api.PlayTask{Name: "a", Init: true, Status: api.TaskCompleted} })
	until(t, ws, func(m api.ConnMessage) bool { return m.Kind == api.KindTask && m.Task.Status == api.TaskCompleted })
	l.Condition(id, "m1", api.ConditionReady, 1)
	until(t, ws, func(m api.ConnMessage) bool {
		if m.Kind == api.KindTask {
			t.Errorf("an unchanged task was sent again: %+v", m.Task)
			return true
		}
		s, _ := m.Status.Machine("m1")
		return s.Is(api.ConditionReady)
	})
	l.State(id, play.Failed)
	until(t, ws, func(m api.ConnMessage) bool { return m.Status.State() == "FAILED" })
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after FAILED: %v, want close 1000", err)
	}
}

func TestShutdownClosesSockets(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	srv := server.New(server.Options{Auth: l, Playgrounds: l, Plays: l, Lifecycle: l, Settings: l, Machines: l, References: l, Gateway: l.Gateway, Log: slog.New(slog.DiscardHandler)})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, 10*time.Second, listener) }()

	req, _ := http.NewRequest("POST", "http://"+listener.Addr().String()+"/api/plays/"+string(id)+"/conns", nil)
	ws := dial(t, decode[api.Conn](t, l.Request(t, req)).URL, nil)
	read(t, ws)
	cancel()
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("on shutdown: %v, want close 1001", err)
			}
			break
		}
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestPublicURL(t *testing.T) {
	l := servertest.New(t)
	l.Server.PublicURL = "https://labs.example.org"
	id := l.Add("", "m1")
	if reply := decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/conns", "")); !strings.HasPrefix(reply.URL, "wss://labs.example.org/conns/") {
		t.Errorf("url is %q", reply.URL)
	}
}

var _ gateway.Machines = (*servertest.Lab)(nil)
