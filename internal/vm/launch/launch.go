//go:build linux

// Package launch starts VMM processes that outlive labd, and finds, watches
// and ends them again. In goes a Command: a program, its descriptors, its
// user, its namespace and its limits; out comes a Process. It knows no VMM.
//
// What makes a process ours is not a file but the process itself: its
// environment names the run directory it was started for (see Marker), and it
// sits in the cgroup "<parent>/<name>". Both hold from the moment it executes,
// so a labd killed at any line of Start leaves nothing that Find, Kill and
// List do not see. The pid record in the run directory only spares the scan.
//
//	Start ─▶ own cgroup, netns, session, user, no_new_privs ─▶ exec ─▶ record
//
// The run directory belongs to root: a VMM that a guest has taken over must
// not be able to plant a link or a record that labd, as root, would follow.
// It gets descriptors instead.
package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Marker is the environment variable that names a VMM's run directory.
const Marker = "SANDLOT_RUN_DIR"

// LogFile in the run directory takes the VMM's stdout and stderr.
const LogFile = "vmm.log"

// ErrNone is returned by Find when no live process belongs to a directory.
var ErrNone = errors.New("no such process")

// Command is one VMM to be started.
type Command struct {
	// Name names the cgroup below Cgroup.
	Name string
	// Dir is the run directory; it exists. Start makes it root's.
	Dir string
	// Path is the program's absolute path; Args do not include its name.
	Path string
	Args []string
	// Files become descriptors 3, 4, … of the process. The caller closes its own.
	Files []*os.File
	// UID, GID and Groups the process runs as. UID 0 means: do not change.
	UID, GID uint32
	Groups   []uint32
	// NetNS is a network namespace's path; empty means the caller's.
	NetNS string
	// Cgroup is the parent cgroup's name; empty means no cgroup.
	Cgroup string
	Limits Limits
	// OOMScoreAdj is -1000 to 1000; more is killed sooner.
	OOMScoreAdj int
}

// Limits of a process's cgroup. Zero means unlimited.
type Limits struct {
	CPUs      float64 // of one processor
	MemoryMiB int
	// CPUWeight is what Weigh sets, from the process's first moment on; 0 is
	// the kernel's default. A host that cannot set it is no worse off.
	CPUWeight int
}

// Launcher reaches the kernel through two directories; the zero value uses
// the real ones.
type Launcher struct {
	Proc    string // default "/proc"
	Cgroups *Cgroups
}

func (l Launcher) proc(parts ...string) string {
	root := l.Proc
	if root == "" {
		root = "/proc"
	}
	return filepath.Join(append([]string{root}, parts...)...)
}

func (l Launcher) cgroups() *Cgroups {
	if l.Cgroups != nil {
		return l.Cgroups
	}
	return &Cgroups{}
}

// Weigh sets what a process's cgroup gets of the host's processors where there
// is not enough for all: 100 is the kernel's default.
func (l Launcher) Weigh(parent, name string, weight int) error {
	return l.cgroups().weigh(parent, name, weight)
}

// Start runs the command. It does not look for one that already runs.
func (l Launcher) Start(ctx context.Context, c Command) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := secure(c.Dir); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(c.Dir, LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open VMM log: %v", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()

	var group *Group
	if c.Cgroup != "" {
		if group, err = l.cgroups().Ensure(c.Cgroup, c.Name, c.Limits); err != nil {
			return nil, err
		}
	}
	pidfd := -1
	attr := &syscall.ProcAttr{
		Dir: "/",
		// Nothing of labd's own environment: it may hold credentials.
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", Marker + "=" + c.Dir},
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	}
	for _, f := range c.Files {
		attr.Files = append(attr.Files, f.Fd())
	}
	if c.UID != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	if group != nil {
		if dir := group.unified(); dir != nil {
			defer dir.Close()
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
		}
	}
	var pid int
	err = onThread(func() error {
		if c.NetNS != "" {
			if err := enterNetNS(c.NetNS); err != nil {
				return err
			}
		}
		// no_new_privs and the cgroups of version 1 belong to a thread and
		// are inherited by what it forks: the VMM has both before it executes.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot set no_new_privs: %v", err)
		}
		if group != nil {
			if err := group.enterThread(); err != nil {
				return err
			}
		}
		pid, err = syscall.ForkExec(c.Path, append([]string{c.Path}, c.Args...), attr)
		if err != nil {
			return fmt.Errorf("cannot run %s: %v", c.Path, err)
		}
		return nil
	})
	runtime.KeepAlive(c.Files)
	if err != nil {
		if group != nil {
			err = errors.Join(err, group.remove(context.WithoutCancel(ctx)))
		}
		return nil, err
	}
	// Both only soften what a misbehaving VMM costs; a process that is already
	// gone is reported by Wait.
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	_ = os.WriteFile(l.proc(strconv.Itoa(pid), "oom_score_adj"), []byte(strconv.Itoa(c.OOMScoreAdj)), 0)

	p, err := l.process(pid, pidfd)
	if err == nil {
		err = l.writeRecord(c.Dir, p)
	}
	if err != nil {
		return nil, errors.Join(err, l.Kill(context.WithoutCancel(ctx), c.Dir, c.Cgroup, c.Name))
	}
	if group != nil {
		p.Unlimited = group.Unlimited
	}
	return p, nil
}

// secure makes dir root's own, so that only labd can create names in it.
func secure(dir string) error {
	if os.Geteuid() == 0 {
		if err := os.Lchown(dir, 0, 0); err != nil {
			return fmt.Errorf("cannot take run directory: %v", err)
		}
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return fmt.Errorf("cannot take run directory: %v", err)
	}
	return nil
}

// onThread runs f on an operating-system thread of its own that ends with it,
// so that whatever f does to the thread harms nothing else.
func onThread(f func() error) error {
	result := make(chan error, 1)
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The main thread never ends, and /proc/self shows its
			// namespaces and cgroups: hold it and take another.
			defer runtime.UnlockOSThread()
			inner := make(chan struct{})
			go func() { defer close(inner); run() }()
			<-inner
			return
		}
		// No UnlockOSThread: the runtime ends a thread whose goroutine
		// returns while locked to it.
		result <- f()
	}
	go run()
	return <-result
}

// InNetNS calls f on a thread inside the network namespace at path; an empty
// path means the caller's own. f must not start goroutines that use it.
func InNetNS(path string, f func() error) error {
	if path == "" {
		return f()
	}
	return onThread(func() error {
		if err := enterNetNS(path); err != nil {
			return err
		}
		return f()
	})
}

func enterNetNS(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot open network namespace: %v", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter network namespace %q: %v", path, err)
	}
	return nil
}

// Find gives the live process of a run directory, or ErrNone.
func (l Launcher) Find(dir string) (*Process, error) {
	if p, err := l.fromRecord(dir); err == nil {
		return p, nil
	}
	found, err := l.scan(func(d string) bool { return d == dir })
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if p, err := l.process(f.PID, -1); err == nil {
			return p, nil
		}
	}
	return nil, ErrNone
}

// Found is one process of ours.
type Found struct {
	PID int
	Dir string // its run directory
}

// List gives every process whose run directory is below root.
func (l Launcher) List(root string) ([]Found, error) {
	return l.scan(func(d string) bool { return strings.HasPrefix(d, strings.TrimRight(root, "/")+"/") })
}

func (l Launcher) scan(match func(dir string) bool) ([]Found, error) {
	entries, err := os.ReadDir(l.proc())
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %v", err)
	}
	var found []Found
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// A process that ends meanwhile has no environment; a kernel thread
		// and a zombie have an empty one.
		environ, err := os.ReadFile(l.proc(entry.Name(), "environ"))
		if err != nil {
			continue
		}
		for _, variable := range strings.Split(string(environ), "\x00") {
			if dir, ok := strings.CutPrefix(variable, Marker+"="); ok && match(dir) {
				found = append(found, Found{PID: pid, Dir: dir})
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b Found) int { return strings.Compare(a.Dir, b.Dir) })
	return found, nil
}
