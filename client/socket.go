package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket and the way its frames take to the network.
type socket struct {
	ws  *websocket.Conn
	out *gather
}

// dialWebSocket opens a WebSocket with the client's own transport, proxies
// and trust included.
func (c *Client) dialWebSocket(ctx context.Context, address string, header http.Header) (*websocket.Conn, error) {
	s, err := c.dialSocket(ctx, address, header)
	return s.ws, err
}

func (c *Client) dialSocket(ctx context.Context, address string, header http.Header) (socket, error) {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	if header == nil {
		header = http.Header{}
	}
	header.Set("User-Agent", c.cfg.UserAgent)
	way := &upgrade{inner: c.sockets.Transport}
	client := *c.sockets
	client.Transport = way
	ws, res, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: &client, HTTPHeader: header})
	if err != nil {
		if res != nil && res.StatusCode >= 400 {
			var r *Refusal
			if errors.As(refusal(res), &r) {
				return socket{}, r
			}
		}
		return socket{}, err
	}
	return socket{ws, way.out}, nil
}

// upgrade puts a gather behind the WebSocket that one request becomes.
type upgrade struct {
	inner http.RoundTripper
	out   *gather
}

func (u *upgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := u.inner.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		if body, ok := res.Body.(io.ReadWriteCloser); ok {
			u.out = &gather{ReadWriteCloser: body}
			res.Body = u.out
		}
	}
	return res, err
}

// gather lets a message leave in one write: the WebSocket's own buffer holds
// 4 KiB, and a machine behind a tunnel pays for each packet.
type gather struct {
	io.ReadWriteCloser

	mu   sync.Mutex
	hold bool
	buf  []byte
}

func (g *gather) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hold {
		return g.ReadWriteCloser.Write(p)
	}
	g.buf = append(g.buf, p...)
	return len(p), nil
}

// together calls f and then sends what was written meanwhile.
func (g *gather) together(f func() error) error {
	g.mu.Lock()
	g.hold = true
	g.mu.Unlock()
	err := f()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = false
	if len(g.buf) > 0 {
		if _, err2 := g.ReadWriteCloser.Write(g.buf); err == nil {
			err = err2
		}
		g.buf = g.buf[:0]
	}
	return err
}

// stream is a tunnel's connection; it ends with the WebSocket.
type stream struct {
	net.Conn
	out *gather
}

func (s socket) stream() net.Conn {
	return stream{websocket.NetConn(context.Background(), s.ws, websocket.MessageBinary), s.out}
}

// maxMessage is what a stream sends or takes at a time.
const maxMessage = 256 << 10

func (s stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), maxMessage)]
		if err = s.out.together(func() error { _, err := s.Conn.Write(part); return err }); err == nil {
			n, p = n+len(part), p[len(part):]
		}
	}
	return n, err
}

// ReadFrom and WriteTo are what io.Copy does, with a buffer that grows as it
// is filled.
func (s stream) ReadFrom(r io.Reader) (int64, error) { return pump(s, r) }

func (s stream) WriteTo(w io.Writer) (int64, error) { return pump(w, s.Conn) }

func pump(w io.Writer, r io.Reader) (total int64, err error) {
	buf := make([]byte, 8<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			written, err := w.Write(buf[:n])
			total += int64(written)
			if err != nil {
				return total, err
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if n == len(buf) && n < maxMessage {
			buf = make([]byte, 2*n)
		}
	}
}
