package manifest

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

const (
	tasksPath      = "playground.initTasks"
	conditionsPath = "playground.initConditions.values"
)

var taskPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c *checker) tasks() {
	tasks := c.m.Playground.InitTasks
	if len(tasks) > MaxTasks {
		c.errorf(tasksPath, fmt.Sprintf("a play has at most %d", MaxTasks), "%d tasks", len(tasks))
		return
	}
	names := TaskNames(tasks)
	for _, name := range names {
		at, t := join(tasksPath, name), tasks[name]
		if !taskPattern.MatchString(name) {
			c.errorf(at, "use 1 to 64 letters, digits, underscores and hyphens", "%q is not a task name", short(name))
		}
		if t.Name != "" && t.Name != name {
			c.warnf(join(at, "name"), "leave it out", "%q is ignored: the task is called %q", short(t.Name), name)
		}
		if t.Machine == "" {
			if c.m.Playground.Machines != nil && len(c.m.Playground.Machines) != 1 {
				c.missing(join(at, "machine"), "name the machine it runs on: "+orList(c.machineNames()))
			}
		} else {
			c.machineRef(join(at, "machine"), t.Machine)
		}
		if t.User != "" && !userPattern.MatchString(t.User) {
			c.errorf(join(at, "user"), "use 1 to 32 letters, digits, hyphens and underscores, no digit first", "%q is not a user name", short(t.User))
		}
		if strings.TrimSpace(t.Run) == "" {
			c.missing(join(at, "run"), `put the script under "run: |"`)
		}
		if timeout := join(at, "timeout_seconds"); t.TimeoutSeconds < 0 || (t.TimeoutSeconds == 0 && c.given(timeout)) {
			c.errorf(timeout, "write 1 or more", "%d is not a time to wait", t.TimeoutSeconds)
		} else if t.TimeoutSeconds > MaxTimeout {
			c.errorf(timeout, fmt.Sprintf("write at most %d, a day", MaxTimeout), "%d seconds are too long", t.TimeoutSeconds)
		}
		for i, need := range t.Needs {
			if _, ok := tasks[need]; !ok {
				fix := "tasks here are " + strings.Join(names, ", ")
				if near := nearest(need, names); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
				c.errorf(index(join(at, "needs"), i), fix, "there is no task %q", short(need))
			}
		}
		c.taskConditions(join(at, "conditions"), t)
	}
	for _, circle := range taskCircles(tasks) {
		c.errorf(join(join(tasksPath, circle[0]), "needs"), "remove one of these needs", "tasks need each other in a circle: %s", strings.Join(circle, " → "))
	}
}

func (c *checker) taskConditions(at string, t InitTask) {
	for i, condition := range t.Conditions {
		key := join(index(at, i), "key")
		if condition.Key == "" {
			c.missing(key, "")
			continue
		}
		if c.m.Playground.InitConditions == nil && c.mode != Effective {
			continue // the base's; Inherit checks
		}
		var values []InitCondition
		if c.m.Playground.InitConditions != nil {
			values = c.m.Playground.InitConditions.Values
		}
		i2 := slices.IndexFunc(values, func(v InitCondition) bool { return v.Key == condition.Key })
		if i2 < 0 {
			fix := "define it under initConditions.values"
			if keys := conditionKeys(values); len(keys) > 0 {
				fix = "conditions here are " + strings.Join(keys, ", ")
				if near := nearest(condition.Key, keys); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
			}
			c.errorf(key, fix, "there is no init condition %q", short(condition.Key))
			continue
		}
		v := values[i2]
		if condition.Value == "" && (v.Nullable || v.Default == "") {
			continue // chosen by leaving it empty
		}
		if reason, fix := v.refuse(condition.Value); reason != "" {
			c.warnf(join(index(at, i), "value"), fix, "%s of %q: the task never runs", reason, v.Key)
		}
	}
}

func conditionKeys(values []InitCondition) []string {
	keys := make([]string, len(values))
	for i, v := range values {
		keys[i] = v.Key
	}
	return keys
}

// TaskNames lists tasks in the order of a dump.
func TaskNames(tasks map[string]InitTask) []string {
	names := make([]string, 0, len(tasks))
	for name := range tasks {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// taskCircles returns circles of needs, each with its first task repeated at
// the end: one for each need that closes a circle, so that all of them are
// gone once each lost a need. The same tasks always give the same circles.
func taskCircles(tasks map[string]InitTask) (circles [][]string) {
	const open, done = 1, 2
	state := make(map[string]int, len(tasks))
	var stack []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = open
		stack = append(stack, name)
		for _, need := range tasks[name].Needs {
			if _, ok := tasks[need]; !ok {
				continue
			}
			switch state[need] {
			case open:
				if len(circles) < maxCircles {
					circles = append(circles, append(slices.Clone(stack[slices.Index(stack, need):]), need))
				}
			case done:
			default:
				visit(need)
			}
		}
		stack = stack[:len(stack)-1]
		state[name] = done
	}
	for _, name := range TaskNames(tasks) {
		if state[name] == 0 {
			visit(name)
		}
	}
	return circles
}

// maxCircles is more than anybody mends at once.
const maxCircles = 10

func (c *checker) conditions() {
	if c.m.Playground.InitConditions == nil {
		return
	}
	values := c.m.Playground.InitConditions.Values
	if n := len(values); n > MaxConditions {
		c.errorf(index(conditionsPath, MaxConditions), fmt.Sprintf("a playground has at most %d", MaxConditions), "%s", plural(n, "init condition"))
		return
	}
	first := map[string]int{}
	for i, v := range values {
		at := index(conditionsPath, i)
		switch before, ok := first[v.Key]; {
		case v.Key == "":
			c.missing(join(at, "key"), "")
		case ok:
			c.errorf(join(at, "key"), "give each condition its own", "%q is also the key of %s", short(v.Key), index(conditionsPath, before))
		default:
			first[v.Key] = i
		}
		c.plain(join(at, "key"), v.Key)
		if strings.Contains(v.Key, "=") {
			c.warnf(join(at, "key"), "use another character", "%q has a =, so the command line cannot give it: -i KEY=VALUE takes what is before the first one as the key", short(v.Key))
		}
		c.plain(join(at, "default"), v.Default)
		c.plain(join(at, "placeholder"), v.Placeholder)
		options := map[string]int{}
		for j, option := range v.Options {
			if before, ok := options[option]; ok {
				c.errorf(index(join(at, "options"), j), "list each option once", "%q is also %s", short(option), index(join(at, "options"), before))
			}
			options[option] = j
			c.plain(index(join(at, "options"), j), option)
		}
		if v.ValidationRegex != "" {
			if reason, fix := refuseRegex(v.ValidationRegex); reason != "" {
				c.errorf(join(at, "validationRegex"), fix, "%s", reason)
				continue
			}
		}
		if v.Default != "" {
			if reason, fix := v.refuse(v.Default); reason != "" {
				c.errorf(join(at, "default"), fix, "%s", reason)
			}
		}
	}
}

// refuseRegex says why text cannot be a validationRegex, "" if it can.
func refuseRegex(text string) (reason, fix string) {
	if n := utf8.RuneCountInString(text); n > MaxRegex {
		return "has " + plural(n, "character"), fmt.Sprintf("write at most %d", MaxRegex)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "not a regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "), "use RE2 syntax: no lookahead, no backreferences"
	}
	if regexSize(parsed) > MaxRegex {
		return "the regular expression repeats too much", "use smaller counts in {}"
	}
	return "", ""
}

// regexSize is about how many instructions an expression compiles to.
func regexSize(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)/2
	for _, sub := range re.Sub {
		size += regexSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return size
}

// refuse says why value cannot be chosen, "" if it can.
func (v InitCondition) refuse(value string) (reason, fix string) {
	if len(v.Options) > 0 && !slices.Contains(v.Options, value) {
		return fmt.Sprintf("%q is not an option", short(value)), "options are " + strings.Join(v.Options, ", ")
	}
	if v.ValidationRegex != "" {
		if re, err := regexp.Compile(v.ValidationRegex); err != nil || !re.MatchString(value) {
			return fmt.Sprintf("%q does not match", short(value)), "write what matches " + v.ValidationRegex
		}
	}
	return "", ""
}

// Choose checks the values given at a start and fills in the defaults. The
// result has every key of the playground; nil stands for null.
func (m *Manifest) Choose(given map[string]string) (map[string]*string, Problems) {
	var values []InitCondition
	if m.Playground.InitConditions != nil {
		values = m.Playground.InitConditions.Values
	}
	chosen := make(map[string]*string, len(values))
	keys := make([]string, len(values))
	var problems Problems
	refuse := func(key, reason, fix string) {
		problems = append(problems, Problem{Severity: Error, Path: join("initConditions", key), Message: reason, Fix: fix})
	}
	for i, v := range values {
		keys[i] = v.Key
		value, ok := given[v.Key]
		if !ok {
			value = v.Default
		}
		chosen[v.Key] = nil
		if value == "" {
			if !v.Nullable {
				fix := fmt.Sprintf("give one, as -i %q", v.Key+"=…")
				if len(v.Options) > 0 {
					fix = "options are " + strings.Join(v.Options, ", ")
				} else if v.ValidationRegex != "" {
					fix = "write what matches " + v.ValidationRegex
				}
				refuse(v.Key, "missing", fix)
			}
			continue
		}
		if reason, fix := v.refuse(value); reason != "" {
			refuse(v.Key, reason, fix)
			continue
		}
		chosen[v.Key] = &value
	}
	unknown := make([]string, 0, len(given))
	for key := range given {
		if _, ok := chosen[key]; !ok {
			unknown = append(unknown, key)
		}
	}
	sort.Strings(unknown)
	for _, key := range unknown {
		fix := "this playground has none"
		if len(keys) > 0 {
			fix = "known are " + strings.Join(keys, ", ")
		}
		refuse(key, "unknown init condition", fix)
	}
	return chosen, problems
}
