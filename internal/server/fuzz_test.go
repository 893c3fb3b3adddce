package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"sandlot/api"
)

// prober sends requests that the served document describes, and worse ones, to
// a house, and looks at what comes back.
type prober struct {
	things
	doc     *openapi3.T
	routes  []routers.Route
	callers map[string][]string // headers: name, value, …
	names   []string            // of callers
	plays   []string            // ann's and bob's
	words   []string            // that strings are made of
	// seen counts replies by route and status.
	seen map[string]map[int]int
}

func newProber(t testing.TB) *prober {
	t.Helper()
	p := &prober{things: newHouse(t), seen: map[string]map[int]int{}}
	status, served, _ := p.sent("GET", "/api/openapi.json", "", "")
	if status != 200 {
		t.Fatal(status)
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(served))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the document is not valid: %v", err)
	}
	p.doc = doc
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			p.routes = append(p.routes, routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op})
		}
	}
	slices.SortFunc(p.routes, func(a, b routers.Route) int { return strings.Compare(a.Method+a.Path, b.Method+b.Path) })
	bob := p.site.add(t, "bob")
	if _, err := p.site.people.Add(t.Context(), "root", password, api.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	cookie, _, err := p.site.people.SignIn(t.Context(), "ann", password, api.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	p.callers = map[string][]string{
		"nobody": nil, "ann again": {"Authorization", p.session(p.ann)}, "wrong": {"Authorization", basic("x", "y")}, "odd": {"Authorization", "Basic \xff\x00"},
		"ann": {"Authorization", p.session(p.ann)}, "bob": {"Authorization", p.session(bob)},
		"root": {"Authorization", p.session(api.Me{ID: "root"})}, "token": {"Authorization", p.token(api.Scopes...)},
		"narrow": {"Authorization", p.token("account:read")}, "browser": {"Cookie", "sandlot_session=" + cookie},
		"page": {"Cookie", "sandlot_session=" + cookie, "Origin", "https://evil.example"},
	}
	for name := range p.callers {
		p.names = append(p.names, name)
	}
	slices.Sort(p.names)
	for _, who := range []api.Me{p.ann, bob} {
		play, err := p.control.Start(t.Context(), who, api.StartPlay{Playground: "flexbox", Machines: machines()})
		if err != nil {
			t.Fatal(err)
		}
		p.plays = append(p.plays, play.ID)
	}
	mine, err := p.playground()
	if err != nil {
		t.Fatal(err)
	}
	p.words = []string{
		"", "flexbox", mine, "m", "x", "root", "laborant", "local", "debian-12", "oci://example.org/x:1", "6.1", "linux", "private", "public",
		"stop", "restart", "destroy", "set_title", "set_max_play_time", "make_persistent", "machine.reboot", "machine.stop", "machine.console.list",
		"machine.console.read", "remote", "localhost:80", "/app", "5GiB", "512MiB", "eu", "account:read", "ssh-ed25519 AAAA x", "10.0.0.0/24", "172.16.0.1",
		"../../etc/passwd", "a\r\nSet-Cookie: b=c", "\x00", "é\u202e\U0001F600", "<script>", "'; DROP TABLE plays; --", "%2e%2e%2f", "-1", "NaN", "1e999",
		strings.Repeat("x", 300), strings.Repeat("9", 40), "user:bob", "anyone", "owner", "authenticated", "2006-01-02T15:04:05Z", "1h", "-5m", "OjIy",
	}
	return p
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// value makes something of a schema: what it wants, most of the time.
func (p *prober) value(r *rand.Rand, ref *openapi3.SchemaRef, depth int) any {
	if ref == nil || ref.Value == nil || depth > 8 {
		return nil
	}
	s := ref.Value
	if of := slices.Concat(s.AnyOf, s.OneOf); len(of) > 0 {
		return p.value(r, pick(r, of), depth)
	}
	if len(s.Enum) > 0 && r.IntN(10) > 0 {
		return pick(r, s.Enum)
	}
	kinds := []string{"string", "integer", "boolean", "array", "object", "null"}
	kind := pick(r, kinds)
	if s.Type != nil && len(*s.Type) > 0 && r.IntN(40) > 0 {
		kind = pick(r, []string(*s.Type))
	}
	switch kind {
	case "string":
		return pick(r, p.words)
	case "integer", "number":
		return pick(r, []any{0, 1, 2, 22, 80, 512, 65535, 65536, -1, 1 << 40, -1 << 62, 1.5, 1e300})
	case "boolean":
		return r.IntN(2) == 0
	case "array":
		list := []any{}
		for range r.IntN(4) {
			list = append(list, p.value(r, s.Items, depth+1))
		}
		return list
	case "object":
		o := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, name) && r.IntN(20) > 0 || r.IntN(3) == 0 {
				o[name] = p.value(r, s.Properties[name], depth+1)
			}
		}
		if more := s.AdditionalProperties.Schema; more != nil {
			for range r.IntN(3) {
				o[pick(r, p.words)] = p.value(r, more, depth+1)
			}
		}
		if r.IntN(20) == 0 {
			o[pick(r, p.words)] = pick(r, p.words)
		}
		return o
	}
	return nil
}

// good is a body that a route accepts from ann.
func (p *prober) good(route routers.Route) []byte {
	machine, err := json.Marshal(machines())
	if err != nil {
		p.t.Fatal(err)
	}
	const mine = `"accessControl":{"canList":["owner"],"canRead":["owner"],"canStart":["owner"]}`
	switch route.Method + " " + route.Path {
	case "POST /api/playgrounds":
		return fmt.Appendf(nil, `{"name":"x","base":"flexbox","title":"A lab","categories":["linux"],"machines":%s,%s}`, machine, mine)
	case "PUT /api/playgrounds/{name}":
		return fmt.Appendf(nil, `{"title":"A lab","categories":["linux"],"machines":%s,%s}`, machine, mine)
	case "POST /api/oauth/tokens":
		return []byte(`{"name":"t","scope":["account:read"],"expiresInDays":7}`)
	case "PATCH /api/account/preferences":
		return []byte(`{"region":"eu"}`)
	case "POST /api/auth/signin":
		return []byte(`{"name":"ann","password":"` + password + `"}`)
	default:
		return []byte(p.things.body(route.Method, route.Path))
	}
}

// spoil replaces some of the values in JSON.
func (p *prober) spoil(r *rand.Rand, v any) any {
	if r.IntN(12) == 0 {
		return pick(r, []any{nil, pick(r, p.words), 0, -1, 1e300, true, []any{}, []any{"x", 7}, map[string]any{}, map[string]any{"name": "x"}})
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = p.spoil(r, v[i])
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			v[name] = p.spoil(r, v[name])
		}
	}
	return v
}

// body is what a route wants, or nearly; some are damaged, with noise in them.
func (p *prober) body(r *rand.Rand, route routers.Route, noise []byte) []byte {
	var raw []byte
	if in := route.Operation.RequestBody; in != nil {
		var made any
		if r.IntN(2) == 0 {
			made = p.value(r, in.Value.Content.Get("application/json").Schema, 0)
		} else if err := json.Unmarshal(p.good(route), &made); err != nil {
			p.t.Fatal(err)
		} else if r.IntN(2) == 0 {
			made = p.spoil(r, made)
		}
		var err error
		if raw, err = json.Marshal(made); err != nil {
			p.t.Fatal(err)
		}
	}
	switch r.IntN(16) {
	case 0:
		raw = raw[:r.IntN(len(raw)+1)]
	case 1:
		at := r.IntN(len(raw) + 1)
		raw = slices.Concat(raw[:at], noise, raw[at:])
	case 2:
		raw = noise
	case 3:
		raw = slices.Concat([]byte(`{"machines":`), bytes.Repeat([]byte(pick(r, []string{"[", `{"a":`})), r.IntN(20_000)))
	case 4:
		if len(raw) > 0 {
			raw[r.IntN(len(raw))] ^= byte(1 << r.IntN(8))
		}
	}
	return raw
}

func (p *prober) path(r *rand.Rand, route routers.Route) string {
	path := route.Path
	if r.IntN(3) == 0 {
		path = p.fill(strings.Replace(path, "{payload}", "{payload...}", 1))
	}
	query := url.Values{}
	for _, ref := range route.Operation.Parameters {
		q := ref.Value
		if q.In == "query" {
			for range r.IntN(3) {
				query.Add(q.Name, pick(r, append([]string{"1", "100", "true", "popular", "my-custom", "extended", "/"}, p.words...)))
			}
			continue
		}
		values := p.words[1:]
		if strings.HasPrefix(route.Path, "/api/plays/") && q.Name == "id" && r.IntN(8) > 0 {
			values = p.plays
		} else if q.Name == "index" && r.IntN(2) == 0 {
			values = []string{"0", "1", "-1", "99999999999999999999"}
		}
		path = strings.ReplaceAll(path, "{"+q.Name+"}", url.PathEscape(pick(r, values)))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// probe sends one request and says what is wrong with its reply.
func (p *prober) probe(seed uint64, noise []byte) error {
	r := rand.New(rand.NewPCG(seed, 1))
	route := p.routes[seed%uint64(len(p.routes))] // each comes up
	caller := pick(r, p.names)
	switch {
	case strings.HasPrefix(route.Path, "/api/admin/") && r.IntN(2) == 0:
		caller = "root"
	case route.Path == "/api/account/sessions" && route.Method == http.MethodDelete:
		caller = "bob" // who has one: the others' go on
	}
	path, in := p.path(r, route), p.body(r, route, noise)
	req, err := http.NewRequestWithContext(p.t.Context(), route.Method, p.site.URL+path, bytes.NewReader(in))
	if err != nil {
		return err
	}
	if route.Method == http.MethodGet && len(in) == 0 {
		req.Body = nil
	}
	for i := 0; i+1 < len(p.callers[caller]); i += 2 {
		req.Header[p.callers[caller][i]] = []string{p.callers[caller][i+1]}
	}
	asked := pick(r, []string{"", "application/json", "*/*", "text/html"})
	if asked != "" {
		req.Header.Set("Accept", asked)
	}
	if r.IntN(8) == 0 {
		req.Header.Set("Content-Type", pick(r, []string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "image/png"}))
	}
	if r.IntN(8) == 0 {
		req.Header.Set("X-Forwarded-For", pick(r, []string{"192.0.2.1", "x", ",,", "::1, 127.0.0.1"}))
	}
	if route.Operation.Responses.Status(101) != nil && r.IntN(2) == 0 {
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="} {
			req.Header.Set(name, value)
		}
	}
	what := fmt.Sprintf("%s %s as %s (Accept %q) with %.200q", route.Method, path, caller, asked, in)
	res, err := noRedirect.Do(req)
	if err != nil {
		if strings.Contains(err.Error(), "invalid header field value") {
			return nil // the odd caller: not sent at all
		}
		return fmt.Errorf("%s: no reply: %w", what, err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	name := route.Method + " " + route.Path
	if p.seen[name] == nil {
		p.seen[name] = map[int]int{}
	}
	p.seen[name][res.StatusCode]++
	what = fmt.Sprintf("%s: %s %.300q", what, res.Status, out)
	if res.StatusCode >= 500 {
		return fmt.Errorf("%s: labd's own fault", what)
	}
	if err := openapi3filter.ValidateResponse(p.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, Route: &route},
		Status:                 res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(out)),
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			ExcludeResponseBody: strings.HasPrefix(res.Header.Get("Content-Type"), "text/html"),
		},
	}); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if res.StatusCode < 400 {
		if route.Operation.Responses.Status(res.StatusCode) == nil {
			return fmt.Errorf("%s: the document does not tell of this status", what)
		}
		return nil
	}
	return readable(what, res, out, asked)
}

// readable says whether a refusal is what people and programs expect.
func readable(what string, res *http.Response, out []byte, asked string) error {
	text := string(out)
	if asked == "application/json" {
		var refusal api.Error
		if err := json.Unmarshal(out, &refusal); err != nil || refusal.Message == "" || refusal.Kind == "" || refusal.Request != res.Header.Get("X-Request-Id") {
			return fmt.Errorf("%s: no refusal in JSON: %w", what, err)
		}
		text = refusal.Message
	}
	for _, jargon := range []string{"Go struct", "Go value", "json:", "runtime error", "goroutine", ".go:", "sql", "SQL", "/work", "interface conversion"} {
		if strings.Contains(text, jargon) && !strings.Contains(what[:strings.Index(what, ": 4")], jargon) {
			return fmt.Errorf("%s: %q is no word for people", what, jargon)
		}
	}
	if strings.ContainsAny(strings.TrimSuffix(text, "\n"), "\r\x00\x1b") {
		return fmt.Errorf("%s: controls in it", what)
	}
	return nil
}

// house is how many requests one house takes: what they leave makes it slow.
const house = 200

// Every route of the document, by every kind of caller, with what it wants and
// with worse: never labd's own fault, always what the document says.
func TestRoutesByTheirDocument(t *testing.T) {
	requests := 400
	if testing.Short() {
		requests = house
	}
	routes, replies := map[string]map[int]bool{}, 0
	for first := 0; first < requests; first += house {
		p := newProber(t)
		for i := range house {
			if err := p.probe(uint64(first+i), []byte("{\"\x00\xff,[")); err != nil {
				t.Errorf("seed %d: %v", first+i, err)
			}
		}
		for _, route := range p.routes {
			name := route.Method + " " + route.Path
			if routes[name] == nil {
				routes[name] = map[int]bool{}
			}
			for status, n := range p.seen[name] {
				routes[name][status] = true
				replies += n
			}
		}
	}
	well := 0
	for name, seen := range routes {
		if len(seen) == 0 {
			t.Errorf("%s was never asked", name)
		}
		if seen[200] || seen[303] {
			well++
		} else {
			t.Logf("%s never answered well: %v", name, seen)
		}
	}
	t.Logf("%d replies, %d of %d routes answered well at least once", replies, well, len(routes))
	// Tickets are the other ones: nobody can guess any.
	if well < len(routes)/2 {
		t.Errorf("only %d of %d routes ever answered well: the requests are too bad to mean much", well, len(routes))
	}
}

// FuzzRoutes is the same for as long as it is let: go test -fuzz FuzzRoutes
func FuzzRoutes(f *testing.F) {
	f.Add(uint64(1), []byte("{"))
	f.Add(uint64(2), []byte("\x00\xff"))
	p := newProber(f)
	asked := 0
	f.Fuzz(func(t *testing.T, seed uint64, noise []byte) {
		p.t = t
		if asked++; asked%house == 0 {
			p.tidy()
		}
		if err := p.probe(seed, noise); err != nil {
			t.Error(err)
		}
	})
}

// tidy forgets the plays that requests have started.
func (p *prober) tidy() {
	rows, err := p.site.store.Plays(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, row := range rows {
		if !slices.Contains(p.plays, string(row.ID)) {
			if err := p.site.store.DeletePlay(p.t.Context(), row.ID); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}
