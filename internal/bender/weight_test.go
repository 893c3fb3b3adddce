package bender

import (
	"cmp"
	"slices"
	"testing"

	"sandlot/internal/plan"
	"sandlot/internal/play"
)

// Whoever others wait for comes first, and all are alike once nobody waits.
func TestWeights(t *testing.T) {
	p := &plan.Plan{
		Machines: []plan.Machine{{Name: "last"}, {Name: "first"}, {Name: "middle"}, {Name: "idle"}, {Name: "own"}},
		Tasks: []plan.Task{
			{Name: "a", Machine: "first", Init: true},
			{Name: "b", Machine: "middle", Init: true, Needs: []string{"a"}},
			{Name: "c", Machine: "last", Init: true, Needs: []string{"a", "b"}},
			{Name: "later", Machine: "own", Needs: []string{"c"}}, // the start does not wait for it
		},
	}
	const (
		created   = play.TaskCreated
		blocked   = play.TaskBlocked
		running   = play.TaskRunning
		completed = play.TaskCompleted
		failed    = play.TaskFailed
	)
	boots, ready, up := progress{}, progress{ready: true}, progress{true, true}
	all := func(p progress) []progress { return []progress{p, p, p, p, p} }
	alike := []int{100, 100, 100, 100, 100}
	for name, tc := range map[string]struct {
		states   [4]play.TaskState
		machines []progress
		state    play.State
		want     []int
		cpus     int
	}{
		// Shares 8, 128, 32, 2, 1 of 171.
		"at first": {[4]play.TaskState{created, blocked, blocked, blocked}, all(boots), play.Starting, []int{23, 374, 93, 5, 2}, 0},
		// Who is ready and idle has 1; who has a task is waited for until it is up.
		"all ready": {[4]play.TaskState{created, blocked, blocked, blocked}, all(ready), play.Starting, []int{23, 376, 94, 2, 2}, 0},
		// Shares of a task that runs and of the machine that it asks: 128.
		"a task runs":        {[4]play.TaskState{completed, running, blocked, blocked}, all(up), play.Starting, []int{1, 247, 247, 1, 1}, 0},
		"only a task runs":   {[4]play.TaskState{completed, running, blocked, blocked}, all(up), play.Running, []int{26, 210, 210, 26, 26}, 0},
		"beside who boots":   {[4]play.TaskState{completed, running, blocked, blocked}, []progress{boots, up, up, up, boots}, play.Starting, []int{153, 153, 153, 1, 38}, 0},
		"the machine boots":  {[4]play.TaskState{completed, created, blocked, blocked}, []progress{up, up, ready, up, up}, play.Starting, []int{3, 3, 484, 3, 3}, 0},
		"all done":           {[4]play.TaskState{completed, completed, completed, running}, all(up), play.Starting, alike, 0},
		"never done":         {[4]play.TaskState{completed, failed, blocked, blocked}, all(up), play.Starting, alike, 0},
		"the start failed":   {[4]play.TaskState{created, blocked, blocked, blocked}, all(boots), play.Failed, alike, 0},
		"a machine restarts": {[4]play.TaskState{completed, completed, completed, completed}, []progress{up, boots, up, up, up}, play.Running, alike, 0},
		"without tasks":      {[4]play.TaskState{completed, completed, completed, completed}, []progress{up, boots, up, boots, up}, play.Starting, []int{3, 392, 3, 98, 3}, 0},
		// Alike are those with as long a chain, once each processor has less than two.
		"on two processors":   {[4]play.TaskState{created, blocked, blocked, blocked}, all(boots), play.Starting, []int{23, 374, 93, 5, 2}, 2},
		"on three processors": {[4]play.TaskState{created, blocked, blocked, blocked}, all(boots), play.Starting, []int{23, 372, 93, 5, 5}, 3},
		"the last three":      {[4]play.TaskState{completed, completed, completed, completed}, []progress{up, boots, boots, boots, up}, play.Starting, []int{1, 165, 165, 165, 1}, 2},
		"two with a task":     {[4]play.TaskState{created, blocked, blocked, blocked}, []progress{boots, boots, up, up, up}, play.Starting, []int{98, 392, 3, 3, 3}, 2},
	} {
		tasks := make([]play.TaskStatus, len(p.Tasks))
		for j := range tasks {
			tasks[j].State = tc.states[j]
		}
		if got := weights(p, cmp.Or(tc.cpus, 1), tc.state, tasks, tc.machines); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
