package bender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sandlot/internal/play"
	"sandlot/internal/step"
	"sandlot/internal/vm"
)

// graph is the steps of one play. Kept steps outlive a stop, live ones do not.
type graph struct {
	kept    []step.Step
	live    []step.Step
	machine map[string][]step.Step // the live steps of each machine
}

func (g graph) all() []step.Step {
	return append(append([]step.Step(nil), g.kept...), g.live...)
}

// Step names are stable over versions: journals hold them.
const (
	stepFiles   = "files"
	stepNetwork = "network"
)

func stepVolumes(machine string) string { return "volumes/" + machine }
func stepBoot(machine string) string    { return "boot/" + machine }
func stepAgent(machine string) string   { return "agent/" + machine }
func stepReady(machine string) string   { return "ready/" + machine }

// graph builds the steps of a worker's play; the live ones only of the machines
// that are wanted.
//
//	room ─▶ files ─▶ volumes/m ─┐
//	   └──▶ network ────────────┴─▶ boot/m ─▶ agent/m ─▶ ready/m
func (b *Bender) graph(w *worker, wanted func(machine string) bool) graph {
	p := w.plan
	id := string(p.Play)
	l := b.opts.Layout
	g := graph{machine: make(map[string][]step.Step)}
	g.kept = []step.Step{
		{Name: "room", Do: func(ctx context.Context) error { return b.opts.Volumes.CheckRoom(ctx, p) }},
		{
			Name: stepFiles, Needs: []string{"room"},
			Do: func(context.Context) error { return b.makeFiles(w) },
			Undo: func(context.Context) error {
				return errors.Join(os.RemoveAll(l.Play(id)), os.RemoveAll(l.PlayVolumes(id)))
			},
		},
	}
	g.live = []step.Step{{
		Name: stepNetwork, Needs: []string{stepFiles},
		Do: func(ctx context.Context) error {
			err := b.opts.Networks.Ensure(ctx, p, w.secrets.RegistryAuth)
			w.setAll(play.ConditionNetwork, err == nil, reason(err))
			return err
		},
		Undo: func(ctx context.Context) error {
			w.setAll(play.ConditionNetwork, false, "")
			return b.opts.Networks.Delete(ctx, p.Play)
		},
	}}
	for i, m := range p.Machines {
		name := m.Name
		g.kept = append(g.kept, step.Step{
			Name: stepVolumes(name), Needs: []string{stepFiles},
			Do:   func(ctx context.Context) error { return b.makeVolumes(ctx, w, i) },
			Undo: func(ctx context.Context) error { return b.deleteVolumes(ctx, w, i) },
		})
		steps := []step.Step{
			{
				Name: stepBoot(name), Needs: []string{stepNetwork, stepVolumes(name)},
				Do:   func(ctx context.Context) error { return b.boot(ctx, w, i) },
				Undo: func(ctx context.Context) error { return b.kill(ctx, w, i) },
			},
			{
				Name: stepAgent(name), Needs: []string{stepBoot(name)},
				Do: func(ctx context.Context) error { return w.await(ctx, i, play.ConditionBoot) },
			},
			{
				Name: stepReady(name), Needs: []string{stepAgent(name)},
				Do: func(ctx context.Context) error { return w.await(ctx, i, play.ConditionReady) },
			},
		}
		g.machine[name] = steps
		if wanted(name) {
			g.live = append(g.live, steps...)
		}
	}
	return g
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (b *Bender) makeFiles(w *worker) error {
	l, id := b.opts.Layout, string(w.plan.Play)
	for _, dir := range []string{l.Play(id), l.PlayVolumes(id)} {
		// Machines' users must pass through, and see nothing.
		if err := makeDir(dir, 0o711); err != nil {
			return err
		}
	}
	for i := range w.plan.Machines {
		if err := makeDir(l.Machine(id, i), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func makeDir(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("cannot make directory: %w", err)
	}
	return os.Chmod(dir, mode)
}

func (b *Bender) makeVolumes(ctx context.Context, w *worker, i int) error {
	m := w.plan.Machines[i]
	for j, d := range m.Drives {
		v := Volume{Source: d.Source, Saved: d.Saved, SizeBytes: d.SizeBytes, Filesystem: d.Filesystem, UID: m.UID}
		if d.Mount == "/" {
			v.Kernel = m.Kernel
		}
		progress := func(s string) { w.set(i, play.ConditionVolume, false, s) }
		if err := b.opts.Volumes.Make(ctx, b.opts.Layout.Volume(string(w.plan.Play), i, j), v, progress); err != nil {
			w.set(i, play.ConditionVolume, false, err.Error())
			return fmt.Errorf("cannot make drive %s of machine %q: %w", d.Device, m.Name, err)
		}
	}
	w.set(i, play.ConditionVolume, true, "")
	return nil
}

func (b *Bender) deleteVolumes(ctx context.Context, w *worker, i int) error {
	var errs []error
	for j := range w.plan.Machines[i].Drives {
		errs = append(errs, b.opts.Volumes.Delete(ctx, b.opts.Layout.Volume(string(w.plan.Play), i, j)))
	}
	return errors.Join(errs...)
}

func (b *Bender) driver(backend string) (vm.Driver, error) {
	d, ok := b.opts.Drivers[backend]
	if !ok {
		return nil, fmt.Errorf("backend %q does not exist on this host", backend)
	}
	return d, nil
}

// boot writes the machine's initramfs and starts its VMM, or adopts the one
// that runs.
func (b *Bender) boot(ctx context.Context, w *worker, i int) error {
	m := w.plan.Machines[i]
	driver, err := b.driver(m.Backend)
	if err != nil {
		return err
	}
	kernel, shared, err := b.opts.Kernels.Get(ctx, m.Kernel, filesystems(m))
	if err != nil {
		return fmt.Errorf("cannot boot machine %q: %w", m.Name, err)
	}
	if err := b.writeInitramfs(w, i, shared); err != nil {
		return fmt.Errorf("cannot write initramfs of machine %q: %w", m.Name, err)
	}
	w.machineState(i, play.MachineStarting, "")
	spec := machineSpec(b.opts.Layout, w.plan, i, kernel)
	spec.CPUWeight = w.firstWeight(i)
	running, err := driver.Start(ctx, spec)
	if err != nil {
		return fmt.Errorf("cannot boot machine %q: %w", m.Name, err)
	}
	w.attach(i, running)
	return nil
}

func (b *Bender) kill(ctx context.Context, w *worker, i int) error {
	m := w.plan.Machines[i]
	driver, err := b.driver(m.Backend)
	if err != nil {
		return err
	}
	w.detach(i)
	if err := driver.Kill(ctx, machineSpec(b.opts.Layout, w.plan, i, vm.Kernel{})); err != nil {
		return fmt.Errorf("cannot kill machine %q: %w", m.Name, err)
	}
	// Not with ctx: this must not be forgotten when the goal changes.
	w.interrupted(b.ctx, i, "was stopped")
	w.stopped(i)
	return nil
}

// writeInitramfs joins the shared parts and the machine's own; the kernel
// unpacks all. It holds the machine's keys, so only its user may read it.
func (b *Bender) writeInitramfs(w *worker, i int, shared []string) (err error) {
	path := b.opts.Layout.Initramfs(string(w.plan.Play), i)
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return err
	}
	temp := path + ".new"
	out, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, part := range shared {
		if err := appendArchive(out, part); err != nil {
			return err
		}
	}
	config := machineConfig(w.plan, w.secrets, i)
	config.CACertificates = b.opts.CACertificates
	if err := b.opts.Initramfs(out, config); err != nil {
		return err
	}
	uid := int(w.plan.Machines[i].UID)
	if err := b.opts.Chown(temp, uid, uid); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

func appendArchive(out io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	size, err := io.Copy(out, in)
	if err != nil {
		return err
	}
	// The kernel looks for the next archive at a multiple of four bytes.
	_, err = out.Write(make([]byte, (4-size%4)%4))
	return err
}
