package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Inherit lays a partial manifest over its effective base and fills the
// defaults. What the partial leaves out comes from the base:
//
//   - networks, machines, tabs, initTasks, initConditions, registryAuth,
//     portForwards, categories and accessControl, each as a whole;
//   - title, description, markdown and cover together, when there is no title;
//   - of a machine that the base has too: resources, kernel, backend,
//     startupFiles, and the size of the drive with the same mount.
//
// Every base but flexbox keeps its machines: a subset is fine, a new name is
// refused. Tabs and tasks that the base has for machines left out are dropped.
// The problems are all those of the effective manifest, in the partial's
// places. Neither argument is changed.
func Inherit(base, partial *Manifest) (*Manifest, Problems) {
	m := *partial
	pg := &m.Playground
	from := &base.Playground
	m.Base = base.Name
	if m.Name == "" {
		m.Name = base.Name
	}
	if m.Title == "" {
		m.Title, m.Description, m.Markdown, m.Cover = base.Title, base.Description, base.Markdown, base.Cover
	}
	if m.Categories == nil {
		m.Categories = slices.Clone(base.Categories)
	}
	if len(pg.Networks) == 0 {
		pg.Networks = slices.Clone(from.Networks)
	}
	if pg.RegistryAuth == "" {
		pg.RegistryAuth = from.RegistryAuth
	}
	if pg.PortForwards == nil {
		pg.PortForwards = slices.Clone(from.PortForwards)
	}
	pg.AccessControl = inheritAccess(from.AccessControl, pg.AccessControl)
	if pg.InitConditions == nil || pg.InitConditions.Values == nil {
		pg.InitConditions = from.InitConditions
	}
	dropEmptyConditions(pg)
	if pg.Machines == nil {
		pg.Machines = cloneMachines(from.Machines)
	} else {
		pg.Machines = cloneMachines(pg.Machines)
		inheritMachines(from.Machines, pg.Machines)
	}
	if pg.InitTasks == nil {
		pg.InitTasks = keptTasks(from.InitTasks, pg.Machines)
	} else {
		pg.InitTasks = maps.Clone(pg.InitTasks)
	}
	if len(pg.Tabs) == 0 {
		pg.Tabs = keptTabs(from.Tabs, pg.Machines)
	} else {
		pg.Tabs = slices.Clone(pg.Tabs)
	}
	m.fillDefaults(base)
	problems := append(foreignMachines(base, partial), Validate(&m, Effective)...).sorted()
	m.Kind = Kind // what came as JSON has none
	return &m, problems
}

// Derive is Inherit for a new playground: title, access lists and the other
// fields that such a manifest must bring are asked for, too.
func Derive(base, partial *Manifest) (*Manifest, Problems) {
	problems := Validate(partial, Create)
	m, more := Inherit(base, partial)
	for _, p := range more {
		known := slices.ContainsFunc(problems, func(q Problem) bool { return q.Path == p.Path && q.Message == p.Message })
		if !known {
			problems = append(problems, p)
		}
	}
	return m, problems.sorted()
}

// Replace is Inherit for an update: the complete manifest stands alone, and
// the base only says which machines there may be and what the default tabs are.
func Replace(base, complete *Manifest) (*Manifest, Problems) {
	m := *complete
	pg := &m.Playground
	m.Kind, m.Base = Kind, base.Name
	pg.Machines = cloneMachines(pg.Machines)
	pg.InitTasks = maps.Clone(pg.InitTasks)
	pg.Tabs = slices.Clone(pg.Tabs)
	dropEmptyConditions(pg)
	if len(pg.Networks) == 0 && pg.Networks != nil {
		pg.Networks = slices.Clone(base.Playground.Networks)
	}
	problems := append(foreignMachines(base, complete), Validate(complete, Update)...)
	m.fillDefaults(base)
	if len(problems.Errors()) == 0 {
		// What only shows with the defaults in place, like the drives' total.
		problems = append(problems, Validate(&m, Effective).Errors()...)
	}
	return &m, problems.sorted()
}

// dropEmptyConditions makes "{}", which is how clients send that there are no
// conditions, the same as no field.
func dropEmptyConditions(pg *Playground) {
	if pg.InitConditions != nil && pg.InitConditions.Values == nil {
		pg.InitConditions = nil
	}
}

func foreignMachines(base, m *Manifest) Problems {
	if base.Name == Flexbox {
		return nil
	}
	var names []string
	for _, machine := range base.Playground.Machines {
		names = append(names, machine.Name)
	}
	var out Problems
	for i, machine := range m.Playground.Machines {
		if machine.Name != "" && !slices.Contains(names, machine.Name) {
			out = append(out, m.At(Error, index(machinesPath, i)+".name",
				fmt.Sprintf("Machine %s is not present in the base playground.", machine.Name),
				fmt.Sprintf("%q has %s; only %s takes any machines", base.Name, strings.Join(names, ", "), Flexbox)))
		}
	}
	return out
}

func inheritAccess(base, own *AccessControl) *AccessControl {
	if base == nil && own == nil {
		return nil
	}
	var out AccessControl
	if own != nil {
		out = *own
	}
	if base != nil {
		for _, list := range []struct{ own, base *[]string }{
			{&out.CanList, &base.CanList}, {&out.CanRead, &base.CanRead}, {&out.CanStart, &base.CanStart},
		} {
			if *list.own == nil {
				*list.own = slices.Clone(*list.base)
			}
		}
	}
	return &out
}

// cloneMachines copies as deep as the defaults reach.
func cloneMachines(machines []Machine) []Machine {
	out := slices.Clone(machines)
	for i := range out {
		out[i].Drives = slices.Clone(out[i].Drives)
		out[i].Network.Interfaces = slices.Clone(out[i].Network.Interfaces)
	}
	return out
}

func inheritMachines(base, own []Machine) {
	for i := range own {
		m := &own[i]
		b := slices.IndexFunc(base, func(b Machine) bool { return b.Name == m.Name })
		if b < 0 {
			continue
		}
		from := &base[b]
		if m.Resources == nil {
			m.Resources = from.Resources
		}
		if m.Kernel == nil {
			m.Kernel = from.Kernel
		}
		if m.Backend == "" {
			m.Backend = from.Backend
		}
		if m.StartupFiles == nil {
			m.StartupFiles = slices.Clone(from.StartupFiles)
		}
		for j := range m.Drives {
			d := &m.Drives[j]
			if d.Size != "" || d.Mount == "" {
				continue
			}
			if k := slices.IndexFunc(from.Drives, func(b Drive) bool { return b.Mount == d.Mount }); k >= 0 {
				d.Size = from.Drives[k].Size
			}
		}
	}
}

// keptTasks are the base's tasks for the machines there are; needs of dropped
// tasks go with them.
func keptTasks(tasks map[string]InitTask, machines []Machine) map[string]InitTask {
	if tasks == nil {
		return nil
	}
	kept := make(map[string]InitTask, len(tasks))
	for name, t := range tasks {
		if t.Machine == "" || hasMachine(machines, t.Machine) {
			kept[name] = t
		}
	}
	for name, t := range kept {
		t.Needs = slices.DeleteFunc(slices.Clone(t.Needs), func(need string) bool {
			_, was := tasks[need]
			_, is := kept[need]
			return was && !is
		})
		kept[name] = t
	}
	return kept
}

func keptTabs(tabs []Tab, machines []Machine) []Tab {
	return slices.DeleteFunc(slices.Clone(tabs), func(t Tab) bool {
		return t.Machine != "" && !hasMachine(machines, t.Machine)
	})
}

func hasMachine(machines []Machine, name string) bool {
	return slices.ContainsFunc(machines, func(m Machine) bool { return m.Name == name })
}

// fillDefaults writes the platform's defaults. The backend and the resources
// stay open: the plan chooses them by what the host has. Timeouts stay open so
// that their expiry can say they were the default.
func (m *Manifest) fillDefaults(base *Manifest) {
	pg := &m.Playground
	if pg.Networks != nil && len(pg.Networks) == 0 || pg.Networks == nil && m.Base != "" && len(base.Playground.Networks) == 0 {
		pg.Networks = []Network{{Name: DefaultNetwork, Subnet: DefaultSubnet}}
	}
	for i := range pg.Machines {
		machine := &pg.Machines[i]
		if machine.Kernel == nil || (machine.Kernel.Source == "" && machine.Kernel.Snapshot == nil) {
			machine.Kernel = &Kernel{Source: DefaultKernel}
		}
		for j := range machine.Drives {
			d := &machine.Drives[j]
			if d.Size == "" {
				d.Size = DefaultDriveSize
			}
			if d.Filesystem == "" && d.Source == "" && d.Mount != "" {
				d.Filesystem = DefaultFilesystem
			}
		}
		for j := range machine.Network.Interfaces {
			machine.Network.Interfaces[j].Network = InterfaceNetwork(machine, j)
		}
	}
	if len(pg.Machines) > 0 {
		for name, t := range pg.InitTasks {
			if t.Machine == "" && len(pg.Machines) == 1 {
				t.Machine = pg.Machines[0].Name
				pg.InitTasks[name] = t
			}
		}
	}
	if len(pg.Tabs) == 0 {
		pg.Tabs = defaultTabs(base, pg.Machines)
	}
	names := make([]string, len(pg.Machines))
	for i := range pg.Machines {
		names[i] = pg.Machines[i].Name
	}
	for i := range pg.Tabs {
		t := &pg.Tabs[i]
		t.ID, t.Kind = t.TabID(names), t.TabKind()
		if t.Machine == "" && t.onMachine() && len(names) > 0 {
			t.Machine = names[0]
		}
		if t.Name == "" {
			t.Name = t.title()
		}
	}
}

// title names a tab that may be without a name and is.
func (t Tab) title() string {
	switch t.Kind {
	case "http-port", "web-page":
		return ""
	case "ide":
		return "IDE"
	case "kexp":
		return "Explorer"
	}
	return t.Machine
}

// defaultTabs are those of a playground that names none.
func defaultTabs(base *Manifest, machines []Machine) []Tab {
	tabs := []Tab{}
	named := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool {
			return strings.Contains(base.Name, w) || strings.Contains(base.Base, w)
		})
	}
	var ssh []string
	for _, m := range machines {
		if !m.NoSSH && hostPattern.MatchString(m.Name) && !slices.Contains(ssh, m.Name) {
			ssh = append(ssh, m.Name)
		}
	}
	if len(ssh) > 0 && base.Name != Flexbox && !named("alpine") {
		tabs = append(tabs, Tab{Kind: "ide", Machine: ssh[0]})
	}
	for _, name := range ssh {
		tabs = append(tabs, Tab{Kind: "terminal", Machine: name})
	}
	if named("k3s", "k8s", "kubernetes") || slices.Contains(base.Categories, "kubernetes") {
		tabs = append(tabs, Tab{Kind: "kexp"})
	}
	return tabs
}
