package session

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/guest/wire"
)

// keeper is one stream of a kept shell.
type keeper struct {
	t  *testing.T
	rw io.ReadWriteCloser
	wire.Attached
	seen uint64
}

func keep(t *testing.T, ctx context.Context, a *Agent, g *guestRoot, name string, seen uint64) *keeper {
	t.Helper()
	rw, err := a.ExecStream(ctx, wire.Exec{
		User: g.user, Keep: name, Seen: seen, TTY: &wire.TTY{Rows: 24, Cols: 80},
		Argv: []string{"/bin/sh"}, Dir: g.home, Env: map[string]string{"PS1": ">"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rw.Close() })
	k := &keeper{t: t, rw: rw}
	kind, payload, err := wire.ReadFrame(rw)
	if err != nil || kind != wire.FrameAttached || json.Unmarshal(payload, &k.Attached) != nil {
		t.Fatalf("first frame %d %q, %v; want one that tells of the attachment", kind, payload, err)
	}
	k.seen = k.From
	return k
}

func (k *keeper) types(line string) {
	k.t.Helper()
	if err := wire.WriteFrame(k.rw, wire.FrameStdin, []byte(line+"\n")); err != nil {
		k.t.Fatal(err)
	}
}

// until reads on until the output has text, and returns what it read.
func (k *keeper) until(text string) string {
	k.t.Helper()
	var out strings.Builder
	for !strings.Contains(out.String(), text) {
		kind, payload, err := wire.ReadFrame(k.rw)
		if err != nil || kind != wire.FrameStdout {
			k.t.Fatalf("frame %d %q, %v while %q was awaited; so far %q", kind, payload, err, text, out.String())
		}
		k.seen += uint64(len(payload))
		out.Write(payload)
	}
	return out.String()
}

func (k *keeper) exit() (e wire.Exit) {
	k.t.Helper()
	for {
		kind, payload, err := wire.ReadFrame(k.rw)
		if err != nil {
			k.t.Fatal(err)
		}
		if kind == wire.FrameExit {
			if err := json.Unmarshal(payload, &e); err != nil {
				k.t.Fatal(err)
			}
			return e
		}
	}
}

// A shell lives through the loss of its stream and of the whole channel, what
// was missed comes again, and nothing comes twice.
func TestKeptShellSurvivesItsStream(t *testing.T) {
	g, a := machine(t)
	ctx := within(t)
	first := keep(t, ctx, a, g, "one", 0)
	if !first.New || first.From != 0 {
		t.Errorf("the first attachment says %+v", first.Attached)
	}
	first.types("A=kept; echo started $A")
	first.until("started kept\r\n")
	first.types("for i in 1 2 3; do read line; echo got $line; done")
	first.types("away")
	// Nobody has read "got away" when the channel breaks.
	a.Reset()

	second := keep(t, ctx, a, g, "one", first.seen)
	if second.New || second.From != first.seen {
		t.Errorf("the second attachment says %+v, after %d bytes", second.Attached, first.seen)
	}
	out := second.until("got away\r\n")
	if strings.Contains(out, "started kept") {
		t.Errorf("what was seen comes again: %q", out)
	}
	second.rw.Close()

	third := keep(t, ctx, a, g, "one", 0)
	if out := third.until("got away\r\n"); third.New || third.From != 0 || !strings.Contains(out, "started kept") {
		t.Errorf("a client that has nothing gets %q, %+v", out, third.Attached)
	}
	third.types("x")
	third.types("y")
	third.types("echo still $A; exit 7")
	third.until("still kept\r\n")
	if e := third.exit(); e.Code != 7 || e.Taken {
		t.Errorf("the end is %+v", e)
	}
	if again := keep(t, ctx, a, g, "one", 0); !again.New {
		t.Errorf("a shell that has ended is gone on with: %+v", again.Attached)
	}
}

func TestKeptShellIsTaken(t *testing.T) {
	g, a := machine(t)
	ctx := within(t)
	first := keep(t, ctx, a, g, "one", 0)
	first.types("echo one$((0))")
	first.until("one0")
	second := keep(t, ctx, a, g, "one", first.seen)
	if e := first.exit(); !e.Taken {
		t.Errorf("the former holder is told %+v", e)
	}
	first.rw.Close()
	second.types("echo two$((0))")
	second.until("two0")
	if other := keep(t, ctx, a, g, "two", 0); !other.New {
		t.Errorf("another name goes on with the same shell: %+v", other.Attached)
	}
	if err := wire.WriteFrame(second.rw, wire.FrameEnd, nil); err != nil {
		t.Fatal(err)
	}
	if e := second.exit(); e.Taken || e.Code == 0 {
		t.Errorf("a shell that was ended says %+v", e)
	}
}

// Without a stream output goes on, and only its last part is kept; with one
// that does not read, the program waits.
func TestKeptShellBoundsItsOutput(t *testing.T) {
	g, a := machine(t)
	ctx := within(t)
	const much = 4 << 20
	first := keep(t, ctx, a, g, "one", 0)
	first.types(fmt.Sprintf("stty -echo; read go; head -c %d /dev/zero | tr '\\0' x; echo; echo -n all > done; echo fin$((0))", much))
	first.until("fin$((0))")
	first.types("")
	// Its window and what is read ahead are full long before the end.
	for first.seen < 100<<10 {
		first.until("x")
	}
	if exists(g, "done") {
		t.Error("the program did not wait for its reader")
	}
	first.rw.Close()
	waitFor(t, func() bool { return exists(g, "done") })
	second := keep(t, ctx, a, g, "one", first.seen)
	if lost := second.From - first.seen; lost < much/2 || second.Upto-second.From < wire.KeepOutput/2 {
		t.Errorf("%d bytes were lost, and the attachment says %+v", lost, second.Attached)
	}
	second.until("fin0")
	if second.seen < much {
		t.Errorf("numbers of bytes are wrong: the last is %d", second.seen)
	}
}

func TestKeptShellsAreBounded(t *testing.T) {
	g, a := machine(t)
	ctx := within(t)
	for _, e := range []wire.Exec{{Keep: "x"}, {Keep: strings.Repeat("x", wire.MaxKeepName+1), TTY: &wire.TTY{}}} {
		e.User = g.user
		if _, err := a.ExecStream(ctx, e); err == nil || !strings.Contains(err.Error(), "can be kept") {
			t.Errorf("keeping %+v: %v", e, err)
		}
	}
	for i := range wire.MaxKept {
		keep(t, ctx, a, g, fmt.Sprint(i), 0)
	}
	if _, err := a.ExecStream(ctx, wire.Exec{User: g.user, Keep: "more", TTY: &wire.TTY{}}); err == nil || !strings.Contains(err.Error(), "close some") {
		t.Errorf("one more than there may be: %v", err)
	}
}

func exists(g *guestRoot, name string) bool {
	_, err := os.Stat(filepath.Join(g.home, name))
	return err == nil
}
