package session

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"sandlot/guest/wire"
	"sandlot/internal/labtest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func echoed(t *testing.T, c net.Conn, say string) {
	t.Helper()
	go func() {
		_, _ = io.WriteString(c, say)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "you said "+say {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading a closed connection gave %v", err)
	}
}

// Bytes go over the network where it works, else through the channel; the
// caller sees no difference.
func TestDialBeside(t *testing.T) {
	inside := labtest.Service(t, func(c net.Conn) {
		defer c.Close()
		b, _ := io.ReadAll(c)
		_, _ = c.Write(append([]byte("you said "), b...))
	})
	stranger := labtest.Service(t, func(c net.Conn) {
		defer c.Close()
		_, _ = io.ReadFull(c, make([]byte, 26))
		_, _ = c.Write([]byte(strings.Repeat("A", 26)))
	})
	port := netip.MustParseAddrPort("127.0.0.1:" + stranger)
	for name, dial := range map[string]func(ctx context.Context, to netip.AddrPort) (net.Conn, error){
		"works": func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", to.String())
		},
		"is down": func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("no route") },
		"is filtered": func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"belongs to another": func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", port.String())
		},
	} {
		t.Run("the network "+name, func(t *testing.T) {
			_, a := machine(t)
			var tried atomic.Int32
			way := Beside{Address: loopback, Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				tried.Add(1)
				return dial(ctx, to)
			}}
			for range 2 {
				c, err := a.DialBeside(within(t), ":"+inside, way)
				if err != nil {
					t.Fatal(err)
				}
				if _, over := c.(*besideConn); over != (name == "works") {
					t.Errorf("over the network: %v", over)
				}
				echoed(t, c, strings.Repeat("abc", 200_000))
			}
			// What did not work is let alone for a while.
			if want := map[bool]int32{true: 2, false: 1}[name == "works"]; tried.Load() != want {
				t.Errorf("tried %d times, want %d", tried.Load(), want)
			}
			if _, err := a.DialBeside(within(t), "127.0.0.1:1", way); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("a closed port: %v", err)
			}
		})
	}
	t.Run("the machine has no such address", func(t *testing.T) {
		_, a := machine(t)
		c, err := a.DialBeside(within(t), ":"+inside, Beside{Address: netip.MustParseAddr("192.0.2.1"), Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			return nil, errors.New("must not be asked")
		}})
		if err != nil {
			t.Fatal(err)
		}
		echoed(t, c, "abc")
	})
}

// A machine that is cut off ends its connections over the network, too.
func TestConnectionsBesideEndWithTheChannel(t *testing.T) {
	_, a := machine(t)
	service := labtest.Service(t, func(c net.Conn) { defer c.Close(); _, _ = io.Copy(io.Discard, c) })
	c, err := a.DialBeside(within(t), ":"+service, Beside{Address: loopback, Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", to.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, over := c.(*besideConn); !over {
		t.Fatal("it went through the channel")
	}
	a.Reset()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on")
	}
}

// A guest cannot have labd connect to anything but the machine's address, nor
// send it anything long.
func TestOffersAreNotBelieved(t *testing.T) {
	for name, offer := range map[string]wire.Beside{
		"elsewhere":  {Address: "10.0.0.1:80", Key: "k", Proof: "p"},
		"no address": {Address: "x", Key: "k", Proof: "p"},
		"no proof":   {Address: "127.0.0.1:80", Key: "k"},
		"long":       {Address: "127.0.0.1:80", Key: strings.Repeat("k", 1000), Proof: "p"},
	} {
		a := lying(t, func(s net.Conn, req wire.Request) {
			_ = wire.WriteMessage(s, wire.Response{Beside: &offer})
			_, _ = io.ReadFull(s, make([]byte, 1))
			_, _ = io.WriteString(s, "by the channel")
			s.Close()
		})
		c, err := a.DialBeside(within(t), ":80", Beside{Address: loopback, Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			if to.Addr() != loopback {
				t.Errorf("%s: labd dials %s", name, to)
			}
			return nil, errors.New("no")
		}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(c); string(got) != "by the channel" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		c.Close()
	}
}
