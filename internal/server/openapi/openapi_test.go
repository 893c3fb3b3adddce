package openapi

import (
	"encoding/json"
	"strings"
	"testing"
)

type part struct {
	A string   `json:"a"`
	B []string `json:"b"`
	C *part    `json:"c"`
	D []part   `json:"d,omitempty"`
}

type request struct {
	Name string `json:"name" jsonschema:"required"`
	More int    `json:"more"`
	part
}

type refusal struct {
	Error string `json:"error"`
}

func built(t *testing.T) (doc []byte, o struct {
	Paths      map[string]map[string]any
	Components struct{ Schemas map[string]map[string]any }
}) {
	t.Helper()
	doc, err := Build(Info{Title: "T <b>", Version: "1", Refusal: refusal{}, Security: map[string]any{"basic": object{"type": "http", "scheme": "basic", "description": "a session"}}},
		[]Operation{
			{Method: "GET", Path: "/api/things/{name}", Tag: "things", Summary: "One <thing>", Security: "basic", Out: []any{part{}}, Query: map[string]string{"all": "also hidden"}},
			{Method: "POST", Path: "/api/things", Tag: "things", Summary: "Make one", In: request{}, Out: []any{[]part{}, refusal{}}},
			{Method: "GET", Path: "/t/{rest...}", Tag: "t", Summary: "Socket", WebSocket: true},
			{Method: "GET", Path: "/text", Tag: "t", Summary: "Text", Out: []any{"text/plain"}},
		}, map[string]string{"sandlot/internal/server/openapi.part": "A part."})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, &o); err != nil {
		t.Fatal(err)
	}
	return doc, o
}

func TestBuild(t *testing.T) {
	_, o := built(t)
	for _, path := range []string{"/api/things/{name}", "/api/things", "/t/{rest}", "/text"} {
		if o.Paths[path] == nil {
			t.Errorf("no path %s in %v", path, o.Paths)
		}
	}
	text := func(v any) string {
		raw, _ := json.Marshal(v)
		return string(raw)
	}
	for _, c := range []struct{ what, got, want string }{
		{"required of a request", text(o.Components.Schemas["request"]["required"]), `["name"]`},
		{"required of a reply", text(o.Components.Schemas["part"]["required"]), `["a","b","c"]`},
		{"a list that may be null", text(o.Components.Schemas["part"]["properties"].(map[string]any)["b"]), `{"items":{"type":"string"},"type":["array","null"]}`},
		{"a pointer", text(o.Components.Schemas["part"]["properties"].(map[string]any)["c"]), `{"anyOf":[{"$ref":"#/components/schemas/part"},{"type":"null"}]}`},
		{"omitted when empty", text(o.Components.Schemas["part"]["properties"].(map[string]any)["d"]), `{"items":{"$ref":"#/components/schemas/part"},"type":"array"}`},
		{"description", text(o.Components.Schemas["part"]["description"]), `"A part."`},
		{"socket", text(o.Paths["/t/{rest}"]["get"].(map[string]any)["responses"].(map[string]any)["200"]), "null"},
		{"id", text(o.Paths["/api/things/{name}"]["get"].(map[string]any)["operationId"]), `"getThingsByName"`},
		{"two kinds of replies", text(o.Paths["/api/things"]["post"].(map[string]any)["responses"].(map[string]any)["200"].(map[string]any)["content"]),
			`{"application/json":{"schema":{"anyOf":[{"items":{"$ref":"#/components/schemas/part"},"type":"array"},{"$ref":"#/components/schemas/refusal"}]}}}`},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

// The page loads nothing and runs nothing.
func TestPage(t *testing.T) {
	doc, _ := built(t)
	html, err := Page(doc)
	if err != nil {
		t.Fatal(err)
	}
	got := string(html)
	for _, want := range []string{"T &lt;b&gt;", "One &lt;thing&gt;", `<a href="#type-part">part</a>`, "list of", "a WebSocket", "A part."} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
	for _, bad := range []string{"<script", "src=", "http://", "https://", "url(", "@import"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if _, err := Page([]byte("{")); err == nil {
		t.Error("no error for a broken document")
	}
}
