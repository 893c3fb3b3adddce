package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"sandlot/internal/account"
	"sandlot/internal/control"
	"sandlot/internal/host/layout"
	"sandlot/internal/manifest"
	"sandlot/internal/server"
	"sandlot/internal/step"
	"sandlot/internal/store"
	"sandlot/internal/vm"
)

// DefaultListen is where labd answers unless told otherwise: this host only.
const DefaultListen = "127.0.0.1:8484"

func upCommand(l *layout.Layout) *cobra.Command {
	s := settings{plans: newPlans()}
	var size, registrySize, level, logFormat, crash, machineMemory, playMemory string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run labd in the foreground",
		Long: `Run labd in the foreground until Ctrl-C or SIGTERM. Machines that run go on
without it, and the next labd takes them over.`,
		Args: cobra.NoArgs,
		// Values and their combinations; nothing is touched yet.
		PreRunE: func(*cobra.Command, []string) error {
			if size != "" {
				bytes, err := manifest.ParseSize(size)
				if err != nil {
					return fmt.Errorf("cannot read --pool-size: %w", err)
				}
				s.poolSize = bytes
			}
			var err error
			if s.budget.MachineMemoryMiB, err = memoryLimit("--machine-memory", machineMemory); err != nil {
				return err
			}
			if s.budget.PlayMemoryMiB, err = memoryLimit("--play-memory", playMemory); err != nil {
				return err
			}
			if s.budget.MachineCPUs < 0 || s.budget.PlayCPUs < 0 {
				return errors.New("cannot use --machine-cpus or --play-cpus below 0: write 1 or more, or leave it out")
			}
			if err := s.plans.checkPlan(s.defaultPlan); err != nil {
				return fmt.Errorf("cannot use --default-plan: %w", err)
			}
			s.registrySize = defaultRegistrySize
			if registrySize != "" {
				if s.registrySize, err = manifest.ParseSize(registrySize); err != nil {
					return fmt.Errorf("cannot read --registry-size: %w", err)
				}
			}
			if s.registryName != "" {
				if err := checkRegistryName(s.registryName); err != nil {
					return err
				}
			}
			var lv slog.Level
			if err := lv.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("cannot read --log-level %q: write debug, info, warn or error", level)
			}
			if err := s.certificates.check(); err != nil {
				return err
			}
			if err := s.signIn.check(s.listen, s.public); err != nil {
				return err
			}
			if logFormat != "text" && logFormat != "json" {
				return fmt.Errorf("cannot use --log-format %q: write text or json", logFormat)
			}
			if err := checkDomain(s.domain, s.public); err != nil {
				return err
			}
			switch s.accel {
			case "auto", "kvm", "tcg":
			default:
				return fmt.Errorf("cannot use --accel %q: write auto, kvm or tcg", s.accel)
			}
			s.log = newLog(os.Stderr, logFormat, lv)
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needRoot("run labd"); err != nil {
				return err
			}
			s.layout, s.hook = *l, crashAt(crash)
			config := ""
			if f := cmd.Flag("config"); f != nil {
				config = f.Value.String()
			}
			s.report = reporter(cmd.Flags(), config, os.Getenv)
			return up(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", envOr("LABD_LISTEN", DefaultListen), "address of the API (LABD_LISTEN)")
	f.StringVar(&s.public, "public-url", "", "root of the URLs in replies; default: what the request was sent to")
	f.StringVar(&s.domain, "domain", os.Getenv("LABD_DOMAIN"), "exposed ports are <id>.DOMAIN[:PORT]; needs a wildcard in DNS; default: localhost (LABD_DOMAIN)")
	s.signIn.flags(f)
	f.StringVar(&s.cert, "tls-cert", os.Getenv("LABD_TLS_CERT"), "PEM file of a certificate and its chain, read again when it changes; default: from labd's own authority (LABD_TLS_CERT)")
	f.StringVar(&s.key, "tls-key", os.Getenv("LABD_TLS_KEY"), "PEM file of the certificate's key (LABD_TLS_KEY)")
	f.StringSliceVar(&s.acmeDomains, "acme-domain", nil, "get a certificate for this public name by ACME and accept its terms; labd must answer on port 443 of it")
	f.StringVar(&s.acmeEmail, "acme-email", "", "whom the ACME authority may write to")
	f.StringVar(&s.acmeDirectory, "acme-directory", "", "the ACME authority; default: Let's Encrypt")
	f.StringVar(&s.accel, "accel", envOr("LABD_ACCEL", "auto"), "auto (probe KVM by a boot), kvm or tcg (LABD_ACCEL)")
	f.StringVar(&s.resolvConf, "resolv-conf", envOr("LABD_RESOLV_CONF", "/etc/resolv.conf"), "file of the name servers that machines' other questions go to (LABD_RESOLV_CONF)")
	f.BoolVar(&s.strict, "strict", false, "refuse manifests that ask for a backend this host lacks")
	f.StringVar(&size, "pool-size", os.Getenv("LABD_POOL_SIZE"), "size of the volume pool, like 40GiB; default: half of the free space, at most 64GiB (LABD_POOL_SIZE)")
	f.IntVar(&s.budget.MachineCPUs, "machine-cpus", 0, "most CPUs of one machine; default: as many as this host has")
	f.StringVar(&machineMemory, "machine-memory", "", "most memory of one machine, like 4GiB; default: three quarters of this host's")
	f.IntVar(&s.budget.PlayCPUs, "play-cpus", 0, "most CPUs of a play's machines together; default: no limit, they share them")
	f.StringVar(&playMemory, "play-memory", "", "most memory of a play's machines together, like 8GiB; default: three quarters of this host's")
	f.Var(s.plans, "plans", "what users may have, as YAML, like '{free: {plays: 2, play-time: 1h}}'; other plans stay as they are")
	f.StringVar(&s.defaultPlan, "default-plan", control.FreePlan, "plan of users who were given none; administrators have unlimited")
	f.StringVar(&registrySize, "registry-size", os.Getenv("LABD_REGISTRY_SIZE"), "what each play's registry may store, like 20GiB; default: 10GiB (LABD_REGISTRY_SIZE)")
	f.StringVar(&s.registryName, "registry-name", os.Getenv("LABD_REGISTRY_NAME"), "another name for every play's registry, besides registry.iximiuz.com (LABD_REGISTRY_NAME)")
	f.StringVar(&s.labinit, "labinit", besides("labinit"), "the machines' first process")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.StringVar(&crash, "crash-at", "", "kill labd at POINT:STEP, for tests")
	_ = f.MarkHidden("crash-at")
	return cmd
}

// newLog names the request, user and play of every line that has one.
func newLog(w io.Writer, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(server.LogHandler(slog.NewJSONHandler(w, options)))
	}
	return slog.New(server.LogHandler(slog.NewTextHandler(w, options)))
}

// memoryLimit reads a size in whole MiB; "" is no limit.
func memoryLimit(flag, value string) (int, error) {
	if value == "" {
		return 0, nil
	}
	bytes, err := manifest.ParseSize(value)
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w; write it like 4GiB", flag, err)
	}
	if bytes < manifest.MinRAM {
		return 0, fmt.Errorf("cannot use %s %s: no machine boots with less than %s", flag, value, manifest.FormatSize(manifest.MinRAM))
	}
	return int(bytes >> 20), nil
}

// besides is the path of a program that is installed with this one.
func besides(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

// crashAt makes labd die as by SIGKILL at one point of one step, like
// "after-do:boot/router".
func crashAt(at string) func(step.Point, string) {
	if at == "" {
		return nil
	}
	return func(p step.Point, name string) {
		if string(p)+":"+name == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
	}
}

// checkDataDir refuses a data directory whose machines could not start: their
// sockets' names would be too long, or their users, who are nobody's, could not
// pass to their volumes.
func checkDataDir(root string) error {
	longest := layout.Layout{Root: root}.Machine(strings.Repeat("0", 24), 0)
	if over := len(longest) - vm.MaxDir; over > 0 {
		return fmt.Errorf("cannot use data directory %q: its name is %d bytes too long for sockets in it; choose a shorter one with --data-dir", root, over)
	}
	for dir := filepath.Dir(root); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("cannot use data directory %q: %w", root, err)
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("cannot use data directory %q: machines' users may not pass through %q; run chmod o+x on it, or choose another with --data-dir", root, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func up(ctx context.Context, s settings) error {
	if err := os.MkdirAll(s.layout.Root, 0o711); err != nil {
		return fmt.Errorf("cannot make the data directory: %w", err)
	}
	if err := checkDataDir(s.layout.Root); err != nil {
		return err
	}
	// Machines' users must reach their volumes through it.
	if err := os.Chmod(s.layout.Root, 0o711); err != nil {
		return fmt.Errorf("cannot open the data directory to machines: %w", err)
	}
	lock := flock.New(s.layout.Lock())
	free, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("cannot lock the data directory: %w", err)
	}
	if !free {
		return fmt.Errorf("cannot use data directory %q: another labd uses it; stop that one, or choose another with --data-dir", s.layout.Root)
	}
	defer func() { _ = lock.Unlock() }()
	listener, err := net.Listen("tcp", s.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("cannot listen on %s: the port is taken; choose another with --listen", s.listen)
	}
	if err != nil {
		return fmt.Errorf("cannot listen on %q: %w; write host:port", s.listen, err)
	}
	defer func() { _ = listener.Close() }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := assemble(ctx, s)
	if err != nil {
		return err
	}
	defer d.close()
	// Workers end with the context; close waits for them.
	defer cancel()
	if err := d.writeCredentials(ctx); err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		s.log.Warn("cannot read this host's name: it will not stand in labd's certificate", "error", err)
	}
	config, challenges, err := s.tlsConfig(s.layout, d.networks.registries.authority, tlsNames(s.public, s.domain, s.listen, hostname), s.log)
	if err != nil {
		return err
	}
	d.server.Challenges(challenges)
	// It answers at once, that it lives and is not ready; other requests wait.
	served := make(chan error, 1)
	go func() { served <- d.server.Serve(ctx, 5*time.Second, server.Sniff(listener, config)) }()
	if err := d.bender.Recover(ctx); err != nil {
		cancel()
		return errors.Join(err, <-served)
	}
	if err := d.control.Recover(ctx); err != nil {
		s.log.Error("cannot make plans agree with what runs", "error", err)
	}
	close(d.recovered)
	go d.housekeep(ctx)
	go d.sample(ctx)
	go s.fetch(ctx, config)
	go d.watchClocks(ctx)
	s.log.Info("labd is up", "url", "http://"+listener.Addr().String(), "tls", "https on the same port: labd ca", "data", s.layout.Root)
	root := rootOf(s.public, listener.Addr(), hostname)
	if err := keepAddress(s.layout, root); err != nil {
		s.log.Warn("links that labd user prints may begin with another address than labd's", "error", err)
	}
	d.tellFirst(ctx, root)
	return <-served
}

// writeCredentials makes the administrator's session, the same at every start.
func (d *daemon) writeCredentials(ctx context.Context) error {
	have, err := readCredentials(d.layout)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	made, err := account.EnsureAdmin(ctx, d.store, have)
	if err != nil || made == have {
		return err
	}
	body, err := json.Marshal(made)
	if err != nil {
		return err
	}
	temp := d.layout.Admin() + ".new"
	if err := os.WriteFile(temp, append(body, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot keep the administrator's credentials: %w", err)
	}
	return os.Rename(temp, d.layout.Admin())
}

func readCredentials(l layout.Layout) (account.Credentials, error) {
	var c account.Credentials
	body, err := os.ReadFile(l.Admin())
	if err != nil {
		return c, fmt.Errorf("cannot read the administrator's credentials: %w", err)
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, fmt.Errorf("cannot read %q: %w", l.Admin(), err)
	}
	return c, nil
}

func credentialsCommand(l *layout.Layout) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "credentials",
		Short: "Print the administrator's session id and token for labctl auth login",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readCredentials(*l)
			switch {
			case errors.Is(err, os.ErrPermission):
				return fmt.Errorf("%w; run it with sudo", err)
			case err != nil:
				return fmt.Errorf("%w; labd up makes them at its first start", err)
			}
			// A logout ends the session; whoever may read the file opens it again.
			s, err := store.Open(cmd.Context(), l.State())
			if err != nil {
				return err
			}
			_, err = account.EnsureAdmin(cmd.Context(), s, c)
			if err := errors.Join(err, s.Close()); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), c)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", c.SessionID, c.AccessToken)
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func purgeCommand(l *layout.Layout) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Remove all plays, images and kernels, and everything else labd made on this host",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needRoot("purge"); err != nil {
				return err
			}
			if _, err := os.Stat(l.Root); errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if !yes {
				return fmt.Errorf("cannot purge %q without --yes: every play, image and kernel in it would be lost", l.Root)
			}
			lock := flock.New(l.Lock())
			if free, err := lock.TryLock(); err != nil || !free {
				return fmt.Errorf("cannot purge %q: a labd uses it; stop that one first", l.Root)
			}
			defer func() { _ = lock.Unlock() }()
			return purge(cmd.Context(), *l, slog.Default())
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	return cmd
}

func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "text or json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *output != "text" && *output != "json" {
			return fmt.Errorf("cannot print as %q: write text or json", *output)
		}
		return nil
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// recipes finds the folders of images that can be built: beside the program,
// or in the folder above it.
func recipes() map[string]string {
	found := make(map[string]string)
	for _, root := range []string{"/usr/share/sandlot/images", besides("../images"), envOr("LABD_IMAGES", "")} {
		files, _ := filepath.Glob(filepath.Join(root, "*", "Dockerfile"))
		for _, f := range files {
			dir := filepath.Dir(f)
			found[strings.ToLower(filepath.Base(dir))] = dir
		}
	}
	return found
}
