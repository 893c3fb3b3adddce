package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sandlot/internal/host/layout"
	"sandlot/internal/labtest"
	"sandlot/internal/vm"
)

// lab is one script's labd, and labctl with a home of its own.
type lab struct {
	*world
	*place
	root   string // data directory; the place's unless a script has its own
	home   string
	listen string
	flags  []string // of labd up, where a test starts it more than once
	log    func(format string, args ...any)

	labd   *exec.Cmd
	exited chan struct{} // closed when labd is gone
	output *os.File      // labd's log, of all its runs

	offline func() // ends what stands for the internet
}

func (l *lab) env() []string {
	return append(os.Environ(), "HOME="+l.home, "XDG_CONFIG_HOME=", "LABCTL_ENDPOINT=", "LABD_DATA_DIR="+l.root,
		"PATH="+l.bin+":"+os.Getenv("PATH"))
}

// up starts labd, waits until it answers, and signs labctl in the first time.
func (l *lab) up(flags ...string) error {
	if l.alive() {
		return errors.New("labd runs already")
	}
	if l.listen == "" {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		l.listen = free.Addr().String()
		free.Close()
	}
	if l.output == nil {
		var err error
		if l.output, err = os.Create(filepath.Join(l.home, "labd.log")); err != nil {
			return err
		}
	}
	args := append([]string{"up", "--data-dir", l.root, "--listen", l.listen, "--accel", "tcg"}, flags...)
	l.labd = exec.Command(filepath.Join(l.bin, "labd"), args...)
	l.labd.Stdout, l.labd.Stderr = l.output, l.output
	l.labd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.labd.Start(); err != nil {
		return err
	}
	l.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(l.labd, l.exited)
	for {
		reply, err := http.Get("http://" + l.listen + "/readyz")
		if err == nil {
			reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case <-l.exited:
			if slices.Contains(flags, "--crash-at") {
				return nil
			}
			return fmt.Errorf("labd ended at its start: %s", l.labd.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if _, err := os.Stat(filepath.Join(l.home, ".config", "labctl")); err == nil {
		return nil
	}
	credentials, err := l.run("labd", "credentials")
	if err != nil {
		return err
	}
	session, token, _ := strings.Cut(strings.TrimSpace(credentials), " ")
	_, err = l.run("labctl", "auth", "login", "--endpoint", "http://"+l.listen, "-s", session, "-t", token)
	return err
}

func (l *lab) alive() bool {
	if l.labd == nil {
		return false
	}
	select {
	case <-l.exited:
		return false
	default:
		return true
	}
}

// end sends labd a signal and waits until it is gone.
func (l *lab) end(s os.Signal) error {
	if !l.alive() {
		return errors.New("labd does not run")
	}
	if err := l.labd.Process.Signal(s); err != nil {
		return err
	}
	return l.ended(30 * time.Second)
}

func (l *lab) ended(limit time.Duration) error {
	select {
	case <-l.exited:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("labd still runs after %s", limit)
	}
}

// run runs a program as the script would, and returns its stdout.
func (l *lab) run(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, program), args...)
	cmd.Env = l.env()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// states returns the state of each play that is not destroyed.
func (l *lab) states() (map[string]string, error) {
	out, err := l.run("labctl", "playground", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var plays []struct {
		ID     string `json:"id"`
		Status struct {
			StateEvents []struct {
				State string `json:"state"`
			} `json:"stateEvents"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(out), &plays); err != nil {
		return nil, err
	}
	states := make(map[string]string)
	for _, p := range plays {
		events := p.Status.StateEvents
		states[p.ID] = events[len(events)-1].State
	}
	return states, nil
}

// clean ends what a script left. Before that it logs what a person needs who
// wants to know why: labd's log, and the consoles of machines that are there.
func (l *lab) clean() {
	if l.root != l.data.Root {
		defer func() { // after the purge: the pool is mounted until then
			_ = exec.Command("rm", "-rf", "--one-file-system", filepath.Dir(l.root)).Run()
		}()
	}
	if l.output == nil {
		return
	}
	defer l.output.Close()
	if _, err := os.Stat(l.root); err != nil {
		return // the script purged it
	}
	if text, err := os.ReadFile(l.output.Name()); err == nil {
		l.log("labd's log ends:\n%s", vm.Tail(text, 50))
	}
	dirs, _ := filepath.Glob(filepath.Join(layout.Layout{Root: l.root}.Plays(), "*", "m?"))
	for _, dir := range dirs {
		if console, err := vm.ReadConsole(dir); err == nil && len(console) > 0 {
			l.log("console of %s ends:\n%s", dir, vm.Tail(console, 50))
		}
	}
	if !l.alive() {
		if err := l.up(); err != nil {
			l.log("%v", err)
			return
		}
	}
	left, err := l.states()
	if err != nil {
		l.log("%v", err)
	}
	for id := range left {
		if _, err := l.run("labctl", "playground", "destroy", id); err != nil {
			l.log("%v", err)
		}
	}
	if err := l.end(syscall.SIGTERM); err != nil {
		l.log("%v", err)
		_ = l.end(syscall.SIGKILL)
	}
	if l.root == l.data.Root {
		return
	}
	if _, err := l.run("labd", "purge", "--yes"); err != nil {
		l.log("%v", err)
	}
}

// inventory is everything on the host and in the data directory that plays
// make. labd's own process does not count, nor the cgroup above all machines',
// which stays like the pool and the host's rules until labd purge.
func (p *place) inventory() ([]string, error) {
	found, err := labtest.Inventory(p.data.Table(), p.data.UplinkPrefix(), p.data.Root)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(line string) bool {
		return strings.HasPrefix(line, "process ") && strings.Contains(line, "/labd up ") ||
			strings.HasPrefix(line, "cgroup ") && filepath.Base(line) == p.data.Cgroup()
	})
	for _, dir := range []string{p.data.Plays(), p.data.Volumes(), p.data.Staging()} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if path != dir {
				found = append(found, "file "+path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// leaks tells what is on the host that was not there before the stories.
func (p *place) leaks() (string, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		now, err := p.inventory()
		if err != nil {
			return "", err
		}
		var diff []string
		for _, line := range now {
			if !slices.Contains(p.nothing, line) {
				diff = append(diff, "left:    "+line)
			}
		}
		for _, line := range p.nothing {
			if !slices.Contains(now, line) {
				diff = append(diff, "missing: "+line)
			}
		}
		if len(diff) == 0 || time.Now().After(deadline) {
			return strings.Join(diff, "\n"), nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}
