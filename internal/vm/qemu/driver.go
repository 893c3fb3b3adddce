//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
)

// Names in a machine's run directory, besides those of vm and launch.
const (
	socketQMP   = "qmp.sock"
	socketAgent = "agent.sock"
)

// overheadMiB is what QEMU needs beside the guest's memory and TCG's buffer of
// translated code: its own code, heap, stacks, the devices' rings and some
// page cache to work with.
const overheadMiB = 192

// overheadCPUs is for QEMU's I/O threads beside the vCPUs.
const overheadCPUs = 0.5

// oomScoreAdj makes the kernel end a VMM before labd or the host's services.
const oomScoreAdj = 300

// startTime bounds the wait for QEMU's first word.
const startTime = time.Minute

// Driver runs QEMU machines. Make it with New.
type Driver struct {
	options  Options
	launcher launch.Launcher

	mu       sync.Mutex
	machines map[string]*machine // by run directory
	locks    map[string]*dirLock
}

var _ vm.Driver = (*Driver)(nil)

// New gives a driver that knows no machine yet.
func New(options Options) *Driver {
	return &Driver{options: options.withDefaults(), machines: map[string]*machine{}, locks: map[string]*dirLock{}}
}

// Capabilities of this driver; without KVM a guest is not isolated.
func (d *Driver) Capabilities() vm.Capabilities {
	c := vm.Capabilities{MaxDrives: maxDrives, MaxNICs: maxNICs, Discard: true, RebootInProcess: true, Isolation: "none"}
	if d.options.KVM {
		c.Isolation, c.Nested = "kvm", true
	}
	return c
}

// Start boots a machine, or adopts the one that already runs for its Dir.
func (d *Driver) Start(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	defer d.lock(spec.Dir)()
	m, err := d.adopt(ctx, spec)
	if err == nil && m.ended() == "" {
		return m, nil
	}
	if err != nil && !errors.Is(err, vm.ErrNotRunning) {
		return nil, err
	}
	// What is left of a machine that ended: its paused process, its cgroup.
	if err := d.kill(ctx, spec); err != nil {
		return nil, err
	}
	m, err = d.boot(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start machine %q: %w", spec.Name, err)
	}
	return m, nil
}

func (d *Driver) boot(ctx context.Context, spec vm.Spec) (*machine, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	binary, err := exec.LookPath(d.options.Binary)
	if err != nil {
		return nil, fmt.Errorf("cannot find QEMU: %v (install qemu-system-x86)", err)
	}
	files, err := openFiles(spec)
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	memory := spec.MemoryMiB + overheadMiB
	var groups []uint32
	if d.options.KVM {
		if groups, err = kvmGroups(kvmDevice, spec.UID); err != nil {
			return nil, err
		}
	} else {
		memory += d.options.TBSizeMiB
	}
	process, err := d.launcher.Start(ctx, launch.Command{
		Name: spec.Name, Dir: spec.Dir, Path: binary, Args: Args(spec, d.options), Files: files,
		UID: spec.UID, GID: spec.GID, Groups: groups, NetNS: spec.NetNS, Cgroup: spec.Cgroup,
		Limits:      launch.Limits{CPUs: float64(spec.CPUs) + overheadCPUs, MemoryMiB: memory, CPUWeight: spec.CPUWeight},
		OOMScoreAdj: oomScoreAdj,
	})
	if err != nil {
		return nil, err
	}
	if len(process.Unlimited) > 0 {
		d.options.Log.Warn("a machine runs without limits that this host cannot set", "machine", spec.Name, "limits", process.Unlimited)
	}
	m := d.newMachine(spec, process)
	monitor, err := m.dial(ctx)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(spec.Dir, launch.LogFile))
		err = fmt.Errorf("%w\n%s", err, vm.Tail(log, 5))
		process.Close()
		return nil, errors.Join(err, d.kill(context.WithoutCancel(ctx), spec))
	}
	d.register(m)
	go m.run(monitor)
	return m, nil
}

// openFiles opens what QEMU starts with, in the order of the fd constants.
func openFiles(spec vm.Spec) ([]*os.File, error) {
	var files []*os.File
	console, err := os.OpenFile(filepath.Join(spec.Dir, vm.ConsoleFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open console: %v", err)
	}
	files = append(files, console)
	for _, name := range []string{socketQMP, socketAgent} {
		socket, err := listen(filepath.Join(spec.Dir, name))
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, socket)
	}
	taps, err := openTaps(spec.NetNS, spec.NICs)
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return append(files, taps...), nil
}

func listen(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot make socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot make socket: %v", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}

// kvmDevice is the only one QEMU before 8.1 can open.
const kvmDevice = "/dev/kvm"

// kvmGroups gives the group that may use the KVM device, if user needs one.
func kvmGroups(device string, uid uint32) ([]uint32, error) {
	if uid == 0 {
		return nil, nil
	}
	var stat unix.Stat_t
	if err := unix.Stat(device, &stat); err != nil {
		return nil, fmt.Errorf("cannot use %s: %v", device, err)
	}
	switch {
	case stat.Mode&0o006 == 0o006:
		return nil, nil
	case stat.Mode&0o060 == 0o060 && stat.Gid != 0:
		return []uint32{stat.Gid}, nil
	}
	return nil, fmt.Errorf("cannot use %s as an unprivileged user: its mode is %#o, its group %d (chgrp kvm %s && chmod 0660 %s)",
		device, stat.Mode&0o777, stat.Gid, device, device)
}

// Adopt finds a machine that an earlier labd started.
func (d *Driver) Adopt(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	defer d.lock(spec.Dir)()
	m, err := d.adopt(ctx, spec)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (d *Driver) adopt(ctx context.Context, spec vm.Spec) (*machine, error) {
	if m := d.machine(spec.Dir); m != nil {
		if !m.gone() {
			return m, nil
		}
		// Until it has cleaned up, its run directory is not free.
		if err := m.waitFinished(ctx); err != nil {
			return nil, err
		}
	}
	process, err := d.launcher.Find(spec.Dir)
	if errors.Is(err, launch.ErrNone) {
		return nil, vm.ErrNotRunning
	} else if err != nil {
		return nil, err
	}
	m := d.newMachine(spec, process)
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	// Without an answer it is adopted all the same: it runs, and the machine
	// goes on asking.
	monitor, err := m.dial(ctx)
	if err == nil {
		if status, err := monitor.status(ctx); err == nil {
			m.see(status)
		}
	}
	d.register(m)
	go m.run(monitor)
	return m, nil
}

// Kill ends a machine's VMM and removes its cgroup and sockets.
func (d *Driver) Kill(ctx context.Context, spec vm.Spec) error {
	defer d.lock(spec.Dir)()
	return d.kill(ctx, spec)
}

func (d *Driver) kill(ctx context.Context, spec vm.Spec) error {
	m := d.machine(spec.Dir)
	if m != nil {
		m.markKilled()
	}
	if err := d.cleanUp(ctx, spec); err != nil {
		return fmt.Errorf("cannot kill machine %q: %w", spec.Name, err)
	}
	if m != nil {
		return m.waitFinished(ctx)
	}
	return nil
}

// cleanUp ends every process of the machine and removes what only a live one
// needs. The console and the log stay.
func (d *Driver) cleanUp(ctx context.Context, spec vm.Spec) error {
	if err := d.launcher.Kill(ctx, spec.Dir, spec.Cgroup, spec.Name); err != nil {
		return err
	}
	for _, name := range []string{socketQMP, socketAgent} {
		if err := os.Remove(filepath.Join(spec.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove socket: %v", err)
		}
	}
	return nil
}

// Close lets go of every machine without touching it, so that another driver
// can adopt it. Event channels are closed without an Exited event.
func (d *Driver) Close() error {
	d.mu.Lock()
	machines := d.machines
	d.machines = map[string]*machine{}
	d.mu.Unlock()
	for _, m := range machines {
		m.cancel()
		<-m.finished
	}
	return nil
}

// dirLock serialises Start, Adopt and Kill of one run directory.
type dirLock struct {
	sync.Mutex
	users int // who hold it or wait for it; guarded by Driver.mu
}

// lock holds one run directory; the caller calls what it returns.
func (d *Driver) lock(dir string) (unlock func()) {
	d.mu.Lock()
	held := d.locks[dir]
	if held == nil {
		held = &dirLock{}
		d.locks[dir] = held
	}
	held.users++
	d.mu.Unlock()
	held.Lock()
	return func() {
		held.Unlock()
		d.mu.Lock()
		defer d.mu.Unlock()
		if held.users--; held.users == 0 {
			delete(d.locks, dir)
		}
	}
}

func (d *Driver) machine(dir string) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[dir]
}

func (d *Driver) register(m *machine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.machines[m.spec.Dir] = m
}

func (d *Driver) forget(m *machine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.machines[m.spec.Dir] == m {
		delete(d.machines, m.spec.Dir)
	}
}
