package labtest

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// CheckLeaks compares this host before and after the test: named namespaces,
// links, nft tables, mounts, loop devices, cgroups and processes. Call it
// first, so that it looks after every other cleanup.
//
// Only what carries one of the markers counts, so that tests which run at the
// same time do not see each other: an instance ("1a2b", layout.Instance), a
// path of the test's data directory. Without markers everything named sandlot*
// counts, and nothing else may run.
func CheckLeaks(t testing.TB, markers ...string) {
	t.Helper()
	before, err := Inventory(markers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		if diff := LeakDiff(before, markers...); diff != "" {
			t.Errorf("the host is not what it was (-before +after):\n%s", diff)
		}
	})
}

// LeakDiff compares the host with an earlier Inventory; it is empty if nothing
// differs. What the kernel removes in the background gets ten seconds.
func LeakDiff(before []string, markers ...string) string {
	deadline := time.Now().Add(10 * time.Second)
	for {
		after, err := Inventory(markers...)
		diff := cmp.Diff(before, after)
		if err != nil {
			diff = err.Error()
		}
		if diff == "" || time.Now().After(deadline) {
			return diff
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Inventory lists the host's things that carry a marker, one a line
// ("link sl1a2b0011", "mount /run/netns/…"), sorted. Root only.
func Inventory(markers ...string) ([]string, error) {
	if len(markers) == 0 {
		markers = []string{"sandlot"}
	}
	var found []string
	add := func(kind, name string) {
		for _, m := range markers {
			if strings.Contains(name, m) {
				found = append(found, kind+" "+name)
				return
			}
		}
	}
	for _, look := range []func(func(kind, name string)) error{namespaces, links, tables, mounts, loops, cgroups, processes} {
		if err := look(add); err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	return found, nil
}

func namespaces(add func(kind, name string)) error {
	entries, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		add("netns", e.Name())
	}
	return nil
}

func links(add func(kind, name string)) error {
	list, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		list, err = netlink.LinkList()
	}
	for _, l := range list {
		name := l.Attrs().Name
		if l.Attrs().Alias != "" {
			name += " (" + l.Attrs().Alias + ")"
		}
		add("link", name)
	}
	return err
}

func tables(add func(kind, name string)) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	list, err := conn.ListTables()
	for _, table := range list {
		add("nft", table.Name)
	}
	return err
}

func mounts(add func(kind, name string)) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 {
			add("mount", f[4])
		}
	}
	return err
}

func loops(add func(kind, name string)) error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			add("loop", strings.TrimSpace(string(data)))
		}
	}
	return err
}

// cgroups looks below every hierarchy's root, two levels deep: labd makes
// "<instance>/<machine>".
func cgroups(add func(kind, name string)) error {
	seen := map[string]bool{}
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*/*/*"} {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if info, err := os.Lstat(dir); err == nil && info.IsDir() && !seen[dir] {
				seen[dir] = true
				add("cgroup", dir)
			}
		}
	}
	return nil
}

// processes looks at other processes' command lines; the pid is left out,
// since a restarted one is no leak.
func processes(add func(kind, name string)) error {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(data) == 0 {
			continue // gone meanwhile, or a kernel thread
		}
		args := bufio.NewScanner(bytes.NewReader(bytes.ReplaceAll(data, []byte{0}, []byte{'\n'})))
		args.Buffer(nil, 1<<20)
		var line []string
		for args.Scan() {
			line = append(line, args.Text())
		}
		if len(line) > 0 && processOfOurs(line[0]) {
			add("process", strings.Join(line, " "))
		}
	}
	return err
}

// processOfOurs leaves out shells, editors and test binaries whose command
// lines merely mention a marker.
func processOfOurs(program string) bool {
	switch base := filepath.Base(program); {
	case strings.HasPrefix(base, "qemu-system-"), strings.HasPrefix(base, "labd"),
		base == "firecracker", base == "cloud-hypervisor", strings.HasPrefix(base, "mke2fs"), strings.HasPrefix(base, "mkfs"):
		return true
	}
	return false
}
