package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/creack/pty"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"sandlot/guest/agent"
	"sandlot/guest/wire"
	"sandlot/internal/host/layout"
	"sandlot/internal/session"
	"sandlot/internal/vm/vmfake"
)

// guest is one boot of a pretended machine: the real agent, whose files are in
// a folder, and an SSH server that runs this host's programs in it. What a
// person does in it happens on this host's loopback, as the test's own user.
type guest struct {
	name    string // of the machine
	boot    string
	root    string
	sshPort string
	agent   *agent.Agent
	mu      sync.Mutex
	ports   []string // that scans look at
}

// insider is a session with an agent that must not shut down the test's host,
// and whose port 22 is the pretended machine's.
type insider struct {
	*session.Agent
	rehearsal *rehearsal
}

func (i *insider) guest(ctx context.Context) (string, *guest, error) {
	info, err := i.Info(ctx)
	if err != nil {
		return "", nil, err
	}
	i.rehearsal.mu.Lock()
	defer i.rehearsal.mu.Unlock()
	g := i.rehearsal.guests[info.Hostname]
	if g == nil {
		return "", nil, errors.New("no such machine")
	}
	return info.Hostname, g, nil
}

func (i *insider) Shutdown(ctx context.Context, kind string) error {
	name, _, err := i.guest(ctx)
	if err != nil {
		return err
	}
	machine := i.rehearsal.world.Guest(name)
	if kind == "reboot" {
		machine.Reboot()
	} else {
		machine.Poweroff()
	}
	return nil
}

func (i *insider) Dial(ctx context.Context, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && port == "22" && (host == "" || host == "127.0.0.1") {
		_, g, err := i.guest(ctx)
		if err != nil {
			return nil, err
		}
		address = "127.0.0.1:" + g.sshPort
	}
	return i.Agent.Dial(ctx, address)
}

// ExecStream has a journal of its own: this host's is none of a test's.
func (i *insider) ExecStream(ctx context.Context, e wire.Exec) (io.ReadWriteCloser, error) {
	if len(e.Argv) > 0 && e.Argv[0] == "journalctl" {
		e.Argv = []string{"/bin/sh", "-c", "echo \"$@\"; exec sleep 1000", "sh", strings.Join(e.Argv, " ")}
	}
	return i.Agent.ExecStream(ctx, e)
}

// pause keeps machines that boot from now on until release.
func (r *rehearsal) pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = make(chan struct{})
}

func (r *rehearsal) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold != nil {
		close(r.hold)
		r.hold = nil
	}
}

// serveGuest is vmfake's Handler.
func (r *rehearsal) serveGuest(ctx context.Context, machine *vmfake.Guest, conn net.Conn) {
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return
		}
	}
	g, err := r.boot(ctx, machine)
	if err != nil {
		r.t.Errorf("cannot boot %s: %v", machine.Spec().Name, err)
		return
	}
	_ = g.agent.Serve(ctx, conn, false)
}

// boot returns the guest of this boot, and begins it at the first time.
func (r *rehearsal) boot(ctx context.Context, machine *vmfake.Guest) (*guest, error) {
	spec, id := machine.Spec(), machine.BootID()
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.guests[spec.Name]; g != nil && g.boot == id {
		return g, nil
	}
	raw, err := os.ReadFile(spec.Initramfs)
	if err != nil {
		return nil, err
	}
	var config wire.Config
	if err := json.Unmarshal(bytes.Trim(raw, "\x00"), &config); err != nil {
		return nil, err
	}
	g := &guest{name: config.Hostname, boot: id, root: filesOf(spec.Drives[0].Path)}
	if err := g.furnish(config, spec.Name, id); err != nil {
		return nil, err
	}
	g.agent = agent.New(agent.Options{Init: "/sbin/init", NoSSH: config.NoSSH})
	g.agent.Root = g.root
	g.agent.Log = func(string, ...any) {}
	if err := g.serveSSH(ctx, config); err != nil {
		return nil, err
	}
	g.agent.SSHAddress = "127.0.0.1:" + g.sshPort
	if err := g.listening(); err != nil {
		return nil, err
	}
	go g.agent.Observe(ctx)
	r.guests[spec.Name] = g
	return g, nil
}

func (g *guest) write(name, text string, mode os.FileMode) error {
	path := filepath.Join(g.root, name)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode))
}

func (g *guest) home(user string) string {
	if user == "root" {
		return filepath.Join(g.root, "root")
	}
	return filepath.Join(g.root, "home", user)
}

// furnish writes what labinit would, and what the agent reads of a kernel.
func (g *guest) furnish(config wire.Config, host, boot string) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	passwd := ""
	var errs []error
	for _, u := range config.Users {
		home := strings.TrimPrefix(g.home(u.Name), g.root)
		passwd += u.Name + ":x:" + me.Uid + ":" + me.Gid + "::" + home + ":/bin/sh\n"
		keys := g.home(u.Name) + "/.ssh/authorized_keys"
		if _, err := os.Stat(keys); err != nil {
			errs = append(errs, os.MkdirAll(filepath.Dir(keys), 0o700), os.WriteFile(keys, []byte(strings.Join(u.AuthorizedKeys, "\n")+"\n"), 0o600))
		}
	}
	return errors.Join(append(errs,
		g.write("etc/passwd", passwd, 0o644), g.write("etc/group", "", 0o644),
		g.write("proc/sys/kernel/random/boot_id", boot+"\n", 0o644),
		g.write("proc/sys/kernel/hostname", host+"\n", 0o644),
		g.write("bin/hostname", "#!/bin/sh\necho "+g.name+"\n", 0o755),
	)...)
}

// listening makes the agent see these ports beside that of sshd.
func (g *guest) listening(ports ...string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ports = append(g.ports, ports...)
	text := "  sl  local_address rem_address   st\n"
	for i, p := range append([]string{g.sshPort}, g.ports...) {
		n, err := strconv.Atoi(p)
		if err != nil {
			return err
		}
		text += fmt.Sprintf("%4d: 0100007F:%04X 00000000:0000 0A\n", i, n)
	}
	return g.write("proc/net/tcp", text, 0o644)
}

// serveSSH is the machine's sshd until ctx ends.
func (g *guest) serveSSH(ctx context.Context, config wire.Config) error {
	key, err := ssh.ParsePrivateKey([]byte(config.SSHHostKey))
	if err != nil {
		return err
	}
	server := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		keys, err := os.ReadFile(g.home(meta.User()) + "/.ssh/authorized_keys")
		for err == nil && len(keys) > 0 {
			var have ssh.PublicKey
			if have, _, _, keys, err = ssh.ParseAuthorizedKey(keys); err == nil && bytes.Equal(have.Marshal(), offered.Marshal()) {
				return nil, nil
			}
		}
		return nil, errors.New("unknown key")
	}}
	server.AddHostKey(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	_, g.sshPort, _ = net.SplitHostPort(l.Addr().String())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			go func() {
				defer stop()
				g.serveConn(c, server)
			}()
		}
	}()
	return nil
}

func (g *guest) serveConn(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
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
		go g.serveSession(channel, requests, conn.User())
	}
}

func (g *guest) serveSession(channel ssh.Channel, requests <-chan *ssh.Request, user string) {
	var size *pty.Winsize
	var terminal *os.File
	defer func() { _ = terminal.Close() }() // not before: its size may be asked for after its program's end
	for req := range requests {
		ok := true
		switch req.Type {
		case "pty-req":
			var p struct {
				Term             string
				Cols, Rows, W, H uint32
				Modes            string
			}
			ok = ssh.Unmarshal(req.Payload, &p) == nil
			size = &pty.Winsize{Rows: uint16(p.Rows), Cols: uint16(p.Cols)}
		case "window-change":
			var p struct{ Cols, Rows, W, H uint32 }
			if ok = ssh.Unmarshal(req.Payload, &p) == nil && terminal != nil; ok {
				_ = pty.Setsize(terminal, &pty.Winsize{Rows: uint16(p.Rows), Cols: uint16(p.Cols)})
			}
		case "exec", "shell":
			var p struct{ Command string }
			argv := []string{"/bin/sh"}
			if req.Type == "exec" {
				ok = ssh.Unmarshal(req.Payload, &p) == nil
				argv = []string{"/bin/sh", "-c", p.Command}
			}
			// The answer goes first: a quick program ends the channel.
			_ = req.Reply(ok, nil)
			if ok {
				terminal = g.run(channel, argv, user, size)
			}
			continue
		case "subsystem":
			var p struct{ Name string }
			if ok = ssh.Unmarshal(req.Payload, &p) == nil && p.Name == "sftp"; ok {
				_ = req.Reply(true, nil)
				go func() {
					defer channel.Close()
					if s, err := sftp.NewServer(channel, sftp.WithServerWorkingDirectory(g.home(user))); err == nil {
						_ = s.Serve()
					}
					exit(channel, 0)
				}()
				continue
			}
		default:
			ok = false
		}
		_ = req.Reply(ok, nil)
	}
}

func exit(channel ssh.Channel, code int) {
	_, _ = channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(code)))
	_ = channel.Close()
}

// run starts a program of this host in the machine's folder; the result is its
// terminal, if it has one.
func (g *guest) run(channel ssh.Channel, argv []string, user string, size *pty.Winsize) *os.File {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = g.home(user)
	cmd.Env = []string{"HOME=" + cmd.Dir, "USER=" + user, "TERM=dumb", "PS1=$ ", "PATH=" + g.root + "/bin:" + os.Getenv("PATH")}
	ended := func(err error) {
		var failed *exec.ExitError
		code := 0
		if errors.As(err, &failed) {
			code = failed.ExitCode()
		} else if err != nil {
			code = 127
		}
		exit(channel, code)
	}
	if size != nil {
		terminal, err := pty.StartWithSize(cmd, size)
		if err != nil {
			ended(err)
			return nil
		}
		go func() { _, _ = io.Copy(terminal, channel) }()
		go func() {
			_, _ = io.Copy(channel, terminal)
			ended(cmd.Wait())
		}()
		return terminal
	}
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		ended(err)
		return nil
	}
	go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
	go func() { ended(cmd.Wait()) }()
	return nil
}

// machine is the name under which the driver knows machine n of a play.
func (r *rehearsal) machine(id string, n int) string {
	return layout.Layout{Root: r.dir}.MachineName(id, n)
}

// guest returns the machine's present boot.
func (r *rehearsal) guest(id string, n int) *guest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guests[r.machine(id, n)]
}
