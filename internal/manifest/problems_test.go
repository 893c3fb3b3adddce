package manifest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"sandlot/internal/labtest"
)

// archived are the cases of testdata/problems/<name>.txtar. Its file "head"
// stands before the text of every case; a case is "<name>.yaml", followed by
// "<name>.said" with all problems as Inherit over flexbox reports them, one a
// line. go test -update writes the latter.
func archived(t testing.TB, name string) (cases []problemCase) {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "problems", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	head := ""
	for _, file := range archive.Files {
		stem, kind, _ := strings.Cut(file.Name, ".")
		switch {
		case file.Name == "head":
			head = string(file.Data)
		case kind == "yaml":
			cases = append(cases, problemCase{name: stem, text: head + string(file.Data)})
		case len(cases) == 0 || cases[len(cases)-1].name != stem:
			t.Fatalf("%s.txtar: %s does not follow its manifest", name, file.Name)
		default:
			cases[len(cases)-1].want = string(file.Data)
		}
	}
	return cases
}

// everything is what an author is told at a start over flexbox.
func everything(t testing.TB, text string) Problems {
	t.Helper()
	raw, err := os.ReadFile("../../playgrounds/flexbox.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base, problems := Parse("flexbox.yaml", raw)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	m, problems := Parse("lab.yaml", []byte(text))
	if m != nil {
		_, problems = Inherit(base, m)
	}
	return problems
}

func checkArchive(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", "problems", name+".txtar")
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for _, file := range archive.Files {
		if file.Name == "head" {
			out.Files = append(out.Files, file)
		}
	}
	for _, c := range archived(t, name) {
		head := ""
		if len(out.Files) > 0 && out.Files[0].Name == "head" {
			head = string(out.Files[0].Data)
		}
		said := everything(t, c.text).String()
		if said != "" {
			said += "\n"
		}
		out.Files = append(out.Files,
			txtar.File{Name: c.name + ".yaml", Data: []byte(strings.TrimPrefix(c.text, head))},
			txtar.File{Name: c.name + ".said", Data: []byte(said)})
	}
	labtest.Golden(t, "problems/"+name+".txtar", string(txtar.Format(out)))
}

// What authors do though no reference says so.
func TestHabits(t *testing.T) { checkArchive(t, "habits") }

// Each cross-reference to something that is not there.
func TestReferences(t *testing.T) { checkArchive(t, "references") }

// Each pair that collides.
func TestCollisions(t *testing.T) { checkArchive(t, "collisions") }

// Path tricks, and what a shell or a terminal could take for more than text.
func TestTricks(t *testing.T) { checkArchive(t, "tricks") }

// What YAML makes of a value without quotes.
func TestYAMLTypes(t *testing.T) { checkArchive(t, "types") }

func TestSchemaAgreesOnArchives(t *testing.T) {
	schema := compiled(t)
	for _, name := range []string{"habits", "references", "collisions", "tricks", "types"} {
		for _, c := range archived(t, name) {
			agrees(t, schema, c)
		}
	}
}

// What a manifest says by itself is said over a base, too.
func TestNothingIsLostOverABase(t *testing.T) {
	for _, c := range slices.Concat(fieldCases(t), seenCases(t), limitCases(t)) {
		said := everything(t, c.text).String()
		_, problems := Parse("lab.yaml", []byte(c.text))
		for _, p := range problems {
			if !strings.Contains(said, p.String()) {
				t.Errorf("%s: %q is not said, but %q", c.name, p, said)
			}
		}
	}
}

// A byte order mark and every kind of line end are fine.
func TestByteOrderMarkAndLineEnds(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark": "\ufeff" + sound, "Windows": strings.ReplaceAll(sound, "\n", "\r\n"), "document marks": "---\n" + sound + "...\n",
	} {
		if _, problems := Parse("lab.yaml", []byte(text)); len(problems) > 0 {
			t.Errorf("%s: %s", name, problems)
		}
	}
}
