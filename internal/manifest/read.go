package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Parse reads one YAML document. name is the file's name for messages. The
// problems are those of Validate(m, Start): everything that is wrong whatever
// the manifest is used for. The manifest is nil when the document cannot be
// read as YAML at all; otherwise it holds what could be read, and knows where
// its fields stood, so that later problems have places too.
func Parse(name string, data []byte) (*Manifest, Problems) {
	m, problem := read(name, data)
	if problem != nil {
		problem.Severity, problem.File = Error, name
		return nil, Problems{*problem}
	}
	return m, Validate(m, Start)
}

func read(name string, data []byte) (*Manifest, *Problem) {
	root, problem := readDocument(data)
	if problem != nil {
		return nil, problem
	}
	source := newSource(name)
	if problem := source.inspect(root); problem != nil {
		return nil, problem
	}
	m := &Manifest{source: source}
	source.decodeRoot(root, m)
	m.convertAccess()
	return m, nil
}

// convertAccess turns the old `access: {mode: …}` into the lists.
func (m *Manifest) convertAccess() {
	access := m.Playground.Access
	if access == nil {
		return
	}
	principal := map[string]string{"private": "owner", "public": "anyone"}[access.Mode]
	if principal == "" {
		return // Validate says so
	}
	m.Playground.Access = nil
	if m.Playground.AccessControl != nil {
		m.source.problems = append(m.source.problems, m.At(Warning, "playground.access", "ignored: accessControl is there too", "leave it out"))
		return
	}
	m.Playground.AccessControl = &AccessControl{
		CanList: []string{principal}, CanRead: []string{principal}, CanStart: []string{principal},
	}
}

func readDocument(data []byte) (root *yaml.Node, problem *Problem) {
	if len(data) > MaxDocument {
		return nil, &Problem{
			Message: fmt.Sprintf("the document has %d bytes, more than %d", len(data), MaxDocument),
			Fix:     "move big files into an image",
		}
	}
	if problem := strangeText(data); problem != nil {
		return nil, problem
	}
	if marks(data) > maxMarks {
		return nil, &Problem{
			Message: fmt.Sprintf("the document has more than %d colons, dashes, commas, brackets and comments that may be fields or items", maxMarks),
			Fix:     "move big files into an image",
		}
	}
	// A panic of the YAML library must not take labd down with a manifest
	// that somebody sent.
	defer func() {
		if r := recover(); r != nil {
			root, problem = nil, &Problem{Message: "the document is not YAML"}
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) || (err == nil && len(document.Content) == 0) {
		return nil, &Problem{Line: 1, Column: 1, Message: "the document is empty", Fix: `start with "kind: playground"`}
	} else if err != nil {
		return nil, syntaxProblem(data, err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, &Problem{Line: second.Line, Column: second.Column, Message: "a second document starts here", Fix: "a manifest is one document; remove the rest"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(data, err)
	}
	root = document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, &Problem{Line: root.Line, Column: root.Column, Message: "the document is " + describe(root) + ", not a manifest", Fix: `start with "kind: playground"`}
	}
	return root, nil
}

// strangeText finds the first byte that no YAML text has. The library would
// find it too, but not tell where.
func strangeText(data []byte) *Problem {
	line, column := 1, 1
	for rest := data; len(rest) > 0; column++ {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size <= 1:
			return &Problem{Line: line, Column: column, Message: "the document is not UTF-8 text", Fix: "save it as UTF-8"}
		case r == '\n':
			line, column = line+1, 0
		case r == 0xFEFF && len(rest) == len(data): // a byte order mark
			column--
		case r == '\t' || r == '\r' || r == 0x85:
		case r < ' ', 0x7F <= r && r < 0xA0, r == 0xFEFF, r == 0xFFFE, r == 0xFFFF:
			return &Problem{Line: line, Column: column, Message: fmt.Sprintf("the character %U cannot stand in YAML", r),
				Fix: fmt.Sprintf(`remove it, or write "\u%04x" between double quotes`, r)}
		}
		rest = rest[size:]
	}
	return nil
}

var syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func syntaxProblem(data []byte, err error) *Problem {
	text := err.Error()
	match := syntaxLine.FindStringSubmatch(text)
	// The library leaves the line out when it is the first.
	line, convErr := strconv.Atoi(match[1])
	if convErr != nil {
		line = 1
	}
	problem := &Problem{Line: line, Message: "the document is not YAML: " + strings.TrimPrefix(text, match[0])}
	if anchor, ok := strings.CutPrefix(strings.TrimPrefix(text, match[0]), "unknown anchor '"); ok {
		problem.Line, problem.Column = firstUse(data, strings.TrimSuffix(anchor, "' referenced"))
		problem.Fix = fmt.Sprintf("define &%s before *%[1]s uses it", strings.TrimSuffix(anchor, "' referenced"))
	}
	if strings.Contains(text, "character that cannot start any token") {
		problem.Fix = "indent with spaces, and quote values that start with @, ` or %"
	}
	if strings.Contains(text, "mapping values are not allowed") {
		problem.Fix = `check the indentation, and quote values that contain ": "`
	}
	return problem
}

// firstUse is where *anchor stands first. The library does not say.
func firstUse(data []byte, anchor string) (line, column int) {
	match := regexp.MustCompile(`(?m)(?:^|[\s\[{,])(\*` + regexp.QuoteMeta(anchor) + `)(?:$|[^A-Za-z0-9_-])`).FindSubmatchIndex(data)
	if match == nil {
		return 0, 0
	}
	before := data[:match[2]]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

// extent is what a node becomes once its aliases are expanded.
type extent struct{ nodes, bytes, depth int }

// inspector measures a document before anything walks its expanded form.
type inspector struct {
	source *source
	done   map[*yaml.Node]extent
	open   map[*yaml.Node]bool
}

// step is one element of a path, linked to the ones before it, so that the
// text is made only when a problem needs it.
type step struct {
	parent *step
	key    string
	index  int // -1 when key is set
}

func (s *step) String() string {
	if s == nil {
		return ""
	}
	if s.index >= 0 {
		return index(s.parent.String(), s.index)
	}
	return join(s.parent.String(), s.key)
}

// inspect refuses documents that nest too deep or whose aliases explode, and
// records every duplicate key.
func (s *source) inspect(root *yaml.Node) *Problem {
	i := &inspector{source: s, done: map[*yaml.Node]extent{}, open: map[*yaml.Node]bool{}}
	_, problem := i.measure(root, nil, 0)
	return problem
}

func (i *inspector) measure(node *yaml.Node, at *step, depth int) (extent, *Problem) {
	refuse := func(fix, format string, args ...any) (extent, *Problem) {
		return extent{}, &Problem{Path: at.String(), Line: node.Line, Column: node.Column, Message: fmt.Sprintf(format, args...), Fix: fix}
	}
	total := extent{nodes: 1, bytes: len(node.Value)}
	switch node.Kind {
	case yaml.ScalarNode:
		return total, nil
	case yaml.AliasNode:
		if i.open[node.Alias] {
			return refuse("", "the anchor &%s contains itself", node.Value)
		}
		// Anchors stand before their aliases, so this one is measured.
		target := i.done[node.Alias]
		if node.Alias.Kind == yaml.ScalarNode {
			target = extent{nodes: 1, bytes: len(node.Alias.Value)}
		}
		if depth+target.depth > MaxNesting {
			return refuse("", "nested more than %d levels deep", MaxNesting)
		}
		return target, nil
	}
	if depth++; depth > MaxNesting {
		return refuse("", "nested more than %d levels deep", MaxNesting)
	}
	i.open[node] = true
	if node.Kind == yaml.MappingNode {
		i.duplicates(node, at)
	}
	for n, child := range node.Content {
		next := &step{parent: at, index: n}
		if node.Kind == yaml.MappingNode {
			next = &step{parent: at, key: node.Content[n&^1].Value, index: -1}
		}
		part, problem := i.measure(child, next, depth)
		if problem != nil {
			return extent{}, problem
		}
		total.nodes += part.nodes
		total.bytes += part.bytes
		total.depth = max(total.depth, part.depth)
		if total.nodes > maxExpandedNodes || total.bytes > maxExpandedBytes {
			return refuse("write it out, or use fewer aliases", "the aliases expand to too much")
		}
	}
	total.depth++
	delete(i.open, node)
	i.done[node] = total
	return total, nil
}

func (i *inspector) duplicates(node *yaml.Node, at *step) {
	first := make(map[string]*yaml.Node, len(node.Content)/2)
	for n := 0; n+1 < len(node.Content); n += 2 {
		key := node.Content[n]
		if key.Kind != yaml.ScalarNode {
			continue // the decoder reports it
		}
		if before := first[key.Value]; before != nil {
			i.source.report(key, Error, join(at.String(), key.Value), "remove one of them", "duplicate key %q, first given on line %d", key.Value, before.Line)
			continue
		}
		first[key.Value] = key
	}
}
