package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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

// taskSocket is where the supervisor listens for tasks. They run in its
// process, which does little else and has nobody's bytes to parse: an agent
// that dies takes no task with it, and the next one finds them as they are.
const taskSocket = wire.GuestDir + "/tasks.sock"

// reportEvery is how often a task that writes is reported at most.
const reportEvery = 250 * time.Millisecond

var taskName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// tasks are those that this process began or was asked for.
type tasks struct {
	mu  sync.Mutex
	all map[string]*run
}

// run is one task's only run; its result stands when done is closed.
type run struct {
	done           chan struct{}
	result         wire.TaskResult
	stdout, stderr *tail
}

func newRun() *run {
	return &run{done: make(chan struct{}), stdout: &tail{}, stderr: &tail{}}
}

func (r *run) end(result wire.TaskResult) *run {
	r.result = result
	close(r.done)
	return r
}

// task runs a task where it survives this process, and carries what is said of
// it to the host.
func (a *Agent) task(ctx context.Context, s *yamux.Stream, t wire.Task) error {
	if a.TaskSocket == "" {
		return a.serveTask(ctx, s, t)
	}
	conn, err := net.Dial("unix", a.TaskSocket)
	if err != nil {
		return fmt.Errorf("cannot reach the supervisor, which runs tasks: %v", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := wire.WriteMessage(conn, t); err != nil {
		return fmt.Errorf("cannot reach the supervisor, which runs tasks: %v", err)
	}
	go func() {
		io.Copy(conn, s)
		conn.Close()
	}()
	io.Copy(s, conn)
	return nil
}

// ServeTasks runs the tasks that agents ask for, one connection each.
func (a *Agent) ServeTasks(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			a.Log("cannot accept tasks: %v", err)
			pause(ctx, time.Second)
			continue
		}
		go func() {
			defer conn.Close()
			defer a.survive()
			var t wire.Task
			if wire.ReadMessage(conn, &t) != nil {
				return
			}
			if err := a.serveTask(ctx, conn, t); err != nil {
				respond(conn, wire.Response{Error: err.Error()})
			}
		}()
	}
}

// serveTask runs or follows a task for whoever is at the other end of s.
func (a *Agent) serveTask(ctx context.Context, s io.ReadWriter, t wire.Task) error {
	if !taskName.MatchString(t.Name) {
		return fmt.Errorf("%q is not a task name", t.Name)
	}
	respond(s, wire.Response{})
	script, err := readScript(s)
	if err != nil {
		return nil // the host is gone, and asks again
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, s)
		cancel()
	}()
	r := a.begin(t, script)
	if t.Follow {
		r.report(ctx, s)
	}
	select {
	case <-r.done:
		wire.WriteMessage(s, r.result)
	case <-ctx.Done():
	}
	return nil
}

// report sends what the task writes until it has ended or ctx has.
func (r *run) report(ctx context.Context, w io.Writer) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	news := wire.TaskResult{Running: true}
	var outAt, errAt int64
	for {
		news.Stdout, news.StdoutAt, outAt = r.stdout.since(outAt)
		news.Stderr, news.StderrAt, errAt = r.stderr.since(errAt)
		if len(news.Stdout)+len(news.Stderr) > 0 && wire.WriteMessage(w, news) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.done:
			return
		case <-ctx.Done():
			return
		}
	}
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
		return newRun().end(wire.TaskResult{Code: -1, Rebooted: true})
	}
	a.tasks.mu.Lock()
	defer a.tasks.mu.Unlock()
	if r, ok := a.tasks.all[t.Name]; ok {
		return r
	}
	if a.tasks.all == nil {
		a.tasks.all = map[string]*run{}
	}
	r := newRun()
	a.tasks.all[t.Name] = r
	dir := filepath.Join(a.Root, tasksDir, t.Name)
	switch err := makeTaskDir(dir); {
	case errors.Is(err, os.ErrExist): // by a process before this one
		return r.end(readResult(dir))
	case err != nil:
		return r.end(failure("cannot keep the task: %v", err))
	}
	go func() {
		result := failure("the machine's agent failed while the task ran")
		defer func() { // whatever happens: somebody waits for its end
			if err := writeResult(dir, result); err != nil {
				a.Log("cannot keep the result of task %s: %v", t.Name, err)
			}
			r.end(result)
		}()
		defer a.survive()
		result = a.runTask(r, t, dir, script)
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
func (a *Agent) runTask(r *run, t wire.Task, dir string, script []byte) wire.TaskResult {
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
	cgroup, leave := a.cgroup.enter(a.Root)
	defer leave()
	start := time.Now()
	p, err := a.startTask(cgroup, bash, []string{"bash", "-l", file}, attr)
	if err != nil {
		return failure("cannot start bash: %v", err)
	}
	p.stdin.Close() // an empty input
	outputs := []struct {
		*tail
		file *os.File
	}{{r.stdout, p.stdout}, {r.stderr, p.stderr}}
	var readers sync.WaitGroup
	for _, o := range outputs {
		readers.Go(func() { o.follow(o.file) })
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
		o.rest(o.file)
		go func() {
			io.Copy(io.Discard, o.file)
			o.file.Close()
		}()
	}
	result.Stdout, result.Stderr = r.stdout.text(), r.stderr.text()
	return result
}

// startTask starts a process in the cgroup, if there is one and the kernel can.
func (a *Agent) startTask(cgroup *os.File, file string, argv []string, attr *os.ProcAttr) (*process, error) {
	if cgroup != nil {
		defer cgroup.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(cgroup.Fd())
		if p, err := a.startPipes(file, argv, attr); err == nil {
			return p, nil
		}
		attr.Sys.UseCgroupFD = false
	}
	return a.startPipes(file, argv, attr)
}

// tail keeps the last bytes of what a task writes.
type tail struct {
	mu      sync.Mutex
	kept    []byte
	dropped int64
}

func (t *tail) add(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*wire.MaxTaskOutput {
		t.trim(wire.MaxTaskOutput)
	}
}

func (t *tail) trim(most int) {
	if over := len(t.kept) - most; over > 0 {
		t.kept = slices.Delete(t.kept, 0, over)
		t.dropped += int64(over)
	}
}

// since returns what was written from position at on, as far as it is kept,
// with the position where that begins and the one where it ends.
func (t *tail) since(at int64) (b []byte, from, to int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to = t.dropped + int64(len(t.kept))
	from = max(at, to-min(int64(len(t.kept)), wire.MaxTaskOutput))
	return slices.Clone(t.kept[from-t.dropped:]), from, to
}

// follow adds what comes out of a pipe until its end or its deadline.
func (t *tail) follow(pipe *os.File) {
	buf := make([]byte, 32<<10)
	for {
		n, err := pipe.Read(buf)
		t.add(buf[:n])
		if err != nil {
			return
		}
	}
}

// maxPipe is the most that an unprivileged process can keep in a pipe.
const maxPipe = 1 << 20

// rest adds what is in the pipe at this moment.
func (t *tail) rest(pipe *os.File) {
	conn, err := pipe.SyscallConn()
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

func (t *tail) text() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wire.TaskTail(t.kept, t.dropped)
}
