package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// taskCgroup gives tasks nearly all of the processors while they run: a machine
// that boots has a long tail of services to start, for which nobody waits, and
// process 1, which starts them, is in the agent's own cgroup.
//
// It is a cgroup of version 2 beside those of the image's init, which leaves
// alone what it has not made. Where there is none, tasks run where the agent
// does.
type taskCgroup struct {
	mu    sync.Mutex
	tasks int // that run
}

const (
	cgroupRoot = "/sys/fs/cgroup"
	tasksGroup = cgroupRoot + "/sandlot-tasks"
	taskWeight = "10000" // the most there is (Linux, cgroup-v2.rst, cpu.weight)
	// idleWeight is what every cgroup has; processes that tasks left have it.
	idleWeight = "100"
)

// enter opens the cgroup for a task that is about to start; leave must be called
// when it has ended. The file is nil where there is no such cgroup.
func (c *taskCgroup) enter(root string) (dir *os.File, leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks++
	path := root + tasksGroup
	weigh := func(weight string) error {
		return os.WriteFile(filepath.Join(path, "cpu.weight"), []byte(weight), 0o644)
	}
	leave = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.tasks--; c.tasks == 0 && dir != nil {
			weigh(idleWeight)
		}
	}
	shared, err := os.ReadFile(root + cgroupRoot + "/cgroup.subtree_control")
	if err != nil || !slices.Contains(strings.Fields(string(shared)), "cpu") {
		return nil, leave
	}
	if err := os.Mkdir(path, 0o755); err != nil && !os.IsExist(err) {
		return nil, leave
	}
	if weigh(taskWeight) != nil {
		return nil, leave
	}
	dir, _ = os.Open(path)
	return dir, leave
}
