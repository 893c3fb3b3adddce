package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sandlot/api"
)

// Jobs run one after another, and what is kept of them is bounded.
func TestJobsAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	a := New(ctx, Options{Now: time.Now, Work: func(req api.CreateJob) (Work, error) {
		return func(ctx context.Context, tell func(Step)) error {
			for i := range maxLines + 5 {
				tell(Step{Stage: "build", Line: fmt.Sprint(i, strings.Repeat("é", maxLine))})
				tell(Step{Stage: "build", Line: fmt.Sprint(i, strings.Repeat("é", maxLine))}) // once
			}
			select {
			case <-release:
				return errors.New("no luck")
			case <-ctx.Done():
				return ctx.Err()
			}
		}, nil
	}})
	start := func(name string) (api.Job, error) {
		return a.StartJob(ctx, api.Me{Name: "root"}, api.CreateJob{Kind: api.JobBuild, Name: name})
	}
	for i := range maxWaiting + 1 {
		if _, err := start(fmt.Sprint(i)); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := start("more"); err == nil || !strings.Contains(err.Error(), "wait already") {
		t.Errorf("%v", err)
	}
	close(release)
	a.Wait()
	for i := range maxJobs {
		if _, err := start(fmt.Sprint("again", i)); err != nil {
			t.Fatal(i, err)
		}
		a.Wait()
	}
	list, err := a.Jobs(ctx)
	if err != nil || len(list) != maxJobs || list[0].Name != fmt.Sprint("again", maxJobs-1) {
		t.Fatalf("%d jobs, %v", len(list), err)
	}
	last := list[0]
	if last.State != api.JobFailed || last.Error != "no luck" || len(last.Lines) != maxLines || !strings.HasPrefix(last.Lines[0], "5") || len(last.Lines[0]) > maxLine+3 {
		t.Errorf("%s %q, %d lines from %.10q of %d bytes", last.State, last.Error, len(last.Lines), last.Lines[0], len(last.Lines[0]))
	}
	// What labd's end ends is cancelled, and nothing more begins.
	release = make(chan struct{})
	if _, err := start("late"); err != nil {
		t.Fatal(err)
	}
	if _, err := start("later"); err != nil {
		t.Fatal(err)
	}
	cancel()
	a.Wait()
	list, _ = a.Jobs(ctx)
	if list[1].State != api.JobCancelled || list[0].State != api.JobWaiting {
		t.Errorf("%s, then %s", list[1].State, list[0].State)
	}
}
