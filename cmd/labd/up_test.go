package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/internal/labtest"
)

func TestCheckDataDir(t *testing.T) {
	dir := labtest.SocketDir(t)
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{open: 0o711, closed: 0o700} {
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for root, want := range map[string]string{
		open:                            "",
		closed:                          "", // up opens it
		filepath.Join(open, "data"):     "",
		filepath.Join(closed, "data"):   "machines' users may not pass through \"" + closed + "\"; run chmod o+x on it",
		"/" + strings.Repeat("a", 45):   "",
		"/" + strings.Repeat("a", 47):   "its name is 2 bytes too long for sockets in it; choose a shorter one with --data-dir",
		filepath.Join(dir, "gone", "x"): "no such file",
	} {
		err := checkDataDir(root)
		switch {
		case err == nil && want != "", err != nil && want == "":
			t.Errorf("%s: %v, want %q", root, err, want)
		case err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %q", root, err, want)
		}
	}
}
