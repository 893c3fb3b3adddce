package server

import (
	"container/list"
	"io"
	"net"
	"testing"
	"time"
)

// Silent connections keep nobody out: the oldest make room.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sniffer{Listener: l, ready: make(chan net.Conn), done: make(chan struct{}), max: 20, silent: list.New()}
	go s.run()
	defer s.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	var silent []net.Conn
	for range 60 {
		silent = append(silent, dial())
	}
	speaker := dial()
	if _, err := io.WriteString(speaker, "G"); err != nil {
		t.Fatal(err)
	}
	c, err := s.Accept()
	if err != nil || c.RemoteAddr().String() != speaker.LocalAddr().String() {
		t.Fatalf("the one that speaks did not get in: %v, %v", c, err)
	}
	defer c.Close()
	for _, c := range silent[:40] {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("a silent connection was answered")
		}
	}
	// The youngest are still heard.
	last := silent[59]
	if _, err := io.WriteString(last, "G"); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Accept(); err != nil || c.RemoteAddr().String() != last.LocalAddr().String() {
		t.Errorf("%v, %v", c, err)
	}
	s.mu.Lock()
	held := s.silent.Len()
	s.mu.Unlock()
	if held > 20 {
		t.Errorf("%d are held", held)
	}
}
