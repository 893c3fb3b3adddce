package plan

import (
	"slices"

	"sandlot/internal/manifest"
)

// conditions fills in the chosen values.
func (p *planner) conditions() {
	given := p.manifest.Playground.InitConditions
	if given == nil || len(given.Values) == 0 {
		return
	}
	p.plan.Conditions = make(map[string]*string, len(given.Values))
	for _, v := range given.Values {
		chosen, ok := p.facts.Conditions[v.Key]
		if !ok && v.Default != "" {
			chosen = &v.Default
		}
		p.plan.Conditions[v.Key] = chosen
	}
}

// runs tells whether a task's conditions all match; an empty value matches
// null.
func (p *planner) runs(t manifest.InitTask) bool {
	for _, c := range t.Conditions {
		value := ""
		if chosen := p.plan.Conditions[c.Key]; chosen != nil {
			value = *chosen
		}
		if value != c.Value {
			return false
		}
	}
	return true
}

// tasks orders the graph: what a task needs stands before it, else by name.
// Who needs a task that is skipped needs what that one needs: the order an
// author wrote stays, with nothing to wait for in the gap.
func (p *planner) tasks() {
	tasks := p.manifest.Playground.InitTasks
	// needs are the tasks to wait for once a task was visited: of one that
	// runs itself, of one that is skipped its own needs.
	needs := make(map[string][]string, len(tasks))
	var visit func(name string) []string
	visit = func(name string) []string {
		if stand, ok := needs[name]; ok {
			return stand
		}
		t := tasks[name]
		wait := []string{}
		for _, need := range slices.Sorted(slices.Values(t.Needs)) {
			wait = append(wait, visit(need)...)
		}
		slices.Sort(wait)
		wait = slices.Compact(wait)
		needs[name] = wait
		if p.runs(t) {
			needs[name] = []string{name}
			p.plan.Tasks = append(p.plan.Tasks, p.task(name, t, wait))
		}
		return needs[name]
	}
	for _, name := range manifest.TaskNames(tasks) {
		visit(name)
	}
}

func (p *planner) task(name string, t manifest.InitTask, needs []string) Task {
	task := Task{
		Name: name, Machine: t.Machine, User: t.User, Run: t.Run, Needs: needs, Init: t.Init,
		TimeoutSeconds: t.TimeoutSeconds, TimeoutIsDefault: t.TimeoutSeconds == 0,
	}
	if task.Machine == "" {
		task.Machine = p.plan.Machines[0].Name
	}
	if task.User == "" {
		task.User = "root"
	}
	if task.TimeoutIsDefault {
		task.TimeoutSeconds = manifest.DefaultTimeoutSeconds
	}
	return task
}
