package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema (draft 2020-12) of what an author writes, made from
// the types that are read and the patterns, choices and limits that validate
// them. It refuses nothing that Parse takes without an error; references,
// sums and collisions are beyond it. Unknown fields are allowed, as they are
// warnings here.
func Schema() ([]byte, error) {
	reflector := jsonschema.Reflector{
		FieldNameTag: "yaml", DoNotReference: true, Anonymous: true,
		AllowAdditionalProperties: true, RequiredFromJSONSchemaTags: true,
	}
	root := reflector.ReflectFromType(reflect.TypeFor[Manifest]())
	refine(reflect.TypeFor[Manifest](), root)
	root.Title = "Sandlot playground manifest"
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot print the schema: %v", err)
	}
	return append(out, '\n'), nil
}

// fieldRule completes what reflection tells of a field.
type fieldRule struct {
	about    string // one line, for editors
	required bool
	set      func(*jsonschema.Schema)
}

// refine gives every field of typ its rule, down to the leaves.
func refine(typ reflect.Type, s *jsonschema.Schema) {
	switch typ.Kind() {
	case reflect.Pointer:
		refine(typ.Elem(), s)
	case reflect.Slice:
		refine(typ.Elem(), s.Items)
		s.MaxItems = count(maxItems)
	case reflect.Map:
		refine(typ.Elem(), s.AdditionalProperties)
		s.PatternProperties = nil
	case reflect.String:
		// Any scalar is text: `source: 6.1` and `mode: 0644`.
		types(s, "string", "number", "boolean")
	case reflect.Bool:
		s.Type = ""
		s.AnyOf = []*jsonschema.Schema{{Type: "boolean"}, {Enum: truthWords()}}
	case reflect.Struct:
		for _, name := range fieldsOf(typ).names {
			field, _ := s.Properties.Get(name)
			refine(typ.Field(fieldsOf(typ).index[name]).Type, field)
			rule := fieldRules[typ.Name()+"."+name]
			field.Description = rule.about
			if rule.set != nil {
				rule.set(field)
			}
			if rule.required {
				s.Required = append(s.Required, name)
				continue
			}
			s.Properties.Set(name, orNothing(field))
		}
		if set := typeRules[typ]; set != nil {
			set(s)
		}
	}
}

// orNothing allows what means "absent": null, and "" where text stands.
func orNothing(s *jsonschema.Schema) *jsonschema.Schema {
	nothing := &jsonschema.Schema{Type: "null"}
	if types, ok := s.Extras["type"].([]string); ok && types[0] == "string" && s.MinLength == nil {
		nothing = &jsonschema.Schema{Enum: []any{"", nil}}
		if s.Pattern == "" && s.Enum == nil {
			types = append(types, "null")
			s.Extras["type"] = types
			return s
		}
	}
	about := s.Description
	s.Description = ""
	return &jsonschema.Schema{Description: about, AnyOf: []*jsonschema.Schema{s, nothing}}
}

func types(s *jsonschema.Schema, names ...string) {
	s.Type = ""
	s.Extras = map[string]any{"type": names}
}

func truthWords() []any {
	var words []any
	for _, word := range []string{"yes", "Yes", "YES", "on", "On", "ON", "no", "No", "NO", "off", "Off", "OFF"} {
		if _, ok := truths[word]; ok {
			words = append(words, word)
		}
	}
	return words
}

func pattern(res ...*regexp.Regexp) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Pattern = eitherPattern(res...) }
}

// quoted is a pattern that no number and no truth value fits.
func quoted(res ...*regexp.Regexp) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		types(s, "string")
		pattern(res...)(s)
	}
}

func eitherPattern(res ...*regexp.Regexp) string {
	parts := make([]string, len(res))
	for i, re := range res {
		parts[i] = re.String()
	}
	return strings.Join(parts, "|")
}

func choices(list []string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		for _, choice := range list {
			s.Enum = append(s.Enum, choice)
		}
	}
}

func characters(least, most int) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		if least > 0 {
			s.MinLength = count(least)
		}
		s.MaxLength = count(most)
	}
}

func items(least, most int) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		if least > 0 {
			s.MinItems = count(least)
		}
		s.MaxItems = count(most)
	}
}

func between(least, most int) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		s.Minimum, s.Maximum = json.Number(strconv.Itoa(least)), json.Number(strconv.Itoa(most))
	}
}

func both(first, second func(*jsonschema.Schema)) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		first(s)
		second(s)
	}
}

// plainText may have line ends and tabs, but no other control characters.
func plainText(s *jsonschema.Schema) { s.Pattern = `^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$` }

func each(set func(*jsonschema.Schema)) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { set(s.Items) }
}

func count(n int) *uint64 {
	u := uint64(max(n, 0))
	return &u
}

// having is a schema for objects that have the fields named.
func having(names ...string) *jsonschema.Schema { return &jsonschema.Schema{Required: names} }

// with is a schema for objects in which field fits s.
func with(field string, s *jsonschema.Schema) *jsonschema.Schema {
	out := having(field)
	out.Properties = jsonschema.NewProperties()
	out.Properties.Set(field, s)
	return out
}

// oneRoot: exactly one drive is mounted at /.
func oneRoot(s *jsonschema.Schema) {
	items(1, MaxDrives)(s)
	s.Contains = with("mount", &jsonschema.Schema{Const: "/"})
	s.MinContains, s.MaxContains = count(1), count(1)
}

// oneDefault: at most one user is the default.
func oneDefault(s *jsonschema.Schema) {
	items(1, maxItems)(s)
	s.Contains = with("default", &jsonschema.Schema{Const: true})
	s.MinContains, s.MaxContains = count(0), count(1)
}

// typeRules are what holds between the fields of a type.
var typeRules = map[reflect.Type]func(*jsonschema.Schema){
	// The legacy form of a kernel is its version alone.
	reflect.TypeFor[Kernel](): func(s *jsonschema.Schema) {
		object := *s
		*s = jsonschema.Schema{AnyOf: []*jsonschema.Schema{&object, {Pattern: kernelPattern.String(), Extras: map[string]any{"type": []string{"string", "number"}}}}}
	},
	reflect.TypeFor[Drive](): func(s *jsonschema.Schema) {
		s.If, s.Then = with("mount", &jsonschema.Schema{Const: "/"}), having("source")
	},
	reflect.TypeFor[Tab](): func(s *jsonschema.Schema) {
		needs := func(kind string, fields ...string) *jsonschema.Schema {
			return &jsonschema.Schema{If: with("kind", &jsonschema.Schema{Const: kind}), Then: having(fields...)}
		}
		s.AllOf = []*jsonschema.Schema{needs("http-port", "name", "number"), needs("web-page", "name", "url")}
	},
}

// fieldRules has every field of every type, as the tests check.
var fieldRules = map[string]fieldRule{
	"Manifest.kind":        {"Always playground.", true, func(s *jsonschema.Schema) { s.Const = Kind }},
	"Manifest.name":        {"Name of the playground, hostname-like.", false, pattern(hostPattern)},
	"Manifest.base":        {"The playground this one derives from; flexbox is the blank one.", false, nil},
	"Manifest.title":       {"Title of the card.", false, both(characters(MinTitle, MaxTitle), plainText)},
	"Manifest.description": {"One paragraph for the card.", false, characters(0, MaxDescription)},
	"Manifest.categories":  {"Categories of the catalog: " + strings.Join(Categories, ", ") + ".", false, nil},
	"Manifest.markdown":    {"The landing page.", false, characters(0, MaxMarkdown)},
	"Manifest.cover":       {"Address of an image.", false, nil},
	"Manifest.playground":  {"Networks, machines and the rest.", true, nil},

	"Playground.networks":       {"Absent: those of the base.", false, items(0, MaxNetworks)},
	"Playground.machines":       {"Absent: those of the base.", false, items(1, MaxMachines)},
	"Playground.tabs":           {"Absent: an IDE and a terminal for each machine.", false, items(0, MaxTabs)},
	"Playground.initTasks":      {"Tasks by name.", false, taskNames},
	"Playground.initConditions": {"Choices that a person makes at the start.", false, nil},
	"Playground.registryAuth":   {"user:password of the play's container registry.", false, quoted(authPattern)},
	"Playground.portForwards":   {"Ports that the client forwards.", false, nil},
	"Playground.accessControl":  {"Who may list, read and start it. Needed on create and update.", false, nil},
	"Playground.access":         {"Old form of accessControl.", false, func(s *jsonschema.Schema) { s.Deprecated = true }},

	"Network.name":    {"Hostname-like, unique.", true, pattern(hostPattern)},
	"Network.subnet":  {"IPv4 subnet, like " + DefaultSubnet + ".", true, quoted(cidrPattern)},
	"Network.gateway": {"Default: the first free address of the subnet.", false, quoted(addressPattern)},
	"Network.private": {"No NAT, no default route.", false, nil},

	"Machine.name":         {"Hostname and DNS name, unique.", true, pattern(hostPattern)},
	"Machine.users":        {"Accounts of the image; root is always there.", true, oneDefault},
	"Machine.backend":      {"Default: what the host has.", false, choices(Backends)},
	"Machine.kernel":       {"Default: " + DefaultKernel + ".", false, nil},
	"Machine.drives":       {"/dev/vda, /dev/vdb, … in list order.", true, oneRoot},
	"Machine.network":      {"The machine's side of the networks.", true, nil},
	"Machine.resources":    {"Default: what is left.", false, nil},
	"Machine.startupFiles": {"Written before any login.", false, items(0, MaxStartupFiles)},
	"Machine.noSSH":        {"No SSH, no terminal.", false, nil},

	"User.name":    {"An account of the image.", true, pattern(userPattern)},
	"User.default": {"Terminals log in as this one; default: the first.", false, nil},
	"User.welcome": {`Banner of a login; "-" for none.`, false, nil},

	"Kernel.source":   {"A version of the kernel store.", false, pattern(kernelPattern)},
	"Kernel.snapshot": {"In dumps only.", false, nil},

	"Drive.source":     {"A named image, or oci://registry/repo[:tag][@digest]; absent: a blank drive.", false, pattern(imagePattern, ociSourcePattern)},
	"Drive.mount":      {"Where it is mounted; exactly one drive has /.", false, mountRule},
	"Drive.size":       {"From " + FormatSize(MinDrive) + " to " + FormatSize(MaxDrive) + "; default: the base's or " + DefaultDriveSize + ".", false, quoted(sizePattern)},
	"Drive.filesystem": {"Of a blank drive; default: " + DefaultFilesystem + " if it is mounted.", false, choices(Filesystems)},
	"Drive.readOnly":   {"Attached read-only.", false, nil},
	"Drive.persistent": {"Kept for compatibility.", false, nil},
	"Drive.snapshot":   {"In dumps only.", false, nil},

	"Snapshot.id":      {"In dumps only.", false, nil},
	"Snapshot.leaseId": {"In dumps only.", false, nil},

	"MachineNetwork.interfaces": {"eth0, eth1, … in list order.", true, items(1, MaxInterfaces)},
	"Interface.network":         {"Name of a network; needed on the first interface.", false, nil},
	"Interface.address":         {"Static IPv4 address, with or without mask; default: the first free one.", false, quoted(addressPattern, cidrPattern)},

	"Resources.cpuCount": {"Default: automatic.", false, between(1, MaxCPUs)},
	"Resources.ramSize":  {"Like 2GiB; default: automatic.", false, quoted(sizePattern)},

	"StartupFile.path":    {"Absolute path; folders are made.", true, fileRule},
	"StartupFile.content": {"What the file holds.", false, nil},
	"StartupFile.append":  {"Add to the file that is there.", false, nil},
	"StartupFile.owner":   {"user, user:group or numbers; default 0:0.", false, pattern(ownerPattern)},
	"StartupFile.mode":    {"Octal digits; default 644.", false, pattern(modePattern)},

	"Tab.id":          {"Unique; default <kind>-<machine>.", false, plainText},
	"Tab.kind":        {"Default: terminal.", false, choices(TabKinds)},
	"Tab.name":        {"Needed for http-port and web-page.", false, plainText},
	"Tab.machine":     {"Default: the first machine.", false, nil},
	"Tab.number":      {"The port, for http-port.", false, nil},
	"Tab.access":      {"Of http-port; default: private.", false, choices(Accesses)},
	"Tab.tls":         {"The application speaks HTTPS.", false, nil},
	"Tab.hostRewrite": {"Host header that the application sees.", false, pattern(hostRewritePattern)},
	"Tab.pathRewrite": {"Path that the application sees.", false, pattern(pathRewritePattern)},
	"Tab.url":         {"Of a web-page.", false, nil},
	"Tab.pane":        {"Side of the page.", false, choices(Panes)},

	"InitTask.name":            {"The same as its key.", false, nil},
	"InitTask.init":            {"Runs once, before the play is handed over.", false, nil},
	"InitTask.machine":         {"Where it runs; needed if there are several machines.", false, nil},
	"InitTask.user":            {"Default: root.", false, pattern(userPattern)},
	"InitTask.needs":           {"Tasks that must complete first.", false, each(pattern(taskPattern))},
	"InitTask.run":             {"A bash script.", true, func(s *jsonschema.Schema) { s.Pattern = `\S` }},
	"InitTask.timeout_seconds": {"Default: " + strconv.Itoa(DefaultTimeoutSeconds) + ".", false, between(1, MaxTimeout)},
	"InitTask.conditions":      {"It runs only if all match the chosen values.", false, nil},
	"InitTask.status":          {"In dumps only.", false, nil},

	"Condition.key":   {"Key of an init condition.", true, text1},
	"Condition.value": {"Value it must have.", false, nil},

	"InitConditions.values":         {"The choices.", false, items(0, MaxConditions)},
	"InitCondition.key":             {"Name of the choice.", true, both(text1, plainText)},
	"InitCondition.default":         {"Taken if none is given.", false, plainText},
	"InitCondition.options":         {"What may be chosen.", false, both(each(plainText), func(s *jsonschema.Schema) { s.UniqueItems = true })},
	"InitCondition.nullable":        {"May stay empty.", false, nil},
	"InitCondition.placeholder":     {"Shown in the empty field.", false, plainText},
	"InitCondition.validationRegex": {"RE2 expression that a value must match.", false, characters(0, MaxRegex)},

	"PortForward.kind":       {"Kept for the client.", false, nil},
	"PortForward.machine":    {"Kept for the client.", false, nil},
	"PortForward.localHost":  {"Kept for the client.", false, nil},
	"PortForward.localPort":  {"Kept for the client.", false, nil},
	"PortForward.remotePort": {"Kept for the client.", false, nil},
	"PortForward.remoteHost": {"Kept for the client.", false, nil},

	"AccessControl.canList":  {"Catalog and search.", false, each(pattern(principalPattern))},
	"AccessControl.canRead":  {"Landing page and manifest.", false, each(pattern(principalPattern))},
	"AccessControl.canStart": {"Starting.", false, each(pattern(principalPattern))},
	"Access.mode":            {"private or public.", true, choices(AccessModes)},
}

func text1(s *jsonschema.Schema) { s.MinLength = count(1) }

func taskNames(s *jsonschema.Schema) {
	s.PropertyNames = &jsonschema.Schema{Pattern: taskPattern.String()}
	s.MaxProperties = count(MaxTasks)
}

func mountRule(s *jsonschema.Schema) {
	types(s, "string")
	s.Pattern = `^/[^\s\\]*$`
	s.Not = &jsonschema.Schema{Pattern: notPlain + `|^(?:` + strings.Join(systemDirs, "|") + `)(?:/|$)|^(?:` + strings.Join(bootDirs, "|") + `)$`}
}

func fileRule(s *jsonschema.Schema) {
	types(s, "string")
	s.Pattern = `^/[^\x00-\x1f\x7f]+$`
	s.Not = &jsonschema.Schema{Pattern: notPlain + `|^/(?:proc|sys|dev)(?:/|$)`}
}

// notPlain matches absolute paths that path.Clean would change.
const notPlain = `//|/\.\.?(?:/|$)|./$`

// What the schema says of values that package netip and others check.
var (
	addressPattern   = regexp.MustCompile(`^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$`)
	cidrPattern      = regexp.MustCompile(`^[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}$`)
	authPattern      = regexp.MustCompile(`^[^:\x00-\x1f]+:[^\x00-\x1f]+$`)
	ociSourcePattern = regexp.MustCompile(strings.Replace(ociPattern.String(), "^", "^oci://", 1))
)
