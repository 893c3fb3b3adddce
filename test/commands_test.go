package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sandlot/internal/host/layout"
	"sandlot/internal/labtest"
)

type labKey struct{}

func (w *world) setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	p := <-w.places
	l := &lab{world: w, place: p, root: p.data.Root, home: home, log: func(format string, args ...any) {
		env.T().Log(fmt.Sprintf(format, args...))
	}}
	env.Values[labKey{}] = l
	examples, err := filepath.Abs("../examples")
	if err != nil {
		return err
	}
	env.Setenv("PATH", w.bin+":"+os.Getenv("PATH"))
	env.Setenv("HOME", home)
	env.Setenv("LABD_DATA_DIR", l.root)
	env.Setenv("EXAMPLES", examples)
	env.Setenv("LABD_IMAGES", filepath.Join(filepath.Dir(examples), "images"))
	env.Setenv("TINY", w.tiny)
	env.Setenv("USERLAND", w.userland)
	env.Setenv("SPARE", filepath.Join(w.bin, "spare")) // a folder that everybody may pass to
	env.Defer(func() {
		l.clean()
		w.places <- p
	})
	return nil
}

func (w *world) commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	plain := func(f func(l *lab, ts *testscript.TestScript, args []string) error) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("this command takes no !")
			}
			ts.Check(f(ts.Value(labKey{}).(*lab), ts, args))
		}
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		// labd [FLAG...]: start it and wait until it answers.
		"labd": plain(func(l *lab, ts *testscript.TestScript, args []string) error {
			if err := l.up(args...); err != nil {
				return err
			}
			ts.Setenv("LISTEN", l.listen)
			return nil
		}),
		// labd-end TERM|KILL
		"labd-end": plain(func(l *lab, _ *testscript.TestScript, args []string) error {
			return l.end(map[string]os.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[args[0]])
		}),
		// data: from here on a data directory of the script's own, $OTHER. Its
		// name is short: sockets' names are limited.
		"data": plain(func(l *lab, ts *testscript.TestScript, _ []string) error {
			dir, err := os.MkdirTemp("", "sl")
			if err != nil {
				return err
			}
			if err := os.Chmod(dir, 0o711); err != nil { // machines' users pass through
				return err
			}
			l.root = filepath.Join(dir, "data")
			ts.Setenv("OTHER", l.root)
			ts.Setenv("LABD_DATA_DIR", l.root)
			return nil
		}),
		// kernels: the script's own data directory gets the shared kernels.
		"kernels": plain(func(l *lab, _ *testscript.TestScript, _ []string) error {
			own := layout.Layout{Root: l.root}
			if err := os.MkdirAll(own.Kernels(), 0o755); err != nil {
				return err
			}
			return exec.Command("cp", "-a", filepath.Join(l.data.Kernels(), "6.1"), own.Kernels()).Run()
		}),
		// nothing-of DIR: the host has nothing that a labd with this data
		// directory made.
		"nothing-of": plain(func(_ *lab, ts *testscript.TestScript, args []string) error {
			own := layout.Layout{Root: ts.MkAbs(args[0])}
			left, err := labtest.Inventory(own.Table(), own.UplinkPrefix(), own.Root)
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("left on the host:\n%s", strings.Join(left, "\n"))
			}
			return err
		}),
		// set NAME: the last program's output becomes a variable.
		"set": plain(func(_ *lab, ts *testscript.TestScript, args []string) error {
			ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
			return nil
		}),
		// code N PROGRAM ARG...: run it and look at its exit code.
		"code": plain(func(_ *lab, ts *testscript.TestScript, args []string) error {
			err := ts.Exec(args[1], args[2:]...)
			got := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				got = exit.ExitCode()
			} else if err != nil {
				return err
			}
			if want, _ := strconv.Atoi(args[0]); got != want {
				return fmt.Errorf("exit code %d, want %d; stdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
			}
			return nil
		}),
		// until REGEXP PROGRAM ARG...: run it again until its output matches.
		"until": plain(func(_ *lab, ts *testscript.TestScript, args []string) error {
			want, err := regexp.Compile("(?m)" + args[0])
			if err != nil {
				return err
			}
			deadline := time.Now().Add(5 * time.Minute)
			for {
				err := ts.Exec(args[1], args[2:]...)
				if want.MatchString(ts.ReadFile("stdout")) {
					return nil
				}
				if time.Now().After(deadline) {
					return fmt.Errorf("%s does not match %q: %v\n%s%s", args[1], args[0], err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
				}
				time.Sleep(100 * time.Millisecond)
			}
		}),
		// internet: something for plays to reach outside, until the script ends
		// or says "internet end".
		"internet": plain(func(l *lab, ts *testscript.TestScript, args []string) error {
			if len(args) > 0 {
				l.offline()
				return nil
			}
			end, err := l.internet()
			l.offline = sync.OnceFunc(end)
			ts.Defer(l.offline)
			return err
		}),
		// no-leaks: end labd; the host is as it was before the first story.
		"no-leaks": plain(func(l *lab, _ *testscript.TestScript, _ []string) error {
			return l.nothingLeft()
		}),
		// kill-vmm PLAY NUMBER: SIGKILL to the VMM of one of its machines.
		"kill-vmm": plain(func(l *lab, _ *testscript.TestScript, args []string) error {
			number, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			pid, err := vmmOf(l.data.MachineName(args[0], number))
			if err != nil {
				return err
			}
			return syscall.Kill(pid, syscall.SIGKILL)
		}),
		// crash MANIFEST DO UNDO: labd dies at one point of a start, and at
		// one of the destroy; each time the next labd ends what was begun.
		"crash": plain(func(l *lab, ts *testscript.TestScript, args []string) error {
			return l.crash(ts.MkAbs(args[0]), args[1], args[2])
		}),
		"pty": plain(func(l *lab, ts *testscript.TestScript, args []string) error {
			transcript, err := converse(ts.ReadFile(args[0]), l.env(), args[1:])
			ts.Logf("%s", transcript)
			return err
		}),
	}
}

// vmmOf finds the QEMU process of a machine.
func vmmOf(machine string) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		words := strings.Split(string(line), "\x00")
		if strings.HasPrefix(filepath.Base(words[0]), "qemu-system-") && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, machine) }) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, errors.Join(err, fmt.Errorf("no VMM runs machine %s", machine))
}

func (l *lab) crash(manifest, do, undo string) error {
	if err := l.up("--crash-at", do); err != nil {
		return err
	}
	// labd may die before it answers, or after.
	_, _ = l.run("labctl", "playground", "start", "flexbox", "-f", manifest, "-q", "--skip-wait-running", "--skip-wait-ready")
	if err := l.died(); err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	if err := l.up("--crash-at", undo); err != nil {
		return err
	}
	id, err := l.settled()
	if err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	if id == "" { // the play was gone: fully, or this is an error
		return l.nothingLeft()
	}
	_, _ = l.run("labctl", "playground", "destroy", id)
	if err := l.died(); err != nil {
		return fmt.Errorf("%s: %w", undo, err)
	}
	if err := l.up(); err != nil {
		return err
	}
	if _, err := l.run("labctl", "playground", "destroy", id); err != nil {
		// It may be so much gone that labd has forgotten it.
		if left, err2 := l.states(); err2 != nil || len(left) > 0 {
			return fmt.Errorf("%s: %w; plays %v, %v", undo, err, left, err2)
		}
	}
	return l.nothingLeft()
}

// died waits for labd's end by its own SIGKILL.
func (l *lab) died() error {
	if err := l.ended(time.Minute); err != nil {
		return err
	}
	if s := l.labd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
		return fmt.Errorf("labd ended by itself: %s", l.labd.ProcessState)
	}
	return nil
}

// settled waits until the one play runs, and returns its id; empty if there
// is none.
func (l *lab) settled() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		states, err := l.states()
		if err != nil {
			return "", err
		}
		for id, state := range states {
			switch state {
			case "RUNNING":
				return id, nil
			case "FAILED", "STOPPED":
				return "", fmt.Errorf("play %s is %s", id, state)
			}
		}
		if len(states) == 0 {
			return "", nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("plays are still %v", states)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// nothingLeft ends labd and looks at the host.
func (l *lab) nothingLeft() error {
	if err := l.end(syscall.SIGTERM); err != nil {
		return err
	}
	diff, err := l.leaks()
	if err == nil && diff != "" {
		err = fmt.Errorf("the host is not what it was:\n%s", diff)
	}
	return err
}
