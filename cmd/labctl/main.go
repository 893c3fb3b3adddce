// Command labctl is the command-line client of labd; see internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sandlot/internal/cli"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
	built   = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	app := cli.New()
	app.Version, app.Commit, app.Built = version, commit, built
	code := app.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
