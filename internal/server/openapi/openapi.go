// Package openapi describes an HTTP API for programs and people. In go the
// routes with the Go types of their bodies, out comes an OpenAPI 3.1 document;
// in goes such a document, out comes a page that shows it.
package openapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// Operation is one route.
type Operation struct {
	Method, Path string // Path as net/http's patterns write it: /plays/{id}
	Tag, Summary string
	// Security names the scheme that opens it; "" means none, Optional that
	// "session" shows more.
	Security string
	// Query are the parameters by name, with what they mean.
	Query map[string]string
	// In is a value of the body's type, nil without one.
	In any
	// Out are values of the types a reply may have. A string stands for text
	// of that media type, Redirect for none.
	Out []any
	// WebSocket routes have no reply but an upgrade.
	WebSocket bool
}

// Redirect is the reply of a route that leads browsers on.
type Redirect struct{}

// Optional is the Security of routes that may be signed in to.
const Optional = "optional"

// Info heads a document.
type Info struct {
	Title, Version, Description string
	// Security describes the schemes that operations name.
	Security map[string]any
	// Refusal is a value of the type of every refusal.
	Refusal any
}

type object = map[string]any

// Build makes a document. comments gives types and fields their descriptions;
// it may be nil.
func Build(info Info, operations []Operation, comments map[string]string) ([]byte, error) {
	s := newSchemas(comments)
	paths := object{}
	for _, op := range operations {
		path := tail.ReplaceAllString(op.Path, "}")
		item, _ := paths[path].(object)
		if item == nil {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(op.Method)] = s.operation(op, path)
	}
	refusal := object{
		"description": "A refusal: JSON to clients that accept it, else text for a person.",
		"content": object{
			"application/json": object{"schema": s.of(info.Refusal, false)},
			"text/plain":       object{"schema": object{"type": "string"}},
		},
	}
	schemas, err := s.definitions()
	if err != nil {
		return nil, err
	}
	doc, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info":    object{"title": info.Title, "version": info.Version, "description": info.Description},
		"paths":   paths,
		"components": object{
			"schemas":         schemas,
			"securitySchemes": info.Security,
			"responses":       object{"Refusal": refusal},
		},
	}, "", "  ")
	return append(doc, '\n'), err
}

var (
	parameter = regexp.MustCompile(`\{([a-zA-Z]+)(\.\.\.)?\}`)
	tail      = regexp.MustCompile(`\.\.\.\}`)
)

func (s *schemas) operation(op Operation, path string) object {
	o := object{
		"operationId": operationID(op), "summary": op.Summary, "tags": []string{op.Tag},
		"security": []any{},
	}
	switch op.Security {
	case "":
	case Optional:
		o["security"] = []any{object{}, object{"session": []string{}}}
	default:
		o["security"] = []any{object{op.Security: []string{}}}
	}
	parameters := []any{}
	for _, m := range parameter.FindAllStringSubmatch(op.Path, -1) {
		schema := object{"type": "string"}
		if strings.HasPrefix(path, "/api/plays/{id}") && m[1] == "id" {
			schema["pattern"] = "^[0-9a-f]{24}$"
		}
		parameters = append(parameters, object{"name": m[1], "in": "path", "required": true, "schema": schema})
	}
	for _, name := range sortedKeys(op.Query) {
		parameters = append(parameters, object{"name": name, "in": "query", "description": op.Query[name], "schema": object{"type": "string"}})
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if op.In != nil {
		o["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(op.In, true)}}}
	}
	responses := object{"default": object{"$ref": "#/components/responses/Refusal"}}
	if op.WebSocket {
		responses["101"] = object{"description": "The connection becomes a WebSocket."}
	} else if content := s.content(op.Out); len(content) > 0 {
		responses["200"] = object{"description": op.Summary, "content": content}
	}
	if slices.Contains(op.Out, any(Redirect{})) {
		responses["303"] = object{
			"description": op.Summary,
			"headers":     object{"Location": object{"required": true, "schema": object{"type": "string"}}},
		}
	}
	o["responses"] = responses
	return o
}

func (s *schemas) content(out []any) object {
	content := object{}
	var of []any
	for _, v := range out {
		if mediaType, ok := v.(string); ok {
			content[mediaType] = object{"schema": object{"type": "string"}}
			continue
		}
		if _, ok := v.(Redirect); ok {
			continue
		}
		of = append(of, s.of(v, false))
	}
	switch len(of) {
	case 0:
	case 1:
		content["application/json"] = object{"schema": of[0]}
	default:
		content["application/json"] = object{"schema": object{"anyOf": of}}
	}
	return content
}

// operationID is like "postPlaysActions".
func operationID(op Operation) string {
	id := strings.ToLower(op.Method)
	for part := range strings.FieldsFuncSeq(op.Path, func(r rune) bool { return strings.ContainsRune("/-._", r) }) {
		if part == "api" {
			continue
		}
		by := ""
		if strings.HasPrefix(part, "{") {
			by, part = "By", strings.Trim(part, "{}")
		}
		id += by + strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Comments reads what the source of a package says about its types and fields;
// path is the package's folder below the working directory, and its import
// path below module.
func Comments(module, path string) (map[string]string, error) {
	r := jsonschema.Reflector{}
	if err := r.AddGoComments(module, path, jsonschema.WithFullComment()); err != nil {
		return nil, fmt.Errorf("cannot read comments of %q: %w", path, err)
	}
	for key, text := range r.CommentMap {
		r.CommentMap[key] = strings.Join(strings.Fields(text), " ")
	}
	return r.CommentMap, nil
}
