package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest  = regexp.MustCompile("`((?:cmd|guest|internal|playgrounds|test)[a-z0-9/]*)\\.(Test[A-Za-z0-9_]+)`")
	namedStory = regexp.MustCompile("`(test/script/[a-z0-9_/-]+\\.txtar)`")
)

// declares tells which tests a folder has.
func declares(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				tests[fn.Name.Name] = true
			}
		}
	}
	return tests
}

// The tables of these documents name tests that exist, and at least one for
// every rule.
func TestDocumentsNameTests(t *testing.T) {
	for _, document := range []struct {
		file, heading string
		rows          int // at least
	}{
		{"manifest.md", "\n## Which test shows what\n", 70},
		{"api-conformance.md", "\n## Accounts\n", 85},
	} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "docs", document.file))
		if err != nil {
			t.Fatal(err)
		}
		_, table, found := strings.Cut(string(raw), document.heading)
		if !found {
			t.Fatalf("docs/%s has no %q", document.file, strings.TrimSpace(document.heading))
		}
		known := map[string]map[string]bool{}
		rows := 0
		for line := range strings.Lines(table) {
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| rule ") || strings.HasPrefix(line, "| | ") {
				continue
			}
			rows++
			tests := namedTest.FindAllStringSubmatch(line, -1)
			stories := namedStory.FindAllStringSubmatch(line, -1)
			if len(tests)+len(stories) == 0 {
				t.Errorf("no test in %s", line)
			}
			for _, test := range tests {
				if known[test[1]] == nil {
					known[test[1]] = declares(t, test[1])
				}
				if !known[test[1]][test[2]] {
					t.Errorf("%s has no %s, in %s", test[1], test[2], line)
				}
			}
			for _, story := range stories {
				if _, err := os.Stat(filepath.Join("..", "..", story[1])); err != nil {
					t.Errorf("%v, in %s", err, line)
				}
			}
		}
		if rows < document.rows {
			t.Errorf("the table of docs/%s has only %d rows", document.file, rows)
		}
	}
}
