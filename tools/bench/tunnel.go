package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/api"
	"sandlot/client"
)

const (
	bulk       = 64 << 20 // bytes of one transfer
	keystrokes = 300
	// between keystrokes, as a fast typist: what sleeps must wake up.
	between = 30 * time.Millisecond
	// the bounds of the figures
	slowerTunnel = 1 / 0.8
	slowerEcho   = 5 * time.Millisecond
)

// source runs inside the machine: "d" makes it send bulk bytes, "u" take them
// and then say so.
const source = `
import socket, threading
size, block = %d, bytes(1 << 18)
def serve(c):
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    what = c.recv(1)
    if what == b"d":
        for _ in range(size // len(block)): c.sendall(block)
    elif what == b"u":
        left, into = size, bytearray(1 << 18)
        while left > 0:
            n = c.recv_into(into)
            if n == 0: return
            left -= n
        c.sendall(b"k")
        c.recv(1)
    c.close()
l = socket.create_server(("", 5001), backlog=16)
while True: threading.Thread(target=serve, args=(l.accept()[0],)).start()
`

// tunnel is what a tunnel carries, and how soon a terminal answers, against
// what the host itself gets from the same machine in the play's own network.
func (b *bench) tunnel() ([]figure, error) {
	id, _, err := b.labd.play(one)
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = b.labd.destroy(id) }()
	// A first login leaves a key in the machine.
	out, err := b.labd.labctl("ssh", id, "-u", "root", "--", "systemctl is-system-running --wait >/dev/null; hostname -I")
	if err != nil {
		return nil, err
	}
	address, _, _ := strings.Cut(out, " ")
	script := filepath.Join(b.work, "source.py")
	if err := os.WriteFile(script, fmt.Appendf(nil, source, bulk), 0o600); err != nil {
		return nil, err
	}
	if _, err := b.labd.labctl("cp", script, id+":/root/source.py", "-u", "root"); err != nil {
		return nil, err
	}
	if _, err := b.labd.labctl("ssh", id, "-u", "root", "--", "systemd-run -q python3 /root/source.py"); err != nil {
		return nil, err
	}
	spaces, err := filepath.Glob("/run/netns/sandlot-*-" + id)
	if err != nil || len(spaces) != 1 {
		return nil, fmt.Errorf("found %d network namespaces of play %s", len(spaces), id)
	}
	figures, err := b.throughput(id, spaces[0], address)
	if err != nil {
		return nil, err
	}
	echo, err := b.echo(id, filepath.Base(spaces[0]), address)
	return append(figures, echo), err
}

func (b *bench) throughput(id, space, address string) ([]figure, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	local := l.Addr().String()
	_ = l.Close()
	forward := b.labd.start("port-forward", id, "-L", local+":5001")
	if err := forward.Start(); err != nil {
		return nil, err
	}
	defer func() { _ = forward.Process.Kill(); _ = forward.Wait() }()
	ways := []struct {
		name string
		dial func() (net.Conn, error)
	}{
		{"plain TCP", func() (net.Conn, error) { return dialIn(space, net.JoinHostPort(address, "5001")) }},
		{"a tunnel", func() (net.Conn, error) { return net.Dial("tcp", local) }},
	}
	times := map[string][]time.Duration{}
	for _, direction := range []string{"u", "d"} {
		for range 2*b.runs + 1 {
			for _, way := range ways {
				took, err := b.transfer(direction, way.dial)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", way.name, err)
				}
				times[direction+way.name] = append(times[direction+way.name], took)
			}
		}
	}
	var figures []figure
	for direction, name := range map[string]string{"u": "64 MiB to a machine", "d": "64 MiB from a machine"} {
		plain, ours := median(times[direction+"plain TCP"]), median(times[direction+"a tunnel"])
		fmt.Fprintf(os.Stderr, "  %s: plain TCP %.0f MB/s, a tunnel %.0f MB/s\n", name, bulk/1e6/plain.Seconds(), bulk/1e6/ours.Seconds())
		figures = append(figures, versus(name+" by a tunnel, against plain TCP from the host", ours, plain, slowerTunnel))
	}
	return figures, nil
}

// transfer moves bulk bytes once; a service that does not listen yet is asked
// again.
func (b *bench) transfer(direction string, dial func() (net.Conn, error)) (time.Duration, error) {
	var last error
	for range 100 {
		begin := time.Now()
		err := func() error {
			c, err := dial()
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := io.WriteString(c, direction); err != nil {
				return err
			}
			if direction == "d" {
				n, err := io.Copy(io.Discard, io.LimitReader(c, bulk))
				if err == nil && n != bulk {
					err = fmt.Errorf("%d of %d bytes came", n, bulk)
				}
				return err
			}
			block := make([]byte, 256<<10)
			for range bulk / len(block) {
				if _, err := c.Write(block); err != nil {
					return err
				}
			}
			_, err = io.ReadFull(c, block[:1])
			return err
		}()
		if err == nil {
			return time.Since(begin), nil
		}
		last = err
		select {
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return 0, last
}

// dialIn connects from inside a network namespace: the socket is made by a
// thread that is there, and belongs there.
func dialIn(space, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		fd, err := unix.Open(space, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err != nil {
			done <- result{nil, fmt.Errorf("cannot enter %q: %w", space, err)}
			return
		}
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// keys is a terminal that echoes: what is typed, and what has come back.
type keys struct {
	name  string
	in    io.Writer
	back  chan struct{}
	times []time.Duration
}

func (k *keys) Write(out []byte) (int, error) {
	for range bytes.Count(out, []byte("x")) {
		k.back <- struct{}{}
	}
	return len(out), nil
}

func (k *keys) press(ctx context.Context) error {
	begin := time.Now()
	if _, err := io.WriteString(k.in, "x"); err != nil {
		return err
	}
	select {
	case <-k.back:
		k.times = append(k.times, time.Since(begin))
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("%s did not echo", k.name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keys) p95() time.Duration {
	slices.Sort(k.times)
	return k.times[len(k.times)*95/100]
}

// echo types into two terminals in turn, each with cat on a terminal of the
// machine's kernel.
func (b *bench) echo(id, space, address string) (figure, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	c, err := b.labd.client()
	if err != nil {
		return figure{}, err
	}
	term, err := c.OpenTerminal(ctx, id, api.TerminalRequest{User: "root", Command: "cat", TTY: &api.TTY{Term: "xterm", Rows: 24, Cols: 80}}, func() {})
	if err != nil {
		return figure{}, err
	}
	defer term.Close()
	typed, in := io.Pipe()
	web := &keys{name: "the web terminal", in: in, back: make(chan struct{}, 1)}
	go func() { _ = term.Input(ctx, typed) }()
	go func() { _, _ = term.Output(ctx, web, io.Discard) }()

	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", space, "ssh", "-tt", "-i", filepath.Join(b.labd.home, ".ssh", "iximiuz_labs_user"),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@"+address, "cat")
	ssh := &keys{name: "ssh", back: make(chan struct{}, 1)}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return figure{}, err
	}
	ssh.in, cmd.Stdout = stdin, ssh
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	defer func() { cancel(); _ = cmd.Wait() }()

	for n := range keystrokes + 20 {
		if n == 20 { // warm
			web.times, ssh.times = nil, nil
		}
		for _, k := range []*keys{web, ssh} {
			if err := k.press(ctx); err != nil {
				return figure{}, err
			}
			time.Sleep(between)
		}
	}
	ours, baseline := web.p95(), ssh.p95()
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	fmt.Fprintf(os.Stderr, "  echo: web terminal median %s, p95 %s; ssh median %s, p95 %s\n", ms(median(web.times)), ms(ours), ms(median(ssh.times)), ms(baseline))
	return figure{"echo of a keystroke in a web terminal (p95), against ssh from the host and 5 ms", ms(ours), ms(baseline + slowerEcho), float64(ours) / float64(baseline+slowerEcho), 1}, nil
}

// start makes a command of labctl that runs on.
func (d *labd) start(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.bench.ctx, "bin/labctl", args...)
	cmd.Env = append(os.Environ(), "HOME="+d.home)
	cmd.Stderr = os.Stderr
	return cmd
}

// client is signed in as the administrator.
func (d *labd) client() (*client.Client, error) {
	return client.New(client.Config{APIBaseURL: d.url + "/api", SessionID: d.session, AccessToken: d.token})
}
