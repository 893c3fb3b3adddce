package manifest

import (
	"reflect"
	"strings"
)

// mistakes are names authors write for fields that are called otherwise, by
// type. A dot leads into a field one level down.
var mistakes = map[reflect.Type]map[string]string{
	reflect.TypeFor[Machine](): {
		"hostname": "name", "files": "startupFiles", "disks": "drives", "user": "users",
		"cpu": "resources.cpuCount", "cpus": "resources.cpuCount", "ram": "resources.ramSize", "memory": "resources.ramSize",
	},
	reflect.TypeFor[Resources]():   {"cpu": "cpuCount", "cpus": "cpuCount", "vcpu": "cpuCount", "vcpus": "cpuCount", "ram": "ramSize", "memory": "ramSize", "mem": "ramSize"},
	reflect.TypeFor[Drive]():       {"format": "filesystem", "fs": "filesystem", "type": "filesystem", "image": "source", "path": "mount", "mountpoint": "mount"},
	reflect.TypeFor[Kernel]():      {"version": "source"},
	reflect.TypeFor[Network]():     {"cidr": "subnet"},
	reflect.TypeFor[Interface]():   {"ip": "address"},
	reflect.TypeFor[StartupFile](): {"permissions": "mode", "text": "content", "file": "path"},
	reflect.TypeFor[Tab]():         {"port": "number", "type": "kind", "title": "name"},
	reflect.TypeFor[InitTask]():    {"timeout": "timeout_seconds", "timeoutSeconds": "timeout_seconds", "script": "run", "command": "run", "depends_on": "needs", "dependsOn": "needs"},
}

// suggest finds the field of typ that key was meant to be: a path relative to
// typ ("number", "network.interfaces"), "" if there is none.
func suggest(typ reflect.Type, key string) string {
	if target := mistakes[typ][key]; target != "" {
		return target
	}
	info := fieldsOf(typ)
	for _, name := range info.names {
		child := typ.Field(info.index[name]).Type
		if child.Kind() == reflect.Pointer {
			child = child.Elem()
		}
		if child.Kind() != reflect.Struct {
			continue
		}
		if _, ok := fieldsOf(child).index[key]; ok {
			return name + "." + key
		}
	}
	return nearest(key, info.names)
}

// nearest returns the one of known that key most likely stands for, or "".
func nearest(key string, known []string) string {
	if len(key) > 64 {
		return ""
	}
	best, bestDistance := "", (len(key)+1)/3+1
	lower := strings.ToLower(key)
	for _, name := range known {
		if d := distance(lower, strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best != "" && bestDistance < 2 || len(key) < 3 {
		return best
	}
	// tasks is initTasks rather than tabs.
	for _, name := range known {
		if l := strings.ToLower(name); strings.HasPrefix(l, lower) || strings.HasPrefix(lower, l) || strings.HasSuffix(l, lower) {
			return name
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// quoteList prints `"a", "b" and "c"`.
func quoteList(names []string) string { return joinList(names, `"`, " and ") }

// orList prints `a, b or c`.
func orList(names []string) string { return joinList(names, "", " or ") }

func joinList(names []string, quote, last string) string {
	var b strings.Builder
	for i, name := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(last)
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(quote + name + quote)
	}
	return b.String()
}
