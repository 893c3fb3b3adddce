package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sandlot/api"
	"sandlot/internal/admin"
	"sandlot/internal/host/gauge"
	"sandlot/internal/host/image"
	"sandlot/internal/host/kernel"
	"sandlot/internal/manifest"
	"sandlot/internal/play"
)

// administration is what administrators do on this host.
func (d *daemon) administration(ctx context.Context, kvm bool) *admin.Admin {
	name, err := os.Hostname()
	if err != nil {
		name = "this host"
	}
	about := api.HostState{Name: name, Version: version(), Accelerator: "tcg", CPUs: runtime.NumCPU(), UpSince: api.Time(time.Now())}
	if kvm {
		about.Accelerator = "kvm"
	}
	return admin.New(ctx, admin.Options{
		Store: d.store, Accounts: d.accounts, Plans: d.plans.plans, DefaultPlan: d.defaultPlan,
		About: about, Measure: d.measure(), Work: d.work,
		Images:   func(context.Context) ([]api.HostImage, error) { return d.hostImages() },
		Kernels:  references{d.control, d}.Kernels,
		Settings: d.report,
	})
}

// measure returns what takes samples of this host, one after another.
func (d *daemon) measure() func() (api.HostSample, error) {
	before, _ := gauge.Read("/proc") // the first real one says what is wrong
	return func() (s api.HostSample, err error) {
		now, err := gauge.Read("/proc")
		if err != nil {
			return s, err
		}
		s.CPU, s.MemoryTotal, s.MemoryUsed = now.CPU(before), now.MemoryTotal, now.MemoryTotal-now.MemoryAvailable
		before = now
		pool, err := d.pool.Usage()
		if err != nil {
			return s, err
		}
		s.PoolUsed, s.PoolTotal = pool.Used(), pool.Total
		plays, machines := d.bender.Count()
		for state, n := range plays {
			if state != play.Stopped {
				s.Plays += n
			}
		}
		s.Machines = machines[play.MachineRunning]
		return s, nil
	}
}

// sample takes samples until ctx ends.
func (d *daemon) sample(ctx context.Context) {
	take := func() {
		if err := d.admin.Sample(); err != nil {
			d.log.Warn("cannot measure this host", "error", err)
		}
	}
	take()
	every(ctx, admin.SampleEvery, take)
}

func (d *daemon) hostImages() ([]api.HostImage, error) {
	images, err := d.images.List()
	list := []api.HostImage{}
	for _, i := range images {
		list = append(list, api.HostImage{Name: i.Name, ID: i.ID, SizeBytes: i.Bytes, Origin: i.Origin, StoredAt: api.Time(i.Stored)})
	}
	return list, err
}

// work makes what a job does. Only what is known by name or comes from a
// registry: files of this host are for who is on it.
func (d *daemon) work(req api.CreateJob) (admin.Work, error) {
	switch req.Kind {
	case api.JobBuild:
		known := recipes()
		dir, ok := known[req.Name]
		if !ok {
			return nil, api.Errorf(api.Invalid, "cannot build image %q: there are %s; others are built on the host, by labd image build", req.Name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		return d.imageWork(func(ctx context.Context, progress func(image.Progress)) (image.Image, error) {
			return d.images.Build(ctx, req.Name, dir, image.BuildOptions{Force: req.Force, Progress: progress})
		}), nil
	case api.JobPull:
		if err := image.CheckReference(req.Name); err != nil {
			return nil, api.Errorf(api.Invalid, "%s", err)
		}
		return d.imageWork(func(ctx context.Context, progress func(image.Progress)) (image.Image, error) {
			return d.images.Pull(ctx, req.Name, "", progress)
		}), nil
	case api.JobKernel:
		if !slices.Contains(kernel.Known(), req.Name) {
			return nil, api.Errorf(api.Invalid, "cannot fetch kernel %q: there are %s", req.Name, strings.Join(kernel.Known(), ", "))
		}
		fetch := d.kernels.store.Ensure
		if req.Force {
			fetch = d.kernels.store.Pull
		}
		return func(ctx context.Context, tell func(admin.Step)) error {
			_, err := fetch(ctx, req.Name, func(line string) { tell(admin.Step{Stage: "fetch", Line: line}) })
			return err
		}, nil
	}
	return nil, api.Errorf(api.Invalid, "there is no kind of jobs %q: write %s, %s or %s", req.Kind, api.JobBuild, api.JobPull, api.JobKernel)
}

// imageWork gets an image, and makes its base volume for the default kernel if
// that is here: so the first play of it starts at once.
func (d *daemon) imageWork(get func(ctx context.Context, progress func(image.Progress)) (image.Image, error)) admin.Work {
	return func(ctx context.Context, tell func(admin.Step)) error {
		progress := func(p image.Progress) {
			tell(admin.Step{Stage: p.Stage, Done: p.Done, Total: p.Total, Line: p.Note})
		}
		i, err := get(ctx, progress)
		if err != nil {
			return err
		}
		if _, err := d.kernels.store.Get(manifest.DefaultKernel); err != nil {
			return nil
		}
		_, err = d.images.Base(ctx, i.Name, manifest.DefaultKernel, progress)
		return err
	}
}

// reporter tells how labd is set up: the file as it is now, and the flags as
// they are in force.
func reporter(flags *pflag.FlagSet, named string, getenv func(string) string) func() (api.SettingsReport, error) {
	return func() (api.SettingsReport, error) {
		r := api.SettingsReport{Problems: []api.Problem{}, Settings: []api.Setting{}}
		file, err := configFile(named)
		if err != nil {
			return r, fmt.Errorf("cannot read configuration: %w", err)
		}
		if r.File = file; file != "" {
			data, err := os.ReadFile(file)
			switch {
			case errors.Is(err, os.ErrNotExist):
				r.Problems = append(r.Problems, api.Problem{Severity: "error", Message: "the file that labd was started with is gone", Fix: "bring it back, or start labd without --config"})
			case err != nil:
				return r, fmt.Errorf("cannot read configuration: %w", err)
			}
			_, problems := checkConfig(data)
			r.Problems = append(r.Problems, problems...)
		}
		flags.VisitAll(func(f *pflag.Flag) {
			if !setting(f) {
				return
			}
			s := api.Setting{Name: f.Name, Value: strings.TrimSpace(f.Value.String()), From: "file", About: f.Usage}
			switch {
			case f.Changed:
				s.From = "flag"
			case getenv(envName(f)) != "":
				s.From = "environment"
			case f.Value.String() == f.DefValue:
				s.From = "default"
			}
			r.Settings = append(r.Settings, s)
		})
		return r, nil
	}
}
