package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"sandlot/api"
	"sandlot/client"
)

// parseForward reads what -L and -R take:
//
//	-L  RP  RH:RP  LP:RP  LP:RH:RP  LH:LP:RP  LH:LP:RH:RP
//	-R  RP:LP  RP:LH:LP  RH:RP:LP  RH:RP:LH:LP
//
// IPv6 addresses stand in brackets.
func parseForward(kind, spec string) (api.PortForward, error) {
	f := api.PortForward{Kind: kind}
	bad := func() (api.PortForward, error) {
		want := "[[LOCAL-HOST:]LOCAL-PORT:][REMOTE-HOST:]REMOTE-PORT, like 8080:80"
		if kind == api.ForwardRemote {
			want = "[REMOTE-HOST:]REMOTE-PORT:[LOCAL-HOST:]LOCAL-PORT, like 9000:4000"
		}
		return f, fmt.Errorf("cannot read port forward %q: write %s", spec, want)
	}
	parts := splitColons(spec)
	var shape strings.Builder // p for a port, h for a host
	ports := make([]int, len(parts))
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		switch {
		case err == nil && n >= 1 && n <= 65535:
			ports[i] = n
			shape.WriteByte('p')
		case err == nil || part == "":
			return bad()
		default:
			shape.WriteByte('h')
		}
	}
	if kind == api.ForwardRemote {
		f.RemoteHost = "0.0.0.0"
		switch shape.String() {
		case "pp":
			f.RemotePort, f.LocalPort = ports[0], ports[1]
		case "php":
			f.RemotePort, f.LocalHost, f.LocalPort = ports[0], parts[1], ports[2]
		case "hpp":
			f.RemoteHost, f.RemotePort, f.LocalPort = parts[0], ports[1], ports[2]
		case "hphp":
			f.RemoteHost, f.RemotePort, f.LocalHost, f.LocalPort = parts[0], ports[1], parts[2], ports[3]
		default:
			return bad()
		}
		return f, nil
	}
	switch shape.String() {
	case "p":
		f.RemotePort = ports[0]
	case "hp":
		f.RemoteHost, f.RemotePort = parts[0], ports[1]
	case "pp":
		f.LocalPort, f.RemotePort = ports[0], ports[1]
	case "php":
		f.LocalPort, f.RemoteHost, f.RemotePort = ports[0], parts[1], ports[2]
	case "hpp":
		f.LocalHost, f.LocalPort, f.RemotePort = parts[0], ports[1], ports[2]
	case "hphp":
		f.LocalHost, f.LocalPort, f.RemoteHost, f.RemotePort = parts[0], ports[1], parts[2], ports[3]
	default:
		return bad()
	}
	return f, nil
}

// splitColons splits at colons outside of brackets, and takes the brackets off.
func splitColons(s string) []string {
	var parts []string
	depth, start := 0, 0
	cut := func(end int) { parts = append(parts, strings.Trim(s[start:end], "[]")); start = end + 1 }
	for i, r := range s {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case r == ':' && depth == 0:
			cut(i)
		}
	}
	cut(len(s))
	return parts
}

// forwardAll carries forwards of one play until ctx ends, or all have ended.
// Those of one machine share a tunnel.
func (a *App) forwardAll(ctx context.Context, c *client.Client, playID string, forwards []api.PortForward, quiet bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tunnels := map[string]*client.Tunnel{}
	var running sync.WaitGroup
	failed := make(chan error, len(forwards))
	for _, f := range forwards {
		tunnel := tunnels[f.Machine]
		if tunnel == nil {
			stopHint := a.hint(f.Machine)
			var err error
			tunnel, err = c.OpenTunnel(ctx, playID, api.TunnelRequest{Machine: f.Machine}, nil)
			stopHint()
			if err != nil {
				return err
			}
			tunnels[f.Machine] = tunnel
		}
		run, err := a.forward(ctx, tunnel, f, quiet)
		if err != nil {
			return err
		}
		running.Go(func() {
			if err := run(); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	running.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// forward binds one forward and returns what carries it.
func (a *App) forward(ctx context.Context, tunnel *client.Tunnel, f api.PortForward, quiet bool) (run func() error, err error) {
	localHost := f.LocalHost
	if localHost == "" {
		localHost = "127.0.0.1"
	}
	local := net.JoinHostPort(localHost, strconv.Itoa(f.LocalPort))
	remote := net.JoinHostPort(f.RemoteHost, strconv.Itoa(f.RemotePort))
	if f.Kind == api.ForwardRemote {
		l, err := tunnel.Listen(ctx, remote)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %s in machine %q: %w", remote, f.Machine, err)
		}
		a.say(quiet, "Forwarding %s of %s to %s", remote, f.Machine, local)
		return func() error {
			defer l.Close()
			for {
				inside, err := l.Accept(ctx)
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return fmt.Errorf("the machine listens on %s no more: %w", remote, err)
				}
				go func() {
					outside, err := (&net.Dialer{}).DialContext(ctx, "tcp", local)
					if err != nil {
						inside.Close()
						a.say(quiet, "cannot reach %s: %v", local, err)
						return
					}
					join(ctx, outside, inside)
				}()
			}
		}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", local)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another local port", local, err)
	}
	a.say(quiet, "Forwarding %s to %s of %s", l.Addr(), remote, f.Machine)
	return a.serveLocal(ctx, l, tunnel, f, quiet), nil
}

// serveLocal carries each connection of a local listener into the machine.
func (a *App) serveLocal(ctx context.Context, l net.Listener, tunnel *client.Tunnel, f api.PortForward, quiet bool) func() error {
	remote := net.JoinHostPort(f.RemoteHost, strconv.Itoa(f.RemotePort))
	return func() error {
		defer context.AfterFunc(ctx, func() { l.Close() })()
		defer l.Close()
		for {
			outside, err := l.Accept()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("cannot accept connections on %s: %w", l.Addr(), err)
			}
			go func() {
				inside, err := tunnel.Dial(ctx, remote)
				a.log().Debug("connection", "from", outside.RemoteAddr(), "to", remote, "machine", f.Machine, "error", err)
				if err != nil {
					outside.Close()
					if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
						a.say(quiet, "cannot reach %s of %s: %v", remote, f.Machine, err)
					}
					return
				}
				join(ctx, inside, outside)
			}()
		}
	}
}

// join copies from one side to the other and back until the first has ended:
// the one that serves, whose end of file is its last word. The tunnel has no
// half-close, so what the client side says after its own end of file is all
// there is to lose.
func join(ctx context.Context, server, other net.Conn) {
	defer server.Close()
	defer other.Close()
	defer context.AfterFunc(ctx, func() { server.Close(); other.Close() })()
	go func() { _, _ = io.Copy(server, other) }()
	_, _ = io.Copy(other, server)
}
