package api

import _ "embed"

// OpenAPI is the OpenAPI 3.1 document of the API, as labd serves it. It is
// generated from the server's routes and the types of this package; after a
// change of either, run
//
//	go test ./internal/server -run OpenAPI -update
//
//go:embed openapi.json
var OpenAPI []byte
