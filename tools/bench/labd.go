package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// labd is the daemon under measurement, and a labctl that is signed in to it.
type labd struct {
	bench *bench
	url   string
	// session and token are the administrator's.
	session, token string
	cmd            *exec.Cmd
	log            bytes.Buffer
	home           string
}

// startLabd runs one with this data directory.
func (b *bench) startLabd(root string) (*labd, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	home, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	d := &labd{bench: b, home: home, url: "http://" + addr}
	d.cmd = exec.Command("bin/labd", "up", "--data-dir", root, "--listen", addr, "--accel", b.accel)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if reply, err := http.Get(d.url + "/readyz"); err == nil {
			_ = reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				break
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	out, err := b.command(nil, "bin/labd", "credentials", "--data-dir", root)
	fields := strings.Fields(out)
	if err != nil || len(fields) != 2 {
		d.stop()
		return nil, fmt.Errorf("labd did not come up: %v\n%s", err, d.log.String())
	}
	d.session, d.token = fields[0], fields[1]
	if _, err := d.labctl("auth", "login", "--endpoint", d.url, "-s", d.session, "-t", d.token); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *labd) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
	_ = os.RemoveAll(d.home)
}

func (d *labd) labctl(args ...string) (string, error) {
	out, err := d.bench.command([]string{"HOME=" + d.home}, "bin/labctl", args...)
	return strings.TrimSpace(out), err
}

// resident is the memory of labd, in bytes.
func (d *labd) resident() (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in %s", status)
}

// play starts a play from a manifest and returns its id and how long that took.
func (d *labd) play(manifest string, flags ...string) (string, time.Duration, error) {
	begin := time.Now()
	id, err := d.labctl(append([]string{"playground", "start", "flexbox", "-q", "-f", manifest}, flags...)...)
	return id, time.Since(begin), err
}

func (d *labd) destroy(id string) (time.Duration, error) {
	begin := time.Now()
	_, err := d.labctl("playground", "destroy", id)
	return time.Since(begin), err
}
