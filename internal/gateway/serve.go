package gateway

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
)

// ServeTunnel answers one tunnel socket. An error means that nothing was
// answered yet.
func (g *Gateway) ServeTunnel(w http.ResponseWriter, r *http.Request, tunnelID, cookie, payload string) error {
	t, err := g.tunnel(tunnelID, cookie)
	if err != nil {
		return err
	}
	target, err := ParsePayload(payload)
	if err != nil {
		return err
	}
	ctx, leave, err := g.enter(r.Context(), t.play)
	if err != nil {
		return err
	}
	defer leave()
	t.count(1)
	defer t.count(-1)

	switch target.Kind {
	case "listen":
		return g.serveListen(ctx, w, r, t, target.Address)
	case "connect":
		conn := t.take(target.Address)
		if conn == nil {
			return api.Errorf(api.NotFound, "no connection %q waits here", target.Address)
		}
		return g.serveConn(ctx, w, r, conn)
	}
	if _, port, _ := net.SplitHostPort(target.Address); t.noSSH && isSSH(port) {
		return noSSH(t.machine)
	}
	dialCtx, cancel := context.WithTimeout(ctx, g.DialTimeout)
	conn, err := g.machines.Dial(dialCtx, t.play, t.machine, target.Address)
	cancel()
	if err != nil {
		return unlessRefusal(err, api.Unreachable, "cannot dial %s from machine %q: %v", target.Address, t.machine, err)
	}
	return g.serveConn(ctx, w, r, conn)
}

func isSSH(port string) bool {
	n, err := net.LookupPort("tcp", port)
	return err == nil && n == 22
}

// unlessRefusal keeps an *api.Error and makes one of anything else.
func unlessRefusal(err error, kind api.Kind, format string, args ...any) error {
	var refusal *api.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	return api.Errorf(kind, format, args...)
}

// serveConn upgrades and pipes until either side ends. It closes conn.
func (g *Gateway) serveConn(ctx context.Context, w http.ResponseWriter, r *http.Request, conn net.Conn) error {
	defer conn.Close()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil // Accept has answered
	}
	ws.SetReadLimit(-1) // messages are streamed, never held whole
	defer ws.CloseNow()
	var held atomic.Bool
	defer g.keepAlive(ctx, ws, &held)()
	pipe(ctx, ws, conn, &held)
	return nil
}

// pipe copies between a WebSocket and a connection. When the connection ends,
// the WebSocket is closed properly after the last byte (the protocol has no
// half-close); when the WebSocket ends, so does the connection. held is set
// while the connection takes no more.
func pipe(ctx context.Context, ws *websocket.Conn, conn net.Conn, held *atomic.Bool) {
	// Reads and writes get a context of their own: ending one by context
	// breaks the WebSocket without a close frame, and clients crash on that.
	io_ := context.WithoutCancel(ctx)
	var both sync.WaitGroup
	up := newUpstream(conn, held)
	both.Go(up.run)
	both.Go(func() {
		defer up.end()
		receive(io_, ws, up)
	})
	stop := context.AfterFunc(ctx, func() {
		conn.Close()
		ws.Close(websocket.StatusGoingAway, "the machine or labd is going away")
	})
	defer stop()

	// Most connections carry little; one that fills its buffer gets a larger one.
	buf := make([]byte, 8<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 && ws.Write(io_, websocket.MessageBinary, buf[:n]) != nil {
			// The client is gone; what it has sent still has to arrive.
			ws.CloseNow()
			both.Wait()
			return
		}
		if err != nil {
			break
		}
		if n == len(buf) && n < blockSize {
			buf = make([]byte, 2*n)
		}
	}
	conn.Close()
	if ctx.Err() == nil {
		ws.Close(websocket.StatusNormalClosure, "")
	}
	both.Wait()
}

// receive passes on what a client sends, until it sends no more or what is no
// tunnel's.
func receive(ctx context.Context, ws *websocket.Conn, to io.Writer) {
	var buf []byte
	for {
		kind, msg, err := ws.Reader(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageBinary {
			ws.Close(websocket.StatusUnsupportedData, "tunnels carry binary messages")
			return
		}
		if buf == nil {
			buf = make([]byte, readSize)
		}
		for {
			n, err := msg.Read(buf)
			_, _ = to.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
		}
	}
}

// serveListen binds inside the machine, then announces each connection.
func (g *Gateway) serveListen(ctx context.Context, w http.ResponseWriter, r *http.Request, t *tunnel, address string) error {
	listenCtx, cancel := context.WithTimeout(ctx, g.DialTimeout)
	listener, err := g.machines.Listen(listenCtx, t.play, t.machine, address)
	cancel()
	if err != nil {
		return unlessRefusal(err, api.Conflict, "cannot listen on %s in machine %q: %v", address, t.machine, err)
	}
	defer listener.Close()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil
	}
	defer ws.CloseNow()
	defer g.keepAlive(ctx, ws, nil)()

	gone := ws.CloseRead(context.WithoutCancel(ctx))
	var announced []string
	defer func() {
		for _, cid := range announced {
			if c := t.take(cid); c != nil {
				c.Close()
			}
		}
	}()
	defer context.AfterFunc(gone, func() { listener.Close() })()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		if err != nil {
			break
		}
		var b [16]byte
		if _, err := io.ReadFull(g.Random, b[:]); err != nil {
			conn.Close()
			break
		}
		cid := hex.EncodeToString(b[:])
		if !t.wait(cid, conn, g.PendingFor) {
			conn.Close()
			continue
		}
		// Only the last ones can still be waiting.
		if announced = append(announced, cid); len(announced) > maxPending {
			announced = announced[1:]
		}
		body, err := json.Marshal(api.TunnelConnect{Type: "connect", CID: cid})
		if err != nil || ws.Write(gone, websocket.MessageText, body) != nil {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		ws.Close(websocket.StatusGoingAway, "the machine or labd is going away")
	case gone.Err() == nil:
		ws.Close(websocket.StatusNormalClosure, "the listener inside the machine ended")
	}
	return nil
}

// keepAlive pings until the returned function is called, and drops a WebSocket
// whose peer has answered none of MaxSilence pings: a computer that went to
// sleep, or a program that stands still. A peer that does not read just now is
// no such one: it gets those minutes. Nor is one whose data waits for the
// machine (held): its answer stands behind that data.
func (g *Gateway) keepAlive(ctx context.Context, ws *websocket.Conn, held *atomic.Bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		tick := time.NewTicker(g.PingEvery)
		defer tick.Stop()
		for silence := 0; silence < g.MaxSilence; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			answered, err := ping(ws, g.PingEvery)
			switch {
			case err != nil:
				return
			case answered || held != nil && held.Load():
				silence = 0
			default:
				silence++
			}
		}
		ws.CloseNow()
	}()
	return cancel
}

// ping sends one ping; only a connection that is closed is an error.
func ping(ws *websocket.Conn, wait time.Duration) (answered bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err = ws.Ping(ctx)
	if err != nil && ctx.Err() != nil {
		return false, nil
	}
	return err == nil, err
}
