// Package bender owns the plays that run on this host. In goes a plan; out
// come volumes, networks and running machines, and a status that anybody may
// watch. Every play has a goal, which is durable before anything happens, and
// one worker that brings the host there:
//
//	goal running   ─▶ run the steps of the graph that are not done
//	goal stopped   ─▶ shut machines down, undo the live steps, keep the volumes
//	goal destroyed ─▶ undo every step, forget the play
//
// A later bender reads the same records: it adopts machines that still run,
// goes on with steps that were under way, and removes what belongs to no play.
package bender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"sandlot/guest/wire"
	"sandlot/internal/host/layout"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/step"
	"sandlot/internal/vm"
)

// ErrUnknown is returned for plays and machines this host does not have.
var ErrUnknown = errors.New("unknown")

// ErrState is returned for plays that are not in the state that is needed.
var ErrState = errors.New("not in this state")

// Networks makes the network of a play: its namespace, bridges, taps, uplink,
// firewall, names and registry.
type Networks interface {
	// Ensure may be called again at any time; it also brings back what lives
	// in this process, like the DNS server. RegistryAuth is Secrets'.
	Ensure(ctx context.Context, p *plan.Plan, registryAuth string) error
	Delete(ctx context.Context, id play.ID) error
}

// Volumes makes the block devices of a play.
type Volumes interface {
	// CheckRoom refuses a plan the pool has no room for.
	CheckRoom(ctx context.Context, p *plan.Plan) error
	// Make makes the volume file at path, unless it is there.
	Make(ctx context.Context, path string, v Volume, progress func(string)) error
	Delete(ctx context.Context, path string) error
}

// Volume is what a volume is made of.
type Volume struct {
	Source     string // image reference; empty for a blank volume or a saved one
	Saved      string // id of a saved drive
	Kernel     string // version whose modules a root filesystem gets
	SizeBytes  int64
	Filesystem string // of a blank volume; empty is raw
	UID        uint32
}

// Kernels finds what a machine boots.
type Kernels interface {
	// Get returns the kernel and the archives of the initramfs, in order, that
	// all machines with this kernel and these more filesystems ("xfs",
	// "btrfs", "overlay"; sorted) share.
	Get(ctx context.Context, version string, filesystems []string) (k vm.Kernel, initramfs []string, err error)
}

// Agent is a machine's agent, as far as bender needs it.
type Agent interface {
	// Watch calls seen for each event, current facts first, until the channel
	// breaks or ctx ends.
	Watch(ctx context.Context, seen func(wire.Event)) error
	// Shutdown asks for "poweroff" or "reboot".
	Shutdown(ctx context.Context, kind string) error
	// Task runs a script once, or follows the run that was begun; an error
	// means that the call may be repeated. Now and then wrote gets the ends of
	// what the task wrote so far, and how many bytes that were in all.
	Task(ctx context.Context, t wire.Task, script string, wrote func(stdout, stderr []byte, total int64)) (wire.TaskResult, error)
	// Announce writes a message to every terminal.
	Announce(ctx context.Context, message string) error
	Close() error
}

// Strays finds things on the host that were made for plays, to remove those
// whose play is unknown. List returns play ids, as far as names tell them.
type Strays interface {
	List(ctx context.Context) ([]string, error)
	Remove(ctx context.Context, id string) error
}

// Records keeps plays and their step journals durably.
type Records interface {
	Plays(ctx context.Context) ([]Record, error)
	Put(ctx context.Context, r Record) error
	// Delete forgets the play with its journal and its tasks.
	Delete(ctx context.Context, id play.ID) error
	Journal(id play.ID) step.Journal
	Tasks(id play.ID) TaskRecords
}

// TaskRecords keeps the states and outputs of one play's tasks durably.
type TaskRecords interface {
	// All returns those that were ever put.
	All(ctx context.Context) ([]play.TaskStatus, error)
	Put(ctx context.Context, s play.TaskStatus) error
}

// Options are what a Bender is made of. All are required unless they say
// otherwise.
type Options struct {
	Layout   layout.Layout
	Records  Records
	Networks Networks
	Volumes  Volumes
	Kernels  Kernels
	Drivers  map[string]vm.Driver
	// Attach returns the agent behind a machine's channel.
	Attach func(dial func(ctx context.Context) (net.Conn, error)) Agent
	// Initramfs writes a machine's own part of the initramfs.
	Initramfs func(w io.Writer, c wire.Config) error
	Strays    []Strays
	// CACertificates are PEM; all machines trust them. May be empty.
	CACertificates []string
	// HostBoot identifies the boot of this host; plays that ran in an earlier
	// one are stopped.
	HostBoot string
	Runner   step.Runner
	// Gone, if set, is called when a play is destroyed.
	Gone func(id play.ID)
	// Entered, if set, is called with a play's history after each new state.
	Entered func(id play.ID, events []play.StateEvent)
	Log     *slog.Logger

	// BootTimeout bounds the time from a VMM's start to its agent's answer,
	// and again to sshd's; default 5 minutes.
	BootTimeout time.Duration
	// StopGrace is how long machines have to power off; default 30 seconds.
	StopGrace time.Duration
	// KeepDestroyed is how long a destroyed play stays readable; default 10
	// minutes.
	KeepDestroyed time.Duration
	// Now defaults to time.Now.
	Now func() time.Time
	// Chown defaults to os.Chown.
	Chown func(path string, uid, gid int) error
}

// Bender carries plans out. Its methods may be called concurrently.
type Bender struct {
	opts Options
	ctx  context.Context // ends with Run
	wg   sync.WaitGroup

	mu      sync.Mutex
	workers map[play.ID]*worker
}

// New makes a Bender; nothing happens before Recover.
func New(ctx context.Context, opts Options) *Bender {
	if opts.BootTimeout == 0 {
		opts.BootTimeout = 5 * time.Minute
	}
	if opts.StopGrace == 0 {
		opts.StopGrace = 30 * time.Second
	}
	if opts.KeepDestroyed == 0 {
		opts.KeepDestroyed = 10 * time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Chown == nil {
		opts.Chown = os.Chown
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Bender{opts: opts, ctx: ctx, workers: make(map[play.ID]*worker)}
}

// Wait returns when every worker has ended, after New's context has. Machines
// go on without it.
func (b *Bender) Wait() { b.wg.Wait() }

// Start records the plan with the goal running and returns; the work goes on
// behind.
func (b *Bender) Start(ctx context.Context, p plan.Plan, s Secrets) error {
	if _, err := b.worker(p.Play); err == nil {
		return fmt.Errorf("cannot start play %q: it exists", p.Play)
	}
	r := newRecord(p, s, b.opts.HostBoot, b.opts.Now())
	if err := step.Check(b.graph(newWorker(b, r), everyMachine).all()); err != nil {
		return fmt.Errorf("cannot start play %q: %w", p.Play, err)
	}
	if err := b.opts.Records.Put(ctx, r); err != nil {
		return err
	}
	b.launch(r)
	return nil
}

func (b *Bender) launch(r Record) *worker {
	w := newWorker(b, r)
	b.mu.Lock()
	b.workers[r.Plan.Play] = w
	b.mu.Unlock()
	b.wg.Go(func() { w.run(b.ctx) })
	return w
}

func (b *Bender) worker(id play.ID) (*worker, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w, ok := b.workers[id]
	if !ok {
		return nil, fmt.Errorf("play %q: %w", id, ErrUnknown)
	}
	return w, nil
}

func (b *Bender) forget(id play.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.workers, id)
}

// Stop shuts the play's machines down and keeps its volumes.
func (b *Bender) Stop(ctx context.Context, id play.ID) error {
	return b.change(ctx, id, func(r *Record) { r.Goal, r.Again = GoalStopped, false })
}

// Restart brings a stopped or failed play up again; a running one is stopped
// first.
func (b *Bender) Restart(ctx context.Context, id play.ID) error {
	// The state changes at once: who waits for the play to run again must not
	// take the old state for the new.
	return b.change(ctx, id, func(r *Record) {
		r.Halted = nil
		if s := r.State(); s == play.Stopped && r.Goal == GoalStopped {
			r.Goal, r.HostBoot = GoalRunning, b.opts.HostBoot
			r.enter(play.Starting, "", false, b.opts.Now())
			return
		}
		r.Goal, r.Again = GoalStopped, true
		r.enter(play.Stopping, "", false, b.opts.Now())
	})
}

// Destroy removes the play and everything it has. It succeeds in every state
// and twice.
func (b *Bender) Destroy(ctx context.Context, id play.ID) error {
	return b.change(ctx, id, func(r *Record) { r.Goal, r.Again = GoalDestroyed, false })
}

// change makes a new goal durable and wakes the worker.
func (b *Bender) change(ctx context.Context, id play.ID, f func(r *Record)) error {
	w, err := b.worker(id)
	if err != nil {
		return err
	}
	w.holding.Lock()
	defer w.holding.Unlock()
	return w.change(ctx, true, f)
}

// Hold calls f while the play is stopped and can neither run nor go: its
// volumes are nobody's meanwhile. ErrState if it is not stopped. f must not
// take long: other requests for the play wait.
func (b *Bender) Hold(ctx context.Context, id play.ID, f func(r Record) error) error {
	w, err := b.worker(id)
	if err != nil {
		return err
	}
	w.holding.Lock()
	defer w.holding.Unlock()
	r := w.status()
	if r.State() != play.Stopped || r.Goal != GoalStopped {
		return fmt.Errorf("play %q is %s: %w", id, r.State(), ErrState)
	}
	return f(r)
}

// StopMachine shuts one machine down; RestartMachine brings it back.
func (b *Bender) StopMachine(ctx context.Context, id play.ID, machine string) error {
	return b.changeMachine(ctx, id, machine, func(w *worker, r *Record) { r.halt(machine) })
}

// RestartMachine stops a machine that runs, and starts it.
func (b *Bender) RestartMachine(ctx context.Context, id play.ID, machine string) error {
	return b.changeMachine(ctx, id, machine, func(w *worker, r *Record) {
		r.resume(machine)
		w.renew[machine] = true
	})
}

func (b *Bender) changeMachine(ctx context.Context, id play.ID, machine string, f func(w *worker, r *Record)) error {
	w, err := b.worker(id)
	if err != nil {
		return err
	}
	if w.index(machine) < 0 {
		return fmt.Errorf("machine %q of play %q: %w", machine, id, ErrUnknown)
	}
	if s := w.status().State(); s != play.Running && s != play.Starting {
		return fmt.Errorf("cannot change machine %q: play %q is %s", machine, id, s)
	}
	return w.change(ctx, false, func(r *Record) { f(w, r) })
}

// RebootMachine asks a machine's own init to reboot.
func (b *Bender) RebootMachine(ctx context.Context, id play.ID, machine string) error {
	agent, err := b.Agent(id, machine)
	if err != nil {
		return err
	}
	return agent.Shutdown(ctx, "reboot")
}

// Agent returns the agent of a machine that runs.
func (b *Bender) Agent(id play.ID, machine string) (Agent, error) {
	w, err := b.worker(id)
	if err != nil {
		return nil, err
	}
	m := w.machine(machine)
	if m == nil {
		if w.index(machine) < 0 {
			return nil, fmt.Errorf("machine %q of play %q: %w", machine, id, ErrUnknown)
		}
		return nil, fmt.Errorf("machine %q of play %q does not run", machine, id)
	}
	return m.agent, nil
}

// Process returns the VMM's process of a machine; 0 for one that does not run.
func (b *Bender) Process(id play.ID, machine string) (pid int, err error) {
	w, err := b.worker(id)
	if err != nil {
		return 0, err
	}
	if m := w.machine(machine); m != nil && !m.gone() {
		return m.vm.PID(), nil
	}
	return 0, nil
}

// Console returns what a machine wrote to its console over all its boots.
func (b *Bender) Console(id play.ID, machine string) ([]byte, error) {
	w, err := b.worker(id)
	if err != nil {
		return nil, err
	}
	i := w.index(machine)
	if i < 0 {
		return nil, fmt.Errorf("machine %q of play %q: %w", machine, id, ErrUnknown)
	}
	return w.console(i)
}

// Status returns where a play stands; ErrUnknown if this host does not have
// it.
func (b *Bender) Status(id play.ID) (Record, error) {
	w, err := b.worker(id)
	if err != nil {
		return Record{}, err
	}
	return w.status(), nil
}

// Version rises with every change of Status, while this bender lives.
func (b *Bender) Version(id play.ID) (uint64, error) {
	w, err := b.worker(id)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version, nil
}

// announceTimeout bounds how long a machine has to show a message.
const announceTimeout = 10 * time.Second

// Announce adds a message to the history of a running play, and shows it on
// its machines' terminals, as far as their agents can.
func (b *Bender) Announce(ctx context.Context, id play.ID, message string) error {
	w, err := b.worker(id)
	if err != nil {
		return err
	}
	err = w.save(ctx, func(r *Record) {
		if r.Goal == GoalRunning {
			r.enter(r.State(), message, false, b.opts.Now())
		}
	})
	if err != nil {
		return err
	}
	for i, m := range w.machinesNow() {
		if m == nil || !m.is(play.ConditionBoot) {
			continue
		}
		// Nobody waits for a guest that may be hostile.
		go func() {
			ctx, cancel := context.WithTimeout(m.ctx, announceTimeout)
			defer cancel()
			if err := m.agent.Announce(ctx, message); err != nil {
				b.opts.Log.Debug("cannot show message", "play", id, "machine", i, "error", err)
			}
		}()
	}
	return nil
}

// Watch returns a channel that gets a value after every change of a play's
// status, until stop is called. Values are wake-ups: read Status after each.
func (b *Bender) Watch(id play.ID) (changes <-chan struct{}, stop func(), err error) {
	w, err := b.worker(id)
	if err != nil {
		return nil, nil, err
	}
	changes, stop = w.watch()
	return changes, stop, nil
}

// Count tells how many plays and machines are in each state.
func (b *Bender) Count() (plays map[play.State]int, machines map[play.MachineState]int) {
	b.mu.Lock()
	workers := slices.Collect(maps.Values(b.workers))
	b.mu.Unlock()
	plays, machines = make(map[play.State]int), make(map[play.MachineState]int)
	for _, w := range workers {
		r := w.status()
		plays[r.State()]++
		for _, m := range r.Machines {
			machines[m.State]++
		}
	}
	return plays, machines
}

// FreeUplink is the lowest uplink index that no play here uses and that is not
// taken by somebody else.
func (b *Bender) FreeUplink(taken func(index int) bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := make(map[int]bool)
	for _, w := range b.workers {
		used[w.plan.Uplink.Index] = true
	}
	for i := 0; ; i++ {
		if !used[i] && !taken(i) {
			return i
		}
	}
}

// known tells whether a play may have things on this host.
func (b *Bender) known(id string) bool {
	w, err := b.worker(play.ID(id))
	return err == nil && w.status().State() != play.Destroyed
}
