//go:build linux

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// RecordFile in the run directory says which process was started there.
const RecordFile = "vmm.json"

// record names a process for ever: a pid alone is given out again.
type record struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot, field 22 of /proc/<pid>/stat
	Boot  string `json:"boot"`  // the host's boot id
}

// Process is one live or just ended VMM, our child or not.
type Process struct {
	PID int
	// Unlimited names the limits Start could not set on this host, and why.
	Unlimited []string

	start uint64
	pidfd *os.File
	done  chan struct{}

	mu     sync.Mutex
	status string
}

// process watches pid. A pidfd below 0 is opened here.
func (l Launcher) process(pid, pidfd int) (*Process, error) {
	start, err := l.startTime(pid)
	if err != nil {
		if pidfd >= 0 {
			unix.Close(pidfd)
		}
		return nil, err
	}
	if pidfd < 0 {
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil, fmt.Errorf("cannot watch process %d: %v", pid, err)
		}
		// The pid may have changed hands before it was pinned.
		if again, err := l.startTime(pid); err != nil || again != start {
			unix.Close(pidfd)
			return nil, ErrNone
		}
	}
	// Only a non-blocking descriptor is waited for by the runtime's poller,
	// without a thread for each VMM.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return nil, err
	}
	p := &Process{PID: pid, start: start, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), done: make(chan struct{})}
	go p.watch()
	return p, nil
}

func (p *Process) watch() {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	exited := false
	err = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		exited = err == nil && n == 1
		if exited {
			p.reap(int(fd))
		}
		return exited
	})
	if err == nil && exited {
		close(p.done)
	}
}

// reap collects the exit status if the process is our child; of an adopted
// process there is none to be had.
func (p *Process) reap(fd int) {
	status := "ended"
	// Asking through the pidfd first: the pid itself may be somebody else's by
	// now if another handle has collected the status.
	var wait unix.WaitStatus
	if unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil {
		if pid, err := unix.Wait4(p.PID, &wait, unix.WNOHANG, nil); err == nil && pid == p.PID {
			status = describe(wait)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status says, for a person, how the process ended; empty while it lives.
func (p *Process) Status() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Wait blocks until the process has ended, child or not.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Signal never reaches another process with the same pid. One that has ended
// already is no error.
func (p *Process) Signal(signal unix.Signal) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), signal, nil, 0) }); err != nil {
		return err
	}
	if sent != nil && !errors.Is(sent, unix.ESRCH) {
		return fmt.Errorf("cannot signal process %d: %v", p.PID, sent)
	}
	return nil
}

// Close stops watching; the process goes on.
func (p *Process) Close() error { return p.pidfd.Close() }

func (l Launcher) writeRecord(dir string, p *Process) error {
	boot, err := l.bootID()
	if err != nil {
		return err
	}
	body, err := json.Marshal(record{PID: p.PID, Start: p.start, Boot: boot})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, RecordFile)
	// No fsync: after a host crash the boot id makes the record void anyway.
	if err := os.WriteFile(path+".new", body, 0o600); err != nil {
		return fmt.Errorf("cannot record process: %v", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("cannot record process: %v", err)
	}
	return nil
}

// fromRecord gives the recorded process if it is alive and the same one.
func (l Launcher) fromRecord(dir string) (*Process, error) {
	body, err := os.ReadFile(filepath.Join(dir, RecordFile))
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	boot, err := l.bootID()
	if err != nil {
		return nil, err
	}
	if r.PID <= 1 || r.Boot != boot {
		return nil, ErrNone
	}
	p, err := l.process(r.PID, -1)
	if err != nil {
		return nil, err
	}
	if p.start != r.Start {
		p.Close()
		return nil, ErrNone
	}
	return p, nil
}

func (l Launcher) bootID() (string, error) {
	body, err := os.ReadFile(l.proc("sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("cannot read boot id: %v", err)
	}
	return strings.TrimSpace(string(body)), nil
}

// startTime gives field 22 of /proc/<pid>/stat, and ErrNone for a process
// that is gone or a zombie.
func (l Launcher) startTime(pid int) (uint64, error) {
	body, err := os.ReadFile(l.proc(strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, ErrNone
	} else if err != nil {
		return 0, err
	}
	return parseStat(body)
}

// parseStat reads past the command name, which may hold spaces and brackets.
func parseStat(body []byte) (uint64, error) {
	at := bytes.LastIndexByte(body, ')')
	if at < 0 {
		return 0, fmt.Errorf("cannot read process state %q", body)
	}
	fields := strings.Fields(string(body[at+1:])) // from field 3, the state
	if len(fields) < 20 {
		return 0, fmt.Errorf("cannot read process state %q", body)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, ErrNone
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// killPoll is how long Kill waits between two looks for processes that
// appeared meanwhile, or for a cgroup that is not empty yet.
const killPoll = 5 * time.Millisecond

// Kill ends every process of a run directory and of the cgroup
// "<parent>/<name>", waits until they are gone, and removes the cgroup and the
// record. It succeeds if there is nothing. An empty parent means no cgroup.
func (l Launcher) Kill(ctx context.Context, dir, parent, name string) error {
	// Looked at again until nothing is found: a fork may have been under way.
	for {
		pids, err := l.members(dir, parent, name)
		if err != nil {
			return err
		}
		killed := 0
		for _, pid := range pids {
			p, err := l.process(pid, -1)
			if err != nil {
				continue
			}
			killed++
			err = p.Signal(unix.SIGKILL)
			if err == nil {
				err = p.Wait(ctx)
			}
			p.Close()
			if err != nil {
				return fmt.Errorf("cannot end process %d of %q: %w", pid, dir, err)
			}
		}
		if killed == 0 {
			break
		}
	}
	if parent != "" {
		group, err := l.cgroups().find(parent, name)
		if err != nil {
			return err
		}
		if err := group.remove(ctx); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, RecordFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove process record: %v", err)
	}
	return nil
}

// members lists the pids to end. This process is never one: while Start runs,
// one of its threads sits in the new cgroup.
func (l Launcher) members(dir, parent, name string) ([]int, error) {
	var pids []int
	if p, err := l.fromRecord(dir); err == nil {
		pids = append(pids, p.PID)
		p.Close()
	}
	found, err := l.scan(func(d string) bool { return d == dir })
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		pids = append(pids, f.PID)
	}
	if parent != "" {
		group, err := l.cgroups().find(parent, name)
		if err != nil {
			return nil, err
		}
		inside, err := group.processes()
		if err != nil {
			return nil, err
		}
		pids = append(pids, inside...)
	}
	own := os.Getpid()
	kept := pids[:0]
	for _, pid := range pids {
		if pid > 1 && pid != own {
			kept = append(kept, pid)
		}
	}
	return kept, nil
}

func describe(wait unix.WaitStatus) string {
	if wait.Signaled() {
		return fmt.Sprintf("ended by signal %d (%s)", wait.Signal(), wait.Signal())
	}
	return fmt.Sprintf("ended with exit code %d", wait.ExitStatus())
}
