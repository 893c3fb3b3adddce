package server

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sandlot/api"
)

// RequestIDHeader names a request: in replies always, in requests if a proxy
// has named it already.
const RequestIDHeader = "X-Request-Id"

var requestID = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// trace is what a request's log lines and refusals are found by.
type trace struct{ request, user, play string }

type traceKey struct{}

// traceOf never returns nil.
func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{}
}

// LogHandler adds to every line that is logged with a request's context the
// request, its user and its play.
func LogHandler(h slog.Handler) slog.Handler { return traceHandler{h} }

type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	t := traceOf(ctx)
	for _, a := range []slog.Attr{slog.String("request", t.request), slog.String("user", t.user), slog.String("play", t.play)} {
		if a.Value.String() != "" {
			r.AddAttrs(a)
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}

// figures are what the server knows of its requests. Labels are bounded: the
// route is a pattern of the table.
type figures struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	open     prometheus.Gauge
}

func newFigures(r prometheus.Registerer) figures {
	f := figures{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sandlot_http_requests_total", Help: "Requests answered.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sandlot_http_request_seconds", Help: "Time until a request was answered; WebSockets do not count.",
			Buckets: []float64{.001, .005, .02, .05, .1, .5, 1, 5, 30, 120},
		}, []string{"route"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sandlot_http_open_requests", Help: "Requests and WebSockets under way.",
		}),
	}
	r.MustRegister(f.requests, f.seconds, f.open)
	return f
}

// elsewhere stands for what no route matches.
const elsewhere = "none"

// apiRest is what no route of the API matches.
const apiRest = "/api/"

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// observe names each request, counts it and logs it. Of its URL the log gets
// the route only: the path may hold a credential.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		t := &trace{request: r.Header.Get(RequestIDHeader)}
		if !requestID.MatchString(t.request) {
			t.request = rand.Text()[:16]
		}
		w.Header().Set(RequestIDHeader, t.request)
		r = r.WithContext(context.WithValue(r.Context(), traceKey{}, t))
		answer := &answer{ResponseWriter: w, status: http.StatusOK, control: http.NewResponseController(w), timeout: s.ReplyTimeout}
		s.figures.open.Inc()
		defer func() {
			s.figures.open.Dec()
			if p := recover(); p != nil {
				s.crashed(answer, r, p)
			}
			route, method := elsewhere, "other"
			if _, path, ok := strings.Cut(r.Pattern, " "); ok && path != apiRest {
				route = path
			}
			if slices.Contains(methods, r.Method) {
				method = r.Method
			}
			s.figures.requests.WithLabelValues(method, route, strconv.Itoa(answer.status)).Inc()
			took := time.Since(began)
			if answer.status != http.StatusSwitchingProtocols {
				s.figures.seconds.WithLabelValues(route).Observe(took.Seconds())
			}
			s.Log.Log(r.Context(), levelOf(method, answer.status), "request",
				"method", method, "route", route, "status", answer.status, "ms", took.Milliseconds(), "from", s.address(r))
		}()
		next.ServeHTTP(answer, r)
	})
}

// levelOf a request: what changes something is worth a line by itself.
func levelOf(method string, status int) slog.Level {
	switch {
	case status == http.StatusInternalServerError:
		return slog.LevelError
	case method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == "other":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// answer remembers the status of a reply, and gives clients only so long to
// take it.
type answer struct {
	http.ResponseWriter
	status  int
	written bool
	control *http.ResponseController
	timeout time.Duration // of each piece
}

// WriteHeader notes the final status; 1xx other than an upgrade are not it.
func (a *answer) WriteHeader(status int) {
	if !a.written && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status, a.written = status, true
	}
	a.ResponseWriter.WriteHeader(status)
}

// piece is what a slow client must take within the timeout.
const piece = 256 << 10

// Write gives the client its time for each piece: a reader that stands still
// is gone, a slow one is not. The last deadline bounds what net/http writes
// after the handler.
func (a *answer) Write(b []byte) (n int, err error) {
	a.written = true
	for {
		// Writers of tests have no deadlines.
		_ = a.control.SetWriteDeadline(time.Now().Add(a.timeout))
		some, err := a.ResponseWriter.Write(b[:min(len(b), piece)])
		n, b = n+some, b[some:]
		if err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// Unwrap lets WebSockets and http.ResponseController find what is below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// crashed tells of a fault in labd as of any other: to the log with its place,
// to the client without.
func (s *Server) crashed(a *answer, r *http.Request, what any) {
	if what == http.ErrAbortHandler {
		panic(what) // net/http's own way to cut a connection
	}
	s.Log.ErrorContext(r.Context(), "request crashed", "method", r.Method, "route", r.Pattern, "panic", what, "stack", string(debug.Stack()))
	if a.written {
		panic(http.ErrAbortHandler) // half a reply must not look whole
	}
	s.refuse(a, r, api.Errorf(api.Internal, "labd failed; its log says why (request %s)", traceOf(r.Context()).request))
}

// fromThisHost tells whether a request came from a program on this host. A
// proxy here adds a header; a web page in a browser here has another Host or an
// Origin.
func fromThisHost(r *http.Request) bool {
	return r.Header.Get("Origin") == "" && loopback(r)
}

// loopback is fromThisHost for pages of our own, too.
func loopback(r *http.Request) bool {
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !net.ParseIP(remote).IsLoopback() {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}
