package gateway

import (
	"encoding/binary"
	"strings"
	"testing"

	"sandlot/api"
)

func TestFlowWaitsForAcknowledgements(t *testing.T) {
	ack := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	f := newFlow(true)
	f.wait()
	f.sent(api.Ahead)
	for what, payload := range map[string][]byte{
		"more than was sent": ack(api.Ahead + 1), "too short": {1}, "nothing": nil,
	} {
		if f.ack(payload) {
			t.Errorf("an acknowledgement of %s was taken", what)
		}
	}
	passed := make(chan bool)
	go func() {
		f.wait()
		passed <- f.shown == 1
	}()
	if !f.ack(ack(1)) {
		t.Error("an acknowledgement was refused")
	}
	if !<-passed {
		t.Error("more was sent before anything was acknowledged")
	}
	if f.ack(ack(0)) {
		t.Error("an acknowledgement was taken back")
	}
	f.sent(api.Ahead)
	go func() {
		f.wait()
		passed <- f.over
	}()
	f.end()
	if !<-passed {
		t.Error("the end of the client lets nobody go")
	}
	plain := newFlow(false)
	plain.sent(10 * api.Ahead)
	plain.wait()
	if plain.ack(ack(1)) {
		t.Error("an acknowledgement of a program that is not kept was taken")
	}
}

func TestKeepName(t *testing.T) {
	tty := &api.TTY{}
	ask := func(session, shell string) (string, error) {
		return keepName(api.TerminalRequest{TTY: tty, Keep: api.Keep{Session: session}}, shell)
	}
	good := "0123456789abcdef"
	one, err := ask(good, "")
	if err != nil || one == "" {
		t.Errorf("%q, %v", one, err)
	}
	if other, _ := ask(good, "shell"); other == one {
		t.Error("a visitor of a shell goes on with what the owner keeps")
	}
	if same, _ := ask(good, ""); same != one {
		t.Error("the same session has two names")
	}
	if none, err := ask("", ""); none != "" || err != nil {
		t.Errorf("no session: %q, %v", none, err)
	}
	for _, bad := range []string{"short", strings.Repeat("x", 65), good + "/..", good + "\n"} {
		if _, err := ask(bad, ""); err == nil {
			t.Errorf("session %q was taken", bad)
		}
	}
	tty = nil
	if _, err := ask(good, ""); err == nil {
		t.Error("a program without a terminal is kept")
	}
}
