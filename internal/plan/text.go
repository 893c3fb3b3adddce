package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"sandlot/internal/manifest"
)

// String prints a plan for a person; golden files hold it too.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "play %s of %s\n", p.Play, or(p.Playground, "-"))
	fmt.Fprintf(&b, "uplink %d: host %s, play %s\n", p.Uplink.Index, p.Uplink.Host, p.Uplink.Play)
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	b.WriteString("\nnetworks\n")
	table(&b, func(row func(...string)) {
		for _, n := range p.Networks {
			reach := "nat"
			if n.Private {
				reach = "private"
			}
			row(n.Name, n.Bridge, n.Subnet.String(), "gateway "+n.Gateway.String(), n.MAC, reach)
		}
	})
	for i := range p.Machines {
		b.WriteString("\n")
		p.Machines[i].text(&b)
	}
	b.WriteString("\nnames\n")
	table(&b, func(row func(...string)) {
		for _, n := range p.Names {
			row(n.Name, n.Addr.String())
		}
	})
	if len(p.Conditions) > 0 {
		b.WriteString("\nconditions\n")
		table(&b, func(row func(...string)) {
			for _, key := range slices.Sorted(maps.Keys(p.Conditions)) {
				value := "null"
				if v := p.Conditions[key]; v != nil {
					value = fmt.Sprintf("%q", *v)
				}
				row(fmt.Sprintf("%q", key), value)
			}
		})
	}
	if len(p.Tasks) > 0 {
		b.WriteString("\ntasks\n")
		table(&b, func(row func(...string)) {
			for _, t := range p.Tasks {
				row(t.columns()...)
			}
		})
	}
	return b.String()
}

func (m *Machine) text(b *strings.Builder) {
	fmt.Fprintf(b, "machine %s\n", m.Name)
	table(b, func(row func(...string)) {
		row("backend", m.Backend)
		row("kernel", m.Kernel+" "+m.Cmdline)
		row("resources", fmt.Sprintf("%d CPUs, %s", m.CPUs, manifest.FormatSize(int64(m.MemoryMiB)<<20)))
		users := make([]string, len(m.Users))
		for i, u := range m.Users {
			users[i] = u.Name
			if u.Name == m.DefaultUser {
				users[i] += "*"
			}
			if u.Welcome != "" {
				users[i] += fmt.Sprintf(" (%q)", u.Welcome)
			}
		}
		row("users", strings.Join(users, ", "))
		row("host user", fmt.Sprint(m.UID))
		row("machine id", m.MachineID)
		row("nameserver", m.Nameserver.String())
		if m.NoSSH {
			row("ssh", "none")
		}
	})
	table(b, func(row func(...string)) {
		for _, d := range m.Drives {
			mode := "rw"
			if d.ReadOnly {
				mode = "ro"
			}
			row(d.Device, manifest.FormatSize(d.SizeBytes), mode, or(d.Source, "blank"), or(d.Filesystem, "raw"), or(d.Mount, "-"))
		}
	})
	table(b, func(row func(...string)) {
		for _, n := range m.Interfaces {
			route := "-"
			if n.Gateway.IsValid() {
				route = "default via " + n.Gateway.String()
			}
			row(n.Name, n.Network, n.Bridge, n.Tap, n.MAC, n.Address.String(), route)
		}
	})
	table(b, func(row func(...string)) {
		for _, f := range m.StartupFiles {
			how := "write"
			if f.Append {
				how = "append"
			}
			row(how, f.Path, fmt.Sprintf("%d bytes", len(f.Content)), or(f.Owner, "-"), or(f.Mode, "-"))
		}
	})
}

func (t Task) columns() []string {
	timeout := fmt.Sprintf("%d s", t.TimeoutSeconds)
	if t.TimeoutIsDefault {
		timeout += " (default)"
	}
	kind := "task"
	if t.Init {
		kind = "init"
	}
	return []string{t.Name, kind, t.User + "@" + t.Machine, timeout, or(strings.Join(t.Needs, ", "), "-")}
}

// table lines up rows of cells, indented by two blanks.
func table(b *strings.Builder, fill func(row func(...string))) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fill(func(cells ...string) {
		fmt.Fprintln(w, "  "+strings.Join(cells, "\t"))
	})
	w.Flush()
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
