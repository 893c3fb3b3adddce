package manifest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// What labd stores is what it dumps, and a dump given back changes nothing:
// create → JSON → dump → update → dump.
func TestADumpIsGivenBackWithoutADiff(t *testing.T) {
	flexbox := parsed(t, "kind: playground\nname: flexbox\ncategories: [linux]\nplayground:\n  networks: [{name: local, subnet: 172.16.0.0/24}]\n")
	for seed := range uint64(150) {
		g := generator{rand.New(rand.NewPCG(seed, 7))}
		made, problems := Derive(flexbox, g.manifest())
		if err := problems.Err(); err != nil {
			t.Fatalf("seed %d: the generated manifest is wrong: %v", seed, err)
		}
		made.Name += "-01234567"
		body, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		stored := new(Manifest)
		if err := json.Unmarshal(body, stored); err != nil {
			t.Fatal(err)
		}
		first := dump(t, stored)
		if diff := cmp.Diff(dump(t, made), first); diff != "" {
			t.Fatalf("seed %d: the store changed it:\n%s", seed, diff)
		}
		read, problems := Parse("dump.yaml", []byte(first))
		if err := problems.Err(); err != nil {
			t.Fatalf("seed %d: the dump is refused: %v\n%s", seed, err, first)
		}
		for use, again := range map[string]func(base, m *Manifest) (*Manifest, Problems){"update": Replace, "start": Inherit} {
			got, problems := again(flexbox, read)
			if err := problems.Err(); err != nil {
				t.Fatalf("seed %d: %s refuses the dump: %v\n%s", seed, use, err, first)
			}
			if diff := cmp.Diff(first, dump(t, got)); diff != "" {
				t.Fatalf("seed %d: %s with the dump changed it:\n%s", seed, use, diff)
			}
		}
	}
}

// generator makes sound manifests that use every field.
type generator struct{ *rand.Rand }

func (g generator) some() bool { return g.IntN(2) == 0 }

func (g generator) one(of []string) string { return of[g.IntN(len(of))] }

// word is text for the head of a request.
func (g generator) word() string {
	return "w" + strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.IsSpace(r) || r == '/' {
			return -1
		}
		return r
	}, g.text())
}

// shown is text without what moves a cursor.
func (g generator) shown() string {
	return "s" + strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, g.text())
}

// text is what YAML has its own opinion about.
func (g generator) text() string {
	return g.one([]string{
		"plain", "yes", "no", "null", "~", "1e3", "0o17", "0644", "1.0", "- a", "a: b", "# c", "&x", "*x", "!!str x", "{a}", "[a", "'q'", `"q"`, "%d", "@x", "`x`",
		"two\nlines", "two\nlines\n", "many\n\n\nlines\n\n\n", "  leads", "\tleads", "trails ", "trails\t", "trails \nhere", "\n", "\n\nleads", " \n ", "win\r\nlines\r\n", "old\rmac",
		"bell\a", "nul\x00", "esc\x1b[31m", "del\x7f", "nel\u0085x", "ls\u2028x", "bom\ufeffx", "wide ✓ 💻", "combi\u0301ne", strings.Repeat("long ", 60), "---", "...", "? x", "<<", "=", "$HOME; rm -rf / `x` $(y)",
		"2026-11-22", "12:30:45", "0x1F", ".inf", "on", "Off",
	})
}

func (g generator) maybe() string {
	if g.some() {
		return ""
	}
	return g.text()
}

func (g generator) manifest() *Manifest {
	m := &Manifest{
		Kind: Kind, Name: "made", Title: "Title: " + g.shown(), Description: g.maybe(), Markdown: g.maybe(), Cover: g.maybe(),
		Playground: Playground{
			AccessControl: &AccessControl{CanList: g.principals(), CanRead: g.principals(), CanStart: g.principals()},
		},
	}
	if len([]rune(m.Title)) > MaxTitle {
		m.Title = "A short title"
	}
	switch g.IntN(3) {
	case 0:
		m.Categories = []string{}
	case 1:
		m.Categories = []string{"linux", "security"}
	}
	pg := &m.Playground
	networks := []string{"local"}
	if g.some() {
		networks = nil
		for i := range 1 + g.IntN(3) {
			n := Network{Name: fmt.Sprintf("net-%d", i), Subnet: fmt.Sprintf("10.%d.0.0/24", i), Private: g.some()}
			if g.some() {
				n.Gateway = fmt.Sprintf("10.%d.0.254", i)
			}
			pg.Networks, networks = append(pg.Networks, n), append(networks, n.Name)
		}
	}
	var names []string
	for i := range 1 + g.IntN(MaxMachines) {
		machine := g.machine(fmt.Sprintf("m-%d", i), networks)
		pg.Machines, names = append(pg.Machines, machine), append(names, machine.Name)
	}
	g.tabs(pg, names)
	g.tasks(pg, names)
	if g.some() {
		pg.RegistryAuth = "user:" + g.word()
	}
	switch g.IntN(3) {
	case 0:
		pg.PortForwards = []PortForward{}
	case 1:
		pg.PortForwards = []PortForward{{Kind: "local", Machine: names[0], LocalHost: g.maybe(), LocalPort: g.IntN(9), RemotePort: 80, RemoteHost: g.maybe()}}
	}
	return m
}

func (g generator) principals() []string {
	all := []string{"owner", "anyone", "authenticated", "user:u-1", "student:t-1"}
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+g.IntN(len(all))]
}

func (g generator) machine(name string, networks []string) Machine {
	m := Machine{Name: name, NoSSH: g.some(), Backend: g.one(append([]string{""}, Backends...))}
	for i := range 1 + g.IntN(3) {
		m.Users = append(m.Users, User{Name: fmt.Sprintf("user%d", i), Default: i == 1, Welcome: g.maybe()})
	}
	switch g.IntN(3) {
	case 0:
		m.Kernel = &Kernel{}
	case 1:
		m.Kernel = &Kernel{Source: g.one([]string{"5.10", "6.12"})}
	}
	m.Drives = []Drive{{Source: g.one([]string{"debian-12", "oci://ghcr.io/x/y:z"}), Mount: "/", Size: g.one([]string{"", "1GiB", "1.5GiB"})}}
	for i := range g.IntN(3) {
		d := Drive{Size: g.one([]string{"", "2G"}), Persistent: g.some()}
		switch g.IntN(4) {
		case 0:
			d.Mount = fmt.Sprintf("/data-%d", i)
		case 1:
			d.Filesystem = g.one(Filesystems)
		case 2:
			d.ReadOnly = true
		case 3:
			d.Source, d.ReadOnly, d.Mount = "golang", g.some(), fmt.Sprintf("/opt/%d", i)
		}
		m.Drives = append(m.Drives, d)
	}
	for i, n := range networks {
		if i == 0 || g.some() {
			m.Network.Interfaces = append(m.Network.Interfaces, Interface{Network: n})
		}
	}
	switch g.IntN(4) {
	case 0:
		m.Resources = &Resources{}
	case 1:
		m.Resources = &Resources{CPUCount: 1 + g.IntN(9)}
	case 2:
		m.Resources = &Resources{CPUCount: 2, RAMSize: g.one([]string{"512MiB", "4G", "1.5GiB"})}
	}
	if g.some() {
		m.StartupFiles = []StartupFile{}
	}
	for i := range g.IntN(3) {
		m.StartupFiles = append(m.StartupFiles, StartupFile{
			Path: fmt.Sprintf("/etc/file-%d", i), Content: g.maybe(), Append: g.some(),
			Owner: g.one([]string{"", "root", "user0:user0", "1000:1000"}), Mode: g.one([]string{"", "644", "0755"}),
		})
	}
	return m
}

func (g generator) tabs(pg *Playground, names []string) {
	if g.some() {
		return
	}
	pg.Tabs = []Tab{{Machine: names[0]}, {Kind: "ide"}, {Kind: "kexp", Pane: "right"}}
	pg.Tabs = append(pg.Tabs,
		Tab{Kind: "http-port", Name: g.shown(), Number: 1 + g.IntN(65535), TLS: g.some(), Access: g.one([]string{"", "private", "public"}), HostRewrite: g.word(), PathRewrite: g.word()},
		Tab{ID: "docs", Kind: "web-page", Name: g.shown(), URL: "https://example.com/?a=b#c", Pane: "left"})
	g.Shuffle(len(pg.Tabs), func(i, j int) { pg.Tabs[i], pg.Tabs[j] = pg.Tabs[j], pg.Tabs[i] })
	pg.Tabs = pg.Tabs[:g.IntN(len(pg.Tabs)+1)]
}

func (g generator) tasks(pg *Playground, names []string) {
	switch g.IntN(3) {
	case 0:
		pg.InitConditions = &InitConditions{}
	case 1:
		pg.InitConditions = &InitConditions{Values: []InitCondition{
			{Key: "Container runtime", Options: []string{"docker", "yes", "1e3"}, Default: "yes"},
			{Key: "note", Nullable: true, Placeholder: g.shown(), ValidationRegex: g.one([]string{"", "^[a-z]*$"})},
		}}
	}
	if g.some() {
		pg.InitTasks = map[string]InitTask{}
	}
	var before []string
	for i := range g.IntN(5) {
		t := InitTask{
			Init: g.some(), User: g.one([]string{"", "root", "laborant"}), Run: "echo " + g.text(), TimeoutSeconds: g.IntN(2) * 90,
			Needs: slices.Clone(before[:g.IntN(len(before)+1)]),
		}
		if len(names) > 1 || g.some() {
			t.Machine = g.one(names)
		}
		if pg.InitConditions != nil && pg.InitConditions.Values != nil && g.some() {
			t.Conditions = []Condition{{Key: "Container runtime", Value: "1e3"}, {Key: "note", Value: ""}}
		}
		if pg.InitTasks == nil {
			pg.InitTasks = map[string]InitTask{}
		}
		name := fmt.Sprintf("task_%d", i)
		pg.InitTasks[name], before = t, append(before, name)
	}
}
