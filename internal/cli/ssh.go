package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"sandlot/api"
	"sandlot/client"
)

func (a *App) ssh() *cobra.Command {
	var l login
	cmd := &cobra.Command{
		Use:   "ssh PLAY [-m MACHINE] [-u USER] [-- COMMAND]",
		Short: "Enter a machine through its SSH server",
		Long: `Enter a machine through its SSH server, or run a command there; the exit code
is the command's. Where the machine's network or SSH server is broken, use
labctl terminal.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	cmd.Flags().StringVarP(&l.machine, "machine", "m", "", "machine (default: the first)")
	a.completeMachineFlag(cmd)
	cmd.Flags().StringVarP(&l.user, "user", "u", "", "user (default: the machine's default user)")
	forward := cmd.Flags().Bool("forward-agent", false, "let the machine use your SSH agent")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.runSSHWith(cmd.Context(), c, p, l, args[1:], *forward)
	}
	return cmd
}

// How often and how long apart a machine's sshd is tried.
const (
	sshTries = 60
	sshPause = time.Second
)

func (a *App) runSSHWith(ctx context.Context, c *client.Client, p api.Play, l login, command []string, forwardAgent bool) error {
	machine, user, err := l.resolve(p)
	if err != nil {
		return err
	}
	stopHint := a.hint(machine.Name)
	conn, id, err := a.sshTo(ctx, c, p.ID, machine.Name, user)
	stopHint()
	if err != nil {
		return err
	}
	defer conn.Close()
	session, err := conn.NewSession()
	if err != nil {
		return fmt.Errorf("cannot open SSH session: %v", err)
	}
	defer session.Close()
	if forwardAgent {
		if err := lendAgent(conn, session, id); err != nil {
			return err
		}
	}
	return a.converse(ctx, conn, session, strings.Join(command, " "))
}

// lendAgent lets the machine use the person's SSH agent in one session.
func lendAgent(conn *ssh.Client, session *ssh.Session, id identity) error {
	if id.agent == nil {
		return errors.New("cannot forward the SSH agent: SSH_AUTH_SOCK names none that answers")
	}
	if err := errors.Join(agent.ForwardToAgent(conn, id.agent), agent.RequestAgentForwarding(session)); err != nil {
		return fmt.Errorf("cannot forward the SSH agent: %v", err)
	}
	return nil
}

// connectSSH opens a tunnel and speaks SSH through it, again while sshd is
// still on its way up.
func (a *App) connectSSH(ctx context.Context, c *client.Client, playID, machine, user string, id identity) (*ssh.Client, error) {
	tunnel, err := c.OpenTunnel(ctx, playID, api.TunnelRequest{Machine: machine, SSHUser: user, SSHPubKey: id.public}, nil)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		conn, err := dialSSH(ctx, tunnel, user, id)
		if err == nil || try == sshTries || !transient(err) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(sshPause):
		}
	}
}

// handshakeLimit bounds one SSH handshake; a machine without KVM is slow.
const handshakeLimit = time.Minute

func dialSSH(ctx context.Context, tunnel *client.Tunnel, user string, id identity) (*ssh.Client, error) {
	conn, err := tunnel.Dial(ctx, ":22")
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	timer := time.AfterFunc(handshakeLimit, func() { conn.Close() })
	defer timer.Stop()
	sshConn, channels, requests, err := ssh.NewClientConn(conn, "machine", &ssh.ClientConfig{
		User: user,
		Auth: id.auth,
		// The tunnel ends in this very machine: labd, which authenticated us
		// and was authenticated by its URL, made the connection there.
		HostKeyCallback:   ssh.InsecureIgnoreHostKey(),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("cannot sign in as %s: %w", user, err)
	}
	return ssh.NewClient(sshConn, channels, requests), nil
}

// transient tells whether sshd may answer a moment later; a refused key is
// final.
func transient(err error) bool {
	var timeout net.Error
	return client.StatusOf(err) == http.StatusBadGateway ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}

// converse runs one command, or a shell if it is empty, with labctl's own
// stdin, stdout and stderr, and turns its exit code into labctl's.
func (a *App) converse(ctx context.Context, conn *ssh.Client, session *ssh.Session, command string) error {
	session.Stdout, session.Stderr = a.Out, a.Err
	stdin, err := session.StdinPipe()
	if err != nil {
		return fmt.Errorf("cannot open SSH session: %v", err)
	}
	if t, ok := a.tty(); ok {
		rows, cols := t.size()
		modes := ssh.TerminalModes{ssh.ECHO: 1, ssh.TTY_OP_ISPEED: 14400, ssh.TTY_OP_OSPEED: 14400}
		if err := session.RequestPty("xterm-256color", rows, cols, modes); err != nil {
			return fmt.Errorf("cannot get a terminal on the machine: %v", err)
		}
		restore, err := t.raw()
		if err != nil {
			return fmt.Errorf("cannot set up the terminal: %v", err)
		}
		defer restore()
		resizeCtx, cancel := context.WithCancel(ctx)
		defer cancel()
		t.onResize(resizeCtx, func(rows, cols int) { _ = session.WindowChange(rows, cols) })
	}
	if command == "" {
		err = session.Shell()
	} else {
		err = session.Start(command)
	}
	if err != nil {
		return fmt.Errorf("cannot run the command: %v", err)
	}
	go func() {
		_, _ = io.Copy(stdin, a.In)
		_ = stdin.Close()
	}()
	// Only without a terminal: there Ctrl-C is a key like any other.
	stop := context.AfterFunc(ctx, func() {
		_ = session.Signal(ssh.SIGINT)
		conn.Close()
	})
	defer stop()
	err = session.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		code := exit.ExitStatus()
		if code == 0 { // ended by a signal, and the server gave no number
			code = exitFailure
		}
		return &exitError{code: code}
	case errors.As(err, &missing):
		return errors.New("the connection to the machine was lost")
	}
	return err
}
