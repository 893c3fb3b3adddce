package bender

import (
	"cmp"
	"runtime"
	"slices"

	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/vm"
)

// progress is how far a machine has come that the start of its play may wait
// for.
type progress struct{ ready, up bool }

// A machine whose task runs, and the first of those that boot, have firstShare
// of their play's processors, each next rank of those that boot a quarter of the
// one before it, and whoever is not waited for, restShare; once all machines can be
// entered and only tasks are waited for, people may be in those: enteredShare.
const (
	firstShare   = 128
	enteredShare = 16
	restShare    = 1
)

// startWeight is the least that a VMM starts with: it needs some processor time
// of its own before it answers.
const startWeight = vm.FullWeight / 4

// weights are the shares of the host's processors that the machines of a play
// have while it starts, where there is not enough for all. Machines that boot
// side by side slow each other down and are all late, and one that answers goes
// on booting for longer than it took to answer. So they come one after the
// other: first whoever runs an init task, and the machines whose tasks that one
// needed, which it most likely asks for something; then those that still boot,
// the one with the longest chain of init tasks behind it first; then the rest.
//
// That is so until each of a host's cpus processors has less than two machines
// left to boot: from then on machines with chains of the same length have the
// same share, for else the last one would boot alone beside processors without
// work.
//
// The sum is what the machines have together at other times: no play gets more
// than another by it. Where nothing is waited for, all are alike: in a play that
// runs and has no open init task, and in one that neither starts nor runs.
func weights(p *plan.Plan, cpus int, state play.State, tasks []play.TaskStatus, machines []progress) []int {
	starting := state == play.Starting
	rest := enteredShare
	if starting {
		rest = restShare
	}
	var chain map[string]int
	var busy map[string]bool
	if starting || state == play.Running {
		chain, busy = openTasks(p, tasks, machines)
	}
	shares := make([]int, len(machines))
	var boot []int
	for i, m := range machines {
		name := p.Machines[i].Name
		switch {
		case busy[name]:
			shares[i] = firstShare
		case starting && !m.ready, !m.up && chain[name] > 0:
			boot = append(boot, i)
		default:
			shares[i] = rest
		}
	}
	slices.SortStableFunc(boot, func(a, b int) int {
		return cmp.Compare(chain[p.Machines[b].Name], chain[p.Machines[a].Name])
	})
	rank := 0
	for k, i := range boot {
		if k > 0 && (len(boot) >= 2*cpus || chain[p.Machines[i].Name] < chain[p.Machines[boot[k-1]].Name]) {
			rank = k
		}
		shares[i] = max(firstShare>>(2*rank), restShare)
	}
	sum := 0
	for _, share := range shares {
		sum += share
	}
	given := make([]int, len(shares))
	for i, share := range shares {
		given[i] = max(share*vm.FullWeight*len(shares)/sum, 1)
	}
	return given
}

// openTasks are, by machine, the longest chain of init tasks that have not
// ended and begin there, and who has to do with a task that runs: a task can do
// nothing, and ask nobody, before its own machine is up. There are none of both
// once an init task has failed: what needs it never runs.
func openTasks(p *plan.Plan, tasks []play.TaskStatus, machines []progress) (chain map[string]int, busy map[string]bool) {
	chain, busy = make(map[string]int), make(map[string]bool)
	up := make(map[string]bool, len(p.Machines))
	for i, m := range p.Machines {
		up[m.Name] = machines[i].up
	}
	machine := make(map[string]string, len(p.Tasks))
	for _, t := range p.Tasks {
		machine[t.Name] = t.Machine
	}
	behind := make(map[string]int, len(p.Tasks)) // tasks that wait for a task, in a chain
	for j := len(p.Tasks) - 1; j >= 0; j-- {     // what needs a task stands behind it
		t := p.Tasks[j]
		if !t.Init || tasks[j].State == play.TaskCompleted {
			continue
		}
		if tasks[j].State == play.TaskFailed {
			return nil, nil
		}
		length := behind[t.Name] + 1
		chain[t.Machine] = max(chain[t.Machine], length)
		runs := tasks[j].State != play.TaskBlocked && up[t.Machine]
		if runs {
			busy[t.Machine] = true
		}
		for _, need := range t.Needs {
			behind[need] = max(behind[need], length)
			if runs && up[machine[need]] {
				busy[machine[need]] = true
			}
		}
	}
	return chain, busy
}

// weights are those of the worker's machines at this moment, under mu.
func (w *worker) weights() []int {
	machines := make([]progress, len(w.machines))
	for i, m := range w.machines {
		if w.rec.halted(w.plan.Machines[i].Name) {
			machines[i] = progress{true, true}
		} else if m != nil {
			machines[i] = progress{m.is(play.ConditionReady), m.is(conditionUp)}
		}
	}
	return weights(w.plan, runtime.NumCPU(), w.rec.State(), w.rec.Tasks, machines)
}

// firstWeight is what machine i starts with.
func (w *worker) firstWeight(i int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.weights()[i], startWeight)
}

// weigh gives every machine that runs its share.
func (w *worker) weigh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, weight := range w.weights() {
		m := w.machines[i]
		if m == nil || m.weight == weight || m.gone() {
			continue
		}
		weighed, ok := m.vm.(vm.Weigher)
		if !ok {
			continue
		}
		// It is for speed alone, and not every host can do it.
		if err := weighed.SetCPUWeight(weight); err != nil {
			w.bender.opts.Log.Debug("cannot weigh machine", "play", w.id(), "machine", w.plan.Machines[i].Name, "error", err)
		}
		m.weight = weight
	}
}
