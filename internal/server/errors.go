package server

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"sandlot/api"
)

// statuses is the only place where a kind of error becomes a status. 503 makes
// clients repeat the request by themselves, so only NotYet has it.
var statuses = map[api.Kind]int{
	api.Invalid:         http.StatusBadRequest,
	api.Unauthenticated: http.StatusUnauthorized,
	api.Forbidden:       http.StatusForbidden,
	api.NotFound:        http.StatusNotFound,
	api.Conflict:        http.StatusConflict,
	api.Gone:            http.StatusGone,
	api.NotYet:          http.StatusServiceUnavailable,
	api.TooMany:         http.StatusForbidden, // 429 without a time would be repeated at once
	api.NoRoom:          http.StatusInsufficientStorage,
	api.Unsupported:     http.StatusNotImplemented,
	api.Unreachable:     http.StatusBadGateway,
	api.Internal:        http.StatusInternalServerError,
}

// refuse answers with an error: JSON to clients that accept it, else plain
// text, because the reference client shows the body to a person as it is.
//
// 401 carries no WWW-Authenticate on purpose: a browser would open its own
// password window over the UI.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // nobody listens any more
	}
	var refusal *api.Error
	if !errors.As(err, &refusal) {
		s.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "error", err)
		refusal = api.Errorf(api.Internal, "labd failed: %v", err)
		if id := traceOf(r.Context()).request; id != "" {
			refusal.Message += " (request " + id + ")"
		}
	}
	status := s.statusOf(w, refusal)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		told := *refusal
		told.Request = traceOf(r.Context()).request
		writeJSON(w, status, told)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, refusal.Error()+"\n")
}

// statusOf is the status of a refusal, and sets the headers that go with it.
// Clients that are told when to ask again do so.
func (s *Server) statusOf(w http.ResponseWriter, refusal *api.Error) int {
	if refusal.RetryAfter > 0 {
		seconds := strconv.Itoa(int(math.Ceil(refusal.RetryAfter.Seconds())))
		w.Header().Set("X-Ratelimit-Reset", seconds)
		w.Header().Set("Retry-After", seconds)
		return http.StatusTooManyRequests
	}
	if status, ok := statuses[refusal.Kind]; ok {
		return status
	}
	return http.StatusInternalServerError
}
