package session

import (
	"context"
	"io"

	"sandlot/guest/wire"
)

// ExecStream starts a process and returns the stream of its frames, for
// callers that pass them on as they are. The frames that come out of it are
// the guest's words: wire.ReadFrame bounds them. Closing the stream hangs the
// process up. ctx bounds the start only.
func (a *Agent) ExecStream(ctx context.Context, e wire.Exec) (io.ReadWriteCloser, error) {
	return a.conn(ctx, wire.Request{Op: wire.OpExec, Exec: &e}, "")
}
