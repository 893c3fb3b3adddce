//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/internal/labtest"
)

const parent = "sandlot-test"

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// sleeper is a command that lives until it is killed.
func sleeper(t *testing.T) Command {
	t.Helper()
	labtest.Require(t, labtest.Root)
	c := Command{
		Name: fmt.Sprintf("p%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")), Dir: t.TempDir(),
		Path: "/bin/sleep", Args: []string{"1000"}, Cgroup: parent, Limits: Limits{CPUs: 1.5, MemoryMiB: 64},
		OOMScoreAdj: 300, UID: 65534, GID: 65534,
	}
	t.Cleanup(func() {
		if err := (Launcher{}).Kill(context.Background(), c.Dir, c.Cgroup, c.Name); err != nil {
			t.Error(err)
		}
		if left, err := (&Cgroups{}).List(parent); err != nil || slices.Contains(left, c.Name) {
			t.Errorf("cgroup is left: %v, %v", left, err)
		}
		if err := (&Cgroups{}).RemoveParent(parent); err != nil {
			t.Error(err)
		}
	})
	return c
}

func procFile(t *testing.T, pid int, name string) string {
	t.Helper()
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestStartConfines(t *testing.T) {
	c := sleeper(t)
	p, err := Launcher{}.Start(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	status := procFile(t, p.PID, "status")
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534", "Groups:\t \n", "NoNewPrivs:\t1", "CapPrm:\t0000000000000000"} {
		if !strings.Contains(status, want) {
			t.Errorf("status lacks %q:\n%s", want, status)
		}
	}
	if got := procFile(t, p.PID, "oom_score_adj"); got != "300\n" {
		t.Errorf("oom_score_adj is %q", got)
	}
	if got := procFile(t, p.PID, "limits"); !strings.Contains(got, "Max core file size        0 ") {
		t.Errorf("core dumps are on:\n%s", got)
	}
	if sid, err := unix.Getsid(p.PID); err != nil || sid != p.PID {
		t.Errorf("session is %d, %v", sid, err)
	}
	hierarchies, err := (&Cgroups{}).Hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hierarchies {
		// The thread that forked leaves the cgroup when it ends, soon after.
		for ctx := testContext(t); ; time.Sleep(time.Millisecond) {
			body, err := os.ReadFile(filepath.Join(h.Path, parent, c.Name, "cgroup.procs"))
			if err != nil || ctx.Err() != nil {
				t.Fatalf("%s: members %q, %v", h.Path, body, err)
			}
			if strings.TrimSpace(string(body)) == fmt.Sprint(p.PID) {
				break
			}
		}
		if slices.Contains(h.Controllers, "memory") && !h.Unified {
			if body, err := os.ReadFile(filepath.Join(h.Path, parent, c.Name, "memory.limit_in_bytes")); err != nil || string(body) != "67108864\n" {
				t.Errorf("memory limit %q, %v", body, err)
			}
		}
	}
	// What Start did to a thread must not stay with this process.
	if strings.Contains(procFile(t, os.Getpid(), "status"), "NoNewPrivs:\t1") {
		t.Error("this process has no_new_privs")
	}
	if got := procFile(t, os.Getpid(), "cgroup"); strings.Contains(got, parent) {
		t.Errorf("this process is in the VMM's cgroup:\n%s", got)
	}
	info, err := os.Stat(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o711 {
		t.Errorf("run directory has mode %v", info.Mode())
	}
}

func TestStartEntersNetNS(t *testing.T) {
	c := sleeper(t)
	c.NetNS = filepath.Join(t.TempDir(), "netns")
	if err := os.WriteFile(c.NetNS, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), c.NetNS, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(c.NetNS, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p, err := Launcher{}.Start(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var want, got unix.Stat_t
	if err := errors.Join(unix.Stat(c.NetNS, &want), unix.Stat(fmt.Sprintf("/proc/%d/ns/net", p.PID), &got)); err != nil {
		t.Fatal(err)
	}
	if want.Ino != got.Ino {
		t.Errorf("namespace is %d, want %d", got.Ino, want.Ino)
	}
}

func TestStartPassesFilesAndNoEnvironment(t *testing.T) {
	c := sleeper(t)
	t.Setenv("SANDLOT_SECRET", "x")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Path, c.Args, c.Files = "/bin/sh", []string{"-c", "env >&3; echo trouble >&2; exit 7"}, []*os.File{w}
	p, err := Launcher{}.Start(testContext(t), c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if p.Status() != "ended with exit code 7" {
		t.Errorf("status %q", p.Status())
	}
	environ := make([]byte, 4096)
	n, err := r.Read(environ)
	if err != nil || !strings.Contains(string(environ[:n]), Marker+"="+c.Dir) || strings.Contains(string(environ[:n]), "SECRET") {
		t.Errorf("environment %q, %v", environ[:n], err)
	}
	if log, err := os.ReadFile(filepath.Join(c.Dir, LogFile)); err != nil || string(log) != "trouble\n" {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestStartReportsMissingProgram(t *testing.T) {
	c := sleeper(t)
	c.Path = "/nonexistent/vmm"
	if _, err := (Launcher{}).Start(testContext(t), c); err == nil || !strings.Contains(err.Error(), "/nonexistent/vmm") {
		t.Errorf("got %v", err)
	}
	if left, err := (&Cgroups{}).List(parent); err != nil || slices.Contains(left, c.Name) {
		t.Errorf("cgroup is left: %v, %v", left, err)
	}
}

// A labd killed right after the fork has written no record.
func TestFindWithoutRecord(t *testing.T) {
	c := sleeper(t)
	p, err := Launcher{}.Start(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, broken := range []string{"", "{", `{"pid":1,"start":1,"boot":"x"}`} {
		if err := os.WriteFile(filepath.Join(c.Dir, RecordFile), []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		// The process may not have executed yet, but it has been forked.
		found, err := Launcher{}.Find(c.Dir)
		if err != nil || found.PID != p.PID {
			t.Fatalf("record %q: found %v, %v", broken, found, err)
		}
		found.Close()
	}
	list, err := Launcher{}.List(filepath.Dir(c.Dir))
	if err != nil || !slices.Contains(list, Found{PID: p.PID, Dir: c.Dir}) {
		t.Errorf("list %v, %v", list, err)
	}
	if err := os.Remove(filepath.Join(c.Dir, RecordFile)); err != nil {
		t.Fatal(err)
	}
	if err := (Launcher{}).Kill(testContext(t), c.Dir, c.Cgroup, c.Name); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestKillTwice(t *testing.T) {
	c := sleeper(t)
	p, err := Launcher{}.Start(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		if err := (Launcher{}).Kill(testContext(t), c.Dir, c.Cgroup, c.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (Launcher{}).Find(c.Dir); !errors.Is(err, ErrNone) {
		t.Errorf("still found: %v", err)
	}
	if err := p.Wait(testContext(t)); err != nil {
		t.Error(err)
	}
}

// A pid in a record that now belongs to somebody else must be left alone.
func TestKillSparesReusedPID(t *testing.T) {
	c := sleeper(t)
	other := c
	other.Name, other.Dir = c.Name+"-other", t.TempDir()
	p, err := Launcher{}.Start(testContext(t), other)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	t.Cleanup(func() { Launcher{}.Kill(context.Background(), other.Dir, other.Cgroup, other.Name) })
	boot, err := Launcher{}.bootID()
	if err != nil {
		t.Fatal(err)
	}
	for _, stale := range []string{
		fmt.Sprintf(`{"pid":%d,"start":%d,"boot":%q}`, p.PID, p.start-1, boot),
		fmt.Sprintf(`{"pid":%d,"start":%d,"boot":"another"}`, p.PID, p.start),
	} {
		if err := os.WriteFile(filepath.Join(c.Dir, RecordFile), []byte(stale), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (Launcher{}).Kill(testContext(t), c.Dir, c.Cgroup, c.Name); err != nil {
			t.Fatal(err)
		}
		if found, err := (Launcher{}).Find(other.Dir); err != nil || found.PID != p.PID {
			t.Fatalf("the other process was killed by record %s", stale)
		} else {
			found.Close()
		}
	}
}

func TestParseStat(t *testing.T) {
	tail := strings.Repeat(" 0", 18) + " 4711 0 0"
	for name, tc := range map[string]struct {
		stat string
		want uint64
		ok   bool
	}{
		"plain":             {"1 (sh) S" + tail, 4711, true},
		"name with bracket": {"1 (a) Z (b) S" + tail, 4711, true},
		"zombie":            {"1 (sh) Z" + tail, 0, false},
		"short":             {"1 (sh) S 0", 0, false},
		"garbage":           {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(tc.stat))
			if got != tc.want || (err == nil) != tc.ok {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

// The layouts of cgroups that hosts have, on plain directories.
func TestCgroupLayouts(t *testing.T) {
	for name, tc := range map[string]struct {
		mounts    []Hierarchy
		want      map[string]string
		unlimited int
	}{
		"version 2": {
			[]Hierarchy{{Path: "v2", Unified: true, Controllers: []string{"cpu", "io", "memory"}}},
			map[string]string{"v2/p/n/memory.max": "67108864", "v2/p/n/cpu.max": "150000 100000", "v2/p/n/cpu.weight": "25", "v2/cgroup.subtree_control": "+memory"}, 0,
		},
		"version 1": {
			[]Hierarchy{{Path: "cpu", Controllers: []string{"rw", "cpu", "cpuacct"}}, {Path: "memory", Controllers: []string{"memory"}}, {Path: "pids", Controllers: []string{"pids"}}},
			map[string]string{"memory/p/n/memory.limit_in_bytes": "67108864", "cpu/p/n/cpu.cfs_quota_us": "150000", "cpu/p/n/cpu.shares": "256"}, 0,
		},
		"split between both": {
			[]Hierarchy{{Path: "cpu", Controllers: []string{"cpu"}}, {Path: "v2", Unified: true, Controllers: []string{"memory"}}},
			map[string]string{"v2/p/n/memory.max": "67108864", "cpu/p/n/cpu.cfs_quota_us": "150000", "cpu/p/n/cpu.shares": "256"}, 0,
		},
		"version 2 without controllers": {[]Hierarchy{{Path: "v2", Unified: true}}, nil, 2},
		"none":                          {[]Hierarchy{}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for i := range tc.mounts {
				h := &tc.mounts[i]
				h.Path = filepath.Join(root, h.Path)
				group := filepath.Join(h.Path, "p", "n")
				if err := os.MkdirAll(group, 0o755); err != nil {
					t.Fatal(err)
				}
				// The kernel makes these files; Ensure must not.
				for _, file := range []string{"memory.max", "cpu.max", "memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.weight", "cpu.shares"} {
					if err := os.WriteFile(filepath.Join(group, file), nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(filepath.Join(h.Path, "cgroup.subtree_control"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cgroups := &Cgroups{Mounts: tc.mounts}
			group, err := cgroups.Ensure("p", "n", Limits{CPUs: 1.5, MemoryMiB: 64, CPUWeight: 25})
			if err != nil {
				t.Fatal(err)
			}
			if len(group.Unlimited) != tc.unlimited {
				t.Errorf("unlimited: %q", group.Unlimited)
			}
			for file, want := range tc.want {
				body, err := os.ReadFile(filepath.Join(root, file))
				if err != nil || string(body) != want {
					t.Errorf("%s is %q, want %q, %v", file, body, want, err)
				}
			}
			if err := (Launcher{Cgroups: cgroups}).Weigh("p", "n", 30); err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]string{"v2/p/n/cpu.weight": "30", "cpu/p/n/cpu.shares": "307"} {
				if _, listed := tc.want[file]; !listed {
					continue
				}
				if body, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(body) != want {
					t.Errorf("weighed again, %s is %q, want %q, %v", file, body, want, err)
				}
			}
		})
	}
}

func TestCgroupNamesStayInside(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b"} {
		if _, err := (&Cgroups{Mounts: []Hierarchy{}}).Ensure("p", name, Limits{}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
