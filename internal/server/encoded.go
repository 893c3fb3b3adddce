package server

import (
	"net/http"
	"strconv"
)

// encodedList is a JSON array whose elements came as JSON: nobody needs to
// encode them again. Its parts are written one after the other.
type encodedList [][]byte

// add appends element i, in parts.
func (l *encodedList) add(i int, parts ...[]byte) {
	if i > 0 {
		*l = append(*l, []byte(","))
	}
	*l = append(*l, parts...)
}

func (l encodedList) write(w http.ResponseWriter) {
	size := len("[]\n")
	for _, part := range l {
		size += len(part)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	body := append(make([]byte, 0, size), '[')
	for _, part := range l {
		body = append(body, part...)
	}
	// The only error left is a client that went away.
	_, _ = w.Write(append(body, "]\n"...))
}
