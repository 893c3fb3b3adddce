// Package gateway carries bytes between a person's WebSockets and machines:
// tunnels to TCP ports, terminals through the agent, and exposed ports. In go
// HTTP requests, upgraded or not, and a credential; out come connections made
// inside a machine.
// It knows no users: whoever holds the credential that Open* gave out gets in,
// and Open* is only called for people who may.
//
//	POST tunnels ─▶ OpenTunnel (waits for the machine, authorises the key)
//	GET login    ─▶ Login      (code → cookie)
//	GET /tunnels ─▶ ServeTunnel(cookie, payload)   one socket, one connection
//
//	POST terminals ─▶ OpenTerminal ─▶ ServeTerminal(token)   one socket, one program
//	POST journals  ─▶ OpenJournal  ─▶ ServeJournal(token)    the same, of journalctl
//
// Codes, cookies and tokens are 256 random bits, kept as SHA-256 only, in
// memory, and end with the play (Revoke). A restart of labd ends them too: the
// sockets they opened are gone by then anyway.
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/play"
)

// Machines is what the gateway needs of running machines. Every method
// returns an *api.Error of kind NotFound, Gone or Conflict at once when the
// machine does not exist, was destroyed, or is stopped or failed; and ends
// when ctx does.
type Machines interface {
	// Await returns nil once the machine has reached the condition:
	// play.ConditionReady (sshd accepts connections; where the machine takes
	// no SSH, the same as Boot) or play.ConditionBoot (the agent answers). It
	// blocks while that may still come.
	Await(ctx context.Context, id play.ID, machine, condition string) error
	// Authorize adds one authorized_keys line (without newline) to a user of
	// the machine, once.
	Authorize(ctx context.Context, id play.ID, machine, user, key string) error
	// Dial opens a TCP connection to "host:port" from inside the machine. An
	// empty host means the machine itself, loopback first.
	Dial(ctx context.Context, id play.ID, machine, address string) (net.Conn, error)
	// Listen binds "host:port" inside the machine; it returns after the bind.
	// ctx bounds the bind only; Close of the listener releases the port.
	Listen(ctx context.Context, id play.ID, machine, address string) (net.Listener, error)
	// Exec starts a program through the agent and returns the stream of its
	// frames (wire.ReadFrame, wire.WriteFrame), after the agent's Response.
	// Close of the stream ends the program. ctx bounds the start only.
	Exec(ctx context.Context, id play.ID, machine string, exec wire.Exec) (io.ReadWriteCloser, error)
}

// Limits of one play. Credentials over the limit push out the oldest idle
// ones; sockets over it are refused.
const (
	maxSockets = 1024
	maxTunnels = 1024
	maxCookies = 32  // login fetches of one tunnel
	maxPending = 128 // unfetched connections of one tunnel's listeners
)

// Gateway holds the open tunnels and terminals. Use New.
type Gateway struct {
	machines Machines

	// Random makes credentials.
	Random io.Reader
	// Hold bounds how long OpenTunnel and OpenTerminal wait for a machine;
	// MinHold is the least time before they answer "not yet": clients take a
	// quicker answer for a broken connection (docs/api.md).
	Hold, MinHold time.Duration
	// PingEvery keeps idle sockets alive through proxies; after MaxSilence
	// pings without an answer a socket is dropped.
	PingEvery  time.Duration
	MaxSilence int
	// PendingFor is how long a connection made inside waits to be fetched.
	PendingFor time.Duration
	// DialTimeout bounds one Dial, Listen or Exec.
	DialTimeout time.Duration

	terminals *Tickets[terminal]
	visits    *visits
	journals  *Tickets[terminal]

	mu      sync.Mutex
	closed  bool
	tunnels map[string]*tunnel             // by id
	order   map[play.ID][]*tunnel          // oldest first
	sockets map[play.ID]map[*socket]func() // cancel of each open socket
}

// socket is the identity of one open WebSocket.
type socket struct{ _ byte }

// New returns a gateway to machines, with working defaults.
func New(machines Machines) *Gateway {
	return &Gateway{
		machines:    machines,
		Random:      rand.Reader,
		Hold:        55 * time.Second,
		MinHold:     10 * time.Second,
		PingEvery:   30 * time.Second,
		MaxSilence:  20, // ten minutes
		PendingFor:  15 * time.Second,
		DialTimeout: 15 * time.Second,
		terminals:   NewTickets[terminal](),
		visits:      newVisits(),
		journals:    NewTickets[terminal](),
		tunnels:     map[string]*tunnel{},
		order:       map[play.ID][]*tunnel{},
		sockets:     map[play.ID]map[*socket]func(){},
	}
}

// Revoke ends every credential and socket of a play. Called when a play is
// destroyed; again is harmless.
func (g *Gateway) Revoke(id play.ID) {
	g.terminals.Revoke(id)
	g.visits.end(id, "")
	g.journals.Revoke(id)
	g.mu.Lock()
	tunnels := g.order[id]
	delete(g.order, id)
	for _, t := range tunnels {
		delete(g.tunnels, t.id)
	}
	var cancels []func()
	for _, cancel := range g.sockets[id] {
		cancels = append(cancels, cancel)
	}
	g.mu.Unlock()
	for _, t := range tunnels {
		t.drop()
	}
	for _, cancel := range cancels {
		cancel()
	}
}

// Close ends every socket with "going away" and refuses new ones.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	var cancels []func()
	for _, sockets := range g.sockets {
		for _, cancel := range sockets {
			cancels = append(cancels, cancel)
		}
	}
	g.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
	g.visits.close()
}

// enter counts one socket of a play. The context ends with the parent, with
// leave, with Revoke and with Close.
func (g *Gateway) enter(parent context.Context, id play.ID) (ctx context.Context, leave func(), err error) {
	ctx, cancel := context.WithCancel(parent)
	s := &socket{}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.sockets[id]) >= maxSockets {
		cancel()
		if g.closed {
			return nil, nil, api.Errorf(api.NotYet, "labd is shutting down")
		}
		return nil, nil, api.Errorf(api.TooMany, "play %s has %d open connections, the most there may be: close some", id, maxSockets)
	}
	if g.sockets[id] == nil {
		g.sockets[id] = map[*socket]func(){}
	}
	g.sockets[id][s] = cancel
	return ctx, func() {
		cancel()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.sockets[id], s)
		if len(g.sockets[id]) == 0 {
			delete(g.sockets, id)
		}
	}, nil
}

// await holds the caller until the machine has reached the condition, at most
// Hold. "Not yet" is never answered before MinHold.
func (g *Gateway) await(ctx context.Context, id play.ID, machine, condition string) error {
	soonest := time.NewTimer(g.MinHold)
	defer soonest.Stop()
	held, cancel := context.WithTimeout(ctx, g.Hold)
	defer cancel()

	err := g.machines.Await(held, id, machine, condition)
	if err == nil || ctx.Err() != nil {
		return err
	}
	var refusal *api.Error
	if errors.Is(err, context.DeadlineExceeded) || held.Err() != nil {
		err = api.Errorf(api.NotYet, "machine %q of play %s is still starting", machine, id)
	} else if !errors.As(err, &refusal) || refusal.Kind != api.NotYet {
		return err
	}
	select {
	case <-soonest.C:
	case <-ctx.Done():
	}
	return err
}

// machineOf resolves a requested machine of a play, and refuses plays that
// have no running machines.
func machineOf(p api.Play, name string) (api.Machine, error) {
	switch play.State(p.State()) {
	case play.Stopped, play.Stopping:
		return api.Machine{}, api.Errorf(api.Conflict, "play %s is stopped: start it again with labctl playground restart %s", p.ID, p.ID)
	case play.Destroyed, play.Destroying:
		return api.Machine{}, api.Errorf(api.Gone, "play %s was destroyed", p.ID)
	}
	var names []string
	for _, m := range p.Machines {
		if m.Name == name || name == "" {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return api.Machine{}, api.Errorf(api.NotFound, "play %s has no machine %q; it has %v", p.ID, name, names)
}
