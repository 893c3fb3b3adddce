package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// maxLinks bounds what a machine says of its interfaces; it has at most 10, and
// what was made inside beside them.
const maxLinks = 64

// Links returns the network interfaces of the machine, without the loopback.
func (a *Agent) Links(ctx context.Context) ([]wire.Link, error) {
	res, err := a.ask(ctx, wire.Request{Op: wire.OpLinks})
	if err != nil {
		return nil, err
	}
	links := res.Links[:min(len(res.Links), maxLinks)]
	for i := range links {
		links[i].Name = clip(links[i].Name)
	}
	return links, nil
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

// Announce writes a message to every terminal of the machine. An agent that is
// older than this refuses.
func (a *Agent) Announce(ctx context.Context, message string) error {
	_, err := a.ask(ctx, wire.Request{Op: wire.OpAnnounce, Announce: message})
	return err
}

// Restored tells a guest restored from a snapshot its new seed and the time.
func (a *Agent) Restored(ctx context.Context, r wire.Restored) error {
	_, err := a.ask(ctx, wire.Request{Op: wire.OpRestored, Restored: &r})
	return err
}

// Task runs a script in the machine once, or follows the run that an earlier
// call began, and returns how it ended. Meanwhile wrote, if it is not nil, gets
// the ends of what the task wrote so far, at most wire.MaxTaskOutput each, and
// the bytes of both streams until then, now and then. A refusal by the agent is
// a result, too; the error means that the channel was lost or ctx has ended, and
// the call may be repeated.
func (a *Agent) Task(ctx context.Context, t wire.Task, script string, wrote func(stdout, stderr []byte, total int64)) (wire.TaskResult, error) {
	t.Follow = wrote != nil
	s, _, stop, err := a.request(ctx, wire.Request{Op: wire.OpTask, Task: &t})
	var refusal *RemoteError
	if errors.As(err, &refusal) {
		return wire.TaskResult{Code: -1, Error: refusal.Message}, nil
	}
	if err != nil {
		return wire.TaskResult{}, err
	}
	defer drop(s)
	defer stop()
	(&frameWriter{w: s}).stdin(strings.NewReader(script))
	r, err := readTask(ctx, s, wrote)
	if err != nil {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err = channelError(err); errors.Is(err, ErrLost) {
			return r, fmt.Errorf("cannot follow the task: %w", err)
		}
		return wire.TaskResult{Code: -1, Error: "the machine sent a result that cannot be read"}, nil
	}
	r.Error = clip(r.Error)
	for _, out := range []*[]byte{&r.Stdout, &r.Stderr} {
		if over := len(*out) - wire.MaxTaskOutput; over > 0 {
			*out = (*out)[over:]
		}
	}
	if r.Code < -1 || r.Code > 255 {
		return wire.TaskResult{Code: -1, Error: fmt.Sprintf("the machine sent the impossible exit code %d", r.Code)}, nil
	}
	return r, nil
}
