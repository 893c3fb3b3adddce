package manifest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"sandlot/internal/labtest"
)

// compiled is the schema as another program reads it.
func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("manifest.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// plainJSON is a YAML document as editors see it.
func plainJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = plainJSON(value)
		}
		return v
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[fmt.Sprint(key)] = plainJSON(value)
		}
		return out
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
		return v
	case nil, bool, string, int, float64:
		return v
	}
	return fmt.Sprint(v)
}

func TestSchemaIsGolden(t *testing.T) {
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	labtest.Golden(t, "schema.json", string(raw))
}

func TestEveryFieldHasARule(t *testing.T) {
	known := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(typ.Elem())
		case reflect.Struct:
			for _, name := range fieldsOf(typ).names {
				known[typ.Name()+"."+name] = true
				if fieldRules[typ.Name()+"."+name].about == "" {
					t.Errorf("the schema says nothing of %s.%s", typ.Name(), name)
				}
				walk(typ.Field(fieldsOf(typ).index[name]).Type)
			}
		}
	}
	walk(reflect.TypeFor[Manifest]())
	for name := range fieldRules {
		if !known[name] {
			t.Errorf("there is no field %s", name)
		}
	}
}

func TestManifestsInTheTreeConform(t *testing.T) {
	schema := compiled(t)
	var files []string
	for _, folder := range []string{"examples", "playgrounds"} {
		found, err := filepath.Glob("../../" + folder + "/*.yaml")
		if err != nil || len(found) == 0 {
			t.Fatalf("no manifests in %s: %v", folder, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(plainJSON(doc)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// beyond are the errors that a schema cannot express: what compares two
// places, adds up, or computes with addresses; and what is no JSON at all.
var beyond = regexp.MustCompile(`is also |makes a file|is mounted|no network "|no machine "|no task "|no init condition "|overlaps |outside |taken twice|together, above|` +
	`in a circle|has room for|itself; |broadcast|not that of network|below the least|above the most|too little|too much|duplicate key|` +
	`is not an option|does not match|both the default|appears in dumps|not IPv4|too big a subnet|is the loopback|means this host|link-local|traffic between|multicast|` +
	`not a regular|repeats too|means the machine itself|cannot be formatted|not a web address|is not a port|no drive is the root|machine: missing|network: missing|` +
	`instead of none|on create|on update|binary data|"1_000" is|"999999999TiB"|"4294967295"`)

// agrees: what is refused here is refused by the schema, as far as one can say
// it; and what is accepted here is accepted by the schema. It tells whether
// the schema refused.
func agrees(t *testing.T, schema *jsonschema.Schema, c problemCase) bool {
	t.Helper()
	m, problems := Parse("lab.yaml", []byte(c.text))
	var doc any
	if m == nil || yaml.Unmarshal([]byte(c.text), &doc) != nil {
		return false
	}
	err := schema.Validate(plainJSON(doc))
	expressible := false
	for _, p := range problems.Errors() {
		expressible = expressible || !beyond.MatchString(p.String())
	}
	switch {
	case err == nil && expressible:
		t.Errorf("%s: the schema accepts what is refused with\n%s", c.name, problems.Errors())
	case err != nil && len(problems.Errors()) == 0:
		t.Errorf("%s: the schema refuses what is accepted: %v", c.name, err)
	}
	return err != nil
}

func TestSchemaAgrees(t *testing.T) {
	schema := compiled(t)
	var cases []problemCase
	for _, from := range []func(testing.TB) []problemCase{fieldCases, seenCases, taskCases, conditionCases, limitCases} {
		cases = append(cases, from(t)...)
	}
	cases = append(cases, problemCase{name: "sound", text: sound})
	refused := 0
	for _, c := range cases {
		if agrees(t, schema, c) {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("the schema refused only %d of %d manifests", refused, len(cases))
	}
}
