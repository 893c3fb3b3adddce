// Package servertest is a lab without machines: in-memory implementations of
// every interface that server and gateway need, served over real HTTP, with an
// in-process SSH server and shell behind every machine. Tests move its plays
// from state to state by hand. Tests only.
package servertest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/gateway"
	"sandlot/internal/play"
	"sandlot/internal/server"
)

// Credentials that a Lab knows.
const (
	Session = "s1"
	Token   = "at1"
	UserID  = "u-1"
	// Suffix is what a created playground's name gets.
	Suffix = "-01234567"
)

// Lab is the fake. Fields may be changed before a request is made.
type Lab struct {
	// Catalog is what can be started.
	Catalog []api.Playground
	// Refuse, if set, is what Start and Destroy answer.
	Refuse error
	// Ordinary makes the user no administrator.
	Ordinary bool
	// Boot, if set, moves a new play on; it runs in its own goroutine.
	Boot func(l *Lab, id play.ID)
	// Details are the tasks of every play.
	Details []api.TaskDetails
	// Dialer answers Dial for addresses other than port 22; nil dials for real.
	Dialer func(ctx context.Context, address string) (net.Conn, error)

	// Logged is what the server has logged.
	Logged  Text
	Gateway *gateway.Gateway
	Server  *server.Server
	HTTP    *httptest.Server

	mu         sync.Mutex
	ended      map[string]bool // sessions
	plays      map[play.ID]api.Play
	order      []play.ID
	changed    chan struct{} // closed and replaced on each change
	started    []api.StartPlay
	actions    []string
	authorized map[string][]string // "machine/user" to keys
	running    int

	ports      []api.Port
	shells     []api.Shell
	exposedIDs int
	forwards   map[play.ID][]api.PortForward
	listening  []int
}

// Text collects what is written; it may be read meanwhile.
type Text struct {
	mu   sync.Mutex
	text []byte
}

// Write appends.
func (t *Text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	return len(b), nil
}

// String is all that was written.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// New starts a lab that ends with the test.
func New(t testing.TB) *Lab {
	l := &Lab{
		Catalog:    []api.Playground{{Name: "flexbox", Title: "Flexbox", Description: "the blank base"}},
		ended:      map[string]bool{},
		plays:      map[play.ID]api.Play{},
		changed:    make(chan struct{}),
		authorized: map[string][]string{},
		forwards:   map[play.ID][]api.PortForward{},
	}
	l.Gateway = gateway.New(machines{l})
	l.Server = server.New(server.Options{
		Auth: l, Playgrounds: l, Plays: l, Lifecycle: l, Settings: l, Budgets: l, Saver: l, Machines: l, References: l,
		Gateway: l.Gateway, Visitors: l.Gateway, Scanner: l.Gateway, Ports: l, Shells: l, Forwards: l, StatusEvery: 50 * time.Millisecond, Log: slog.New(server.LogHandler(slog.NewTextHandler(&l.Logged, nil))),
	})
	l.HTTP = httptest.NewServer(l.Server)
	t.Cleanup(func() {
		l.Gateway.Close()
		l.HTTP.CloseClientConnections()
		l.HTTP.Close()
	})
	return l
}

// Stamp is the n-th second of the fake's clock.
func Stamp(n float64) string {
	return api.Time(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n * float64(time.Second))))
}

// Add puts in a play with machines of these names in CREATED.
func (l *Lab) Add(title string, machines ...string) play.ID {
	id, err := play.NewID(rand.Reader)
	if err != nil {
		panic(err)
	}
	p := api.Play{
		ID: string(id), Title: title, CreatedAt: Stamp(0), UpdatedAt: Stamp(0),
		ExpiresIn: 3_600_000, MaxPlayTime: "4h", Playground: api.Playground{Name: "flexbox"},
		Status: &api.PlayStatus{StateEvents: []api.StateEvent{{State: string(play.Created), At: Stamp(0)}}},
	}
	for _, name := range machines {
		p.Machines = append(p.Machines, api.Machine{Name: name, Users: []api.User{{Name: "laborant", Default: true}, {Name: "root"}}})
		p.Status.Machines = append(p.Status.Machines, api.MachineStatus{Name: name, State: string(play.MachineCreated)})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plays[id] = p
	l.order = append(l.order, id)
	l.notify()
	return id
}

// Change edits a play; everybody who watches sees it.
func (l *Lab) Change(id play.ID, edit func(p *api.Play)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := copyOf(l.plays[id])
	edit(&p)
	l.plays[id] = p
	l.notify()
}

func (l *Lab) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// copyOf shares nothing that Change's callers edit.
func copyOf(p api.Play) api.Play {
	status := *p.Status
	status.StateEvents = slices.Clone(status.StateEvents)
	status.Machines = slices.Clone(status.Machines)
	for i := range status.Machines {
		status.Machines[i].Conditions = slices.Clone(status.Machines[i].Conditions)
	}
	p.Status = &status
	tasks := api.Tasks{}
	for name, t := range p.Tasks {
		tasks[name] = t
	}
	p.Tasks = tasks
	return p
}

// State appends a state event.
func (l *Lab) State(id play.ID, s play.State) {
	l.Change(id, func(p *api.Play) {
		p.Status.StateEvents = append(p.Status.StateEvents, api.StateEvent{State: string(s), At: Stamp(0)})
	})
}

// Condition makes a condition of a machine true, n seconds after the start.
func (l *Lab) Condition(id play.ID, machine, name string, n float64) {
	l.Change(id, func(p *api.Play) {
		for i := range p.Status.Machines {
			if m := &p.Status.Machines[i]; m.Name == machine {
				m.Conditions = append(m.Conditions, api.Condition{Name: name, Status: api.True, LastTransitionAt: Stamp(n)})
				if name == api.ConditionBoot {
					m.State = string(play.MachineRunning)
				}
			}
		}
	})
}

// Ready brings a play up: every machine runs and takes SSH.
func (l *Lab) Ready(id play.ID) {
	l.State(id, play.Starting)
	p := l.Play(id)
	for _, m := range p.Machines {
		for i, c := range api.Conditions {
			l.Condition(id, m.Name, c, float64(i+1)/10)
		}
	}
	l.State(id, play.Running)
}

// Play returns a play as it is.
func (l *Lab) Play(id play.ID) api.Play {
	l.mu.Lock()
	defer l.mu.Unlock()
	return copyOf(l.plays[id])
}

// Started are the requests that started plays.
func (l *Lab) Started() []api.StartPlay {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.started)
}

// Actions are the actions taken, like "stop" or "machine.stop m1".
func (l *Lab) Actions() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.actions)
}

// Request makes an authenticated request for tests that look at raw replies.
func (l *Lab) Request(t testing.TB, req *http.Request) *http.Response {
	t.Helper()
	req.SetBasicAuth(Session, Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}
