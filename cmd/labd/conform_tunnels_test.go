package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/creack/pty"

	"sandlot/api"
	"sandlot/internal/labtest"
)

// greeter answers each connection with a line, and ends it.
func greeter(t *testing.T, text string) string {
	return labtest.Service(t, func(c net.Conn) { _, _ = io.WriteString(c, text); _ = c.Close() })
}

// hear returns all that an address says, "" if nobody is there.
func hear(address string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	got, _ := io.ReadAll(c)
	return string(got)
}

func TestConformSSH(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		id := c.begin("pair")
		if out, errs, code := c.run("", "ssh", id, "--", "echo out; exit 7"); out != "out\n" || code != 7 {
			t.Errorf("%q, %d, %s", out, code, errs)
		}
		if out := c.feed("data\n", "ssh", id, "--", "cat"); out != "data\n" {
			t.Errorf("stdin: %q", out)
		}
		if out := c.must("ssh", id, "-u", "root", "-m", "two", "--", "echo $USER at; hostname"); out != "root at\ntwo\n" {
			t.Errorf("-u root -m two: %q", out)
		}

		// On a terminal.
		cmd := c.command(t.Context(), "ssh", id)
		terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 111})
		if err != nil {
			t.Fatal(err)
		}
		defer terminal.Close()
		screen := &shared{}
		go func() { _, _ = io.Copy(screen, terminal) }()
		types := func(text, want string) {
			t.Helper()
			fmt.Fprint(terminal, text)
			eventually(t, want, func() bool { return strings.Contains(screen.String(), want) })
		}
		eventually(t, "a prompt", func() bool { return strings.Contains(screen.String(), "$ ") })
		types("stty size; echo I am $USER\n", "33 111")
		types("", "I am laborant")
		if err := pty.Setsize(terminal, &pty.Winsize{Rows: 44, Cols: 122}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new size", func() bool {
			fmt.Fprint(terminal, "stty size\n")
			time.Sleep(50 * time.Millisecond) // one question after another
			return strings.Contains(screen.String(), "44 122")
		})
		fmt.Fprint(terminal, "exit 3\n")
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || (!c.reference() && exit.ExitCode() != 3) {
			t.Errorf("the shell's end: %v", err)
		}

		// While the machine boots: one request that is held.
		r.pause()
		late := c.begin("docker", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init")
		mark := r.requests.mark()
		waiting := c.start("ssh", late, "--", "echo here")
		eventually(t, "a tunnel request", func() bool {
			seen, _ := r.requests.since(mark)
			return strings.Contains(strings.Join(seen, "\n"), "POST /api/plays/"+late+"/tunnels")
		})
		r.release()
		waiting.says("here")
		<-waiting.done
		if seen, _ := r.requests.since(mark); strings.Count(strings.Join(seen, "\n"), "/tunnels") > 3 {
			t.Errorf("it asks for %q", seen)
		}

		if _, err := exec.LookPath("scp"); err != nil {
			t.Skip("the rest needs OpenSSH's client")
		}
		address := "127.0.0.1:" + labtest.FreePort(t)
		_, port, _ := net.SplitHostPort(address)
		proxy := c.start("ssh-proxy", id, "--address", "localhost:"+port)
		eventually(t, "the proxy", func() bool { conn, err := net.Dial("tcp", "localhost:"+port); return err == nil && conn.Close() == nil })
		ssh := exec.CommandContext(t.Context(), "ssh", "-i", filepath.Join(c.home, ".ssh/iximiuz_labs_user"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-p", port, "laborant@localhost", "echo by proxy")
		if out, err := ssh.CombinedOutput(); err != nil || !strings.Contains(string(out), "by proxy") {
			t.Errorf("%v: %s", err, out)
		}
		proxy.interrupt()

		big := make([]byte, 4<<20)
		_, _ = rand.Read(big)
		c.file(t, "big", string(big))
		c.must("cp", filepath.Join(c.home, "big"), id+":~/big")
		c.must("cp", id+":~/big", filepath.Join(c.home, "copy"))
		if copied, err := os.ReadFile(filepath.Join(c.home, "copy")); err != nil || !bytes.Equal(copied, big) {
			t.Errorf("a copy of %d bytes is %d bytes: %v", len(big), len(copied), err)
		}
		if err := os.MkdirAll(filepath.Join(c.home, "dir/sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		c.file(t, "dir/sub/x", "deep")
		c.must("cp", "-r", filepath.Join(c.home, "dir"), id+":~/dir")
		if out := c.must("ssh", id, "--", "cat dir/sub/x"); out != "deep" {
			t.Errorf("cp -r: %q", out)
		}

		// An editor: a stub that says what it was given.
		c.stub(t, "code", `echo "$@" >$HOME/code.args`)
		editor := c.start("ide", "code", id, "-w", "proj")
		eventually(t, "the editor with its arguments", func() bool {
			args, _ := os.ReadFile(filepath.Join(c.home, "code.args"))
			return regexp.MustCompile(`--folder-uri vscode-remote://ssh-remote\+laborant@127\.0\.0\.1:\d+\S*/proj`).Match(args)
		})
		editor.interrupt()
		if _, _, code := c.run("", "ide", "sh", id); code == 0 {
			t.Error("any program is an editor")
		}

		// A start and a restart that end in a shell.
		if out := c.feed("echo $((6*7))\n", "playground", "start", "docker", "--ssh"); !strings.Contains(out, "42") {
			t.Errorf("start --ssh: %s", out)
		}
		if out := c.feed("echo $((6*7))\n", "playground", "restart", id, "--ssh"); !strings.Contains(out, "42") {
			t.Errorf("restart --ssh: %s", out)
		}
	})
}

// stub puts a program into the client's PATH.
func (c *labctl) stub(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.home, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestConformForwards(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		id := c.begin("pair")
		inside, outside := greeter(t, "from inside"), greeter(t, "from outside")
		near, far, other := labtest.FreePort(t), labtest.FreePort(t), labtest.FreePort(t)
		elsewhere, err := net.Listen("tcp", "127.9.9.9:0") // an address that only the machine reaches
		if err != nil {
			t.Fatal(err)
		}
		defer elsewhere.Close()
		go func() {
			for {
				conn, err := elsewhere.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, "from elsewhere")
				_ = conn.Close()
			}
		}()
		forward := c.start("port-forward", id, "-L", near+":"+inside, "-L", "127.0.0.1:"+other+":"+elsewhere.Addr().String(), "-R", far+":"+outside)
		for port, want := range map[string]string{near: "from inside", other: "from elsewhere", far: "from outside"} {
			eventually(t, want, func() bool { return hear("127.0.0.1:"+port) == want })
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got := hear("127.0.0.1:" + near); got != "from inside" {
					t.Errorf("one of fifty: %q", got)
				}
			})
		}
		all.Wait()
		// A remote port that is taken.
		if _, errs, code := c.run("", "port-forward", id, "-R", far+":"+outside); code != 1 {
			t.Errorf("-R to a port in use: %d %s", code, errs)
		}
		forward.interrupt()
		eventually(t, "the remote port's release", func() bool {
			l, err := net.Listen("tcp", "127.0.0.1:"+far)
			return err == nil && l.Close() == nil
		})
		out, errs, _ := c.run("", "port-forward", id, "--list")
		for _, want := range []string{near, other, far, "remote"} {
			if !strings.Contains(out+errs, want) {
				t.Errorf("--list has no %s:\n%s%s", want, out, errs)
			}
		}
		c.must("port-forward", id, "--remove", "0")
		c.must("playground", "stop", id)
		back := c.start("playground", "restart", id, "--with-port-forwards", "-q")
		eventually(t, "restored forwards", func() bool {
			return hear("127.0.0.1:"+other) == "from elsewhere" && hear("127.0.0.1:"+far) == "from outside"
		})
		if got := hear("127.0.0.1:" + near); got != "" {
			t.Errorf("a removed forward says %q", got)
		}
		back.interrupt()
		eventually(t, "the remote port's release", func() bool { return hear("127.0.0.1:"+far) == "" })
		again := c.start("port-forward", id, "--restore")
		eventually(t, "restored forwards", func() bool { return hear("127.0.0.1:"+other) == "from elsewhere" })
		again.interrupt()
	})
}

// Tunnels as the reference client opens them: over TLS, with nothing but the
// cookie.
func TestConformTunnelSockets(t *testing.T) {
	t.Parallel()
	r := rehearse(t)
	c := r.client(t, "ours", "").signedIn()
	ids := []string{c.begin("docker"), c.begin("docker")}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(r.caFile)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+r.port)
	}}}
	var cookies, bases []string
	for _, id := range ids {
		status, text, _ := r.ask(t, "POST", "/plays/"+id+"/tunnels", `{"machine":"docker-01","port":0,"access":"private","generateLoginUrl":true,"sshUser":"","sshPubKey":""}`)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		tunnel := decodeReply[api.Tunnel](t, text)
		res, err := http.Get(tunnel.LoginURL)
		if err != nil || len(res.Cookies()) != 1 || res.Cookies()[0].Name != ".ixcondsess" {
			t.Fatalf("%v %v", res, err)
		}
		_ = res.Body.Close()
		cookies = append(cookies, res.Cookies()[0].Value)
		bases = append(bases, "wss://"+strings.SplitN(tunnel.URL, "://", 2)[1])
	}
	open := func(base, cookie, payload string) (*websocket.Conn, int) {
		t.Helper()
		header := http.Header{}
		if cookie != "" {
			header.Set("Cookie", ".ixcondsess="+cookie)
		}
		ws, res, err := websocket.Dial(t.Context(), base+"/tunnels/"+base64.StdEncoding.EncodeToString([]byte(payload)), &websocket.DialOptions{HTTPClient: secure, HTTPHeader: header})
		if res == nil {
			t.Fatal(err)
		}
		return ws, res.StatusCode
	}
	ws, status := open(bases[0], cookies[0], ":22")
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	if kind, first, err := ws.Read(t.Context()); err != nil || kind != websocket.MessageBinary || !strings.HasPrefix(string(first), "SSH-2.0") {
		t.Errorf("%q, %v", first, err)
	}
	_ = ws.CloseNow()
	for _, cookie := range []string{"", "x", cookies[1]} {
		if _, status := open(bases[0], cookie, ":22"); status != http.StatusUnauthorized {
			t.Errorf("with cookie %q: %d", cookie, status)
		}
	}
	for payload, want := range map[string]int{"nonsense": 400, "connect:0123": 404, "listen:127.0.0.1:" + r.port: 409} {
		if _, status := open(bases[0], cookies[0], payload); status != want {
			t.Errorf("%s: %d, want %d", payload, status, want)
		}
	}
}

func TestConformExpose(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		id := c.begin("docker")
		app := func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Host, r.URL.Path) }
		plain, secure := httptest.NewServer(http.HandlerFunc(app)), httptest.NewTLSServer(http.HandlerFunc(app))
		t.Cleanup(plain.Close)
		t.Cleanup(secure.Close)
		port := func(s *httptest.Server) string { return s.URL[strings.LastIndex(s.URL, ":")+1:] }
		owner, stranger := r.browser(t), r.stranger()

		private := strings.TrimSpace(c.must("expose", "port", id, port(plain)))
		if status, text := get(t, owner, private+"/x"); status != 200 || !strings.HasSuffix(text, " /x") {
			t.Errorf("the owner: %d %s", status, text)
		}
		if status, text := get(t, stranger, private+"/x"); !strings.Contains(text, "Sign in") {
			t.Errorf("a stranger: %d %s", status, text)
		}
		public := strings.TrimSpace(c.must("expose", "port", id, port(plain), "-p", "--host-rewrite", "app.internal", "--path-rewrite", "/base"))
		if status, text := get(t, stranger, public+"/x"); status != 200 || text != "app.internal /base/x" {
			t.Errorf("public, rewritten: %d %s", status, text)
		}
		selfSigned := strings.TrimSpace(c.must("expose", "port", id, port(secure), "-p", "-s"))
		if status, text := get(t, stranger, selfSigned+"/y"); status != 200 || !strings.HasSuffix(text, " /y") {
			t.Errorf("self-signed: %d %s", status, text)
		}
		if err := r.guest(id, 0).listening(port(plain), port(secure)); err != nil {
			t.Fatal(err)
		}
		if out := c.must("expose", "scan", id); !regexp.MustCompile(`docker-01\s+`+port(plain)+`\s+HTTP\b`).MatchString(out) || !regexp.MustCompile(port(secure)+`\s+HTTPS`).MatchString(out) {
			t.Errorf("scan: %s", out)
		}
		if out := strings.Fields(c.must("expose", "port", id, "--scanned")); len(out) != 2 {
			t.Errorf("--scanned: %q", out)
		}
		shell := strings.TrimSpace(c.must("expose", "shell", id, "-p"))
		if status, text := get(t, stranger, shell+"/.sandlot/shell"); status != 200 || !strings.Contains(text, `"machine":"docker-01"`) {
			t.Errorf("shell: %d %s", status, text)
		}
		r.typesInShell(t, stranger, shell)
		out := c.must("expose", "list", id)
		for _, address := range []string{private, public, shell} {
			name := regexp.MustCompile(`[0-9a-f]{24}`).FindString(address)
			if !strings.Contains(out, name) {
				t.Errorf("list has no %s:\n%s", name, out)
			}
			c.must("expose", "remove", id, name)
			if status, _ := get(t, owner, address); status != http.StatusNotFound {
				t.Errorf("%s after its removal: %d", address, status)
			}
			if _, text := get(t, stranger, address); !strings.Contains(text, "Sign in") { // as where it is private
				t.Errorf("%s after its removal, to a stranger: %s", address, text)
			}
		}

		// An application on this computer, through a play that is started for it.
		c.stub(t, "xdg-open", `echo "$@" >>$HOME/opened`)
		before := r.plays(t)
		remote := labtest.FreePort(t)
		local := c.start("expose", "local", port(plain), "-p", "-o", "--remote-port", remote)
		address := local.says(`(?m)^(http://[0-9a-f]{24}\.localhost:\d+)$`)[1]
		eventually(t, "the local application", func() bool { _, text := get(t, stranger, address+"/z"); return strings.HasSuffix(text, " /z") })
		if now := r.plays(t); now != before+1 {
			t.Errorf("%d plays, there were %d", now, before)
		}
		eventually(t, "an opened page", func() bool {
			opened, _ := os.ReadFile(filepath.Join(c.home, "opened"))
			return strings.TrimSpace(string(opened)) == address
		})
		local.interrupt()
		eventually(t, "the temporary play's end", func() bool {
			_, text, _ := r.ask(t, "GET", "/plays", "")
			for _, p := range decodeReply[[]api.Play](t, text) {
				if p.Playground.Name == "alpine" && p.State() != "DESTROYED" {
					return false
				}
			}
			return true
		})
		through := c.start("expose", "local", id, "127.0.0.1:"+port(secure), "-p", "-s", "--remote-port", remote)
		address = through.says(`(?m)^(http://[0-9a-f]{24}\.localhost:\d+)$`)[1]
		eventually(t, "the local application", func() bool { _, text := get(t, stranger, address+"/s"); return strings.HasSuffix(text, " /s") })
		through.interrupt()
	})
}

// typesInShell uses an exposed shell as its page does.
func (r *rehearsal) typesInShell(t *testing.T, b *http.Client, address string) {
	t.Helper()
	res, err := b.Post(address+"/.sandlot/terminals", "", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	ws, _, err := websocket.Dial(t.Context(), decodeReply[api.Conn](t, string(raw)).URL, &websocket.DialOptions{HTTPClient: b})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if err := ws.Write(t.Context(), websocket.MessageBinary, append([]byte{api.FrameStdin}, "echo $((40+2))\n"...)); err != nil {
		t.Fatal(err)
	}
	for text := ""; !strings.Contains(text, "42"); {
		_, msg, err := ws.Read(t.Context())
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
		text += string(msg[1:])
	}
}

// A Kubernetes API that is none, behind a kubeconfig that is one.
func TestConformKubeProxy(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		if _, err := exec.LookPath("scp"); err != nil && c.reference() {
			t.Skip("the reference client needs scp")
		}
		c.signedIn()
		id := c.begin("k8s")
		cluster := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s", r.Header.Get("Authorization"), r.URL.Path)
		}))
		t.Cleanup(cluster.Close)
		api := cluster.URL[strings.LastIndex(cluster.URL, ":")+1:]
		config := "apiVersion: v1\nkind: Config\nclusters:\n- name: k\n  cluster:\n    server: https://example.com:6443\nusers:\n- name: u\n  user:\n    token: secret\n"
		c.feed(config, "ssh", id, "-m", "cplane-01", "--", "mkdir -p .kube && cat >.kube/config")
		local := labtest.FreePort(t)
		proxy := c.start("kube-proxy", id, "--address", "127.0.0.1:"+local+":"+api)
		file := proxy.says(`(?m)^\s*(/\S+/kubeconfig)$`)[1]
		if !strings.Contains(file, id+"-cplane-01-laborant") {
			t.Errorf("the kubeconfig is %s", file)
		}
		raw, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(raw), "server: https://127.0.0.1:"+local) || !strings.Contains(string(raw), "tls-server-name: example.com") {
			t.Fatalf("%v\n%s", err, raw)
		}
		// As kubectl would: to server, verified as tls-server-name.
		pool := x509.NewCertPool()
		pool.AddCert(cluster.Certificate())
		kubectl := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}}
		eventually(t, "the cluster's answer", func() bool {
			res, err := kubectl.Get("https://127.0.0.1:" + local + "/api/v1/nodes")
			if err != nil {
				return false
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			return strings.HasSuffix(string(text), "/api/v1/nodes")
		})
		proxy.interrupt()
	})
}
