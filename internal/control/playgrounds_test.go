package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/api"
	"sandlot/internal/control"
	"sandlot/internal/manifest"
	"sandlot/internal/store"
	"sandlot/playgrounds"
)

// another adds a user.
func (l *lab) another(t *testing.T, id string) api.Me {
	t.Helper()
	if err := l.store.AddUser(t.Context(), store.User{ID: id, Name: id, CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	return api.Me{ID: id}
}

var onlyOwner = &api.AccessControl{CanList: []string{"owner"}, CanRead: []string{"owner"}, CanStart: []string{"owner"}}

// mine is a request for a playground of one machine over flexbox.
func mine() api.CreatePlayground {
	return api.CreatePlayground{Name: "mine", Base: manifest.Flexbox, PlaygroundSpec: api.PlaygroundSpec{
		Title: "My own playground", Machines: hello("debian-12").Machines, AccessControl: onlyOwner,
	}}
}

// made creates a playground whose lists are those.
func (l *lab) made(t *testing.T, owner api.Me, access api.AccessControl) string {
	t.Helper()
	req := mine()
	req.AccessControl = &access
	req.Machines[0].StartupFiles = []api.StartupFile{{Path: "/etc/secret", Content: "s3cret"}}
	pg, err := l.CreatePlayground(t.Context(), owner, req)
	if err != nil {
		t.Fatal(err)
	}
	return pg.Name
}

// spec is what an update sends that changes nothing.
func spec(t *testing.T, pg api.Playground) api.PlaygroundSpec {
	t.Helper()
	body, err := json.Marshal(pg)
	if err != nil {
		t.Fatal(err)
	}
	var s api.PlaygroundSpec
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCreateInheritsWhatIsLeftOut(t *testing.T) {
	l := newLab(t)
	req := mine()
	req.Base = "debian-12"
	req.Machines[0].Name = "debian-12"
	pg, err := l.CreatePlayground(t.Context(), admin, req)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^mine-[0-9a-f]{8}$`).MatchString(pg.Name) || pg.Owner != "admin" || pg.Base != "debian-12" {
		t.Errorf("made %q of %q over %q", pg.Name, pg.Owner, pg.Base)
	}
	if got := pg.Machines[0]; got.Drives[0].Size != "20GiB" || got.Kernel.Source != "6.1" || len(pg.Networks) != 1 || !slices.Equal(pg.Categories, []string{"linux"}) || len(pg.Tabs) != 2 {
		t.Errorf("inherited %+v", pg)
	}
	again, err := l.Playground(t.Context(), admin, pg.Name, true)
	if d := cmp.Diff(pg, again); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	second, err := l.CreatePlayground(t.Context(), admin, req)
	if err != nil || second.Name == pg.Name {
		t.Errorf("a second one is %q, %v", second.Name, err)
	}
}

func TestWhatCreateAndUpdateWant(t *testing.T) {
	machines := func(change func(m *api.MachineSpec)) []api.MachineSpec {
		all := hello("debian-12").Machines
		change(&all[0])
		return all
	}
	tests := []struct {
		name   string
		change func(req *api.CreatePlayground)
		create string // every path; "" if it is fine
		update string
	}{
		{"all there", func(*api.CreatePlayground) {}, "", ""},
		{"nothing", func(req *api.CreatePlayground) { req.PlaygroundSpec = api.PlaygroundSpec{} },
			"title, playground.accessControl, playground.machines",
			"title, categories, playground.networks, playground.machines, playground.tabs, playground.accessControl"},
		{"as the reference client sends nothing", func(req *api.CreatePlayground) {
			req.PlaygroundSpec = api.PlaygroundSpec{InitConditions: &api.InitConditions{}, AccessControl: &api.AccessControl{}}
		},
			"title, playground.accessControl.canList, playground.accessControl.canRead, playground.accessControl.canStart, playground.machines",
			"title, categories, playground.networks, playground.machines, playground.tabs, playground.accessControl.canList, playground.accessControl.canRead, playground.accessControl.canStart"},
		{"what a base may give", func(req *api.CreatePlayground) { req.Networks, req.Tabs, req.Categories = nil, nil, nil },
			"", "categories, playground.networks, playground.tabs"},
		{"one list", func(req *api.CreatePlayground) { req.AccessControl = &api.AccessControl{CanRead: []string{"anyone"}} },
			"playground.accessControl.canList, playground.accessControl.canStart", "playground.accessControl.canList, playground.accessControl.canStart"},
		{"a bare machine", func(req *api.CreatePlayground) { req.Machines, req.Tabs = []api.MachineSpec{{}}, []api.Tab{} },
			"playground.machines[0].name, playground.machines[0].users, playground.machines[0].drives, playground.machines[0].network.interfaces",
			"playground.machines[0].name, playground.machines[0].users, playground.machines[0].drives, playground.machines[0].network.interfaces"},
		{"no machines", func(req *api.CreatePlayground) { req.Machines, req.Tabs = []api.MachineSpec{}, []api.Tab{} }, "playground.machines", "playground.machines"},
		{"several mistakes", func(req *api.CreatePlayground) {
			req.Title = "four"
			req.Machines = machines(func(m *api.MachineSpec) { m.Drives[0].Size = "1MiB"; m.Network.Interfaces[0].Network = "lan" })
			req.AccessControl = &api.AccessControl{CanList: []string{"everybody"}, CanRead: []string{"owner"}, CanStart: []string{"owner"}}
		}, "title, playground.machines[0].drives[0].size, playground.machines[0].network.interfaces[0].network, playground.accessControl.canList[0]",
			"title, playground.machines[0].drives[0].size, playground.machines[0].network.interfaces[0].network, playground.accessControl.canList[0]"},
		{"empty lists are none", func(req *api.CreatePlayground) { req.Tabs, req.Categories = []api.Tab{}, []string{} }, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			whole, err := l.CreatePlayground(t.Context(), admin, mine())
			if err != nil {
				t.Fatal(err)
			}
			req := mine()
			complete := spec(t, whole)
			req.Networks, req.Tabs, req.Categories = complete.Networks, complete.Tabs, complete.Categories
			test.change(&req)
			_, err = l.CreatePlayground(t.Context(), admin, req)
			if got := paths(t, err); got != test.create {
				t.Errorf("create wants\n%s, not\n%s", got, test.create)
			}
			_, err = l.UpdatePlayground(t.Context(), admin, whole.Name, req.PlaygroundSpec)
			if got := paths(t, err); got != test.update {
				t.Errorf("update wants\n%s, not\n%s", got, test.update)
			}
			kept, err := l.Playground(t.Context(), admin, whole.Name, true)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(whole, kept); test.update != "" && d != "" {
				t.Errorf("a refused update changed it:\n%s", d)
			}
		})
	}
}

// paths are where the problems of a refusal stand.
func paths(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var refusal *api.Error
	if !errors.As(err, &refusal) || refusal.Kind != api.Invalid {
		t.Fatal(err)
	}
	var out []string
	for _, p := range refusal.Problems {
		out = append(out, p.Path)
	}
	return strings.Join(out, ", ")
}

func TestCreateRefuses(t *testing.T) {
	l := newLab(t)
	for name, c := range map[string]struct {
		change func(req *api.CreatePlayground)
		kind   api.Kind
		says   string
	}{
		"no name":         {func(r *api.CreatePlayground) { r.Name = "" }, api.Invalid, "without a name"},
		"no base":         {func(r *api.CreatePlayground) { r.Base = "" }, api.Invalid, "it has no base"},
		"unknown base":    {func(r *api.CreatePlayground) { r.Base = "../flexbox" }, api.NotFound, `there is no playground "../flexbox"`},
		"bad name":        {func(r *api.CreatePlayground) { r.Name = "My Lab" }, api.Invalid, `name: "My Lab" is not a playground name`},
		"longest name":    {func(r *api.CreatePlayground) { r.Name = strings.Repeat("a", 54) }, "", ""},
		"longer name":     {func(r *api.CreatePlayground) { r.Name = strings.Repeat("a", 55) }, api.Invalid, "name: has 55 characters; 54 are left beside the suffix that is added"},
		"another machine": {func(r *api.CreatePlayground) { r.Base = "debian-12"; r.Machines[0].Name = "dev-01" }, api.Invalid, "playground.machines[0].name: Machine dev-01 is not present in the base playground."},
		"copy of flexbox": {func(r *api.CreatePlayground) { r.Machines = nil }, api.Invalid, "playground.machines: missing (give 1 to 5: the base has none)"},
		"too big a dump": {func(r *api.CreatePlayground) {
			r.Machines[0].StartupFiles = []api.StartupFile{{Path: "/a", Content: strings.Repeat("x", 1<<20)}}
		}, api.Invalid, "move big files into an image"},
		"no tab's machine": {func(r *api.CreatePlayground) { r.Tabs = []api.Tab{{Kind: "terminal", Machine: "nope"}} }, api.Invalid, `there is no machine "nope"`},
	} {
		t.Run(name, func(t *testing.T) {
			req := mine()
			c.change(&req)
			_, err := l.CreatePlayground(t.Context(), admin, req)
			if c.kind == "" && err == nil {
				return
			}
			if err == nil || kind(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v (%s), want %q (%s)", err, kind(err), c.says, c.kind)
			}
		})
	}
}

// Every official playground can be copied, and every dump given back.
func TestDumpsOfOfficialPlaygroundsAreGivenBack(t *testing.T) {
	for _, base := range playgrounds.Names() {
		t.Run(base, func(t *testing.T) {
			l := newLab(t)
			definition, err := l.Playground(t.Context(), admin, base, true)
			if err != nil {
				t.Fatal(err)
			}
			req := api.CreatePlayground{Name: "copy", Base: base, PlaygroundSpec: spec(t, definition)}
			if base == manifest.Flexbox {
				req.Machines = hello("debian-12").Machines
			} else if len(definition.Networks) == 0 || len(definition.Machines) == 0 || len(definition.Tabs) == 0 {
				t.Errorf("the definition lacks networks, machines or tabs: %+v", definition)
			}
			first, err := l.CreatePlayground(t.Context(), admin, req)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(definition.AccessControl, first.AccessControl); d != "" {
				t.Errorf("the copy's lists are others:\n%s", d)
			}
			if base != manifest.Flexbox {
				want := definition
				want.Name, want.Base, want.Owner = first.Name, base, "admin"
				if d := cmp.Diff(want, first); d != "" {
					t.Errorf("the copy differs:\n%s", d)
				}
			}
			second, err := l.UpdatePlayground(t.Context(), admin, first.Name, spec(t, first))
			if d := cmp.Diff(first, second); d != "" || err != nil {
				t.Errorf("update with the dump: %v\n%s", err, d)
			}
			dumped, err := l.Playground(t.Context(), admin, first.Name, true)
			if d := cmp.Diff(first, dumped); d != "" || err != nil {
				t.Errorf("dump after the update: %v\n%s", err, d)
			}
			if p, err := l.Start(t.Context(), admin, api.StartPlay{Playground: first.Name}); err != nil || len(p.Machines) != len(first.Machines) {
				t.Errorf("start: %v", err)
			}
		})
	}
}

func TestUpdateReplacesEverythingButWhatClientsDoNotSend(t *testing.T) {
	l := newLab(t)
	req := mine()
	req.Cover, req.Markdown, req.RegistryAuth = "https://x/y.png", "# Hi", "u:p"
	req.PortForwards = []api.PortForward{{Kind: "local", Machine: "hello", RemotePort: 80}}
	req.InitTasks = map[string]api.InitTask{"a": {Run: "true"}}
	req.InitConditions = &api.InitConditions{Values: []api.InitConditionValue{{Key: "k", Nullable: true}}}
	pg, err := l.CreatePlayground(t.Context(), admin, req)
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t, pg)
	s.Cover, s.Markdown, s.RegistryAuth, s.PortForwards, s.InitTasks, s.InitConditions = "", "", "", nil, nil, &api.InitConditions{}
	got, err := l.UpdatePlayground(t.Context(), admin, pg.Name, s)
	if err != nil {
		t.Fatal(err)
	}
	want := pg
	want.Markdown, want.RegistryAuth, want.InitTasks, want.InitConditions = "", "", nil, nil
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	s.PortForwards = []api.PortForward{}
	if got, err = l.UpdatePlayground(t.Context(), admin, pg.Name, s); err != nil || len(got.PortForwards) != 0 {
		t.Errorf("forwards %v, %v", got.PortForwards, err)
	}
}

func TestUpdateKeepsToTheMachinesOfTheBase(t *testing.T) {
	l := newLab(t)
	req := api.CreatePlayground{Name: "base", Base: manifest.Flexbox, PlaygroundSpec: mine().PlaygroundSpec}
	req.Machines = append(req.Machines, hello("debian-12").Machines...)
	req.Machines[1].Name = "second"
	base, err := l.CreatePlayground(t.Context(), admin, req)
	if err != nil {
		t.Fatal(err)
	}
	req.Name, req.Base, req.Machines = "derived", base.Name, req.Machines[:1]
	pg, err := l.CreatePlayground(t.Context(), admin, req)
	if err != nil {
		t.Fatal(err)
	}
	with := func(names ...string) error {
		s := spec(t, pg)
		s.Machines = nil
		for _, name := range names {
			m := pg.Machines[0]
			m.Name = name
			s.Machines = append(s.Machines, m)
		}
		s.Tabs = []api.Tab{}
		_, err := l.UpdatePlayground(t.Context(), admin, pg.Name, s)
		return err
	}
	if err := with("hello", "second"); err != nil {
		t.Errorf("a machine of the base: %v", err)
	}
	if err := with("hello", "third"); err == nil || !strings.Contains(err.Error(), "Machine third is not present in the base playground.") {
		t.Errorf("a new machine: %v", err)
	}
	// Without its base, a playground still has its own machines.
	if err := l.RemovePlayground(t.Context(), admin, base.Name); err != nil {
		t.Fatal(err)
	}
	if err := with("hello", "second"); err != nil {
		t.Errorf("its own machines: %v", err)
	}
	if err := with("third"); err == nil || !strings.Contains(err.Error(), "Machine third is not present in the base playground.") {
		t.Errorf("a new machine without the base: %v", err)
	}
}

func TestAStartLaysItsPartsOverAStoredPlayground(t *testing.T) {
	l := newLab(t)
	name := l.made(t, admin, *onlyOwner)
	req := hello("debian-12")
	req.Playground, req.Title = name, ""
	req.Machines[0].Resources = &api.Resources{CPUCount: 1, RAMSize: "256MiB"}
	p, err := l.Start(t.Context(), admin, req)
	if err != nil {
		t.Fatal(err)
	}
	if p.Playground.Name != name || p.Title != "My own playground" || p.Machines[0].Resources.RAMSize != "256MiB" {
		t.Errorf("got %+v", p)
	}
	req.Machines[0].Name = "other"
	if _, err := l.Start(t.Context(), admin, req); err == nil || !strings.Contains(err.Error(), "Machine other is not present in the base playground.") {
		t.Errorf("another machine: %v", err)
	}
}

// A suffix that is taken already is not an error.
func TestNamesThatCollide(t *testing.T) {
	random := &repeating{bytes: []byte{1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8}}
	l := newLab(t, func(o *control.Options) { o.Random = random })
	for _, want := range []string{"mine-01020304", "mine-05060708"} {
		if pg, err := l.CreatePlayground(context.Background(), admin, mine()); err != nil || pg.Name != want {
			t.Errorf("got %q, %v; want %q", pg.Name, err, want)
		}
	}
}

type repeating struct{ bytes []byte }

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.bytes)
	r.bytes = append(r.bytes[n:], r.bytes[:n]...)
	return n, nil
}
