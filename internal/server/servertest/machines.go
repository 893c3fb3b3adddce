package servertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/play"
)

// machines is the lab as the gateway sees it.
type machines struct{ *Lab }

// Ports are those of Listening.
func (m machines) Ports(context.Context, play.ID, string) ([]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.listening), nil
}

// Await blocks until the condition is true.
func (l *Lab) Await(ctx context.Context, id play.ID, machine, condition string) error {
	for {
		l.mu.Lock()
		p, ok := l.plays[id]
		changed := l.changed
		l.mu.Unlock()
		if !ok {
			return api.Errorf(api.NotFound, "there is no play %s", id)
		}
		if m, _ := p.Status.Machine(machine); m.Is(condition) {
			return nil
		} else if m.State == string(play.MachineFailed) {
			return api.Errorf(api.Conflict, "machine %q failed", machine)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Authorize remembers the key for the machine's SSH server.
func (l *Lab) Authorize(_ context.Context, _ play.ID, machine, user, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.authorized[machine+"/"+user] = append(l.authorized[machine+"/"+user], key)
	return nil
}

// Dial reaches the machine's SSH server on port 22, and the test's own
// loopback on others.
func (l *Lab) Dial(ctx context.Context, _ play.ID, machine, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if port == "22" {
		ours, theirs := net.Pipe()
		go l.sshd(theirs, machine)
		return ours, nil
	}
	if l.Dialer != nil {
		return l.Dialer(ctx, address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
}

// Listen binds on the test's own loopback.
func (l *Lab) Listen(ctx context.Context, _ play.ID, _, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// Exec runs the fake shell.
func (l *Lab) Exec(_ context.Context, _ play.ID, _ string, exec wire.Exec) (io.ReadWriteCloser, error) {
	if exec.User == "ghost" {
		return nil, errors.New(`there is no user "ghost"`)
	}
	ours, theirs := net.Pipe()
	l.count(1)
	go func() {
		defer l.count(-1)
		serveFrames(theirs, exec)
	}()
	return ours, nil
}

func serveFrames(conn net.Conn, exec wire.Exec) {
	defer conn.Close()
	var out sync.Mutex
	write := func(kind wire.FrameType) io.Writer {
		return writerFunc(func(b []byte) (int, error) {
			out.Lock()
			defer out.Unlock()
			return len(b), wire.WriteFrame(conn, kind, b)
		})
	}
	stdin, feed := io.Pipe()
	sh := newShell(stdin, write(wire.FrameStdout), write(wire.FrameStderr))
	if exec.TTY != nil {
		sh.resize(int(exec.TTY.Rows), int(exec.TTY.Cols))
	}
	go func() {
		defer feed.Close()
		for {
			kind, payload, err := wire.ReadFrame(conn)
			if err != nil {
				sh.signal("HUP")
				return
			}
			switch kind {
			case wire.FrameStdin:
				if len(payload) == 0 {
					feed.Close()
				} else if _, err := feed.Write(payload); err != nil {
					continue
				}
			case wire.FrameResize:
				var size wire.TTY
				if json.Unmarshal(payload, &size) == nil {
					sh.resize(int(size.Rows), int(size.Cols))
				}
			case wire.FrameSignal:
				sh.signal(string(payload))
			}
		}
	}()
	command := ""
	if len(exec.Argv) > 0 {
		command = exec.Argv[len(exec.Argv)-1]
	}
	if len(exec.Argv) > 0 && exec.Argv[0] == "journalctl" {
		sh.one("echo " + strings.Join(exec.Argv, " "))
		if command = "exit 3"; slices.Contains(exec.Argv, "--follow") {
			command = "wait"
		}
	}
	code := sh.run(command)
	body, _ := json.Marshal(wire.Exit{Code: code})
	_, _ = write(wire.FrameExit).Write(body)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Running is how many programs run through the agent.
func (l *Lab) Running() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

func (l *Lab) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running += n
}

// shell runs the few commands that tests need: echo, cat, exit N, fail, size
// (prints the terminal's size, and again once it changed), wait (until
// Ctrl-C). Without a command it reads lines of them.
type shell struct {
	in       *bufio.Reader
	out, err io.Writer

	sizes   chan string
	signals chan string
}

func newShell(in io.Reader, out, err io.Writer) *shell {
	return &shell{in: bufio.NewReader(in), out: out, err: err, sizes: make(chan string, 16), signals: make(chan string, 16)}
}

func (s *shell) resize(rows, cols int) { s.sizes <- fmt.Sprintf("%dx%d", rows, cols) }
func (s *shell) signal(name string)    { s.signals <- name }

func (s *shell) run(command string) int {
	if command != "" {
		code, _ := s.one(command)
		return code
	}
	for {
		fmt.Fprint(s.out, "$ ")
		line, err := s.in.ReadString('\n')
		if err != nil && line == "" {
			return 0
		}
		if code, end := s.one(strings.TrimSpace(line)); end {
			return code
		}
	}
}

func (s *shell) one(command string) (code int, end bool) {
	verb, rest, _ := strings.Cut(command, " ")
	switch verb {
	case "echo":
		fmt.Fprintln(s.out, rest)
	case "cat":
		_, _ = io.Copy(s.out, s.in)
	case "exit":
		code, _ = strconv.Atoi(rest)
		return code, true
	case "fail":
		fmt.Fprintln(s.err, "it failed")
		return 7, false
	case "size":
		fmt.Fprintln(s.out, "first", <-s.sizes)
		fmt.Fprintln(s.out, "then", <-s.sizes)
	case "wait":
		fmt.Fprintln(s.out, "waiting")
		key := make(chan byte, 1)
		go func() {
			b, _ := s.in.ReadByte()
			key <- b
		}()
		select {
		case name := <-s.signals:
			fmt.Fprintln(s.out, "signal", name)
		case b := <-key:
			fmt.Fprintln(s.out, "key", b)
		}
		return 130, false
	default:
		fmt.Fprintln(s.err, "no such command:", command)
		return 127, false
	}
	return 0, false
}

// sshd answers one connection as a machine's SSH server does.
func (l *Lab) sshd(conn net.Conn, machine string) {
	defer conn.Close()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	host, err := ssh.NewSignerFromKey(private)
	if err != nil {
		panic(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		line := string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)))
		l.mu.Lock()
		defer l.mu.Unlock()
		if slices.Contains(l.authorized[machine+"/"+meta.User()], line) {
			return nil, nil
		}
		return nil, fmt.Errorf("unknown key")
	}}
	cfg.AddHostKey(host)
	server, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go sshSession(channel, requests)
	}
}

func sshSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	sh := newShell(channel, channel, channel.Stderr())
	run := func(command string) {
		code := sh.run(command)
		_, _ = channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(code)))
		channel.Close()
	}
	for req := range requests {
		ok := true
		switch req.Type {
		case "pty-req":
			var pty struct {
				Term             string
				Cols, Rows, W, H uint32
				Modes            string
			}
			if ok = ssh.Unmarshal(req.Payload, &pty) == nil; ok {
				sh.resize(int(pty.Rows), int(pty.Cols))
			}
		case "window-change":
			var size struct{ Cols, Rows, W, H uint32 }
			if ok = ssh.Unmarshal(req.Payload, &size) == nil; ok {
				sh.resize(int(size.Rows), int(size.Cols))
			}
		case "signal":
			var sig struct{ Name string }
			if ok = ssh.Unmarshal(req.Payload, &sig) == nil; ok {
				sh.signal(sig.Name)
			}
		case "exec":
			var exec struct{ Command string }
			if ok = ssh.Unmarshal(req.Payload, &exec) == nil; ok {
				_ = req.Reply(true, nil) // before a quick command ends the channel
				go run(exec.Command)
				continue
			}
		case "shell":
			_ = req.Reply(true, nil)
			go run("")
			continue
		default:
			ok = false
		}
		_ = req.Reply(ok, nil)
	}
}
