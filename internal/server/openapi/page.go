package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"typeOf": typeOf, "upper": strings.ToUpper, "join": strings.Join,
}).Parse(pageHTML))

// document is the part of a document that the page shows.
type document struct {
	Info struct{ Title, Version, Description string }
	// Paths is path → method → operation.
	Paths      map[string]map[string]operation
	Components struct {
		Schemas         map[string]schema
		SecuritySchemes map[string]struct{ Description string }
	}
}

type operation struct {
	OperationID, Summary string
	Tags                 []string
	Security             []map[string][]string
	Parameters           []struct {
		Name, In, Description string
	}
	RequestBody struct{ Content map[string]media }
	Responses   map[string]struct{ Content map[string]media }
}

type media struct{ Schema schema }

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Description          string
	Items                *schema
	AnyOf                []schema
	Properties           map[string]schema
	Required             []string
	AdditionalProperties any
}

// Page shows a document: HTML that loads nothing, from nowhere.
func Page(doc []byte) ([]byte, error) {
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("cannot read the API's document: %w", err)
	}
	type row struct {
		Method, Path string
		Op           operation
		In, Out      []schema
		WebSocket    bool
	}
	groups := map[string][]row{}
	for _, path := range sortedKeys(d.Paths) {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			op, ok := d.Paths[path][method]
			if !ok {
				continue
			}
			r := row{Method: method, Path: path, Op: op}
			_, r.WebSocket = op.Responses["101"]
			for _, m := range op.RequestBody.Content {
				r.In = append(r.In, m.Schema)
			}
			for _, kind := range sortedKeys(op.Responses["200"].Content) {
				r.Out = append(r.Out, op.Responses["200"].Content[kind].Schema)
			}
			groups[op.Tags[0]] = append(groups[op.Tags[0]], r)
		}
	}
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Info": d.Info, "Groups": groups, "Schemas": d.Components.Schemas, "Security": d.Components.SecuritySchemes,
	})
	return b.Bytes(), err
}

// typeOf shows a schema in few words, with links to those that have a name.
func typeOf(s schema) template.HTML {
	link := func(name string) string {
		return fmt.Sprintf(`<a href="#type-%[1]s">%[1]s</a>`, template.HTMLEscapeString(name))
	}
	var of func(s schema) string
	of = func(s schema) string {
		kinds := []string{}
		switch t := s.Type.(type) {
		case string:
			kinds = append(kinds, t)
		case []any:
			for _, k := range t {
				kinds = append(kinds, fmt.Sprint(k))
			}
		}
		switch {
		case s.Ref != "":
			return link(s.Ref[strings.LastIndexByte(s.Ref, '/')+1:])
		case len(s.AnyOf) > 0:
			var parts []string
			for _, a := range s.AnyOf {
				parts = append(parts, of(a))
			}
			return strings.Join(parts, " or ")
		case slices.Contains(kinds, "array") && s.Items != nil:
			kinds[slices.Index(kinds, "array")] = "list of " + of(*s.Items)
			return strings.Join(kinds, " or ")
		}
		if values, ok := s.AdditionalProperties.(map[string]any); ok {
			raw, _ := json.Marshal(values)
			var v schema
			if json.Unmarshal(raw, &v) == nil {
				return "map of " + of(v)
			}
		}
		return template.HTMLEscapeString(strings.Join(kinds, " or "))
	}
	return template.HTML(of(s)) //nolint:gosec // every part is escaped above
}
