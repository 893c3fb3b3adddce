package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/play"
)

// Bounds of what a journal is asked for.
const (
	maxJournalLines = 100_000
	maxJournalText  = 256
)

// journalctl is the command for a request.
func journalctl(req api.JournalRequest) ([]string, error) {
	argv := []string{"journalctl", "--no-pager", "--quiet"}
	if req.Lines < 0 || req.Lines > maxJournalLines {
		return nil, api.Errorf(api.Invalid, "lines is %d: want 0 to %d", req.Lines, maxJournalLines)
	}
	if req.Lines > 0 {
		argv = append(argv, fmt.Sprintf("--lines=%d", req.Lines))
	}
	for _, o := range []struct{ name, option, value string }{
		{"unit", "--unit=", req.Unit}, {"since", "--since=", req.Since}, {"until", "--until=", req.Until}, {"cursor", "--after-cursor=", req.Cursor},
	} {
		if len(o.value) > maxJournalText || strings.ContainsFunc(o.value, unicode.IsControl) {
			return nil, api.Errorf(api.Invalid, "%s has control characters or more than %d bytes", o.name, maxJournalText)
		}
		if o.value != "" {
			argv = append(argv, o.option+o.value)
		}
	}
	if req.Until == "" {
		argv = append(argv, "--follow")
	}
	return argv, nil
}

// OpenJournal waits until the machine's agent answers and returns a token that
// opens the journal, once.
func (g *Gateway) OpenJournal(ctx context.Context, p api.Play, req api.JournalRequest) (token string, err error) {
	machine, err := machineOf(p, req.Machine)
	if err != nil {
		return "", err
	}
	if machine.NoSSH {
		return "", noSSH(machine.Name)
	}
	argv, err := journalctl(req)
	if err != nil {
		return "", err
	}
	id := play.ID(p.ID)
	if err := g.await(ctx, id, machine.Name, play.ConditionBoot); err != nil {
		return "", err
	}
	return g.journals.Issue(id, terminal{machine: machine.Name, exec: wire.Exec{Argv: argv}}, terminalTTL)
}

// ServeJournal sends the journal of a token until it or the client ends. An
// error means that nothing was answered yet.
func (g *Gateway) ServeJournal(w http.ResponseWriter, r *http.Request, token string) error {
	journal, id, ok := g.journals.Take(token)
	if !ok {
		return api.Errorf(api.Unauthenticated, "this journal link is used up or not valid: open the journal again")
	}
	ctx, leave, err := g.enter(r.Context(), id)
	if err != nil {
		return err
	}
	defer leave()
	execCtx, cancel := context.WithTimeout(ctx, g.DialTimeout)
	stream, err := g.machines.Exec(execCtx, id, journal.machine, journal.exec)
	cancel()
	if err != nil {
		return unlessRefusal(err, api.Unreachable, "cannot read the journal of machine %q: %v", journal.machine, err)
	}
	defer stream.Close()
	// The reference client's origin is malformed; the token is the credential.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer ws.CloseNow()
	gone := ws.CloseRead(context.WithoutCancel(ctx))
	defer g.keepAlive(ctx, ws, nil)()
	defer context.AfterFunc(gone, func() { stream.Close() })()
	defer context.AfterFunc(ctx, func() {
		stream.Close()
		ws.Close(websocket.StatusGoingAway, "the machine or labd is going away")
	})()
	var out, errs text
	for {
		kind, payload, err := wire.ReadFrame(stream)
		if err != nil {
			if ctx.Err() == nil && gone.Err() == nil {
				ws.Close(websocket.StatusInternalError, "the connection to the machine's agent broke")
			}
			return nil
		}
		var m api.JournalMessage
		switch kind {
		case wire.FrameStdout:
			m.Stdout = out.whole(payload)
		case wire.FrameStderr:
			m.Stderr = errs.whole(payload)
		case wire.FrameExit:
			var exit wire.Exit
			if err := json.Unmarshal(payload, &exit); err != nil {
				exit.Error = "cannot read how journalctl ended"
			}
			m = api.JournalMessage{Stdout: string(out.rest), Stderr: string(errs.rest), ExitCode: exit.Code, EOF: true}
			if exit.Error != "" {
				m.Stderr += "cannot read the journal: " + exit.Error + "\n"
			}
		}
		if m == (api.JournalMessage{}) {
			continue
		}
		body, err := json.Marshal(m)
		if err != nil || ws.Write(context.WithoutCancel(ctx), websocket.MessageText, body) != nil {
			return nil
		}
		if m.EOF {
			ws.Close(websocket.StatusNormalClosure, "")
			return nil
		}
	}
}

// text makes strings of bytes that may be cut inside a character.
type text struct{ rest []byte }

func (t *text) whole(b []byte) string {
	b = append(t.rest, b...)
	cut := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				cut = len(b) - i
			}
			break
		}
	}
	t.rest = append([]byte(nil), b[cut:]...)
	return string(b[:cut])
}
