package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"sandlot/api"
	"sandlot/internal/play"
	"sandlot/internal/server/servertest"
)

// Both ways into a machine behave alike.
func TestEntering(t *testing.T) {
	for _, verb := range []string{"ssh", "terminal"} {
		t.Run(verb, func(t *testing.T) {
			l := servertest.New(t)
			s := newShell(t, l)
			id := string(l.Add("", "m1", "m2"))
			l.Ready(play.ID(id))

			if got := s.must(verb, id, "--", "echo", "a", "b"); got != "a b\n" {
				t.Errorf("echo: %q", got)
			}
			if out, errs, code := s.run(verb, id, "-m", "m2", "-u", "root", "--", "fail"); code != 7 || out != "" || errs != "it failed\n" {
				t.Errorf("remote failure: %d %q %q", code, out, errs)
			}
			data := strings.Repeat("0123456789", 50_000)
			s.in = strings.NewReader(data)
			if got := s.must(verb, id, "--", "cat"); got != data {
				t.Errorf("cat gave %d bytes back, want %d", len(got), len(data))
			}
			s.in = strings.NewReader("echo one\nexit 3\n")
			if out, _, code := s.run(verb, id); code != 3 || out != "$ one\n$ " {
				t.Errorf("shell: %d %q", code, out)
			}
			s.in = nil
			s.fails(1, "it has m1, m2", verb, id, "-m", "m9", "--", "echo")
			s.fails(1, "it has root, laborant", verb, id, "-u", "nobody", "--", "echo")
			s.fails(1, "no play", verb, "ffffffffffffffffffffffff")
			l.State(play.ID(id), play.Stopped)
			s.fails(1, "labctl playground restart "+id, verb, id, "--", "echo")
		})
	}
}

// Ctrl-C without a terminal reaches the program as a signal.
func TestInterrupt(t *testing.T) {
	for _, verb := range []string{"ssh", "terminal"} {
		t.Run(verb, func(t *testing.T) {
			l := servertest.New(t)
			s := newShell(t, l)
			id := string(l.Add("", "m1"))
			l.Ready(play.ID(id))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in, feed := io.Pipe()
			defer feed.Close()
			s.in = in
			out := writer(func(b []byte) {
				if strings.Contains(string(b), "waiting") {
					cancel()
				}
			})
			if code := s.app(out, io.Discard).Run(ctx, []string{verb, id, "--", "wait"}); code != 130 {
				t.Errorf("exit %d, want 130", code)
			}
		})
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// With a terminal the machine learns its size, its changes, and every key.
func TestTerminalSizeAndKeys(t *testing.T) {
	for _, verb := range []string{"ssh", "terminal"} {
		t.Run(verb, func(t *testing.T) {
			l := servertest.New(t)
			s := newShell(t, l)
			id := string(l.Add("", "m1"))
			l.Ready(play.ID(id))
			// A terminal for each run: labctl leaves its last read of one behind.
			run := func(command string) (master *os.File, lines *bufio.Reader, code chan int) {
				master, slave, err := pty.Open()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { master.Close(); slave.Close() })
				if err := pty.Setsize(master, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
					t.Fatal(err)
				}
				s.in = slave
				r, w := io.Pipe()
				code = make(chan int, 1)
				go func() {
					code <- s.app(w, os.Stderr).Run(s.ctx, []string{verb, id, "--", command})
					w.Close()
				}()
				return master, bufio.NewReader(r), code
			}
			want := func(lines *bufio.Reader, want string) {
				t.Helper()
				if got, err := lines.ReadString('\n'); got != want+"\n" {
					t.Errorf("got %q (%v), want %q", got, err, want)
				}
			}
			master, lines, code := run("size")
			want(lines, "first 30x100")
			if err := pty.Setsize(master, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
				t.Fatal(err)
			}
			// The kernel tells the foreground process of the terminal only.
			if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
				t.Fatal(err)
			}
			want(lines, "then 40x120")
			if got := <-code; got != 0 {
				t.Errorf("exit %d", got)
			}

			master, lines, code = run("wait")
			want(lines, "waiting")
			if _, err := master.Write([]byte{3}); err != nil { // Ctrl-C
				t.Fatal(err)
			}
			want(lines, "key 3")
			if got := <-code; got != 130 {
				t.Errorf("exit %d", got)
			}
		})
	}
}

func TestStartEndsInAShell(t *testing.T) {
	l := servertest.New(t)
	l.Boot = boot
	s := newShell(t, l)
	s.in = strings.NewReader("exit 5\n")
	if out, errs, code := s.run("playground", "start", "flexbox", "--ssh", "-q"); code != 5 || out != "$ " {
		t.Errorf("start --ssh: %d %q %q", code, out, errs)
	}
}

// Credentials from the environment only: there is no key file.
func TestSSHWithoutKeyFile(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, nil)
	s.env = map[string]string{"IXIMIUZ_SESSION_ID": servertest.Session, "IXIMIUZ_ACCESS_TOKEN": servertest.Token}
	id := string(l.Add("", "m1"))
	l.Ready(play.ID(id))
	if got := s.must("--endpoint", l.HTTP.URL, "ssh", id, "--", "echo", "hi"); got != "hi\n" {
		t.Errorf("got %q", got)
	}
	if entries, err := os.ReadDir(s.home); err != nil || len(entries) != 0 {
		t.Errorf("the home directory has %v", entries)
	}
}

func TestBrokenKeyFile(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, l)
	if err := os.WriteFile(filepath.Join(s.home, ".ssh", "iximiuz_labs_user"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := string(l.Add("", "m1"))
	l.Ready(play.ID(id))
	s.fails(1, "cannot read SSH key", "ssh", id)
}

// ssh right after a start that did not wait: the tunnel call is held.
func TestSSHWaitsForTheBoot(t *testing.T) {
	l := servertest.New(t)
	l.Gateway.Hold, l.Gateway.MinHold = 10*time.Millisecond, 10*time.Millisecond
	s := newShell(t, l)
	id := l.Add("", "m1")
	go func() {
		l.Condition(id, "m1", api.ConditionBoot, 1)
		l.Ready(id)
	}()
	if got := s.must("ssh", string(id), "--", "echo", "up"); got != "up\n" {
		t.Errorf("got %q", got)
	}
}
