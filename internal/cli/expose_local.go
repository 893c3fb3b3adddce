package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/client"
)

// Playgrounds that a temporary play is started from: the first that there is.
var temporary = []string{"alpine", "debian-12"}

// cleanup is how long ending a temporary play may take.
const cleanup = 30 * time.Second

type localEndpoint struct {
	playID, machine       string
	remotePort, localPort int
	localHost             string
	tls, public, open     bool
	quiet                 bool
}

func (a *App) exposeLocal() *cobra.Command {
	var o localEndpoint
	cmd := &cobra.Command{
		Use:   "local [PLAY] [HOST:]PORT",
		Short: "Give an application on this computer a web address, through a play",
		Long: `Give an application on this computer a web address and print it, until Ctrl-C.
Requests go to a port of a machine and from there through a tunnel to the
application. Without PLAY a temporary play is started, and destroyed at the end.`,
		Example: `  labctl expose local 4000 --public
  labctl expose local PLAY localhost:3000 --remote-port 8080`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completePlays,
	}
	f := cmd.Flags()
	f.IntVar(&o.remotePort, "remote-port", 0, "port of the machine to go through (default: the local port)")
	f.StringVarP(&o.machine, "machine", "m", "", "machine (default: the first)")
	a.completeMachineFlag(cmd)
	f.BoolVarP(&o.tls, "https", "s", false, "the application speaks HTTPS, self-signed or not")
	f.BoolVarP(&o.public, "public", "p", false, "open to everybody who has the address")
	f.BoolVarP(&o.open, "open", "o", false, "open the address in a browser")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the address only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		address := args[len(args)-1]
		if len(args) == 2 {
			o.playID = args[0]
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			host, port = "", address
		}
		if o.localPort, err = strconv.Atoi(port); err != nil || o.localPort < 1 || o.localPort > 65535 {
			return fmt.Errorf("cannot read address %q: write [HOST:]PORT", address)
		}
		if o.localHost = host; host == "" {
			o.localHost = "127.0.0.1"
		}
		if o.remotePort == 0 {
			o.remotePort = o.localPort
		}
		if o.remotePort < 1 || o.remotePort > 65535 {
			return fmt.Errorf("cannot use --remote-port %d: write 1 to 65535", o.remotePort)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		return a.runLocal(cmd.Context(), c, o)
	}
	return cmd
}

func (a *App) runLocal(ctx context.Context, c *client.Client, o localEndpoint) (err error) {
	var p api.Play
	if o.playID == "" {
		if p, err = startTemporary(ctx, c); err != nil {
			return err
		}
		a.say(o.quiet, "The temporary play %s is starting.", p.ID)
		defer func() {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
			defer cancel()
			if _, ending := c.Act(late, p.ID, api.Action{Action: api.ActionDestroy}); ending != nil {
				err = errors.Join(err, fmt.Errorf("cannot destroy the temporary play: %w; do it with labctl playground destroy %s", ending, p.ID))
			}
		}()
	} else if p, err = c.Play(ctx, o.playID); err != nil {
		return err
	}
	m, _, err := login{machine: o.machine}.resolve(p)
	if err != nil {
		return err
	}
	before, err := c.Ports(ctx, p.ID)
	if err != nil {
		return err
	}
	port, err := c.ExposePort(ctx, p.ID, api.Port{Machine: m.Name, Number: o.remotePort, Access: accessOf(o.public), TLS: o.tls})
	if err != nil {
		return err
	}
	if o.playID != "" && !slices.ContainsFunc(before, func(b api.Port) bool { return b.ID == port.ID }) {
		defer func() {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
			defer cancel()
			if ending := c.RemovePort(late, p.ID, port.ID); ending != nil && client.StatusOf(ending) != http.StatusNotFound {
				err = errors.Join(err, ending)
			}
		}()
	}
	stopHint := a.hint(m.Name)
	tunnel, err := c.OpenTunnel(ctx, p.ID, api.TunnelRequest{Machine: m.Name}, nil)
	stopHint()
	if err != nil {
		return err
	}
	// Loopback is enough for labd, and other machines have no business there.
	run, err := a.forward(ctx, tunnel, api.PortForward{
		Kind: api.ForwardRemote, Machine: m.Name, RemoteHost: "127.0.0.1", RemotePort: o.remotePort,
		LocalHost: o.localHost, LocalPort: o.localPort,
	}, o.quiet)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Out, clean(port.URL)); err != nil {
		return err
	}
	if o.open {
		a.browse(port.URL)
	}
	return run()
}

// startTemporary starts the first of the playgrounds for it that there is.
func startTemporary(ctx context.Context, c *client.Client) (p api.Play, err error) {
	for _, name := range temporary {
		p, err = c.StartPlay(ctx, api.StartPlay{Playground: name, SafetyDisclaimerConsent: true, Title: "labctl expose local"})
		if client.StatusOf(err) != http.StatusNotFound {
			return p, err
		}
	}
	return p, fmt.Errorf("cannot start a temporary play: %w; start one and name it", err)
}
