package gateway

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/guest/wire"
	"sandlot/internal/play"
)

// The API's frames are the agent's, with the length taken over by WebSocket.
func TestFrameNumbers(t *testing.T) {
	for name, pair := range map[string][2]byte{
		"stdin":    {api.FrameStdin, byte(wire.FrameStdin)},
		"stdout":   {api.FrameStdout, byte(wire.FrameStdout)},
		"stderr":   {api.FrameStderr, byte(wire.FrameStderr)},
		"resize":   {api.FrameResize, byte(wire.FrameResize)},
		"signal":   {api.FrameSignal, byte(wire.FrameSignal)},
		"exit":     {api.FrameExit, byte(wire.FrameExit)},
		"attached": {api.FrameAttached, byte(wire.FrameAttached)},
		"end":      {api.FrameEnd, byte(wire.FrameEnd)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d in the API, %d on the agent's channel", name, pair[0], pair[1])
		}
	}
	// What is under way to a client can be asked for again: what it has not
	// acknowledged, the channel's own window and a frame at each end.
	if under := api.Ahead + 256<<10 + 2*wire.MaxFrame; under > wire.KeepOutput {
		t.Errorf("%d bytes may be under way, and only %d are kept", under, wire.KeepOutput)
	}
	if api.MaxFrame != wire.MaxFrame {
		t.Errorf("MaxFrame differs: %d and %d", api.MaxFrame, wire.MaxFrame)
	}
}

func TestParsePayload(t *testing.T) {
	for in, want := range map[string]Target{
		":22":                     {"dial", ":22"},
		"127.0.0.1:8080":          {"dial", "127.0.0.1:8080"},
		"172.17.0.2:80":           {"dial", "172.17.0.2:80"},
		"[fe80::1]:80":            {"dial", "[fe80::1]:80"},
		"dial:127.0.0.1:80":       {"dial", "127.0.0.1:80"},
		"listen:0.0.0.0:8080":     {"listen", "0.0.0.0:8080"},
		"connect:4df5eb32":        {"connect", "4df5eb32"},
		"  db.local:5432 \n":      {"dial", "db.local:5432"},
		"dial::22":                {"dial", ":22"},
		"":                        {},
		"22":                      {},
		"host:":                   {},
		"host:99999":              {},
		"a:b:c":                   {},
		"listen:8080":             {},
		strings.Repeat("a", 2000): {},
	} {
		got, err := ParsePayload(base64.StdEncoding.EncodeToString([]byte(in)))
		if got != want || (err == nil) != (want != Target{}) {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"OjIy", "OjIyMjI=", "OjIyMjI"} {
		if _, err := ParsePayload(in); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := ParsePayload("%%%"); err == nil {
		t.Error("not base64 was taken")
	}
}

func TestTickets(t *testing.T) {
	now := time.Unix(0, 0)
	tickets := NewTickets[string]()
	tickets.Now = func() time.Time { return now }
	a, b := play.ID("aaaaaaaaaaaaaaaaaaaaaaaa"), play.ID("bbbbbbbbbbbbbbbbbbbbbbbb")
	issue := func(id play.ID, value string, ttl time.Duration) string {
		t.Helper()
		token, err := tickets.Issue(id, value, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := func(token string) bool { _, _, ok := tickets.Look(token); return ok }

	one := issue(a, "one", time.Minute)
	if len(one) != 43 { // 256 bits
		t.Errorf("ticket %q has %d characters", one, len(one))
	}
	if v, id, ok := tickets.Look(one); !ok || v != "one" || id != a || !good(one) {
		t.Errorf("Look: %q %q %v", v, id, ok)
	}
	if _, _, ok := tickets.Take(one); !ok || good(one) {
		t.Error("Take did not use the ticket up")
	}
	short, long, other := issue(a, "", time.Second), issue(a, "", time.Hour), issue(b, "", time.Hour)
	now = now.Add(time.Minute)
	if good(short) || !good(long) {
		t.Error("tickets do not end in time")
	}
	tickets.Revoke(a)
	if good(long) || !good(other) {
		t.Error("Revoke ended the wrong ones")
	}
	first := issue(a, "", time.Minute)
	for range maxTickets {
		issue(a, "", time.Hour)
	}
	if good(first) {
		t.Error("tickets of one play are not bounded")
	}
}

func TestTunnelsAreBounded(t *testing.T) {
	g := New(nil)
	m := api.Machine{Name: "m1"}
	first, _, err := g.addTunnel("aaaaaaaaaaaaaaaaaaaaaaaa", m)
	if err != nil {
		t.Fatal(err)
	}
	busy, _, err := g.addTunnel("aaaaaaaaaaaaaaaaaaaaaaaa", m)
	if err != nil {
		t.Fatal(err)
	}
	g.tunnels[busy].count(1)
	for range maxTunnels {
		if _, _, err := g.addTunnel("aaaaaaaaaaaaaaaaaaaaaaaa", m); err != nil {
			t.Fatal(err)
		}
	}
	if g.tunnels[first] != nil || g.tunnels[busy] == nil || len(g.tunnels) != maxTunnels {
		t.Errorf("%d tunnels, the first kept: %v, the busy one kept: %v", len(g.tunnels), g.tunnels[first] != nil, g.tunnels[busy] != nil)
	}
}
