package session

import (
	"context"
	"io"
	"time"

	"sandlot/guest/wire"
)

// reportPause is the least time between two reports of a task: an honest agent
// leaves more, and another must not make labd tell everybody all the time.
const reportPause = 100 * time.Millisecond

// readTask takes an agent's reports of a task up to its result.
func readTask(ctx context.Context, r io.Reader, wrote func(stdout, stderr []byte, total int64)) (wire.TaskResult, error) {
	var stdout, stderr taskOutput
	for {
		var result wire.TaskResult
		if err := wire.ReadMessage(r, &result); err != nil || !result.Running {
			return result, err
		}
		if wrote == nil {
			continue
		}
		stdout.add(result.StdoutAt, result.Stdout)
		stderr.add(result.StderrAt, result.Stderr)
		wrote(stdout.text(), stderr.text(), stdout.at+stderr.at)
		select {
		case <-time.After(reportPause):
		case <-ctx.Done():
			return wire.TaskResult{}, ctx.Err()
		}
	}
}

// taskOutput is the end of one stream of a task, put together from reports.
type taskOutput struct {
	kept []byte
	at   int64 // where kept ends in all that was written
}

func (o *taskOutput) add(at int64, b []byte) {
	if at != o.at || at < 0 {
		o.kept, o.at = nil, max(0, at) // what is missing in between is not kept anywhere
	}
	o.kept = append(o.kept, b...)
	o.at += int64(len(b))
	if over := len(o.kept) - wire.MaxTaskOutput; over > 0 {
		o.kept = append([]byte(nil), o.kept[over:]...)
	}
}

func (o *taskOutput) text() []byte { return wire.TaskTail(o.kept, o.at-int64(len(o.kept))) }
