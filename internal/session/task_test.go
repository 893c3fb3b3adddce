package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/guest/agent"
	"sandlot/guest/wire"
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
			r, err := a.Task(within(t), g.task(name), c.script)
			if err != nil || r.Error != "" || r.Code != c.code || string(r.Stdout) != c.out || string(r.Stderr) != c.err {
				t.Errorf("%v, %+v, out %q, err %q; want code %d, out %q, err %q", err, r, r.Stdout, r.Stderr, c.code, c.out, c.err)
			}
		})
	}
	t.Run("much output", func(t *testing.T) {
		r, err := a.Task(within(t), g.task("much"), "for i in {1..100000}; do echo $i; done; sleep 0.01 & ")
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
		r, err := a.Task(within(t), c.task, "echo ran > ~/ran")
		if err != nil || r.Code == 0 || r.Error != c.want {
			t.Errorf("%s: %v, %+v", c.task.Name, err, r)
		}
	}
	if r, err := a.Task(within(t), other, "echo ran > ~/ran"); err != nil || !r.Rebooted || r.Code == 0 {
		t.Errorf("another boot: %v, %+v", err, r)
	}
	os.WriteFile(filepath.Join(g.root, "/etc/environment"), []byte("PATH=/nowhere\n"), 0o644)
	if r, err := a.Task(within(t), g.task("bashless"), "echo ran > ~/ran"); err != nil || !strings.Contains(r.Error, "no bash") {
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
	r, err := a.Task(within(t), g.task("server"), script)
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
	r, err := a.Task(within(t), late, "trap 'echo cleaning; exit 1' TERM; sleep 1000 & echo $! > "+g.home+"/pid; echo begun; wait")
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
	go func() { _, err := a.Task(ctx, g.task("once"), script); first <- err }()
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
	if r, err := other.Task(within(t), g.task("once"), script); err != nil || !strings.Contains(r.Error, "was restarted while the task ran") {
		t.Errorf("unfinished: %v, %+v", err, r)
	}
	os.WriteFile(filepath.Join(g.home, "go"), nil, 0o644)
	for range 2 {
		if r, err := a.Task(within(t), g.task("once"), script); err != nil || r.Code != 4 || string(r.Stdout) != "out\n" {
			t.Errorf("%v, %+v", err, r)
		}
	}
	again := agent.New(agent.Options{})
	again.Root, again.Log = g.root, t.Logf
	other = (&guestRoot{agent: again, root: g.root, user: g.user}).start(t, newPort(t))
	if r, err := other.Task(within(t), g.task("once"), script); err != nil || r.Code != 4 || string(r.Stdout) != "out\n" {
		t.Errorf("finished: %v, %+v", err, r)
	}
	if runs, _ := os.ReadFile(filepath.Join(g.home, "runs")); string(runs) != "run\n" {
		t.Errorf("it ran %q", runs)
	}
}

// A machine is up when systemd is past its early work, which sshd is not;
// where another init runs, sshd tells.
func TestUp(t *testing.T) {
	for name, c := range map[string]struct {
		init, file string
		noSSH      bool
		at         []string // what is known before the file is there
	}{
		"systemd":      {"/usr/lib/systemd/systemd", "/run/dbus/system_bus_socket", true, []string{wire.EventBooted}},
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
