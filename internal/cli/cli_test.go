package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
	"sandlot/internal/server/servertest"
)

// buffer is a bytes.Buffer that goroutines may share.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// shellOf is labctl in a home directory of its own.
type shellOf struct {
	t    *testing.T
	home string
	env  map[string]string
	in   io.Reader
	ctx  context.Context
}

// newShell is logged in to the lab, if there is one.
func newShell(t *testing.T, l *servertest.Lab) *shellOf {
	s := &shellOf{t: t, home: t.TempDir(), env: map[string]string{}, ctx: t.Context()}
	if l != nil {
		if _, errs, code := s.run("auth", "login", "-s", servertest.Session, "-t", servertest.Token, "--endpoint", l.HTTP.URL); code != 0 {
			t.Fatalf("login: %d %s", code, errs)
		}
	}
	return s
}

func (s *shellOf) app(out, errs io.Writer) *App {
	a := New()
	a.In, a.Out, a.Err = strings.NewReader(""), out, errs
	if s.in != nil {
		a.In = s.in
	}
	a.Getenv = func(key string) string {
		if key == "HOME" {
			return s.home
		}
		return s.env[key]
	}
	a.Now = func() time.Time { return time.Date(2026, 1, 1, 0, 5, 0, 0, time.UTC) }
	a.Tune = func(c *client.Client) { c.Retry.First = time.Millisecond }
	return a
}

func (s *shellOf) run(args ...string) (out, errs string, code int) {
	var o, e buffer
	code = s.app(&o, &e).Run(s.ctx, args)
	return o.String(), e.String(), code
}

// must runs a command that has to succeed and returns its stdout.
func (s *shellOf) must(args ...string) string {
	s.t.Helper()
	out, errs, code := s.run(args...)
	if code != 0 {
		s.t.Fatalf("labctl %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// fails runs a command that has to end with a code and say something.
func (s *shellOf) fails(code int, says string, args ...string) string {
	s.t.Helper()
	out, errs, got := s.run(args...)
	if got != code || !strings.Contains(errs, says) {
		s.t.Errorf("labctl %s: exit %d, want %d with %q\nstdout: %s\nstderr: %s", strings.Join(args, " "), got, code, says, out, errs)
	}
	return errs
}

func TestLogin(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, nil)
	if out, errs, code := s.run("auth", "whoami"); code != 0 || out != "" || !strings.Contains(errs, "Not logged in") {
		t.Errorf("whoami before login: %d %q %q", code, out, errs)
	}
	s.fails(1, "go together", "auth", "login", "-s", "x")
	s.must("auth", "login", "-s", servertest.Session, "-t", servertest.Token, "--endpoint", l.HTTP.URL+"/")

	for path, mode := range map[string]os.FileMode{
		".config/labctl/config.yaml": 0o600, ".config/labctl": 0o700 | os.ModeDir,
		".ssh/iximiuz_labs_user": 0o600, ".ssh/iximiuz_labs_user.pub": 0o644, ".ssh": 0o700 | os.ModeDir,
	} {
		if info, err := os.Stat(filepath.Join(s.home, path)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want mode %v", path, info, err, mode)
		}
	}
	if key, _ := os.ReadFile(filepath.Join(s.home, ".ssh/iximiuz_labs_user.pub")); !strings.HasPrefix(string(key), "ssh-ed25519 ") || strings.Count(string(key), " ") != 1 || !strings.HasSuffix(string(key), "\n") {
		t.Errorf("public key is %q", key)
	}
	cfg, _ := os.ReadFile(filepath.Join(s.home, ".config/labctl/config.yaml"))
	if want := "base_url: " + l.HTTP.URL + "\napi_base_url: " + l.HTTP.URL + "/api\nsession_id: s1\naccess_token: at1\n"; !strings.HasPrefix(string(cfg), want) {
		t.Errorf("config is\n%s", cfg)
	}
	if got, want := s.must("auth", "me"), "userId: u-1\ngithubProfileId: \"\"\npreferredRegion: \"\"\npremiumAccess: null\n"; got != want {
		t.Errorf("whoami:\n%s", got)
	}
	s.fails(1, "already logged in", "auth", "login")

	s.env = map[string]string{"IXIMIUZ_SESSION_ID": "x", "IXIMIUZ_ACCESS_TOKEN": "y"}
	if _, errs, code := s.run("auth", "whoami"); code != 0 || !strings.Contains(errs, "expired") {
		t.Errorf("whoami with wrong credentials: %d %q", code, errs)
	}
	s.fails(1, "authentication required", "playground", "list")
	s.env = nil

	s.must("auth", "logout")
	if _, err := os.Stat(filepath.Join(s.home, ".ssh/iximiuz_labs_user")); err == nil {
		t.Error("logout left the key")
	}
	if _, errs, code := s.run("auth", "logout"); code != 0 || !strings.Contains(errs, "Not logged in") {
		t.Errorf("second logout: %d %q", code, errs)
	}
	s.fails(1, "no browser login yet", "auth", "login")
}

func TestConfigFile(t *testing.T) {
	for _, tt := range []struct{ name, file, endpoint, want string }{
		{"none", "", "", DefaultBaseURL + "/api"},
		{"flag", "", "http://x:1", "http://x:1/api"},
		{"file", "base_url: http://y\napi_base_url: http://y/v1\n", "", "http://y/v1"},
		{"flag over file", "api_base_url: http://y/api\n", "http://x", "http://x/api"},
		{"broken file", "base_url: [", "", DefaultBaseURL + "/api"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShell(t, nil)
			path := filepath.Join(s.home, ".iximiuz/labctl/config.yaml")
			if tt.file != "" {
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			a := s.app(io.Discard, io.Discard)
			a.endpoint = tt.endpoint
			if cfg, err := a.config(); err != nil || cfg.APIBaseURL != tt.want {
				t.Errorf("API is at %q, want %q (%v)", cfg.APIBaseURL, tt.want, err)
			}
		})
	}
	t.Run("another version's keys are kept", func(t *testing.T) {
		s := newShell(t, nil)
		a := s.app(io.Discard, io.Discard)
		if err := a.saveConfig(Config{BaseURL: "http://x", Rest: map[string]any{"future": 7}}); err != nil {
			t.Fatal(err)
		}
		if cfg, err := a.storedConfig(); err != nil || cfg.Rest["future"] != 7 {
			t.Errorf("%+v, %v", cfg, err)
		}
	})
}

// boot is a play that comes up.
func boot(l *servertest.Lab, id play.ID) {
	l.Ready(id)
	l.Change(id, func(p *api.Play) {
		for name, t := range p.Tasks {
			t.Status = api.TaskCompleted
			p.Tasks[name] = t
		}
	})
}

func TestStart(t *testing.T) {
	l := servertest.New(t)
	l.Boot = boot
	l.Catalog[0].InitConditions = &api.InitConditions{Values: []api.InitConditionValue{{Key: "a b", Nullable: true}}}
	s := newShell(t, l)

	out, errs, code := s.run("playground", "start", l.Catalog[0].Name, "-q", "--title", "demo", "-i", "a b=c=d")
	id := strings.TrimSpace(out)
	if _, err := play.ParseID(id); err != nil || code != 0 || errs != "" {
		t.Fatalf("start -q: %d %q %q", code, out, errs)
	}
	if got := l.Started()[0]; got.Title != "demo" || !got.SafetyDisclaimerConsent || got.InitConditions["a b"] != "c=d" {
		t.Errorf("sent %+v", got)
	}

	out, errs, code = s.run("p", "start", "flexbox")
	if code != 0 || len(strings.Fields(out)) != 1 {
		t.Fatalf("start: %d %q", code, out)
	}
	for _, line := range []string{"m1: volume 0.1s", "m1: network 0.2s", "m1: boot 0.3s", "m1: ready 0.4s", "labctl ssh " + strings.TrimSpace(out)} {
		if !strings.Contains(errs, line+"\n") {
			t.Errorf("progress lacks %q:\n%s", line, errs)
		}
	}

	var p api.Play
	if err := json.Unmarshal([]byte(s.must("playground", "start", "flexbox", "--output", "json")), &p); err != nil || p.State() != "RUNNING" {
		t.Errorf("-o json: %v %s", err, p.State())
	}

	l.Boot = nil
	s.must("playground", "start", "flexbox", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")
	s.fails(1, "there is no playground \"nosuch\"", "playground", "start", "nosuch")
	s.fails(1, "There are: flexbox", "playground", "start")
	s.fails(1, "KEY=VALUE", "playground", "start", "flexbox", "-i", "x")
	l.Refuse = api.Errorf(api.NoRoom, "the pool has 1 GiB left, the play needs 30 GiB")
	s.fails(1, "labctl: the pool has 1 GiB left, the play needs 30 GiB.\n", "playground", "start", "flexbox")
}

func TestStartAsksBeforeForeignCode(t *testing.T) {
	l := servertest.New(t)
	l.Boot = boot
	l.Catalog = append(l.Catalog, api.Playground{Name: "theirs", Owner: "u-2"}, api.Playground{Name: "mine", Owner: servertest.UserID})
	s := newShell(t, l)
	s.fails(1, "somebody else", "playground", "start", "theirs")
	if len(l.Started()) != 0 {
		t.Error("it was started anyway")
	}
	s.must("playground", "start", "theirs", "--safety-disclaimer-consent", "-q")
	s.must("playground", "start", "mine", "-q")
}

// Choices for a stored playground are checked before anything is sent.
func TestStartChecksChoices(t *testing.T) {
	l := servertest.New(t)
	l.Boot = boot
	l.Catalog = append(l.Catalog, api.Playground{Name: "choosy", InitConditions: &api.InitConditions{
		Values: []api.InitConditionValue{{Key: "Container runtime", Options: []string{"docker", "podman"}, Default: "docker"}},
	}})
	s := newShell(t, l)
	errs := s.fails(2, "2 problems in the init conditions; nothing was started", "playground", "start", "choosy", "-q", "-i", "Container runtime=lxc", "-i", "size=1")
	if !strings.Contains(errs, `"lxc" is not an option; options are docker, podman`) || !strings.Contains(errs, "unknown init condition; known are Container runtime") {
		t.Errorf("it says:\n%s", errs)
	}
	s.fails(2, "this playground has none", "playground", "start", "flexbox", "-q", "-i", "size=1")
	if len(l.Started()) != 0 {
		t.Error("something was started")
	}
	s.must("playground", "start", "choosy", "-q", "-i", "Container runtime=podman")
	if got := l.Started()[0].InitConditions["Container runtime"]; got != "podman" {
		t.Errorf("sent %q", got)
	}
}

const good = `kind: playground
title: Two machines
playground:
  networks:
    - {name: local, subnet: 172.16.0.0/24}
  machines:
    - name: alpha
      kernel: "6.1"
      users: [{name: root}]
      drives: [{source: debian-12, mount: /}]
      network: {interfaces: [{network: local}]}
    - name: beta
      users: [{name: root}]
      drives: [{source: debian-12, mount: /}]
      network: {interfaces: [{network: local}]}
  initTasks:
    hello: {init: true, machine: alpha, run: echo hello}
  initConditions:
    values: [{key: size, default: small, options: [small, large]}]
  registryAuth: u:p
`

func TestStartFromManifest(t *testing.T) {
	l := servertest.New(t)
	l.Boot = boot
	s := newShell(t, l)
	s.in = strings.NewReader(good)
	out, errs, code := s.run("playground", "start", "flexbox", "-f", "-", "-i", "size=large")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if !strings.Contains(errs, "task hello: completed") || !strings.Contains(errs, "beta: ready") {
		t.Errorf("progress:\n%s", errs)
	}
	got := l.Started()[0]
	if len(got.Machines) != 2 || got.Machines[0].Kernel.Source != "6.1" || got.Machines[1].Drives[0].Mount != "/" ||
		got.Networks[0].Subnet != "172.16.0.0/24" || !got.InitTasks["hello"].Init || got.RegistryAuth != "u:p" ||
		got.InitConditionSpec == nil || got.InitConditionSpec.Values[0].Key != "size" || got.InitConditions["size"] != "large" {
		raw, _ := json.MarshalIndent(got, "", " ")
		t.Errorf("sent %s", raw)
	}
}

func TestManifestWithProblems(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, l)
	file := filepath.Join(t.TempDir(), "lab.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.NewReplacer("172.16.0.0/24", "172.16.0.0/99", "name: beta", "name: alpha").Replace(good))
	errs := s.fails(2, "in the manifest; nothing was started", "playground", "start", "flexbox", "-f", file)
	if !strings.Contains(errs, file+":5:") || !strings.Contains(errs, file+":12:") {
		t.Errorf("problems lack their places:\n%s", errs)
	}
	if len(l.Started()) != 0 {
		t.Error("something was sent")
	}
	write(good)
	s.fails(2, "size", "playground", "start", "flexbox", "-f", file, "-i", "size=huge")
	s.fails(1, "cannot read manifest", "playground", "start", "flexbox", "-f", file+".no")

	// What only labd can know comes back with the file's places, too.
	refusal := api.Errorf(api.Invalid, "the manifest has problems")
	refusal.Problems = []api.Problem{{Path: "playground.machines[1].drives[0].source", Message: "no such image", Fix: "build it"}}
	l.Refuse = refusal
	errs = s.fails(2, "1 problem in the manifest", "playground", "start", "flexbox", "-f", file)
	if !strings.Contains(errs, file+":14:") || !strings.Contains(errs, "no such image") {
		t.Errorf("labd's problem lacks its place:\n%s", errs)
	}
	s.fails(2, "playground.machines[1].drives[0].source: no such image (build it)", "playground", "start", "flexbox")
}

func TestStartOfAPlayThatFails(t *testing.T) {
	l := servertest.New(t)
	l.Boot = func(l *servertest.Lab, id play.ID) {
		l.State(id, play.Starting)
		l.Change(id, func(p *api.Play) {
			p.Status.Machines[0].State = string(play.MachineFailed)
			p.Status.StateEvents = append(p.Status.StateEvents, api.StateEvent{State: "FAILED", Error: true, Message: "machine m1 crashed"})
		})
	}
	s := newShell(t, l)
	errs := s.fails(1, "labctl playground destroy", "playground", "start", "flexbox", "-q")
	for _, want := range []string{"machine m1 crashed\n", "machine m1 failed\n", "  | m1 boot-2 line 11\n", "  | m1 boot-2 line 30\n"} {
		if !strings.Contains(errs, want) {
			t.Errorf("lacks %q:\n%s", want, errs)
		}
	}
	if strings.Contains(errs, "line 10\n") || strings.Contains(errs, "boot-1") {
		t.Errorf("more than the last boot's last lines:\n%s", errs)
	}

	l.Boot = func(l *servertest.Lab, id play.ID) {
		l.Change(id, func(p *api.Play) { p.Tasks["a"] = api.PlayTask{Name: "a", Init: true, Status: api.TaskFailed} })
		l.Ready(id)
	}
	l.Details = []api.TaskDetails{
		{Name: "b", Machine: "m1", Status: api.TaskCompleted, Stdout: "not shown"},
		{Name: "a", Machine: "m2", Status: api.TaskFailed, ExitCode: 3, Message: "exit code 3", Stdout: strings.Repeat("line\n", 20) + "last\x1b[2J\n", Stderr: "oh no\n"},
	}
	s.in = strings.NewReader(good)
	errs = s.fails(1, `init task "a" failed`, "playground", "start", "flexbox", "-f", "-", "-q")
	want := "task a on machine m2 failed: exit code 3\nthe last of its stdout:\n" + strings.Repeat("  | line\n", 9) + "  | last[2J\nthe last of its stderr:\n  | oh no\n"
	if !strings.Contains(errs, want) || strings.Contains(errs, "not shown") {
		t.Errorf("the failed task is explained so:\n%s", errs)
	}
}

func TestWaitForTasks(t *testing.T) {
	l := servertest.New(t)
	l.Details = []api.TaskDetails{{Name: "later", Machine: "m", Status: api.TaskFailed, Message: "exit code 9"}}
	s := newShell(t, l)
	id := l.Add("demo", "m")
	set := func(init, later int) {
		l.Change(id, func(p *api.Play) {
			p.Tasks["first"] = api.PlayTask{Name: "first", Init: true, Status: init}
			p.Tasks["later"] = api.PlayTask{Name: "later", Status: later}
		})
	}
	l.Ready(id)
	set(api.TaskRunning, api.TaskBlocked)
	s.fails(1, "not completed within 50ms", "playground", "wait", string(id), "--timeout", "50ms")
	set(api.TaskCompleted, api.TaskRunning)
	s.must("playground", "wait", string(id), "--init-only")
	set(api.TaskCompleted, api.TaskFailed)
	if _, errs, code := s.run("playground", "wait", string(id)); code != 0 || !strings.Contains(errs, "task later on machine m failed: exit code 9") {
		t.Errorf("exit %d: %s", code, errs)
	}
	set(api.TaskCompleted, api.TaskCompleted)
	if _, errs, code := s.run("playground", "wait", string(id)); code != 0 || !strings.Contains(errs, "completed.") {
		t.Errorf("exit %d: %s", code, errs)
	}
	s.must("playground", "stop", string(id))
	s.fails(1, "STOPPED", "playground", "wait", string(id))
}

func TestInterruptedStart(t *testing.T) {
	l := servertest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := newShell(t, l)
	var errs buffer
	code := s.app(io.Discard, writer(func(b []byte) {
		_, _ = errs.Write(b)
		if strings.Contains(string(b), "is starting") {
			cancel()
		}
	})).Run(ctx, []string{"playground", "start", "flexbox"})
	if code != 130 || !strings.Contains(errs.String(), "End it: labctl playground destroy") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestEndingPlays(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, l)
	id := l.Add("demo", "m1")
	l.Ready(id)
	s.must("playground", "stop", string(id))
	l.Boot = boot
	if got := s.must("playground", "restart", "dem", "-q"); got != string(id)+"\n" {
		t.Errorf("restart printed %q", got)
	}
	s.fails(1, "no play with a title", "playground", "restart", "other")
	s.must("playground", "destroy", string(id))
	s.must("playground", "destroy", string(id))
	if got := s.must("playground", "list", "-q"); got != "" {
		t.Errorf("list shows %q", got)
	}
	if got := s.must("playground", "list", "-a"); !strings.Contains(got, "DESTROYED") {
		t.Errorf("list -a shows %q", got)
	}
	s.fails(1, "no play", "playground", "destroy", "ffffffffffffffffffffffff")
}

func TestSaveForkAndPlan(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, l)
	id := l.Add("demo", "m1")
	l.State(id, play.Stopped)
	if got := s.must("playground", "save", string(id), "my-lab", "-q"); got != "my-lab"+servertest.Suffix+"\n" {
		t.Errorf("save printed %q", got)
	}
	if got := s.must("playground", "save", string(id), "my-lab", "-o", "json", "--title", "Half done"); !strings.Contains(got, `"title": "Half done"`) {
		t.Errorf("save printed %q", got)
	}
	l.Boot = boot
	made := strings.TrimSpace(s.must("playground", "fork", string(id), "-q", "--title", "Another try"))
	if p := l.Play(play.ID(made)); p.Title != "Another try" || p.State() != string(play.Running) {
		t.Errorf("forked %+v", p)
	}
	s.fails(1, "no play", "playground", "fork", "ffffffffffffffffffffffff")
	golden(t, "plan.txt", s.must("auth", "plan"))
	if got := s.must("auth", "plan", "-o", "json"); !strings.Contains(got, `"storedPlays": 0`) {
		t.Errorf("plan printed %q", got)
	}
}

func TestShowing(t *testing.T) {
	l := servertest.New(t)
	l.Details = []api.TaskDetails{{Name: "c", Machine: "m2", Status: api.TaskFailed, Message: "exit code 3"}, {Name: "b", Machine: "m1", Status: api.TaskRunning}, {Name: "a", Machine: "m1", Status: api.TaskCompleted, Init: true, Stdout: "hi"}}
	s := newShell(t, l)
	id := l.Add("demo\x1b]0;evil\x07", "m1", "m2")
	l.Ready(id)
	l.Change(id, func(p *api.Play) {
		p.Tasks["a"] = api.PlayTask{Name: "a", Init: true, Status: api.TaskCompleted}
		p.Tasks["b"] = api.PlayTask{Name: "b", Status: api.TaskRunning}
	})
	replace := func(text string) string {
		return strings.ReplaceAll(strings.ReplaceAll(text, l.HTTP.URL+"/plays", "http://x"), string(id), "PLAY-ID-OF-24-CHARACTERS")
	}
	for _, tt := range []struct{ name, args string }{
		{"list", "playground list"}, {"list-everyone", "playground list --everyone"}, {"status", "playground status ID"}, {"status-json", "playground status ID -o json"},
		{"status-yaml", "playground status ID -o yaml"}, {"machines", "playground machines ID"},
		{"tasks", "playground tasks ID"}, {"tasks-json", "playground tasks ID -o json --kind init"}, {"tasks-name", "playground tasks ID -o name"},
		{"catalog", "playground catalog"}, {"catalog-quiet", "playground catalog -q"}, {"lifetime", "playground lifetime ID"},
		{"console", "playground machine console ID m1"}, {"help", "playground start --help"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			golden(t, tt.name+".txt", replace(s.must(strings.Fields(strings.ReplaceAll(tt.args, "ID", string(id)))...)))
		})
	}
	if got := s.must("playground", "list", "--owner", "nobody", "-q"); got != "" {
		t.Errorf("plays of nobody: %q", got)
	}
	for range 250 { // more than labd gives at once
		l.Add("one of many", "m1")
	}
	if got := strings.Fields(s.must("playground", "list", "--owner", servertest.UserID, "-q")); len(got) != 251 || got[250] != string(id) {
		t.Errorf("%d plays of the user", len(got))
	}
	s.must("playground", "lifetime", string(id), "90m")
	if got := s.must("playground", "lifetime", string(id)); got != "1h30m0s (ends in 1h30m0s)\n" {
		t.Errorf("lifetime: %q", got)
	}
	if got := s.must("playground", "lifetime", string(id), "-o", "json"); !strings.Contains(got, `"maxPlayTime": "1h30m0s"`) || !strings.Contains(got, `"expiresIn": 5400000`) {
		t.Errorf("lifetime as JSON: %q", got)
	}
	for _, verb := range []string{"reboot", "stop", "restart"} {
		s.must("playground", "machine", verb, string(id), "m2")
	}
	if got := strings.Join(l.Actions(), ","); got != "set_max_play_time,machine.reboot m2,machine.stop m2,machine.restart m2" {
		t.Errorf("actions: %s", got)
	}
	if out, _, code := s.run("playground", "tasks", string(id), "--wait", "--timeout", "1ms", "-o", "none"); code != 2 || out != "" {
		t.Errorf("unfinished tasks: exit %d, %q", code, out)
	}
	s.must("playground", "tasks", string(id), "--wait", "--kind", "init")
	s.fails(1, "want one of table, json, yaml", "playground", "status", string(id), "-o", "xml")
	s.fails(1, "no command", "playground", "fly")
	if out := s.must("__complete", "ssh", ""); !strings.Contains(out, string(id)) {
		t.Errorf("completion: %q", out)
	}
}
