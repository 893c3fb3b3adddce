package session

import (
	"context"
	"errors"
	"fmt"

	"sandlot/guest/wire"
)

// ask is a request without a stream behind it.
func (a *Agent) ask(ctx context.Context, req wire.Request) (wire.Response, error) {
	s, res, stop, err := a.request(ctx, req)
	if err != nil {
		return res, err
	}
	stop()
	drop(s)
	return res, nil
}

// Info describes the running guest. It waits for the agent until ctx ends, so
// it is the way to learn that a machine has booted.
func (a *Agent) Info(ctx context.Context) (wire.Info, error) {
	res, err := a.ask(ctx, wire.Request{Op: wire.OpInfo})
	if err != nil {
		return wire.Info{}, err
	}
	if res.Info == nil {
		return wire.Info{}, errors.New("the machine's agent sent no information")
	}
	info := *res.Info
	for _, s := range []*string{&info.BootID, &info.Hostname, &info.Kernel, &info.Init} {
		*s = clip(*s)
	}
	return info, nil
}

// Watch calls f for every event, first those that hold already, until ctx
// ends or the channel is lost; then it returns the reason. Call it again to go
// on: the facts are repeated.
func (a *Agent) Watch(ctx context.Context, f func(wire.Event)) error {
	s, _, stop, err := a.request(ctx, wire.Request{Op: wire.OpWatch})
	if err != nil {
		return err
	}
	defer drop(s)
	defer stop()
	for {
		var e wire.Event
		if err := wire.ReadMessage(s, &e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("cannot watch the machine: %w", channelError(err))
		}
		e.Kind, e.Detail = clip(e.Kind), clip(e.Detail)
		f(e)
	}
}

// Authorize adds an authorized_keys line to a user of the machine, once.
func (a *Agent) Authorize(ctx context.Context, user, key string) error {
	_, err := a.ask(ctx, wire.Request{Op: wire.OpAuthorize, Authorize: &wire.Authorize{User: user, Key: key}})
	return err
}

// Ports lists the machine's listening TCP sockets.
func (a *Agent) Ports(ctx context.Context) ([]wire.Port, error) {
	res, err := a.ask(ctx, wire.Request{Op: wire.OpPorts})
	if err != nil {
		return nil, err
	}
	for _, p := range res.Ports {
		if p.Number < 1 || p.Number > 65535 {
			return nil, fmt.Errorf("the machine sent the impossible port %d", p.Number)
		}
	}
	return res.Ports, nil
}

// Shutdown asks the machine's init for a "poweroff" or "reboot"; it does not
// wait for it.
func (a *Agent) Shutdown(ctx context.Context, how string) error {
	_, err := a.ask(ctx, wire.Request{Op: wire.OpShutdown, Shutdown: how})
	return err
}

// Restored tells a guest restored from a snapshot its new seed and the time.
func (a *Agent) Restored(ctx context.Context, r wire.Restored) error {
	_, err := a.ask(ctx, wire.Request{Op: wire.OpRestored, Restored: &r})
	return err
}
