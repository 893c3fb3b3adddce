//go:build !unix

package cli

import "os"

// Elsewhere a terminal does not tell when its size changes.
var resizeSignals []os.Signal
