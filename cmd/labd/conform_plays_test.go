package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/account"
)

// withTasks adds init tasks and a choice to custom.
const withTasks = `
  networks:
    - name: local
      subnet: 172.16.0.0/24
  initConditions:
    values:
      - key: k
        default: a
        options: [a, v]
  initTasks:
    first:
      init: true
      machine: box
      user: laborant
      run: echo one
    second:
      init: true
      machine: box
      user: laborant
      needs: [first]
      run: echo two
    only-v:
      init: true
      machine: box
      user: laborant
      conditions:
        - key: k
          value: v
      run: echo three
`

func (r *rehearsal) play(t *testing.T, id string) api.Play {
	t.Helper()
	status, text, _ := r.ask(t, "GET", "/plays/"+id, "")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	return decodeReply[api.Play](t, text)
}

// plays counts what was ever started.
func (r *rehearsal) plays(t *testing.T) int {
	t.Helper()
	_, text, _ := r.ask(t, "GET", "/plays", "")
	return len(decodeReply[[]api.Play](t, text))
}

func (c *labctl) begin(args ...string) string {
	c.t.Helper()
	out := c.must(append([]string{"playground", "start"}, append(args, "-q")...)...)
	if !regexp.MustCompile(`^[0-9a-f]{24}\n$`).MatchString(out) {
		c.t.Fatalf("start prints %q", out)
	}
	return strings.TrimSpace(out)
}

func TestConformStart(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		mark := r.requests.mark()
		id := c.begin("docker")
		seen, _ := r.requests.since(mark)
		all := strings.Join(seen, "\n")
		for _, want := range []string{"GET /api/playgrounds/docker", "POST /api/plays", "POST /api/plays/" + id + "/conns", "GET /conns/"} {
			if !strings.Contains(all, want) {
				t.Errorf("start does not ask %q but\n%s", want, all)
			}
		}
		if origin := r.requests.origin["conns"]; c.reference() && origin != "https://cli."+r.base {
			t.Errorf("the origin of the play connection is %q", origin)
		}
		p := r.play(t, id)
		if m, _ := p.Status.Machine("docker-01"); !m.Is(api.ConditionReady) {
			t.Errorf("start has ended before the machine is ready: %+v", p.Status)
		}
		c.must("ssh", id, "--", "true")

		// Init tasks, and choices.
		tasky := strings.TrimSpace(c.must("playground", "create", "tasky", "--base", "flexbox", "-f", c.file(t, "tasks.yaml", custom+withTasks), "-q"))
		done := c.begin(tasky, "-i", "k=v", "--title", "demo")
		if p := r.play(t, done); p.Title != "demo" || len(p.Tasks) != 3 || p.Tasks["only-v"].Status != api.TaskCompleted || p.Machines[0].Name != "box" {
			t.Errorf("%q has tasks %+v", p.Title, p.Tasks)
		}
		page := r.base + "/plays/" + done
		if out := c.must("playground", "list"); !strings.Contains(out, "demo") || !strings.Contains(out, page) {
			t.Errorf("list: %s", out)
		}
		if out := c.must("playground", "status", done, "-o", "json"); !strings.Contains(out, `"pageUrl": "`+page+`"`) {
			t.Errorf("status: %s", out)
		}
		if out := c.must("playground", "tasks", done, "-o", "json"); !regexp.MustCompile(`(?s)^\{.*"second": \{.*"status": 40`).MatchString(out) {
			t.Errorf("tasks: %s", out)
		}
		c.must("playground", "tasks", done, "--wait", "--timeout", "60s", "-o", "none")
		c.must("playground", "wait", done, "--init-only")
		failing, _, _ := strings.Cut(strings.Replace(withTasks, "run: echo two", "run: exit 1", 1), "    only-v:")
		bad := c.begin("flexbox", "-f", c.file(t, "failing.yaml", custom+failing), "--skip-wait-init")
		if p := r.play(t, bad); p.Machines[0].Name != "box" {
			t.Errorf("start -f: %+v", p.Machines)
		}
		unmet := c.begin(tasky, "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")
		if out := c.must("playground", "tasks", unmet); strings.Contains(out, "only-v") || !strings.Contains(out, "first") {
			t.Errorf("a task whose condition is not met: %s", out)
		}
		if _, errs, code := c.run("", "playground", "tasks", bad, "--wait", "--fail-fast", "--timeout", "30s", "-o", "none"); code != 2 {
			t.Errorf("tasks --wait of a failed one: %d %s", code, errs)
		}

		// At once, and without a socket.
		mark = r.requests.mark()
		r.pause()
		hasty := c.begin("docker", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")
		if seen, _ := r.requests.since(mark); strings.Contains(strings.Join(seen, "\n"), "/conns") {
			t.Errorf("a start that waits for nothing asks for %q", seen)
		}
		r.release()
		if p := r.play(t, c.begin("docker", "--backend", "firecracker", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")); len(p.Machines) != 1 {
			t.Errorf("--backend: %+v", p.Machines)
		}

		// Refusals.
		other, err := r.people.Add(t.Context(), "ann", "a long enough one", api.RoleUser)
		if err != nil {
			t.Fatal(err)
		}
		anyone := []string{"anyone"}
		_, definition, _ := r.ask(t, "GET", "/playgrounds/docker?format=extended", "")
		base := decodeReply[api.Playground](t, definition)
		hers, err := r.control.CreatePlayground(t.Context(), other, api.CreatePlayground{Name: "hers", Base: "docker", PlaygroundSpec: api.PlaygroundSpec{
			Title: "A lab of hers", Machines: base.Machines, AccessControl: &api.AccessControl{CanList: anyone, CanRead: anyone, CanStart: anyone},
		}})
		if err != nil {
			t.Fatal(err)
		}
		before := r.plays(t)
		_, _, _ = c.run("", "playground", "start", hers.Name)
		if now := r.plays(t); now != before {
			t.Errorf("somebody else's playground was started without consent")
		}
		c.begin(hers.Name, "--safety-disclaimer-consent", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")
		if _, errs, code := c.run("", "playground", "start", "nosuch"); code != 1 || !strings.Contains(errs, "not found") && !strings.Contains(errs, "there is no playground") {
			t.Errorf("nosuch: %d %s", code, errs)
		}
		r.requests.interpose(func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPost && req.URL.Path == "/api/plays" {
				http.Error(w, "you have 3 plays, the most there may be", http.StatusForbidden)
				return true
			}
			return false
		})
		c.fails(1, "you have 3 plays, the most there may be", "playground", "start", "docker")
		r.requests.interpose(nil)

		// Lists and shows.
		if out := c.must("playground", "list", "-q"); !strings.Contains(out, id+"\n") {
			t.Errorf("list -q: %s", out)
		}
		for _, p := range decodeReply[[]api.Play](t, c.must("playground", "list", "-o", "json")) {
			if p.ID == "" || len(p.Machines) == 0 {
				t.Errorf("list has %+v", p)
			}
		}
		status := decodeReply[struct {
			State    string
			Active   bool
			Machines []struct {
				Name  string
				Ready bool
			}
		}](t, c.must("playground", "status", id, "-o", "json"))
		if status.State != "RUNNING" || !status.Active || len(status.Machines) != 1 || !status.Machines[0].Ready {
			t.Errorf("status: %+v", status)
		}
		if out := c.must("playground", "machines", id); !regexp.MustCompile(`docker-01\s+RUNNING`).MatchString(out) {
			t.Errorf("machines: %s", out)
		}
		c.must("playground", "lifetime", id, "90m")
		if out := c.must("playground", "lifetime", id); !regexp.MustCompile(`1h30m`).MatchString(out) {
			t.Errorf("lifetime: %s", out)
		}
		c.must("playground", "persist", id)
		if out := c.must("__complete", "ssh", ""); !strings.Contains(out, id) || !strings.Contains(out, hasty) {
			t.Errorf("completion: %s", out)
		}
	})
}

func TestConformLifecycle(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		id := c.begin("pair", "--title", "demo of a pair")
		c.must("ssh", id, "--", "echo kept >file")
		host := r.machine(id, 0)
		boots := func() int { return r.world.Starts(host) }
		boot := r.world.Guest(host).BootID()
		c.must("playground", "machine", "reboot", id, "one")
		eventually(t, "another boot", func() bool { g := r.world.Guest(host); return g != nil && g.BootID() != boot })
		eventually(t, "readiness after the reboot", func() bool {
			m, _ := r.play(t, id).Status.Machine("one")
			return m.Is(api.ConditionReady)
		})
		if out := c.must("ssh", id, "--", "cat file"); out != "kept\n" {
			t.Errorf("after a reboot: %q", out)
		}
		if out := c.must("playground", "machine", "console", id, "one"); strings.Count(out, "boot-") < 2 {
			t.Errorf("consoles: %s", out)
		}
		journal := c.start("playground", "machine", "journal", id, "one", "-n", "5")
		journal.says(`journalctl .*--lines=5`)
		journal.interrupt()
		stateIs := func(want string) func() bool {
			return func() bool {
				return regexp.MustCompile(`one\s+` + want).MatchString(c.must("playground", "machines", id))
			}
		}
		c.must("playground", "machine", "stop", id, "one")
		eventually(t, "a stopped machine", stateIs("STOPPED"))
		c.must("playground", "machine", "restart", id, "one")
		eventually(t, "a running machine", stateIs("RUNNING"))

		c.must("playground", "stop", id)
		if s := r.play(t, id).State(); s != "STOPPED" {
			t.Errorf("after stop: %s", s)
		}
		if out := c.must("playground", "list", "-q"); !strings.Contains(out, id) {
			t.Errorf("a stopped play is not in the list: %s", out)
		}
		if _, errs, code := c.run("", "ssh", id, "--", "true"); code == 0 || !strings.Contains(errs, "stopped") {
			t.Errorf("ssh to a stopped play: %d %s", code, errs)
		}
		before := boots()
		if out := c.must("playground", "restart", id, "-q"); strings.TrimSpace(out) != id {
			t.Errorf("restart prints %q", out)
		}
		if boots() != before+1 {
			t.Errorf("%d boots, there were %d", boots(), before)
		}
		eventually(t, "its sshd", func() bool { m, _ := r.play(t, id).Status.Machine("one"); return m.Is(api.ConditionReady) })
		if out := c.must("ssh", id, "--", "cat file"); out != "kept\n" {
			t.Errorf("after stop and restart: %q", out)
		}
		c.must("playground", "stop", id)
		if out := c.must("playground", "restart", "demo of", "-q"); strings.TrimSpace(out) != id {
			t.Errorf("restart by title prints %q", out)
		}

		began := time.Now()
		c.must("playground", "destroy", id)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("destroy took %s", took)
		}
		if out := c.must("playground", "list", "-q"); strings.Contains(out, id) {
			t.Errorf("a destroyed play is in the list: %s", out)
		}
		if out := c.must("playground", "list", "-a"); !strings.Contains(out, id) || !strings.Contains(strings.ToUpper(out), "DESTROYED") {
			t.Errorf("list -a: %s", out)
		}
	})
}

// Credentials, limits and repeats, as raw requests: what both clients rely on.
func TestConformRequests(t *testing.T) {
	t.Parallel()
	r := rehearse(t)
	c := r.client(t, "ours", "").signedIn()
	for _, call := range []string{
		"GET /auth/me?authenticate=true", "GET /playgrounds", "POST /plays", "GET /plays", "GET /plays/0123456789abcdef01234567",
		"POST /plays/0123456789abcdef01234567/actions", "POST /plays/0123456789abcdef01234567/tunnels", "GET /plays/0123456789abcdef01234567/ports",
		"PATCH /account/preferences", "POST /oauth/tokens", "GET /search?search=x",
	} {
		method, path, _ := strings.Cut(call, " ")
		if status, text, _ := r.ask(t, method, path, "{}", "wrong", "wrong"); status != http.StatusUnauthorized {
			t.Errorf("%s with wrong credentials: %d %s", call, status, text)
		}
	}
	limited := 0
	r.requests.interpose(func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/api/auth/me" || limited > 0 {
			return false
		}
		limited++
		w.Header().Set("X-Ratelimit-Reset", "2")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	began := time.Now()
	if out := c.must("auth", "whoami"); !strings.Contains(out, account.AdminID) {
		t.Errorf("whoami: %s", out)
	}
	if took := time.Since(began); took < 2*time.Second || limited != 1 {
		t.Errorf("a call that was to wait 2s took %s", took)
	}
	// A POST that is answered "not yet" once: the repeat has the same body and
	// is a request of its own.
	var bodies []string
	r.requests.interpose(func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/api/plays" || req.Method != http.MethodPost {
			return false
		}
		bodies = append(bodies, req.Header.Get("Content-Length"))
		if len(bodies) == 1 {
			_, _ = w, http.NoBody
			buf := make([]byte, 1<<10)
			n, _ := req.Body.Read(buf)
			bodies[0] = string(buf[:n])
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	c.begin("docker", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")
	if len(bodies) != 2 || r.plays(t) != 1 {
		t.Errorf("%d requests made %d plays", len(bodies), r.plays(t))
	}
}
