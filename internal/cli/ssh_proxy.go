package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
)

// sshProxy is a local port that leads to a machine's sshd, with our key in
// place there.
func (a *App) sshProxyTo(ctx context.Context, c *client.Client, p api.Play, l login, local api.PortForward) (address *net.TCPAddr, user, key string, run func() error, err error) {
	fail := func(err error) (*net.TCPAddr, string, string, func() error, error) { return nil, "", "", nil, err }
	machine, user, err := l.resolve(p)
	if err != nil {
		return fail(err)
	}
	cfg, err := a.config()
	if err != nil {
		return fail(err)
	}
	if err := keepKey(cfg.SSHIdentityFile); err != nil {
		return fail(err)
	}
	id, err := a.identity(cfg)
	if err != nil {
		return fail(err)
	}
	stopHint := a.hint(machine.Name)
	tunnel, err := c.OpenTunnel(ctx, p.ID, api.TunnelRequest{Machine: machine.Name, SSHUser: user, SSHPubKey: id.public}, nil)
	stopHint()
	if err != nil {
		return fail(err)
	}
	if local.LocalHost == "" {
		local.LocalHost = "127.0.0.1"
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(local.LocalHost, strconv.Itoa(local.LocalPort)))
	if err != nil {
		return fail(fmt.Errorf("cannot listen: %w; choose another --address", err))
	}
	local.Kind, local.Machine, local.RemotePort = api.ForwardLocal, machine.Name, 22
	run = a.serveLocal(ctx, listener, tunnel, local, true)
	return listener.Addr().(*net.TCPAddr), user, privatePath(cfg.SSHIdentityFile), run, nil
}

func (a *App) sshProxy() *cobra.Command {
	var l login
	var address, ide string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ssh-proxy PLAY",
		Short: "Make a machine's SSH server a local port",
		Long: `Make a machine's SSH server a local port, until Ctrl-C: for ssh, scp, rsync,
editors and everything else that takes a host and a port.`,
		Example:           "  labctl ssh-proxy PLAY --address localhost:2222",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	cmd.Flags().StringVarP(&l.machine, "machine", "m", "", "machine (default: the first)")
	a.completeMachineFlag(cmd)
	cmd.Flags().StringVarP(&l.user, "user", "u", "", "user (default: the machine's default user)")
	cmd.Flags().StringVar(&address, "address", "", "local [HOST:]PORT (default: a free port of 127.0.0.1)")
	cmd.Flags().StringVar(&ide, "ide", "", "open the machine in this editor: "+strings.Join(editorNames(), ", "))
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the address only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var local api.PortForward
		if address != "" {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				host, port = "", address
			}
			if local.LocalPort, err = strconv.Atoi(port); err != nil || local.LocalPort < 1 || local.LocalPort > 65535 {
				return fmt.Errorf("cannot read --address %q: write [HOST:]PORT", address)
			}
			local.LocalHost = host
		}
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(ctx, args[0])
		if err != nil {
			return err
		}
		if ide != "" {
			if address != "" {
				return errors.New("cannot use --address with --ide: the editor is told the port")
			}
			return a.runEditor(ctx, c, p, editing{login: l, editor: ide, quiet: quiet})
		}
		at, user, key, run, err := a.sshProxyTo(ctx, c, p, l, local)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.Out, at)
		a.say(quiet, "Enter it: ssh -i %s -p %d %s@%s", key, at.Port, user, at.IP)
		return run()
	}
	return cmd
}

// remotePath is PLAY:PATH.
var remotePath = regexp.MustCompile(`^([0-9a-f]{24}):(.*)$`)

func (a *App) cp() *cobra.Command {
	var l login
	var recursive bool
	cmd := &cobra.Command{
		Use:   "cp [-r] (PLAY:PATH DEST | SRC PLAY:PATH)",
		Short: "Copy files to or from a machine with scp",
		Example: `  labctl cp notes.txt PLAY:~/notes.txt
  labctl cp -r PLAY:/var/log ./log -u root`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().StringVarP(&l.machine, "machine", "m", "", "machine (default: the first)")
	cmd.Flags().StringVarP(&l.user, "user", "u", "", "user (default: the machine's default user)")
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy folders with all that is in them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, to := remotePath.FindStringSubmatch(args[0]), remotePath.FindStringSubmatch(args[1])
		if (from == nil) == (to == nil) {
			return errors.New("cannot copy: exactly one side must be PLAY:PATH")
		}
		scp, err := exec.LookPath("scp")
		if err != nil {
			return fmt.Errorf("cannot copy without scp: %w; install OpenSSH's client", err)
		}
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		c, err := a.client()
		if err != nil {
			return err
		}
		remote := from
		if remote == nil {
			remote = to
		}
		p, err := c.Play(ctx, remote[1])
		if err != nil {
			return err
		}
		at, user, key, run, err := a.sshProxyTo(ctx, c, p, l, api.PortForward{})
		if err != nil {
			return err
		}
		go func() { _ = run() }()
		copying := exec.CommandContext(ctx, scp, scpArgs(args, from != nil, recursive, at, user, key, remote[2])...)
		copying.Stdin, copying.Stdout, copying.Stderr = a.In, a.Out, a.Err
		err = copying.Run()
		var ended *exec.ExitError
		if errors.As(err, &ended) && ctx.Err() == nil {
			return &exitError{code: max(ended.ExitCode(), exitFailure)}
		}
		return err
	}
	return cmd
}

// scpArgs are scp's. The tunnel ends in the very machine, so its host key adds
// nothing.
func scpArgs(args []string, fromMachine, recursive bool, at *net.TCPAddr, user, key, path string) []string {
	out := []string{"-C", "-P", strconv.Itoa(at.Port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i", key}
	if recursive {
		out = append(out, "-r")
	}
	remote := user + "@" + at.IP.String() + ":" + path
	// A local name with a colon in it would be a host's.
	local := func(name string) string {
		if strings.Contains(name, ":") && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
			return "./" + name
		}
		return name
	}
	if fromMachine {
		return append(out, "--", remote, local(args[1]))
	}
	return append(out, "--", local(args[0]), remote)
}
