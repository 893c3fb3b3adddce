package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/account"
	"sandlot/internal/bender"
	"sandlot/internal/cli"
	"sandlot/internal/control"
	"sandlot/internal/gateway"
	"sandlot/internal/host/ca"
	"sandlot/internal/host/layout"
	"sandlot/internal/labtest"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/server"
	"sandlot/internal/session"
	"sandlot/internal/store"
	"sandlot/internal/vm"
	"sandlot/internal/vm/vmfake"
	"sandlot/playgrounds"
)

// TestMain lets the test binary be labctl, so that tests run it as people do.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "labctl" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.New().Run(ctx, os.Args[1:])
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// rehearsal is a whole labd in this process, store and accounts and bender and
// gateway and server, as assemble joins them; only its host is pretended:
// machines are vmfake's, with the real agent and an SSH server in a folder.
type rehearsal struct {
	t        *testing.T
	dir      string
	base     string // http://localhost:PORT
	port     string
	admin    account.Credentials
	people   *account.Accounts
	control  *control.Control
	gateway  *gateway.Gateway
	server   *server.Server
	world    *vmfake.World
	caFile   string
	requests *requestLog
	logged   bytes.Buffer // after the test only

	mu     sync.Mutex
	guests map[string]*guest // by vm.Spec.Name
	// hold, while it is open, keeps machines from booting.
	hold chan struct{}
}

// standIns carry the names of playgrounds whose images cannot be built here.
var standIns = map[string]string{
	"alpine": standIn("alpine", "machine"),
	"k8s":    standIn("k8s", "cplane-01", "node-01"),
	"pair":   standIn("pair", "one", "two"),
}

func standIn(name string, machines ...string) string {
	text := "kind: playground\nname: " + name + "\ntitle: A stand-in for " + name + "\nplayground:\n" +
		"  networks:\n    - name: local\n      subnet: 172.16.0.0/24\n  machines:\n"
	for _, m := range machines {
		text += "    - name: " + m + "\n      users:\n        - name: root\n        - name: laborant\n          default: true\n" +
			"      drives:\n        - source: alpine\n          mount: /\n      network:\n        interfaces:\n          - network: local\n"
	}
	return text + "  accessControl:\n    canList: [anyone]\n    canRead: [anyone]\n    canStart: [anyone]\n"
}

func rehearse(t *testing.T) *rehearsal {
	t.Helper()
	r := &rehearsal{t: t, dir: labtest.SocketDir(t), guests: map[string]*guest{}, requests: &requestLog{}}
	ctx, cancel := context.WithCancel(context.Background())
	l := layout.Layout{Root: r.dir}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	shared := filepath.Join(r.dir, "shared")
	must(os.WriteFile(shared, nil, 0o600))
	s, err := store.Open(ctx, l.State())
	must(err)
	r.people = account.New(s)
	r.admin, err = account.EnsureAdmin(ctx, s, account.Credentials{})
	must(err)
	r.world = &vmfake.World{Agent: r.serveGuest}
	driver := r.world.Driver()
	log := slog.New(server.LogHandler(slog.NewTextHandler(&r.logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	b := bender.New(ctx, bender.Options{
		Layout: l, Records: records{s}, Networks: noNetworks{}, Volumes: folderVolumes{}, Kernels: noKernels{shared},
		Drivers: map[string]vm.Driver{backendQEMU: driver},
		Attach: func(dial func(context.Context) (net.Conn, error)) bender.Agent {
			return &insider{Agent: session.New(dial), rehearsal: r}
		},
		Initramfs: func(w io.Writer, c wire.Config) error { return json.NewEncoder(w).Encode(c) },
		HostBoot:  "boot-1",
		Gone: func(id play.ID) {
			r.gateway.Revoke(id)
			r.server.Revoke(id)
		},
		BootTimeout: time.Minute, StopGrace: 5 * time.Second,
		Chown: func(string, int, int) error { return nil },
		Log:   log,
	})
	r.control, err = control.New(control.Options{
		Store: s, Bender: b,
		Facts: func(context.Context) (plan.Facts, error) {
			return plan.Facts{Backends: map[string]plan.BackendFacts{
				backendQEMU: {MaxDrives: 24, MaxNICs: 5, Preference: 10},
			}, Kernels: []string{"5.10", "6.1", "6.12", "6.18"}}, nil
		},
		Uplinks:     func(context.Context) (func(int) bool, error) { return func(int) bool { return false }, nil },
		CheckSource: func(context.Context, string) error { return nil },
		Bases: func() []string {
			names := playgrounds.Names()
			for name := range standIns {
				names = append(names, name)
			}
			return names
		},
		ReadBase: func(name string) ([]byte, error) {
			if text, ok := standIns[name]; ok {
				return []byte(text), nil
			}
			return playgrounds.Read(name)
		},
	})
	must(err)
	r.gateway = gateway.New(machines{bender: b})
	r.server = server.New(server.Options{
		Accounts: r.people, Auth: r.people, Playgrounds: r.control, Plays: r.control, Lifecycle: r.control,
		Settings: r.control, Machines: r.control, Gateway: r.gateway, References: noReferences{r.control},
		Ports: r.control, Shells: r.control, Forwards: r.control, Visitors: r.gateway, Scanner: r.gateway,
		Log: log, StatusEvery: 500 * time.Millisecond,
	})
	authority, err := ca.Open(l.CA(), time.Now)
	must(err)
	r.caFile = filepath.Join(r.dir, "root.pem")
	must(os.WriteFile(r.caFile, []byte(authority.Certificate()), 0o644))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	_, r.port, _ = net.SplitHostPort(listener.Addr().String())
	r.base = "http://localhost:" + r.port
	config, _, err := certificates{}.tlsConfig(l, authority, tlsNames("", "", listener.Addr().String(), ""), log)
	must(err)
	front := &http.Server{Handler: r.requests.watch(r.server), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- front.Serve(server.Sniff(listener, config)) }()
	must(b.Recover(ctx))
	t.Cleanup(func() {
		r.release()
		cancel()
		r.gateway.Close()
		_ = front.Close()
		<-served
		b.Wait()
		_ = driver.Close()
		for _, name := range r.world.Running() {
			if g := r.world.Guest(name); g != nil {
				g.Crash("the rehearsal is over")
			}
		}
		_ = s.Close()
		if t.Failed() {
			t.Logf("labd's log ends:\n%s", vm.Tail(r.logged.Bytes(), 30))
		}
	})
	return r
}

// requestLog keeps what was asked for, like "POST /api/plays".
type requestLog struct {
	mu     sync.Mutex
	seen   []string
	origin map[string]string // of WebSockets, by path's first part
	// answer, if set, may answer instead of labd.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func (l *requestLog) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.seen = append(l.seen, r.Method+" "+r.URL.RequestURI())
		if r.Header.Get("Upgrade") != "" {
			if l.origin == nil {
				l.origin = map[string]string{}
			}
			l.origin[strings.Split(r.URL.Path, "/")[1]] = r.Header.Get("Origin")
		}
		answer := l.answer
		l.mu.Unlock()
		if answer != nil && answer(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// since returns what was asked for after a mark, and the next mark.
func (l *requestLog) since(mark int) ([]string, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.seen[mark:]...), len(l.seen)
}

func (l *requestLog) mark() int { _, m := l.since(0); return m }

func (l *requestLog) interpose(answer func(w http.ResponseWriter, r *http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

// noNetworks are networks of a host whose machines are all on its loopback.
type noNetworks struct{}

func (noNetworks) Ensure(context.Context, *plan.Plan, string) error { return nil }
func (noNetworks) Delete(context.Context, play.ID) error            { return nil }

// folderVolumes keep a machine's files in a folder beside its first volume.
type folderVolumes struct{}

func (folderVolumes) CheckRoom(context.Context, *plan.Plan) error { return nil }

func (folderVolumes) Make(_ context.Context, path string, v bender.Volume, _ func(string)) error {
	return errors.Join(os.WriteFile(path, []byte(v.Source), 0o600), os.MkdirAll(filesOf(path), 0o755))
}

func (folderVolumes) Delete(_ context.Context, path string) error {
	return errors.Join(os.RemoveAll(path), os.RemoveAll(filesOf(path)))
}

func filesOf(volume string) string { return strings.TrimSuffix(volume, ".raw") + ".files" }

type noKernels struct{ shared string }

func (k noKernels) Get(context.Context, string, []string) (vm.Kernel, []string, error) {
	return vm.Kernel{BzImage: "bz", VMLinux: "elf"}, []string{k.shared}, nil
}

type noReferences struct{ *control.Control }

func (noReferences) Sources(context.Context) ([]api.Source, error)        { return nil, nil }
func (noReferences) Kernels(context.Context) ([]api.KernelVersion, error) { return nil, nil }

// labctl is one client in a home of its own: ours, or the reference client
// where LABCTL_REFERENCE names its binary.
type labctl struct {
	t       *testing.T
	lab     *rehearsal
	name    string
	program string
	home    string
	env     []string
}

// clients runs f with our labctl and, if there is one, with the reference
// client, each with a labd of its own.
func clients(t *testing.T, f func(t *testing.T, r *rehearsal, c *labctl)) {
	t.Parallel()
	programs := map[string]string{"ours": ""}
	if path := os.Getenv("LABCTL_REFERENCE"); path != "" {
		programs["reference"] = path
	}
	for name, program := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rehearse(t)
			f(t, r, r.client(t, name, program))
		})
	}
}

func (r *rehearsal) client(t *testing.T, name, program string) *labctl {
	t.Helper()
	c := &labctl{t: t, lab: r, name: name, home: t.TempDir(), program: program}
	bin := filepath.Join(c.home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c.program = self
	}
	if err := os.Symlink(c.program, filepath.Join(bin, "labctl")); err != nil {
		t.Fatal(err)
	}
	c.program = filepath.Join(bin, "labctl")
	c.env = []string{"HOME=" + c.home, "PATH=" + bin + ":" + os.Getenv("PATH"), "SSL_CERT_FILE=" + r.caFile, "LC_ALL=C.UTF-8", "BROWSER=true"}
	return c
}

func (c *labctl) reference() bool { return c.name == "reference" }

// signedIn logs the client in with the administrator's session.
func (c *labctl) signedIn() *labctl {
	c.t.Helper()
	c.must("auth", "login", "--endpoint", c.lab.base, "-s", c.lab.admin.SessionID, "-t", c.lab.admin.AccessToken)
	return c
}

// limit is one command's; it is reached only by a command that hangs.
const limit = 90 * time.Second

func (c *labctl) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Env = c.env
	cmd.Dir = c.home
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs one command to its end.
func (c *labctl) run(stdin string, args ...string) (out, errs string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	cmd := c.command(ctx, args...)
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		c.t.Errorf("labctl %s did not end\n%s%s", strings.Join(args, " "), o.String(), e.String())
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		c.t.Fatal(err)
	}
	if strings.Contains(e.String(), "goroutine 1 [") {
		c.t.Errorf("labctl %s crashed:\n%s", strings.Join(args, " "), e.String())
	}
	return o.String(), e.String(), code
}

// must runs a command that has to succeed and returns its stdout.
func (c *labctl) must(args ...string) string { c.t.Helper(); return c.feed("", args...) }

func (c *labctl) feed(stdin string, args ...string) string {
	c.t.Helper()
	out, errs, code := c.run(stdin, args...)
	if code != 0 {
		c.t.Fatalf("labctl %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// fails runs a command that has to end with a code and say something.
func (c *labctl) fails(code int, says string, args ...string) {
	c.t.Helper()
	out, errs, got := c.run("", args...)
	if got != code || !strings.Contains(errs+out, says) {
		c.t.Errorf("labctl %s: exit %d, want %d with %q\nstdout: %s\nstderr: %s", strings.Join(args, " "), got, code, says, out, errs)
	}
}

// shared is a bytes.Buffer that goroutines may share.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// running is a command that goes on until it is interrupted.
type running struct {
	c    *labctl
	args string
	cmd  *exec.Cmd
	out  *shared
	done chan struct{}
}

// start begins a command that runs until the test interrupts it.
func (c *labctl) start(args ...string) *running {
	c.t.Helper()
	cmd := c.command(context.Background(), args...)
	r := &running{c: c, args: strings.Join(args, " "), cmd: cmd, out: &shared{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r.out, r.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(r.done) }()
	c.t.Cleanup(func() { r.interrupt() })
	return r
}

// says waits for a pattern in what the command prints.
func (r *running) says(pattern string) []string {
	r.c.t.Helper()
	find := regexp.MustCompile(pattern)
	deadline := time.Now().Add(limit)
	for {
		if m := find.FindStringSubmatch(r.out.String()); m != nil {
			return m
		}
		select {
		case <-r.done:
			if m := find.FindStringSubmatch(r.out.String()); m != nil {
				return m
			}
			r.c.t.Fatalf("labctl %s ended without %q:\n%s", r.args, pattern, r.out.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.c.t.Fatalf("labctl %s did not say %q:\n%s", r.args, pattern, r.out.String())
		}
	}
}

// interrupt is Ctrl-C; it waits for the command's end.
func (r *running) interrupt() {
	_ = r.cmd.Process.Signal(os.Interrupt)
	select {
	case <-r.done:
	case <-time.After(15 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.done
		r.c.t.Errorf("labctl %s did not end at Ctrl-C:\n%s", r.args, r.out.String())
	}
}

// eventually waits for something that has to come.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// browser is a signed-in browser.
func (r *rehearsal) browser(t *testing.T) *http.Client {
	t.Helper()
	token, err := r.people.SigninLink(t.Context(), api.Me{ID: account.AdminID, Name: account.AdminID, Role: api.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	b := r.newcomer(t)
	res, err := b.Get(r.base + "/signin/" + token)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	res.Body.Close()
	return b
}

// newcomer is a browser that keeps cookies, and has none yet.
func (r *rehearsal) newcomer(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := r.stranger()
	b.Jar = jar
	return b
}

// stranger is a browser that nobody knows; every name leads to labd.
func (r *rehearsal) stranger() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+r.port)
	}}}
}

// get fetches a page as a browser does.
func get(t *testing.T, b *http.Client, address string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// ask makes one request with a session's credentials.
func (r *rehearsal) ask(t *testing.T, method, path, in string, session ...string) (status int, text string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.base+"/api"+path, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(session) == 0 {
		session = []string{r.admin.SessionID, r.admin.AccessToken}
	}
	if session[0] != "" {
		req.SetBasicAuth(session[0], session[1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw), res.Header
}

// decodeReply reads a JSON reply of ask.
func decodeReply[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
