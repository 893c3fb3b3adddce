package session

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// hostile gives an Agent a guest whose every connection is served by f.
func hostile(t *testing.T, f func(c net.Conn)) *Agent {
	a := New(func(ctx context.Context) (net.Conn, error) {
		host, guest := socketPair(t)
		t.Cleanup(func() { guest.Close() })
		go f(guest)
		return host, nil
	})
	a.Repeat, a.Retry = 20*time.Millisecond, 5*time.Millisecond
	t.Cleanup(func() { a.Close() })
	return a
}

// shake answers the handshake as an agent would.
func shake(c net.Conn) *bufio.Reader {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return r
		}
		if nonce, ok := strings.CutPrefix(line, wire.HandshakeHost); ok {
			io.WriteString(c, "\n"+wire.HandshakeBack+nonce)
			return r
		}
	}
}

type readWriter struct {
	io.Reader
	net.Conn
}

func (r readWriter) Read(b []byte) (int, error) { return r.Reader.Read(b) }

// lying is a guest that speaks yamux but answers each request by f.
func lying(t *testing.T, f func(s net.Conn, req wire.Request)) *Agent {
	return hostile(t, func(c net.Conn) {
		config := yamux.DefaultConfig()
		config.LogOutput = io.Discard
		in := shake(c)
		// A repeated handshake may still be under way.
		for {
			b, err := in.Peek(1)
			if err != nil || b[0] == 0 {
				break
			}
			in.ReadByte()
		}
		session, err := yamux.Server(readWriter{in, c}, config)
		if err != nil {
			return
		}
		for {
			s, err := session.Accept()
			if err != nil {
				return
			}
			go func() {
				var req wire.Request
				if wire.ReadMessage(s, &req) == nil {
					f(s, req)
				}
			}()
		}
	})
}

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func yamuxFrame(kind byte, flags uint16, stream, length uint32) []byte {
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return binary.BigEndian.AppendUint32(b, length)
}

// kept is what the heap holds that is not garbage, in bytes.
func kept() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// None of these guests may hang a caller past its context or make the host
// keep what they send.
func TestHostileChannel(t *testing.T) {
	flood := func(c net.Conn, b []byte) {
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
	for name, guest := range map[string]func(net.Conn){
		"silence":             func(net.Conn) {},
		"hangs up":            func(c net.Conn) { c.Close() },
		"garbage for ever":    func(c net.Conn) { flood(c, []byte(strings.Repeat("AGENT ", 1000))) },
		"answers, then mute":  func(c net.Conn) { shake(c) },
		"answers, then noise": func(c net.Conn) { shake(c); flood(c, []byte("not yamux at all")) },
		"opens streams": func(c net.Conn) {
			shake(c)
			for id := uint32(2); ; id += 2 {
				if _, err := c.Write(yamuxFrame(1, 1, id, 0)); err != nil {
					return
				}
			}
		},
		"floods pings":    func(c net.Conn) { shake(c); flood(c, yamuxFrame(2, 1, 0, 7)) },
		"a 4 GiB frame":   func(c net.Conn) { shake(c); c.Write(yamuxFrame(0, 0, 1, 1<<32-1)); flood(c, make([]byte, 4096)) },
		"says go away":    func(c net.Conn) { shake(c); c.Write(yamuxFrame(3, 0, 0, 0)) },
		"over the window": func(c net.Conn) { shake(c); flood(c, append(yamuxFrame(0, 0, 1, 256<<10), make([]byte, 256<<10)...)) },
	} {
		t.Run(name, func(t *testing.T) {
			a := hostile(t, guest)
			before := kept()
			done := make(chan error, 1)
			go func() { _, err := a.Info(short(t)); done <- err }()
			select {
			case err := <-done:
				if err == nil {
					t.Error("a hostile guest was believed")
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the call hangs past its context")
			}
			if now := kept(); now > before+16<<20 {
				t.Errorf("the heap grew from %d bytes to %d", before, now)
			}
		})
	}
}

func TestLyingAgent(t *testing.T) {
	ok := func(s net.Conn) { wire.WriteMessage(s, wire.Response{}) }
	exec := func(a *Agent) error {
		_, err := a.Exec(short(t), wire.Exec{Argv: []string{"x"}}, Streams{})
		return err
	}
	for name, c := range map[string]struct {
		guest func(s net.Conn, req wire.Request)
		call  func(a *Agent) error
		want  string
	}{
		"huge message": {
			func(s net.Conn, _ wire.Request) { s.Write([]byte{0xff, 0xff, 0xff, 0xff}) },
			func(a *Agent) error { _, err := a.Info(short(t)); return err }, "is over"},
		"no json": {
			func(s net.Conn, _ wire.Request) { s.Write([]byte{0, 0, 0, 2, '{', 'x'}) },
			func(a *Agent) error { _, err := a.Info(short(t)); return err }, "invalid character"},
		"no information": {
			func(s net.Conn, _ wire.Request) { ok(s) },
			func(a *Agent) error { _, err := a.Info(short(t)); return err }, "sent no information"},
		"never responds": {
			func(net.Conn, wire.Request) {},
			func(a *Agent) error { _, err := a.Info(short(t)); return err }, "does not answer"},
		"a long error": {
			func(s net.Conn, _ wire.Request) {
				wire.WriteMessage(s, wire.Response{Error: strings.Repeat("x", 900_000)})
			},
			func(a *Agent) error {
				_, err := a.Info(short(t))
				if err != nil && len(err.Error()) > 8<<10 {
					return errors.New("the error has " + err.Error()[:10])
				}
				return err
			}, "xxx"},
		"port 70000": {
			func(s net.Conn, _ wire.Request) {
				wire.WriteMessage(s, wire.Response{Ports: []wire.Port{{Number: 70000}}})
			},
			func(a *Agent) error { _, err := a.Ports(short(t)); return err }, "impossible port"},
		"never exits": {
			func(s net.Conn, _ wire.Request) { ok(s) }, exec, "deadline exceeded"},
		"closes without an exit": {
			func(s net.Conn, _ wire.Request) { ok(s); s.Close() }, exec, ErrLost.Error()},
		"a frame over the limit": {
			func(s net.Conn, _ wire.Request) { ok(s); s.Write([]byte{1, 0xff, 0, 0, 0}) }, exec, "is over"},
		"an unknown frame": {
			func(s net.Conn, _ wire.Request) { ok(s); wire.WriteFrame(s, 99, nil) }, exec, "unknown type 99"},
		"exit code 1000": {
			func(s net.Conn, _ wire.Request) { ok(s); wire.WriteFrame(s, wire.FrameExit, []byte(`{"code":1000}`)) }, exec, "impossible exit code"},
		"exit without json": {
			func(s net.Conn, _ wire.Request) { ok(s); wire.WriteFrame(s, wire.FrameExit, []byte(`x`)) }, exec, "cannot read the exit code"},
		"output for ever": {
			func(s net.Conn, _ wire.Request) {
				ok(s)
				for wire.WriteFrame(s, wire.FrameStdout, make([]byte, 1000)) == nil {
				}
			}, exec, "deadline exceeded"},
		"accepted connections that do not exist": {
			func(s net.Conn, req wire.Request) {
				if req.Op == wire.OpListen {
					ok(s)
					for wire.WriteMessage(s, wire.Accepted{ID: "x"}) == nil {
					}
				}
				wire.WriteMessage(s, wire.Response{Error: "no"})
			},
			func(a *Agent) error {
				ctx := short(t)
				l, err := a.Listen(ctx, ":1")
				if err != nil {
					return err
				}
				_, err = l.Accept()
				return err
			}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := lying(t, c.guest)
			done := make(chan error, 1)
			go func() { done <- c.call(a) }()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v, want one about %q", err, c.want)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the call hangs past its context")
			}
		})
	}
}

func TestNoChannel(t *testing.T) {
	a := New(func(context.Context) (net.Conn, error) { return nil, errors.New("the VMM is gone") })
	defer a.Close()
	_, err := a.Info(short(t))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the VMM is gone") {
		t.Errorf("error is %v", err)
	}
}

// labd comes back while the agent and the channel are still in the middle of
// the old labd's session, at any byte.
func TestReconnectInMidFrame(t *testing.T) {
	for _, stale := range []string{
		"", "SANDL", "\nSANDLOT abc", "\nSANDLOT abc\n",
		// an old session that stopped in the middle of a header …
		"\nSANDLOT abc\n\x00\x01\x00\x01",
		// … and of a frame of the largest size anybody sends
		"\nSANDLOT abc\n" + string(yamuxFrame(1, 1, 1, 0)) + string(yamuxFrame(0, 0, 1, wire.MaxChunk+5)) + "part",
		strings.Repeat("\xff", 50_000),
	} {
		g := newGuest(t)
		p := newPort(t)
		a := g.start(t, p)
		old, err := p.dial(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(old, stale); err != nil {
			t.Fatal(err)
		}
		// Our own connection closes this one, as QEMU's single socket does.
		if info, err := a.Info(within(t)); err != nil || info.Hostname != "m1" {
			t.Errorf("after %.40q: %+v, %v", stale, info, err)
		}
		old.Close()
	}
}

// A host whose channel breaks under a running stream gets a new one, and the
// bytes of the old stream do not get into it.
func TestReconnectUnderLoad(t *testing.T) {
	g, a := machine(t)
	for range 5 {
		out := newSafeBuffer()
		ended := make(chan error, 1)
		go func() {
			_, err := a.Exec(within(t), wire.Exec{User: g.user, Argv: []string{"cat", "/dev/zero"}}, Streams{Out: out})
			ended <- err
		}()
		out.await(t, within(t), "\x00")
		a.Reset()
		if err := <-ended; !errors.Is(err, ErrLost) {
			t.Errorf("the stream of a lost channel ended with %v", err)
		}
		if info, err := a.Info(within(t)); err != nil || info.Hostname != "m1" {
			t.Fatalf("%+v, %v", info, err)
		}
	}
}

// A guest that rebooted in process has a new agent, while the host still holds
// its session on the same connection.
func TestAgentStartsAnew(t *testing.T) {
	g := newGuest(t)
	p := newPort(t)
	ctx, crash := context.WithCancel(context.Background())
	first, second := p.guest, make(chan struct{})
	// The channel of the first agent must survive its end.
	go func() {
		defer close(second)
		g.agent.Serve(ctx, keepOpen{first}, false)
	}()
	a := New(p.dial)
	a.Repeat, a.Retry = 20*time.Millisecond, 5*time.Millisecond
	t.Cleanup(func() { a.Close() })
	if _, err := a.Info(within(t)); err != nil {
		t.Fatal(err)
	}
	watching := make(chan error, 1)
	go func() { watching <- a.Watch(within(t), func(wire.Event) {}) }()
	crash()
	<-second
	first.SetDeadline(time.Time{})
	g2 := newGuest(t)
	ctx2, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g2.agent.Serve(ctx2, first, false) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := <-watching; !errors.Is(err, ErrLost) {
		t.Errorf("the old watch ended with %v", err)
	}
	if _, err := a.Info(within(t)); err != nil {
		t.Error(err)
	}
}

// keepOpen is a channel whose Close only wakes its reader.
type keepOpen struct{ net.Conn }

func (k keepOpen) Close() error { return k.Conn.SetDeadline(time.Unix(1, 0)) }
