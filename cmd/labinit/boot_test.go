package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sandlot/guest/initramfs"
	"sandlot/guest/wire"
	"sandlot/internal/labtest"
	"sandlot/internal/session"
)

// kernelEnv names a directory with vmlinux and modules, as the kernel store
// keeps them.
const kernelEnv = "LAB_KERNEL"

func build(t *testing.T, pkg, out string) {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, b)
	}
}

func newKey(t *testing.T) (private, public string) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
}

const mac = "02:00:00:00:00:01"

// tinyImage makes an ext4 volume of 64 MiB in a file of 256 MiB, with one
// program and two users, and a link that leads out of any root.
func tinyImage(t *testing.T, dir string) string {
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "etc", "home", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build(t, "./testdata/tool", filepath.Join(root, "bin/tool"))
	os.WriteFile(root+"/etc/passwd", []byte("root:x:0:0::/root:/bin/tool\nlaborant:x:1001:1001::/home/laborant:/bin/tool\n"), 0o644)
	os.WriteFile(root+"/etc/group", []byte("root:x:0:\nsudo:x:27:laborant\n"), 0o644)
	os.Symlink("/../../../../etc/elsewhere", root+"/etc/hosts")
	disk := filepath.Join(dir, "disk.raw")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", root, disk, "64M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	if err := os.Truncate(disk, 256<<20); err != nil {
		t.Fatal(err)
	}
	return disk
}

type disk struct {
	file     string
	readOnly bool
}

// startVM boots QEMU and returns the path of the agent's socket and a channel
// with QEMU's end.
func startVM(t *testing.T, dir, kernel, initrd string, disks ...disk) (socket string, exited <-chan error) {
	socket = filepath.Join(labtest.SocketDir(t), "agent")
	console := filepath.Join(dir, "console")
	cmd := exec.Command("qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "qemu64", "-m", "256",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "file:"+console,
		"-kernel", filepath.Join(kernel, "vmlinux"), "-initrd", initrd,
		"-append", "console=ttyS0 quiet loglevel=3 net.ifnames=0 panic=1",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=a,path="+socket+",server=on,wait=off",
		"-device", "virtserialport,chardev=a,name="+wire.PortName,
		"-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n,romfile=,mac="+mac)
	for i, d := range disks {
		drive := fmt.Sprintf("file=%s,format=raw,if=none,id=d%d", d.file, i)
		if d.readOnly {
			drive += ",readonly=on"
		}
		cmd.Args = append(cmd.Args, "-drive", drive, "-device", fmt.Sprintf("virtio-blk-pci,drive=d%d", i))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	gone := make(chan struct{})
	go func() { done <- cmd.Wait(); close(gone) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-gone
		if t.Failed() {
			b, _ := os.ReadFile(console)
			t.Logf("console:\n%s\nQEMU: %s", b, stderr.String())
		}
	})
	return socket, done
}

func buildLabinit(t *testing.T, dir string) []byte {
	labinit := filepath.Join(dir, "labinit")
	build(t, ".", labinit)
	binary, err := os.ReadFile(labinit)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// bootVM starts a machine with this configuration and returns its agent and a
// channel with QEMU's end.
func bootVM(t *testing.T, dir, kernel string, labinit []byte, config wire.Config, filesystems []string, disks ...disk) (*session.Agent, <-chan error) {
	var image bytes.Buffer
	modules := filepath.Join(kernel, "modules")
	err := initramfs.Shared(&image, labinit, modules)
	if err == nil && len(filesystems) > 0 {
		err = initramfs.Filesystems(&image, modules, filesystems)
	}
	if err == nil {
		err = initramfs.Machine(&image, config)
	}
	initrd := filepath.Join(dir, "initrd")
	if err == nil {
		err = os.WriteFile(initrd, image.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	socket, exited := startVM(t, dir, kernel, initrd, disks...)
	agent := session.New(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	})
	t.Cleanup(func() { agent.Close() })
	return agent, exited
}

// One machine of an image that holds no init and nothing of ours: it boots to
// the agent with its identity, survives a reboot in process with that identity
// and the channel, and powers off.
func TestBoot(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM)
	kernel := os.Getenv(kernelEnv)
	if kernel == "" {
		t.Fatalf("set %s to a directory with vmlinux and modules", kernelEnv)
	}
	dir := t.TempDir()
	binary := buildLabinit(t, dir)
	private, public := newKey(t)
	config := wire.Config{
		Hostname: "m1", MachineID: strings.Repeat("ab", 16), Nameserver: "10.0.2.3",
		Root:       wire.Mount{Device: "/dev/vda", Path: "/", Filesystem: "ext4"},
		Interfaces: []wire.Interface{{Name: "lan7", MAC: mac, Address: "10.0.2.15/24", Gateway: "10.0.2.2"}},
		Users:      []wire.User{{Name: "laborant", AuthorizedKeys: []string{public}}},
		SSHHostKey: private,
		StartupFiles: []wire.StartupFile{
			{Path: "/etc/log", Content: "once\n", Append: true},
			{Path: "/home/laborant/d/f", Content: "x", Owner: "laborant", Mode: "0600"},
		},
		Seed: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	}
	agent, exited := bootVM(t, dir, kernel, binary, config, nil, disk{file: tinyImage(t, dir)})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	first := inspect(t, ctx, agent, public)

	t.Run("terminal", func(t *testing.T) {
		var out bytes.Buffer
		code, err := agent.Exec(ctx, wire.Exec{Argv: []string{"tool", "sleep"}, User: "laborant", TTY: &wire.TTY{Rows: 24, Cols: 80}},
			session.Streams{In: io.MultiReader(strings.NewReader("typed"), strings.NewReader("\x03")), Out: &out})
		if code != 130 || err != nil {
			t.Errorf("Ctrl-C ended it with %d, %v, output %q", code, err, out.String())
		}
	})
	t.Run("loopback", func(t *testing.T) { loopback(t, ctx, agent) })
	t.Run("supervisor", func(t *testing.T) {
		pid := strings.TrimSpace(run(t, ctx, agent, "root", "parent"))
		agent.Exec(ctx, wire.Exec{Argv: []string{"tool", "kill", pid}}, session.Streams{})
		if again := strings.TrimSpace(run(t, ctx, agent, "root", "parent")); again == pid {
			t.Errorf("the agent is still process %s", pid)
		}
	})

	watching := make(chan error, 1)
	go func() { watching <- agent.Watch(ctx, func(wire.Event) {}) }()
	if err := agent.Shutdown(ctx, "reboot"); err != nil {
		t.Fatal(err)
	}
	<-watching // the new agent's first words end the session with the old
	if second := inspect(t, ctx, agent, public); second == first {
		t.Errorf("the boot id is still %s", first)
	}
	powerOff(t, ctx, agent, exited)
}

func run(t *testing.T, ctx context.Context, a *session.Agent, user string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code, err := a.Exec(ctx, wire.Exec{Argv: append([]string{"tool"}, args...), User: user, Login: true}, session.Streams{Out: &out, Err: &errs})
	if code != 0 || err != nil {
		t.Errorf("%v: code %d, %v, %s", args, code, err, errs.String())
	}
	return out.String()
}

// inspect checks everything the machine was told and returns its boot id.
func inspect(t *testing.T, ctx context.Context, a *session.Agent, public string) string {
	t.Helper()
	info, err := a.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.Hostname != "m1" || info.Init != "" {
		t.Errorf("information is %+v", info)
	}
	for _, c := range []struct {
		user string
		args []string
		want string
	}{
		{"root", []string{"cat", "/etc/hostname", "/etc/machine-id", "/etc/log"}, "m1\n" + strings.Repeat("ab", 16) + "\nonce\n"},
		{"root", []string{"cat", "/etc/elsewhere"}, "127.0.1.1 m1\n"},
		{"root", []string{"cat", "/etc/resolv.conf"}, "nameserver 10.0.2.3\n"},
		{"root", []string{"cat", "/proc/net/route"}, "lan7\t00000000\t0202000A"},
		{"root", []string{"cat", "/home/laborant/.ssh/authorized_keys"}, public},
		{"root", []string{"stat", "/home/laborant", "/home/laborant/.ssh", "/home/laborant/d/f", "/etc/ssh/ssh_host_ed25519_key"},
			"/home/laborant drwxr-xr-x 1001 1001\n/home/laborant/.ssh drwx------ 1001 1001\n/home/laborant/d/f -rw------- 1001 1001\n/etc/ssh/ssh_host_ed25519_key -rw------- 0 0\n"},
		{"laborant", []string{"id"}, "1001 1001 [27 1001] /home/laborant\n"},
	} {
		if got := run(t, ctx, a, c.user, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%v gave %q, want %q", c.args, got, c.want)
		}
	}
	var size int
	fmt.Sscan(run(t, ctx, a, "root", "size", "/"), &size)
	if size < 200 {
		t.Errorf("the root filesystem has %d MiB: it was not grown to the drive", size)
	}
	return info.BootID
}

// loopback goes through two streams and the machine's own lo.
func loopback(t *testing.T, ctx context.Context, a *session.Agent) {
	l, err := a.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	c, err := a.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		io.WriteString(c, strings.Repeat("abc", 10_000))
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if b, err := io.ReadAll(c); err != nil || string(b) != strings.Repeat("abc", 10_000) {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
}
