package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/bender"
	"sandlot/internal/host/dns"
	"sandlot/internal/host/image"
	"sandlot/internal/host/layout"
	"sandlot/internal/host/netns"
	"sandlot/internal/host/registry"
	"sandlot/internal/host/volume"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/session"
	"sandlot/internal/vm/launch"
)

// networks joins namespaces, name servers and registries to what bender calls a
// network.
type networks struct {
	manager    *netns.Manager
	registries *registries
	layout     layout.Layout
	log        *slog.Logger
	// upstreams answer what is not a play's.
	upstreams func() []string

	mu      sync.Mutex
	servers map[play.ID]func()
}

func (n *networks) Ensure(ctx context.Context, p *plan.Plan, registryAuth string) error {
	id := string(p.Play)
	spec := netns.Spec{
		NS:     n.layout.NetNS(id),
		Uplink: netns.Uplink{HostLink: n.layout.Uplink(id), Host: p.Uplink.Host, Play: p.Uplink.Play},
	}
	for _, net := range p.Networks {
		spec.Bridges = append(spec.Bridges, netns.Bridge{
			Name: net.Bridge, MAC: net.MAC, Private: net.Private,
			Address: netip.PrefixFrom(net.Gateway, net.Subnet.Bits()),
		})
	}
	for _, m := range p.Machines {
		for _, i := range m.Interfaces {
			spec.Taps = append(spec.Taps, netns.Tap{Name: i.Tap, Bridge: i.Bridge, UID: m.UID})
		}
	}
	if err := n.manager.Ensure(ctx, spec); err != nil {
		return err
	}
	return n.serve(p, registryAuth)
}

// serve starts the play's name server and registry, unless they run. Calls for
// one play take turns, in its worker.
func (n *networks) serve(p *plan.Plan, registryAuth string) error {
	n.mu.Lock()
	runs := n.servers[p.Play] != nil
	n.mu.Unlock()
	if runs {
		return nil
	}
	ns := n.layout.NetNS(string(p.Play))
	var (
		packets []net.PacketConn
		names   []dns.Name
		subnets []netip.Prefix
		errs    []error
	)
	listeners, err := n.listenTCP(p, 53)
	errs = append(errs, err)
	registryListeners, err := n.listenTCP(p, registryService.Port)
	errs = append(errs, err)
	for _, network := range p.Networks {
		addr := netip.AddrPortFrom(network.Gateway, 53)
		packet, err := n.manager.ListenUDP(ns, addr)
		if err == nil {
			packets = append(packets, packet)
		}
		errs = append(errs, err)
		subnets = append(subnets, network.Subnet)
	}
	var content *registry.Server
	if err = errors.Join(errs...); err == nil {
		content, err = n.registries.open(p, registryAuth)
	}
	if err != nil {
		for _, c := range packets {
			_ = c.Close()
		}
		closeAll(append(listeners, registryListeners...))
		return fmt.Errorf("cannot serve names and registry: %w", err)
	}
	for _, name := range p.Names {
		names = append(names, dns.Name(name))
	}
	server := &dns.Server{Zone: dns.NewZone(names, subnets), Here: n.registries.names, Upstreams: n.upstreams, Log: n.log}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ctx, packets, listeners); err != nil {
			n.log.Error("name server ended", "play", p.Play, "error", err)
		}
	})
	running.Go(func() {
		if err := content.Serve(ctx, registryListeners); err != nil {
			n.log.Error("registry ended", "play", p.Play, "error", err)
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[p.Play] = func() { cancel(); running.Wait() }
	return nil
}

func (n *networks) Delete(ctx context.Context, id play.ID) error {
	n.mu.Lock()
	stop := n.servers[id]
	delete(n.servers, id)
	n.mu.Unlock()
	if stop != nil {
		stop()
	}
	return n.manager.Delete(ctx, n.layout.NetNS(string(id)), n.layout.Uplink(string(id)))
}

// List and Remove make networks a bender.Strays.
func (n *networks) List(ctx context.Context) ([]string, error) {
	found, err := n.manager.List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, ns := range found.Namespaces {
		ids = append(ids, strings.TrimPrefix(ns, n.layout.NetNSPrefix()))
	}
	return ids, nil
}

func (n *networks) Remove(ctx context.Context, id string) error {
	if _, err := play.ParseID(id); err != nil {
		return nil // not a name of ours
	}
	return n.Delete(ctx, play.ID(id))
}

// removeNamelessLinks removes uplinks that a crash left without a namespace.
// Only while no play starts: a link that is being made looks the same.
func (n *networks) removeNamelessLinks(ctx context.Context) error {
	found, err := n.manager.List(ctx)
	for _, link := range found.HostLinks {
		if link.Namespace == "" {
			err = errors.Join(err, n.manager.DeleteLink(ctx, link.Name))
		}
	}
	return err
}

// volumes joins images and the pool to what bender calls a volume.
type volumes struct {
	images *image.Store
	pool   *volume.Pool
	layout layout.Layout
}

func (v volumes) CheckRoom(ctx context.Context, p *plan.Plan) error {
	missing := 0
	for i, m := range p.Machines {
		for j := range m.Drives {
			if _, err := os.Stat(v.layout.Volume(string(p.Play), i, j)); errors.Is(err, fs.ErrNotExist) {
				missing++
			}
		}
	}
	return v.pool.CheckRoom(ctx, volume.Need(missing))
}

func (v volumes) Make(ctx context.Context, path string, spec bender.Volume, progress func(string)) error {
	if spec.Saved != "" {
		return v.pool.Clone(ctx, v.layout.SavedDrive(spec.Saved), path, spec.SizeBytes, spec.UID)
	}
	if spec.Source == "" {
		return v.pool.Blank(ctx, path, spec.SizeBytes, spec.Filesystem, spec.UID)
	}
	base, err := v.images.Base(ctx, spec.Source, spec.Kernel, func(p image.Progress) { progress(describe(p)) })
	if err != nil {
		return err
	}
	if spec.SizeBytes < base.FSBytes {
		return fmt.Errorf("image %q needs %d MiB, the drive has %d MiB: raise its size", spec.Source, base.FSBytes>>20, spec.SizeBytes>>20)
	}
	return v.pool.Clone(ctx, base.Path, path, spec.SizeBytes, spec.UID)
}

func describe(p image.Progress) string {
	s := p.Stage
	if p.Total > 0 {
		s += fmt.Sprintf(" %d %%", p.Done*100/p.Total)
	}
	if p.Note != "" {
		s += ": " + p.Note
	}
	return s
}

func (v volumes) Delete(_ context.Context, path string) error { return v.pool.Delete(path) }

// SaveDrive, RemoveSaved and ListSaved make volumes a control.Pool. Saved
// drives belong to root: no VMM opens them.
func (v volumes) SaveDrive(ctx context.Context, id play.ID, machine, drive int, saved string) error {
	from := v.layout.Volume(string(id), machine, drive)
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("cannot save drive: %w", err)
	}
	return v.pool.Clone(ctx, from, v.layout.SavedDrive(saved), info.Size(), 0)
}

func (v volumes) RemoveSaved(_ context.Context, saved string) error {
	return v.pool.Delete(v.layout.SavedDrive(filepath.Base(saved)))
}

func (v volumes) ListSaved(context.Context) ([]string, error) {
	names, err := folders{root: v.layout.SavedDrives()}.List(context.Background())
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, filepath.Ext(name))
	}
	return names, err
}

// folders is a bender.Strays over folders that are named by plays.
type folders struct {
	root   string
	remove func(path string) error
}

func (f folders) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(f.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, err
}

func (f folders) Remove(_ context.Context, id string) error {
	return f.remove(filepath.Join(f.root, filepath.Base(id)))
}

// processes is a bender.Strays over VMM processes and their cgroups.
type processes struct {
	layout   layout.Layout
	launcher launch.Launcher
	cgroups  launch.Cgroups
}

func (p processes) List(context.Context) ([]string, error) {
	found, err := p.launcher.List(p.layout.Plays())
	groups, err2 := p.cgroups.List(p.layout.Cgroup())
	var ids []string
	for _, f := range found {
		ids = append(ids, filepath.Base(filepath.Dir(f.Dir)))
	}
	for _, g := range groups {
		id, _, _ := strings.Cut(g, "-")
		ids = append(ids, id)
	}
	return ids, errors.Join(err, err2)
}

func (p processes) Remove(ctx context.Context, id string) error {
	if _, err := play.ParseID(id); err != nil {
		return nil
	}
	var errs []error
	for i := range maxMachines {
		errs = append(errs, p.launcher.Kill(ctx, p.layout.Machine(id, i), p.layout.Cgroup(), p.layout.MachineName(id, i)))
	}
	return errors.Join(errs...)
}

// maxMachines is the manifest's limit for one play.
const maxMachines = 5

// machines is what the gateway reaches: bender's agents.
type machines struct {
	bender *bender.Bender
	// networks are nil where machines have none.
	networks *networks
}

// inside is a session with a machine's agent, as far as the gateway needs it.
type inside interface {
	Authorize(ctx context.Context, user, key string) error
	Dial(ctx context.Context, address string) (net.Conn, error)
	Listen(ctx context.Context, address string) (net.Listener, error)
	ExecStream(ctx context.Context, e wire.Exec) (io.ReadWriteCloser, error)
	Ports(ctx context.Context) ([]wire.Port, error)
	Links(ctx context.Context) ([]wire.Link, error)
}

var _ inside = (*session.Agent)(nil)

func (m machines) agent(id play.ID, machine string) (inside, error) {
	a, err := m.bender.Agent(id, machine)
	if err != nil {
		return nil, api.Errorf(api.Conflict, "%s", err)
	}
	return a.(inside), nil
}

// linksFor bounds how long a machine may take to tell of its interfaces.
const linksFor = time.Second

// usage is control's view of what a machine uses.
func (m machines) usage(ctx context.Context, id play.ID, machine string) (api.MachineUsage, bool) {
	pid, err := m.bender.Process(id, machine)
	if err != nil || pid == 0 {
		return api.MachineUsage{}, false
	}
	used, err := launch.ReadUsage(pid)
	if err != nil {
		return api.MachineUsage{}, false // it has just ended
	}
	u := api.MachineUsage{CPUSeconds: used.CPU.Seconds(), MemoryBytes: used.Memory}
	if r, err := m.bender.Status(id); err == nil {
		for i, planned := range r.Plan.Machines {
			if planned.Name == machine {
				u.MemoryLimit = int64(planned.MemoryMiB) << 20
				if boot, _ := r.Machines[i].Condition(play.ConditionBoot); !boot.Status {
					return u, true
				}
			}
		}
	}
	agent, err := m.agent(id, machine)
	if err != nil {
		return u, true
	}
	ctx, cancel := context.WithTimeout(ctx, linksFor)
	defer cancel()
	links, err := agent.Links(ctx)
	if err != nil {
		return u, true // an agent of an older labd, or one that is busy
	}
	for _, l := range links {
		u.Links = append(u.Links, api.Link(l))
	}
	return u, true
}

// Await returns once the machine has reached the condition, or an error if it
// will not by itself.
func (m machines) Await(ctx context.Context, id play.ID, machine, condition string) error {
	changes, stop, err := m.bender.Watch(id)
	if err != nil {
		return api.Errorf(api.Gone, "%s", err)
	}
	defer stop()
	for {
		r, err := m.bender.Status(id)
		if err != nil {
			return api.Errorf(api.Gone, "%s", err)
		}
		reached, err := reached(r, machine, condition)
		if reached || err != nil {
			return err
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func reached(r bender.Record, machine, condition string) (bool, error) {
	switch s := r.State(); s {
	case play.Stopping, play.Stopped:
		if !r.Again {
			return false, api.Errorf(api.Conflict, "play %q is stopped; start it with: labctl playground restart %s", r.Plan.Play, r.Plan.Play)
		}
	case play.Destroying, play.Destroyed:
		return false, api.Errorf(api.Gone, "play %q is destroyed", r.Plan.Play)
	}
	for i, m := range r.Plan.Machines {
		if m.Name != machine {
			continue
		}
		if condition == play.ConditionReady && m.NoSSH {
			condition = play.ConditionBoot
		}
		status := r.Machines[i]
		if c, ok := status.Condition(condition); ok && c.Status {
			return true, nil
		}
		if status.State == play.MachineFailed || r.State() == play.Failed && status.State != play.MachineRunning {
			return false, api.Errorf(api.Conflict, "machine %q failed: %s", machine, status.Message)
		}
		if status.State == play.MachineStopped && r.State() == play.Running {
			return false, api.Errorf(api.Conflict, "machine %q is stopped; start it with: labctl playground machine restart %s %s", machine, r.Plan.Play, machine)
		}
		return false, nil
	}
	return false, api.Errorf(api.NotFound, "play %q has no machine %q", r.Plan.Play, machine)
}

func (m machines) Authorize(ctx context.Context, id play.ID, machine, user, key string) error {
	a, err := m.agent(id, machine)
	if err != nil {
		return err
	}
	return a.Authorize(ctx, user, key)
}

func (m machines) Dial(ctx context.Context, id play.ID, machine, address string) (net.Conn, error) {
	a, err := m.agent(id, machine)
	if err != nil {
		return nil, err
	}
	// SSH is what people mend a network with, so it does not depend on one.
	if _, port, err := net.SplitHostPort(address); err != nil || port == "22" || port == "ssh" {
		return a.Dial(ctx, address)
	}
	fast, can := a.(interface {
		DialBeside(ctx context.Context, address string, way session.Beside) (net.Conn, error)
	})
	way, known := m.beside(id, machine)
	if !can || !known {
		return a.Dial(ctx, address)
	}
	return fast.DialBeside(ctx, address, way)
}

// beside is the way to a machine through the play's namespace.
func (m machines) beside(id play.ID, machine string) (session.Beside, bool) {
	r, err := m.bender.Status(id)
	if err != nil || m.networks == nil {
		return session.Beside{}, false
	}
	for _, candidate := range r.Plan.Machines {
		if candidate.Name != machine || len(candidate.Interfaces) == 0 {
			continue
		}
		return session.Beside{
			Address: candidate.Interfaces[0].Address.Addr(),
			Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				return m.networks.manager.DialIn(ctx, m.networks.layout.NetNS(string(id)), "tcp", to)
			},
		}, true
	}
	return session.Beside{}, false
}

func (m machines) Listen(ctx context.Context, id play.ID, machine, address string) (net.Listener, error) {
	a, err := m.agent(id, machine)
	if err != nil {
		return nil, err
	}
	// The listener outlives the request; only making it is bounded by ctx.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	l, err := a.Listen(life, address)
	if err != nil || !stop() {
		cancel()
		return nil, errors.Join(err, ctx.Err())
	}
	return l, nil
}

func (m machines) Exec(ctx context.Context, id play.ID, machine string, exec wire.Exec) (io.ReadWriteCloser, error) {
	a, err := m.agent(id, machine)
	if err != nil {
		return nil, err
	}
	return a.ExecStream(ctx, exec)
}

// Ports lists the TCP ports that something in the machine listens on.
func (m machines) Ports(ctx context.Context, id play.ID, machine string) ([]int, error) {
	a, err := m.agent(id, machine)
	if err != nil {
		return nil, err
	}
	ports, err := a.Ports(ctx)
	numbers := make([]int, len(ports))
	for i, p := range ports {
		numbers[i] = p.Number
	}
	return numbers, err
}

// close ends the name servers; the networks stay.
func (n *networks) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, stop := range n.servers {
		stop()
		delete(n.servers, id)
	}
}
