package labinit

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/guest/agent"
	"sandlot/guest/wire"
)

const agentBinary = wire.GuestDir + "/agent"

// installAgent copies labinit itself into the new root's /run, the one place
// an image neither holds nor hides.
func installAgent(config wire.Config) error {
	dir := newRoot + wire.GuestDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Not /proc/self/exe: the kernel cannot splice within one process image
	// any faster, and /init is a plain file.
	in, err := os.Open("/init")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(newRoot+agentBinary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err2 := out.Close(); err == nil {
		err = err2
	}
	return err
}

// startAgent leaves the agent's supervisor behind as a child of process 1. It
// runs in a session of its own, logs to the kernel's buffer (a getty hangs up
// the console), and its name starts with "@", which spares it from systemd's
// last killing spree (systemd.io/ROOT_STORAGE_DAEMONS).
func startAgent(o agent.Options) error {
	options, err := json.Marshal(o)
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot start agent: %v", err)
	}
	defer null.Close()
	log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		log = null
	} else {
		defer log.Close()
	}
	p, err := os.StartProcess(agentBinary, []string{agent.SupervisorName, string(options)}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []*os.File{null, null, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("cannot start agent: %v", err)
	}
	return p.Release()
}

// runWithoutInit is process 1 of an image without an init: it reaps, keeps
// sshd running if there is one, and understands busybox's signals.
func runWithoutInit(noSSH bool) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPWR)
	for _, m := range []struct{ source, target, kind, data string }{
		{"tmpfs", "/dev/shm", "tmpfs", "mode=1777"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", "nsdelegate"},
	} {
		os.MkdirAll(m.target, 0o755)
		warn(wrapMount(unix.Mount(m.source, m.target, m.kind, unix.MS_NOSUID|unix.MS_NODEV, m.data), m.target))
	}
	var sshd int
	var lastStart time.Time
	again := time.After(0)
	for {
		select {
		case <-again:
			again = nil
			if !noSSH {
				lastStart = time.Now()
				sshd = startSSHD()
			}
		case s := <-signals:
			switch s {
			case syscall.SIGCHLD:
				for {
					var status unix.WaitStatus
					pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
					if err == unix.EINTR {
						continue
					}
					if err != nil || pid <= 0 {
						break
					}
					if pid == sshd {
						again = time.After(max(0, time.Second-time.Since(lastStart)))
					}
				}
			case syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPWR:
				shutDown(unix.LINUX_REBOOT_CMD_POWER_OFF)
			default:
				shutDown(unix.LINUX_REBOOT_CMD_RESTART)
			}
		}
	}
}

func wrapMount(err error, target string) error {
	if err != nil {
		return fmt.Errorf("cannot mount %s: %v", target, err)
	}
	return nil
}

func startSSHD() int {
	for _, file := range []string{"/usr/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(file); err != nil {
			continue
		}
		os.MkdirAll("/run/sshd", 0o755)
		p, err := os.StartProcess(file, []string{file, "-D"}, &os.ProcAttr{Dir: "/", Env: os.Environ(), Files: []*os.File{nil, os.Stderr, os.Stderr}})
		if err != nil {
			warn(fmt.Errorf("cannot start sshd: %v", err))
			return 0
		}
		return p.Pid
	}
	return 0
}

func shutDown(how int) {
	unix.Kill(-1, unix.SIGTERM)
	// Two seconds are what a person would wait.
	for end := time.Now().Add(2 * time.Second); othersRun("/proc") && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
	}
	unix.Sync()
	releaseDrives()
	unix.Reboot(how)
	select {}
}

// othersRun tells whether any process is left but process 1, the agent, which
// ignores the signal, and the kernel's own, which have no command line.
func othersRun(proc string) bool {
	entries, _ := os.ReadDir(proc)
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == 1 {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(proc, e.Name(), "cmdline"))
		if err == nil && len(cmdline) > 0 && cmdline[0] != '@' {
			return true
		}
	}
	return false
}
