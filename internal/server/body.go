package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"reflect"
	"time"

	"sandlot/api"
)

// maxBody bounds a request: a manifest is at most 1 MiB of YAML, and JSON may
// take more room for the same.
const maxBody = 4 << 20

// maxValues bounds what a body becomes: a machine takes 2 bytes of JSON and a
// hundred times that in memory. It is as many as a manifest of YAML may have.
const maxValues = 20_000

// maxDepth is more than any type of the API has levels.
const maxDepth = 64

// bound limits how much a request's body may be, and how long a client may
// take to send it.
func (s *Server) bound(w http.ResponseWriter, r *http.Request, most int64) {
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if r.ContentLength == 0 || r.Header.Get("Upgrade") != "" {
		return
	}
	// Writers of tests have no deadlines.
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(s.BodyTimeout)) == nil {
		r.Body = timedBody{r.Body, control}
	}
}

// timedBody takes its deadline away when it has been read: afterwards net/http
// reads on, to see a client go, and would take the deadline for that.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// decode reads a JSON body whatever its Content-Type says: clients send none.
func decode[T any](c *call) (T, error) {
	var body T
	raw, err := io.ReadAll(c.Body)
	if err == nil {
		err = checkJSON(raw)
	}
	if err == nil {
		err = json.Unmarshal(raw, &body)
	}
	if err == nil {
		return body, nil
	}
	var none T
	return none, badBody(err)
}

// checkJSON bounds what a body becomes before anything is made of it.
func checkJSON(raw []byte) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return api.Errorf(api.Invalid, "the request has no body: want JSON")
	}
	switch values, depth := measure(raw); {
	case values > maxValues:
		return api.Errorf(api.Invalid, "the request has more than %d values; move big files into an image", maxValues)
	case depth > maxDepth:
		return api.Errorf(api.Invalid, "the request is nested more than %d levels deep", maxDepth)
	}
	return nil
}

// measure counts what JSON has outside its strings, and how deep it goes: a
// bound, whatever comes.
func measure(raw []byte) (values, deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ',':
			values++
		case c == '[' || c == '{':
			values++
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return values, deepest
}

// badBody says in one sentence what is wrong with a body.
func badBody(err error) error {
	var refusal *api.Error
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &tooLarge):
		return api.Errorf(api.Invalid, "the request is over %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Errorf(api.Invalid, "the request's body took too long: send it again")
	case errors.As(err, &syntax):
		return api.Errorf(api.Invalid, "cannot read request: it is no JSON: %v, at byte %d", syntax, syntax.Offset)
	case errors.As(err, &mistyped) && mistyped.Field == "":
		return api.Errorf(api.Invalid, "cannot read request: it is a JSON %s; want %s", mistyped.Value, kindOf(mistyped.Type))
	case errors.As(err, &mistyped):
		return api.Errorf(api.Invalid, "cannot read request: %s is a JSON %s; want %s", mistyped.Field, mistyped.Value, kindOf(mistyped.Type))
	}
	return api.Errorf(api.Invalid, "cannot read request: %v", err)
}

// kindOf names a Go type as people who write JSON do.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	}
	return "an object"
}
