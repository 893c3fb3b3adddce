// Package client is the Go client of labd's API (docs/api.md) and labctl's
// only door: method calls go in, requests with credentials and retries go out,
// api types come back.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"sandlot/api"
)

// Config says where labd is and who asks.
type Config struct {
	// APIBaseURL is the prefix of every path, like "http://localhost:8484/api".
	APIBaseURL string
	// SessionID and AccessToken sign in; both or none.
	SessionID, AccessToken string
	// UserAgent of every request.
	UserAgent string
	// CAFile is a PEM file of certificates to trust beside the system's;
	// empty means none.
	CAFile string
	// Log gets a line for each request, without its credentials; nil is none.
	Log *slog.Logger
}

// Client speaks to one labd. Use New.
type Client struct {
	cfg     Config
	http    *http.Client
	sockets *http.Client // HTTP/1.1 only, no redirects

	// Retry is the policy of every REST call. TunnelFor bounds how long
	// OpenTunnel and OpenTerminal wait for a machine.
	Retry     Retry
	TunnelFor time.Duration
}

// Retry is how often and how long a call is repeated after 429, 503, 504 and
// network errors.
type Retry struct {
	Tries uint
	For   time.Duration // no new try starts later than this
	First time.Duration // the first wait; each next one is 1.5 times as long
}

// New returns a client; it makes no request. It fails if CAFile cannot be
// read.
func New(cfg Config) (*Client, error) {
	cfg.APIBaseURL = strings.TrimRight(cfg.APIBaseURL, "/")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	u, err := url.Parse(cfg.APIBaseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("cannot use API address %q: want http(s)://HOST[:PORT]/api; see --endpoint", cfg.APIBaseURL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read CA file: %v", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot read CA file %q: no certificate in it", cfg.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		transport.ForceAttemptHTTP2 = true
	}
	upgrades := transport.Clone()
	upgrades.ForceAttemptHTTP2 = false
	upgrades.Protocols = new(http.Protocols)
	upgrades.Protocols.SetHTTP1(true)
	return &Client{
		cfg:  cfg,
		http: &http.Client{Transport: transport},
		sockets: &http.Client{
			Transport:     upgrades,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Retry:     Retry{Tries: 5, For: 10 * time.Second, First: 500 * time.Millisecond},
		TunnelFor: 25 * time.Minute,
	}, nil
}

// Refusal is any non-2xx reply. Callers act on Status and Reason.Problems.
type Refusal struct {
	Status int
	Reason api.Error
}

func (r *Refusal) Error() string { return r.Reason.Error() }

// StatusOf returns the HTTP status of a refusal in err; 0 if there is none.
func StatusOf(err error) int {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Status
	}
	return 0
}

// unreachable is a request that got no reply.
type unreachable struct {
	endpoint string
	cause    error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("cannot reach labd at %s: %v; is it running? (labd up, or --endpoint)", e.endpoint, e.cause)
}

func (e *unreachable) Unwrap() error { return e.cause }

// do sends one call with retries and decodes the JSON reply into out, unless
// out is nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	_, err := c.exchange(ctx, method, path, in, out)
	return err
}

// exchange is do with the reply's header. An out that is an io.Writer gets the
// reply as it is.
func (c *Client) exchange(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
		body = append(body, '\n')
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.RandomizationFactor, wait.Multiplier = c.Retry.First, 0.5, 1.5
	header, err := backoff.Retry(ctx, func() (http.Header, error) {
		return c.once(ctx, method, path, bytes.NewReader(body), out)
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(c.Retry.Tries), backoff.WithMaxElapsedTime(c.Retry.For))
	return header, final(err)
}

// Raw sends one request as it is, once, and copies the reply to out. A nil
// body is none; another is streamed.
func (c *Client) Raw(ctx context.Context, method, path string, body io.Reader, out io.Writer) error {
	if body == nil {
		_, err := c.exchange(ctx, method, path, nil, out)
		return err
	}
	_, err := c.once(ctx, method, path, body, out)
	return final(err)
}

// final is the error of the last try, as it is.
func final(err error) error {
	var later *after
	if errors.As(err, &later) {
		return later.cause
	}
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		return permanent.Unwrap()
	}
	return err
}

// after is a refusal that says when to ask again.
type after struct {
	*backoff.RetryAfterError
	cause error
}

func (a *after) Unwrap() error { return a.RetryAfterError }

// once sends one request. What must not be repeated comes back permanent.
func (c *Client) once(ctx context.Context, method, path string, body io.Reader, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.APIBaseURL+path, body)
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if c.cfg.SessionID != "" && c.cfg.AccessToken != "" {
		req.SetBasicAuth(c.cfg.SessionID, c.cfg.AccessToken)
	}
	res, err := c.http.Do(req)
	c.cfg.Log.DebugContext(ctx, "request", "method", method, "path", path, "status", statusOf(res), "error", err)
	if err != nil {
		if ctx.Err() != nil {
			return nil, backoff.Permanent(ctx.Err())
		}
		err = &unreachable{endpoint: c.cfg.APIBaseURL, cause: plain(err)}
		if !repeatable(method, err) {
			return nil, backoff.Permanent(err)
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return nil, refusal(res)
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, res.Body) // so that the connection is kept
		return res.Header, nil
	}
	if w, ok := out.(io.Writer); ok {
		if _, err := io.Copy(w, res.Body); err != nil {
			return nil, backoff.Permanent(fmt.Errorf("cannot read reply to %s %s: %v", method, path, err))
		}
		return res.Header, nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return nil, backoff.Permanent(fmt.Errorf("cannot read reply to %s %s: %v", method, path, err))
	}
	return res.Header, nil
}

func statusOf(res *http.Response) int {
	if res == nil {
		return 0
	}
	return res.StatusCode
}

// plain drops the method and URL that net/http puts before a cause.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// repeatable tells whether a network error leaves no doubt that repeating is
// harmless. A POST that may have arrived is not repeated: it could start a
// second play.
func repeatable(method string, err error) bool {
	if method != http.MethodPost {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// refusal turns a non-2xx reply into an error.
func refusal(res *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	e := &Refusal{Status: res.StatusCode}
	if json.Unmarshal(raw, &e.Reason) != nil || e.Reason.Message == "" {
		text := strings.TrimSpace(string(raw))
		if text == "" {
			text = strings.ToLower(http.StatusText(res.StatusCode))
		}
		e.Reason = api.Error{Message: fmt.Sprintf("%s (%d)", text, res.StatusCode)}
	}
	switch res.StatusCode {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e
	case http.StatusTooManyRequests:
		if wait, ok := resetAfter(res.Header.Get("X-Ratelimit-Reset"), time.Now()); ok {
			return &after{RetryAfterError: &backoff.RetryAfterError{Duration: wait}, cause: e}
		}
		return e
	}
	return backoff.Permanent(e)
}

// resetAfter reads X-Ratelimit-Reset: Unix seconds when large, seconds from
// now when small; clamped to five minutes.
func resetAfter(header string, now time.Time) (time.Duration, bool) {
	n, err := strconv.ParseInt(header, 10, 64)
	if err != nil || n <= 0 {
		return 0, false
	}
	wait := time.Duration(min(n, 300)) * time.Second
	if n >= 1_000_000_000 {
		wait = time.Unix(n, 0).Sub(now)
	}
	return min(max(wait, 0), 5*time.Minute), true
}
