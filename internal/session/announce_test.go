package session

import (
	"os"
	"path/filepath"
	"testing"
)

// A message reaches every terminal, and nothing else below /dev/pts.
func TestAnnounce(t *testing.T) {
	guest, a := machine(t)
	terminals := filepath.Join(guest.root, "dev/pts")
	if err := os.MkdirAll(terminals, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0", "17", "ptmx"} {
		if err := os.WriteFile(filepath.Join(terminals, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Announce(within(t), "one\ntwo"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"0": "\r\n\aone\r\ntwo\r\n", "17": "\r\n\aone\r\ntwo\r\n", "ptmx": ""} {
		if got, err := os.ReadFile(filepath.Join(terminals, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := a.Announce(within(t), ""); err == nil {
		t.Error("nothing was announced")
	}
}
