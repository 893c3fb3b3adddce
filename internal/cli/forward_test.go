package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/labtest"
	"sandlot/internal/server/servertest"
)

func TestParseForward(t *testing.T) {
	for spec, want := range map[string]api.PortForward{
		"80":                         {Kind: "local", RemotePort: 80},
		"db:5432":                    {Kind: "local", RemoteHost: "db", RemotePort: 5432},
		"8080:80":                    {Kind: "local", LocalPort: 8080, RemotePort: 80},
		"8080:172.17.0.2:80":         {Kind: "local", LocalPort: 8080, RemoteHost: "172.17.0.2", RemotePort: 80},
		"0.0.0.0:8080:80":            {Kind: "local", LocalHost: "0.0.0.0", LocalPort: 8080, RemotePort: 80},
		"[::1]:8080:[fd00::2]:80":    {Kind: "local", LocalHost: "::1", LocalPort: 8080, RemoteHost: "fd00::2", RemotePort: 80},
		"R9000:4000":                 {Kind: "remote", RemoteHost: "0.0.0.0", RemotePort: 9000, LocalPort: 4000},
		"R9000:web:4000":             {Kind: "remote", RemoteHost: "0.0.0.0", RemotePort: 9000, LocalHost: "web", LocalPort: 4000},
		"R127.0.0.1:9000:4000":       {Kind: "remote", RemoteHost: "127.0.0.1", RemotePort: 9000, LocalPort: 4000},
		"R127.0.0.1:9000:::1":        {},
		"R127.0.0.1:9000:[::1]:4000": {Kind: "remote", RemoteHost: "127.0.0.1", RemotePort: 9000, LocalHost: "::1", LocalPort: 4000},
		"":                           {}, "x": {}, "0": {}, "70000": {}, "80:": {}, "1:2:3": {}, "a:b:1": {}, "1:2:3:4": {}, "R80": {}, "Ra:80": {},
	} {
		kind, text := api.ForwardLocal, spec
		if rest, ok := strings.CutPrefix(spec, "R"); ok {
			kind, text = api.ForwardRemote, rest
		}
		got, err := parseForward(kind, text)
		if want.Kind == "" {
			if err == nil {
				t.Errorf("%q: %+v", spec, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", spec, got, err)
		}
	}
}

// background runs a command until the test's end and returns the first match
// of a pattern in what it prints.
func (s *shellOf) background(pattern string, args ...string) (match []string, end func() int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var out buffer
	done := make(chan int, 1)
	go func() { done <- s.app(&out, &out).Run(ctx, args) }()
	s.t.Cleanup(cancel)
	find := regexp.MustCompile(pattern)
	for {
		if match = find.FindStringSubmatch(out.String()); match != nil {
			return match, func() int { cancel(); return <-done }
		}
		select {
		case code := <-done:
			s.t.Fatalf("labctl %s: exit %d\n%s", strings.Join(args, " "), code, out.String())
		case <-time.After(time.Millisecond):
		}
	}
}

// greeter answers each connection with a line.
func greeter(t *testing.T, text string) (port string) {
	t.Helper()
	return labtest.Service(t, func(c net.Conn) {
		fmt.Fprint(c, text)
		c.Close()
	})
}

func hear(t *testing.T, address string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, _ := io.ReadAll(c)
	return string(got)
}

func TestPortForwards(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1", "m2"))
	l.Ready(l.PlayIDs()[0])
	s := newShell(t, l)
	inside, outside, bound := greeter(t, "from inside"), greeter(t, "from outside"), labtest.FreePort(t)
	at, end := s.background(`Forwarding (127\.0\.0\.1:\d+) to :`+inside+` of m2`, "port-forward", id, "-m", "m2", "-L", inside, "-R", "127.0.0.1:"+bound+":"+outside)
	if got := hear(t, at[1]); got != "from inside" {
		t.Errorf("-L: %q", got)
	}
	s.waitFor(func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+bound)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if got := hear(t, "127.0.0.1:"+bound); got != "from outside" {
		t.Errorf("-R: %q", got)
	}
	if code := end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	s.waitFor(func() bool { // the port inside is free again
		l, err := net.Listen("tcp", "127.0.0.1:"+bound)
		if err == nil {
			l.Close()
		}
		return err == nil
	})

	if out := s.must("port-forward", id, "--list"); !strings.Contains(out, "0   m2        local    127.0.0.1:any") || strings.Count(out, "\n") != 3 {
		t.Errorf("list:\n%s", out)
	}
	s.must("port-forward", id, "--remove", "1")
	at, end = s.background(`Forwarding (127\.0\.0\.1:\d+) to`, "port-forward", id, "--restore")
	if got := hear(t, at[1]); got != "from inside" {
		t.Errorf("--restore: %q", got)
	}
	end()
	s.fails(1, "has none saved", "port-forward", string(l.Add("", "m1")), "--restore")
	s.fails(1, "there is no port forward 9", "port-forward", id, "--remove", "9")
	s.fails(1, "cannot forward nothing", "port-forward", id)
	s.fails(1, "cannot read port forward", "port-forward", id, "-L", "x:y:z")
	taken := greeter(t, "")
	s.fails(1, "choose another local port", "port-forward", id, "-L", taken+":80")
	s.fails(1, "cannot listen on 127.0.0.1:"+taken, "port-forward", id, "-R", "127.0.0.1:"+taken+":80")
}

func (s *shellOf) waitFor(is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			s.t.Fatal("it did not come")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestSSHProxy(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	l.Ready(l.PlayIDs()[0])
	s := newShell(t, l)
	// As for who has a token in the environment, and never signed in.
	file := filepath.Join(s.home, ".ssh", "iximiuz_labs_user")
	for _, name := range []string{file, file + ".pub"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	at, end := s.background(`(?m)^(127\.0\.0\.1:\d+)$`, "ssh-proxy", id)
	c, err := net.Dial("tcp", at[1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if banner, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(banner, "SSH-2.0") {
		t.Errorf("%q, %v", banner, err)
	}
	end()
	// Whoever comes through it needs the key, and stays the same.
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("nobody can come through it: %v", err)
	}
	_, end = s.background(`(?m)^(127\.0\.0\.1:\d+)$`, "ssh-proxy", id)
	end()
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(key, again) {
		t.Errorf("another key: %v", err)
	}
	s.fails(1, "write [HOST:]PORT", "ssh-proxy", id, "--address", "localhost:x")
	s.fails(1, "exactly one side", "cp", "a", "b")
}

func TestScpArgs(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2222}
	args := scpArgs([]string{"ID:~/x", "-odd:name"}, true, true, at, "laborant", "/key", "~/x")
	if want := []string{"-i", "/key", "-r", "--", "laborant@127.0.0.1:~/x", "./-odd:name"}; !slices.Equal(args[len(args)-6:], want) {
		t.Errorf("got %q", args)
	}
	args = scpArgs([]string{"file", "ID:"}, false, false, at, "root", "/key", "")
	if want := []string{"--", "file", "root@127.0.0.1:"}; !slices.Equal(args[len(args)-3:], want) {
		t.Errorf("got %q", args)
	}
}

func TestExpose(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("", "m1"))
	l.Ready(l.PlayIDs()[0])
	s := newShell(t, l)
	address := strings.TrimSpace(s.must("expose", "port", id, "8080", "-p", "--host-rewrite", "localhost", "--path-rewrite", "/app"))
	exposed := regexp.MustCompile(`^http://([0-9a-f]{24})\.localhost:\d+$`).FindStringSubmatch(address)
	if exposed == nil {
		t.Fatalf("printed %q", address)
	}
	shell := strings.TrimSpace(s.must("expose", "shell", id, "-u", "root"))
	if out := s.must("expose", "list", id); !strings.Contains(out, "http m1:8080") || !strings.Contains(out, address) || !regexp.MustCompile(`public +localhost +/app`).MatchString(out) || !strings.Contains(out, "shell root@m1") || !strings.Contains(out, shell) {
		t.Errorf("list:\n%s", out)
	}
	if out := s.must("expose", "port", id, "81", "--link"); !strings.Contains(out, "/.sandlot/enter?code=") {
		t.Errorf("link: %s", out)
	}
	var made []api.Port
	if out := s.must("expose", "port", id, "82", "--output", "json"); json.Unmarshal([]byte(out), &made) != nil || len(made) != 1 || made[0].Number != 82 || made[0].URL == "" {
		t.Errorf("port: %s", out)
	}
	if out := s.must("expose", "shell", id, "--output", "yaml"); !strings.Contains(out, "machine: m1") || !strings.Contains(out, "url: http://") {
		t.Errorf("shell: %s", out)
	}
	s.must("expose", "remove", id, exposed[1])
	if out := s.must("expose", "list", id, "--kind", "port"); strings.Contains(out, exposed[1]) {
		t.Errorf("after the removal:\n%s", out)
	}
	s.fails(1, "no port answers", "expose", "port", id, "--scanned")
	s.fails(1, "write a port, or --scanned", "expose", "port", id)
	s.fails(1, "write a number", "expose", "port", id, "http")
	if out := s.must("expose", "scan", id, "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("scan: %s", out)
	}
}
