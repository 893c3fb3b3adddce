package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/host/layout"
)

// Jobs are what labd knows by name, and what a registry has: no path of this
// host is ever read for a request.
func TestJobsAreForKnownNames(t *testing.T) {
	images := t.TempDir()
	if err := os.MkdirAll(filepath.Join(images, "mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(images, "mine", "Dockerfile"), []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LABD_IMAGES", images)
	d := &daemon{}
	for _, bad := range []struct{ kind, name, why string }{
		{"build", "../mine", "there are "}, {"build", images + "/mine", "there are "}, {"build", "", "there are "},
		{"pull", "/etc/passwd", "oci://"}, {"pull", "mine", "oci://"}, {"pull", "oci://", "cannot read"}, {"pull", "oci://UPPER/x y", "cannot read"},
		{"kernel", "9.99", "6.1"}, {"kernel", "../6.1", "6.1"}, {"remove", "mine", "no kind"}, {"", "", "no kind"},
	} {
		if _, err := d.work(api.CreateJob{Kind: bad.kind, Name: bad.name}); err == nil || !strings.Contains(err.Error(), bad.why) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, good := range []struct{ kind, name string }{{"build", "mine"}, {"pull", "oci://docker.io/library/alpine:3"}, {"kernel", "6.1"}} {
		d := &daemon{kernels: kernels{store: kernelStore(layout.Layout{Root: t.TempDir()})}}
		if work, err := d.work(api.CreateJob{Kind: good.kind, Name: good.name}); err != nil || work == nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

// Administrators see where each setting comes from, and what is wrong with the
// file since labd was started.
func TestReporter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labd.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log-level: warn\naccel: tcg\n")
	flags, _ := allSettings()
	if err := flags.Parse([]string{"--log-format", "json"}); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string { return map[string]string{"LABD_ACCEL": "kvm"}[name] }
	if err := configure(flags, file, env); err != nil {
		t.Fatal(err)
	}
	report := reporter(flags, file, env)
	r, err := report()
	if err != nil || r.File != file || len(r.Problems) > 0 {
		t.Fatalf("%+v %v", r, err)
	}
	got := map[string]string{}
	for _, s := range r.Settings {
		got[s.Name] = s.From + " " + s.Value
	}
	for name, want := range map[string]string{"log-level": "file warn", "accel": "environment kvm", "log-format": "flag json", "listen": "default " + DefaultListen} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if _, there := got["crash-at"]; there {
		t.Error("a hidden flag is shown")
	}
	write("log-level: loud\nno-such: 1\n")
	if r, err = report(); err != nil || len(r.Problems) != 2 || r.Problems[0].Line != 1 {
		t.Errorf("%+v %v", r.Problems, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if r, err = report(); err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Message, "gone") {
		t.Errorf("%+v %v", r.Problems, err)
	}
}
