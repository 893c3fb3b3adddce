//go:build linux

package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandlot/internal/labtest"
)

// fakeQMP answers each line with what answer gives; it starts with greeting.
func fakeQMP(t *testing.T, greeting string, answer func(line string) string) string {
	t.Helper()
	path := filepath.Join(labtest.SocketDir(t), "qmp.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, greeting)
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			fmt.Fprint(conn, answer(lines.Text()))
		}
	}()
	return path
}

const greeting = `{"QMP":{"version":{},"capabilities":[]}}` + "\n"

func TestMonitor(t *testing.T) {
	path := fakeQMP(t, greeting, func(line string) string {
		switch {
		case strings.Contains(line, `"qmp_capabilities"`):
			return `{"return":{},"id":1}` + "\n"
		case strings.Contains(line, `"query-status"`):
			return `{"event":"RTC_CHANGE","data":{"offset":1}}` + "\n" +
				`{"event":"RESET","data":{"guest":false,"reason":"host-qmp-system-reset"}}` + "\n" +
				`{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}` + "\n" +
				`{"return":{},"id":99}` + "\n" + `{"return":{"status":"shutdown"},"id":2}` + "\n"
		}
		return `{"error":{"class":"CommandNotFound","desc":"no such thing"},"id":3}` + "\n"
	})
	m, err := dialMonitor(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if status, err := m.status(t.Context()); err != nil || status != "shutdown" {
		t.Errorf("status %q, %v", status, err)
	}
	<-m.notify
	if got, want := m.take(), (news{shutdown: true}); got != want {
		t.Errorf("news %+v, want %+v", got, want)
	}
	if got := m.take(); got != (news{}) {
		t.Errorf("news twice: %+v", got)
	}
	if err := m.execute(t.Context(), "nonsense", nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v", err)
	}
}

// A QEMU that its guest has taken over may say anything or nothing.
func TestMonitorAgainstBadPeers(t *testing.T) {
	for name, tc := range map[string]struct{ greeting, answer string }{
		"endless greeting": {strings.Repeat("x", 2*maxLine), ""},
		"endless answer":   {greeting, strings.Repeat("x", 2*maxLine)},
		"not JSON":         {greeting, "hello\n"},
		"silence":          {"", ""},
		"no answer":        {greeting, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := fakeQMP(t, tc.greeting, func(string) string { return tc.answer })
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if m, err := dialMonitor(ctx, path); err == nil {
				m.Close()
				t.Error("connected")
			}
		})
	}
}

func TestMonitorReportsTheEnd(t *testing.T) {
	path := fakeQMP(t, greeting, func(line string) string {
		if strings.Contains(line, "qmp_capabilities") {
			return `{"return":{},"id":1}` + "\n"
		}
		return "bye\n"
	})
	m, err := dialMonitor(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.execute(t.Context(), "stop", nil); err == nil {
		t.Error("a broken connection gave no error")
	}
	<-m.closed
	if err := m.execute(t.Context(), "stop", nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestTrimFile(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "console.log"), filepath.Join(dir, "console.old.log")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	// QEMU's descriptor: it goes on where the file ends.
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := trimFile(path, old, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("a file at its limit was cut: %v", err)
	}
	if err := trimFile(path, old, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.WriteString("ab"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path: "ab", old: "6789"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	// A link in place of the console must not be followed.
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	if err := trimFile(path, old, 4); err == nil {
		t.Error("a link was followed")
	}
}
