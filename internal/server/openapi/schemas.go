package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// schemas collects the types of bodies.
type schemas struct {
	reflector *jsonschema.Reflector
	found     map[string]*jsonschema.Schema
	// types are those found, with whether a request's body is one itself.
	types map[string]reflect.Type
	in    map[string]bool
}

func newSchemas(comments map[string]string) *schemas {
	return &schemas{
		reflector: &jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true, CommentMap: comments},
		found:     map[string]*jsonschema.Schema{}, types: map[string]reflect.Type{}, in: map[string]bool{},
	}
}

const inComponents = "#/components/schemas/"

// of returns the schema of a value's type: a reference where it has a name.
func (s *schemas) of(v any, request bool) any {
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Slice {
		return object{"type": "array", "items": s.of(reflect.Zero(t.Elem()).Interface(), request)}
	}
	if t.Name() == "" {
		return object{"type": "object"} // struct{}{}, or a map
	}
	root := s.reflector.ReflectFromType(t)
	for name, schema := range root.Definitions {
		s.found[name] = schema
	}
	s.visit(t)
	if request {
		s.in[t.Name()] = true
	}
	return object{"$ref": inComponents + t.Name()}
}

// visit notes every struct that a type contains.
func (s *schemas) visit(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		s.visit(t.Elem())
	case reflect.Struct:
		if s.types[t.Name()] == nil {
			s.types[t.Name()] = t
			for i := range t.NumField() {
				s.visit(t.Field(i).Type)
			}
		}
	}
}

// definitions are all types found, as OpenAPI wants them.
func (s *schemas) definitions() (object, error) {
	all := object{}
	for name, schema := range s.found {
		raw, err := json.Marshal(schema)
		if err != nil {
			return nil, fmt.Errorf("cannot describe type %s: %w", name, err)
		}
		raw = []byte(strings.ReplaceAll(string(raw), "#/$defs/", inComponents))
		var o object
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, err
		}
		if t := s.types[name]; t != nil {
			properties, _ := o["properties"].(object)
			nullable(t, properties)
			if s.in[name] {
				delete(o, "required")
				if must := required(t); len(must) > 0 {
					o["required"] = must
				}
			}
		}
		all[name] = o
	}
	return all, nil
}

// nullable lets fields be null that Go writes so: absent pointers, lists and
// maps without omitempty.
func nullable(t reflect.Type, properties object) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			nullable(f.Type, properties)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		property, ok := properties[name].(object)
		_, marshals := f.Type.MethodByName("MarshalJSON")
		if !ok || marshals || strings.Contains(options, "omit") {
			continue
		}
		switch f.Type.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if kind, ok := property["type"].(string); ok {
				property["type"] = []string{kind, "null"}
				continue
			}
			wrapped := object{"anyOf": []any{object{"$ref": property["$ref"]}, object{"type": "null"}}}
			if d, ok := property["description"]; ok {
				wrapped["description"] = d
			}
			properties[name] = wrapped
		}
	}
}

// required are the fields a request must have: a missing one has Go's zero
// value, so only those that say so.
func required(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, required(f.Type)...)
		} else if f.Tag.Get("jsonschema") == "required" {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
