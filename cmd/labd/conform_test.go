package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sandlot/api"
	"sandlot/internal/account"
)

// These are the lines of the conformance checklist (docs/api-conformance.md),
// done by labctl against a whole labd.

var csrf = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// confirm says yes on the page of a login.
func confirm(t *testing.T, b *http.Client, authURL string) {
	t.Helper()
	_, text := get(t, b, authURL)
	field := csrf.FindStringSubmatch(text)
	if field == nil {
		t.Fatalf("no form at %s:\n%s", authURL, text)
	}
	res, err := b.PostForm(authURL, url.Values{"csrf": {field[1]}, "answer": {"yes"}})
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
}

func (c *labctl) config(t *testing.T) map[string]string {
	t.Helper()
	file := ".config/labctl/config.yaml"
	if c.reference() {
		file = ".iximiuz/labctl/config.yaml"
	}
	raw, err := os.ReadFile(filepath.Join(c.home, file))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]string
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestConformAuth(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		mark := r.requests.mark()
		c.must("auth", "whoami", "--endpoint", r.base)
		if seen, _ := r.requests.since(mark); len(seen) != 0 {
			t.Errorf("whoami without credentials asks for %q", seen)
		}

		mark = r.requests.mark()
		login := c.start("auth", "login", "--endpoint", r.base)
		authURL := login.says(`(` + regexp.QuoteMeta(r.base) + `/cli-auth/\S+)`)[1]
		polls := func() (n int) {
			seen, _ := r.requests.since(mark)
			for _, s := range seen {
				if strings.HasPrefix(s, "GET /api/sessions/") {
					n++
				}
			}
			return n
		}
		eventually(t, "two polls before the confirmation", func() bool { return polls() >= 2 })
		confirm(t, r.browser(t), authURL)
		<-login.done
		if login.cmd.ProcessState.ExitCode() != 0 {
			t.Fatalf("login: %s", login.out)
		}
		config := c.config(t)
		if config["base_url"] != r.base || config["api_base_url"] != r.base+"/api" || config["session_id"] == "" || config["access_token"] == "" {
			t.Errorf("config: %v", config)
		}
		if key, err := os.ReadFile(filepath.Join(c.home, ".ssh/iximiuz_labs_user.pub")); err != nil || !strings.HasPrefix(string(key), "ssh-ed25519 ") {
			t.Errorf("%q, %v", key, err)
		}
		if out := c.must("auth", "whoami"); !strings.Contains(out, "userId: "+account.AdminID) {
			t.Errorf("whoami: %s", out)
		}

		mark = r.requests.mark()
		c.fails(1, "lready logged in", "auth", "login", "--endpoint", r.base)
		if seen, _ := r.requests.since(mark); len(seen) != 1 {
			t.Errorf("a second login asks for %q", seen)
		}

		if out := c.must("auth", "token", "-q"); strings.Count(out, "\n") != 1 || len(out) < 30 {
			t.Errorf("token: %q", out)
		}
		_, before, _ := r.ask(t, "GET", "/oauth/tokens", "")
		c.must("auth", "token", "--expires-in", "7", "--scope", "playground:read", "--name", "short")
		_, after, _ := r.ask(t, "GET", "/oauth/tokens", "")
		if made := decodeReply[[]api.OAuthToken](t, after); len(made) != len(decodeReply[[]api.OAuthToken](t, before))+1 ||
			!strings.Contains(after, `"name":"short"`) || !strings.Contains(after, `"scope":["playground:read"]`) {
			t.Errorf("tokens: %s", after)
		}
		link := strings.TrimSpace(c.must("auth", "signin-url"))
		for i, want := range []int{http.StatusOK, http.StatusGone} {
			if status, text := get(t, r.newcomer(t), link); status != want && (i == 0 || status < 400) {
				t.Errorf("use %d of the link: %d %s", i+1, status, text)
			}
		}

		stranger := r.client(t, c.name, c.original())
		stranger.env = append(stranger.env, "IXIMIUZ_SESSION_ID=x", "IXIMIUZ_ACCESS_TOKEN=y")
		if out, errs, code := stranger.run("", "auth", "whoami", "--endpoint", r.base); code != 0 || !strings.Contains(out+errs, "expired") {
			t.Errorf("wrong credentials: %d %s%s", code, out, errs)
		}
		if status, _, _ := r.ask(t, "GET", "/auth/me?authenticate=true", "", "x", "y"); status != http.StatusUnauthorized {
			t.Errorf("wrong credentials: %d", status)
		}

		session, token := config["session_id"], config["access_token"]
		c.must("auth", "logout")
		if status, _, _ := r.ask(t, "GET", "/auth/me", "", session, token); status != http.StatusUnauthorized {
			t.Errorf("after the logout: %d", status)
		}
		made, err := r.people.NewUserSession(t.Context(), api.Me{ID: account.AdminID}, api.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		c.must("auth", "login", "--endpoint", r.base, "-s", made.ID, "-t", made.AccessToken)
		c.must("auth", "whoami")
		if out := c.feed(`{"region":"eu"}`, "api", "/account/preferences", "-X", "PATCH", "--input", "-"); !strings.Contains(out, `"preferredRegion":"eu"`) {
			t.Errorf("preferences: %s", out)
		}
		if err := r.people.EndSession(t.Context(), api.Me{ID: account.AdminID}, made.ID); err != nil {
			t.Fatal(err)
		}
		c.must("auth", "logout") // of a session that labd has forgotten
	})
}

// original is the program that a client's link leads to, "" for ours.
func (c *labctl) original() string {
	if !c.reference() {
		return ""
	}
	return os.Getenv("LABCTL_REFERENCE")
}

// custom is a manifest with tasks and choices.
const custom = `kind: playground
title: A lab of my own
playground:
  machines:
    - name: box
      users:
        - name: root
        - name: laborant
          default: true
      kernel: "6.1"
      drives:
        - source: debian-12
          mount: /
      network:
        interfaces:
          - network: local
  accessControl:
    canList: [owner]
    canRead: [owner]
    canStart: [owner]
`

func (c *labctl) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(c.home, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConformPlaygrounds(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		names := strings.Fields(c.must("playground", "catalog", "-q"))
		for _, want := range []string{"alpine", "docker", "flexbox"} {
			if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+want+" ") {
				t.Errorf("the catalog has no %s: %q", want, names)
			}
		}
		if out := c.must("playground", "manifest", "docker"); !regexp.MustCompile(`(?s)kind: playground.*networks:\s+- .*machines:\s+- .*tabs:\s+- `).MatchString(out) {
			t.Errorf("manifest: %s", out)
		}
		mine := strings.TrimSpace(c.must("playground", "create", "mine", "--base", "docker", "-q"))
		if !strings.HasPrefix(mine, "mine") {
			t.Fatalf("created %q", mine)
		}
		c.must("playground", "manifest", mine)
		if out := c.must("search", "docker", "-o", "json"); !strings.Contains(out, `"pageUrl": "`+r.base+`/playgrounds/docker"`) {
			t.Errorf("search: %s", out)
		}
		second := strings.TrimSpace(c.must("playground", "create", "mine2", "--base", "flexbox", "-f", c.file(t, "m.yaml", custom), "-q"))
		if out := strings.Fields(c.must("playground", "catalog", "-q", "-f", "my-custom")); strings.Join(out, " ") != mine+" "+second {
			t.Errorf("my own are %q", out)
		}
		if out := strings.Fields(c.must("playground", "catalog", "-q", "-f", "base")); len(out) == 0 || strings.Contains(strings.Join(out, " "), mine) {
			t.Errorf("bases are %q", out)
		}
		_, definition, _ := r.ask(t, "GET", "/playgrounds/"+second+"?format=extended", "")
		if !strings.Contains(definition, `"kernel":{"source":"6.1"}`) {
			t.Errorf("a kernel that was a string: %s", definition)
		}
		c.must("playground", "update", second, "-f", c.file(t, "dump.yaml", c.must("playground", "manifest", second)), "-q")
		if _, again, _ := r.ask(t, "GET", "/playgrounds/"+second+"?format=extended", ""); again != definition {
			t.Errorf("a dump that is given back changes\n%s\n%s", definition, again)
		}
		// A folder, as the reference client has it.
		folder := filepath.Join(c.home, "folder")
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		c.file(t, "folder/manifest.yaml", strings.Replace(c.must("playground", "manifest", second), "of my own", "from a folder", 1))
		c.must("playground", "update", second, "-d", folder, "--force", "-q")
		if _, now, _ := r.ask(t, "GET", "/playgrounds/"+second, ""); !strings.Contains(now, "from a folder") {
			t.Errorf("update -d: %s", now)
		}
		c.must("playground", "remove", "-f", mine)
		c.fails(1, mine, "playground", "remove", mine)
		if _, errs, code := c.run("", "playground", "manifest", mine); code != 1 || !strings.Contains(errs, "not found") && !strings.Contains(errs, "there is no") {
			t.Errorf("a removed one: %d %s", code, errs)
		}
		c.fails(1, "region is set", "playground", "region")
		c.must("playground", "region", "ap")
		if out := c.must("playground", "region"); strings.TrimSpace(out) != "ap" {
			t.Errorf("region: %q", out)
		}
		if out := c.must("search", "-q", "docker"); !strings.Contains(out, "playground/docker\n") {
			t.Errorf("search: %q", out)
		}
		if _, _, header := r.ask(t, "GET", "/search?search=docker", ""); header.Get("X-Total-Count") == "" {
			t.Error("no X-Total-Count")
		}
		var me api.Me
		if out := c.must("api", "/auth/me"); json.Unmarshal([]byte(out), &me) != nil || me.ID != account.AdminID {
			t.Errorf("api: %s", out)
		}
		if _, _, code := c.run("", "api", "/nosuch"); code != 1 {
			t.Errorf("api /nosuch: %d", code)
		}
		if out := c.must("__complete", "playground", "start", ""); !strings.Contains(out, "docker") || !strings.Contains(out, second) {
			t.Errorf("completion: %s", out)
		}
	})
}
