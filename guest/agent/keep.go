package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
)

// Kept processes outlive the stream that they were started on: a person's
// shell is still there after a network cut, a restart of labd or a reload of
// the page.
//
//	attached ─stream ends─▶ detached ─same name─▶ attached (what was missed again, then live)
//	                            │
//	                         keepFor ─▶ hung up
//
// One stream at a time has it; a later one takes it from the former. While
// there is a stream, output waits for it; without one, only the last
// wire.KeepOutput bytes stay.

// keepFor is how long a kept process waits for somebody to come back.
const keepFor = 30 * time.Minute

// keepSlack is how much output may be read ahead of an attached stream.
const keepSlack = 64 << 10

type keeper struct {
	mu    sync.Mutex
	named map[string]*kept
}

// kept is one such process.
type kept struct {
	p    *process
	gone chan struct{} // closed when the process has exited

	mu      sync.Mutex
	changed *sync.Cond
	tail    []byte // the last bytes of its output
	total   uint64 // how many there were in all
	exit    *wire.Exit
	holder  *yamux.Stream // who is attached; nil: nobody
	sent    uint64        // the number of the next byte for the holder
	idle    *time.Timer
}

func (a *Agent) execKept(ctx context.Context, s *yamux.Stream, e wire.Exec) error {
	if e.TTY == nil || len(e.Keep) > wire.MaxKeepName {
		return fmt.Errorf("only programs with a terminal can be kept, by a name of at most %d bytes", wire.MaxKeepName)
	}
	u, err := a.account(e.User)
	if err != nil {
		return err
	}
	out := &frames{w: s}
	// One at a time: of two streams that ask at once, the second attaches.
	a.kept.mu.Lock()
	k, began := a.kept.named[e.Keep], false
	if k == nil {
		if err := a.kept.room(); err != nil {
			a.kept.mu.Unlock()
			return err
		}
		began = true
		k = &kept{gone: make(chan struct{})}
		k.changed = sync.NewCond(&k.mu)
		var failure *wire.Exit
		if k.p, failure = a.launch(u, e, k.add); failure != nil {
			a.kept.mu.Unlock()
			respond(s, wire.Response{})
			out.exit(*failure)
			return nil
		}
		if a.kept.named == nil {
			a.kept.named = map[string]*kept{}
		}
		a.kept.named[e.Keep] = k
		go k.run()
	}
	attached := k.attach(s, e.Seen)
	a.kept.mu.Unlock()
	attached.New = began
	respond(s, wire.Response{})
	opening, _ := json.Marshal(attached) // numbers always encode
	out.write(wire.FrameAttached, opening)
	if !began {
		k.resize(*e.TTY)
	}
	detach := func() { k.detach(s, func() { a.kept.forget(e.Keep, k); k.hangUp() }) }
	over := make(chan struct{})
	go func() {
		defer close(over)
		if k.p.input(s) {
			k.hangUp() // whose end is told before the stream is let go
			return
		}
		detach()
	}()
	defer context.AfterFunc(ctx, func() { interrupt(s) })()
	if k.feed(s, out) {
		a.kept.forget(e.Keep, k)
	}
	interrupt(s)
	<-over
	detach()
	return nil
}

// room makes room for one more, at the cost of one that nobody is attached to.
func (m *keeper) room() error {
	if len(m.named) < wire.MaxKept {
		return nil
	}
	for name, k := range m.named {
		k.mu.Lock()
		free := k.holder == nil
		k.mu.Unlock()
		if free {
			delete(m.named, name)
			go k.hangUp()
			return nil
		}
	}
	return fmt.Errorf("this machine has %d terminals open, the most there may be: close some", wire.MaxKept)
}

func (m *keeper) forget(name string, k *kept) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.named[name] == k {
		delete(m.named, name)
	}
}

// run follows the process to its end.
func (k *kept) run() {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		copyOutput(k.p.stdout, ended, func(b []byte) error { k.add(b); return nil })
	}()
	exit := k.p.wait()
	close(k.gone)
	close(ended)
	k.p.stdout.SetReadDeadline(time.Now())
	<-done
	k.mu.Lock()
	k.exit = &exit
	k.changed.Broadcast()
	k.mu.Unlock()
	k.p.release(nil)
}

// add takes output. It waits while an attached stream is slow.
func (k *kept) add(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.holder != nil && k.total-k.sent > keepSlack {
		k.changed.Wait()
	}
	k.total += uint64(len(b))
	k.tail = append(k.tail, b...)
	// In steps, so that not every byte moves all others.
	if over := len(k.tail) - wire.KeepOutput; over > keepSlack {
		k.tail = append(k.tail[:0], k.tail[over:]...)
	}
	k.changed.Broadcast()
}

// attach gives the process to a stream that has seen so many bytes.
func (k *kept) attach(s *yamux.Stream, seen uint64) wire.Attached {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.idle != nil {
		k.idle.Stop()
	}
	if k.holder != nil {
		interrupt(k.holder)
	}
	k.holder = s
	oldest := k.total - uint64(len(k.tail))
	if k.sent = max(seen, oldest); seen > k.total {
		k.sent = oldest // those were another process's
	}
	k.changed.Broadcast()
	return wire.Attached{From: k.sent, Upto: k.total}
}

// detach lets go of the process, if the stream still has it. What is to be done
// when nobody comes back is late.
func (k *kept) detach(s *yamux.Stream, late func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holder != s {
		return
	}
	k.holder = nil
	k.idle = time.AfterFunc(keepFor, func() {
		k.mu.Lock()
		free := k.holder == nil
		k.mu.Unlock()
		if free {
			late()
		}
	})
	k.changed.Broadcast()
}

// feed sends output to a stream until the process has ended and that was told,
// which it returns, or the stream has it no more.
func (k *kept) feed(s *yamux.Stream, out *frames) bool {
	buf := make([]byte, wire.MaxChunk-5) // with its header, one chunk
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		for k.holder == s && k.sent == k.total && k.exit == nil {
			k.changed.Wait()
		}
		switch {
		case k.holder == nil:
			return false
		case k.holder != s:
			k.mu.Unlock()
			// The stream was interrupted to wake its writer.
			s.SetWriteDeadline(time.Now().Add(writeTimeout))
			told, _ := json.Marshal(wire.Exit{Taken: true})
			out.write(wire.FrameExit, told)
			k.mu.Lock()
			return false
		case k.sent == k.total:
			exit := *k.exit
			k.mu.Unlock()
			out.exit(exit)
			k.mu.Lock()
			return true
		}
		oldest := k.total - uint64(len(k.tail))
		n := copy(buf, k.tail[k.sent-oldest:])
		k.mu.Unlock()
		err := out.write(wire.FrameStdout, buf[:n])
		k.mu.Lock()
		if k.holder == s {
			if err != nil {
				return false
			}
			k.sent += uint64(n)
			k.changed.Broadcast()
		}
	}
}

// resize sets the size anew, and has programs draw their screen again.
func (k *kept) resize(size wire.TTY) {
	pty.Setsize(k.p.stdin, &pty.Winsize{Rows: size.Rows, Cols: size.Cols})
	k.signal(unix.SIGWINCH)
}

// signal leaves those alone who got the number of a process that has ended.
func (k *kept) signal(sig unix.Signal) {
	select {
	case <-k.gone:
	default:
		k.p.signal(sig)
	}
}

// hangUp ends a process that nobody wants any more.
func (k *kept) hangUp() {
	k.signal(unix.SIGHUP)
	k.signal(unix.SIGTERM)
	select {
	case <-k.gone:
	case <-time.After(patience):
		k.signal(unix.SIGKILL)
	}
}

// interrupt makes blocked reads and writes of a stream return.
func interrupt(s *yamux.Stream) { s.SetDeadline(time.Unix(1, 0)) }
