package agent

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"sandlot/guest/wire"
)

// board keeps the facts that hold now and tells watchers of new ones.
type board struct {
	mu    sync.Mutex
	facts []wire.Event
	watch map[chan wire.Event]bool
}

func newBoard() *board { return &board{watch: map[chan wire.Event]bool{}} }

// maxWatchBacklog is more events than a machine has in its life.
const maxWatchBacklog = 64

func (b *board) post(e wire.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retractLocked(e.Kind)
	b.facts = append(b.facts, e)
	for c := range b.watch {
		select {
		case c <- e:
		default: // a watcher that does not read loses news, not the agent
		}
	}
}

func (b *board) has(kind string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.facts, func(e wire.Event) bool { return e.Kind == kind })
}

// retract forgets a fact that no longer holds.
func (b *board) retract(kind string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retractLocked(kind)
}

func (b *board) retractLocked(kind string) {
	kept := b.facts[:0:0]
	for _, f := range b.facts {
		if f.Kind != kind {
			kept = append(kept, f)
		}
	}
	b.facts = kept
}

func (b *board) subscribe() (<-chan wire.Event, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan wire.Event, maxWatchBacklog)
	for _, f := range b.facts {
		c <- f
	}
	b.watch[c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watch, c)
	}
}

func (a *Agent) watch(ctx context.Context, s *yamux.Stream) error {
	respond(s, wire.Response{})
	events, stop := a.events.subscribe()
	defer stop()
	closed := make(chan struct{})
	go func() {
		io.Copy(io.Discard, s)
		close(closed)
	}()
	for {
		select {
		case e := <-events:
			if wire.WriteMessage(s, e) != nil {
				return nil
			}
		case <-closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

const (
	sshPoll    = 100 * time.Millisecond // until sshd answers
	sshRecheck = 5 * time.Second        // afterwards; costs a read of /proc
	leavePoll  = time.Second
	initPoll   = 20 * time.Millisecond
)

// Observe posts facts about the machine until ctx ends.
func (a *Agent) Observe(ctx context.Context) {
	go a.observeLeave(ctx)
	for a.processOneIsLabinit() {
		if !pause(ctx, initPoll) {
			return
		}
	}
	if a.Problem != "" {
		a.events.post(wire.Event{Kind: wire.EventProblem, Detail: a.Problem})
	}
	a.events.post(wire.Event{Kind: wire.EventBooted, Detail: a.info().BootID})
	go a.observeUp(ctx)
	if a.NoSSH {
		return
	}
	_, port, _ := net.SplitHostPort(a.SSHAddress)
	number, _ := strconv.Atoi(port)
	up := false
	for {
		// Looking costs nothing; connecting makes sshd fork. So it is asked
		// for its banner once each time it appears.
		switch listening := a.listens(number); {
		case listening && !up:
			if up = hasBanner(ctx, a.SSHAddress); up {
				a.events.post(wire.Event{Kind: wire.EventSSH})
			}
		case !listening && up:
			up = false
			a.events.retract(wire.EventSSH)
		}
		wait := sshPoll
		if up {
			wait = sshRecheck
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

const (
	upPoll = 100 * time.Millisecond
	// upAsk is after how many looks at files systemd is asked itself: a
	// process more, which a machine that boots can do without.
	upAsk = 100
)

// observeUp waits until a task finds what an author expects of a machine that
// is up. sshd does not tell: it is made to start before everything else. Nor
// does the marker alone: other machines' tasks log in here.
func (a *Agent) observeUp(ctx context.Context) {
	for looks := 1; !a.isUp(looks); looks++ {
		if !pause(ctx, upPoll) {
			return
		}
	}
	if err := os.WriteFile(a.Root+wire.UpFile, nil, 0o644); err != nil {
		a.Log("services left out of the boot cannot be started by hand: %v", err)
	}
	a.events.post(wire.Event{Kind: wire.EventUp})
}

// upMarks are where the cgroup of labinit's marker is: with cgroups of version
// 2, and with those of version 1 beside them or alone.
var upMarks = []string{"/sys/fs/cgroup/" + wire.UpSlice, "/sys/fs/cgroup/systemd/" + wire.UpSlice}

// pastSysinit are files of which one is there soon after systemd's
// sysinit.target, and none before, unless the image starts D-Bus early.
var pastSysinit = []string{
	"/run/systemd/units/invocation:dbus.service",
	"/run/systemd/units/invocation:systemd-logind.service",
	"/run/systemd/units/invocation:systemd-user-sessions.service",
}

func (a *Agent) isUp(looks int) bool {
	answers := a.NoSSH || a.events.has(wire.EventSSH)
	switch {
	case !strings.HasPrefix(a.initProgram(), "systemd"):
		return answers
	case answers && a.anyExists(upMarks), a.anyExists(pastSysinit):
		return true
	case looks%upAsk != 0:
		return false
	}
	systemctl := exec.Command("systemctl", "is-active", "--quiet", "basic.target")
	systemctl.Env = []string{"PATH=" + rootPath}
	return systemctl.Run() == nil
}

func (a *Agent) anyExists(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Lstat(a.Root + name)
		return err == nil
	})
}

// processOneIsLabinit is true until labinit has handed over; where there is
// no init to hand over to, it stays process 1 and that is as good.
func (a *Agent) processOneIsLabinit() bool {
	if a.Init == "" {
		return false
	}
	cmdline, _ := os.ReadFile(a.Root + "/proc/1/cmdline")
	first, _, _ := bytes.Cut(cmdline, []byte{0})
	return string(first) == "/init" && a.Init != "/init"
}

func hasBanner(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var head [4]byte
	_, err = io.ReadFull(conn, head[:])
	return err == nil && string(head[:]) == "SSH-"
}

// observeLeave notices a shutdown that somebody in the machine asked for:
// systemd becomes systemd-shutdown for its last seconds.
func (a *Agent) observeLeave(ctx context.Context) {
	for pause(ctx, leavePoll) {
		cmdline, err := os.ReadFile(a.Root + "/proc/1/cmdline")
		if err != nil {
			continue
		}
		if verb := shutdownVerb(cmdline); verb != "" {
			a.events.post(wire.Event{Kind: wire.EventLeave, Detail: verb})
			return
		}
	}
}

// leavingFile is there when an agent was told to shut the machine down: tasks
// run in another process, which must know.
const leavingFile = wire.GuestDir + "/leaving"

// leaving tells whether the machine is shutting down.
func (a *Agent) leaving() bool {
	if _, err := os.Stat(a.Root + leavingFile); err == nil {
		return true
	}
	cmdline, _ := os.ReadFile(a.Root + "/proc/1/cmdline")
	return shutdownVerb(cmdline) != ""
}

func shutdownVerb(cmdline []byte) string {
	args := bytes.Split(cmdline, []byte{0})
	if len(args) < 2 || !bytes.HasSuffix(args[0], []byte("systemd-shutdown")) {
		return ""
	}
	switch verb := string(args[1]); verb {
	case "reboot", "kexec":
		return "reboot"
	case "poweroff", "halt":
		return "poweroff"
	}
	return ""
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
