package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"sandlot/api"
	"sandlot/internal/control"
	"sandlot/internal/host/image"
	"sandlot/internal/host/kernel"
	"sandlot/internal/manifest"
)

// references are what authors look up about this host.
type references struct {
	*control.Control
	daemon *daemon
}

// Sources are the images with a name of their own, built or not. What was
// pulled from registries may be private.
func (r references) Sources(ctx context.Context) ([]api.Source, error) {
	d := r.daemon
	images, err := d.images.List()
	if err != nil {
		return nil, err
	}
	installed, err := d.kernels.store.List()
	if err != nil {
		return nil, err
	}
	var all []api.Source
	known, here := recipes(), map[string]bool{}
	for _, img := range images {
		if strings.Contains(img.Name, "://") {
			continue
		}
		here[img.Name] = true
		about, err := d.images.Describe(ctx, img)
		if err != nil {
			d.log.WarnContext(ctx, "cannot describe an image", "image", img.Name, "error", err)
		}
		s := source(img, about, installed)
		_, s.Recipe = known[img.Name]
		all = append(all, s)
	}
	for name := range known {
		if !here[name] {
			all = append(all, api.Source{Name: name, Recipe: true, Users: []string{}, Kernels: []string{}})
		}
	}
	slices.SortFunc(all, func(x, y api.Source) int { return cmp.Compare(x.Name, y.Name) })
	return all, nil
}

func source(img image.Image, about image.Description, installed []kernel.Kernel) api.Source {
	s := api.Source{
		Name: img.Name, From: api.SourcePulled, Distribution: about.Distribution, Digest: img.ID, SizeBytes: img.Bytes,
		MinDriveBytes: about.FSBytes, Users: append([]string{}, about.Users...), Kernels: []string{},
	}
	if img.BuildKey != "" {
		s.From = api.SourceBuilt
	}
	for _, k := range installed {
		if slices.Contains(about.Releases, k.Release) {
			s.Kernels = append(s.Kernels, k.Version)
		}
	}
	s.Ready = len(s.Kernels) > 0
	return s
}

// Kernels are the versions that exist, here or not.
func (r references) Kernels(context.Context) ([]api.KernelVersion, error) {
	installed, err := r.daemon.kernels.store.List()
	if err != nil {
		return nil, err
	}
	return kernelVersions(kernel.Known(), installed), nil
}

func kernelVersions(known []string, installed []kernel.Kernel) []api.KernelVersion {
	var all []api.KernelVersion
	for _, version := range known {
		v := api.KernelVersion{Version: version, Default: version == manifest.DefaultKernel}
		if i := slices.IndexFunc(installed, func(k kernel.Kernel) bool { return k.Version == version }); i >= 0 {
			v.Release, v.SizeBytes, v.Ready = installed[i].Release, installed[i].SizeBytes, true
		}
		all = append(all, v)
	}
	for _, k := range installed {
		if !slices.Contains(known, k.Version) {
			all = append(all, api.KernelVersion{Version: k.Version, Release: k.Release, SizeBytes: k.SizeBytes, Default: k.Version == manifest.DefaultKernel, Ready: true})
		}
	}
	return all
}
