package server

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/server/openapi"
)

const documentFile = "../../api/openapi.json"

// document is made from the route table and the types of package api.
func document(t *testing.T) []byte {
	t.Helper()
	var operations []openapi.Operation
	for _, rt := range routes {
		op := openapi.Operation{
			Method: rt.method, Path: rt.path, Summary: rt.about.summary, Tag: tagOf(rt.path),
			Query: rt.about.query, In: rt.about.in, Out: rt.about.out, WebSocket: rt.raw != nil && rt.about.out == nil,
		}
		switch {
		case rt.access.signedIn() || rt.access == session:
			op.Security = "session"
		case rt.access == visitor:
			op.Security = "optional"
		case rt.access == ticket:
			op.Security = "ticket"
		}
		operations = append(operations, op)
	}
	t.Chdir(filepath.Join("..", ".."))
	comments, err := openapi.Comments("sandlot", "api")
	if err != nil {
		t.Fatal(err)
	}
	own, err := openapi.Comments("sandlot", "internal/server")
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range own {
		comments[key] = text
	}
	doc, err := openapi.Build(openapi.Info{
		Title: "labd", Version: "1",
		Description: "The API of labd: playgrounds, plays and the ways into their machines. docs/api.md tells it in prose.",
		Refusal:     api.Error{},
		Security: map[string]any{
			"session": map[string]any{"type": "http", "scheme": "basic", "description": "Session id and token, as labctl auth login keeps them."},
			"ticket":  map[string]any{"type": "apiKey", "in": "cookie", "name": api.TunnelCookie, "description": "The URL holds a credential, or a tunnel's login has set this cookie."},
		},
	}, operations, comments)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// tagOf groups routes by the first word of their path.
func tagOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, "/api"), "/"), "/")
	switch first {
	case "healthz", "readyz", "metrics", "openapi.json", "docs":
		return "labd"
	case "sessions", "auth", "account", "oauth", "audit", "admin":
		return "users"
	case "sources", "kernels", "bases":
		return "references"
	case "conns", "t", "terminals", "journals":
		return "plays"
	}
	return first
}

// A change of the API is a visible diff.
func TestOpenAPISnapshot(t *testing.T) {
	file, err := filepath.Abs(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	doc := document(t)
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(doc, api.OpenAPI) {
		t.Errorf("%s is not what the routes and types say: go test ./internal/server -run OpenAPI -update, and look at the diff", file)
	}
}
