package control_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sandlot/api"
	"sandlot/internal/play"
)

func TestTasks(t *testing.T) {
	l := newLab(t)
	req := hello("debian-12")
	req.InitConditionSpec = &api.InitConditions{Values: []api.InitConditionValue{{Key: "runtime", Options: []string{"docker", "podman"}, Default: "docker"}}}
	req.InitTasks = map[string]api.InitTask{
		"first":  {Run: "echo 1", Init: true},
		"second": {Run: "echo 2", Needs: []string{"first", "docker"}, User: "laborant", TimeoutSeconds: 5},
		"docker": {Run: "x", Conditions: []api.TaskCondition{{Key: "runtime", Value: "docker"}}},
	}
	req.InitConditions = map[string]string{"runtime": "podman"}
	p, err := l.Start(t.Context(), admin, req)
	if err != nil {
		t.Fatal(err)
	}
	id := play.ID(p.ID)
	if d := cmp.Diff(api.Tasks{
		"first":  {Name: "first", Init: true, Status: api.TaskCreated, Version: 2},
		"second": {Name: "second", Status: api.TaskCreated, Version: 2},
	}, p.Tasks); d != "" || len(p.Warnings) != 0 {
		t.Errorf("%s, warnings %v", d, p.Warnings)
	}
	r := l.bender.plays[id]
	if v := r.Plan.Conditions["runtime"]; v == nil || *v != "podman" {
		t.Errorf("chosen %v", r.Plan.Conditions)
	}
	r.Tasks[0].State, r.Tasks[0].StartedAt, r.Tasks[0].Duration = play.TaskFailed, now, 1500*time.Millisecond
	r.Tasks[0].ExitCode, r.Tasks[0].Message, r.Tasks[0].Stdout, r.Tasks[0].Stderr = 3, "exit code 3", "out", "err"
	r.Tasks[1].State = play.TaskBlocked
	want := []api.TaskDetails{
		{
			Name: "first", Machine: "hello", Status: api.TaskFailed, Version: 4, Init: true, Needs: []string{}, Run: "echo 1", User: "root", TimeoutSeconds: 60,
			ExitCode: 3, Message: "exit code 3", Stdout: "out", Stderr: "err", LastRunAt: api.Time(now), LastDurationMs: 1500,
		},
		{Name: "second", Machine: "hello", Status: api.TaskBlocked, Version: 1, Needs: []string{"first"}, Run: "echo 2", User: "laborant", TimeoutSeconds: 5},
	}
	got, err := l.Tasks(t.Context(), admin, id, nil)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	for machine, n := range map[string]int{"hello": 2, "other": 0} {
		if got, err := l.Tasks(t.Context(), admin, id, []string{machine}); err != nil || got == nil || len(got) != n {
			t.Errorf("of %s: %v, %v", machine, got, err)
		}
	}
	if _, err := l.Tasks(t.Context(), api.Me{ID: "other"}, id, nil); kind(err) != api.NotFound {
		t.Errorf("another user gets %v", err)
	}
	r.Tasks[1].State, r.Tasks[1].Written = play.TaskRunning, 8
	if p, err := l.Get(t.Context(), admin, id); err != nil || p.Tasks["second"] != (api.PlayTask{Name: "second", Status: api.TaskRunning, Version: 3, Output: 8}) {
		t.Errorf("while it runs: %v, %+v", err, p.Tasks)
	}
	delete(l.bender.plays, id)
	if got, err := l.Tasks(t.Context(), admin, id, nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("of a forgotten play: %v, %v", got, err)
	}
}

func TestInitConditionsAreChecked(t *testing.T) {
	spec := &api.InitConditions{Values: []api.InitConditionValue{
		{Key: "Container runtime", Options: []string{"docker", "podman"}, Default: "docker"},
		{Key: "name", ValidationRegex: "^[a-z]+$"},
		{Key: "note", Nullable: true},
	}}
	for name, c := range map[string]struct {
		given map[string]string
		want  []string
	}{
		"good":    {map[string]string{"name": "a"}, nil},
		"missing": {nil, []string{"initConditions.name: missing (write what matches ^[a-z]+$)"}},
		"all wrong": {map[string]string{"Container runtime": "lxc", "name": "A", "size": "1"}, []string{
			`initConditions["Container runtime"]: "lxc" is not an option (options are docker, podman)`,
			`initConditions.name: "A" does not match (write what matches ^[a-z]+$)`,
			`initConditions.size: unknown init condition (known are Container runtime, name, note)`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			req := hello("debian-12")
			req.InitConditionSpec, req.InitConditions = spec, c.given
			_, err := l.Start(t.Context(), admin, req)
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var got []string
			if e := new(api.Error); errors.As(err, &e) {
				for _, p := range e.Problems {
					got = append(got, p.String())
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
