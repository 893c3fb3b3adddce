package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/server/servertest"
)

// mine is a manifest that create takes.
const mine = `kind: playground
name: mine
base: flexbox
title: A lab of mine
playground:
  machines:
    - name: alpha
      users: [{name: root}]
      drives: [{source: debian-12, mount: /}]
      network: {interfaces: [{network: local}]}
      startupFiles: []
  accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}
`

// complete is one that update takes, as labctl prints it.
const complete = `kind: playground
name: mine-01234567
base: flexbox
title: A lab of mine
categories: []
cover: https://example.com/x.png
playground:
  networks:
    - name: local
      subnet: 172.16.0.0/24
  machines:
    - name: alpha
      users:
        - name: root
      drives:
        - source: debian-12
          mount: /
      network:
        interfaces:
          - network: local
      startupFiles: []
  tabs: []
  initTasks: {}
  portForwards: []
  accessControl:
    canList: [owner]
    canRead: [owner]
    canStart: [owner]
`

func TestPlaygroundsOfOnesOwn(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, l)
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(s.home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lab := file("lab.yaml", mine)

	out, errs, code := s.run("playground", "create", "mine", "--base", "flexbox", "-f", lab)
	if code != 0 || out != "mine-01234567\n" || !strings.Contains(errs, "labctl playground start mine-01234567\n") {
		t.Fatalf("create: %d %q %q", code, out, errs)
	}
	if got := l.Catalog[1]; got.Title != "A lab of mine" || got.Base != "flexbox" || got.Networks != nil || got.Tabs != nil || got.Machines[0].StartupFiles == nil {
		t.Errorf("sent %+v", got)
	}
	// Name and base may stand in the manifest alone; stdin; JSON.
	s.in = strings.NewReader(mine)
	var pg api.Playground
	if err := json.Unmarshal([]byte(s.must("playground", "create", "-f", "-", "-o", "json")), &pg); err != nil || pg.Name != "mine-01234567" || pg.Base != "flexbox" {
		t.Errorf("create -o json: %+v %v", pg, err)
	}
	l.Catalog = l.Catalog[:2]

	// What the dump says is what update sends: also what is empty.
	s.in = strings.NewReader(complete)
	if out, errs, code := s.run("playground", "update", "mine-01234567", "-f", "-", "-q"); code != 0 || out != "mine-01234567\n" || errs != "" {
		t.Fatalf("update: %d %q %q", code, out, errs)
	}
	if got := s.must("playground", "manifest", "mine-01234567"); got != complete {
		t.Errorf("manifest:\n%s", got)
	}
	if got := s.must("playground", "manifest", "mine-01234567", "-o", "json"); !json.Valid([]byte(got)) || !strings.Contains(got, `"tabs": []`) {
		t.Errorf("manifest -o json: %s", got)
	}
	// The name it was created with will do; without -f the folder is looked into.
	s.must("playground", "update", "mine-01234567", "-f", file("again.yaml", strings.Replace(complete, "mine-01234567", "mine", 1)))
	t.Chdir(s.home)
	s.fails(1, "there is no mine-01234567/manifest.yaml; name one with -f", "playground", "update", "mine-01234567")
	file("mine-01234567/manifest.yml", complete)
	s.must("playground", "update", "mine-01234567", "-q")

	s.must("playground", "create", "copy", "-b", "mine-01234567", "-q")
	if got := l.Catalog[2]; got.Name != "copy-01234567" || got.Base != "mine-01234567" || got.Title != "A lab of mine" || got.AccessControl.CanRead[0] != "owner" || got.Cover == "" {
		t.Errorf("the copy is %+v", got)
	}

	s.fails(1, "this is no terminal", "playground", "remove", "copy-01234567")
	s.fails(1, "there is no playground", "playground", "rm", "nope")
	if out := s.must("playground", "rm", "-f", "copy-01234567"); out != "" || len(l.Catalog) != 2 {
		t.Errorf("remove: %q, %d left", out, len(l.Catalog))
	}
	s.fails(1, "there is no playground", "playground", "manifest", "copy-01234567")
}

func TestPlaygroundsThatCannotBeStored(t *testing.T) {
	l := servertest.New(t)
	s := newShell(t, l)
	file := filepath.Join(s.home, "lab.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(mine)
	s.fails(1, "without a name", "playground", "create")
	s.fails(1, "without a base: name one with --base", "playground", "create", "x")
	s.fails(1, `cannot copy playground "flexbox": it has no machines; bring a manifest with -f`, "playground", "create", "x", "--base", "flexbox")
	s.fails(1, `the manifest calls it "mine"`, "playground", "create", "yours", "--base", "flexbox", "-f", file)
	s.fails(1, `there is no playground "nope"`, "playground", "create", "x", "--base", "nope")

	// Every problem, with its place, and nothing is sent.
	write(strings.NewReplacer("title: A lab of mine\n", "", ", canStart: [owner]", "").Replace(mine))
	errs := s.fails(2, "labctl: 2 problems in the manifest; nothing was created.\n", "playground", "create", "mine", "--base", "flexbox", "-f", file)
	for _, want := range []string{file + ":1:1: title: missing", file + ":11:18: playground.accessControl.canStart: missing"} {
		if !strings.Contains(errs, want) {
			t.Errorf("lacks %q:\n%s", want, errs)
		}
	}
	write(mine)
	errs = s.fails(2, "nothing was changed", "playground", "update", "mine-01234567", "-f", file)
	for _, want := range []string{"categories: missing", "playground.networks: missing", "playground.tabs: missing"} {
		if !strings.Contains(errs, want) {
			t.Errorf("lacks %q:\n%s", want, errs)
		}
	}
	write(complete)
	s.fails(1, `cannot update playground "other": the manifest is that of "mine-01234567"`, "playground", "update", "other", "-f", file)
	s.fails(1, `there is no playground "mine-01234567"`, "playground", "update", "mine-01234567", "-f", file)
	if len(l.Catalog) != 1 {
		t.Errorf("stored %+v", l.Catalog[1:])
	}

	// What only labd knows comes back with the file's places.
	refusal := api.Errorf(api.Invalid, "the manifest has problems")
	refusal.Problems = []api.Problem{{Path: "playground.machines[0].name", Message: "Machine alpha is not present in the base playground."}}
	l.Refuse = refusal
	write(mine)
	s.fails(2, file+":7:13: playground.machines[0].name: Machine alpha is not present in the base playground.\nlabctl: 1 problem in the manifest; nothing was created.\n",
		"playground", "create", "mine", "--base", "debian-12", "-f", file)
}

func TestSameName(t *testing.T) {
	for _, c := range []struct {
		given, full string
		want        bool
	}{
		{"", "lab-01234567", true}, {"lab", "lab-01234567", true}, {"lab-01234567", "lab-01234567", true},
		{"other", "lab-01234567", false}, {"lab", "lab-0123456", false}, {"lab", "lab-0123456z", false}, {"la", "lab-01234567", false},
		{"x", "-01234567", false},
	} {
		if got := sameName(c.given, c.full); got != c.want {
			t.Errorf("%q for %q: %v", c.given, c.full, got)
		}
	}
}

func TestReferences(t *testing.T) {
	s := newShell(t, servertest.New(t))
	golden(t, "sources.txt", s.must("playground", "sources"))
	golden(t, "kernels.txt", s.must("playground", "kernels"))
	if got := s.must("playground", "sources", "-q") + s.must("playground", "kernels", "-q"); got != "debian-12\nrocky-9\n6.1\n6.18\n" {
		t.Errorf("names: %q", got)
	}
	golden(t, "sources-yaml.txt", s.must("playground", "sources", "-o", "yaml"))
	var kernels []api.KernelVersion
	if err := json.Unmarshal([]byte(s.must("playground", "kernels", "-o", "json")), &kernels); err != nil || !kernels[0].Default {
		t.Errorf("%+v, %v", kernels, err)
	}
}
