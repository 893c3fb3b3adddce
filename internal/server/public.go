package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// publicReply is a reply that is the same for everybody, so that browsers and
// proxies may keep it for a while.
type publicReply struct{ body any }

// countedReply is one page of more.
type countedReply struct {
	body  any
	total int
}

// publicFor is how long they may.
const publicFor = "60"

func cached[T any](body T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return publicReply{body}, nil
}

// writePublic answers with a tag of the content, or 304 to who has it already.
func (s *Server) writePublic(w http.ResponseWriter, r *http.Request, reply publicReply) {
	body, err := json.Marshal(reply.body)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	servePublic(w, r, "application/json", append(body, '\n'))
}

func servePublic(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	sum := sha256.Sum256(body)
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "public, max-age="+publicFor)
	h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
