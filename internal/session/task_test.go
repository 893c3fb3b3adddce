package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/guest/agent"
	"sandlot/guest/wire"
	"sandlot/internal/labtest"
)

func (g *guestRoot) task(name string) wire.Task {
	return wire.Task{Name: name, User: g.user, Boot: "boot-1", TimeoutSeconds: 60}
}

func TestTask(t *testing.T) {
	g, a := machine(t)
	os.WriteFile(filepath.Join(g.root, "/etc/environment"), []byte("FROM_FILE=yes\n"), 0o644)
	big := strings.Repeat("# <&>\n", 400_000) // over a message, and over it once more as JSON
	for name, c := range map[string]struct {
		script   string
		code     int
		out, err string
	}{
		"login":     {"echo $HOME $USER $LOGNAME $FROM_FILE; shopt -q login_shell && echo login", 0, "/home/me me me yes\nlogin\n", ""},
		"shebang":   {"#!/usr/bin/env python3\n[[ -n $BASH_VERSION ]] && echo bash", 0, "bash\n", ""},
		"two":       {"echo out; echo err >&2; exit 3", 3, "out\n", "err\n"},
		"heredoc":   {"cat <<A\n$(cat <<'B'\n$x\nB\n)\nA", 0, "$x\n", ""},
		"no-input":  {"cat; echo done", 0, "done\n", ""},
		"killed":    {"kill -9 $$", 137, "", ""},
		"big":       {big + "echo big", 0, "big\n", ""},
		"not-a-cmd": {"printf '\\xff'", 0, "\xff", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := a.Task(within(t), g.task(name), c.script, nil)
			if err != nil || r.Error != "" || r.Code != c.code || string(r.Stdout) != c.out || string(r.Stderr) != c.err {
				t.Errorf("%v, %+v, out %q, err %q; want code %d, out %q, err %q", err, r, r.Stdout, r.Stderr, c.code, c.out, c.err)
			}
		})
	}
	t.Run("much output", func(t *testing.T) {
		r, err := a.Task(within(t), g.task("much"), "for i in {1..100000}; do echo $i; done; sleep 0.01 & ", nil)
		out := string(r.Stdout)
		if err != nil || r.Code != 0 || len(out) > wire.MaxTaskOutput || !strings.HasSuffix(out, "\n99999\n100000\n") || !strings.HasPrefix(out, "[") ||
			!strings.Contains(out, "bytes before this are not kept]\n") {
			t.Errorf("%v, %+v, %d bytes: %.100q", err, r.Error, len(out), out)
		}
	})
}

func TestTaskRefusals(t *testing.T) {
	g, a := machine(t)
	ghost, other, path := g.task("ghost"), g.task("other"), g.task("../up")
	ghost.User, other.Boot = "ghost", "boot-0"
	for _, c := range []struct {
		task wire.Task
		want string
	}{{ghost, `the machine has no user "ghost"`}, {path, `"../up" is not a task name`}} {
		r, err := a.Task(within(t), c.task, "echo ran > ~/ran", nil)
		if err != nil || r.Code == 0 || r.Error != c.want {
			t.Errorf("%s: %v, %+v", c.task.Name, err, r)
		}
	}
	if r, err := a.Task(within(t), other, "echo ran > ~/ran", nil); err != nil || !r.Rebooted || r.Code == 0 {
		t.Errorf("another boot: %v, %+v", err, r)
	}
	os.WriteFile(filepath.Join(g.root, "/etc/environment"), []byte("PATH=/nowhere\n"), 0o644)
	if r, err := a.Task(within(t), g.task("bashless"), "echo ran > ~/ran", nil); err != nil || !strings.Contains(r.Error, "no bash") {
		t.Errorf("no bash: %v, %+v", err, r)
	}
	if _, err := os.Stat(filepath.Join(g.home, "ran")); err == nil {
		t.Error("a refused task ran")
	}
}

// What a task leaves in the background lives on, and holds nobody up.
func TestTaskLeavesBackgroundProcesses(t *testing.T) {
	g, a := machine(t)
	script := fmt.Sprintf("cd %s; (while [ ! -e mark ]; do echo noise; sleep 0.01; done; echo done > mark2) & echo started", g.home)
	r, err := a.Task(within(t), g.task("server"), script, nil)
	if err != nil || r.Code != 0 || !strings.Contains(string(r.Stdout), "started\n") {
		t.Fatalf("%v, %+v, out %.100q", err, r, r.Stdout)
	}
	os.WriteFile(filepath.Join(g.home, "mark"), nil, 0o644)
	waitFor(t, func() bool { _, err := os.Stat(filepath.Join(g.home, "mark2")); return err == nil })
}

// At its timeout the whole group ends, what it started in the background too.
func TestTaskTimeout(t *testing.T) {
	g, a := machine(t)
	late := g.task("late")
	late.TimeoutSeconds = 1
	r, err := a.Task(within(t), late, "trap 'echo cleaning; exit 1' TERM; sleep 1000 & echo $! > "+g.home+"/pid; echo begun; wait", nil)
	if err != nil || !r.TimedOut || string(r.Stdout) != "begun\ncleaning\n" || r.DurationMs < 1000 {
		t.Errorf("%v, %+v, out %q", err, r, r.Stdout)
	}
	pid, _ := os.ReadFile(filepath.Join(g.home, "pid"))
	waitFor(t, func() bool {
		state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// A host that goes away and comes back finds the same run, before its end and
// after it; an agent that was restarted knows what was begun.
func TestTaskRunsOnce(t *testing.T) {
	g := newGuest(t)
	p := newPort(t)
	a := g.start(t, p)
	script := fmt.Sprintf("cd %s; echo run >> runs; until [ -e go ]; do sleep 0.01; done; echo out; exit 4", g.home)
	begun := func() bool { _, err := os.Stat(filepath.Join(g.home, "runs")); return err == nil }
	ctx, cancel := context.WithCancel(within(t))
	first := make(chan error, 1)
	go func() { _, err := a.Task(ctx, g.task("once"), script, nil); first <- err }()
	waitFor(t, begun)
	cancel()
	if err := <-first; err == nil {
		t.Error("a call whose context has ended succeeded")
	}
	a.Close()

	a = New(p.dial)
	t.Cleanup(func() { a.Close() })
	restarted := agent.New(agent.Options{})
	restarted.Root, restarted.Log = g.root, t.Logf
	other := (&guestRoot{agent: restarted, root: g.root, user: g.user}).start(t, newPort(t))
	if r, err := other.Task(within(t), g.task("once"), script, nil); err != nil || !strings.Contains(r.Error, "was restarted while the task ran") {
		t.Errorf("unfinished: %v, %+v", err, r)
	}
	os.WriteFile(filepath.Join(g.home, "go"), nil, 0o644)
	for range 2 {
		if r, err := a.Task(within(t), g.task("once"), script, nil); err != nil || r.Code != 4 || string(r.Stdout) != "out\n" {
			t.Errorf("%v, %+v", err, r)
		}
	}
	again := agent.New(agent.Options{})
	again.Root, again.Log = g.root, t.Logf
	other = (&guestRoot{agent: again, root: g.root, user: g.user}).start(t, newPort(t))
	if r, err := other.Task(within(t), g.task("once"), script, nil); err != nil || r.Code != 4 || string(r.Stdout) != "out\n" {
		t.Errorf("finished: %v, %+v", err, r)
	}
	if runs, _ := os.ReadFile(filepath.Join(g.home, "runs")); string(runs) != "run\n" {
		t.Errorf("it ran %q", runs)
	}
}

// Tasks that the supervisor runs go on when an agent dies, and the next one
// tells of the same run: what it wrote before, and how it ends.
func TestTaskOutlivesAgent(t *testing.T) {
	g := newGuest(t)
	socket := filepath.Join(labtest.SocketDir(t), "tasks")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go g.agent.ServeTasks(t.Context(), l)
	another := func() (*Agent, func()) {
		one := agent.New(agent.Options{})
		one.Root, one.Log, one.TaskSocket = g.root, t.Logf, socket
		ctx, die := context.WithCancel(t.Context())
		p := newPort(t)
		go one.Serve(ctx, p.guest, false)
		a := New(p.dial)
		t.Cleanup(func() { a.Close() })
		return a, func() { die(); p.guest.Close() }
	}
	script := fmt.Sprintf("cd %s; echo begun; echo run >> runs; until [ -e go ]; do sleep 0.01; done; echo ended; exit 4", g.home)

	a, die := another()
	ctx, cancel := context.WithCancel(within(t))
	lost := make(chan error, 1)
	reports := make(chan string, 100)
	go func() {
		_, err := a.Task(ctx, g.task("once"), script, func(stdout, _ []byte, _ int64) { reports <- string(stdout) })
		lost <- err
	}()
	if got := <-reports; got != "begun\n" {
		t.Errorf("reported %q", got)
	}
	die()
	cancel()
	if err := <-lost; err == nil {
		t.Error("the dead agent told how the task ended")
	}

	a, _ = another()
	r, err := a.Task(within(t), g.task("once"), script, func(stdout, _ []byte, _ int64) {
		if string(stdout) == "begun\n" {
			os.WriteFile(filepath.Join(g.home, "go"), nil, 0o644)
		}
	})
	if err != nil || r.Code != 4 || string(r.Stdout) != "begun\nended\n" {
		t.Errorf("%v, %+v, out %q", err, r, r.Stdout)
	}
	if runs, _ := os.ReadFile(filepath.Join(g.home, "runs")); string(runs) != "run\n" {
		t.Errorf("it ran %q", runs)
	}

	l.Close()
	os.Remove(socket)
	if r, err := a.Task(within(t), g.task("late"), "exit", nil); err != nil || !strings.Contains(r.Error, "cannot reach the supervisor") {
		t.Errorf("without a supervisor: %v, %+v", err, r)
	}
}

// What a task writes is reported while it runs: each byte once, and the end of
// what is more than is kept.
func TestTaskReports(t *testing.T) {
	g, a := machine(t)
	step := func(name string) string { return filepath.Join(g.home, name) }
	script := fmt.Sprintf("echo one; echo err >&2; until [ -e %s ]; do sleep 0.01; done; echo two; until [ -e %s ]; do sleep 0.01; done; seq 100000; until [ -e %s ]; do sleep 0.01; done",
		step("a"), step("b"), step("c"))
	var seen []string
	r, err := a.Task(within(t), g.task("writes"), script, func(stdout, stderr []byte, total int64) {
		out := string(stdout)
		seen = append(seen, out)
		switch {
		case out == "one\n" && string(stderr) == "err\n" && total == 8:
			os.WriteFile(step("a"), nil, 0o644)
		case out == "one\ntwo\n" && string(stderr) == "err\n" && total == 12:
			os.WriteFile(step("b"), nil, 0o644)
		case strings.HasSuffix(out, "\n99999\n100000\n") && total == 588907 && strings.Contains(out, " bytes before this are not kept]\n") && len(out) <= wire.MaxTaskOutput:
			os.WriteFile(step("c"), nil, 0o644)
		}
	})
	if err != nil || r.Code != 0 {
		t.Errorf("%v, %+v after %.200q", err, r, seen)
	}
}

// What a hostile machine reports costs labd no more than an honest one's.
func TestTaskReportsOfAHostileMachine(t *testing.T) {
	var o taskOutput
	for _, c := range []struct {
		at   int64
		text string
		want string
	}{
		{0, "ab", "ab"}, {2, "c", "abc"}, {10, "x", "[10 bytes before this are not kept]\nx"}, {0, "again", "again"}, {-5, "y", "y"},
	} {
		o.add(c.at, []byte(c.text))
		if got := string(o.text()); got != c.want {
			t.Errorf("after %+v: %q", c, got)
		}
	}
	for range 10 {
		o.add(o.at, bytes.Repeat([]byte("x"), wire.MaxMessage))
		if len(o.kept) > wire.MaxTaskOutput || len(o.text()) > wire.MaxTaskOutput {
			t.Fatalf("%d bytes kept", len(o.kept))
		}
	}
}

// A machine is up when systemd has reached labinit's marker and sshd answers, or
// when it is past its early work; where another init runs, sshd tells.
func TestUp(t *testing.T) {
	for name, c := range map[string]struct {
		init, file string
		noSSH      bool
		at         []string // what is known before the file is there
	}{
		"systemd":      {"/usr/lib/systemd/systemd", "/sys/fs/cgroup/" + wire.UpSlice, true, []string{wire.EventBooted}},
		"hybrid":       {"/usr/lib/systemd/systemd", "/sys/fs/cgroup/systemd/" + wire.UpSlice, true, []string{wire.EventBooted}},
		"no marker":    {"/usr/lib/systemd/systemd", "/run/systemd/units/invocation:dbus.service", true, []string{wire.EventBooted}},
		"another init": {"/bin/busybox", "", true, []string{wire.EventBooted, wire.EventUp}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t)
			g.agent.NoSSH = c.noSSH
			if err := errors.Join(os.MkdirAll(g.root+"/proc/1", 0o755), os.Symlink(c.init, g.root+"/proc/1/exe")); err != nil {
				t.Fatal(err)
			}
			ctx := within(t)
			seen := make(chan string, 10)
			a := g.start(t, newPort(t))
			go g.agent.Observe(ctx)
			go a.Watch(ctx, func(e wire.Event) { seen <- e.Kind })
			for _, want := range c.at {
				if got := <-seen; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if c.file == "" {
				return
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(g.root+c.file), 0o755), os.WriteFile(g.root+c.file, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			if got := <-seen; got != wire.EventUp {
				t.Errorf("got %s, want up", got)
			}
		})
	}
}
