package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"

	"sandlot/api"
)

// Terminal is a program on a machine, run through its agent.
type Terminal struct{ ws *websocket.Conn }

// OpenTerminal waits, up to TunnelFor, until the machine's agent answers and
// starts the program. waiting as in OpenTunnel.
func (c *Client) OpenTerminal(ctx context.Context, id string, req api.TerminalRequest, waiting func()) (*Terminal, error) {
	reply, err := untilReady(ctx, c, waiting, func() (api.Conn, error) {
		return call[api.Conn](ctx, c, http.MethodPost, playPath(id, "/terminals"), req)
	})
	if err != nil {
		return nil, err
	}
	ws, err := c.dialWebSocket(ctx, reply.URL, nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 + api.MaxFrame)
	return &Terminal{ws: ws}, nil
}

// Journal copies a machine's journal to stdout until it or ctx ends. The error
// tells that journalctl failed.
func (c *Client) Journal(ctx context.Context, id string, req api.JournalRequest, stdout, stderr io.Writer) error {
	reply, err := untilReady(ctx, c, nil, func() (api.Conn, error) {
		return call[api.Conn](ctx, c, http.MethodPost, playPath(id, "/journals"), req)
	})
	if err != nil {
		return err
	}
	ws, err := c.dialWebSocket(ctx, reply.URL, nil)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(8 * api.MaxFrame) // escapes take room
	for {
		_, raw, err := ws.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("the connection to the machine was lost: %v", err)
		}
		var m api.JournalMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("cannot read the journal: %v", err)
		}
		if _, err := io.WriteString(stdout, m.Stdout); err != nil {
			return err
		}
		if _, err := io.WriteString(stderr, m.Stderr); err != nil {
			return err
		}
		if m.EOF {
			_ = ws.Close(websocket.StatusNormalClosure, "")
			if m.ExitCode != 0 {
				return fmt.Errorf("journalctl ended with %d", m.ExitCode)
			}
			return nil
		}
	}
}

// Resize tells the program's terminal its new size.
func (t *Terminal) Resize(ctx context.Context, rows, cols uint16) error {
	body, err := json.Marshal(api.TTY{Rows: rows, Cols: cols})
	if err != nil {
		return err
	}
	return t.send(ctx, api.FrameResize, body)
}

// Signal sends a signal by name, like "INT".
func (t *Terminal) Signal(ctx context.Context, name string) error {
	return t.send(ctx, api.FrameSignal, []byte(name))
}

// Input copies r to the program until r ends, and then ends its input.
func (t *Terminal) Input(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := t.send(ctx, api.FrameStdin, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return t.send(ctx, api.FrameStdin, nil)
		}
	}
}

func (t *Terminal) send(ctx context.Context, kind byte, payload []byte) error {
	return t.ws.Write(ctx, websocket.MessageBinary, append([]byte{kind}, payload...))
}

// Output copies what the program writes until it ends, and returns its exit
// code.
func (t *Terminal) Output(ctx context.Context, stdout, stderr io.Writer) (int, error) {
	for {
		kind, msg, err := t.ws.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, fmt.Errorf("the connection to the machine was lost: %v", err)
		}
		if kind != websocket.MessageBinary || len(msg) == 0 {
			continue
		}
		switch msg[0] {
		case api.FrameStdout:
			_, err = stdout.Write(msg[1:])
		case api.FrameStderr:
			_, err = stderr.Write(msg[1:])
		case api.FrameExit:
			var exit api.Exit
			if err := json.Unmarshal(msg[1:], &exit); err != nil {
				return 0, fmt.Errorf("cannot read how the program ended: %v", err)
			}
			if exit.Error != "" {
				return 0, fmt.Errorf("cannot run the program: %s", exit.Error)
			}
			return exit.Code, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Close ends the program if it still runs.
func (t *Terminal) Close() error {
	return t.ws.Close(websocket.StatusNormalClosure, "")
}
