package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/host/image"
	"sandlot/internal/host/layout"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

func TestReached(t *testing.T) {
	const id = play.ID("0123456789abcdef01234567")
	record := func(s play.State, m play.MachineStatus, noSSH bool) bender.Record {
		m.Name = "one"
		return bender.Record{
			Plan:   plan.Plan{Play: id, Machines: []plan.Machine{{Name: "one", NoSSH: noSSH}}},
			Events: []play.StateEvent{{State: s}}, Machines: []play.MachineStatus{m},
		}
	}
	booted := []play.Condition{{Name: play.ConditionBoot, Status: true}}
	ready := append(booted, play.Condition{Name: play.ConditionReady, Status: true})
	for _, c := range []struct {
		name      string
		record    bender.Record
		machine   string
		condition string
		reached   bool
		kind      api.Kind
		says      string
	}{
		{"still booting", record(play.Starting, play.MachineStatus{State: play.MachineStarting}, false), "one", play.ConditionReady, false, "", ""},
		{"agent answers", record(play.Starting, play.MachineStatus{Conditions: booted}, false), "one", play.ConditionBoot, true, "", ""},
		{"sshd does not", record(play.Starting, play.MachineStatus{Conditions: booted}, false), "one", play.ConditionReady, false, "", ""},
		{"sshd answers", record(play.Running, play.MachineStatus{Conditions: ready}, false), "one", play.ConditionReady, true, "", ""},
		{"no sshd to wait for", record(play.Starting, play.MachineStatus{Conditions: booted}, true), "one", play.ConditionReady, true, "", ""},
		{"play stopped", record(play.Stopped, play.MachineStatus{}, false), "one", play.ConditionReady, false, api.Conflict, "labctl playground restart"},
		{"play destroyed", record(play.Destroying, play.MachineStatus{}, false), "one", play.ConditionReady, false, api.Gone, "is destroyed"},
		{"machine failed", record(play.Running, play.MachineStatus{State: play.MachineFailed, Message: "it died"}, false), "one", play.ConditionReady, false, api.Conflict, "it died"},
		{"machine stopped", record(play.Running, play.MachineStatus{State: play.MachineStopped}, false), "one", play.ConditionBoot, false, api.Conflict, "labctl playground machine restart"},
		{"no such machine", record(play.Running, play.MachineStatus{}, false), "two", play.ConditionBoot, false, api.NotFound, `no machine "two"`},
	} {
		reached, err := reached(c.record, c.machine, c.condition)
		var e *api.Error
		if errors.As(err, &e); reached != c.reached || (err == nil) != (c.kind == "") || e != nil && (e.Kind != c.kind || !strings.Contains(e.Message, c.says)) {
			t.Errorf("%s: got %v, %v", c.name, reached, err)
		}
	}
	again := record(play.Stopping, play.MachineStatus{}, false)
	again.Again = true
	if _, err := reached(again, "one", play.ConditionReady); err != nil {
		t.Errorf("a play that restarts: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	for want, p := range map[string]image.Progress{
		"flatten":                 {Stage: "flatten"},
		"download 25 %":           {Stage: "download", Done: 1, Total: 4},
		"build: STEP 1/2: FROM …": {Stage: "build", Note: "STEP 1/2: FROM …"},
	} {
		if got := describe(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRecordsSurviveTheStore(t *testing.T) {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := records{s}
	want := bender.Record{Plan: plan.Plan{Play: "0123456789abcdef01234567"}, Goal: bender.GoalStopped, Halted: []string{"one"}}
	if err := r.Put(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := r.Plays(t.Context())
	if err != nil || len(got) != 1 || got[0].Goal != want.Goal || got[0].Halted[0] != "one" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := r.Delete(t.Context(), want.Plan.Play); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Plays(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFoldersFindStrays(t *testing.T) {
	root := t.TempDir()
	f := folders{root: root, remove: os.RemoveAll}
	if err := os.MkdirAll(filepath.Join(root, "0123456789abcdef01234567", "m0"), 0o755); err != nil {
		t.Fatal(err)
	}
	ids, err := f.List(t.Context())
	if err != nil || len(ids) != 1 {
		t.Fatalf("got %v, %v", ids, err)
	}
	for range 2 {
		if err := f.Remove(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err = f.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("left %v, %v", ids, err)
	}
	// A name never leads out of the folder.
	outside := filepath.Join(filepath.Dir(root), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(outside)
	if err := f.Remove(t.Context(), "../outside"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error("a path trick removed a file outside")
	}
	missing := folders{root: filepath.Join(root, "none")}
	if ids, err := missing.List(context.Background()); err != nil || ids != nil {
		t.Errorf("got %v, %v", ids, err)
	}
}

func TestCredentialsAreReopenedAfterALogout(t *testing.T) {
	l := layout.Layout{Root: t.TempDir()}
	if err := os.WriteFile(l.Admin(), []byte(`{"sessionID":"s","accessToken":"t"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := credentialsCommand(&l)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"-o", "json"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got struct{ SessionID, AccessToken string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.SessionID != "s" || got.AccessToken != "t" {
		t.Errorf("got %+v, %v from %s", got, err, &out)
	}
	s, err := store.Open(t.Context(), l.State())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Session(t.Context(), "s"); err != nil {
		t.Errorf("the session is not open: %v", err)
	}
}
