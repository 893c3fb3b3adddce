// Package cli is labctl: arguments go in, calls on package client go out, and
// what people and scripts read comes back. Results (ids, tables, JSON) go to
// stdout, progress and hints to stderr. One file per verb; what several verbs
// share stands in files named after the thing (config, keys, progress, …).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sandlot/client"
)

// Exit codes besides 0 and a remote program's own.
const (
	exitFailure     = 1
	exitProblems    = 2   // a manifest with problems, or tasks that did not finish
	exitInterrupted = 130 // Ctrl-C, as a shell would report it
)

// App is one run of labctl. Use New; tests replace fields.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	// Getenv reads the environment.
	Getenv func(string) string
	Now    func() time.Time
	// Version, Commit and Built describe the binary.
	Version, Commit, Built string
	// Tune adjusts a new client; tests make it impatient.
	Tune func(*client.Client)

	// OpenURL shows a web page in the desktop's browser.
	OpenURL func(address string) error

	endpoint string // --endpoint
	logLevel choice // --log-level
}

// New returns labctl as a shell starts it.
func New() *App {
	return &App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Getenv: os.Getenv, Now: time.Now,
		Version: "dev", Commit: "unknown", Built: "unknown",
		Tune:    func(*client.Client) {},
		OpenURL: openURL,
	}
}

// exitError ends labctl with a code; a nil cause prints nothing.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }

// Run carries out one command line and returns the exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitFailure
	var exit *exitError
	if errors.As(err, &exit) {
		if code = exit.code; exit.cause == nil {
			return code
		}
		err = exit.cause
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitInterrupted
	}
	message := strings.TrimRight(clean(err.Error()), ".\n")
	if !strings.Contains(message, "\n") {
		message += "."
	}
	fmt.Fprintln(a.Err, "labctl: "+message)
	return code
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "labctl",
		Short:         "Start labs of virtual machines and enter them",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.endpoint, "endpoint", "", "address of labd, like http://localhost:8484 (default: LABCTL_ENDPOINT, or as logged in)")
	a.logLevel = choice{choices: []string{"debug", "info", "warn", "error", "fatal"}, value: "info"}
	root.PersistentFlags().VarP(&a.logLevel, "log-level", "l", "debug: tell on stderr what is asked of labd, and why connections end")
	root.AddCommand(
		group("auth", "Sign in and out", nil,
			a.authLogin(), a.authLogout(), a.authWhoami(), a.authPlan(), a.authToken(), a.authSigninURL()),
		group("playground", "Start, watch and end plays, and store playgrounds", []string{"playgrounds", "play", "pg", "p"},
			a.playgroundStart(), a.playgroundList(), a.playgroundStatus(), a.playgroundMachines(),
			a.playgroundStop(), a.playgroundRestart(), a.playgroundDestroy(), a.playgroundPersist(), a.playgroundSave(), a.playgroundFork(), a.playgroundLifetime(),
			a.playgroundCatalog(), a.playgroundSources(), a.playgroundKernels(), a.playgroundTasks(), a.playgroundWait(),
			a.playgroundCreate(), a.playgroundUpdate(), a.playgroundRegion(), a.playgroundRemove(), a.playgroundManifest(),
			group("machine", "Act on one machine of a play", nil,
				a.machineReboot(), a.machineStop(), a.machineRestart(), a.machineConsole(), a.machineJournal())),
		group("manifest", "Check manifests and show what they would start", nil,
			a.manifestValidate(), a.manifestPlan(), a.manifestSchema()),
		a.ssh(), a.terminal(), a.sshProxy(), a.cp(), a.ide(), a.portForward(), a.kubeProxy(), a.expose(), a.search(), a.api(), a.version(),
	)
	a.finish(root)
	return root
}

// group is a command that only holds others.
func group(name, short string, aliases []string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: name, Short: short, Aliases: aliases,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q; see %s --help", strings.Join(args, " "), cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	g.AddCommand(verbs...)
	return g
}

// client returns a client as the config file, environment and flags say.
func (a *App) client() (*client.Client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return a.dial(cfg)
}

func (a *App) dial(cfg Config) (*client.Client, error) {
	c, err := client.New(client.Config{
		APIBaseURL:  cfg.APIBaseURL,
		SessionID:   cfg.SessionID,
		AccessToken: cfg.AccessToken,
		CAFile:      cfg.CAFile,
		UserAgent:   fmt.Sprintf("labctl/%s (built: %s commit: %s)", a.Version, a.Built, a.Commit),
		Log:         a.log(),
	})
	if err != nil {
		return nil, err
	}
	a.Tune(c)
	return c, nil
}

// log is for --log-level debug; nothing is logged otherwise.
func (a *App) log() *slog.Logger {
	if a.logLevel.value != "debug" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// terminalOf returns the file descriptor of a terminal.
func terminalOf(v any) (fd int, ok bool) {
	f, isFile := v.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// say prints a line for a person, unless quiet.
func (a *App) say(quiet bool, format string, args ...any) {
	if quiet {
		return
	}
	line := clean(fmt.Sprintf(format, args...))
	if _, ok := terminalOf(a.Err); !ok || a.Getenv("NO_COLOR") != "" {
		line = colourless(line)
	}
	fmt.Fprintln(a.Err, line)
}
