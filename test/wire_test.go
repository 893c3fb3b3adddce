package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"sync"
	"testing"
)

// wire carries connections to a labd, and can be cut, as networks are: nobody
// says goodbye.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, conns: map[net.Conn]bool{}}
	var carried sync.WaitGroup
	carried.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			carried.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.cut()
		carried.Wait()
	})
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	labd, err := net.Dial("tcp", w.to)
	if err != nil {
		return // it is away
	}
	defer labd.Close()
	w.mu.Lock()
	w.conns[c], w.conns[labd] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, c)
		delete(w.conns, labd)
	}()
	var both sync.WaitGroup
	half := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		to.Close()
		from.Close()
	}
	both.Go(func() { half(labd, c) })
	both.Go(func() { half(c, labd) })
	both.Wait()
}

// cut ends every connection that there is; new ones are carried.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, and no end
		}
		c.Close()
	}
}

var memoryLine = regexp.MustCompile(`(?m)^Vm(HWM|RSS):\s+(\d+) kB$`)

// memory is what a process has in KiB, and the most it has had since the last
// call, as JSON.
func memory(pid int) (string, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	found := memoryLine.FindAllSubmatch(status, -1)
	if len(found) != 2 {
		return "", errors.New("this kernel tells no memory of processes")
	}
	return fmt.Sprintf(`{"most":%s,"now":%s}`, found[0][2], found[1][2]), os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600)
}
