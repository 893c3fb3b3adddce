package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
)

// Names of the processes, as argv[0]. The "@" keeps systemd from killing them
// before everything else (systemd.io/ROOT_STORAGE_DAEMONS).
const (
	SupervisorName = "@sandlot-supervisor"
	MainName       = "@sandlot-agent"
)

// Supervise runs the agent again whenever it ends, and tasks meanwhile.
// options is the JSON of Options.
func Supervise(options string) {
	protect()
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Fprintf(os.Stderr, "sandlot: cannot read options: %v\n", err)
		os.Exit(1)
	}
	l, err := listenTasks()
	if err != nil {
		fmt.Fprintf(os.Stderr, "sandlot: cannot listen for tasks: %v\n", err)
	} else {
		go New(o).ServeTasks(context.Background(), l)
	}
	for {
		start := time.Now()
		p, err := os.StartProcess("/proc/self/exe", []string{MainName, options}, &os.ProcAttr{
			Dir: "/", Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		})
		if err == nil {
			state, _ := p.Wait()
			fmt.Fprintf(os.Stderr, "sandlot: the agent ended (%v); starting it again\n", state)
		} else {
			fmt.Fprintf(os.Stderr, "sandlot: cannot start the agent: %v\n", err)
		}
		time.Sleep(max(0, time.Second-time.Since(start)))
	}
}

// listenTasks opens the socket through which agents ask for tasks: root's.
func listenTasks() (net.Listener, error) {
	os.Remove(taskSocket)
	l, err := net.Listen("unix", taskSocket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(taskSocket, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// protect keeps a process from the out-of-memory killer and from the signals
// a shutdown sends to everybody.
func protect() {
	os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	catchSignals()
}

// catchSignals makes this process deaf to the signals that end others.
// Catching, not ignoring: a process we start would inherit that, and Ctrl-C
// would do nothing in its terminal.
func catchSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE)
}

// Main is the agent's process: it serves every channel the machine has.
func Main(options string, creditEntropy func([]byte) error) {
	protect()
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Fprintf(os.Stderr, "sandlot: cannot read options: %v\n", err)
		os.Exit(1)
	}
	a := New(o)
	a.CreditEntropy, a.TaskSocket = creditEntropy, taskSocket
	ctx := context.Background()
	go a.Observe(ctx)
	go a.serveVsock(ctx)
	for {
		name, err := findPort("/sys/class/virtio-ports", wire.PortName)
		if err == nil {
			var f *os.File
			if f, err = os.OpenFile(name, os.O_RDWR, 0); err == nil {
				err = a.Serve(ctx, f, true)
				f.Close()
			}
			a.Log("channel lost: %v", err)
		}
		time.Sleep(time.Second)
	}
}

// findPort returns the device of the virtio-serial port with a name. It asks
// the kernel, not udev's /dev/virtio-ports, which comes late or never.
func findPort(class, name string) (string, error) {
	files, _ := filepath.Glob(class + "/*/name")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.TrimSpace(string(b)) == name {
			return "/dev/" + filepath.Base(filepath.Dir(f)), nil
		}
	}
	return "", fmt.Errorf("no virtio-serial port is named %s", name)
}

// serveVsock listens where there is vsock; each connection is a channel.
func (a *Agent) serveVsock(ctx context.Context) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: wire.VsockPort}); err != nil {
		unix.Close(fd)
		return
	}
	if err := unix.Listen(fd, 4); err != nil {
		unix.Close(fd)
		return
	}
	for {
		conn, peer, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			a.Log("cannot accept on vsock: %v", err)
			time.Sleep(time.Second)
			continue
		}
		// Only the host: programs in the machine must not become root by it.
		if vm, ok := peer.(*unix.SockaddrVM); !ok || vm.CID != unix.VMADDR_CID_HOST {
			unix.Close(conn)
			continue
		}
		f := os.NewFile(uintptr(conn), "vsock")
		go func() {
			defer f.Close()
			a.Serve(ctx, f, false)
		}()
	}
}
