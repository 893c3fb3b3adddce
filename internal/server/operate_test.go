package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"sandlot/api"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
)

// labd makes a server of its own over a lab's parts.
func labd(t *testing.T, l *servertest.Lab, change func(*server.Options)) *httptest.Server {
	t.Helper()
	o := server.Options{
		Auth: l, Playgrounds: l, Plays: l, Lifecycle: l, Settings: l, Machines: l, References: l, Gateway: l.Gateway,
		Log: slog.New(slog.DiscardHandler),
	}
	change(&o)
	h := httptest.NewServer(server.New(o))
	t.Cleanup(h.Close)
	return h
}

func get(t *testing.T, url string, header ...string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, body(t, res)
}

func TestReady(t *testing.T) {
	recovered := make(chan struct{})
	var broken error
	h := labd(t, servertest.New(t), func(o *server.Options) {
		o.Recovered = recovered
		o.Checks = []server.Check{{Name: "store", Probe: func(context.Context) error { return broken }}}
	})
	if status, text := get(t, h.URL+"/healthz"); status != 200 || text != "{\"status\":\"ok\"}\n" {
		t.Errorf("health: %d %s", status, text)
	}
	if status, text := get(t, h.URL+"/readyz"); status != 503 || text != `{"status":"not ready","checks":{"recovered":"failed","store":"ok"}}`+"\n" {
		t.Errorf("before: %d %s", status, text)
	}
	// A request waits until labd has taken over what runs.
	served := make(chan int)
	go func() {
		status, _ := get(t, h.URL+"/api/kernels")
		served <- status
	}()
	select {
	case status := <-served:
		t.Errorf("answered %d before labd had recovered", status)
	default:
	}
	close(recovered)
	if status := <-served; status != 200 {
		t.Errorf("afterwards: %d", status)
	}
	if status, text := get(t, h.URL+"/readyz"); status != 200 || !strings.Contains(text, `"status":"ready"`) {
		t.Errorf("after: %d %s", status, text)
	}
	broken = errors.New("secret path")
	if status, text := get(t, h.URL+"/readyz"); status != 503 || !strings.Contains(text, `"store":"failed"`) || strings.Contains(text, "secret") {
		t.Errorf("with a broken store: %d %s", status, text)
	}
}

func TestRequestsAreNamedCountedAndLogged(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	res := ask(t, l, "POST", "/api/plays/"+id+"/actions", `{"action":"set_title","title":"x"}`)
	name := res.Header.Get("X-Request-Id")
	want := regexp.MustCompile(`level=INFO msg=request method=POST route=/api/plays/{id}/actions status=200 ms=\d+ from=127\S+ request=` + name + ` user=u-1 play=` + id)
	if name == "" || !want.MatchString(l.Logged.String()) {
		t.Errorf("no line %s in\n%s", want, l.Logged.String())
	}
	started := decode[api.Play](t, ask(t, l, "POST", "/api/plays", `{"playground":"flexbox"}`))
	if !strings.Contains(l.Logged.String(), "play="+started.ID) {
		t.Errorf("a start's line has no play:\n%s", l.Logged.String())
	}
	// labd's own faults say where to look; the log has the same name.
	l.Refuse = errors.New("disk on fire")
	res = ask(t, l, "POST", "/api/plays", `{"playground":"flexbox"}`)
	if got := body(t, res); !strings.Contains(got, "(request "+res.Header.Get("X-Request-Id")+")") {
		t.Errorf("refusal: %s", got)
	}
	if !regexp.MustCompile(`level=ERROR msg="request failed".*disk on fire.*request=` + res.Header.Get("X-Request-Id")).MatchString(l.Logged.String()) {
		t.Errorf("log:\n%s", l.Logged.String())
	}
	// A name that is no name is not taken over; tickets never reach the log.
	req, _ := http.NewRequest("DELETE", l.HTTP.URL+"/nosuch/evil-path", nil)
	req.Header.Set("X-Request-Id", "a b\" c")
	if res := l.Request(t, req); strings.Contains(res.Header.Get("X-Request-Id"), " ") || res.StatusCode != 405 {
		t.Errorf("%s %q", res.Status, res.Header.Get("X-Request-Id"))
	}
	conn := decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+id+"/conns", ""))
	ws := dial(t, conn.URL, nil)
	read(t, ws)
	_ = ws.Close(websocket.StatusNormalClosure, "")
	if log := l.Logged.String(); strings.Contains(log, "evil") || strings.Contains(log, conn.URL[strings.LastIndex(conn.URL, "/"):]) {
		t.Errorf("log:\n%s", log)
	}
	// What it costs to count is bounded, whatever is asked for.
	for _, method := range []string{"BREW", "PROPFIND"} {
		req, _ := http.NewRequest(method, l.HTTP.URL+"/"+strings.ToLower(method), nil)
		l.Request(t, req)
	}
	_, text := get(t, l.HTTP.URL+"/metrics")
	for _, line := range []string{
		`sandlot_http_requests_total{method="POST",route="/api/plays",status="200"} 1`,
		`sandlot_http_requests_total{method="POST",route="/api/plays",status="500"} 1`,
		`sandlot_http_requests_total{method="DELETE",route="none",status="405"} 1`,
		`sandlot_http_requests_total{method="other",route="none",status="405"} 2`,
		`sandlot_http_request_seconds_count{route="/api/plays/{id}/actions"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, id) || strings.Contains(text, "evil") {
		t.Errorf("a label has no bound:\n%s", text)
	}
}

// Figures are for administrators, and for programs on this host: not for what
// a proxy or a web page here passes on.
func TestMetricsAreForOperators(t *testing.T) {
	l := servertest.New(t)
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"this host", nil, 200},
		{"localhost", []string{"Host", "localhost:8484"}, 200},
		{"a proxy", []string{"X-Forwarded-For", "203.0.113.7"}, 401},
		{"another proxy", []string{"Forwarded", "for=203.0.113.7"}, 401},
		{"a page", []string{"Origin", "https://evil.example"}, 401},
		{"a rebound name", []string{"Host", "evil.example"}, 401},
	} {
		if status, _ := get(t, l.HTTP.URL+"/metrics", c.header...); status != c.want {
			t.Errorf("%s: %d, want %d", c.name, status, c.want)
		}
	}
	for ordinary, want := range map[bool]int{false: 200, true: 403} {
		l.Ordinary = ordinary
		req, _ := http.NewRequest("GET", l.HTTP.URL+"/metrics", nil)
		req.Header.Set("X-Forwarded-For", "203.0.113.7")
		if res := l.Request(t, req); res.StatusCode != want {
			t.Errorf("ordinary user %v: %s, want %d", ordinary, res.Status, want)
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	l := servertest.New(t)
	if status, text := get(t, l.HTTP.URL+"/api/openapi.json"); status != 200 || text != string(api.OpenAPI) {
		t.Errorf("document: %d, %d bytes", status, len(text))
	}
	status, html := get(t, l.HTTP.URL+"/api/docs")
	if status != 200 || !strings.Contains(html, "Starts a play") {
		t.Errorf("page: %d %.200s", status, html)
	}
}

// Replies are what the document says. The document itself is valid as far as
// every schema in it compiles.
func TestRepliesFitTheDocument(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(api.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	const root = "https://sandlot.example/openapi.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(root, doc); err != nil {
		t.Fatal(err)
	}
	compile := func(pointer string) *jsonschema.Schema {
		t.Helper()
		s, err := c.Compile(root + "#" + pointer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		compile("/components/schemas/" + name)
	}
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	l.Details = []api.TaskDetails{{Name: "a", Machine: "m1"}}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, r := range []struct{ method, path, route, in string }{
		{"GET", "/healthz", "/healthz", ""}, {"GET", "/readyz", "/readyz", ""},
		{"GET", "/api/auth/me", "/api/auth/me", ""}, {"GET", "/api/sessions/s1", "/api/sessions/{id}", ""},
		{"GET", "/api/sources", "/api/sources", ""}, {"GET", "/api/kernels", "/api/kernels", ""}, {"GET", "/api/bases", "/api/bases", ""},
		{"GET", "/api/playgrounds", "/api/playgrounds", ""}, {"GET", "/api/playgrounds/flexbox", "/api/playgrounds/{name}", ""},
		{"POST", "/api/playgrounds", "/api/playgrounds", `{"name":"a","base":"flexbox","machines":[{"name":"m","users":null}]}`},
		{"POST", "/api/plays", "/api/plays", `{"playground":"flexbox"}`}, {"GET", "/api/plays", "/api/plays", ""},
		{"GET", "/api/plays/" + id, "/api/plays/{id}", ""}, {"GET", "/api/plays/" + id + "/tasks", "/api/plays/{id}/tasks", ""},
		{"POST", "/api/plays/" + id + "/actions", "/api/plays/{id}/actions", `{"action":"machine.console.list","machine":"m1"}`},
		{"POST", "/api/plays/" + id + "/conns", "/api/plays/{id}/conns", ""},
		{"POST", "/api/plays/" + id + "/actions", "/api/plays/{id}/actions", `{"action":"stop"}`},
	} {
		res := ask(t, l, r.method, r.path, r.in)
		text := body(t, res)
		if res.StatusCode != 200 {
			t.Errorf("%s %s: %s %s", r.method, r.path, res.Status, text)
			continue
		}
		schema := compile("/paths/" + escape.Replace(r.route) + "/" + strings.ToLower(r.method) + "/responses/200/content/application~1json/schema")
		reply, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(reply); err != nil {
			t.Errorf("%s %s: %v\n%s", r.method, r.path, err, text)
		}
	}
}
