// tiny is everything in the image of the machines that boot in seconds: as
// /bin/sh it is a shell of a few words, as /usr/sbin/sshd it says the first
// line of SSH, by which a machine is Ready.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func main() {
	if filepath.Base(os.Args[0]) == "sshd" {
		sshd()
	}
	if filepath.Base(os.Args[0]) == "tiny" {
		fail(run(os.Args[1:]))
		return
	}
	// Both "sh -c COMMAND" and labd's "sh -c 'exec $SHELL …' COMMAND".
	if len(os.Args) > 2 && os.Args[1] == "-c" {
		fail(run(strings.Fields(os.Args[len(os.Args)-1])))
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := run(strings.Fields(lines.Text())); err != nil {
			fmt.Println(err)
		}
	}
}

// sshd answers as who it is, so that a caller knows whom it reached.
func sshd() {
	l, err := net.Listen("tcp", ":22")
	fail(err)
	for {
		c, err := l.Accept()
		fail(err)
		name, _ := os.Hostname()
		fmt.Fprintf(c, "SSH-2.0-%s\r\n", name)
		c.Close()
	}
}

func run(args []string) error {
	switch args[0] {
	case "cat":
		for _, name := range args[1:] {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			io.Copy(os.Stdout, f)
		}
	case "append":
		f, err := os.OpenFile(args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, strings.Join(args[2:], " "))
		return f.Close()
	case "dial": // prints the first line that an address says
		c, err := net.DialTimeout("tcp", args[1], 3*time.Second)
		if err != nil {
			return err
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		fmt.Print(line)
		return err
	case "join": // stays in a multicast group of an interface, as VRRP does
		link, err := net.InterfaceByName(args[2])
		if err != nil {
			return err
		}
		c, err := net.ListenMulticastUDP("udp4", link, &net.UDPAddr{IP: net.ParseIP(args[1]), Port: 9})
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, c)
		return err
	case "serve": // PORT: HTTPS on the loopback, whose certificate nobody trusts; says what it was asked
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, r.TLS != nil, r.Host, r.RequestURI)
		}))
		s.Listener.Close()
		l, err := net.Listen("tcp", "127.0.0.1:"+args[1])
		if err != nil {
			return err
		}
		s.Listener = l
		s.StartTLS()
		select {}
	case "push": // REFERENCE [USER:PASSWORD]: a small image of random bytes
		img, err := random.Image(64<<10, 2)
		if err != nil {
			return err
		}
		return onRegistry(args[1:], func(ref name.Reference, auth remote.Option) error { return remote.Write(ref, img, auth) })
	case "pull": // REFERENCE [USER:PASSWORD]: all of it
		return onRegistry(args[1:], func(ref name.Reference, auth remote.Option) error {
			img, err := remote.Image(ref, auth)
			if err != nil {
				return err
			}
			return validate.Image(img)
		})
	case "exit":
		var code int
		fmt.Sscan(args[1], &code)
		os.Exit(code)
	case "panic": // the kernel's last words, then nothing
		return os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "poweroff":
		return syscall.Kill(1, syscall.SIGUSR2)
	case "reboot":
		return syscall.Kill(1, syscall.SIGTERM)
	default:
		return fmt.Errorf("tiny knows no %q", args[0])
	}
	return nil
}

// onRegistry says "done" once f is, over TLS that the system's store trusts.
func onRegistry(args []string, f func(name.Reference, remote.Option) error) error {
	ref, err := name.ParseReference(args[0])
	if err != nil {
		return err
	}
	auth := authn.Anonymous
	if len(args) > 1 {
		user, password, _ := strings.Cut(args[1], ":")
		auth = &authn.Basic{Username: user, Password: password}
	}
	if err := f(ref, remote.WithAuth(auth)); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
