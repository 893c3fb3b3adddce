package bender_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sandlot/guest/wire"
	"sandlot/internal/bender"
	"sandlot/internal/host/layout"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/step"
	"sandlot/internal/vm"
	"sandlot/internal/vm/vmfake"
)

// host is what outlives a labd: namespaces, volumes, machines and the records.
// It implements every interface bender has towards the host.
type host struct {
	entered []play.State // guarded by mu
	dir     string
	vms     *vmfake.World

	mu       sync.Mutex
	networks map[string]bool
	records  map[play.ID][]byte
	steps    map[play.ID]map[string]step.State
	dead     bool // the labd of this moment was killed
	refuse   map[string]error
	tasks    map[play.ID]map[string]play.TaskStatus
	guests   guestTasks
	// announced is what machines show.
	announced chan string
}

func newHost(t *testing.T) *host {
	h := &host{
		dir: t.TempDir(), networks: map[string]bool{}, records: map[play.ID][]byte{},
		steps: map[play.ID]map[string]step.State{}, refuse: map[string]error{},
		tasks: map[play.ID]map[string]play.TaskStatus{}, announced: make(chan string, 10),
	}
	h.vms = &vmfake.World{Agent: serve}
	if err := os.WriteFile(filepath.Join(h.dir, "shared"), []byte("shared"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

var errKilled = errors.New("labd was killed")

// effect is one line of a labd that may have been killed before it.
func (h *host) effect(name string, f func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		return errKilled
	}
	if err := h.refuse[name]; err != nil {
		return err
	}
	return f()
}

func (h *host) layout() layout.Layout { return layout.Layout{Root: h.dir} }

func (h *host) Ensure(_ context.Context, p *plan.Plan, _ string) error {
	return h.effect("network", func() error { h.networks[string(p.Play)] = true; return nil })
}

func (h *host) Delete(_ context.Context, id play.ID) error {
	return h.effect("delete network", func() error { delete(h.networks, string(id)); return nil })
}

type volumes struct{ *host }

func (v volumes) CheckRoom(context.Context, *plan.Plan) error {
	return v.effect("room", func() error { return nil })
}

func (v volumes) Make(_ context.Context, path string, vol bender.Volume, progress func(string)) error {
	progress("cloning")
	return v.effect("volume", func() error { return os.WriteFile(path, []byte(vol.Source), 0o600) })
}

func (v volumes) Delete(_ context.Context, path string) error {
	return v.effect("delete volume", func() error { return errors.Join(os.RemoveAll(path)) })
}

type records struct{ *host }

func (r records) Plays(context.Context) ([]bender.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []bender.Record
	for _, body := range r.host.records {
		var one bender.Record
		if err := json.Unmarshal(body, &one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (r records) Put(_ context.Context, one bender.Record) error {
	return r.effect("put", func() error {
		body, err := json.Marshal(one)
		r.host.records[one.Plan.Play] = body
		return err
	})
}

func (r records) Delete(_ context.Context, id play.ID) error {
	return r.effect("forget", func() error {
		delete(r.host.records, id)
		delete(r.steps, id)
		delete(r.tasks, id)
		return nil
	})
}

func (r records) Journal(id play.ID) step.Journal { return journal{r.host, id} }

type journal struct {
	*host
	id play.ID
}

func (j journal) States(context.Context) (map[string]step.State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.steps[j.id]), nil
}

func (j journal) Record(_ context.Context, name string, s step.State) error {
	return j.effect("record", func() error {
		if j.steps[j.id] == nil {
			j.steps[j.id] = map[string]step.State{}
		}
		if s == "" {
			delete(j.steps[j.id], name)
		} else {
			j.steps[j.id][name] = s
		}
		return nil
	})
}

func (h *host) Get(context.Context, string, []string) (vm.Kernel, []string, error) {
	return vm.Kernel{BzImage: "bz", VMLinux: "elf"}, []string{filepath.Join(h.dir, "shared")}, nil
}

// driver refuses what a dead labd would do.
type driver struct {
	vm.Driver
	host *host
}

func (d driver) Start(ctx context.Context, s vm.Spec) (m vm.Machine, err error) {
	err = d.host.effect("boot", func() error { m, err = d.Driver.Start(ctx, s); return err })
	return m, err
}

func (d driver) Kill(ctx context.Context, s vm.Spec) error {
	return d.host.effect("kill", func() error { return d.Driver.Kill(ctx, s) })
}

// strayNetworks finds the networks of unknown plays.
type strayNetworks struct{ *host }

func (s strayNetworks) List(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.networks)), nil
}

func (s strayNetworks) Remove(ctx context.Context, id string) error {
	return s.host.Delete(ctx, play.ID(id))
}

// serve is the guest's side of the channel: it says what labinit's agent says
// and does what it is asked.
func serve(ctx context.Context, guest *vmfake.Guest, conn net.Conn) {
	for _, e := range []wire.Event{
		{Kind: "name", Detail: guest.Spec().Name}, {Kind: wire.EventBooted, Detail: guest.BootID()}, {Kind: wire.EventUp}, {Kind: wire.EventSSH},
	} {
		if wire.WriteMessage(conn, e) != nil {
			return
		}
	}
	var request wire.Request
	if wire.ReadMessage(conn, &request) != nil {
		return
	}
	switch request.Shutdown {
	case "poweroff":
		guest.Poweroff()
	case "reboot":
		guest.Reboot()
	}
}

type agent struct {
	host *host
	dial func(context.Context) (net.Conn, error)
	mu   sync.Mutex
	conn net.Conn
	name string        // of its machine
	lost chan struct{} // closed when the channel is
}

func (a *agent) Watch(ctx context.Context, seen func(wire.Event)) error {
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	lost := make(chan struct{})
	defer close(lost)
	a.mu.Lock()
	a.conn, a.lost = conn, lost
	a.mu.Unlock()
	for {
		var e wire.Event
		if err := wire.ReadMessage(conn, &e); err != nil {
			return err
		}
		if e.Kind == "name" {
			a.mu.Lock()
			a.name = e.Detail
			a.mu.Unlock()
		}
		seen(e)
	}
}

func (a *agent) Shutdown(_ context.Context, kind string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return wire.WriteMessage(a.conn, wire.Request{Op: wire.OpShutdown, Shutdown: kind})
}

func (a *agent) Announce(_ context.Context, message string) error {
	a.host.announced <- message
	return nil
}

func (a *agent) Close() error { return nil }

// labd is one process on the host; end it by its cancel.
type labd struct {
	*bender.Bender
	end context.CancelFunc
}

func (h *host) start(t *testing.T, runner step.Runner) *labd {
	t.Helper()
	return h.startIn(t, "boot-1", runner)
}

// startIn starts a labd in one boot of the host.
func (h *host) startIn(t *testing.T, boot string, runner step.Runner) *labd {
	t.Helper()
	h.mu.Lock()
	h.dead = false
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	vms := h.vms.Driver()
	b := bender.New(ctx, bender.Options{
		Layout: h.layout(), Records: records{h}, Networks: h, Volumes: volumes{h}, Kernels: h,
		Drivers:   map[string]vm.Driver{"qemu": driver{vms, h}},
		Attach:    func(dial func(context.Context) (net.Conn, error)) bender.Agent { return &agent{host: h, dial: dial} },
		Initramfs: func(w io.Writer, c wire.Config) error { return json.NewEncoder(w).Encode(c) },
		Strays:    []bender.Strays{strayNetworks{h}},
		HostBoot:  boot, Runner: runner,
		Entered: func(_ play.ID, events []play.StateEvent) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.entered = append(h.entered, events[len(events)-1].State)
		},
		BootTimeout: time.Minute, StopGrace: 10 * time.Second,
		Chown: func(string, int, int) error { return nil },
	})
	l := &labd{Bender: b, end: func() { cancel(); b.Wait(); _ = vms.Close() }}
	t.Cleanup(l.end)
	if err := b.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	return l
}

// kill ends the process so that nothing it still wants to do has an effect.
func (h *host) kill(l *labd) {
	h.die()
	l.end()
}

func (h *host) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
}

const id = play.ID("0123456789abcdef01234567")

func labPlan() plan.Plan {
	p := plan.Plan{Play: id, Playground: "flexbox"}
	for _, name := range []string{"one", "two"} {
		p.Machines = append(p.Machines, plan.Machine{
			Name: name, Backend: "qemu", Kernel: "6.1",
			Drives: []plan.Drive{{Device: "/dev/vda", Source: "debian-12", Mount: "/", Filesystem: "ext4"}},
		})
	}
	return p
}

func secrets() bender.Secrets {
	return bender.Secrets{HostKeys: []string{"k1", "k2"}, HostPublicKeys: []string{"p1", "p2"}}
}

// reach waits until the play is in a state.
func reach(t *testing.T, l *labd, want func(bender.Record) bool) bender.Record {
	t.Helper()
	changes, stop, err := l.Watch(id)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	timeout := time.After(20 * time.Second)
	for {
		// What is wanted may be more than the record, and come after it.
		again := time.After(20 * time.Millisecond)
		r, err := l.Status(id)
		if err != nil {
			t.Fatal(err)
		}
		if want(r) {
			return r
		}
		select {
		case <-changes:
		case <-again:
		case <-timeout:
			t.Fatalf("the play stays at %+v %+v %+v", r.Events, r.Machines, r.Tasks)
		}
	}
}

func state(s play.State) func(bender.Record) bool {
	return func(r bender.Record) bool { return r.State() == s }
}

func machineState(i int, s play.MachineState) func(bender.Record) bool {
	return func(r bender.Record) bool { return r.Machines[i].State == s }
}

// empty fails if the host holds anything of a play.
func (h *host) empty(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.networks)+len(h.records)+len(h.steps)+len(h.tasks) != 0 {
		t.Errorf("left over: networks %v, records %v, steps %v, tasks %v", h.networks, h.records, h.steps, h.tasks)
	}
	if running := h.vms.Running(); len(running) != 0 {
		t.Errorf("left over: machines %v", running)
	}
	for _, dir := range []string{h.layout().Play(string(id)), h.layout().PlayVolumes(string(id))} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left over: %s (%v)", dir, err)
		}
	}
}

func TestStartStopRestartDestroy(t *testing.T) {
	h := newHost(t)
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
		t.Fatal(err)
	}
	r := reach(t, l, state(play.Running))
	for _, m := range r.Machines {
		for _, name := range play.Conditions {
			if c, ok := m.Condition(name); !ok || !c.Status {
				t.Errorf("machine %s runs, but %s is %v", m.Name, name, c)
			}
		}
	}
	plays, machines := l.Count()
	if plays[play.Running] != 1 || machines[play.MachineRunning] != len(r.Machines) {
		t.Errorf("counted %v and %v", plays, machines)
	}
	if err := l.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Stopped))
	h.mu.Lock()
	if want := []play.State{play.Starting, play.Running}; !slices.Equal(h.entered[:2], want) {
		t.Errorf("told of %v, want %v first", h.entered, want)
	}
	h.mu.Unlock()
	if len(h.vms.Running())+len(h.networks) != 0 {
		t.Errorf("a stopped play holds %v %v", h.vms.Running(), h.networks)
	}
	volume := h.layout().Volume(string(id), 0, 0)
	if _, err := os.Stat(volume); err != nil {
		t.Errorf("a stopped play lost a volume: %v", err)
	}
	if err := l.Restart(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	if err := l.Restart(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	// At once, or a client would take the old run for the new one; and a play
	// that restarts is never said to be stopped.
	r, err := l.Status(id)
	if err != nil || r.State() == play.Running && h.vms.Starts(string(id)+"-m0") < 3 || r.State() == play.Stopped {
		t.Errorf("after the call to restart: %s, %v", r.State(), err)
	}
	reach(t, l, func(r bender.Record) bool {
		return r.State() == play.Running && h.vms.Starts(string(id)+"-m0") == 3
	})
	for range 2 {
		if err := l.Destroy(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		reach(t, l, state(play.Destroyed))
	}
	h.empty(t)
}

func TestMachinesLiveAndDieAlone(t *testing.T) {
	h := newHost(t)
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	one, two := h.vms.Guest(string(id)+"-m0"), h.vms.Guest(string(id)+"-m1")

	boot := one.BootID()
	if err := l.RebootMachine(t.Context(), id, "one"); err != nil {
		t.Fatal(err)
	}
	reach(t, l, func(r bender.Record) bool {
		return one.BootID() != boot && r.Machines[0].State == play.MachineRunning
	})

	one.Poweroff()
	reach(t, l, machineState(0, play.MachineStopped))
	if err := two.Print("Kernel panic - not syncing: the last line\n"); err != nil {
		t.Fatal(err)
	}
	two.Crash("killed by signal 9")
	r := reach(t, l, machineState(1, play.MachineFailed))
	if m := r.Machines[1].Message; !strings.Contains(m, "killed by signal 9") || !strings.Contains(m, "the last line") {
		t.Errorf("message %q", m)
	}
	if r.State() != play.Running {
		t.Errorf("play is %s", r.State())
	}
	for i, name := range []string{"one", "two"} {
		if err := l.RestartMachine(t.Context(), id, name); err != nil {
			t.Fatal(err)
		}
		reach(t, l, machineState(i, play.MachineRunning))
	}
	if err := l.StopMachine(t.Context(), id, "two"); err != nil {
		t.Fatal(err)
	}
	reach(t, l, machineState(1, play.MachineStopped))
	if err := l.StopMachine(t.Context(), id, "three"); !errors.Is(err, bender.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if err := l.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Destroyed))
	h.empty(t)
}

func TestAFailedStartSaysWhyAndLeavesNothingRunning(t *testing.T) {
	for _, what := range []string{"room", "network", "volume", "boot"} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t)
			h.refuse[what] = fmt.Errorf("no %s today", what)
			l := h.start(t, step.Runner{})
			if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
				t.Fatal(err)
			}
			r := reach(t, l, state(play.Failed))
			if last := r.Events[len(r.Events)-1]; !last.Error || !strings.Contains(last.Message, "no "+what+" today") {
				t.Errorf("event %+v", last)
			}
			delete(h.refuse, what)
			if len(h.vms.Running()) != 0 {
				t.Errorf("machines run: %v", h.vms.Running())
			}
			if err := l.Restart(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			reach(t, l, state(play.Running))
			if err := l.Destroy(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			reach(t, l, state(play.Destroyed))
			h.empty(t)
		})
	}
}

// TestKilledAnywhere kills labd at every point of every step of a start and of
// a destroy; the next labd brings the play to its goal, and destroying it
// leaves nothing.
func TestKilledAnywhere(t *testing.T) {
	steps := []string{"files", "network", "volumes/one", "volumes/two", "boot/one", "boot/two"}
	for _, point := range []step.Point{step.BeforeDo, step.AfterDo, step.BeforeUndo, step.AfterUndo} {
		for _, name := range steps {
			t.Run(string(point)+" "+name, func(t *testing.T) {
				h := newHost(t)
				reached := make(chan struct{})
				var once sync.Once
				l := h.start(t, step.Runner{Hook: func(p step.Point, n string) {
					if p == point && n == name {
						h.die()
						once.Do(func() { close(reached) })
					}
				}})
				if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
					t.Fatal(err)
				}
				undo := point == step.BeforeUndo || point == step.AfterUndo
				if undo {
					reach(t, l, state(play.Running))
					if err := l.Destroy(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
				<-reached
				h.kill(l)
				l = h.start(t, step.Runner{})
				if undo {
					reach(t, l, state(play.Destroyed))
				} else {
					reach(t, l, state(play.Running))
					if err := l.Destroy(t.Context(), id); err != nil {
						t.Fatal(err)
					}
					reach(t, l, state(play.Destroyed))
				}
				h.empty(t)
			})
		}
	}
}

func TestANewLabdAdoptsWhatRuns(t *testing.T) {
	h := newHost(t)
	l := h.start(t, step.Runner{})
	if err := l.Start(t.Context(), labPlan(), secrets()); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Running))
	h.kill(l)
	h.vms.Guest(string(id) + "-m1").Poweroff()
	h.networks["ffffffffffffffffffffffff"] = true

	l = h.start(t, step.Runner{})
	reach(t, l, func(r bender.Record) bool {
		return r.State() == play.Running &&
			r.Machines[0].State == play.MachineRunning && r.Machines[1].State == play.MachineStopped
	})
	if starts := h.vms.Starts(string(id) + "-m0"); starts != 1 {
		t.Errorf("machine one was started %d times", starts)
	}
	if h.networks["ffffffffffffffffffffffff"] {
		t.Error("a network of no play was left")
	}
	h.kill(l)
	h.vms.Guest(string(id) + "-m0").Crash("")
	l = h.start(t, step.Runner{})
	r := reach(t, l, machineState(0, play.MachineFailed))
	if r.Machines[0].Message == "" {
		t.Error("a failed machine without a reason")
	}
	if err := l.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	reach(t, l, state(play.Destroyed))
	h.empty(t)
}
