// Package archtest proves the borders between the folders: it reads every
// import of the module and states, for each arrow that must not be, why.
// Tests only.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sandlot"

// pkg is one package: its imports without those of tests, and its comments.
type pkg struct {
	imports      map[string]bool
	comments     int
	testComments int
	code         bool           // not tests only
	lines        map[string]int // by file
}

// load reads every package of the module by folder, "internal/plan".
func load(t *testing.T) map[string]*pkg {
	t.Helper()
	root := filepath.Join("..", "..")
	pkgs := make(map[string]*pkg)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && file != root) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		p := pkgs[filepath.ToSlash(rel)]
		if p == nil {
			p = &pkg{imports: make(map[string]bool), lines: make(map[string]int)}
			pkgs[filepath.ToSlash(rel)] = p
		}
		p.lines[filepath.Base(file)] = strings.Count(string(body), "\n")
		test := strings.HasSuffix(file, "_test.go")
		switch {
		case test && f.Doc != nil:
			p.testComments++
		case f.Doc != nil:
			p.comments++
		}
		if test {
			return nil
		}
		p.code = true
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			p.imports[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 20 {
		t.Fatalf("found only %d packages", len(pkgs))
	}
	return pkgs
}

// reach returns everything a package imports, over packages of the module.
func reach(pkgs map[string]*pkg, from string) map[string]string {
	via := make(map[string]string) // import path → the package that imports it
	queue := []string{from}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if pkgs[p] == nil {
			continue
		}
		for _, i := range slices.Sorted(maps.Keys(pkgs[p].imports)) {
			if _, seen := via[i]; seen {
				continue
			}
			via[i] = p
			if own, ok := strings.CutPrefix(i, module+"/"); ok {
				queue = append(queue, own)
			}
		}
	}
	return via
}

func standard(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.Contains(first, ".") && first != module
}

// rule forbids packages that match from to reach, directly or not, imports
// that forbidden tells.
type rule struct {
	from      string // a folder pattern of path.Match, or a prefix ending in /
	forbidden func(from, imported string) bool
	why       string
}

func own(prefixes ...string) func(from, imported string) bool {
	return func(_, imported string) bool {
		name, ok := strings.CutPrefix(imported, module+"/")
		return ok && slices.ContainsFunc(prefixes, func(p string) bool { return name == strings.TrimSuffix(p, "/") || strings.HasPrefix(name, p) })
	}
}

var effects = []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "database/sql", "crypto/rand", "golang.org/x/sys/unix"}

func hasEffects(_, imported string) bool { return slices.Contains(effects, imported) }

func notStandard(_, imported string) bool { return !standard(imported) }

// siblings forbids packages of the same stage other than those named.
func siblings(parent string, allowed ...string) func(from, imported string) bool {
	return func(from, imported string) bool {
		name, ok := strings.CutPrefix(imported, module+"/")
		return ok && strings.HasPrefix(name, parent) && name != from && !strings.HasPrefix(name, from+"/") && !slices.Contains(allowed, name)
	}
}

var rules = []rule{
	{"api", notStandard, "clients of other projects may vendor the wire types"},
	{"internal/play", notStandard, "the nouns depend on nothing"},
	{"internal/manifest", hasEffects, "reading a manifest must be repeatable: no disk, no network, no clock"},
	{"internal/plan", hasEffects, "planning must be repeatable: golden files show its diffs"},
	{"internal/step", hasEffects, "the runner knows no host; its steps do"},
	{"internal/step", own(""), "the runner knows no VMs"},
	{"guest/wire", notStandard, "it is linked into the guest's first process"},
	{"internal/host/layout", hasEffects, "names of files are text"},
	{"internal/host/", siblings("internal/host/", "internal/host/layout"), "each folder is one outside thing; cmd/labd joins them"},
	{"internal/host/", own("internal/bender", "internal/vm", "internal/session", "internal/control", "internal/server"), "bender owns the host's things, not they bender"},
	{"internal/vm/", siblings("internal/vm/", "internal/vm", "internal/vm/launch", "internal/vm/vmtest/talk"), "a driver is chosen in one place and knows no other"},
	{"internal/vm", own("internal/host/", "internal/bender", "internal/session", "internal/control"), "the driver contract stands alone"},
	{"internal/session", own("internal/host/", "internal/vm", "internal/bender", "internal/control"), "a session needs a byte channel, not a machine"},
	{"internal/bender", own("internal/host/image", "internal/host/volume", "internal/host/kernel", "internal/host/netns", "internal/host/dns", "internal/vm/qemu", "internal/control", "internal/server", "internal/store"), "bender declares the interfaces it needs; cmd/labd fills them"},
	{"internal/account", own("internal/control", "internal/bender", "internal/server", "internal/host/"), "people are known without plays: labd user works beside a running labd"},
	{"internal/admin", own("internal/server", "internal/host/image", "internal/host/volume", "internal/host/kernel", "internal/host/gauge", "internal/vm/qemu"), "what it asks of the host comes in through its options"},
	{"internal/server", own("internal/admin", "internal/bender", "internal/store", "internal/control", "internal/account", "internal/host/", "internal/vm", "internal/session", "internal/manifest", "internal/plan"), "the server holds no logic"},
	{"internal/cli", own("internal/bender", "internal/store", "internal/control", "internal/host/", "internal/vm", "internal/session", "internal/server", "internal/gateway"), "labctl reaches labd through client only"},
	{"client", own("internal/"), "the client is usable from outside"},
	{"guest/", own("internal/"), "nothing of the host belongs into a machine"},
}

func (r rule) covers(folder string) bool {
	if strings.HasSuffix(r.from, "/") {
		return strings.HasPrefix(folder, r.from)
	}
	ok, _ := path.Match(r.from, folder)
	return ok
}

func TestArrowsPointOneWay(t *testing.T) {
	pkgs := load(t)
	for _, r := range rules {
		matched := false
		for folder := range pkgs {
			if !r.covers(folder) {
				continue
			}
			matched = true
			for imported, via := range reach(pkgs, folder) {
				if standard(imported) && via != folder && !strings.HasPrefix(via, "internal/") && !strings.HasPrefix(via, "guest/") {
					continue
				}
				if r.forbidden(folder, imported) {
					t.Errorf("%s imports %s (in %s): %s", folder, imported, via, r.why)
				}
			}
		}
		if !matched {
			t.Errorf("rule for %s matches no package: mend the rule", r.from)
		}
	}
}

// adapters are named in one place, so that what a labd is made of can be read
// there.
func TestOnlyLabdNamesAdapters(t *testing.T) {
	adapters := own("internal/host/image", "internal/host/volume", "internal/host/kernel", "internal/host/netns",
		"internal/host/dns", "internal/host/doctor", "internal/host/gauge", "internal/vm/qemu", "internal/store")
	for folder, p := range load(t) {
		for imported := range p.imports {
			if adapters(folder, imported) && folder != "cmd/labd" && folder != strings.TrimPrefix(imported, module+"/") &&
				folder != "internal/control" && folder != "internal/account" && folder != "internal/admin" && folder != "tools/bench" && !strings.HasPrefix(folder, "test/") {
				t.Errorf("%s imports %s: only cmd/labd joins adapters", folder, imported)
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for folder, p := range load(t) {
		comments := p.comments
		if !p.code {
			comments = p.testComments
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, want one that says what goes in and what comes out", folder, comments)
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	const limit = 700
	for folder, p := range load(t) {
		for file, lines := range p.lines {
			if lines > limit && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s/%s has %d lines, more than %d: it holds more than one thing", folder, file, lines, limit)
			}
		}
	}
}
