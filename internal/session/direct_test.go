package session

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sandlot/guest/wire"
)

// everywhere listens on all addresses; it says who came, and echoes.
func everywhere(t *testing.T, address string) (port string, came chan string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	came = make(chan string, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				came <- c.RemoteAddr().String()
				b, _ := io.ReadAll(c)
				_, _ = c.Write(append([]byte("you said "), b...))
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, came
}

// wired is a machine that sees this host's sockets as its own.
func wired(t *testing.T) *Agent {
	g, a := machine(t)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if err := errors.Join(os.Remove(filepath.Join(g.root, name)), os.Symlink(name, filepath.Join(g.root, name))); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// What listens for everybody is connected to from the host; everything else
// goes through the agent.
func TestDialDirect(t *testing.T) {
	all, came := everywhere(t, "0.0.0.0:0")
	six, cameSix := everywhere(t, "[::]:0")
	stranger, strange := everywhere(t, "0.0.0.0:0")
	inside, cameInside := everywhere(t, "127.0.0.1:0")
	real := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", to.String())
	}
	for _, tt := range []struct {
		name, port string
		came       chan string
		dial       func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
		direct     bool
	}{
		{"it listens for everybody", all, came, real, true},
		{"it listens for everybody, by IPv6 too", six, cameSix, real, true},
		{"it listens on loopback alone", inside, cameInside, real, false},
		{"somebody else has the machine's address", all, came, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			if to.String() == "127.0.0.1:"+all {
				to = netip.MustParseAddrPort("127.0.0.1:" + stranger)
			}
			return real(ctx, to)
		}, false},
		{"a firewall is between", all, came, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := wired(t)
			var mine []string
			dials := 0
			c, err := a.DialBeside(within(t), ":"+tt.port, Beside{Address: loopback, Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				dials++
				c, err := tt.dial(ctx, to)
				if err == nil {
					mine = append(mine, c.LocalAddr().String())
				}
				return c, err
			}})
			if err != nil {
				t.Fatal(err)
			}
			from := <-tt.came
			if direct := len(mine) == 1 && from == mine[0]; direct != tt.direct {
				t.Errorf("the service was reached from %s, labd connected from %q: want direct %v", from, mine, tt.direct)
			}
			if tt.name == "a firewall is between" && dials > 1 {
				t.Errorf("a network that carries nothing was tried %d times", dials)
			}
			echoed(t, c, strings.Repeat("abc", 200_000))
			if len(tt.came) > 0 {
				t.Errorf("the service was reached again, from %s", <-tt.came)
			}
		})
	}
	if from := <-strange; from == "" {
		t.Error("the stranger was not tried")
	}
}

// A host that only one address leads to is asked for by name: that is the
// agent's business.
func TestNamedHostsAreNotDirect(t *testing.T) {
	port, came := everywhere(t, "0.0.0.0:0")
	a := wired(t)
	c, err := a.DialBeside(within(t), "127.0.0.1:"+port, Beside{Address: loopback, Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to.String() == "127.0.0.1:"+port {
			t.Error("labd connects to the service itself")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", to.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-came
	echoed(t, c, "abc")
}

// Of what a guest says about a direct connection, nothing leads elsewhere.
func TestDirectIsNotBelieved(t *testing.T) {
	for name, after := range map[string]wire.Response{
		"by the channel": {},
		"refused":        {Error: "connection refused"},
	} {
		a := lying(t, func(s net.Conn, req wire.Request) {
			_ = wire.WriteMessage(s, wire.Response{Direct: 22})
			var made wire.Direct
			if wire.ReadMessage(s, &made) == nil && made.From == "" {
				_ = wire.WriteMessage(s, after)
				_, _ = io.WriteString(s, "by the channel")
			}
			s.Close()
		})
		c, err := a.DialBeside(within(t), ":80", Beside{Address: loopback, Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			if to.String() != "127.0.0.1:80" {
				t.Errorf("labd dials %s", to)
			}
			return nil, errors.New("no")
		}})
		if after.Error != "" {
			if err == nil || !strings.Contains(err.Error(), after.Error) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
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

// To a port that was open to everybody a moment ago the connection is made
// first, and kept only if the machine is its other end, whatever has changed.
func TestDialDirectAgain(t *testing.T) {
	a := wired(t)
	port, came := everywhere(t, "0.0.0.0:0")
	stranger, strange := everywhere(t, "0.0.0.0:0")
	var mine []string
	to := port
	way := Beside{Address: loopback, Dial: func(ctx context.Context, at netip.AddrPort) (net.Conn, error) {
		if at.String() == "127.0.0.1:"+port {
			at = netip.MustParseAddrPort("127.0.0.1:" + to)
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
		if err == nil {
			mine = append(mine, c.LocalAddr().String())
		}
		return c, err
	}}
	for i, tt := range []struct {
		to     string
		direct bool
	}{{port, true}, {port, true}, {stranger, false}, {port, true}} {
		to, mine = tt.to, nil
		c, err := a.DialBeside(within(t), ":"+port, way)
		if err != nil {
			t.Fatal(err)
		}
		from := <-came
		if direct := len(mine) == 1 && from == mine[0]; direct != tt.direct {
			t.Errorf("connection %d: the service was reached from %s, labd connected from %q", i, from, mine)
		}
		echoed(t, c, "abc")
		if len(came) > 0 {
			t.Errorf("connection %d: the service was reached twice", i)
		}
	}
	if len(strange) != 1 {
		t.Errorf("the stranger was reached %d times", len(strange))
	}
}

// An agent answers at once for a connection that was made first; an older one
// asks for it as ever.
func TestDialDirectFirst(t *testing.T) {
	port, _ := everywhere(t, "0.0.0.0:0")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []bool{false, true} {
		asked := make(chan string, 8)
		a := lying(t, func(s net.Conn, req wire.Request) {
			asked <- req.Dial.From
			confirmed := !old && req.Dial.From != ""
			_ = wire.WriteMessage(s, wire.Response{Direct: number, Confirmed: confirmed})
			var made wire.Direct
			if !confirmed && wire.ReadMessage(s, &made) == nil {
				asked <- made.From
				_ = wire.WriteMessage(s, wire.Response{Direct: number})
			}
			_, _ = io.Copy(io.Discard, s)
		})
		for i := range 2 {
			mine := ""
			c, err := a.DialBeside(within(t), ":"+port, Beside{Address: loopback, Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
				if err == nil {
					mine += c.LocalAddr().String()
				}
				return c, err
			}})
			if err != nil {
				t.Fatal(err)
			}
			echoed(t, c, "abc")
			want := []string{"", mine}
			if i == 1 {
				want = []string{mine}
				if old {
					want = []string{mine, mine}
				}
			}
			for _, w := range want {
				if got := <-asked; got != w {
					t.Errorf("old %v, connection %d: the agent heard of %q, labd connected from %q", old, i, got, mine)
				}
			}
			if len(asked) > 0 {
				t.Errorf("old %v, connection %d: the agent was asked for more: %q", old, i, <-asked)
			}
		}
	}
}
