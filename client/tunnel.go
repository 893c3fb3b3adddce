package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/coder/websocket"

	"sandlot/api"
)

// Tunnel reaches the TCP ports of one machine. It needs no closing: it ends
// with the play.
type Tunnel struct {
	client *Client
	url    string // ws(s)://…/t/<id>
	cookie string
}

// OpenTunnel waits, up to TunnelFor, until the machine takes connections.
// waiting, if set, is called once for each time labd says "not yet".
func (c *Client) OpenTunnel(ctx context.Context, id string, req api.TunnelRequest, waiting func()) (*Tunnel, error) {
	req.Access, req.GenerateLoginURL = "private", true
	reply, err := untilReady(ctx, c, waiting, func() (api.Tunnel, error) {
		return call[api.Tunnel](ctx, c, http.MethodPost, playPath(id, "/tunnels"), req)
	})
	if err != nil {
		return nil, err
	}
	cookie, err := c.login(ctx, reply.LoginURL)
	if err != nil {
		return nil, err
	}
	address, err := socketURL(reply.URL)
	if err != nil {
		return nil, err
	}
	return &Tunnel{client: c, url: address, cookie: cookie}, nil
}

// untilReady repeats open while labd says that the machine is still starting.
func untilReady[T any](ctx context.Context, c *Client, waiting func(), open func() (T, error)) (T, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.RandomizationFactor, wait.Multiplier, wait.MaxInterval = 2*c.Retry.First, 0.3, 1.5, 5*time.Second
	reply, err := backoff.Retry(ctx, func() (T, error) {
		reply, err := open()
		switch StatusOf(err) {
		case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
			return reply, err
		}
		if err != nil {
			return reply, backoff.Permanent(err)
		}
		return reply, nil
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(c.TunnelFor), backoff.WithNotify(func(error, time.Duration) {
		if waiting != nil {
			waiting()
		}
	}))
	return reply, err
}

// login fetches the tunnel's cookie from its login URL.
func (c *Client) login(ctx context.Context, loginURL string) (string, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 2*c.Retry.First, 5*time.Second
	return backoff.Retry(ctx, func() (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, loginURL, nil)
		if err != nil {
			return "", backoff.Permanent(err)
		}
		res, err := c.http.Do(req)
		if err != nil {
			return "", fmt.Errorf("cannot sign in to the tunnel: %v", plain(err))
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		for _, cookie := range res.Cookies() {
			if cookie.Name == api.TunnelCookie {
				return cookie.Value, nil
			}
		}
		return "", fmt.Errorf("cannot sign in to the tunnel: %s: %s", res.Status, strings.TrimSpace(string(body)))
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(time.Minute))
}

// socketURL keeps TLS where the URL has it: wss for https, ws for http.
func socketURL(base string) (string, error) {
	base = strings.TrimRight(base, "/")
	switch scheme, _, _ := strings.Cut(base, "://"); scheme {
	case "http", "https":
		return "ws" + base[len("http"):], nil
	case "ws", "wss":
		return base, nil
	}
	return "", fmt.Errorf("cannot use tunnel address %q: want http(s)://", base)
}

func (t *Tunnel) open(ctx context.Context, payload string) (socket, error) {
	header := http.Header{"Cookie": {api.TunnelCookie + "=" + t.cookie}}
	return t.client.dialSocket(ctx, t.url+"/tunnels/"+base64.StdEncoding.EncodeToString([]byte(payload)), header)
}

// Dial opens a TCP connection to "host:port" as seen from the machine; an
// empty host is the machine itself. The connection has no half-close.
func (t *Tunnel) Dial(ctx context.Context, address string) (net.Conn, error) {
	s, err := t.open(ctx, address)
	if err != nil {
		return nil, err
	}
	return s.stream(), nil
}

// Listen makes the machine listen on "host:port"; it returns after the bind.
func (t *Tunnel) Listen(ctx context.Context, address string) (*Listener, error) {
	s, err := t.open(ctx, "listen:"+address)
	if err != nil {
		return nil, err
	}
	return &Listener{tunnel: t, control: s.ws, address: address}, nil
}

// Listener takes connections made to a port inside the machine. The port is
// released when it is closed or lost.
type Listener struct {
	tunnel  *Tunnel
	control *websocket.Conn
	address string
}

// Accept waits for the next connection. net.ErrClosed means that the machine
// stopped listening.
func (l *Listener) Accept(ctx context.Context) (net.Conn, error) {
	for {
		kind, raw, err := l.control.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) != -1 || errors.Is(err, io.EOF) {
				return nil, net.ErrClosed
			}
			return nil, err
		}
		var m api.TunnelConnect
		if kind != websocket.MessageText || json.Unmarshal(raw, &m) != nil || m.Type != "connect" {
			continue
		}
		s, err := l.tunnel.open(ctx, "connect:"+m.CID)
		if StatusOf(err) == http.StatusNotFound {
			continue // it gave up waiting
		}
		if err != nil {
			return nil, err
		}
		return s.stream(), nil
	}
}

// Close releases the port.
func (l *Listener) Close() error {
	return l.control.Close(websocket.StatusNormalClosure, "")
}
