package manifest

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// source remembers where the fields of a manifest stood and what was wrong
// with reading them.
type source struct {
	file string
	at   map[string]place
	// broken are paths whose value could not be read: later checks keep quiet
	// about them.
	broken   map[string]bool
	unknown  []unknownField
	problems Problems
	dropped  bool // there were more errors than problems has
}

type place struct{ line, column int }

// unknownField is a key no field has. target is the path it was probably
// meant for.
type unknownField struct {
	path, key, target string
	node              *yaml.Node
	known             []string
}

func newSource(file string) *source {
	return &source{file: file, at: map[string]place{}, broken: map[string]bool{}}
}

func (s *source) report(node *yaml.Node, severity Severity, path, fix, format string, args ...any) {
	if len(s.problems) > maxProblems {
		s.dropped = s.dropped || severity == Error
		return
	}
	s.problems = append(s.problems, Problem{
		Severity: severity, File: s.file, Path: path, Line: node.Line, Column: node.Column,
		Message: fmt.Sprintf(format, args...), Fix: fix,
	})
}

// wrong reports a value that cannot be read.
func (s *source) wrong(node *yaml.Node, path, fix, format string, args ...any) {
	s.broken[path] = true
	s.report(node, Error, path, fix, format, args...)
}

// find returns the place of a path, or of the nearest thing around it.
func (s *source) find(path string) place {
	for {
		if p, ok := s.at[path]; ok {
			return p
		}
		if path == "" {
			return place{1, 1}
		}
		path = parent(path)
	}
}

// isBroken tells whether the value at path, or one around it, was unreadable.
func (s *source) isBroken(path string) bool {
	for {
		if s.broken[path] {
			return true
		}
		if path == "" {
			return false
		}
		path = parent(path)
	}
}

// plainKey tells whether a key can stand in a path as it is. Every field asks,
// so this is a loop and not a regular expression.
func plainKey(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return key != ""
}

// join and index build paths like `playground.machines[1].drives[0].size`.
func join(path, key string) string {
	if !plainKey(key) {
		if len(key) > 64 {
			key = key[:64] + "…"
		}
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent cuts the last element off a path.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		if i := strings.Index(path, `["`); i >= 0 {
			return path[:i]
		}
	}
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// fields are the fields of a struct type by their name in a manifest.
type fields struct {
	names []string
	index map[string]int
}

var fieldCache sync.Map // reflect.Type → fields

func fieldsOf(typ reflect.Type) fields {
	if cached, ok := fieldCache.Load(typ); ok {
		return cached.(fields)
	}
	info := fields{index: map[string]int{}}
	for i := range typ.NumField() {
		name := typ.Field(i).Tag.Get("yaml")
		if name == "" {
			continue
		}
		info.names = append(info.names, name)
		info.index[name] = i
		if alias := typ.Field(i).Tag.Get("alias"); alias != "" {
			info.index[alias] = i
		}
	}
	fieldCache.Store(typ, info)
	return info
}

func (s *source) decodeRoot(root *yaml.Node, m *Manifest) {
	s.at[""] = place{root.Line, root.Column}
	s.decodeStruct(root, reflect.ValueOf(m).Elem(), "")
}

// decode reads node into v. The document was inspected: its depth is bounded
// and no alias contains itself.
func (s *source) decode(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if isNull(node) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		s.decode(node, v.Elem(), path)
	case reflect.Struct:
		s.decodeStruct(node, v, path)
	case reflect.Slice:
		s.decodeSlice(node, v, path)
	case reflect.Map:
		s.decodeMap(node, v, path)
	default:
		s.decodeScalar(node, v, path)
	}
}

func (s *source) decodeStruct(node *yaml.Node, v reflect.Value, path string) {
	typ := v.Type()
	if typ == reflect.TypeFor[Kernel]() && node.Kind == yaml.ScalarNode {
		v.Addr().Interface().(*Kernel).Source = node.Value
		return
	}
	if node.Kind != yaml.MappingNode {
		s.wrong(node, path, mappingFix(typ, path, node), "%s where fields are expected", describe(node))
		return
	}
	info := fieldsOf(typ)
	for _, pair := range s.pairs(node, path) {
		at := join(path, pair.key.Value)
		field, known := info.index[pair.key.Value]
		if !known {
			if len(s.unknown) > maxProblems {
				continue
			}
			target := suggest(typ, pair.key.Value)
			if target != "" {
				target = strings.TrimPrefix(path+"."+target, ".")
			} else if outer, name, ok := outward(path, pair.key.Value); ok {
				target = strings.TrimPrefix(outer+"."+name, ".")
			}
			s.unknown = append(s.unknown, unknownField{path: path, key: pair.key.Value, target: target, node: pair.key, known: info.names})
			continue
		}
		value := pair.value
		if isNull(value) {
			value = pair.key
		}
		s.at[at] = place{value.Line, value.Column}
		s.decode(pair.value, v.Field(field), at)
	}
}

// outward finds key among the fields of the top level, for keys that were
// indented one level too far.
func outward(path, key string) (outer, name string, ok bool) {
	if path != "playground" {
		return "", "", false
	}
	_, ok = fieldsOf(reflect.TypeFor[Manifest]()).index[key]
	return "", key, ok
}

func (s *source) decodeSlice(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		fix := `put "- " before its first field: each item of a list has one`
		if item := v.Type().Elem(); node.Kind == yaml.ScalarNode {
			fix = fmt.Sprintf("write [%s]", short(node.Value))
			if item.Kind() == reflect.Struct {
				fix = fmt.Sprintf("write [{%s: %s}]", leading(item), short(node.Value))
			}
		}
		s.wrong(node, path, fix, "%s where a list is expected", describe(node))
		return
	}
	if n := len(node.Content); n > maxItems {
		s.wrong(node, path, "take some away", "a list of %d items; none may have more than %d", n, maxItems)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		at := index(path, i)
		s.at[at] = place{item.Line, item.Column}
		if isNull(item) {
			s.wrong(item, at, "remove the \"-\" or fill it in", "empty list item")
			continue
		}
		s.decode(item, v.Index(i), at)
	}
}

func (s *source) decodeMap(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		s.wrong(node, path, `write each as "<name>:" with its fields below`, "%s where names with their fields are expected", describe(node))
		return
	}
	pairs := s.pairs(node, path)
	if n := len(pairs); n > maxItems {
		s.wrong(node, path, "take some away", "%d names with fields; there may be no more than %d", n, maxItems)
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(pairs)))
	for _, pair := range pairs {
		at := join(path, pair.key.Value)
		s.at[at] = place{pair.key.Line, pair.key.Column}
		element := reflect.New(v.Type().Elem()).Elem()
		s.decode(pair.value, element, at)
		v.SetMapIndex(reflect.ValueOf(pair.key.Value), element)
	}
}

// Truth values as YAML 1.1 has them, which is what the reference client reads.
var truths = map[string]bool{
	"true": true, "True": true, "TRUE": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"false": false, "False": false, "FALSE": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

func (s *source) decodeScalar(node *yaml.Node, v reflect.Value, path string) {
	key := path[strings.LastIndexAny(path, ".[")+1:]
	if node.Kind != yaml.ScalarNode {
		s.wrong(node, path, "", "%s where %s is expected", describe(node), map[reflect.Kind]string{
			reflect.String: "text", reflect.Bool: "true or false", reflect.Int: "a whole number",
		}[v.Kind()])
		return
	}
	switch v.Kind() {
	case reflect.String:
		if node.ShortTag() == "!!binary" {
			s.wrong(node, path, "write it as plain text", "binary data where text is expected")
			return
		}
		// Any scalar is text: `source: 6.1` and `mode: 0644` keep their digits.
		v.SetString(node.Value)
	case reflect.Bool:
		truth, ok := truths[node.Value]
		if !ok || (node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle)) != 0 {
			fix := fmt.Sprintf(`write "%s: true" or "%[1]s: false"`, key)
			if ok {
				fix = fmt.Sprintf(`write "%s: %t" without quotes`, key, truth)
			}
			s.wrong(node, path, fix, "%q is not true or false", short(node.Value))
			return
		}
		v.SetBool(truth)
	case reflect.Int:
		number, err := strconv.ParseInt(strings.ReplaceAll(node.Value, "_", ""), 0, 32)
		if node.ShortTag() != "!!int" || err != nil {
			fix := fmt.Sprintf(`write it like "%s: %s"`, key, cmp.Or(examples[key], "2"))
			if n, err := strconv.Atoi(node.Value); err == nil && node.ShortTag() == "!!str" {
				fix = fmt.Sprintf(`write "%s: %d" without quotes`, key, n)
			}
			s.wrong(node, path, fix, "%q is not a whole number", short(node.Value))
			return
		}
		if octal.MatchString(node.Value) {
			s.report(node, Warning, path, fmt.Sprintf("write %d, or leave the 0 out", number), "%q is octal, and means %d", node.Value, number)
		}
		v.SetInt(number)
	}
}

// examples are numbers that fit fields where 2 does not.
var examples = map[string]string{"timeout_seconds": "60", "number": "8080"}

// octal is how YAML 1.1 writes octal numbers.
var octal = regexp.MustCompile(`^[-+]?0[0-7_]+$`)

type pair struct{ key, value *yaml.Node }

// pairs lists a mapping's keys and values with merge keys (<<) expanded and
// duplicates left out; explicit keys win over merged ones.
func (s *source) pairs(node *yaml.Node, path string) []pair {
	out := make([]pair, 0, len(node.Content)/2)
	seen := make(map[string]bool, len(node.Content)/2)
	var merges []*yaml.Node
	for n := 0; n+1 < len(node.Content); n += 2 {
		key, value := node.Content[n], node.Content[n+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			s.report(key, Error, path, "", "%s where a field's name is expected", describe(key))
		case key.ShortTag() == "!!merge":
			merges = append(merges, value)
		case !seen[key.Value]:
			seen[key.Value] = true
			out = append(out, pair{key, value})
		}
	}
	for _, merge := range merges {
		sources := []*yaml.Node{merge}
		if merge.Kind == yaml.SequenceNode {
			sources = merge.Content
		}
		for _, from := range sources {
			if from.Kind == yaml.AliasNode {
				from = from.Alias
			}
			if from.Kind != yaml.MappingNode {
				s.report(from, Error, path, `write "<<: *anchor"`, "%s where fields to merge are expected", describe(from))
				continue
			}
			for _, p := range s.pairs(from, path) {
				if !seen[p.key.Value] {
					seen[p.key.Value] = true
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func isNull(node *yaml.Node) bool {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// describe names what stands there, for "… where a list is expected".
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a group of fields"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return describe(node.Alias)
	}
	return strconv.Quote(short(node.Value))
}

// short keeps messages to a line.
func short(s string) string {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i] + "…"
	}
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return s
}

// mappingFix says how to write typ where an author wrote something else.
func mappingFix(typ reflect.Type, path string, node *yaml.Node) string {
	if node.Kind == yaml.SequenceNode {
		switch typ {
		case reflect.TypeFor[MachineNetwork]():
			return `put the list under "interfaces:"`
		case reflect.TypeFor[InitConditions]():
			return `put the list under "values:"`
		case reflect.TypeFor[Kernel]():
			return `write "kernel: {source: 6.1}"`
		case reflect.TypeFor[Resources]():
			return `write "resources: {cpuCount: 2, ramSize: 2GiB}"`
		}
		return ""
	}
	value := short(node.Value)
	switch typ {
	case reflect.TypeFor[MachineNetwork]():
		return fmt.Sprintf(`write "network: {interfaces: [{network: %s}]}"`, value)
	case reflect.TypeFor[Resources]():
		return `write "resources: {cpuCount: 2, ramSize: 2GiB}"`
	case reflect.TypeFor[Drive]():
		return fmt.Sprintf(`write "source: %s"`, value)
	case reflect.TypeFor[InitTask]():
		return `put the script under "run:"`
	}
	names := fieldsOf(typ).names
	if slices.Contains(names, "name") {
		return fmt.Sprintf(`write "name: %s"`, value)
	}
	if key := path[strings.LastIndexByte(path, '.')+1:]; len(names) > 0 && plainKey(key) {
		return fmt.Sprintf(`write "%s: {%s: …}"`, key, names[0])
	}
	return ""
}

// leading is the field of typ that a bare value was probably meant for.
func leading(typ reflect.Type) string {
	names := fieldsOf(typ).names
	if slices.Contains(names, "name") {
		return "name"
	}
	return names[0]
}
