package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// Streams are a process's connections to the caller. Any may be nil: then
// there is no input, or the output is thrown away.
type Streams struct {
	// In is read until its end. A read that never returns keeps one goroutine
	// even after Exec has returned; close In to free it.
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Resize <-chan wire.TTY
	// Signal takes names like "INT".
	Signal <-chan string
}

// Exec runs a process in the machine until it exits and returns its exit code
// as a shell gives it (128+n for signal n). When ctx ends, the process is hung
// up and then killed. The error is set if the process could not be started or
// its end is not known.
func (a *Agent) Exec(ctx context.Context, e wire.Exec, streams Streams) (int, error) {
	return a.process(ctx, wire.Request{Op: wire.OpExec, Exec: &e}, streams)
}

func (a *Agent) process(ctx context.Context, req wire.Request, streams Streams) (int, error) {
	s, _, stop, err := a.request(ctx, req)
	if err != nil {
		return -1, err
	}
	defer drop(s)
	defer stop()
	done := make(chan struct{})
	defer close(done)
	in := &frameWriter{w: s}
	go in.stdin(streams.In)
	go in.control(streams, done)
	code, err := receive(s, streams)
	if err != nil && ctx.Err() != nil {
		return -1, ctx.Err()
	}
	return code, err
}

// receive hands on output until the process has exited.
func receive(s io.Reader, streams Streams) (int, error) {
	for {
		t, payload, err := wire.ReadFrame(s)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, yamux.ErrTimeout) {
				err = ErrLost
			}
			return -1, fmt.Errorf("cannot follow the process: %w", channelError(err))
		}
		var out io.Writer
		switch t {
		case wire.FrameStdout:
			out = streams.Out
		case wire.FrameStderr:
			out = streams.Err
		case wire.FrameExit:
			var exit wire.Exit
			if err := json.Unmarshal(payload, &exit); err != nil {
				return -1, fmt.Errorf("cannot read the exit code the machine sent: %v", err)
			}
			if exit.Code < 0 || exit.Code > 255 {
				return -1, fmt.Errorf("the machine sent the impossible exit code %d", exit.Code)
			}
			if exit.Error != "" {
				return exit.Code, &RemoteError{Op: wire.OpExec, Message: clip(exit.Error)}
			}
			return exit.Code, nil
		default:
			return -1, fmt.Errorf("the machine sent a frame of unknown type %d", t)
		}
		if out == nil {
			continue
		}
		if _, err := out.Write(payload); err != nil {
			return -1, fmt.Errorf("cannot write the process's output: %w", err)
		}
	}
}

// frameWriter writes input frames from several goroutines.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) write(t wire.FrameType, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return wire.WriteFrame(f.w, t, b)
}

func (f *frameWriter) stdin(r io.Reader) {
	if r == nil {
		f.write(wire.FrameStdin, nil)
		return
	}
	buf := make([]byte, wire.MaxChunk-5) // with its header, one chunk
	for {
		n, err := r.Read(buf)
		if n > 0 && f.write(wire.FrameStdin, buf[:n]) != nil {
			return
		}
		if err != nil {
			f.write(wire.FrameStdin, nil)
			return
		}
	}
}

func (f *frameWriter) control(streams Streams, done <-chan struct{}) {
	resize, signal := streams.Resize, streams.Signal
	for {
		select {
		case size, ok := <-resize:
			if !ok {
				resize = nil
				continue
			}
			b, _ := json.Marshal(size) // numbers and a string always encode
			f.write(wire.FrameResize, b)
		case name, ok := <-signal:
			if !ok {
				signal = nil
				continue
			}
			f.write(wire.FrameSignal, []byte(name))
		case <-done:
			return
		}
	}
}

// Put extracts a tar stream below directory path, as user (empty: root).
func (a *Agent) Put(ctx context.Context, user, path string, tar io.Reader) error {
	return a.copy(ctx, wire.OpPut, wire.Copy{Path: path, User: user}, Streams{In: tar})
}

// Get writes a file or directory of the machine to tar, as user (empty: root)
// reads it. Names start with the last element of path. The bytes are the
// guest's: whoever extracts them must not trust names or links in them.
func (a *Agent) Get(ctx context.Context, user, path string, tar io.Writer) error {
	return a.copy(ctx, wire.OpGet, wire.Copy{Path: path, User: user}, Streams{Out: tar})
}

func (a *Agent) copy(ctx context.Context, op string, c wire.Copy, streams Streams) error {
	said := &clipped{}
	streams.Err = said
	code, err := a.process(ctx, wire.Request{Op: op, Copy: &c}, streams)
	if err != nil {
		return fmt.Errorf("cannot copy %q: %w", c.Path, err)
	}
	if code != 0 {
		return fmt.Errorf("cannot copy %q: %w", c.Path, &RemoteError{Op: op, Message: said.String()})
	}
	return nil
}

// clipped keeps the start of what is written to it.
type clipped struct{ b []byte }

func (c *clipped) Write(p []byte) (int, error) {
	c.b = append(c.b, p[:min(len(p), 4<<10-len(c.b))]...)
	return len(p), nil
}

func (c *clipped) String() string {
	if len(c.b) == 0 {
		return "the copy failed without a word"
	}
	b := c.b
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return string(b)
}
