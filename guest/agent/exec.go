package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"sandlot/guest/accounts"
	"sandlot/guest/wire"
)

// Exit codes of a shell for a program that cannot be started.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// drain bounds how long output is still awaited once the main process has
// exited: children it left in the background may hold the pipe for ever.
const drain = 200 * time.Millisecond

// patience is what a process whose host went away has to end by itself.
const patience = 3 * time.Second

func (a *Agent) exec(ctx context.Context, s *yamux.Stream, e wire.Exec) error {
	if e.Keep != "" {
		return a.execKept(ctx, s, e)
	}
	u, err := a.account(e.User)
	if err != nil {
		return err
	}
	respond(s, wire.Response{})
	out := &frames{w: s}
	p, failure := a.launch(u, e, func(text []byte) { out.write(wire.FrameStdout, text) })
	if failure != nil {
		out.exit(*failure)
		return nil
	}
	a.conduct(ctx, s, out, p)
	return nil
}

// launch starts a process, or tells as an exit why it could not. greet gets
// what is shown before its own output, if there is any.
func (a *Agent) launch(u accounts.Account, e wire.Exec, greet func([]byte)) (*process, *wire.Exit) {
	attr := a.attributes(u, e)
	argv := e.Argv
	file := ""
	if len(argv) == 0 {
		file = shellOf(u)
		name := path.Base(file)
		if e.Login {
			name = "-" + name
		}
		argv = []string{name}
	}
	var err error
	if file == "" {
		if file, err = lookPath(argv[0], attr.Dir, attr.Env); err != nil {
			return nil, &wire.Exit{Code: exitNotFound, Error: err.Error()}
		}
	}
	var p *process
	if e.TTY != nil && e.Login && len(e.Argv) == 0 {
		if text := a.motd(u.Home); text != "" {
			greet([]byte(text))
		}
	}
	if e.TTY != nil {
		p, err = a.startTerminal(file, argv, attr, *e.TTY)
	} else {
		p, err = a.startPipes(file, argv, attr)
	}
	if err != nil {
		code := exitNotExecutable
		if errors.Is(err, os.ErrNotExist) {
			code = exitNotFound
		}
		return nil, &wire.Exit{Code: code, Error: fmt.Sprintf("cannot start %q: %v", file, err)}
	}
	return p, nil
}

// attributes of a process of user u, in a session of its own.
func (a *Agent) attributes(u accounts.Account, e wire.Exec) *os.ProcAttr {
	dir := e.Dir
	if dir == "" {
		dir = "/"
		// A home that is missing must not keep a person out.
		if info, err := os.Stat(u.Home); err == nil && info.IsDir() {
			dir = u.Home
		}
	}
	return &os.ProcAttr{
		Env: a.environment(u, e),
		Dir: dir,
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: a.credential(u)},
	}
}

// maxMotd bounds the message of the day; one chunk takes it.
const maxMotd = 4 << 10

// motd is what sshd would show at a login: the image's /etc/motd, unless the
// user has a ~/.hushlogin.
func (a *Agent) motd(home string) string {
	if _, err := os.Lstat(a.Root + home + "/.hushlogin"); err == nil {
		return ""
	}
	info, err := os.Stat(a.Root + "/etc/motd")
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(a.Root + "/etc/motd")
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxMotd))
	return strings.ReplaceAll(string(text), "\n", "\r\n")
}

// process is a running child and our ends of its streams. With a terminal,
// stdin and stdout are the same file and stderr is nil.
type process struct {
	*os.Process
	stdin, stdout, stderr *os.File
	terminal              bool
}

// start forks. The child must not inherit the agent's protection from the
// out-of-memory killer, so it is given up while the fork happens.
func (a *Agent) start(file string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	a.fork.Lock()
	defer a.fork.Unlock()
	const score = "/proc/self/oom_score_adj"
	if old, err := os.ReadFile(score); err == nil && strings.TrimSpace(string(old)) != "0" {
		os.WriteFile(score, []byte("0"), 0)
		defer os.WriteFile(score, old, 0)
	}
	return os.StartProcess(file, argv, attr)
}

func (a *Agent) startPipes(file string, argv []string, attr *os.ProcAttr) (*process, error) {
	var files [6]*os.File
	defer func() {
		for i, f := range files {
			if f != nil && (i == 0 || i == 3 || i == 5) {
				f.Close()
			}
		}
	}()
	for i := 0; i < 6; i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			files = [6]*os.File{}
			return nil, err
		}
		files[i], files[i+1] = r, w
	}
	p := &process{stdin: files[1], stdout: files[2], stderr: files[4]}
	attr.Files = []*os.File{files[0], files[3], files[5]}
	// A child that may not open /dev/stdout again (another user's pipe)
	// breaks scripts that write there.
	if c := attr.Sys.Credential; c != nil {
		for _, f := range attr.Files {
			f.Chown(int(c.Uid), int(c.Gid))
		}
	}
	var err error
	p.Process, err = a.start(file, argv, attr)
	if err != nil {
		p.stdin.Close()
		p.stdout.Close()
		p.stderr.Close()
		return nil, err
	}
	return p, nil
}

// ttyGroup is the group that owns terminals everywhere; write(1) needs it.
const ttyGroup = 5

func (a *Agent) startTerminal(file string, argv []string, attr *os.ProcAttr, size wire.TTY) (*process, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("no terminal: %w", err)
	}
	defer slave.Close()
	pty.Setsize(master, &pty.Winsize{Rows: size.Rows, Cols: size.Cols})
	if c := attr.Sys.Credential; c != nil {
		slave.Chown(int(c.Uid), ttyGroup)
		slave.Chmod(0o620)
	}
	attr.Files = []*os.File{slave, slave, slave}
	attr.Sys.Setctty = true
	attr.Sys.Ctty = 0
	p := &process{stdin: master, stdout: master, terminal: true}
	if p.Process, err = a.start(file, argv, attr); err != nil {
		master.Close()
		return nil, err
	}
	return p, nil
}

// conduct carries frames between the host and the process until it has exited
// and its output is sent, or the host is gone.
func (a *Agent) conduct(ctx context.Context, s *yamux.Stream, out *frames, p *process) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.input(s)
	}()
	var outputs sync.WaitGroup
	done := make(chan struct{})
	ended := make(chan struct{})
	for _, o := range []struct {
		t wire.FrameType
		f *os.File
	}{{wire.FrameStdout, p.stdout}, {wire.FrameStderr, p.stderr}} {
		if o.f != nil {
			outputs.Go(func() {
				copyOutput(o.f, ended, func(b []byte) error { return out.write(o.t, b) })
			})
		}
	}
	exited := make(chan wire.Exit, 1)
	go func() { exited <- p.wait() }()
	go func() { outputs.Wait(); close(done) }()

	var exit wire.Exit
	select {
	case exit = <-exited:
	case <-gone:
		p.end(exited, unix.SIGHUP, unix.SIGTERM)
		p.release(done)
		return
	case <-ctx.Done():
		p.end(exited, unix.SIGHUP, unix.SIGTERM)
		p.release(done)
		return
	}
	// What the process wrote before it ended is in the pipe already; only a
	// background child can keep us waiting, and only as long as it writes.
	close(ended)
	p.stdout.SetReadDeadline(time.Now())
	if p.stderr != nil {
		p.stderr.SetReadDeadline(time.Now())
	}
	select {
	case <-done:
	case <-gone:
	}
	out.exit(exit)
	p.release(done)
}

// release lets go of our ends. Pipes that background children still hold are
// read on, so that these do not die of writing.
func (p *process) release(outputsDone <-chan struct{}) {
	p.stdin.Close()
	if p.terminal {
		return
	}
	go func() {
		<-outputsDone
		for _, f := range []*os.File{p.stdout, p.stderr} {
			go func() {
				f.SetReadDeadline(time.Time{})
				io.Copy(io.Discard, f)
				f.Close()
			}()
		}
	}()
}

func (p *process) wait() wire.Exit {
	state, err := p.Process.Wait()
	if err != nil {
		return wire.Exit{Code: 255, Error: err.Error()}
	}
	status := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return wire.Exit{Code: 128 + int(status.Signal())}
	}
	return wire.Exit{Code: status.ExitStatus()}
}

// end is for a process that nobody wants any more: ask it to go, then kill.
func (p *process) end(exited <-chan wire.Exit, ask ...unix.Signal) (exit wire.Exit) {
	for _, sig := range ask {
		p.signal(sig)
	}
	select {
	case exit = <-exited:
	case <-time.After(patience):
		p.signal(unix.SIGKILL)
		exit = <-exited
	}
	// Those of the group that did not listen.
	p.signal(unix.SIGKILL)
	return exit
}

// signal goes to the process's own group, and on a terminal to the job in the
// foreground.
func (p *process) signal(sig unix.Signal) {
	unix.Kill(-p.Pid, sig)
	if !p.terminal {
		return
	}
	conn, err := p.stdin.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) {
		if group, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil && group > 1 && group != p.Pid {
			unix.Kill(-group, sig)
		}
	})
}

// input obeys the host's frames until the host closes the stream, or asks for
// the end of the process, which it returns.
func (p *process) input(s io.Reader) (end bool) {
	open := true
	for {
		t, payload, err := wire.ReadFrame(s)
		if err != nil || t == wire.FrameEnd {
			return err == nil
		}
		switch t {
		case wire.FrameStdin:
			switch {
			case !open:
			case len(payload) == 0 && p.terminal:
				p.stdin.Write([]byte{4}) // Ctrl-D: a terminal has no other end of file
			case len(payload) == 0:
				open = false
				p.stdin.Close()
			default:
				if _, err := p.stdin.Write(payload); err != nil {
					open = false
				}
			}
		case wire.FrameResize:
			var size wire.TTY
			if p.terminal && json.Unmarshal(payload, &size) == nil {
				pty.Setsize(p.stdin, &pty.Winsize{Rows: size.Rows, Cols: size.Cols})
			}
		case wire.FrameSignal:
			if sig := unix.SignalNum("SIG" + strings.TrimPrefix(string(payload), "SIG")); sig != 0 {
				p.signal(sig)
			}
		}
	}
}

// frames writes output frames from several goroutines.
type frames struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frames) write(t wire.FrameType, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return wire.WriteFrame(f.w, t, b)
}

func (f *frames) exit(e wire.Exit) {
	b, _ := json.Marshal(e) // an int and a string always encode
	f.write(wire.FrameExit, b)
}

// linger bounds what is still sent of a process's output once it has ended:
// the most that can be in a pipe. A background child may write for ever.
const linger = 1 << 20

// copyOutput sends what r gives until it ends or, after the process has ended,
// until it was waited for as long as drain. A failed send no longer stops the
// reading: the process must not block on a full pipe.
func copyOutput(r *os.File, ended <-chan struct{}, send func([]byte) error) {
	buf := make([]byte, wire.MaxChunk-5) // with its header, one chunk
	var failed, last bool
	wait, late := drain, 0
	for late < linger {
		select {
		case <-ended:
			// Only the time spent here counts: while we wait for the host,
			// output may still be in the pipe.
			r.SetReadDeadline(time.Now().Add(wait))
			last = true
		default:
		}
		start := time.Now()
		n, err := r.Read(buf)
		took := time.Since(start)
		if n > 0 && !failed {
			failed = send(buf[:n]) != nil
		}
		if last {
			wait = max(time.Millisecond, wait-took)
			late += n
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // woken because the process has just ended
		}
		if err != nil {
			return
		}
	}
}
