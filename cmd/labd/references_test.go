package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/api"
	"sandlot/internal/host/image"
	"sandlot/internal/host/kernel"
)

func TestSource(t *testing.T) {
	installed := []kernel.Kernel{{Version: "5.10", Release: "5.10.1"}, {Version: "6.1", Release: "6.1.9"}}
	img := image.Image{Name: "x", ID: "sha256:ab", Bytes: 7}
	for _, c := range []struct {
		name  string
		about image.Description
		want  api.Source
	}{
		{"not ready", image.Description{}, api.Source{Name: "x", From: api.SourcePulled, Digest: "sha256:ab", SizeBytes: 7, Users: []string{}, Kernels: []string{}}},
		{"of a kernel that went", image.Description{Distribution: "D", Releases: []string{"", "4.4"}, FSBytes: 9},
			api.Source{Name: "x", From: api.SourcePulled, Digest: "sha256:ab", SizeBytes: 7, Distribution: "D", MinDriveBytes: 9, Users: []string{}, Kernels: []string{}}},
		{"ready", image.Description{Distribution: "D", Users: []string{"root"}, Releases: []string{"6.1.9"}, FSBytes: 9},
			api.Source{Name: "x", From: api.SourcePulled, Digest: "sha256:ab", SizeBytes: 7, Distribution: "D", MinDriveBytes: 9, Users: []string{"root"}, Kernels: []string{"6.1"}, Ready: true}},
	} {
		if diff := cmp.Diff(c.want, source(img, c.about, installed)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	img.BuildKey = "key"
	if got := source(img, image.Description{}, installed).From; got != api.SourceBuilt {
		t.Errorf("one that was built is from %q", got)
	}
}

func TestKernelVersions(t *testing.T) {
	got := kernelVersions([]string{"5.10", "6.1"}, []kernel.Kernel{{Version: "6.1", Release: "6.1.9", SizeBytes: 3}, {Version: "7.0", Release: "7.0.1"}})
	want := []api.KernelVersion{{Version: "5.10"}, {Version: "6.1", Release: "6.1.9", SizeBytes: 3, Default: true, Ready: true}, {Version: "7.0", Release: "7.0.1", Ready: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
