//go:build unix

package cli

import (
	"os"
	"syscall"
)

var resizeSignals = []os.Signal{syscall.SIGWINCH}
