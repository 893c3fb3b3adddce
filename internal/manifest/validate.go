package manifest

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mode says what a manifest is validated for.
type Mode int

const (
	// Start: a partial manifest that one play lays over its base.
	Start Mode = iota
	// Create: a partial manifest that becomes a playground.
	Create
	// Update: a complete manifest that replaces a playground's.
	Update
	// Effective: what Inherit returns and package plan takes.
	Effective
)

// Validate lists everything wrong with a manifest, reading problems included
// if Parse made it. A manifest that came as JSON gets the same messages
// without places. References to what a partial manifest leaves to its base are
// checked by Inherit.
func Validate(m *Manifest, mode Mode) Problems {
	c := &checker{m: m, mode: mode}
	if m.source == nil {
		// Parse bounds lists as it reads them; JSON comes as it is.
		if path, n := longList(reflect.ValueOf(m.Playground), "playground"); n > 0 {
			c.errorf(path, "take some away", "a list of %d items; none may have more than %d", n, maxItems)
			return c.out
		}
	}
	c.top()
	c.networks()
	c.machines()
	c.addresses()
	c.tabs()
	c.conditions()
	c.tasks()
	c.access()
	if m.source != nil {
		c.out = append(c.out, m.source.problems...)
		c.unknownFields()
	}
	out := c.out.sorted()
	if len(out) > maxProblems {
		severity := Warning
		if c.dropped || (m.source != nil && m.source.dropped) || len(out[maxProblems:].Errors()) > 0 {
			severity = Error
		}
		out = append(out[:maxProblems], Problem{Severity: severity, File: out[0].File, Message: "there are more problems", Fix: "mend these first"})
	}
	return out
}

// longList finds a list or map of more than maxItems; n is 0 if there is none.
func longList(v reflect.Value, path string) (at string, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return longList(v.Elem(), path)
		}
	case reflect.Struct:
		info := fieldsOf(v.Type())
		for _, name := range info.names {
			if at, n := longList(v.Field(info.index[name]), join(path, name)); n > 0 {
				return at, n
			}
		}
	case reflect.Map:
		if v.Len() > maxItems {
			return path, v.Len()
		}
		for _, key := range v.MapKeys() {
			if at, n := longList(v.MapIndex(key), join(path, key.String())); n > 0 {
				return at, n
			}
		}
	case reflect.Slice:
		if v.Len() > maxItems {
			return path, v.Len()
		}
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				if at, n := longList(v.Index(i), index(path, i)); n > 0 {
					return at, n
				}
			}
		}
	}
	return "", 0
}

// maxProblems bounds what a hostile manifest can make labd do and answer.
const maxProblems = 500

// At is a problem at a path of the manifest, for checks made elsewhere.
func (m *Manifest) At(severity Severity, path, message, fix string) Problem {
	p := Problem{Severity: severity, Path: path, Message: message, Fix: fix}
	if m.source != nil {
		at := m.source.find(path)
		p.File, p.Line, p.Column = m.source.file, at.line, at.column
	}
	return p
}

type checker struct {
	m    *Manifest
	mode Mode
	out  Problems
	// explained are unknown fields that a missing field's problem names.
	explained map[string]bool
	// absent are missing fields that were reported: nothing is said about
	// what would be in them.
	absent map[string]bool
	// dropped tells that there were more errors than are listed.
	dropped bool
}

func (c *checker) errorf(path, fix, format string, args ...any) {
	if len(c.out) > maxProblems {
		c.dropped = true
		return
	}
	c.out = append(c.out, c.m.At(Error, path, fmt.Sprintf(format, args...), fix))
}

func (c *checker) warnf(path, fix, format string, args ...any) {
	if len(c.out) > maxProblems {
		return
	}
	c.out = append(c.out, c.m.At(Warning, path, fmt.Sprintf(format, args...), fix))
}

// given tells whether the author wrote something at path. JSON does not tell
// zero from absent.
func (c *checker) given(path string) bool {
	if c.m.source == nil {
		return false
	}
	_, ok := c.m.source.at[path]
	return ok && !c.m.source.isBroken(path)
}

// missing reports a required field. If the author wrote it under another name
// or at another level, the problem stands there and says so.
func (c *checker) missing(path, fix string) {
	if len(c.out) > maxProblems {
		c.dropped = true
		return
	}
	for at := parent(path); at != ""; at = parent(at) {
		if c.absent[at] {
			return
		}
	}
	if c.m.source != nil && c.m.source.isBroken(path) {
		return
	}
	if c.absent == nil {
		c.absent = map[string]bool{}
	}
	c.absent[path] = true
	if c.m.source == nil {
		c.errorf(path, fix, "missing")
		return
	}
	var meant []unknownField
	for _, u := range c.m.source.unknown {
		if u.target == path || strings.HasPrefix(u.target, path+".") {
			meant = append(meant, u)
		}
	}
	if len(meant) == 0 {
		c.errorf(path, fix, "missing")
		return
	}
	if c.explained == nil {
		c.explained = map[string]bool{}
	}
	keys := make([]string, len(meant))
	for i, u := range meant {
		keys[i] = u.key
		c.explained[join(u.path, u.key)] = true
	}
	at := len(c.out)
	c.errorf(path, mend(meant[0], quoteList(keys)), "missing")
	c.out[at].Line, c.out[at].Column = meant[0].node.Line, meant[0].node.Column
}

// mend says how to bring a misnamed or misplaced key where it belongs.
func mend(u unknownField, keys string) string {
	holder, name := parent(u.target), u.target[strings.LastIndexByte(u.target, '.')+1:]
	switch {
	case holder == u.path:
		return fmt.Sprintf("rename %s to %q", keys, name)
	case len(holder) < len(u.path):
		return fmt.Sprintf("move %s to the top level", keys)
	case name == u.key:
		return fmt.Sprintf("indent %s under %q", keys, strings.TrimPrefix(holder[len(u.path):], ".")+":")
	}
	return fmt.Sprintf("write it as %q", strings.TrimPrefix(u.target[len(u.path):], "."))
}

func (c *checker) unknownFields() {
	for _, u := range c.m.source.unknown {
		path := join(u.path, u.key)
		if c.explained[path] {
			continue
		}
		fix := "known here are " + strings.Join(u.known, ", ")
		if u.target != "" {
			fix = mend(u, strconv.Quote(u.key))
		}
		c.out = append(c.out, Problem{
			Severity: Warning, File: c.m.source.file, Path: path, Line: u.node.Line, Column: u.node.Column,
			Message: "unknown field, ignored", Fix: fix,
		})
	}
}

// oneOf reports a value that is not among the choices.
func (c *checker) oneOf(path, value, what string, choices []string) bool {
	if value == "" || slices.Contains(choices, value) {
		return true
	}
	fix := "write " + orList(choices)
	if near := nearest(value, choices); near != "" {
		fix = fmt.Sprintf("write %q (known are %s)", near, strings.Join(choices, ", "))
	}
	c.errorf(path, fix, "%q is not %s", short(value), what)
	return false
}

var (
	hostPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	userPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	notHost     = regexp.MustCompile(`[^a-z0-9]+`)
)

// hostname checks a hostname-like name; what is "a machine name" or the like.
func (c *checker) hostname(path, value, what string) bool {
	if value == "" {
		c.missing(path, "")
		return false
	}
	if hostPattern.MatchString(value) {
		return true
	}
	fix := "use 1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"
	if better := strings.Trim(notHost.ReplaceAllString(strings.ToLower(value), "-"), "-"); hostPattern.MatchString(better) {
		fix = fmt.Sprintf("write %q", better)
	}
	c.errorf(path, fix, "%q is not %s", short(value), what)
	return false
}

// CreateSuffix is what the platform appends to a name on create: a hyphen and
// eight hex digits.
const CreateSuffix = len("-01234567")

func (c *checker) top() {
	m := c.m
	if m.source != nil {
		switch {
		case m.Kind == "":
			c.missing("kind", `write "kind: playground"`)
		case m.Kind != Kind:
			c.errorf("kind", `write "kind: playground"`, "%q is not a kind this reads", short(m.Kind))
		}
		if _, ok := m.source.at["playground"]; !ok {
			c.missing("playground", `put networks, machines and the rest under "playground:"`)
		}
	}
	if m.Name != "" && c.hostname("name", m.Name, "a playground name") && c.mode == Create {
		if most := 63 - CreateSuffix; len(m.Name) > most {
			c.errorf("name", "", "has %d characters; %d are left beside the suffix that is added", len(m.Name), most)
		}
	}
	if m.Title == "" && (c.mode == Create || c.mode == Update) {
		c.missing("title", fmt.Sprintf("give %d to %d characters", MinTitle, MaxTitle))
	}
	c.length("title", m.Title, MinTitle, MaxTitle)
	c.plain("title", m.Title)
	c.length("description", m.Description, 0, MaxDescription)
	c.length("markdown", m.Markdown, 0, MaxMarkdown)
	if m.Categories == nil && c.mode == Update {
		c.missing("categories", `write "categories: []" for none`)
	}
	for i, category := range m.Categories {
		if at := index("categories", i); !slices.Contains(Categories, category) && (m.source == nil || !m.source.isBroken(at)) {
			fix := "known are " + strings.Join(Categories, ", ")
			if near := nearest(category, Categories); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			c.warnf(at, fix, "%q is not a category of the catalog", short(category))
		}
	}
	if auth := m.Playground.RegistryAuth; auth != "" {
		if user, password, ok := strings.Cut(auth, ":"); !ok || user == "" || password == "" || strings.ContainsFunc(auth, unicode.IsControl) {
			// The value is a secret and stays out of the message.
			c.errorf("playground.registryAuth", `write "user:password"`, "not a user and a password")
		}
	}
}

func (c *checker) length(path, value string, least, most int) {
	if value == "" && !c.given(path) {
		return
	}
	n := utf8.RuneCountInString(value)
	if least <= n && n <= most {
		return
	}
	fix := fmt.Sprintf("write %d to %d", least, most)
	if least == 0 {
		fix = fmt.Sprintf("write at most %d", most)
	}
	c.errorf(path, fix, "has %s", plural(n, "character"))
}

// plain checks text that is shown: it may have line ends, as YAML's blocks give
// them, but nothing that moves a cursor.
func (c *checker) plain(path, value string) {
	if strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		c.errorf(path, "write plain text", "%q holds a control character", short(value))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

var principalPattern = regexp.MustCompile(`^(?:owner|anyone|authenticated|(?:user|student):[^\s:]+)$`)

func (c *checker) access() {
	const path = "playground.accessControl"
	required := c.mode == Create || c.mode == Update
	if access := c.m.Playground.Access; access != nil {
		c.errorf("playground.access.mode", `write "private" or "public", or better the three lists of accessControl`, "%q is not an access mode", short(access.Mode))
		return
	}
	access := c.m.Playground.AccessControl
	if access == nil {
		if required {
			c.missing(path, `write "accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}"`)
		}
		return
	}
	for _, list := range []struct {
		name       string
		principals []string
	}{{"canList", access.CanList}, {"canRead", access.CanRead}, {"canStart", access.CanStart}} {
		at := join(path, list.name)
		if len(list.principals) == 0 && required {
			c.missing(at, fmt.Sprintf(`write "%s: [owner]" or more`, list.name))
		}
		for i, principal := range list.principals {
			if !principalPattern.MatchString(principal) {
				c.errorf(index(at, i), "write owner, anyone, authenticated, user:<id> or student:<training>", "%q is not a principal", short(principal))
			}
		}
	}
}
