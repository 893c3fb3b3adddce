package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/labtest"
)

func sample() Report {
	return NewReport([]Check{
		ok("root", "running as root"),
		kvmVerdict(false, "guest printed nothing", 10*time.Second),
		qemuVerdict("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"),
		toolsVerdict("tools", Error, "kernels and volumes are made with them", neededTools, func(p string) bool { return p != "depmod" && p != "mke2fs" && p != "e2fsck" }),
		poolVerdict(Pool{Ready: true, Info: "XFS in /x/pool.img on /dev/loop0, direct I/O", Total: 40 << 30, Free: 30 << 30, Reserve: 2 << 30}, nil),
		{Name: "several\nlines", Level: Warning, Detail: "first\n  second", Mend: "do\nthis <now>"},
	})
}

func TestWriteText(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	labtest.Golden(t, "report.txt", b.String())
}

func TestWriteJSON(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	labtest.Golden(t, "report.json", b.String())
	var back Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), back); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := NewReport(nil).WriteJSON(&b); err != nil || b.String() != "{\n  \"ok\": true,\n  \"checks\": []\n}\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestReportOK(t *testing.T) {
	if !NewReport([]Check{ok("a", ""), warn("b", "", "")}).OK {
		t.Error("a warning stops labs")
	}
	if NewReport([]Check{ok("a", ""), fail("b", "", "")}).OK {
		t.Error("an error does not")
	}
}

// want describes a verdict: "ok", "warn" or "fail", and a part of its text.
type want struct{ mark, text string }

func (w want) check(t *testing.T, c Check) {
	t.Helper()
	if got := strings.ToLower(mark(c)); got != w.mark {
		t.Errorf("%s: %q, want %q (%s)", c.Name, got, w.mark, c.Detail)
	}
	if text := c.Detail + "; " + c.Mend; !strings.Contains(text, w.text) {
		t.Errorf("%s says %q, want %q in it", c.Name, text, w.text)
	}
	if !c.OK && c.Mend == "" {
		t.Errorf("%s has no mend", c.Name)
	}
}

func TestRootVerdict(t *testing.T) {
	want{"fail", "user 1000"}.check(t, rootVerdict(1000, ""))
	want{"ok", "root"}.check(t, rootVerdict(0, "Name:\tx\nCapEff:\t000001ffffffffff\n"))
	// What Docker gives to root in a container.
	want{"fail", "CAP_NET_ADMIN, CAP_SYS_ADMIN"}.check(t, rootVerdict(0, "CapEff:\t00000000a80425fb\n"))
}

func TestQEMUVerdict(t *testing.T) {
	want{"ok", "QEMU 8.2.2"}.check(t, qemuVerdict("QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)"))
	want{"ok", "10.0.0"}.check(t, qemuVerdict("QEMU emulator version 10.0.0"))
	want{"warn", "6.2 or newer"}.check(t, qemuVerdict("QEMU emulator version 5.2.0"))
	want{"warn", "no version"}.check(t, qemuVerdict("hello"))
}

func TestToolsVerdict(t *testing.T) {
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	want{"ok", "depmod"}.check(t, toolsVerdict("tools", Error, "why", neededTools, all))
	want{"fail", "; apt-get install e2fsprogs xfsprogs kmod apt dpkg"}.check(t, toolsVerdict("tools", Error, "why", neededTools, none))
	want{"warn", "missing: buildah, mmdebstrap, mkfs.btrfs (why)"}.check(t, toolsVerdict("image tools", Warning, "why", usefulTools, none))
}

func TestPoolVerdict(t *testing.T) {
	want{"fail", "no room for it"}.check(t, poolVerdict(Pool{}, errors.New("no room for it")))
	want{"ok", "not made yet: 39.5 GiB"}.check(t, poolVerdict(Pool{Info: "39.5 GiB of XFS"}, nil))
	want{"ok", "10 GiB used, 30 GiB free"}.check(t, poolVerdict(Pool{Ready: true, Total: 40 << 30, Free: 30 << 30, Reserve: 2 << 30}, nil))
	want{"warn", "no new play"}.check(t, poolVerdict(Pool{Ready: true, Total: 40 << 30, Free: 2 << 30, Reserve: 2 << 30}, nil))
}

func TestForwardVerdict(t *testing.T) {
	docker := chain{"ip", "filter", "FORWARD", true}
	want{"ok", "no other firewall"}.check(t, forwardVerdict("1\n", nil, "sandlot-", "sl"))
	want{"ok", "switches it on"}.check(t, forwardVerdict("0\n", nil, "sandlot-", "sl"))
	want{"ok", "no other"}.check(t, forwardVerdict("1\n", []chain{{"inet", "sandlot-1a2b", "forward", true}, {"ip", "filter", "FORWARD", false}}, "sandlot-", "sl"))
	want{"warn", `nft insert rule ip filter FORWARD iifname "sl*" accept`}.check(t, forwardVerdict("1\n", []chain{docker}, "sandlot-", "sl"))
}

func TestCgroups(t *testing.T) {
	fine := func(string) error { return nil }
	readOnly := func(string) error { return errors.New("read-only file system") }
	v2 := "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
	v1 := "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n"
	for name, tc := range map[string]struct {
		mounts, controllers string
		try                 func(string) error
		want                want
	}{
		"v2":                       {v2, "cpuset cpu io memory pids", fine, want{"ok", "v2: can limit cpu, memory, pids"}},
		"v2, not delegated":        {v2, "", fine, want{"warn", "cannot limit cpu, memory, pids"}},
		"v1":                       {v1, "", fine, want{"ok", "v1: can limit cpu, memory, pids"}},
		"hybrid, v2 without any":   {v1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", "hugetlb", fine, want{"ok", "hybrid: can limit cpu, memory, pids"}},
		"container":                {v2, "cpu memory pids", readOnly, want{"warn", "cpu (read-only)"}},
		"none":                     {"proc /proc proc rw 0 0\n", "", fine, want{"warn", "none; cannot limit"}},
		"v1 with systemd's alone":  {"cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n", "", fine, want{"warn", "v1; cannot limit cpu"}},
		"memory switched off only": {v2, "cpu pids", fine, want{"warn", "can limit cpu, pids; cannot limit memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, readCgroups(tc.mounts, func(string) string { return tc.controllers }).verdict(tc.try))
		})
	}
}

func TestRoomVerdicts(t *testing.T) {
	const gib = 1 << 30
	want{"ok", "79 GiB free of 252 GiB at /x"}.check(t, diskVerdict("/x", 79*gib, 252*gib, false))
	want{"warn", "need 10 GiB"}.check(t, diskVerdict("/x", 9*gib, 252*gib, false))
	want{"ok", ""}.check(t, diskVerdict("/x", 9*gib, 252*gib, true))
	want{"fail", "need 2 GiB"}.check(t, diskVerdict("/x", gib, 252*gib, false))
	want{"ok", "23.3 GiB available of 23.5 GiB"}.check(t, memoryVerdict("MemTotal: 24683520 kB\nMemFree: 1 kB\nMemAvailable:   24394752 kB\n"))
	want{"warn", "1 GiB available"}.check(t, memoryVerdict("MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n"))
	want{"fail", "smallest machine"}.check(t, memoryVerdict("MemTotal: 4194304 kB\nMemAvailable: 1024 kB\n"))
}

func TestExamineWithoutAnything(t *testing.T) {
	d := Doctor{
		DataDir:  "/nonexistent/sandlot",
		LookPath: func(string) (string, error) { return "", exec.ErrNotFound },
	}
	r := d.Examine(context.Background(), ok("extra", "from wire"))
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
		if !c.OK && (c.Mend == "" || c.Level == "") {
			t.Errorf("no mend or level: %+v", c)
		}
	}
	if got, want := strings.Join(names, " "), "root qemu tools image tools loop netns tun nft forward cgroups disk memory extra"; got != want {
		t.Errorf("checks: %s\nwant:   %s", got, want)
	}
	if r.OK {
		t.Error("a host without QEMU can run labs")
	}
}

func TestExamineThisHost(t *testing.T) {
	labtest.Require(t, labtest.Root)
	before := hostState(t)
	d := Doctor{
		DataDir: t.TempDir(),
		KVM: func(context.Context) (bool, string, time.Duration) {
			return false, "not probed by this test", time.Second
		},
		Pool: func(context.Context) (Pool, error) { return Pool{Info: "not opened by this test"}, nil },
	}
	r := d.Examine(context.Background())
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
	for _, c := range r.Checks {
		switch c.Name {
		case "root", "netns", "tun", "nft", "loop":
			if !c.OK {
				t.Errorf("%+v", c)
			}
		}
	}
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("left on the host:\n%s", diff)
	}
}

// hostState is what the probes could leave: links, this process's cgroups.
func hostState(t *testing.T) []string {
	t.Helper()
	var state []string
	for _, dir := range []string{"/sys/class/net", "/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/memory"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "sandlot-doctor") || dir == "/sys/class/net" {
				state = append(state, dir+"/"+e.Name())
			}
		}
	}
	return state
}
