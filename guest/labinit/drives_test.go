package labinit

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sandlot/guest/wire"
)

func TestMountOrder(t *testing.T) {
	var mounts []wire.Mount
	for _, p := range []string{"/data/b/c", "/srv", "/data", "/data/b"} {
		mounts = append(mounts, wire.Mount{Path: p})
	}
	var got []string
	for _, m := range inOrder(mounts) {
		got = append(got, m.Path)
	}
	if want := []string{"/data", "/data/b", "/data/b/c", "/srv"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if mounts[0].Path != "/data/b/c" {
		t.Error("the configuration was changed")
	}
}

func TestDriveMounts(t *testing.T) {
	table := "proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vdb /my\\040data xfs rw 0 0\ntmpfs /dev/vdc tmpfs rw 0 0\nbroken\n/dev/vdc /my\\040data/in ext4 ro 0 0\n"
	if got, want := driveMounts(table), []string{"/my data/in", "/my data", "/"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOthersRun(t *testing.T) {
	proc := t.TempDir()
	add := func(pid, cmdline string) {
		os.Mkdir(filepath.Join(proc, pid), 0o755)
		os.WriteFile(filepath.Join(proc, pid, "cmdline"), []byte(cmdline), 0o644)
	}
	add("1", "/init\x00")
	add("2", "") // a kernel thread
	add("90", "@sandlot-agent\x00{}\x00")
	add("self", "x")
	if othersRun(proc) {
		t.Error("the agent alone holds up a shutdown")
	}
	add("91", "/usr/sbin/sshd\x00-D\x00")
	if !othersRun(proc) {
		t.Error("sshd is not seen")
	}
}
