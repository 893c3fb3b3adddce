package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// What the reference client sends, and one line of output.
func TestAuthToken(t *testing.T) {
	var sent []string
	labd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = append(sent, r.Method+" "+r.URL.Path+" "+strings.TrimSpace(string(body)))
		switch r.Method {
		case http.MethodGet:
			_, _ = io.WriteString(w, `[{"id":"7","name":"ci","scope":["account:read"],"expiresAt":"2026-01-01T00:00:00.000Z"}]`)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"accessToken": "secret", "id": "7", "url": "http://x/signin/y"})
		}
	}))
	defer labd.Close()
	sh := newShell(t, nil)
	run := func(want string, args ...string) {
		t.Helper()
		var out, errs strings.Builder
		a := sh.app(&out, &errs)
		get := a.Getenv
		a.Getenv = func(k string) string {
			switch k {
			case "IXIMIUZ_SESSION_ID", "IXIMIUZ_ACCESS_TOKEN":
				return "x"
			}
			return get(k)
		}
		if code := a.Run(t.Context(), append(args, "--endpoint", labd.URL)); code != 0 || out.String() != want {
			t.Errorf("%v: exit %d, %q, %s", args, code, out.String(), errs.String())
		}
	}
	run("secret\n", "auth", "token", "-q", "--name", "n", "--expires-in", "7", "--scope", "playground:read")
	run("ID   NAME   SCOPE          EXPIRES\n7    ci     account:read   2026-01-01T00:00:00.000Z\n", "auth", "token", "list")
	run("", "auth", "token", "revoke", "7")
	run("http://x/signin/y\n", "auth", "signin-url")
	if want := []string{
		`POST /api/oauth/tokens {"name":"n","scope":["playground:read"],"expiresInDays":7}`,
		"GET /api/oauth/tokens ", "DELETE /api/oauth/tokens/7 ", "POST /api/auth/signin-url ",
	}; !slices.Equal(sent, want) {
		t.Errorf("sent %q", sent)
	}
}
