package server

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/play"
)

// connTTL is how long a connection's URL is good: clients dial it again after
// a failed handshake, over minutes.
const connTTL = time.Hour

// conn is what a connection's ticket opens.
type conn struct{ user api.Me }

func openConn(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	if _, err := s.Plays.Get(c.Context(), c.user, id); err != nil {
		return nil, err
	}
	token, err := s.conns.Issue(id, conn{c.user}, connTTL)
	if err != nil {
		return nil, err
	}
	return api.Conn{URL: s.base(c, "ws") + "/conns/" + token}, nil
}

// serveConn sends a play's status and tasks: everything on connect, then what
// changes, and the status again every few seconds because clients only look
// when a message comes. It closes with 1000 when nothing more will happen, so
// that a waiting client fails early.
func serveConn(s *Server, w http.ResponseWriter, c *call) error {
	held, id, ok := s.conns.Look(c.PathValue("token"))
	if !ok {
		return api.Errorf(api.Unauthenticated, "this connection's URL is not valid any more")
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	snapshots, err := s.Plays.Watch(ctx, held.user, id)
	if err != nil {
		return err
	}
	// The reference client sends "https://cli.http://…" as origin; the token
	// in the URL is the credential, so the origin proves nothing anyway.
	ws, err := websocket.Accept(w, c.Request, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil // Accept has answered
	}
	defer ws.CloseNow()
	gone := ws.CloseRead(context.WithoutCancel(ctx))
	status, reason := s.follow(ctx, gone, ws, snapshots)
	ws.Close(status, reason)
	return nil
}

// maxSilence is how many pings in a row a client may leave without an answer.
// Clients of a connection do nothing but read it.
const maxSilence = 3

func (s *Server) follow(ctx, gone context.Context, ws *websocket.Conn, snapshots <-chan api.Play) (websocket.StatusCode, string) {
	repeat := time.NewTicker(s.StatusEvery)
	defer repeat.Stop()
	pings := time.NewTicker(s.PingEvery)
	defer pings.Stop()
	var silence atomic.Int32 // pings without an answer
	var last *api.PlayStatus
	sent := map[string]api.PlayTask{}
	for {
		select {
		case <-gone.Done():
			return websocket.StatusNormalClosure, ""
		case <-ctx.Done():
			return websocket.StatusGoingAway, "labd is shutting down"
		case p, more := <-snapshots:
			if !more {
				if ctx.Err() != nil {
					return websocket.StatusGoingAway, "labd is shutting down"
				}
				return websocket.StatusNormalClosure, "the play ended"
			}
			if last = p.Status; send(gone, ws, messages(p, sent)...) != nil {
				return websocket.StatusNormalClosure, ""
			}
			if over(p) {
				return websocket.StatusNormalClosure, "the play is " + p.State()
			}
		case <-repeat.C:
			if last != nil && send(gone, ws, api.ConnMessage{Kind: api.KindStatus, Status: last}) != nil {
				return websocket.StatusNormalClosure, ""
			}
		case <-pings.C:
			// What is written vanishes in buffers for hours if nobody reads.
			if silence.Add(1) > maxSilence {
				ws.CloseNow()
				return websocket.StatusGoingAway, ""
			}
			go func() {
				ctx, cancel := context.WithTimeout(gone, s.PingEvery)
				defer cancel()
				if ws.Ping(ctx) == nil {
					silence.Store(0)
				}
			}()
		}
	}
}

// messages are the status and every task that differs from what was sent.
func messages(p api.Play, sent map[string]api.PlayTask) []api.ConnMessage {
	out := []api.ConnMessage{{Kind: api.KindStatus, Status: p.Status}}
	for _, name := range slices.Sorted(maps.Keys(p.Tasks)) {
		task := p.Tasks[name]
		if before, ok := sent[name]; ok && before == task {
			continue
		}
		sent[name] = task
		out = append(out, api.ConnMessage{Kind: api.KindTask, Task: &task})
	}
	return out
}

func over(p api.Play) bool {
	state := play.State(p.State())
	return state == play.Failed || (state != "" && !state.Active())
}

// writeTimeout bounds one message; a client that does not read for so long is
// gone.
const writeTimeout = 30 * time.Second

func send(ctx context.Context, ws *websocket.Conn, msgs ...api.ConnMessage) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for _, m := range msgs {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := ws.Write(ctx, websocket.MessageText, body); err != nil {
			return err
		}
	}
	return nil
}
