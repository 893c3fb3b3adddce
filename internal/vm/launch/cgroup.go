//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// The kernel's cgroup interface is a handful of small files, and what is
// needed here is mkdir, four writes and rmdir. containerd/cgroups was looked
// at and left out: it brings eBPF, D-Bus and protobuf with it, and has no
// mode for hosts whose controllers are split between versions 1 and 2.

// Cgroups is the host's cgroup hierarchies; the zero value uses those that
// are mounted. It works with version 2, with version 1, and with hybrids where
// each controller sits in a hierarchy of its own version.
type Cgroups struct {
	// Mounts replaces what /proc/self/mountinfo says, for tests.
	Mounts []Hierarchy
}

// Hierarchy is one mounted cgroup filesystem.
type Hierarchy struct {
	Path        string
	Unified     bool // version 2
	Controllers []string
}

var wantedControllers = []string{"cpu", "memory"}

// Hierarchies lists those mounted hierarchies that have a controller for a
// limit, and version 2 where it is all there is.
func (c *Cgroups) Hierarchies() ([]Hierarchy, error) {
	mounts := c.Mounts
	if mounts == nil {
		var err error
		if mounts, err = mounted(); err != nil {
			return nil, err
		}
	}
	var kept []Hierarchy
	missing := slices.Clone(wantedControllers)
	for _, h := range mounts {
		h.Controllers = slices.DeleteFunc(slices.Clone(h.Controllers), func(name string) bool {
			return !slices.Contains(missing, name)
		})
		if len(h.Controllers) == 0 {
			continue
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return slices.Contains(h.Controllers, name) })
		kept = append(kept, h)
	}
	if len(kept) == 0 {
		// Membership alone is worth having: it finds processes again.
		if at := slices.IndexFunc(mounts, func(h Hierarchy) bool { return h.Unified }); at >= 0 {
			kept = append(kept, Hierarchy{Path: mounts[at].Path, Unified: true})
		}
	}
	return kept, nil
}

func mounted() ([]Hierarchy, error) {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("cannot list cgroup mounts: %v", err)
	}
	var hierarchies []Hierarchy
	for _, info := range infos {
		h := Hierarchy{Path: info.Mountpoint, Unified: info.FSType == "cgroup2"}
		if h.Unified {
			body, err := os.ReadFile(filepath.Join(h.Path, "cgroup.controllers"))
			if err != nil {
				continue
			}
			h.Controllers = strings.Fields(string(body))
		} else {
			h.Controllers = strings.Split(info.VFSOptions, ",")
		}
		hierarchies = append(hierarchies, h)
	}
	return hierarchies, nil
}

// Group is the cgroup "<parent>/<name>" in every hierarchy that has it.
type Group struct {
	dirs []groupDir
	// Unlimited names the limits this host could not set, and why.
	Unlimited []string
}

type groupDir struct {
	path    string
	unified bool
}

func checkName(names ...string) error {
	for _, name := range names {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n") {
			return fmt.Errorf("cannot use %q as a cgroup name", name)
		}
	}
	return nil
}

// Ensure makes the cgroup and sets its limits. A limit the host cannot set is
// noted in Unlimited, not an error: a lab must start in a container too.
func (c *Cgroups) Ensure(parent, name string, limits Limits) (*Group, error) {
	if err := checkName(parent, name); err != nil {
		return nil, err
	}
	hierarchies, err := c.Hierarchies()
	if err != nil {
		return nil, err
	}
	group := &Group{}
	limited := map[string]bool{}
	note := func(controller string, err error) {
		group.Unlimited = append(group.Unlimited, fmt.Sprintf("%s: %v", controller, err))
		limited[controller] = true
	}
	for _, h := range hierarchies {
		path := filepath.Join(h.Path, parent, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			for _, controller := range h.Controllers {
				note(controller, err)
			}
			continue
		}
		group.dirs = append(group.dirs, groupDir{path: path, unified: h.Unified})
		for _, controller := range h.Controllers {
			if h.Unified {
				for _, above := range []string{h.Path, filepath.Join(h.Path, parent)} {
					// A failure shows when the limit itself is written.
					_ = write(above, "cgroup.subtree_control", "+"+controller)
				}
			}
			if err := setLimit(path, h.Unified, controller, limits); err != nil {
				note(controller, err)
			}
			limited[controller] = true
		}
		if limits.CPUWeight > 0 && slices.Contains(h.Controllers, "cpu") {
			_ = setWeight(path, h.Unified, limits.CPUWeight)
		}
	}
	for _, controller := range wantedControllers {
		if !limited[controller] {
			note(controller, errors.New("this host has no such controller"))
		}
	}
	return group, nil
}

// quotaPeriod is the kernel's default period for CPU quotas, in µs.
const quotaPeriod = 100_000

func setLimit(path string, unified bool, controller string, limits Limits) error {
	bytes := strconv.FormatInt(int64(limits.MemoryMiB)<<20, 10)
	quota := strconv.Itoa(int(limits.CPUs * quotaPeriod))
	switch {
	case controller == "memory" && limits.MemoryMiB > 0 && unified:
		return write(path, "memory.max", bytes)
	case controller == "memory" && limits.MemoryMiB > 0:
		return write(path, "memory.limit_in_bytes", bytes)
	case controller == "cpu" && limits.CPUs > 0 && unified:
		return write(path, "cpu.max", fmt.Sprintf("%s %d", quota, quotaPeriod))
	case controller == "cpu" && limits.CPUs > 0:
		if err := write(path, "cpu.cfs_period_us", strconv.Itoa(quotaPeriod)); err != nil {
			return err
		}
		return write(path, "cpu.cfs_quota_us", quota)
	}
	return nil
}

// defaultShares is version 1's default weight; version 2's is 100.
const defaultShares = 1024

func (c *Cgroups) weigh(parent, name string, weight int) error {
	if err := checkName(parent, name); err != nil {
		return err
	}
	hierarchies, err := c.Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if !slices.Contains(h.Controllers, "cpu") {
			continue
		}
		return setWeight(filepath.Join(h.Path, parent, name), h.Unified, weight)
	}
	return nil
}

func setWeight(path string, unified bool, weight int) error {
	if unified {
		return write(path, "cpu.weight", strconv.Itoa(weight))
	}
	return write(path, "cpu.shares", strconv.Itoa(max(2, weight*defaultShares/100)))
}

// write never creates a file: on a cgroup filesystem a missing one means a
// missing controller.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// find gives the cgroup as far as it exists.
func (c *Cgroups) find(parent, name string) (*Group, error) {
	if err := checkName(parent, name); err != nil {
		return nil, err
	}
	hierarchies, err := c.Hierarchies()
	if err != nil {
		return nil, err
	}
	group := &Group{}
	for _, h := range hierarchies {
		path := filepath.Join(h.Path, parent, name)
		if _, err := os.Lstat(path); err == nil {
			group.dirs = append(group.dirs, groupDir{path: path, unified: h.Unified})
		}
	}
	return group, nil
}

// unified opens the version 2 directory, for clone3 to start the process in;
// nil if the host has none.
func (g *Group) unified() *os.File {
	for _, d := range g.dirs {
		if d.unified {
			if f, err := os.Open(d.path); err == nil {
				return f
			}
		}
	}
	return nil
}

// enterThread moves the calling thread, alone, into the version 1
// hierarchies; what it forks is born there.
func (g *Group) enterThread() error {
	for _, d := range g.dirs {
		if d.unified {
			continue
		}
		if err := write(d.path, "tasks", "0"); err != nil {
			return fmt.Errorf("cannot enter cgroup: %v", err)
		}
	}
	return nil
}

func (g *Group) processes() ([]int, error) {
	var pids []int
	for _, d := range g.dirs {
		body, err := os.ReadFile(filepath.Join(d.path, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("cannot list cgroup: %v", err)
		}
		for _, field := range strings.Fields(string(body)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("cannot list cgroup %q: %v", d.path, err)
			}
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// removeWait bounds how long a cgroup may stay busy after its last process
// was seen to end; the kernel takes some milliseconds.
const removeWait = 5 * time.Second

func (g *Group) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	for _, d := range g.dirs {
		for {
			err := unix.Rmdir(d.path)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("cannot remove cgroup %q: %v", d.path, err)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("cannot remove cgroup %q: %v", d.path, err)
			case <-time.After(killPoll):
			}
		}
	}
	return nil
}

// List names the cgroups below parent, in any hierarchy, sorted.
func (c *Cgroups) List(parent string) ([]string, error) {
	if err := checkName(parent); err != nil {
		return nil, err
	}
	hierarchies, err := c.Hierarchies()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range hierarchies {
		entries, err := os.ReadDir(filepath.Join(h.Path, parent))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("cannot list cgroups: %v", err)
		}
		for _, entry := range entries {
			if entry.IsDir() {
				names = append(names, entry.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// RemoveParent removes the parent cgroup where it is empty and leaves it where
// it is not.
func (c *Cgroups) RemoveParent(parent string) error {
	if err := checkName(parent); err != nil {
		return err
	}
	hierarchies, err := c.Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		err := unix.Rmdir(filepath.Join(h.Path, parent))
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("cannot remove cgroup %q: %v", parent, err)
		}
	}
	return nil
}
