package test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"sandlot/internal/host/layout"
	"sandlot/internal/labtest"
)

// told is what the stories of the page (web/e2e) get from the environment.
type told struct {
	// URL is a labd with people, over a wire that can be cut; First the link of
	// its administrator.
	URL   string `json:"url"`
	First string `json:"first"`
	// Single is one in single-user mode.
	Single string `json:"single"`
	// Control does what no page can: see control.
	Control string `json:"control"`
	// Screens is where pictures go, for docs/screens or for nobody.
	Screens string `json:"screens"`
	Out     string `json:"out"`
}

var firstLink = regexp.MustCompile(`open=(http://\S+/join/\S+)`)

// TestPage runs the stories of web/e2e in a real browser, on two labds of its
// own. What the browser and Node.js leave is in a directory of the test's.
func TestPage(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM, labtest.Browser)
	t.Setenv("LABD_POOL_SIZE", "2GiB")
	t.Setenv("LABD_IMAGES", absolute(t, "../images"))
	w := &world{cache: layout.Layout{Root: cmp.Or(os.Getenv("LAB_CACHE"), "/var/cache/sandlot-test")}}
	w.programs(t)
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(provider.ClientSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	people, alone := w.own(t), w.own(t)
	people.flags = []string{"--oidc-issuer", provider.Issuer(), "--oidc-client-id", provider.ClientID, "--oidc-client-secret-file", secret, "--oidc-name", "Example ID"}
	alone.flags = []string{"--single-user"}
	for name, archive := range map[string]string{"tiny": w.tiny, "userland": w.userland} {
		if _, err := people.run("labd", "image", "pull", archive, "--name", name, "--prepare", "6.1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []*lab{people, alone} {
		if err := l.up(l.flags...); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.ReadFile(people.output.Name())
	if err != nil {
		t.Fatal(err)
	}
	first := firstLink.FindSubmatch(log)
	if first == nil {
		t.Fatalf("labd named no link of the first administrator:\n%s", log)
	}
	wire := newWire(t, people.listen)
	control := httptest.NewServer(control{people, alone, wire})
	t.Cleanup(control.Close)
	out := t.TempDir()
	screens := os.Getenv("LAB_SCREENS")
	if screens == "" {
		screens = filepath.Join(out, "screens")
	}
	// A host name that exposed ports can be below.
	local := func(address string) string { return "http://" + strings.Replace(address, "127.0.0.1", "localhost", 1) }
	env, err := json.Marshal(told{
		URL: local(wire.address()), First: strings.Replace(string(first[1]), "http://"+people.listen, local(wire.address()), 1), Single: local(alone.listen),
		Control: control.URL, Screens: screens, Out: out,
	})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"node_modules/@playwright/test/cli.js", "test"}
	if only := os.Getenv("LAB_PAGE_ONLY"); only != "" { // while one story is written
		args = append(args, strings.Fields(only)...)
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = "../web"
	cmd.Env = append(os.Environ(), "SANDLOT_PAGE="+string(env), "TMPDIR="+out, "HOME="+out, "CI=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan(); { // as it comes: stories take minutes
		t.Log(lines.Text())
	}
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a browser that outlived its story
	if err != nil {
		t.Errorf("the stories of the page: %v", err)
	}
	seen, _ := filepath.Glob(filepath.Join(out, "results", "*", "error-context.md"))
	for _, name := range seen { // what was on the page when a story failed
		text, _ := os.ReadFile(name)
		_, shown, _ := strings.Cut(string(text), "```yaml\n")
		shown, _, _ = strings.Cut(shown, "```")
		t.Logf("%s showed:\n%s", filepath.Base(filepath.Dir(name)), shown)
	}
}

// own is a labd with a data directory of its own, and kernel 6.1; when the test
// ends it is purged, and the host must have nothing of it.
func (w *world) own(t *testing.T) *lab {
	t.Helper()
	dir := labtest.SocketDir(t)
	if err := os.Chmod(dir, 0o711); err != nil { // machines' users pass through
		t.Fatal(err)
	}
	l := &lab{world: w, place: &place{}, root: filepath.Join(dir, "data"), home: t.TempDir(), log: t.Logf}
	data := layout.Layout{Root: l.root}
	if err := os.MkdirAll(data.Kernels(), 0o755); err != nil {
		t.Fatal(err)
	}
	kernel := filepath.Join(w.cache.Kernels(), "6.1")
	if out, err := exec.Command("cp", "-a", kernel, data.Kernels()).CombinedOutput(); err != nil {
		t.Fatalf("%s: run make test-prepare: %s", kernel, out)
	}
	t.Cleanup(func() {
		l.clean()
		left, err := labtest.Inventory(data.Table(), data.UplinkPrefix(), data.Root)
		if err != nil || len(left) > 0 {
			t.Errorf("left on the host: %v %v", left, err)
		}
	})
	return l
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// control lets a story do what a page cannot: POST /people/labctl or /alone/labd
// with arguments in JSON runs a program, as the labd's administrator and this
// host; /people/stop ends the labd, /people/start starts it again, /people/cut
// cuts every connection to it, and /people/memory tells what memory it has, and
// the most that it has had since this was asked last.
type control struct {
	people, alone *lab
	wire          *wire
}

func (c control) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	labd, do, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	l := map[string]*lab{"people": c.people, "alone": c.alone}[labd]
	var args []string
	var out string
	err := json.NewDecoder(r.Body).Decode(&args)
	switch {
	case err != nil:
	case do == "labctl" || do == "labd":
		out, err = l.run(do, args...)
	case do == "stop":
		err = l.end(syscall.SIGTERM)
	case do == "start":
		err = l.up(l.flags...)
	case do == "cut":
		c.wire.cut()
	case do == "memory":
		out, err = memory(l.labd.Process.Pid)
	default:
		http.NotFound(rw, r)
		return
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = rw.Write([]byte(out))
}
