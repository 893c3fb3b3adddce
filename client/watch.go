package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
)

// ErrStop, returned by a Watch callback, ends Watch without an error.
var ErrStop = errors.New("stop watching")

// watchGap is the longest silence Watch tolerates: the server repeats the
// status every few seconds.
const watchGap = 45 * time.Second

// Watch calls see with the play as it is now and again after each message of
// its connection, until see returns an error (ErrStop is no error) or ctx
// ends. A lost connection is opened again: labd may be restarting. It returns
// nil when the server says that nothing more will happen; see has had the
// last status by then.
func (c *Client) Watch(ctx context.Context, id string, see func(api.Play) error) error {
	var lost error
	failures := 0
	for {
		p, err := c.Play(ctx, id)
		if err != nil {
			return err
		}
		if err := see(p); err != nil {
			return stopped(err)
		}
		progressed, done, err := c.watchOnce(ctx, p, see)
		if done || err == nil {
			return stopped(err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if lost = err; progressed {
			failures = 0
		}
		if failures++; failures > 5 {
			return fmt.Errorf("cannot watch play %s: %w", id, lost)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(c.Retry.First):
		}
	}
}

func stopped(err error) error {
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// watchOnce follows one connection. done: see or the server ended it, or the
// server refused it for good.
func (c *Client) watchOnce(ctx context.Context, p api.Play, see func(api.Play) error) (progressed, done bool, err error) {
	reply, err := call[api.Conn](ctx, c, http.MethodPost, playPath(p.ID, "/conns"), nil)
	if err != nil {
		return false, StatusOf(err) != 0, err
	}
	ws, err := c.dialWebSocket(ctx, reply.URL, nil)
	if err != nil {
		return false, false, err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(16 << 20)
	p.Tasks = maps.Clone(p.Tasks)
	if p.Tasks == nil {
		p.Tasks = api.Tasks{}
	}
	for {
		read, cancel := context.WithTimeout(ctx, watchGap)
		_, raw, err := ws.Read(read)
		cancel()
		if err != nil {
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
				return true, true, nil
			}
			return progressed, false, err
		}
		progressed = true
		var m api.ConnMessage
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		switch {
		case m.Kind == api.KindStatus && m.Status != nil:
			p.Status = m.Status
		case m.Kind == api.KindTask && m.Task != nil:
			p.Tasks[m.Task.Name] = *m.Task
		}
		if err := see(p); err != nil {
			ws.Close(websocket.StatusNormalClosure, "")
			return true, true, err
		}
	}
}
