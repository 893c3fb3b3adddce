package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// announce writes a message to every terminal, as wall does: images need not
// have that.
func (a *Agent) announce(message string) error {
	if message == "" {
		return errors.New("cannot announce nothing")
	}
	terminals, err := filepath.Glob(a.Root + "/dev/pts/[0-9]*")
	if err != nil {
		return fmt.Errorf("cannot list terminals: %v", err)
	}
	text := []byte("\r\n\a" + strings.ReplaceAll(message, "\n", "\r\n") + "\r\n")
	for _, name := range terminals {
		// A terminal that nobody reads must not hold the agent, nor become its
		// own. One that is gone by now has nobody to tell.
		f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		raw, err := f.SyscallConn()
		if err == nil {
			_ = raw.Write(func(fd uintptr) bool {
				_, _ = syscall.Write(int(fd), text)
				return true // once, whether or not there was room
			})
		}
		_ = f.Close()
	}
	return nil
}
