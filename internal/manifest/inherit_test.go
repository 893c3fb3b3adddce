package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/labtest"
)

// parsed reads a manifest that must be right.
func parsed(t testing.TB, text string) *Manifest {
	t.Helper()
	m, problems := Parse("lab.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return m
}

const cluster = `kind: playground
name: k3s
title: A small cluster
description: Two nodes.
categories: [kubernetes]
playground:
  networks: [{name: local, subnet: 172.16.0.0/24}]
  machines:
    - name: dev-01
      users: [{name: laborant}]
      kernel: {source: "6.12"}
      backend: qemu
      drives: [{source: k3s-dev, mount: /, size: 30GiB}, {mount: /data, size: 20GiB}]
      network: {interfaces: [{network: local}]}
      resources: {cpuCount: 2, ramSize: 3GiB}
      startupFiles: [{path: /etc/motd, content: hi}]
    - name: node-01
      users: [{name: laborant}]
      drives: [{source: k3s-node, mount: /, size: 30GiB}]
      network: {interfaces: [{network: local}]}
      noSSH: true
  initTasks:
    join: {machine: node-01, run: join, init: true}
    ready: {machine: dev-01, run: wait, init: true, needs: [join]}
  initConditions:
    values: [{key: Container runtime, options: [docker, containerd], default: docker}]
  registryAuth: user:pass
  accessControl: {canList: [anyone], canRead: [anyone], canStart: [anyone]}
`

func dump(t testing.TB, m *Manifest) string {
	t.Helper()
	out, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What comes out when a partial manifest is laid over the cluster, as golden
// files. Neither argument changes, and laid over it once more nothing changes.
func TestInherit(t *testing.T) {
	machine := func(rest string) *Manifest {
		return parsed(t, "kind: playground\ntitle: Mine alone\nplayground:\n  machines:\n    - name: dev-01\n      users: [{name: root}]\n"+
			"      drives: [{source: \"oci://ghcr.io/me/dev:1\", mount: /}]\n      network: {interfaces: [{network: local}]}\n"+rest)
	}
	for name, partial := range map[string]*Manifest{
		"clone":         {Name: "mine"},
		"subset":        machine(""),
		"own-parts":     machine("  tabs: [{machine: dev-01, id: shell}]\n  initTasks: {a: {run: x}}\n  registryAuth: me:secret\n  accessControl: {canStart: [owner]}\n"),
		"nothing-of-it": machine("  initTasks: {}\n  initConditions: {values: []}\n  accessControl: {canList: [], canRead: [owner]}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			base := parsed(t, cluster)
			before := dump(t, base) + dump(t, partial)
			m, problems := Inherit(base, partial)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			labtest.Golden(t, "inherit/"+name+".yaml", dump(t, m))
			if diff := cmp.Diff(before, dump(t, base)+dump(t, partial)); diff != "" {
				t.Errorf("an argument changed:\n%s", diff)
			}
			again, problems := Inherit(base, parsed(t, dump(t, m)))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(dump(t, m), dump(t, again)); diff != "" {
				t.Errorf("laid over the base again it changed:\n%s", diff)
			}
		})
	}
}

func TestInheritProblems(t *testing.T) {
	machine := func(name, rest string) string {
		return "kind: playground\nplayground:\n  machines:\n    - name: " + name +
			"\n      users: [{name: root}]\n      drives: [{source: debian-12, mount: /}]\n      network: {interfaces: [{network: local}]}\n" + rest
	}
	tests := []struct {
		name, base, text, want string
	}{
		{"new machine", cluster, machine("dev-02", ""),
			`lab.yaml:4:13: playground.machines[0].name: Machine dev-02 is not present in the base playground.; "k3s" has dev-01, node-01; only flexbox takes any machines`},
		{"network of the base", cluster, strings.Replace(machine("dev-01", ""), "network: local", "network: lan", 1),
			`lab.yaml:7:40: playground.machines[0].network.interfaces[0].network: there is no network "lan"; networks here are local`},
		{"tab of a machine left out", cluster, machine("dev-01", "  tabs: [{machine: node-01}]\n"),
			`lab.yaml:8:20: playground.tabs[0].machine: there is no machine "node-01"; machines here are dev-01`},
		{"condition of the base", cluster, machine("dev-01", "  initTasks: {a: {run: x, conditions: [{key: Container runtime, value: podman}, {key: Nope, value: a}]}}\n"),
			"lab.yaml:8:72: warning: playground.initTasks.a.conditions[0].value: \"podman\" is not an option of \"Container runtime\": the task never runs; options are docker, containerd\n" +
				`lab.yaml:8:87: playground.initTasks.a.conditions[1].key: there is no init condition "Nope"; conditions here are Container runtime`},
		{"total with defaults", "kind: playground\nname: flexbox\nplayground: {}\n", strings.Replace(machine("a", ""), "mount: /}", "mount: /, size: 100GiB}, {size: 100GiB}, {size: 31GiB}, {}", 1),
			`lab.yaml:6:92: playground.machines[0].drives[3].size: the drives of all machines are 241GiB together, above the most, 240GiB; take away 1GiB`},
		{"nothing to start", "kind: playground\nname: flexbox\nplayground: {}\n", "kind: playground\nplayground: {}\n",
			`lab.yaml:2:13: playground.machines: missing; give 1 to 5: the base has none`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			partial, _ := Parse("lab.yaml", []byte(test.text))
			_, problems := Inherit(parsed(t, test.base), partial)
			if diff := cmp.Diff(test.want, problems.String()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplaceStandsAlone(t *testing.T) {
	complete := strings.Replace(strings.Replace(sound, "name: dev", "name: dev-01", 1), "name: db", "name: other", 1)
	complete = strings.Replace(complete, "- machine: dev", "- machine: dev-01", 1)
	m, problems := Replace(parsed(t, cluster), parsed(t, complete))
	want := `lab.yaml:24:13: playground.machines[1].name: Machine other is not present in the base playground.; "k3s" has dev-01, node-01; only flexbox takes any machines`
	if diff := cmp.Diff(want, problems.String()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if r := m.Playground.Machines[0].Resources; r != nil {
		t.Errorf("resources %v came from the base", r)
	}
	if tasks := m.Playground.InitTasks; tasks != nil {
		t.Errorf("tasks %v came from the base", tasks)
	}
}

func TestDefaultTabs(t *testing.T) {
	machines := []Machine{{Name: "a", NoSSH: true}, {Name: "b"}, {Name: "c"}}
	tests := []struct {
		base Manifest
		want string
	}{
		{Manifest{Name: Flexbox}, "terminal-b terminal-c"},
		{Manifest{Name: "alpine-3"}, "terminal-b terminal-c"},
		{Manifest{Name: "debian-12"}, "ide-b terminal-b terminal-c"},
		{Manifest{Name: "mine-01234567", Base: "k3s"}, "ide-b terminal-b terminal-c kexp"},
	}
	for _, test := range tests {
		var ids []string
		for _, tab := range defaultTabs(&test.base, machines) {
			ids = append(ids, tab.TabID(nil))
		}
		if got := strings.Join(ids, " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.base.Name, got, test.want)
		}
	}
}

func TestTasks(t *testing.T) { checkAll(t, taskCases(t)) }

func taskCases(t testing.TB) (cases []problemCase) {
	tests := []struct{ name, tasks, want string }{
		{"fine", "{1-a_B: {name: 1-a_B, machine: dev, run: x, timeout_seconds: 1800, user: laborant}, b: {machine: db, run: y, needs: [1-a_B]}}", ""},
		{"itself", "{a: {machine: dev, run: x, needs: [a]}}",
			`lab.yaml:7:48: playground.initTasks.a.needs: tasks need each other in a circle: a → a; remove one of these needs`},
		{"circle", "{a: {machine: dev, run: x, needs: [b]}, b: {machine: dev, run: x, needs: [c]}, c: {machine: dev, run: x, needs: [d, b]}, d: {machine: dev, run: x}}",
			`lab.yaml:7:87: playground.initTasks.b.needs: tasks need each other in a circle: b → c → b; remove one of these needs`},
		{"unknown need", "{build: {machine: dev, run: x, needs: [prepre]}, prepare: {machine: dev, run: x}}",
			`lab.yaml:7:53: playground.initTasks.build.needs[0]: there is no task "prepre"; did you mean "prepare"?`},
		{"no machine", "{a: {run: x}}", `lab.yaml:7:15: playground.initTasks.a.machine: missing; name the machine it runs on: dev or db`},
		{"nothing to run", "{a: {machine: dev, run: ' '}}", `lab.yaml:7:38: playground.initTasks.a.run: missing; put the script under "run: |"`},
		{"script as task", "{a: echo}", `lab.yaml:7:18: playground.initTasks.a: "echo" where fields are expected; put the script under "run:"`},
		{"bad name", "{a b: {machine: dev, run: x}}", `lab.yaml:7:15: playground.initTasks["a b"]: "a b" is not a task name; use 1 to 64 letters, digits, underscores and hyphens`},
		{"other name", "{a: {name: b, machine: dev, run: x}}", `lab.yaml:7:25: warning: playground.initTasks.a.name: "b" is ignored: the task is called "a"; leave it out`},
		{"no time", "{a: {machine: dev, run: x, timeout_seconds: 0}}", `lab.yaml:7:58: playground.initTasks.a.timeout_seconds: 0 is not a time to wait; write 1 or more`},
		{"a day", "{a: {machine: dev, run: x, timeout_seconds: 86400}}", ""},
		{"over a day", "{a: {machine: dev, run: x, timeout_seconds: 86401}}", `lab.yaml:7:58: playground.initTasks.a.timeout_seconds: 86401 seconds are too long; write at most 86400, a day`},
		{"timeout", "{a: {machine: dev, run: x, timeout: 5}}", `lab.yaml:7:41: warning: playground.initTasks.a.timeout: unknown field, ignored; rename "timeout" to "timeout_seconds"`},
		{"a list", "[{name: a}]", `lab.yaml:7:14: playground.initTasks: a list where names with their fields are expected; write each as "<name>:" with its fields below`},
	}
	for _, test := range tests {
		cases = append(cases, problemCase{test.name, string(replaced(t, "playground:\n", "playground:\n\n  initTasks: "+test.tasks+"\n")), Start, test.want})
	}
	return cases
}

func TestInitConditions(t *testing.T) { checkAll(t, conditionCases(t)) }

func conditionCases(t testing.TB) (cases []problemCase) {
	tests := []struct{ name, values, want string }{
		{"fine", `[{key: Container runtime, options: [docker, containerd], default: docker}, {key: n, nullable: true, placeholder: x, validationRegex: "^[0-9]+$"}]`, ""},
		{"key twice", "[{key: a}, {key: a}]", `lab.yaml:7:45: playground.initConditions.values[1].key: "a" is also the key of playground.initConditions.values[0]; give each condition its own`},
		{"key with =", "[{key: a=b, default: x}]", `lab.yaml:7:35: warning: playground.initConditions.values[0].key: "a=b" has a =, so the command line cannot give it: -i KEY=VALUE takes what is before the first one as the key; use another character`},
		{"no key", "[{default: a}]", `lab.yaml:7:29: playground.initConditions.values[0].key: missing`},
		{"default no option", "[{key: a, options: [x, y], default: z}]", `lab.yaml:7:64: playground.initConditions.values[0].default: "z" is not an option; options are x, y`},
		{"default against regex", "[{key: a, validationRegex: ^x, default: z}]", `lab.yaml:7:68: playground.initConditions.values[0].default: "z" does not match; write what matches ^x`},
		{"bad regex", "[{key: a, validationRegex: '(?=x)'}]", "lab.yaml:7:55: playground.initConditions.values[0].validationRegex: not a regular expression: invalid or unsupported Perl syntax: `(?=`; use RE2 syntax: no lookahead, no backreferences"},
		{"option twice", "[{key: a, options: [x, x]}]", `lab.yaml:7:51: playground.initConditions.values[0].options[1]: "x" is also playground.initConditions.values[0].options[0]; list each option once`},
	}
	for _, test := range tests {
		cases = append(cases, problemCase{test.name, string(replaced(t, "playground:\n", "playground:\n\n  initConditions: {values: "+test.values+"}\n")), Start, test.want})
	}
	return cases
}

func TestChoose(t *testing.T) {
	m := &Manifest{Playground: Playground{InitConditions: &InitConditions{Values: []InitCondition{
		{Key: "Container runtime", Options: []string{"docker", "containerd"}, Default: "docker"},
		{Key: "count", ValidationRegex: "^[0-9]+$"},
		{Key: "note", Nullable: true},
	}}}}
	text := func(s string) *string { return &s }
	tests := []struct {
		name  string
		given map[string]string
		want  map[string]*string
		err   string
	}{
		{"defaults", map[string]string{"count": "3"}, map[string]*string{"Container runtime": text("docker"), "count": text("3"), "note": nil}, ""},
		{"all", map[string]string{"Container runtime": "containerd", "count": "3", "note": "x"}, map[string]*string{"Container runtime": text("containerd"), "count": text("3"), "note": text("x")}, ""},
		{"all wrong", map[string]string{"Container runtime": "podman", "nope": "1"}, nil,
			"initConditions[\"Container runtime\"]: \"podman\" is not an option; options are docker, containerd\n" +
				"initConditions.count: missing; write what matches ^[0-9]+$\n" +
				"initConditions.nope: unknown init condition; known are Container runtime, count, note"},
		{"against regex", map[string]string{"count": "many"}, nil, `initConditions.count: "many" does not match; write what matches ^[0-9]+$`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, problems := m.Choose(test.given)
			if diff := cmp.Diff(test.err, problems.String()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if test.err == "" {
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("chosen (-want +got):\n%s", diff)
				}
			}
		})
	}
}
