package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/play"
)

// terminalTTL is how long the URL of a terminal may wait to be opened.
const terminalTTL = 2 * time.Minute

// terminal is a program that was asked for and not started yet.
type terminal struct {
	machine string
	exec    wire.Exec
	// shell is the id of the exposed shell that it belongs to; "" is none.
	shell string
}

// runByShell runs $0 by the user's own shell, as sshd does.
const runByShell = `exec "${SHELL:-/bin/sh}" -c "$0"`

// OpenTerminal waits until the machine's agent answers and returns a token
// that starts the program, once. It holds the caller like OpenTunnel.
func (g *Gateway) OpenTerminal(ctx context.Context, p api.Play, req api.TerminalRequest) (token string, err error) {
	return g.openTerminal(ctx, p, req, "")
}

// OpenShell is OpenTerminal for a visitor of an exposed shell, whose machine
// and user are fixed. The token opens ServeShell of the same shell alone.
func (g *Gateway) OpenShell(ctx context.Context, p api.Play, shell api.Shell, req api.OpenShell) (token string, err error) {
	return g.openTerminal(ctx, p, api.TerminalRequest{Machine: shell.Machine, User: shell.User, TTY: req.TTY, Keep: req.Keep}, shell.ID)
}

func (g *Gateway) openTerminal(ctx context.Context, p api.Play, req api.TerminalRequest, shell string) (token string, err error) {
	machine, err := machineOf(p, req.Machine)
	if err != nil {
		return "", err
	}
	if machine.NoSSH {
		return "", noSSH(machine.Name)
	}
	exec := wire.Exec{User: req.User, Login: true}
	if exec.User == "" {
		exec.User = machine.DefaultUser()
	}
	if req.Command != "" {
		exec.Argv = []string{"/bin/sh", "-c", runByShell, req.Command}
	}
	if req.TTY != nil {
		exec.TTY = &wire.TTY{Term: req.TTY.Term, Rows: req.TTY.Rows, Cols: req.TTY.Cols}
	}
	if exec.Keep, err = keepName(req, shell); err != nil {
		return "", err
	}
	exec.Seen = req.Seen
	id := play.ID(p.ID)
	if err := g.await(ctx, id, machine.Name, play.ConditionBoot); err != nil {
		return "", err
	}
	return g.terminals.Issue(id, terminal{machine: machine.Name, exec: exec, shell: shell}, terminalTTL)
}

// ServeTerminal starts the program of a token and carries its frames. An
// error means that nothing was answered yet.
func (g *Gateway) ServeTerminal(w http.ResponseWriter, r *http.Request, token string) error {
	return g.serveTerminal(w, r, token, "")
}

// ServeShell is ServeTerminal for a token of OpenShell; it ends with
// CloseExposed.
func (g *Gateway) ServeShell(w http.ResponseWriter, r *http.Request, shell api.Shell, token string) error {
	ctx, leave, err := g.visits.enter(r.Context(), play.ID(shell.PlayID), shell.ID)
	if err != nil {
		return err
	}
	defer leave()
	return g.serveTerminal(w, r.WithContext(ctx), token, shell.ID)
}

func (g *Gateway) serveTerminal(w http.ResponseWriter, r *http.Request, token, shell string) error {
	term, id, ok := g.terminals.Take(token)
	if !ok || term.shell != shell {
		return api.Errorf(api.Unauthenticated, "this terminal link is used up or not valid: open the terminal again")
	}
	ctx, leave, err := g.enter(r.Context(), id)
	if err != nil {
		return err
	}
	defer leave()
	execCtx, cancel := context.WithTimeout(ctx, g.DialTimeout)
	stream, err := g.machines.Exec(execCtx, id, term.machine, term.exec)
	cancel()
	if err != nil {
		return unlessRefusal(err, api.Unreachable, "cannot run a program on machine %q: %v", term.machine, err)
	}
	defer stream.Close()
	// The token in the URL is the credential, so no foreign page can have it.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 + wire.MaxFrame)
	var held atomic.Bool
	defer g.keepAlive(ctx, ws, &held)()

	stop := context.AfterFunc(ctx, func() {
		stream.Close()
		ws.Close(websocket.StatusGoingAway, "the machine or labd is going away")
	})
	defer stop()
	flow := newFlow(term.exec.Keep != "")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer flow.end()
		framesIn(ws, stream, &held, flow)
	}()
	if framesOut(ws, stream, flow) {
		ws.Close(websocket.StatusNormalClosure, "")
	} else if ctx.Err() == nil {
		ws.Close(websocket.StatusInternalError, "the connection to the machine's agent broke")
	}
	stream.Close()
	<-done
	return nil
}

// framesIn carries the client's frames to the program until the WebSocket
// ends, and then ends the program. held is set while the program takes no more.
func framesIn(ws *websocket.Conn, stream io.WriteCloser, held *atomic.Bool, flow *flow) {
	defer stream.Close()
	ended := false
	for {
		kind, msg, err := ws.Read(context.Background())
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary && len(msg) > 0 && msg[0] == api.FrameAck && flow.ack(msg[1:]) {
			continue
		}
		if kind != websocket.MessageBinary || len(msg) == 0 || !fromClient(wire.FrameType(msg[0]), msg[1:]) {
			ws.Close(websocket.StatusUnsupportedData, "want frames of stdin, resize or signal")
			return
		}
		// After a program's end its last frames are still on their way out, so
		// a failed write does not end the WebSocket.
		held.Store(true)
		ended = ended || wire.WriteFrame(stream, wire.FrameType(msg[0]), msg[1:]) != nil
		held.Store(false)
	}
}

// fromClient tells whether a client may send this frame.
func fromClient(t wire.FrameType, payload []byte) bool {
	switch t {
	case wire.FrameStdin, wire.FrameEnd:
		return true
	case wire.FrameSignal:
		return len(payload) <= 16
	case wire.FrameResize:
		var size wire.TTY
		return json.Unmarshal(payload, &size) == nil
	}
	return false
}

// framesOut carries the program's frames to the client; true after its exit.
func framesOut(ws *websocket.Conn, stream io.Reader, flow *flow) bool {
	for {
		flow.wait()
		kind, payload, err := wire.ReadFrame(stream)
		if err != nil {
			return false
		}
		switch kind {
		case wire.FrameStdout, wire.FrameStderr:
			flow.sent(len(payload))
		case wire.FrameExit, wire.FrameAttached:
		default:
			continue
		}
		msg := append([]byte{byte(kind)}, payload...)
		if ws.Write(context.Background(), websocket.MessageBinary, msg) != nil {
			return false
		}
		if kind == wire.FrameExit {
			return true
		}
	}
}
