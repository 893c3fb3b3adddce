// Package agent is the process labinit leaves behind in every machine. In
// comes the byte channel from labd (a virtio-serial port or a vsock
// connection) with the requests of guest/wire; out go processes, terminals,
// connections, files and events of the machine. It depends on nothing in the
// machine but the kernel: no network, no service, no init.
package agent

import (
	"context"

	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// Options are what labinit tells the agent.
type Options struct {
	Init  string `json:"init"` // what became process 1
	NoSSH bool   `json:"noSSH,omitempty"`
	// Problem is what labinit could not set up, a line each; "" if nothing.
	Problem string `json:"problem,omitempty"`
}

// Agent serves requests. Use New; a field may be changed before Serve.
type Agent struct {
	Options
	// Root is where /etc/passwd and /proc are read; "" in a machine.
	Root string
	// Helper is the command that runs this program again as HelperMain, with
	// two more arguments; it serves copies as another user.
	Helper []string
	// SSHAddress is asked for sshd's banner.
	SSHAddress string
	// TaskSocket is where another process runs tasks (ServeTasks); "" runs
	// them in this one, and they end with it.
	TaskSocket string
	// Log is for the machine's kernel log.
	Log func(format string, args ...any)
	// CreditEntropy adds to the random pool; nil where that is not possible.
	CreditEntropy func([]byte) error

	events  *board
	accepts *accepts
	tasks   tasks
	cgroup  taskCgroup
	kept    keeper
	fork    sync.Mutex
}

// New returns an agent that works in the machine it runs in.
func New(o Options) *Agent {
	return &Agent{
		Options:    o,
		Helper:     []string{"/proc/self/exe", HelperName},
		SSHAddress: "127.0.0.1:22",
		Log:        func(format string, args ...any) { fmt.Fprintf(os.Stderr, "sandlot: "+format+"\n", args...) },
		events:     newBoard(),
		accepts:    newAccepts(),
	}
}

// Channel is a virtio-serial port or a connection. Close need not be
// supported beyond making later calls fail.
type Channel interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// requestTimeout bounds how long a stream may take to say what it wants.
const requestTimeout = 30 * time.Second

func sessionConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	// The host asks whether we live; asking back would only tell us what the
	// next handshake tells anyway.
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 30 * time.Second
	c.StreamCloseTimeout = 30 * time.Minute // a half-closed connection may live that long
	c.LogOutput = io.Discard
	return c
}

// serveSession runs one yamux session to its end and waits for nothing else:
// what its streams started ends with them.
func (a *Agent) serveSession(ctx context.Context, conn io.ReadWriteCloser) error {
	session, err := yamux.Server(conn, sessionConfig())
	if err != nil {
		return err
	}
	defer session.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { session.Close() })()
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return err
		}
		go a.serveStream(ctx, stream)
	}
}

func (a *Agent) serveStream(ctx context.Context, s *yamux.Stream) {
	defer s.Close()
	defer a.survive()
	s.SetReadDeadline(time.Now().Add(requestTimeout))
	var req wire.Request
	if err := wire.ReadMessage(s, &req); err != nil {
		return
	}
	s.SetReadDeadline(time.Time{})
	if err := a.handle(ctx, s, req); err != nil {
		respond(s, wire.Response{Error: err.Error()})
	}
}

// survive is deferred: one broken request must not cost a person all terminals,
// nor all tasks.
func (a *Agent) survive() {
	if p := recover(); p != nil {
		a.Log("request failed: %v", p)
	}
}

// handle serves one request. An error it returns becomes the response; once
// it has responded itself it returns nil.
func (a *Agent) handle(ctx context.Context, s *yamux.Stream, req wire.Request) error {
	switch {
	case req.Op == wire.OpInfo:
		info := a.info()
		return respond(s, wire.Response{Info: &info})
	case req.Op == wire.OpWatch:
		return a.watch(ctx, s)
	case req.Op == wire.OpExec && req.Exec != nil:
		return a.exec(ctx, s, *req.Exec)
	case req.Op == wire.OpDial && req.Dial != nil:
		return a.dial(ctx, s, *req.Dial)
	case req.Op == wire.OpListen && req.Dial != nil:
		return a.listen(ctx, s, *req.Dial)
	case req.Op == wire.OpAccept:
		return a.accept(ctx, s, req.Accept)
	case (req.Op == wire.OpPut || req.Op == wire.OpGet) && req.Copy != nil:
		return a.copy(ctx, s, req.Op, *req.Copy)
	case req.Op == wire.OpAuthorize && req.Authorize != nil:
		return a.answer(s, a.authorize(*req.Authorize))
	case req.Op == wire.OpPorts:
		ports, err := a.ports()
		if err != nil {
			return err
		}
		return respond(s, wire.Response{Ports: ports})
	case req.Op == wire.OpLinks:
		return respond(s, wire.Response{Links: a.links()})
	case req.Op == wire.OpShutdown:
		return a.answer(s, a.shutdown(req.Shutdown))
	case req.Op == wire.OpRestored && req.Restored != nil:
		return a.answer(s, a.restored(*req.Restored))
	case req.Op == wire.OpAnnounce:
		return a.answer(s, a.announce(req.Announce))
	case req.Op == wire.OpTask && req.Task != nil:
		return a.task(ctx, s, *req.Task)
	}
	return fmt.Errorf("the agent does not know the request %q", req.Op)
}

func (a *Agent) answer(s *yamux.Stream, err error) error {
	if err != nil {
		return err
	}
	return respond(s, wire.Response{})
}

// respond never fails for the caller: if the host is gone, so is who asked.
func respond(s io.Writer, r wire.Response) error {
	wire.WriteMessage(s, r)
	return nil
}

func (a *Agent) info() wire.Info {
	read := func(file string) string {
		b, _ := os.ReadFile(a.Root + file)
		return strings.TrimSpace(string(b))
	}
	return wire.Info{
		BootID:   read("/proc/sys/kernel/random/boot_id"),
		Hostname: read("/proc/sys/kernel/hostname"),
		Kernel:   read("/proc/sys/kernel/osrelease"),
		Init:     a.Init,
	}
}
