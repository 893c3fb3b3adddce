package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/play"
	"sandlot/internal/server"
)

// sent is a reply without what differs from one to the next anyway.
func (f things) sent(method, path, authorization, body string, header ...string) (status int, text, headers string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.site.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := noRedirect.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} {
		res.Header.Del(name)
	}
	if err := res.Header.Write(&b); err != nil {
		f.t.Fatal(err)
	}
	return res.StatusCode, string(raw), b.String()
}

// What belongs to others cannot be told from what does not exist: the same
// status, headers and words, whatever is asked and however wrong the rest is.
func TestOthersAreUnknown(t *testing.T) {
	f := newHouse(t)
	bob, nobody := f.session(f.site.add(t, "bob")), "ffffffffffffffffffffffff"
	// Other people's names of things have the same shapes as these.
	unknown := map[string]string{"{id}": nobody, "{name}": "nosuch-ffffffff", "{port}": nobody, "{shell}": nobody, "{index}": "0", "{token}": nobody}
	tried := 0
	for _, rule := range server.Rules() {
		switch rule.Access {
		case "canStart", "canRead, canStart", "playground's owner", "play's owner":
		default:
			continue
		}
		if rule.Path == "/api/plays" && rule.Method == http.MethodPost {
			hers := f.body(rule.Method, rule.Path)
			name := strings.Split(hers, `"`)[3]
			status, text, headers := f.sent(rule.Method, rule.Path, bob, hers)
			status2, text2, headers2 := f.sent(rule.Method, rule.Path, bob, strings.Replace(hers, name, unknown["{name}"], 1))
			if status != 404 || status2 != 404 || strings.ReplaceAll(text, name, "X") != strings.ReplaceAll(text2, unknown["{name}"], "X") || headers != headers2 {
				t.Errorf("a start: %d %q\n%d %q", status, text, status2, text2)
			}
			tried++
			continue
		}
		pattern, hers := strings.Split(rule.Path, "/"), strings.Split(f.fill(rule.Path), "/")
		nothing := append([]string(nil), hers...)
		var renames []string
		for i, part := range pattern {
			if value, ok := unknown[part]; ok {
				nothing[i] = value
				renames = append(renames, hers[i], "X", value, "X")
			}
		}
		same := strings.NewReplacer(renames...)
		for _, body := range []string{f.body(rule.Method, rule.Path), "", "nonsense", `{"machine":"nosuch","action":7}`, strings.Repeat("[", 1000)} {
			for _, accept := range []string{"*/*", "application/json", "text/html"} {
				status, text, headers := f.sent(rule.Method, strings.Join(hers, "/"), bob, body, "Accept", accept, "X-Request-Id", "always-the-same")
				status2, text2, headers2 := f.sent(rule.Method, strings.Join(nothing, "/"), bob, body, "Accept", accept, "X-Request-Id", "always-the-same")
				if status != status2 || same.Replace(text) != same.Replace(text2) || headers != headers2 || status < 400 || status == 403 {
					t.Errorf("%s %s with %.20q: another's: %d %q\n%s\nnobody's: %d %q\n%s", rule.Method, rule.Path, body, status, text, headers, status2, text2, headers2)
				}
			}
		}
		tried++
	}
	if tried < 20 {
		t.Errorf("only %d routes were tried", tried)
	}
	// An access token of ann's, in bob's hands.
	made, err := f.site.people.NewToken(t.Context(), f.ann, api.CreateToken{Name: "t", Scope: api.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	status, text, _ := f.sent("DELETE", "/api/oauth/tokens/"+made.ID, bob, "")
	status2, text2, _ := f.sent("DELETE", "/api/oauth/tokens/"+nobody, bob, "")
	if status != 404 || status2 != 404 || strings.ReplaceAll(text, made.ID, "X") != strings.ReplaceAll(text2, nobody, "X") {
		t.Errorf("%d %q\n%d %q", status, text, status2, text2)
	}
}

// Credentials that are no good open nothing, on any route, and all read alike.
func TestBadCredentialsOpenNothing(t *testing.T) {
	f := newHouse(t)
	ctx, people := t.Context(), f.site.people
	bad := map[string]string{
		"garbage": "Basic !!!", "no colon": "Basic YWJj", "another scheme": "Digest x", "an empty token": "Bearer ", "a made-up token": "Bearer sandlot_0000",
		"a made-up session": basic("00000000000000000000000000000000", "x"), "an empty session": basic("", ""),
	}
	long := time.Now().Add(-400 * 24 * time.Hour)
	people.Now = func() time.Time { return long }
	bad["an expired session"], bad["an expired token"] = f.session(f.ann), f.token(api.Scopes...)
	people.Now = time.Now
	ended, err := people.NewUserSession(ctx, f.ann, api.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	bad["another session's token"] = basic(f.site.admin.SessionID, ended.AccessToken)
	if err := people.EndSession(ctx, f.ann, ended.ID); err != nil {
		t.Fatal(err)
	}
	bad["an ended session"] = basic(ended.ID, ended.AccessToken)
	revoked, err := people.NewToken(ctx, f.ann, api.CreateToken{Name: "t", Scope: api.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	bad["a token's id as its secret"] = "Bearer " + revoked.ID
	if err := people.RevokeToken(ctx, f.ann, revoked.ID); err != nil {
		t.Fatal(err)
	}
	bad["a revoked token"] = "Bearer " + revoked.AccessToken
	pending, _, err := people.NewSession(ctx, api.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	bad["a pending session"] = basic(pending.ID, pending.AccessToken)
	cookie, _, err := people.SignIn(ctx, "ann", password, api.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	id, secret, _ := strings.Cut(cookie, ".")
	bad["a browser's session as a client's"] = basic(id, secret)
	f.site.add(t, "gone")
	bad["a disabled user's session"] = f.session(api.Me{ID: "gone"})
	if err := people.SetDisabled(ctx, "gone", true); err != nil {
		t.Fatal(err)
	}
	for _, rule := range server.Rules() {
		if rule.Page || rule.Access == "anyone" || rule.Access == "ticket" {
			continue
		}
		path, want := f.fill(rule.Path), ""
		for name, authorization := range bad {
			// From another host, where operators need credentials, too.
			status, text, _ := f.sent(rule.Method, path, authorization, f.body(rule.Method, rule.Path), "X-Forwarded-For", "192.0.2.1")
			if rule.Access == "the session itself" {
				if status != 401 {
					t.Errorf("%s %s with %s: %d", rule.Method, rule.Path, name, status)
				}
				continue
			}
			if strings.HasPrefix(authorization, "Basic ") && name != "garbage" && name != "no colon" {
				if want == "" {
					want = text
				}
				if text != want {
					t.Errorf("%s %s with %s: %q, with another %q", rule.Method, rule.Path, name, text, want)
				}
			}
			if status != 401 {
				t.Errorf("%s %s with %s: %d %s", rule.Method, rule.Path, name, status, text)
			}
		}
		for name, value := range map[string]string{"another browser's": "x.y", "a client's session": ended.ID + "." + ended.AccessToken, "nothing": ""} {
			if status, _, _ := f.sent(rule.Method, path, "", "{}", "Cookie", "sandlot_session="+value, "X-Forwarded-For", "192.0.2.1"); status != 401 {
				t.Errorf("%s %s with the cookie of %s: %d", rule.Method, rule.Path, name, status)
			}
		}
	}
}

// Tickets open one thing of one play: not another's, not twice where once is
// said, and nothing after the play's end.
func TestTicketsAreForOnePlay(t *testing.T) {
	f := newHouse(t)
	ctx := t.Context()
	start := func(who api.Me) api.Play {
		p, err := f.control.Start(ctx, who, api.StartPlay{Playground: "flexbox", Machines: machines()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	bob := f.site.add(t, "bob")
	hers, his := start(f.ann), start(bob)
	expose := func(who api.Me, p api.Play) api.Port {
		port, err := f.control.ExposePort(ctx, who, play.ID(p.ID), api.Port{Machine: "m", Number: 80})
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	herPort, hisPort := expose(f.ann, hers), expose(bob, his)
	// bob's own link, tried at ann's port, and ann's port through bob's play.
	link := decode[api.Conn](t, f.site.call(t, "POST", "/api/plays/"+his.ID+"/ports/"+hisPort.ID+"/links", f.session(bob), "")).URL
	code := link[strings.Index(link, "?"):]
	if status, _, headers := f.sent("GET", "/.sandlot/enter"+code, "", "", "Host", herPort.ID+".localhost"); status != 404 || strings.Contains(headers, "Set-Cookie") {
		t.Errorf("his code at her port: %d\n%s", status, headers)
	}
	for _, path := range []string{
		"/api/plays/" + his.ID + "/ports/" + herPort.ID + "/links", "/api/plays/" + hers.ID + "/ports/" + hisPort.ID + "/links",
	} {
		if status, text, _ := f.sent("POST", path, f.session(bob), ""); status != 404 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text, _ := f.sent("DELETE", "/api/plays/"+his.ID+"/ports/"+herPort.ID, f.session(bob), ""); status != 404 {
		t.Errorf("her port removed through his play: %d %s", status, text)
	}
	// A signed-in stranger at her private port hears what is heard where nothing is.
	if status, text, _ := f.sent("GET", "/", f.session(bob), "", "Host", herPort.ID+".localhost"); status != 404 {
		t.Errorf("bob at her port: %d %s", status, text)
	}
	if status, text, _ := f.sent("GET", "/exposed/"+herPort.ID+"/enter", f.session(bob), ""); status != 404 {
		t.Errorf("bob is handed over to her port: %d %s", status, text)
	}
}
