package manifest

import (
	"fmt"
	"strings"
	"testing"
)

// Every limit at its last good value and one beyond, those that fieldCases do
// not have.
func TestLimits(t *testing.T) { checkAll(t, limitCases(t)) }

func limitCases(testing.TB) (cases []problemCase) {
	list := func(n int, item string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item
			if strings.Contains(item, "%") {
				items[i] = fmt.Sprintf(item, i)
			}
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	const (
		head  = "kind: playground\nplayground:\n"
		m     = "{name: m%d, users: [{name: root}], drives: [{source: a, mount: /}], network: {interfaces: [{network: local}]}}"
		one   = "  machines:\n    - name: one\n      users: [{name: root}]\n      drives: [{source: a, mount: /}]\n      network: {interfaces: [{network: local}]}\n"
		tasks = one + "  initTasks: "
	)
	name := func(n int) string {
		return strings.Replace(one, "name: one", "name: "+strings.Repeat("a", n), 1)
	}
	add := func(title, text, want string) {
		cases = append(cases, problemCase{name: title, text: head + text, want: want})
	}
	const long = "use 1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"

	add("1 machine", one, "")
	add("5 machines", "  machines: "+list(5, m)+"\n", "")
	add("6 machines", "  machines: "+list(6, m)+"\n", `lab.yaml:3:569: playground.machines[5]: 6 machines; a play has at most 5`)
	add("name of 63", name(63), "")
	add("name of 64", name(64), `lab.yaml:4:13: playground.machines[0].name: "`+strings.Repeat("a", 64)+`" is not a machine name; `+long)
	add("user of 32", strings.Replace(one, "root", strings.Repeat("u", 32), 1), "")
	add("user of 33", strings.Replace(one, "root", strings.Repeat("u", 33), 1), `lab.yaml:5:22: playground.machines[0].users[0].name: "`+strings.Repeat("u", 33)+`" is not a user name; use 1 to 32 letters, digits, hyphens and underscores, no digit first`)
	add("64 interfaces", strings.Replace(one, "[{network: local}]", list(64, "{network: local}"), 1), "")
	add("65 interfaces", strings.Replace(one, "[{network: local}]", list(65, "{network: local}"), 1), `lab.yaml:7:1182: playground.machines[0].network.interfaces[64]: 65 interfaces; a machine has at most 64`)

	add("no drives", strings.Replace(one, "[{source: a, mount: /}]", "[]", 1), `lab.yaml:6:15: playground.machines[0].drives: missing; list at least the root drive, as "drives: [{source: debian-12, mount: /}]"`)
	add("no interfaces", strings.Replace(one, "[{network: local}]", "[]", 1), `lab.yaml:7:29: playground.machines[0].network.interfaces: missing; write "network: {interfaces: [{network: local}]}"`)
	add("no users in the list", strings.Replace(one, "[{name: root}]", "[]", 1), `lab.yaml:5:14: playground.machines[0].users: missing; list at least one, as "users: [{name: root}]"`)
	add("no networks in the list", one+"  networks: []\n", "")
	add("owner of 32 bits", one+"      startupFiles: [{path: /a, owner: '4294967294'}]\n", "")
	add("owner of nobody", one+"      startupFiles: [{path: /a, owner: '4294967295'}]\n", `lab.yaml:8:40: playground.machines[0].startupFiles[0].owner: "4294967295" is not an owner; write "user", "user:group" or numbers like "1000:1000"`)
	add("mode of four digits", one+"      startupFiles: [{path: /a, mode: '7777'}, {path: /b, mode: '00007777'}]\n", "")

	add("1024 CPUs", one+"      resources: {cpuCount: 1024, ramSize: 16TiB}\n", "")
	add("1025 CPUs", one+"      resources: {cpuCount: 1025}\n", `lab.yaml:8:29: playground.machines[0].resources.cpuCount: 1025 CPUs are too many; write at most 1024`)
	add("over 16 TiB", one+"      resources: {ramSize: 16385GiB}\n", `lab.yaml:8:28: playground.machines[0].resources.ramSize: "16385GiB" is too much; write at most "16TiB"`)
	add("sizes below what can be counted", one+"      resources: {ramSize: 999999999TiB}\n", `lab.yaml:8:28: playground.machines[0].resources.ramSize: "999999999TiB" is not a size; write it like "2GiB"`)
	add("23 blank drives of the default size", strings.Replace(one, "[{source: a, mount: /}]", "[{source: a, mount: /}, "+list(23, "{}")[1:], 1), "")
	add("240 GiB by sizes", strings.Replace(one, "mount: /}", "mount: /, size: 100GiB}, {size: 100GiB}, {size: 40GiB}", 1), "")
	add("a MiB more than 240 GiB", strings.Replace(one, "mount: /}", "mount: /, size: 100GiB}, {size: 100GiB}, {size: 40961MiB}", 1),
		`lab.yaml:6:76: playground.machines[0].drives[2].size: the drives of all machines are 245761MiB together, above the most, 240GiB; take away 1MiB`)

	add("100 networks", "  networks: "+list(100, "{name: n%d, subnet: 10.%[1]d.0.0/24}")+"\n", "")
	add("101 networks", "  networks: "+list(101, "{name: n%d, subnet: 10.%[1]d.0.0/24}")+"\n", `lab.yaml:3:3494: playground.networks[100]: 101 networks; a play has at most 100`)
	add("/8", "  networks: [{name: a, subnet: 10.0.0.0/8}]\n", "")
	add("/7", "  networks: [{name: a, subnet: 10.0.0.0/7}]\n", `lab.yaml:3:32: playground.networks[0].subnet: "10.0.0.0/7" is too big a subnet; write /8 to /31`)

	add("port 1", one+"  tabs: [{kind: http-port, name: a, number: 1}]\n", "")
	add("port -1", one+"  tabs: [{kind: http-port, name: a, number: -1}]\n", `lab.yaml:8:45: playground.tabs[0].number: -1 is not a port; write 1 to 65535`)

	add("500 tasks", tasks+"{"+strings.Trim(list(500, "t%d: {run: x}"), "[]")+"}\n", "")
	add("501 tasks", tasks+"{"+strings.Trim(list(501, "t%d: {run: x}"), "[]")+"}\n", `lab.yaml:8:14: playground.initTasks: 501 tasks; a play has at most 500`)
	add("task name of 64", tasks+"{"+strings.Repeat("t", 64)+": {run: x}}\n", "")
	add("task name of 65", tasks+"{"+strings.Repeat("t", 65)+": {run: x}}\n", `lab.yaml:8:15: playground.initTasks.`+strings.Repeat("t", 65)+`: "`+strings.Repeat("t", 65)+`" is not a task name; use 1 to 64 letters, digits, underscores and hyphens`)
	add("timeout of 1", tasks+"{a: {run: x, timeout_seconds: 1}}\n", "")
	add("timeout of 0", tasks+"{a: {run: x, timeout_seconds: 0}}\n", `lab.yaml:8:44: playground.initTasks.a.timeout_seconds: 0 is not a time to wait; write 1 or more`)
	add("timeout of -1", tasks+"{a: {run: x, timeout_seconds: -1}}\n", `lab.yaml:8:44: playground.initTasks.a.timeout_seconds: -1 is not a time to wait; write 1 or more`)

	add("100 init conditions", one+"  initConditions: {values: "+list(100, "{key: k%d}")+"}\n", "")
	add("101 init conditions", one+"  initConditions: {values: "+list(101, "{key: k%d}")+"}\n", `lab.yaml:8:1219: playground.initConditions.values[100]: 101 init conditions; a playground has at most 100`)
	add("regex of 1000", one+"  initConditions: {values: [{key: k, validationRegex: "+strings.Repeat("a", 1000)+"}]}\n", "")
	add("regex of 1001", one+"  initConditions: {values: [{key: k, validationRegex: "+strings.Repeat("a", 1001)+"}]}\n", `lab.yaml:8:55: playground.initConditions.values[0].validationRegex: has 1001 characters; write at most 1000`)
	add("regex that repeats", one+"  initConditions: {values: [{key: k, validationRegex: 'a{400}'}]}\n", "")
	add("regex that repeats too much", one+"  initConditions: {values: [{key: k, validationRegex: '(ab{20}){30}'}]}\n", `lab.yaml:8:55: playground.initConditions.values[0].validationRegex: the regular expression repeats too much; use smaller counts in {}`)

	add("list of 1000", one+"  initTasks: {a: {run: x, needs: "+list(1000, "b")+"}, b: {run: x}}\n", "")
	add("list of 1001", one+"  initTasks: {a: {run: x, needs: "+list(1001, "b")+"}, b: {run: x}}\n", `lab.yaml:8:34: playground.initTasks.a.needs: a list of 1001 items; none may have more than 1000; take some away`)
	add("1001 tasks", tasks+"{"+strings.Trim(list(1001, "t%d: {run: x}"), "[]")+"}\n", `lab.yaml:8:14: playground.initTasks: 1001 names with fields; there may be no more than 1000; take some away`)
	return cases
}
