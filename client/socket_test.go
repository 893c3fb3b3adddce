package client

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// counted counts what reaches the network, and what in one piece.
type counted struct {
	io.ReadWriteCloser
	writes int
	most   int
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes++
	c.most = max(c.most, len(p))
	return c.ReadWriteCloser.Write(p)
}

// What is written at once leaves at once, and arrives as it was.
func TestStreamsSendMessagesInOnePiece(t *testing.T) {
	arrived := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		got, _ := io.ReadAll(websocket.NetConn(r.Context(), ws, websocket.MessageBinary))
		arrived <- got
	}))
	defer server.Close()
	c, err := New(Config{APIBaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.dialSocket(context.Background(), strings.Replace(server.URL, "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	network := &counted{ReadWriteCloser: s.out.ReadWriteCloser}
	s.out.ReadWriteCloser = network
	conn := s.stream()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 3*maxMessage/16)
	sent = append(sent, "the end"...)
	if n, err := conn.Write(sent); n != len(sent) || err != nil {
		t.Fatalf("%d bytes were sent, %v", n, err)
	}
	if network.writes != 4 || network.most < maxMessage {
		t.Errorf("%d bytes took %d writes of at most %d bytes, want 4", len(sent), network.writes, network.most)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got := <-arrived; !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrived of %d, or others", len(got), len(sent))
	}
}
