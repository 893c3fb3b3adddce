package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sandlot/internal/host/doctor"
	"sandlot/internal/host/image"
	"sandlot/internal/host/kernel"
	"sandlot/internal/host/layout"
	"sandlot/internal/host/volume"
	"sandlot/internal/manifest"
	"sandlot/internal/store"
)

func doctorCommand(l *layout.Layout) *cobra.Command {
	var output, labinit string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this host has and lacks, a line for each thing, and what to do about it",
		Long: `Tell what this host has and lacks, a line for each thing, and what to do about
it. KVM counts as working only if a probe boot under it succeeds. The exit code
is 1 if a thing is missing without which no play can start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := doctor.Doctor{
				DataDir: l.Root, Tables: "sandlot-", Uplink: "sl",
				KVM: func(ctx context.Context) (bool, string, time.Duration) {
					v, err := probe(ctx, *l, kernels{layout: *l, store: kernelStore(*l), labinit: labinit})
					if err != nil {
						return false, err.Error(), 0
					}
					return v.KVM, v.Detail, v.Duration
				},
				Pool: func(context.Context) (doctor.Pool, error) {
					s, err := volume.Inspect(poolOptions(*l, 0))
					return doctor.Pool{Ready: s.Ready, Info: s.Info, Total: s.Usage.Total, Free: s.Usage.Free, Reserve: s.Usage.Reserve}, err
				},
			}
			report := d.Examine(cmd.Context())
			write := report.WriteText
			if output == "json" {
				write = report.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !report.OK {
				return exitCode(1)
			}
			return nil
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&labinit, "labinit", besides("labinit"), "the machines' first process")
	return cmd
}

// withImages opens the pool and the image store: base volumes are made in the
// pool, whether labd runs or not.
func withImages(ctx context.Context, l layout.Layout, f func(*image.Store) error) error {
	if err := needRoot("open the image store"); err != nil {
		return err
	}
	if err := os.MkdirAll(l.Root, 0o711); err != nil {
		return err
	}
	if _, err := volume.Open(ctx, poolOptions(l, poolSizeFromEnv())); err != nil {
		return err
	}
	s, err := openImages(l)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return f(s)
}

// poolSizeFromEnv serves commands that may make the pool before labd up does.
func poolSizeFromEnv() int64 {
	size, err := manifest.ParseSize(os.Getenv("LABD_POOL_SIZE"))
	if err != nil {
		return 0
	}
	return size
}

func imageCommand(l *layout.Layout) *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Pull, build, list and remove images"}
	cmd.AddCommand(imagePull(l), imageBuild(l), imageList(l), imageRemove(l), imagePrune(l))
	return cmd
}

func imagePull(l *layout.Layout) *cobra.Command {
	var name, output, kernelVersion string
	cmd := &cobra.Command{
		Use:   "pull SOURCE",
		Short: "Bring an image into the store: oci://registry/repo:tag, an OCI layout folder, or an archive",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd.Context(), *l, func(s *image.Store) error {
				i, err := s.Pull(cmd.Context(), args[0], name, showProgress(cmd.ErrOrStderr()))
				if err != nil {
					return err
				}
				return finishImage(cmd, s, i, kernelVersion, output)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what manifests call it; default: the file's name (folders and archives only)")
	prepareFlag(cmd, &kernelVersion)
	outputFlag(cmd, &output)
	return cmd
}

func imageBuild(l *layout.Layout) *cobra.Command {
	var output, kernelVersion string
	var force bool
	cmd := &cobra.Command{
		Use:   "build NAME [FOLDER]",
		Short: "Build an image from a folder with a Dockerfile; official ones by name alone",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			known := recipes()
			dir, ok := known[args[0]]
			if len(args) == 2 {
				dir, ok = args[1], true
			}
			if !ok {
				names := make([]string, 0, len(known))
				for n := range known {
					names = append(names, n)
				}
				slices.Sort(names)
				return fmt.Errorf("cannot build image %q: there is no folder for it; name one, or build one of: %s", args[0], strings.Join(names, ", "))
			}
			return withImages(cmd.Context(), *l, func(s *image.Store) error {
				i, err := s.Build(cmd.Context(), args[0], dir, image.BuildOptions{Force: force, Progress: showProgress(cmd.ErrOrStderr())})
				if err != nil {
					return err
				}
				return finishImage(cmd, s, i, kernelVersion, output)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "build even if nothing changed")
	prepareFlag(cmd, &kernelVersion)
	outputFlag(cmd, &output)
	return cmd
}

func prepareFlag(cmd *cobra.Command, version *string) {
	cmd.Flags().StringVar(version, "prepare", "", "make the base volume for this kernel version now, not at the first start")
}

func finishImage(cmd *cobra.Command, s *image.Store, i image.Image, kernelVersion, output string) error {
	if kernelVersion != "" {
		if _, err := s.Base(cmd.Context(), i.Name, kernelVersion, showProgress(cmd.ErrOrStderr())); err != nil {
			return err
		}
	}
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), i)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", i.Name, i.ID)
	return err
}

func imageList(l *layout.Layout) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the images in the store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImages(cmd.Context(), *l, func(s *image.Store) error {
				list, err := s.List()
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(cmd.OutOrStdout(), list)
				}
				return table(cmd.OutOrStdout(), "NAME\tID\tSIZE\tSTORED\tORIGIN", func(w io.Writer) {
					for _, i := range list {
						fmt.Fprintf(w, "%s\t%.19s\t%s\t%s\t%s\n", i.Name, i.ID, manifest.FormatSize(i.Bytes&^(1<<20-1)), i.Stored.Format(time.DateTime), i.Origin)
					}
				})
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func imageRemove(l *layout.Layout) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME...",
		Short: "Forget images; prune frees their room",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd.Context(), *l, func(s *image.Store) error {
				for _, name := range args {
					if err := s.Remove(cmd.Context(), name); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func imagePrune(l *layout.Layout) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete what no image uses any more",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImages(cmd.Context(), *l, func(s *image.Store) error {
				// Volumes are clones: none needs its base volume any more.
				p, err := s.Prune(cmd.Context(), func(string) bool { return false })
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(cmd.OutOrStdout(), p)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %d blobs and %d base volumes, %d MiB\n", p.Blobs, p.Bases, p.Bytes>>20)
				return err
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func kernelCommand(l *layout.Layout) *cobra.Command {
	cmd := &cobra.Command{Use: "kernel", Short: "Pull, list and remove kernels"}
	var output string
	var again bool
	pull := &cobra.Command{
		Use:   "pull VERSION...",
		Short: "Bring kernels into the store: " + strings.Join(kernel.Known(), ", "),
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := kernelStore(*l)
			fetch := s.Ensure
			if again {
				fetch = s.Pull
			}
			for _, v := range args {
				k, err := fetch(cmd.Context(), v, func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) })
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", k.Version, k.Release)
			}
			return nil
		},
	}
	pull.Flags().BoolVar(&again, "upgrade", false, "look for a newer package even if the version is there")
	list := &cobra.Command{
		Use:   "list",
		Short: "List the kernels in the store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := kernelStore(*l).List()
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return table(cmd.OutOrStdout(), "VERSION\tRELEASE\tPACKAGE", func(w io.Writer) {
				for _, k := range list {
					fmt.Fprintf(w, "%s\t%s\t%s %s\n", k.Version, k.Release, k.Package, k.PackageVersion)
				}
			})
		},
	}
	outputFlag(list, &output)
	remove := &cobra.Command{
		Use:   "remove VERSION...",
		Short: "Remove kernels no play uses",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := kernelStore(*l)
			s.InUse = func(ctx context.Context) (map[string]int, error) { return kernelsInUse(ctx, *l) }
			for _, v := range args {
				if err := s.Remove(cmd.Context(), v); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.AddCommand(pull, list, remove)
	return cmd
}

// kernelsInUse counts the plays, running or stopped, of each kernel version.
func kernelsInUse(ctx context.Context, l layout.Layout) (map[string]int, error) {
	if _, err := os.Stat(l.State()); os.IsNotExist(err) {
		return nil, nil
	}
	s, err := store.Open(ctx, l.State())
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	plays, err := records{s}.Plays(ctx)
	used := make(map[string]int)
	for _, p := range plays {
		seen := make(map[string]bool)
		for _, m := range p.Plan.Machines {
			if !seen[m.Kernel] {
				seen[m.Kernel] = true
				used[m.Kernel]++
			}
		}
	}
	return used, err
}

func table(w io.Writer, header string, rows func(w io.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, header)
	rows(t)
	return t.Flush()
}

// showProgress prints a line for each new stage and note.
func showProgress(w io.Writer) func(image.Progress) {
	last := ""
	return func(p image.Progress) {
		line := p.Stage
		if p.Note != "" {
			line += ": " + p.Note
		}
		if line != last {
			last = line
			fmt.Fprintln(w, line)
		}
	}
}
