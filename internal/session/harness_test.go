package session

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sandlot/guest/agent"
	"sandlot/internal/labtest"
)

// TestMain lets the test binary be the helper that copies files as a user.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[0] == agent.HelperName {
		if err := agent.HelperMain(os.Args[1], os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// A process inherits ignored signals, and whoever runs the tests may ignore
	// this one; a machine's agent does not.
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	go func() { <-interrupt; os.Exit(130) }()
	os.Exit(m.Run())
}

// port is a virtio-serial port in memory: the guest's end is one channel for
// ever, the host's end comes and goes, bytes that nobody took stay.
type port struct {
	listener net.Listener
	guest    net.Conn

	mu   sync.Mutex
	host net.Conn
}

// newPort listens on a Unix socket, as QEMU does for its virtserialport, and
// carries bytes between the connection of the moment and the guest's end.
func newPort(t *testing.T) *port {
	l, err := net.Listen("unix", filepath.Join(labtest.SocketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	guest, vmm := socketPair(t)
	p := &port{listener: l, guest: guest}
	t.Cleanup(func() { l.Close(); guest.Close(); vmm.Close() })
	go func() { // guest to host: without a host, the bytes wait
		buf := make([]byte, 4096)
		for {
			n, err := vmm.Read(buf)
			if err != nil {
				return
			}
			for {
				if c := p.current(); c != nil {
					if _, err := c.Write(buf[:n]); err == nil {
						break
					}
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			if p.host != nil {
				p.host.Close()
			}
			p.host = c
			p.mu.Unlock()
			go func() {
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if _, err := vmm.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return p
}

func (p *port) current() net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.host
}

func (p *port) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", p.listener.Addr().String())
}

func socketPair(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("unix", filepath.Join(labtest.SocketDir(t), "p"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// guestRoot is a machine's /etc and home directory, owned by the test.
type guestRoot struct {
	agent *agent.Agent
	root  string
	user  string
	home  string
}

func newGuest(t *testing.T) *guestRoot {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	home := "/home/me"
	for name, body := range map[string]string{
		"/etc/passwd":                     "me:x:" + me.Uid + ":" + me.Gid + "::" + home + ":/bin/sh\n",
		"/etc/group":                      "",
		"/etc/environment":                "FROM_FILE=\"yes\"\n",
		"/proc/net/tcp":                   "  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A\n   1: 0100007F:1F90 00000000:0000 01\n",
		"/proc/net/tcp6":                  "   0: 00000000000000000000000001000000:0050 0:0 0A\n",
		"/proc/sys/kernel/random/boot_id": "boot-1\n",
		"/proc/sys/kernel/hostname":       "m1\n",
		"/proc/sys/kernel/osrelease":      "6.1\n",
		home + "/.keep":                   "",
	} {
		os.MkdirAll(filepath.Dir(root+name), 0o755)
		if err := os.WriteFile(root+name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := agent.New(agent.Options{Init: "/sbin/init"})
	a.Root = root
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a.Helper = []string{exe, agent.HelperName}
	a.Log = t.Logf
	return &guestRoot{agent: a, root: root, user: "me", home: root + home}
}

// start serves the guest's agent on a port and returns the host's side.
func (g *guestRoot) start(t *testing.T, p *port) *Agent {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.agent.Serve(ctx, p.guest, false)
	}()
	a := New(p.dial)
	a.Repeat, a.Retry = 20*time.Millisecond, 5*time.Millisecond
	t.Cleanup(func() { a.Close(); cancel(); <-done })
	return a
}

func machine(t *testing.T) (*guestRoot, *Agent) {
	g := newGuest(t)
	return g, g.start(t, newPort(t))
}

// within is a generous limit: a test that reaches it hangs.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// safeBuffer is written by Exec while the test looks at it.
type safeBuffer struct {
	mu  sync.Mutex
	b   bytes.Buffer
	hit chan struct{}
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Write(p)
	select {
	case s.hit <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// await waits until the buffer holds text.
func (s *safeBuffer) await(t *testing.T, ctx context.Context, text string) {
	t.Helper()
	for !bytes.Contains([]byte(s.String()), []byte(text)) {
		select {
		case <-s.hit:
		case <-ctx.Done():
			t.Fatalf("no %q in %q", text, s.String())
		}
	}
}

func newSafeBuffer() *safeBuffer { return &safeBuffer{hit: make(chan struct{}, 1)} }
