// Package list is the format of the list of modules in the initramfs: the
// builder writes it, labinit reads it. Pure, and apart from the builder so
// that labinit does not carry its decompressors.
package list

import "strings"

// Path is where labinit finds the list.
const Path = "/sandlot/modules.list"

// Extra is a second such list, of filesystems that few machines have.
const Extra = "/sandlot/modules-extra.list"

// Module is one module in the initramfs.
type Module struct {
	Name string   // with underscores
	File string   // absolute path in the initramfs
	Deps []string // to be loaded before, in this order
}

// Format writes one line for each module: "name file dependency…".
func Format(modules []Module) string {
	var b strings.Builder
	for _, m := range modules {
		b.WriteString(strings.Join(append([]string{m.Name, m.File}, m.Deps...), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Parse reads what Format wrote.
func Parse(text string) []Module {
	var out []Module
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 {
			out = append(out, Module{Name: f[0], File: f[1], Deps: f[2:]})
		}
	}
	return out
}
