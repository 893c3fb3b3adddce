package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/labtest"
	"sandlot/internal/play"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
)

// visitor is a browser without cookies whose every name leads to the lab, and
// that follows no redirects.
func visitor(l *servertest.Lab) *http.Client {
	address := l.HTTP.Listener.Addr().String()
	return &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if strings.HasPrefix(to, "127.0.0.1:") {
				address = to
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func expose(t *testing.T, l *servertest.Lab, id play.ID, req string) api.Port {
	t.Helper()
	return decode[api.Port](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/ports", req))
}

// application serves h like one inside a machine; its port is the result.
func application(t *testing.T, h http.HandlerFunc) (number int) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return portOf(t, s.URL)
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, _ := url.Parse(address)
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// visit makes a request; header is "Name: value" lines.
func visit(t *testing.T, l *servertest.Lab, method, address string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	res, err := visitor(l).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	return res, string(raw)
}

// echoHead answers with what an application was sent.
func echoHead(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s host=%s auth=%q cookie=%q xfh=%q", r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.Header.Get("X-Forwarded-Host"))
}

func TestPublicPort(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	arrived := make(chan struct{})
	number := application(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: one\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/upload":
			first, _ := io.CopyN(io.Discard, r.Body, 1<<20)
			close(arrived)
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, first+n)
		case "/ws":
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
			if err != nil {
				return
			}
			kind, msg, err := ws.Read(r.Context())
			if err == nil {
				_ = ws.Write(r.Context(), kind, append([]byte("re: "), msg...))
			}
			_, _, _ = ws.Read(r.Context())
		case "/cookies":
			w.Header().Add("Set-Cookie", "a=1; Domain=localhost; Path=/; HttpOnly")
			w.Header().Add("Set-Cookie", "sandlot-session=stolen; Path=/")
			w.Header().Add("Set-Cookie", ".ixcondsess=stolen")
			w.Header().Add("Set-Cookie", "sandlot-port=fixed")
			w.Header().Set("Location", "http://"+r.Host+"/next")
			w.WriteHeader(http.StatusFound)
		default:
			echoHead(w, r)
		}
	})
	p := expose(t, l, id, fmt.Sprintf(`{"machine":"m1","number":%d,"access":"public"}`, number))
	labPort := portOf(t, l.HTTP.URL)
	if want := fmt.Sprintf("http://%s.localhost:%d", p.ID, labPort); p.URL != want || p.Hostname != strings.TrimPrefix(want, "http://") {
		t.Fatalf("exposed at %q (%q), want %q", p.URL, p.Hostname, want)
	}

	t.Run("what the application is sent", func(t *testing.T) {
		_, got := visit(t, l, "GET", p.URL+"/a%2Fb//c?x=1;y&z=%20", nil, "Cookie: a=1; sandlot-session=secret; .ixcondsess=x; b=2", "X-Forwarded-Host: evil.example", "Authorization: Bearer theirs")
		want := fmt.Sprintf(`GET /a%%2Fb//c?x=1;y&z=%%20 host=%s auth="Bearer theirs" cookie="a=1; b=2" xfh=%q`, p.Hostname, p.Hostname)
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		req, _ := http.NewRequest("GET", p.URL+"/", nil)
		req.SetBasicAuth(servertest.Session, servertest.Token)
		if _, got := visit(t, l, "GET", p.URL+"/", nil, "Authorization: "+req.Header.Get("Authorization")); !strings.Contains(got, `auth=""`) {
			t.Errorf("labd's own credentials reached the application: %s", got)
		}
		if _, got := visit(t, l, "GET", p.URL+"/", nil, "Authorization: Basic dTpw"); !strings.Contains(got, `auth="Basic dTpw"`) {
			t.Errorf("the application's own credentials: %s", got)
		}
	})
	t.Run("what it answers stays on its host name", func(t *testing.T) {
		res, _ := visit(t, l, "GET", p.URL+"/cookies", nil)
		if got := res.Header.Values("Set-Cookie"); len(got) != 1 || got[0] != "a=1; Path=/; HttpOnly" {
			t.Errorf("cookies %q", got)
		}
		if got := res.Header.Get("Location"); got != p.URL+"/next" {
			t.Errorf("location %q", got)
		}
	})
	t.Run("events leave as they come", func(t *testing.T) {
		res, err := visitor(l).Get(p.URL + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "data: one\n" {
			t.Errorf("%q, %v", line, err)
		}
	})
	t.Run("uploads are streamed, larger than any request of the API", func(t *testing.T) {
		const size = 64 << 20
		// The second half is not sent before the first has arrived.
		_, got := visit(t, l, "POST", p.URL+"/upload", io.MultiReader(io.LimitReader(zeros{}, size/2), after(arrived), io.LimitReader(zeros{}, size/2)))
		if got != strconv.Itoa(size) {
			t.Errorf("arrived: %s", got)
		}
	})
	socket := func(t *testing.T) *websocket.Conn {
		t.Helper()
		ws, _, err := websocket.Dial(t.Context(), strings.Replace(p.URL, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPClient: visitor(l)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.CloseNow() })
		if err := ws.Write(t.Context(), websocket.MessageText, []byte("hi")); err != nil {
			t.Fatal(err)
		}
		if _, msg, err := ws.Read(t.Context()); err != nil || string(msg) != "re: hi" {
			t.Fatalf("%q, %v", msg, err)
		}
		return ws
	}
	t.Run("WebSockets, until the port is exposed no more", func(t *testing.T) {
		ws := socket(t)
		half := socket(t) // says nothing any more, and reads nothing
		if res := ask(t, l, "DELETE", "/api/plays/"+string(id)+"/ports/"+p.ID, ""); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		for _, c := range []*websocket.Conn{ws, half} {
			if _, _, err := c.Read(t.Context()); err == nil {
				t.Error("a WebSocket survived the removal")
			}
		}
		if res, got := visit(t, l, "GET", p.URL+"/", nil); res.StatusCode != 404 {
			t.Errorf("after the removal: %s %s", res.Status, got)
		}
	})
	t.Run("everything ends with the play", func(t *testing.T) {
		p = expose(t, l, id, fmt.Sprintf(`{"number":%d,"access":"public"}`, number))
		ws := socket(t)
		l.State(id, play.Destroyed)
		l.Gateway.Revoke(id)
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Error("a WebSocket survived the play")
		}
		if res, _ := visit(t, l, "GET", p.URL+"/", nil); res.StatusCode != 404 {
			t.Errorf("after the end: %s", res.Status)
		}
	})
}

// after is an empty reader that ends once the channel is closed.
type after <-chan struct{}

func (a after) Read([]byte) (int, error) { <-a; return 0, io.EOF }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestRewritesAndHTTPS(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	number := application(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/app/go" {
			http.Redirect(w, r, "http://"+r.Host+"/x", http.StatusFound)
			return
		}
		echoHead(w, r)
	})
	secure := httptest.NewTLSServer(http.HandlerFunc(echoHead))
	defer secure.Close()
	p := expose(t, l, id, fmt.Sprintf(`{"number":%d,"access":"public","hostRewrite":"localhost:3000","pathRewrite":"/app?k=v"}`, number))
	for path, want := range map[string]string{
		"/":         "GET /app?k=v host=localhost:3000",
		"/x/y?z=1":  "GET /app/x/y?k=v&z=1 host=localhost:3000",
		"/a%2Fb":    "GET /app/a%2Fb?k=v host=localhost:3000",
		"/a..b/...": "GET /app/a..b/...?k=v host=localhost:3000",
	} {
		if _, got := visit(t, l, "GET", p.URL+path, nil); !strings.HasPrefix(got, want+" ") {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	// Nothing leads out of what is exposed.
	for _, path := range []string{"/../../up", "/x/..", "/%2e%2e/up", "/.%2E/up", "/x%2f..%2f..%2fup", "/..%5cup", `/..\up`} {
		if res := raw(t, l, "GET "+path+" HTTP/1.1\r\nHost: "+p.Hostname+"\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(res, "HTTP/1.1 400") {
			t.Errorf("%s: %.100s", path, res)
		}
	}
	if res, _ := visit(t, l, "GET", p.URL+"/go", nil); res.Header.Get("Location") != p.URL+"/x" {
		t.Errorf("a redirect to itself: %q", res.Header.Get("Location"))
	}
	s := expose(t, l, id, fmt.Sprintf(`{"number":%d,"access":"public","tls":true}`, portOf(t, secure.URL)))
	if res, got := visit(t, l, "GET", s.URL+"/", nil); res.StatusCode != 200 || !strings.HasPrefix(got, "GET / ") {
		t.Errorf("self-signed: %s %s", res.Status, got)
	}
	wrong := expose(t, l, id, fmt.Sprintf(`{"number":%d,"access":"public","tls":true}`, number))
	if res, got := visit(t, l, "GET", wrong.URL+"/", nil); res.StatusCode != 502 || !strings.Contains(got, "does not speak HTTPS") {
		t.Errorf("tls to plain: %s %s", res.Status, got)
	}
}

func TestPrivatePort(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	number := application(t, echoHead)
	p := expose(t, l, id, fmt.Sprintf(`{"number":%d}`, number))
	other := expose(t, l, id, fmt.Sprintf(`{"number":%d,"pathRewrite":"/other"}`, number))
	basic := func() string {
		req, _ := http.NewRequest("GET", "http://x", nil)
		req.SetBasicAuth(servertest.Session, servertest.Token)
		return "Authorization: " + req.Header.Get("Authorization")
	}()

	if res, got := visit(t, l, "GET", p.URL+"/", nil); res.StatusCode != 404 || !strings.Contains(got, "private") {
		t.Errorf("a stranger's program: %s %s", res.Status, got)
	}
	// Whoever knows an id learns nothing: a private port and none are the same.
	strange := func(address string, lines ...string) string {
		res, got := visit(t, l, "GET", address, nil, lines...)
		res.Header.Del("Date")
		res.Header.Del("X-Request-Id")
		return fmt.Sprint(res.Status, res.Header, got)
	}
	none := strings.Repeat("0", len(p.ID))
	for _, path := range []string{"/", "/.sandlot/enter?code=x", "/a?b=c"} {
		for _, accept := range []string{"Accept: */*", "Accept: text/html", "Upgrade: websocket"} {
			for _, who := range []string{"", "Authorization: Bearer x", "Authorization: Basic eDp5"} {
				lines := []string{accept}
				if who != "" {
					lines = append(lines, who)
				}
				private := strange(p.URL+path, lines...)
				if nothing := strange(strings.Replace(p.URL, p.ID, none, 1)+path, lines...); strings.ReplaceAll(nothing, none, p.ID) != private {
					t.Errorf("%s, %q: a private port answers\n%s\nwhere nothing is exposed\n%s", path, lines, private, nothing)
				}
			}
		}
	}
	if res, got := visit(t, l, "GET", p.URL+"/", nil, basic); res.StatusCode != 200 || !strings.Contains(got, `auth=""`) {
		t.Errorf("the owner's program: %s %s", res.Status, got)
	}
	// A browser is sent to the API's origin, and from there back with a code.
	res, _ := visit(t, l, "GET", p.URL+"/deep?x=1", nil, "Accept: text/html")
	toAPI := res.Header.Get("Location")
	if want := fmt.Sprintf("http://localhost:%d/exposed/%s/enter?to=%s", portOf(t, l.HTTP.URL), p.ID, url.QueryEscape("/deep?x=1")); res.StatusCode != 303 || toAPI != want {
		t.Fatalf("%s to %q, want %q", res.Status, toAPI, want)
	}
	if res, _ := visit(t, l, "GET", toAPI, nil); res.StatusCode != 401 {
		t.Errorf("hand-over to a stranger: %s", res.Status)
	}
	res, _ = visit(t, l, "GET", toAPI, nil, basic)
	back := res.Header.Get("Location")
	if res.StatusCode != 303 || !strings.HasPrefix(back, p.URL+"/.sandlot/enter?code=") {
		t.Fatalf("%s to %q", res.Status, back)
	}
	// The code is of this port only.
	if res, _ := visit(t, l, "GET", strings.Replace(back, p.ID, other.ID, 1), nil); res.StatusCode != 404 || len(res.Cookies()) != 0 {
		t.Errorf("a code at another port: %s", res.Status)
	}
	res, _ = visit(t, l, "GET", toAPI, nil, basic)
	back = res.Header.Get("Location")
	res, _ = visit(t, l, "GET", back, nil)
	if res.StatusCode != 303 || res.Header.Get("Location") != p.URL+"/deep?x=1" || len(res.Cookies()) != 2 {
		t.Fatalf("%s to %q with %v", res.Status, res.Header.Get("Location"), res.Cookies())
	}
	cookie := res.Cookies()[0]
	if !cookie.HttpOnly || cookie.Domain != "" || cookie.SameSite != http.SameSiteLaxMode {
		t.Errorf("cookie %+v", cookie)
	}
	// Frames below localhost need one that is sent to another site.
	if framed := res.Cookies()[1]; framed.Name != cookie.Name || framed.Value != cookie.Value || !framed.HttpOnly || framed.Domain != "" ||
		!framed.Secure || framed.SameSite != http.SameSiteNoneMode || !framed.Partitioned {
		t.Errorf("cookie of frames %+v", framed)
	}
	if res, _ := visit(t, l, "GET", back, nil); res.StatusCode != 404 {
		t.Errorf("the code's second use: %s", res.Status)
	}
	with := "Cookie: app=1; " + cookie.Name + "=" + cookie.Value
	if res, got := visit(t, l, "GET", p.URL+"/", nil, with); res.StatusCode != 200 || !strings.Contains(got, `cookie="app=1"`) {
		t.Errorf("with the cookie: %s %s", res.Status, got)
	}
	if res, _ := visit(t, l, "GET", other.URL+"/", nil, with); res.StatusCode != 404 {
		t.Errorf("the cookie at another port: %s", res.Status)
	}
	// A page of another origin cannot change anything with it.
	for _, c := range []struct {
		method, origin, upgrade string
		status                  int
	}{
		{"POST", "http://" + p.Hostname, "", 200},
		{"POST", other.URL, "", 403},
		{"POST", "null", "", 403},
		{"GET", "http://evil.example", "", 200}, // it cannot read the answer
		{"GET", "http://evil.example", "websocket", 403},
	} {
		header := []string{with, "Origin: " + c.origin}
		if c.upgrade != "" {
			header = append(header, "Connection: Upgrade", "Upgrade: "+c.upgrade)
		}
		if res, _ := visit(t, l, c.method, p.URL+"/", nil, header...); res.StatusCode != c.status {
			t.Errorf("%+v: %s", c, res.Status)
		}
	}
	// Open redirects.
	for _, to := range []string{"//evil.example/", "https://evil.example", `/\evil.example`, "javascript:alert(1)", "/\r\nX: y", "evil"} {
		res, _ := visit(t, l, "GET", fmt.Sprintf("%s/exposed/%s/enter?to=%s", l.HTTP.URL, p.ID, url.QueryEscape(to)), nil, basic)
		res, _ = visit(t, l, "GET", res.Header.Get("Location"), nil)
		if got := res.Header.Get("Location"); got != p.URL+"/" {
			t.Errorf("to %q leads to %q", to, got)
		}
	}
	// A link for somebody without a signed-in browser.
	link := decode[api.Conn](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/ports/"+p.ID+"/links", ""))
	if res, _ := visit(t, l, "GET", link.URL, nil); res.StatusCode != 303 || res.Header.Get("Location") != p.URL+"/" {
		t.Errorf("a link: %s %q", res.Status, res.Header.Get("Location"))
	}
	l.Gateway.Revoke(id)
	if res, _ := visit(t, l, "GET", p.URL+"/", nil, with); res.StatusCode != 404 {
		t.Errorf("after the play's end: %s", res.Status)
	}
	// Secrets of the hand-over are in no log, and no page is told where its
	// visitor came from.
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{u.Query().Get("code"), cookie.Value} {
		if secret == "" || strings.Contains(l.Logged.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	for _, address := range []string{toAPI, l.HTTP.URL + "/exposed/" + p.ID + "/enter"} {
		res, _ := visit(t, l, "GET", address, nil, basic)
		if got := res.Header.Get("Referrer-Policy"); got != "no-referrer" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: referrer policy %q", address, got)
		}
	}
}

// Nothing of the API is on a machine's host name, and nothing of a machine on
// the API's, whatever a client calls the host.
func TestHostTricks(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	p := expose(t, l, id, fmt.Sprintf(`{"number":%d,"access":"public"}`, application(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "inside") })))
	port := portOf(t, l.HTTP.URL)
	for _, c := range []struct {
		host   string
		status int
		body   string
	}{
		{p.ID + ".localhost", 200, "inside"},
		{strings.ToUpper(p.ID) + ".LOCALHOST.", 404, "nothing is exposed"},
		{p.ID + ".LOCALHOST:1", 200, "inside"},
		{p.ID + ".localhost.evil.example", 200, "ok"}, // an unknown name: the API's public part
		{"x." + p.ID + ".localhost", 404, "nothing is exposed"},
		{"api.localhost", 404, "nothing is exposed"},
		{".localhost", 404, "nothing is exposed"},
		{"..localhost", 404, "nothing is exposed"},
		{strings.Repeat("0", 24) + ".localhost", 404, "nothing is exposed"},
		{string(id) + ".localhost", 404, "nothing is exposed"},
		{"localhost", 200, "ok"},
		{"localhost:" + strconv.Itoa(port), 200, "ok"},
	} {
		res, got := visit(t, l, "GET", l.HTTP.URL+"/healthz", nil, "Host: "+c.host)
		if c.host == strings.ToUpper(p.ID)+".LOCALHOST." && res.StatusCode == 200 && got == "inside" {
			continue // digits only: the same id
		}
		if res.StatusCode != c.status || !strings.Contains(got, c.body) {
			t.Errorf("host %q: %s %q, want %d %q", c.host, res.Status, got, c.status, c.body)
		}
	}
	// The API on a machine's name, also by the absolute form of a request.
	for _, head := range []string{
		"GET /api/auth/me HTTP/1.1\r\nHost: " + p.Hostname,
		"GET http://" + p.Hostname + "/api/auth/me HTTP/1.1\r\nHost: localhost",
		"GET //api/auth/me HTTP/1.1\r\nHost: " + p.Hostname,
	} {
		if got := raw(t, l, head+"\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "inside") {
			t.Errorf("%q: %s", head, got)
		}
	}
	// A machine by the API's name.
	if got := raw(t, l, "GET http://localhost/healthz HTTP/1.1\r\nHost: "+p.Hostname+"\r\nConnection: close\r\n\r\n"); !strings.Contains(got, `"ok"`) {
		t.Errorf("absolute form: %s", got)
	}
	if got := raw(t, l, "CONNECT "+p.Hostname+" HTTP/1.1\r\nHost: "+p.Hostname+"\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("CONNECT: %s", got)
	}
}

func raw(t *testing.T, l *servertest.Lab, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", l.HTTP.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c)
	return string(got)
}

// Whatever the request says, the machine's agent dials the exposed port and
// nothing else: never an address of the host.
func TestOnlyTheExposedPortIsDialled(t *testing.T) {
	l := servertest.New(t)
	var dialled []string
	l.Dialer = func(_ context.Context, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return nil, fmt.Errorf("connection refused")
	}
	id := l.Add("", "m1")
	l.Ready(id)
	p := expose(t, l, id, `{"number":8080,"access":"public","hostRewrite":"127.0.0.1:8484"}`)
	for _, path := range []string{"/", "//127.0.0.1:8484/x", "/http://169.254.169.254/", "/%2e%2e/@127.0.0.1"} {
		res, got := visit(t, l, "GET", p.URL+path, nil, "X-Forwarded-Host: 127.0.0.1:22")
		if res.StatusCode != 502 || !strings.Contains(got, "cannot reach port 8080 of machine \"m1\"") {
			t.Errorf("%s: %s %s", path, res.Status, got)
		}
	}
	for _, a := range dialled {
		if a != ":8080" {
			t.Errorf("dialled %q", a)
		}
	}
	if len(dialled) != 4 {
		t.Errorf("dialled %d times", len(dialled))
	}
	if _, got := visit(t, l, "GET", p.URL+"/", nil, "Accept: text/html"); !strings.Contains(got, "<p>cannot reach port 8080") || strings.Contains(got, "<script") {
		t.Errorf("page: %s", got)
	}
}

func TestApplicationsThatMisbehave(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	for name, answer := range map[string]string{
		"no HTTP":        "220 mail.example ESMTP\r\n",
		"nothing":        "",
		"endless head":   "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"header forging": "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			port := labtest.Service(t, func(c net.Conn) {
				defer c.Close()
				_, _ = bufio.NewReader(c).ReadString('\n')
				_, _ = io.WriteString(c, answer)
			})
			p := expose(t, l, id, fmt.Sprintf(`{"number":%s,"access":"public"}`, port))
			if res, got := visit(t, l, "GET", p.URL+"/", nil); res.StatusCode != 502 || !strings.Contains(got, "gave no answer that is HTTP") {
				t.Errorf("%s %.200s", res.Status, got)
			}
		})
	}
}

func TestScan(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	plain := application(t, echoHead)
	secure := httptest.NewTLSServer(http.HandlerFunc(echoHead))
	defer secure.Close()
	mail, _ := strconv.Atoi(labtest.Service(t, func(c net.Conn) { _, _ = c.Write([]byte("220 hello\r\n")); c.Close() }))
	l.Listening(plain, portOf(t, secure.URL), mail, plain, 22, 0, 70000)
	got := decode[[]api.ScannedPort](t, ask(t, l, "POST", "/api/plays/"+string(id)+"/ports/scan?machine=m1", ""))
	want := map[int]string{plain: "HTTP", portOf(t, secure.URL): "HTTPS"}
	if len(got) != 2 || want[got[0].Number] != got[0].Protocol || want[got[1].Number] != got[1].Protocol || got[0].Number > got[1].Number {
		t.Errorf("got %+v, want %v", got, want)
	}
	if res := ask(t, l, "POST", "/api/plays/"+string(id)+"/ports/scan?machine=m9", ""); res.StatusCode != 404 {
		t.Errorf("unknown machine: %s", res.Status)
	}
}

func TestShellsAndForwardsOverHTTP(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("", "m1")
	l.Ready(id)
	base := "/api/plays/" + string(id)
	shell := decode[api.Shell](t, ask(t, l, "POST", base+"/shells", `{"machine":"m1","user":"","access":"public"}`))
	if list := decode[[]api.Shell](t, ask(t, l, "GET", base+"/shells", "")); len(list) != 1 || list[0] != shell || shell.URL == "" || shell.User != "laborant" {
		t.Errorf("%+v, %+v", list, shell)
	}
	if res, got := visit(t, l, "GET", shell.URL, nil); res.StatusCode != 501 || !strings.Contains(got, "no page for shells") {
		t.Errorf("its page: %s %s", res.Status, got)
	}
	for _, f := range []api.PortForward{{Kind: "local", Machine: "m1", LocalPort: 8080, RemotePort: 80}, {Kind: "remote", Machine: "m1", RemoteHost: "0.0.0.0", RemotePort: 9000, LocalPort: 4000}} {
		in, _ := json.Marshal(f)
		if res := ask(t, l, "POST", base+"/port-forwards", string(in)); res.StatusCode != 200 || !bytes.HasPrefix([]byte(body(t, res)), []byte("{")) {
			t.Error(res.Status)
		}
	}
	for index, status := range map[string]int{"7": 404, "-1": 404, "x": 400, "0": 200} {
		if res := ask(t, l, "DELETE", base+"/port-forwards/"+index, ""); res.StatusCode != status {
			t.Errorf("index %s: %s, want %d", index, res.Status, status)
		}
	}
	if list := decode[[]api.PortForward](t, ask(t, l, "GET", base+"/port-forwards", "")); len(list) != 1 || list[0].Kind != "remote" {
		t.Errorf("%+v", list)
	}
}

// An access token opens the API, so no application may see it.
func TestAccessTokensStayHere(t *testing.T) {
	var lab *servertest.Lab
	site := newSite(t, func(o *server.Options) {
		lab = o.Plays.(*servertest.Lab)
	})
	id := lab.Add("", "m1")
	lab.Ready(id)
	p, err := lab.ExposePort(t.Context(), api.Me{}, id, api.Port{Number: application(t, echoHead), Access: api.AccessPublic})
	if err != nil {
		t.Fatal(err)
	}
	made, err := site.people.NewToken(t.Context(), site.add(t, "ann"), api.CreateToken{Name: "t", Scope: []string{api.ScopePlaygroundRead}})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{made.AccessToken: `auth=""`, "theirs": `auth="Bearer theirs"`} {
		res, got := visit(t, lab, "GET", site.URL+"/", nil, "Host: "+p.ID+".localhost", "Authorization: Bearer "+token)
		if res.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("%s %s, want %s", res.Status, got, want)
		}
	}
}
