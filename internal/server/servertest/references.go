package servertest

import (
	"context"

	"sandlot/api"
)

// Sources are an image that is here and one that is not.
func (l *Lab) Sources(context.Context) ([]api.Source, error) {
	return []api.Source{
		{
			Name: "debian-12", From: api.SourceBuilt, Recipe: true, Distribution: "Debian GNU/Linux 12 (bookworm)", Digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			SizeBytes: 180 << 20, MinDriveBytes: 900 << 20, Users: []string{"root", "laborant"}, Kernels: []string{"6.1"}, Ready: true,
		},
		{Name: "rocky-9", Recipe: true, Users: []string{}, Kernels: []string{}},
	}, l.Refuse
}

// Backends are one that is here and one that is not.
func (l *Lab) Backends(context.Context) ([]api.Backend, error) {
	return []api.Backend{{Name: "qemu", Ready: true}, {Name: "firecracker"}}, nil
}

// Kernels are one that is here and one that is not.
func (l *Lab) Kernels(context.Context) ([]api.KernelVersion, error) {
	return []api.KernelVersion{
		{Version: "6.1", Release: "6.1.0-37-cloud-amd64", SizeBytes: 100 << 20, Default: true, Ready: true},
		{Version: "6.18"},
	}, nil
}

// Bases are the catalog.
func (l *Lab) Bases(context.Context) ([]api.Playground, error) { return l.Catalog, nil }
