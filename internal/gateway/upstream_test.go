package gateway

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// busy is a connection whose writes take as long as the test wants.
type busy struct {
	net.Conn
	writes chan string
	answer chan error
	closed chan struct{}
}

func newBusy() *busy {
	return &busy{writes: make(chan string), answer: make(chan error), closed: make(chan struct{})}
}

func (b *busy) Write(p []byte) (int, error) {
	b.writes <- string(p)
	return len(p), <-b.answer
}

func (b *busy) SetWriteDeadline(time.Time) error { return nil }

func (b *busy) Close() error { close(b.closed); return nil }

func TestUpstreamGathersWhileTheMachineIsBusy(t *testing.T) {
	conn, held := newBusy(), new(atomic.Bool)
	u := newUpstream(conn, held)
	go u.run()
	say := func(s string) { _, _ = u.Write([]byte(s)) }
	say("a")
	if got := <-conn.writes; got != "a" {
		t.Fatalf("%q was sent", got)
	}
	for range 1000 {
		say("bc")
	}
	if held.Load() {
		t.Error("it is held while there is room")
	}
	conn.answer <- nil
	if got := <-conn.writes; got != strings.Repeat("bc", 1000) {
		t.Errorf("%d bytes were sent at once, want 2000", len(got))
	}
	// Now as much as it takes, and more.
	over := make(chan struct{})
	go func() { say(strings.Repeat("d", blockSize+1)); close(over) }()
	for !held.Load() {
		runtime.Gosched()
	}
	conn.answer <- nil
	if got := <-conn.writes; len(got) != blockSize {
		t.Errorf("%d bytes were sent at once, want %d", len(got), blockSize)
	}
	<-over
	if held.Load() {
		t.Error("it is held although there is room again")
	}
	u.end()
	conn.answer <- nil
	if got := <-conn.writes; got != "d" {
		t.Errorf("%q was sent at the end", got)
	}
	conn.answer <- nil
	<-conn.closed
}

// A connection that takes no more may still send: its client goes on unheard.
func TestUpstreamDropsWhatNobodyTakes(t *testing.T) {
	conn := newBusy()
	u := newUpstream(conn, new(atomic.Bool))
	go u.run()
	_, _ = u.Write([]byte("a"))
	<-conn.writes
	conn.answer <- errors.New("reset")
	for range 10 {
		_, _ = u.Write(make([]byte, blockSize))
	}
	u.end()
	<-conn.closed
}
