// Command labd is the daemon: the API, the state store and bender in one
// process, and the commands that prepare and examine the host.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"sandlot/internal/host/layout"
)

func main() {
	// labd lives beside machines that need the memory more, and has little to
	// collect. GOGC, where it is set, wins.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "labd",
		Short:         "Run isolated labs of virtual machines on this host",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	var l layout.Layout
	var config string
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		err := prepare(cmd, config, os.Getenv, os.Setenv)
		if err != nil {
			return err
		}
		// Names of namespaces and cgroups come from it, and QEMU runs elsewhere.
		l.Root, err = filepath.Abs(l.Root)
		return err
	}
	root.PersistentFlags().StringVar(&l.Root, "data-dir", envOr("LABD_DATA_DIR", layout.DefaultDataDir), "where labd keeps everything (LABD_DATA_DIR)")
	root.PersistentFlags().StringVar(&config, "config", os.Getenv("LABD_CONFIG"), "configuration file; default: "+DefaultConfig+" if it exists (LABD_CONFIG)")
	root.AddCommand(configCommand(&config), upCommand(&l), doctorCommand(&l), imageCommand(&l), kernelCommand(&l), credentialsCommand(&l), userCommand(&l), auditCommand(&l), caCommand(&l), purgeCommand(&l))
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		fmt.Fprintf(os.Stderr, "labd: %s\n", err)
		os.Exit(1)
	}
}

// exitCode ends the program without a further message.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

func needRoot(what string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("cannot %s: this needs root; run it with sudo", what)
	}
	return nil
}
