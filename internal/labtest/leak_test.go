package labtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestInventory plants what the check must see.
func TestInventory(t *testing.T) {
	Require(t, Root)
	dir := t.TempDir()
	marker := "slzz" + filepath.Base(filepath.Dir(dir))[len("TestInventory"):]
	marker = marker[:min(len(marker), 12)]
	CheckLeaks(t, marker, dir)
	before, err := Inventory(marker, dir)
	if err != nil || len(before) != 0 {
		t.Fatalf("before anything: %q, %v", before, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = marker
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			t.Error(err)
		}
	})
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", mount, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	after, err := Inventory(marker, dir)
	want := "link " + marker + "\nmount " + mount
	if got := strings.Join(after, "\n"); err != nil || got != want {
		t.Errorf("found %q, %v; want %q", got, err, want)
	}
}
