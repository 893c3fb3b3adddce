package session

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandlot/guest/wire"
	"sandlot/internal/labtest"
)

func TestInfoAndPorts(t *testing.T) {
	_, a := machine(t)
	info, err := a.Info(within(t))
	want := wire.Info{BootID: "boot-1", Hostname: "m1", Kernel: "6.1", Init: "/sbin/init"}
	if err != nil || info != want {
		t.Errorf("got %+v, %v, want %+v", info, err, want)
	}
	ports, err := a.Ports(within(t))
	if want := []wire.Port{{Address: "127.0.0.1", Number: 22}, {Address: "::1", Number: 80}}; err != nil || !slices.Equal(ports, want) {
		t.Errorf("got %v, %v, want %v", ports, err, want)
	}
}

func TestExec(t *testing.T) {
	g, a := machine(t)
	for name, c := range map[string]struct {
		exec     wire.Exec
		in       string
		code     int
		out, err string
	}{
		"separate streams":   {exec: wire.Exec{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}, code: 3, out: "out\n", err: "err\n"},
		"input to its end":   {exec: wire.Exec{Argv: []string{"wc", "-c"}}, in: strings.Repeat("x", 300_000), out: "300000\n"},
		"killed by a signal": {exec: wire.Exec{Argv: []string{"sh", "-c", "kill -9 $$"}}, code: 137},
		"environment":        {exec: wire.Exec{Argv: []string{"sh", "-c", "echo $HOME $USER $A"}, Env: map[string]string{"A": "b"}}, out: "/home/me me b\n"},
		"login environment":  {exec: wire.Exec{Argv: []string{"sh", "-c", "echo $LOGNAME $SHELL $FROM_FILE"}, Login: true}, out: "me /bin/sh yes\n"},
		"login shell":        {exec: wire.Exec{Login: true}, in: "echo $0; exit 4\n", code: 4, out: "-sh\n"},
		"directory":          {exec: wire.Exec{Argv: []string{"pwd"}, Dir: "/usr"}, out: "/usr\n"},
		"much output":        {exec: wire.Exec{Argv: []string{"sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"}}, out: strings.Repeat("x", 3_000_000)},
	} {
		t.Run(name, func(t *testing.T) {
			c.exec.User = g.user
			var out, errs bytes.Buffer
			code, err := a.Exec(within(t), c.exec, Streams{In: strings.NewReader(c.in), Out: &out, Err: &errs})
			if err != nil || code != c.code || out.String() != c.out || errs.String() != c.err {
				t.Errorf("code %d, %v, out %.200q, err %q; want code %d, out %.200q, err %q", code, err, out.String(), errs.String(), c.code, c.out, c.err)
			}
		})
	}
	for name, c := range map[string]struct {
		exec wire.Exec
		code int
		want string
	}{
		"no such program": {wire.Exec{User: g.user, Argv: []string{"no-such-program"}}, 127, `cannot find program "no-such-program"`},
		"no such file":    {wire.Exec{User: g.user, Argv: []string{"/no/such"}}, 127, "no such file"},
		"not executable":  {wire.Exec{User: g.user, Argv: []string{"/etc/passwd"}}, 126, "permission denied"},
		"no such user":    {wire.Exec{User: "ghost", Argv: []string{"true"}}, -1, `no user "ghost"`},
	} {
		t.Run(name, func(t *testing.T) {
			code, err := a.Exec(within(t), c.exec, Streams{})
			var remote *RemoteError
			if code != c.code || !errors.As(err, &remote) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("code %d, error %v; want %d, %q", code, err, c.code, c.want)
			}
		})
	}
}

// A child left in the background holds the pipe; the exit must not wait for
// it, and it must live on.
func TestExecLeavesBackgroundChildren(t *testing.T) {
	g, a := machine(t)
	mark := filepath.Join(g.home, "mark")
	var out bytes.Buffer
	script := fmt.Sprintf("(while [ ! -e %[1]s ]; do echo noise; sleep 0.01; done; echo done > %[1]s.2) & echo started", mark)
	code, err := a.Exec(within(t), wire.Exec{User: g.user, Argv: []string{"sh", "-c", script}}, Streams{Out: &out})
	if code != 0 || err != nil || !strings.Contains(out.String(), "started\n") {
		t.Fatalf("code %d, %v, out %.100q", code, err, out.String())
	}
	os.WriteFile(mark, nil, 0o644)
	waitFor(t, func() bool { _, err := os.Stat(mark + ".2"); return err == nil })
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// A login at a terminal is greeted by the image's /etc/motd, unless the user
// has a ~/.hushlogin; a command is not.
func TestBanner(t *testing.T) {
	g, a := machine(t)
	write := func(name, body string) {
		if err := os.WriteFile(filepath.Join(g.root, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	login := func(argv ...string) string {
		out := newSafeBuffer()
		e := wire.Exec{Argv: argv, User: g.user, Login: true, TTY: &wire.TTY{Rows: 24, Cols: 80}}
		if _, err := a.Exec(within(t), e, Streams{In: strings.NewReader("exit\n"), Out: out}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	write("etc/motd", "Good\nmorning\n")
	if got := login(); !strings.HasPrefix(got, "Good\r\nmorning\r\n") {
		t.Errorf("a login shows %q", got)
	}
	if got := login("true"); strings.Contains(got, "Good") {
		t.Errorf("a command shows %q", got)
	}
	write("home/me/.hushlogin", "")
	if got := login(); strings.Contains(got, "Good") {
		t.Errorf("a hushed login shows %q", got)
	}
}

func TestTerminal(t *testing.T) {
	g, a := machine(t)
	ctx := within(t)
	in, keys := io.Pipe()
	out := newSafeBuffer()
	resize := make(chan wire.TTY)
	signals := make(chan string)
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := a.Exec(ctx, wire.Exec{User: g.user, Env: map[string]string{"PS1": "> "}, TTY: &wire.TTY{Term: "vt100", Rows: 24, Cols: 80}},
			Streams{In: in, Out: out, Resize: resize, Signal: signals})
		ended <- end{code, err}
	}()
	io.WriteString(keys, "stty size; echo term-$TERM\n")
	out.await(t, ctx, "24 80")
	out.await(t, ctx, "term-vt100")
	resize <- wire.TTY{Rows: 50, Cols: 132}
	io.WriteString(keys, "while [ \"$(stty size)\" != '50 132' ]; do :; done; echo re\"\"sized\n")
	out.await(t, ctx, "resized")
	io.WriteString(keys, "trap 'echo caught-\"\"usr1; got=1' USR1; echo rea\"\"dy; while [ -z \"$got\" ]; do :; done\n")
	out.await(t, ctx, "ready")
	signals <- "USR1"
	out.await(t, ctx, "caught-usr1")
	// A shell that forks at this moment may lose the signal, and one that reads
	// would eat what is typed next; one that is busy does neither.
	io.WriteString(keys, "sh -c 'echo bu\"\"sy; while :; do :; done'\n")
	out.await(t, ctx, "busy")
	keys.Write([]byte{3}) // Ctrl-C
	io.WriteString(keys, "echo rc-$?; exit 5\n")
	e := <-ended
	if e.code != 5 || e.err != nil || !strings.Contains(out.String(), "rc-130") {
		t.Errorf("code %d, %v, output %q", e.code, e.err, out.String())
	}
}

// When the caller gives up, the process is gone, with its children.
func TestExecEndsWithItsContext(t *testing.T) {
	g, a := machine(t)
	ctx, cancel := context.WithCancel(within(t))
	out := newSafeBuffer()
	ended := make(chan error, 1)
	pidfile := filepath.Join(g.home, "pid")
	go func() {
		_, err := a.Exec(ctx, wire.Exec{User: g.user, Argv: []string{"sh", "-c", "sleep 1000 & echo $! > " + pidfile + "; echo up; wait"}}, Streams{Out: out})
		ended <- err
	}()
	out.await(t, ctx, "up")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	pid, _ := os.ReadFile(pidfile)
	waitFor(t, func() bool {
		b, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

func TestDial(t *testing.T) {
	_, a := machine(t)
	port := labtest.Service(t, func(c net.Conn) {
		defer c.Close()
		b, _ := io.ReadAll(c) // until the other side's end of file
		_, _ = c.Write(append([]byte("you said "), b...))
	})
	big := strings.Repeat("abc", 200_000)
	for _, address := range []string{"127.0.0.1:" + port, ":" + port} {
		c, err := a.Dial(within(t), address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, big); err != nil {
			t.Fatal(err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || string(got) != "you said "+big {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		c.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading a closed connection gave %v", err)
		}
	}
	if _, err := a.Dial(within(t), "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("dialing a closed port gave %v", err)
	}
	if _, err := a.Dial(within(t), "nonsense"); err == nil || !strings.Contains(err.Error(), "missing port") {
		t.Errorf("dialing nonsense gave %v", err)
	}
}

func TestListen(t *testing.T) {
	_, a := machine(t)
	l, err := a.Listen(within(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	for i := range 3 {
		inside, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(inside, "hello %d", i)
		inside.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(c)
		fmt.Fprintf(c, "got %q", got)
		c.Close()
		back, _ := io.ReadAll(inside)
		if want := fmt.Sprintf("got %q", fmt.Sprintf("hello %d", i)); string(back) != want {
			t.Errorf("got %q, want %q", back, want)
		}
		inside.Close()
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener gave %v", err)
	}
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

func makeTar(t *testing.T, headers ...*tar.Header) *bytes.Buffer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		body := h.PAXRecords["SANDLOT.body"]
		h.PAXRecords = nil
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, body)
	}
	w.Close()
	return &b
}

func file(name, body string, mode int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, PAXRecords: map[string]string{"SANDLOT.body": body}}
}

func TestPutAndGet(t *testing.T) {
	g, a := machine(t)
	dir := filepath.Join(g.home, "new", "dir")
	big := strings.Repeat("0123456789", 100_000)
	in := makeTar(t,
		&tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755},
		file("d/f", "hello", 0o640), file("x", big, 0o755),
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "d/link", Linkname: "f"})
	if err := a.Put(within(t), g.user, dir, in); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir + "/d/f"); err != nil || info.Mode() != 0o640 {
		t.Errorf("d/f is %v, %v", info, err)
	}
	var out bytes.Buffer
	if err := a.Get(within(t), g.user, dir, &out); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	r := tar.NewReader(&out)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r)
		got[h.Name] = h.Linkname + string(body)
	}
	for name, want := range map[string]string{"dir/": "", "dir/d/f": "hello", "dir/x": big, "dir/d/link": "f"} {
		if is, ok := got[name]; !ok || is != want {
			t.Errorf("%s is %.20q (%v)", name, is, ok)
		}
	}
	out.Reset()
	if err := a.Get(within(t), g.user, dir+"/d/f", &out); err != nil {
		t.Fatal(err)
	}
	if h, err := tar.NewReader(&out).Next(); err != nil || h.Name != "f" {
		t.Errorf("a single file came as %v, %v", h, err)
	}
	if err := a.Get(within(t), g.user, dir+"/missing", io.Discard); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file gave %v", err)
	}
}

func TestPutCannotEscape(t *testing.T) {
	g, a := machine(t)
	outside := t.TempDir()
	for name, in := range map[string]*bytes.Buffer{
		"dots":              makeTar(t, file("../evil", "x", 0o644)),
		"absolute":          makeTar(t, file(outside+"/evil", "x", 0o644)),
		"through a symlink": makeTar(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: outside}, file("l/evil", "x", 0o644)),
		"device":            makeTar(t, &tar.Header{Typeflag: tar.TypeChar, Name: "d", Devmajor: 1, Devminor: 3}),
		"no tar":            bytes.NewBufferString(strings.Repeat("junk", 1000)),
		"cut short":         bytes.NewBuffer(makeTar(t, file("x", strings.Repeat("y", 5000), 0o644)).Bytes()[:2000]),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(g.home, "target")
			if err := a.Put(within(t), g.user, dir, in); err == nil {
				t.Error("it was extracted")
			}
		})
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("something was written outside: %v", left)
	}
	if _, err := os.Stat(filepath.Join(g.home, "evil")); err == nil {
		t.Error("a file was written above the target")
	}
}

func TestAuthorizeOnce(t *testing.T) {
	g, a := machine(t)
	for range 2 {
		if err := a.Authorize(within(t), g.user, "ssh-ed25519 AAAA me\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Authorize(within(t), g.user, "ssh-ed25519 BBBB you"); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(g.home + "/.ssh/authorized_keys")
	if want := "ssh-ed25519 AAAA me\nssh-ed25519 BBBB you\n"; string(b) != want {
		t.Errorf("file is %q, want %q", b, want)
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 20_000)} {
		if err := a.Authorize(within(t), g.user, bad); err == nil {
			t.Errorf("%.20q was taken", bad)
		}
	}
	outside := t.TempDir()
	os.RemoveAll(g.home + "/.ssh")
	os.Symlink(outside, g.home+"/.ssh")
	if err := a.Authorize(within(t), g.user, "ssh-ed25519 CCCC"); err == nil {
		t.Error("a link led the key out of the home directory")
	}
}

func TestWatch(t *testing.T) {
	g, a := machine(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g.agent.SSHAddress = l.Addr().String()
	_, port, _ := net.SplitHostPort(g.agent.SSHAddress)
	var number int
	fmt.Sscan(port, &number)
	os.WriteFile(g.root+"/proc/net/tcp", fmt.Appendf(nil, "0: 0100007F:%04X 0:0 0A\n", number), 0o644)
	asked := 0
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if asked++; asked > 1 { // the first time it is not ready
				io.WriteString(c, "SSH-2.0-test\r\n")
			}
			c.Close()
		}
	}()
	ctx, cancel := context.WithCancel(within(t))
	go g.agent.Observe(ctx)
	for range 2 { // the second watcher hears the facts again
		var kinds []string
		watching, stop := context.WithCancel(ctx)
		err := a.Watch(watching, func(e wire.Event) {
			if watching.Err() != nil {
				return // it was under way
			}
			kinds = append(kinds, e.Kind)
			if e.Kind == wire.EventSSH {
				stop()
			}
		})
		if !errors.Is(err, context.Canceled) || !slices.Equal(kinds, []string{wire.EventBooted, wire.EventSSH}) {
			t.Errorf("events were %v, %v", kinds, err)
		}
	}
	cancel()
}

func TestClose(t *testing.T) {
	_, a := machine(t)
	if _, err := a.Info(within(t)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := a.Info(within(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

func TestUnknownShutdown(t *testing.T) {
	_, a := machine(t)
	if err := a.Shutdown(within(t), "explode"); err == nil || !strings.Contains(err.Error(), "want poweroff or reboot") {
		t.Errorf("error is %v", err)
	}
}
