package manifest

import (
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"sandlot/internal/labtest"
)

// maxAllocated bounds what reading, checking and inheriting one document may
// allocate, freed or not.
const maxAllocated = 64 << 20

// allocated counts the bytes that one call allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// full repeats item between head and tail until the document is as long as one
// may be, or has as many marks as one may have; then a comment fills it up.
func full(head, item, tail string) []byte {
	room := (MaxDocument - len(head) - len(tail) - 3) / len(item)
	if each := marks([]byte(head+strings.Repeat(item, 100))) - marks([]byte(head)); each > 0 {
		room = min(room, (maxMarks-marks([]byte(head+tail))-8)*100/each)
	}
	text := head + strings.Repeat(item, room) + tail + "\n#"
	return []byte(text + strings.Repeat(" ", MaxDocument-len(text)))
}

// hostile are documents of one MiB, each the worst for some part of the reader.
func hostile() map[string][]byte {
	const pg = "kind: playground\nplayground:\n"
	chain := func(link string, n int) string { return strings.Repeat(link, n) }
	bomb := "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + numbered(9, "b%d: &a0 [*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0]\n")
	drives := "  x: &d [" + chain("{size: 1GiB},", 999) + "]\n  machines: [" + chain("{name: a, drives: *d},", 60) + "]\n"
	return map[string][]byte{
		"items":               full("a: [", "a,", "]"),
		"lists":               full("a: [", "[],", "]"),
		"groups":              full(pg+"  machines: [", "{},", "]"),
		"keys":                full("a: {", "a,", "}"),
		"quoted":              full("a: [", `"",`, "]"),
		"tags":                full("a: [", "!a a,", "]"),
		"aliases":             full("a: &a x\nb: [", "*a,", "]"),
		"anchors":             full("a:\n", "- &a x\n", ""),
		"merges":              full("x: &x {a: b}\ny: {", "<<: *x,", "}"),
		"dashes":              full("a:\n", "-\n", ""),
		"dashes of NEL":       full("a:\n", "-\u0085", ""),
		"dashes and comments": full("a:\n", "- #\n", ""),
		"keys and comments":   full(pg, "  a: #b\n  # c\n", ""),
		"duplicates":          full(pg, "  a:\n", ""),
		"deep lists":          full("a: ", "[", ""),
		"deep groups":         full("a: ", "{a: ", ""),
		"deep dashes":         full("a:\n ", "- ", ""),
		"deep keys":           full("", "? ", ""),
		"comments":            full(pg, "  # x\n", ""),
		"blank lines":         full(pg, "\n", ""),
		"blanks":              full(pg, " ", ""),
		"folded text":         full("a:\n", " a\n", ""),
		"literal text":        full("a: |\n", " a,b\n", ""),
		"escapes":             full("a: \"", `\u0041`, `"`),
		"one long key":        full("", "a", ": b"),
		"documents":           full("", "---\n", ""),
		"machines":            full(pg+"  machines: [", "{name: a, users: [{name: b}], drives: [{mount: /, source: c}], network: {interfaces: [{network: d}]}},", "]"),
		"drives":              full(pg+"  machines: [{drives: [", "{},", "]}]"),
		"drives by aliases":   full(pg+drives, "#\n", ""),
		"not machines":        full(pg+"  machines: [", "x,", "]"),
		"networks":            full(pg+"  networks:\n", "    - {name: a, subnet: 10.0.0.0/24}\n", ""),
		"tabs":                full(pg+"  tabs: [", "{},", "]"),
		"needs":               full(pg+"  initTasks: {a: {needs: [", "a,", "]}}"),
		"tasks":               []byte(pg + "  initTasks:\n" + numbered(10_000, "    t%d: {run: x}\n")),
		"bomb":                full(bomb, "#\n", ""),
		"quotes in text":      full("a: |\n", " it's [ ' , {\n", ""),
		"a script of one MiB": full(sound+"  initTasks:\n    a:\n      machine: dev\n      run: |\n", "        if [ -f x ]; then echo \"a\"; fi\n", ""),
		"a page of one MiB":   full(sound+"markdown: |\n", "  A line of prose, with what prose has.\n", ""),
		"regexes":             []byte(pg + "  initConditions:\n    values:\n" + numbered(MaxConditions, "      - {key: k%d, default: a, validationRegex: '"+chain("a{0,99}", 9)+"'}\n")),
		"huge regexes":        []byte(pg + "  initConditions:\n    values:\n" + numbered(MaxConditions, "      - {key: k%d, default: a, validationRegex: '"+chain("a{1000}", 142)+"'}\n")),
	}
}

// readHostile is all that is done with a document that a stranger sends.
func readHostile(data []byte) {
	if m, _ := Parse("lab.yaml", data); m != nil {
		Inherit(&Manifest{Name: Flexbox}, m)
	}
}

// One MiB of whatever is worst for the reader costs less than 64 MiB, whether
// it is refused at once or read to its end.
func TestHostileMebibyte(t *testing.T) {
	for name, data := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(data) > MaxDocument {
				t.Fatalf("%d bytes", len(data))
			}
			if used := allocated(func() { readHostile(data) }); used > maxAllocated && !labtest.Race {
				t.Errorf("%d MiB allocated", used>>20)
			}
		})
	}
}

// BenchmarkHostileMebibyte is what tools/bench takes its figures from. cpu-ms/op
// is what the processor worked, the collector's share included: unlike the
// time that passed it does not count what else the host does.
func BenchmarkHostileMebibyte(b *testing.B) {
	documents := hostile()
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			begin := worked(b)
			for b.Loop() {
				readHostile(documents[name])
			}
			b.ReportMetric(float64((worked(b)-begin).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// worked is the processor time of this process until now.
func worked(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// checkMarks is the property that the bound of the reader's work stands on.
func checkMarks(t testing.TB, data []byte) {
	t.Helper()
	defer func() { _ = recover() }() // of the library, on what is no YAML
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil {
		return
	}
	var count func(*yaml.Node) int
	count = func(node *yaml.Node) int {
		n := 1
		for _, child := range node.Content {
			n += count(child)
		}
		return n
	}
	if nodes, most := count(&document), 2*marks(data)+3; nodes > most {
		t.Fatalf("%d nodes of %d marks in %q", nodes, marks(data), data)
	}
}

func TestMarksBoundTheNodes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b ", " ", "\n", "\n  ", "\n- ", "- ", "-", ": ", ":", ", ", ",", "[", "]", "{", "}", "[a, ", "\"", "'", "#", " # ", "? ", "?", "!", "!t ", "&a ", "*a ", "|", ">", "\u0085", "\u2028", "\t", "\r\n", "\\", "'a' ", `"b", `, "a: ", "\n a: [", "|\n "}
	for range 20_000 {
		var b strings.Builder
		for range 1 + random.IntN(24) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		checkMarks(t, []byte(b.String()))
	}
}

func FuzzMarks(f *testing.F) {
	for _, seed := range []string{sound, "[ # ]\n a, a]", "[ \"]\", a]", "[!a] x, y]", "? a\n: - b\n  - c", "\ufeff[a]", "a: [ b\n# [\n]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkMarks(t, data) })
}

// Lists that came as JSON are bounded as those of YAML are.
func TestLongListsOfJSON(t *testing.T) {
	long := make([]string, maxItems+1)
	for want, m := range map[string]*Manifest{
		"playground.machines: a list of 1001 items; none may have more than 1000; take some away":                         {Playground: Playground{Machines: make([]Machine, maxItems+1)}},
		"playground.machines[0].drives: a list of 1001 items; none may have more than 1000; take some away":               {Playground: Playground{Machines: []Machine{{Drives: make([]Drive, maxItems+1)}}}},
		"playground.initTasks.a.needs: a list of 1001 items; none may have more than 1000; take some away":                {Playground: Playground{InitTasks: map[string]InitTask{"a": {Needs: long}}}},
		"playground.initConditions.values[0].options: a list of 1001 items; none may have more than 1000; take some away": {Playground: Playground{InitConditions: &InitConditions{Values: []InitCondition{{Options: long}}}}},
	} {
		if _, problems := Inherit(&Manifest{Name: Flexbox}, m); problems.String() != want {
			t.Errorf("got  %s\nwant %s", problems, want)
		}
	}
}
