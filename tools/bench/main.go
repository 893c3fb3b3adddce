// Command bench measures labd side by side with plain tools in one run and
// prints the ratios. In go the built programs in bin/ and a prepared data
// directory (-only manifest,hostile needs neither); out comes a table of figures, each with its baseline and the
// ratio it must keep. Every start is repeated, baseline and ours in turn, and
// the median counts.
//
// The baseline of a start is plain QEMU: the same machine type, accelerator,
// memory, kernel and root filesystem, QEMU's default CPU model and devices,
// Debian's own initramfs, no labinit; from the command to the first bytes of
// sshd's banner.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sandlot/internal/host/layout"
)

// bench is one run.
type bench struct {
	ctx    context.Context
	layout layout.Layout
	runs   int
	accel  string
	work   string // scratch folder, in the pool
	labd   *labd
}

// figure is one line of the report.
type figure struct {
	name     string
	value    string
	baseline string
	ratio    float64 // of value to baseline, or to the bound where there is none
	bound    float64
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	b := &bench{}
	flag.StringVar(&b.layout.Root, "data-dir", "/var/cache/sandlot-test", "prepared data directory")
	flag.IntVar(&b.runs, "runs", 3, "how often each start is measured")
	flag.StringVar(&b.accel, "accel", "tcg", "tcg or kvm, for both sides")
	only := flag.String("only", "", "comma-separated: manifest,hostile,memory,start,three,tasks,clone,image,tunnel,api")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.ctx = ctx
	if err := b.run(*only); err != nil {
		log.Fatal(err)
	}
}

func (b *bench) run(only string) error {
	wanted := func(name string) bool {
		return only == "" || slices.Contains(strings.Split(only, ","), name)
	}
	var figures []figure
	type part struct {
		name string
		f    func() ([]figure, error)
	}
	measure := func(parts ...part) error {
		for _, p := range parts {
			if !wanted(p.name) {
				continue
			}
			log.Printf("measuring %s", p.name)
			f, err := p.f()
			if err != nil {
				return fmt.Errorf("cannot measure %s: %w", p.name, err)
			}
			figures = append(figures, f...)
		}
		return nil
	}
	if err := measure(part{"manifest", b.manifest}, part{"hostile", b.hostile}); err != nil {
		return err
	}
	if only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(name string) bool { return name != "manifest" && name != "hostile" }) {
		return report(figures)
	}
	b.work = filepath.Join(b.layout.Pool(), "bench")
	var err error
	if b.labd, err = b.startLabd(b.layout.Root); err != nil {
		return err
	}
	defer b.labd.stop()
	if err := os.MkdirAll(b.work, 0o700); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.work) }()
	if err := measure(part{"memory", b.memory}, part{"start", b.start}, part{"three", b.three}, part{"tasks", b.tasks},
		part{"clone", b.clone}, part{"image", b.image}, part{"tunnel", b.tunnel}, part{"api", b.api}); err != nil {
		return err
	}
	return report(figures)
}

func report(figures []figure) error {
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s, %d CPUs, load %s\n\n", kernelRelease(), runtime.NumCPU(), strings.TrimSpace(string(load)))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tMEASURED\tBASELINE\tRATIO\tMUST BE\tVERDICT")
	missed := 0
	for _, f := range figures {
		verdict := "ok"
		if f.ratio > f.bound {
			verdict = "MISSED"
			missed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t≤ %.2f\t%s\n", f.name, f.value, f.baseline, f.ratio, f.bound, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d figures missed their bound", missed, len(figures))
	}
	return nil
}

func kernelRelease() string {
	var u syscall.Utsname
	if syscall.Uname(&u) != nil {
		return "Linux"
	}
	var b strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return "Linux " + b.String()
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// versus is a figure whose baseline was measured in this run.
func versus(name string, ours, baseline time.Duration, bound float64) figure {
	return figure{name, seconds(ours), seconds(baseline), float64(ours) / float64(baseline), bound}
}

// command runs a program to its end and returns its output.
func (b *bench) command(env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
