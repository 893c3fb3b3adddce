package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
)

// tasksDir holds a folder for each task of this boot: its script, and its
// result once there is one. A folder without a result was begun.
const tasksDir = wire.GuestDir + "/tasks"

var taskName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// tasks are those that this agent began or was asked for.
type tasks struct {
	mu  sync.Mutex
	all map[string]*run
}

// run is one task's only run; its result stands when done is closed.
type run struct {
	done   chan struct{}
	result wire.TaskResult
}

func (r *run) end(result wire.TaskResult) *run {
	r.result = result
	close(r.done)
	return r
}

func (a *Agent) task(ctx context.Context, s *yamux.Stream, t wire.Task) error {
	if !taskName.MatchString(t.Name) {
		return fmt.Errorf("%q is not a task name", t.Name)
	}
	respond(s, wire.Response{})
	script, err := readScript(s)
	if err != nil {
		return nil // the host is gone, and asks again
	}
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, s)
		close(gone)
	}()
	r := a.begin(t, script)
	select {
	case <-r.done:
		wire.WriteMessage(s, r.result)
	case <-gone:
	case <-ctx.Done():
	}
	return nil
}

// readScript takes the frames of a script.
func readScript(s io.Reader) ([]byte, error) {
	var script []byte
	for {
		kind, payload, err := wire.ReadFrame(s)
		switch {
		case err != nil:
			return nil, err
		case kind != wire.FrameStdin || len(script)+len(payload) > wire.MaxScript:
			return nil, errors.New("not a script")
		case len(payload) == 0:
			return script, nil
		}
		script = append(script, payload...)
	}
}

// begin starts a task unless it was begun before.
func (a *Agent) begin(t wire.Task, script []byte) *run {
	if t.Boot != a.info().BootID {
		return (&run{done: make(chan struct{})}).end(wire.TaskResult{Code: -1, Rebooted: true})
	}
	a.tasks.mu.Lock()
	defer a.tasks.mu.Unlock()
	if r, ok := a.tasks.all[t.Name]; ok {
		return r
	}
	if a.tasks.all == nil {
		a.tasks.all = map[string]*run{}
	}
	r := &run{done: make(chan struct{})}
	a.tasks.all[t.Name] = r
	dir := filepath.Join(a.Root, tasksDir, t.Name)
	switch err := makeTaskDir(dir); {
	case errors.Is(err, os.ErrExist): // by an agent before this one
		return r.end(readResult(dir))
	case err != nil:
		return r.end(failure("cannot keep the task: %v", err))
	}
	go func() {
		result := a.runTask(t, dir, script)
		if err := writeResult(dir, result); err != nil {
			a.Log("cannot keep the result of task %s: %v", t.Name, err)
		}
		r.end(result)
	}()
	return r
}

func failure(format string, args ...any) wire.TaskResult {
	return wire.TaskResult{Code: -1, Error: fmt.Sprintf(format, args...)}
}

// makeTaskDir makes the folder that marks a task as begun. Everybody may pass
// through to their scripts, and see nothing.
func makeTaskDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o711)
}

func readResult(dir string) (result wire.TaskResult) {
	body, err := os.ReadFile(filepath.Join(dir, "result"))
	if err == nil {
		err = json.Unmarshal(body, &result)
	}
	if err != nil {
		return failure("the machine's agent was restarted while the task ran")
	}
	return result
}

func writeResult(dir string, result wire.TaskResult) error {
	body, err := json.Marshal(result)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "result.new")
	if err := os.WriteFile(temp, body, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, "result"))
}

// runTask runs the script in a login shell of bash, whatever its first line
// says, and returns when bash has exited or its time is up. What the script
// left in the background goes on.
func (a *Agent) runTask(t wire.Task, dir string, script []byte) wire.TaskResult {
	u, err := a.account(t.User)
	if err != nil {
		return failure("%v", err)
	}
	attr := a.attributes(u, wire.Exec{Login: true})
	bash, err := lookPath("bash", attr.Dir, attr.Env)
	if err != nil {
		return failure("the image has no bash, which runs tasks: install it in the image")
	}
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, script, 0o400); err != nil {
		return failure("cannot write the script: %v", err)
	}
	if err := os.Chown(file, u.UID, u.GID); err != nil {
		return failure("cannot give the script to %s: %v", u.Name, err)
	}
	start := time.Now()
	p, err := a.startPipes(bash, []string{"bash", "-l", file}, attr)
	if err != nil {
		return failure("cannot start bash: %v", err)
	}
	p.stdin.Close() // an empty input
	outputs := []*tail{{file: p.stdout}, {file: p.stderr}}
	var readers sync.WaitGroup
	for _, o := range outputs {
		readers.Go(o.follow)
	}
	exited := make(chan wire.Exit, 1)
	go func() { exited <- p.wait() }()
	timeout := time.NewTimer(time.Duration(t.TimeoutSeconds) * time.Second)
	defer timeout.Stop()
	var result wire.TaskResult
	var exit wire.Exit
	select {
	case exit = <-exited:
	case <-timeout.C:
		result.TimedOut = true
		exit = p.end(exited, unix.SIGTERM)
	}
	result.Code, result.Error = exit.Code, exit.Error
	// A shutdown kills everybody; that says nothing about the script.
	result.Rebooted = exit.Code > 128 && !result.TimedOut && a.leaving()
	result.DurationMs = time.Since(start).Milliseconds()
	// Background processes may hold the pipes for ever: only what is in them
	// now is the task's.
	for _, o := range outputs {
		o.file.SetReadDeadline(time.Now())
	}
	readers.Wait()
	for _, o := range outputs {
		o.file.SetReadDeadline(time.Time{})
		o.rest()
		go func() {
			io.Copy(io.Discard, o.file)
			o.file.Close()
		}()
	}
	result.Stdout, result.Stderr = outputs[0].bytes(), outputs[1].bytes()
	return result
}

// tail keeps the last bytes that come out of a pipe.
type tail struct {
	file    *os.File
	kept    []byte
	dropped int
}

func (t *tail) add(b []byte) {
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*wire.MaxTaskOutput {
		t.trim(wire.MaxTaskOutput)
	}
}

func (t *tail) trim(most int) {
	if over := len(t.kept) - most; over > 0 {
		t.kept = slices.Delete(t.kept, 0, over)
		t.dropped += over
	}
}

// follow reads until the end or the file's deadline.
func (t *tail) follow() {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.file.Read(buf)
		t.add(buf[:n])
		if err != nil {
			return
		}
	}
}

// maxPipe is the most that an unprivileged process can keep in a pipe.
const maxPipe = 1 << 20

// rest takes what is in the pipe at this moment.
func (t *tail) rest() {
	conn, err := t.file.SyscallConn()
	if err != nil {
		return
	}
	conn.Read(func(fd uintptr) bool {
		buf := make([]byte, 64<<10)
		for total := 0; total < maxPipe; {
			n, err := unix.Read(int(fd), buf)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				break
			}
			t.add(buf[:n])
			total += n
		}
		return true
	})
}

// bytes are the last ones, behind a line that says how many came before.
func (t *tail) bytes() []byte {
	const room = 64 // for that line
	if len(t.kept)+t.dropped <= wire.MaxTaskOutput {
		return t.kept
	}
	t.trim(wire.MaxTaskOutput - room)
	return append(fmt.Appendf(nil, "[%d bytes before this are not kept]\n", t.dropped), t.kept...)
}
