package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/control"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
	"sandlot/internal/store"
	"sandlot/playgrounds"
)

// stored is a server with the real control and store behind its playgrounds,
// asked as the reference client asks: no Content-Type, no Accept.
type stored struct {
	t     *testing.T
	url   string
	users map[string]account.Credentials
}

func newStored(t *testing.T) stored {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c, err := control.New(control.Options{Store: s, Bases: playgrounds.Names, ReadBase: playgrounds.Read})
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]account.Credentials{}
	if users["admin"], err = account.EnsureAdmin(t.Context(), s, account.Credentials{}); err != nil {
		t.Fatal(err)
	}
	// SHA-256 of "secret".
	const hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
	for _, name := range []string{"bob", "carl"} {
		users[name] = account.Credentials{SessionID: name, AccessToken: "secret"}
		if err := s.AddUser(t.Context(), store.User{ID: name, Name: name, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if err := s.PutSession(t.Context(), store.Session{ID: name, UserID: name, TokenHash: hash, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	l := servertest.New(t)
	h := httptest.NewServer(server.New(server.Options{
		Auth: account.New(s), Playgrounds: c, Plays: l, Lifecycle: l, Settings: l, Machines: l, Gateway: l.Gateway,
	}))
	t.Cleanup(h.Close)
	return stored{t: t, url: h.URL + "/api", users: users}
}

// ask returns the status and the body.
func (s stored) ask(user, method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(s.users[user].SessionID, s.users[user].AccessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// must is ask for replies that have to be good.
func (s stored) must(user, method, path, body string) map[string]any {
	s.t.Helper()
	status, reply := s.ask(user, method, path, body)
	var v map[string]any
	if err := json.Unmarshal([]byte(reply), &v); err != nil || status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, path, status, reply)
	}
	return v
}

// request is a body that the reference client sends, with some fields as given.
func request(s stored, fields map[string]any, change map[string]any) string {
	out := map[string]any{}
	for _, name := range []string{"title", "description", "registryAuth"} {
		out[name] = ""
	}
	for _, name := range []string{"categories", "networks", "machines", "tabs", "initTasks"} {
		out[name] = nil
	}
	out["initConditions"], out["accessControl"] = map[string]any{}, map[string]any{}
	for _, from := range []map[string]any{fields, change} {
		for name, value := range from {
			switch name {
			case "title", "description", "registryAuth", "categories", "networks", "machines", "tabs", "initTasks", "initConditions", "accessControl", "cover", "markdown", "name", "base":
				out[name] = value
			}
		}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw) + "\n"
}

const machine = `[{"name":"m","users":[{"name":"root"}],"kernel":{"source":"6.1"},"drives":[{"source":"debian-12","mount":"/"}],"network":{"interfaces":[{"network":"local"}]}}]`

func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What the unmodified labctl 0.1.107 sends and reads.
func TestPlaygroundsOfTheReferenceClient(t *testing.T) {
	s := newStored(t)

	// create without a manifest: the base's definition under a new name.
	base := s.must("admin", "GET", "/playgrounds/debian-12?format=extended", "")
	for _, list := range []string{"networks", "machines", "tabs", "categories"} {
		if v, ok := base[list].([]any); !ok || len(v) == 0 {
			t.Errorf("the extended form has %s %v", list, base[list])
		}
	}
	if base["owner"] != "" {
		t.Errorf("an official playground is owned by %v", base["owner"])
	}
	copied := s.must("admin", "POST", "/playgrounds", request(s, base, map[string]any{"name": "copy", "base": "debian-12"}))
	name, _ := copied["name"].(string)
	if !strings.HasPrefix(name, "copy-") || copied["base"] != "debian-12" || copied["owner"] != "admin" {
		t.Errorf("made %v", copied)
	}

	// create with a manifest that has only title, machines and accessControl.
	own := `{"name":"own","base":"flexbox","title":"My own lab","description":"","categories":null,"networks":null,"machines":` + machine +
		`,"tabs":null,"initTasks":null,"initConditions":{},"registryAuth":"","accessControl":{"canList":["owner"],"canRead":["owner"],"canStart":["owner"]}}` + "\n"
	mine := s.must("admin", "POST", "/playgrounds", own)

	// manifest, update: unchanged.
	for _, name := range []string{name, mine["name"].(string)} {
		dump := s.must("admin", "GET", "/playgrounds/"+name+"?format=extended", "")
		after := s.must("admin", "PUT", "/playgrounds/"+name, request(s, dump, nil))
		if d := cmp.Diff(dump, after); d != "" {
			t.Errorf("update of %s: %s", name, d)
		}
		if d := cmp.Diff(dump, s.must("admin", "GET", "/playgrounds/"+name+"?format=extended", "")); d != "" {
			t.Errorf("after the update of %s: %s", name, d)
		}
	}

	// remove: any 2xx with JSON; then it is not found.
	s.must("admin", "DELETE", "/playgrounds/"+name, "")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if status, reply := s.ask("admin", method, "/playgrounds/"+name, "{}"); status != 404 {
			t.Errorf("%s after its end: %d %s", method, status, reply)
		}
	}
}

// A refusal is a 4xx whose plain text names every problem and its place.
func TestRefusedPlaygroundsSayEverything(t *testing.T) {
	s := newStored(t)
	definition := fields(t, `{"name":"x","base":"debian-12","title":"four","machines":`+machine+`,"accessControl":{"canRead":["everybody"]}}`)
	status, reply := s.ask("admin", "POST", "/playgrounds", request(s, definition, nil))
	want := `the manifest has 5 problem(s)
title: has 4 characters (write 5 to 120)
playground.accessControl.canList: missing (write "canList: [owner]" or more)
playground.accessControl.canRead[0]: "everybody" is not a principal (write owner, anyone, authenticated, user:<id> or student:<training>)
playground.accessControl.canStart: missing (write "canStart: [owner]" or more)
playground.machines[0].name: Machine m is not present in the base playground. ("debian-12" has debian-12; only flexbox takes any machines)
`
	if d := cmp.Diff(want, reply); status != 400 || d != "" {
		t.Errorf("%d\n%s", status, d)
	}
	for in, says := range map[string]string{"": "no body", "kind: playground": "cannot read request", `{"tabs":{}}`: "cannot read request", `{"title":7}`: "cannot read request"} {
		for _, at := range []string{"POST /playgrounds", "PUT /playgrounds/x"} {
			method, path, _ := strings.Cut(at, " ")
			if status, reply := s.ask("admin", method, path, in); status != 400 || !strings.Contains(reply, says) {
				t.Errorf("%s %q: %d %s", at, in, status, reply)
			}
		}
	}
}

func TestPlaygroundsOfOthers(t *testing.T) {
	s := newStored(t)
	make := func(who string) string {
		definition := fields(t, `{"name":"theirs","base":"flexbox","title":"Somebody's lab","machines":`+machine+`,"accessControl":`+who+`}`)
		return "/playgrounds/" + s.must("bob", "POST", "/playgrounds", request(s, definition, nil))["name"].(string)
	}
	secret := make(`{"canList":["owner"],"canRead":["owner"],"canStart":["owner"]}`)
	public := make(`{"canList":["anyone"],"canRead":["anyone"],"canStart":["owner"]}`)
	for _, c := range []struct {
		user, method, path, body string
		status                   int
	}{
		{"bob", "GET", secret, "", 200},
		{"carl", "GET", secret, "", 404},
		{"carl", "GET", secret + "?format=extended", "", 404},
		{"carl", "PUT", secret, "{}", 404},
		{"carl", "DELETE", secret, "", 404},
		{"carl", "GET", public, "", 200},
		{"carl", "GET", public + "?format=extended", "", 200},
		{"carl", "PUT", public, "{}", 403},
		{"carl", "DELETE", public, "", 403},
		{"carl", "DELETE", "/playgrounds/flexbox", "", 403},
		{"carl", "PUT", "/playgrounds/flexbox", "{}", 403},
		{"carl", "GET", "/playgrounds/..%2fflexbox", "", 404},
		{"carl", "GET", "/playgrounds?filter=nope", "", 400},
		{"admin", "GET", secret + "?format=extended", "", 200},
		{"admin", "PUT", secret, "{}", 400},
	} {
		if status, reply := s.ask(c.user, c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s %s: %d %s; want %d", c.user, c.method, c.path, status, reply, c.status)
		}
	}
	for user, want := range map[string]int{"carl": 1, "bob": 1} {
		status, reply := s.ask(user, "GET", "/playgrounds?filter=community", "")
		if n := strings.Count(reply, `"name":"theirs-`); status != 200 || n != want {
			t.Errorf("%s sees %d: %s", user, n, reply)
		}
	}
	if _, reply := s.ask("carl", "GET", "/playgrounds?filter=my-custom", ""); reply != "[]\n" {
		t.Errorf("carl's own: %s", reply)
	}
}

// What the catalog draws of an official playground is in the playground.
func TestCatalogHasTheCoversOfBases(t *testing.T) {
	s := newStored(t)
	status, reply := s.ask("bob", "GET", "/playgrounds?filter=base", "")
	var shown []api.Playground
	if err := json.Unmarshal([]byte(reply), &shown); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, reply)
	}
	covers := map[string]string{}
	for _, p := range shown {
		if p.Title != "" && p.Description != "" {
			covers[p.Name] = p.Cover
		}
	}
	for _, name := range playgrounds.Names() {
		if !strings.HasPrefix(covers[name], "data:image/svg+xml,") {
			t.Errorf("%s is not in the catalog with a title, a description and a cover: %q", name, covers[name])
		}
	}
}
