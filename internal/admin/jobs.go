package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sandlot/api"
)

// A job:
//
//	waiting ─▶ running ─▶ done
//	   │          ├─────▶ failed
//	   └──────────┴─────▶ cancelled
//
// One runs at a time: builds and conversions take all that the host has.

// Work is what a job does; it ends with ctx, and tells what it is at.
type Work func(ctx context.Context, tell func(Step)) error

// Step is where a job is. Done and Total are bytes; a Total of 0 is not known.
type Step struct {
	Stage       string
	Done, Total int64
	Line        string // for people; may be empty
}

// Bounds of what is kept.
const (
	maxWaiting = 20
	maxJobs    = 50
	maxLines   = 200
	maxLine    = 400 // bytes
)

type job struct {
	api.Job
	work   Work
	cancel context.CancelFunc // while it runs
}

type jobs struct {
	ctx     context.Context
	now     func() time.Time
	running sync.WaitGroup
	mu      sync.Mutex
	list    []*job        // the oldest first
	changed chan struct{} // closed, and made anew, when something of a job changes
}

func newJobs(ctx context.Context, now func() time.Time) *jobs {
	return &jobs{ctx: ctx, now: now, changed: make(chan struct{})}
}

// change wakes who watches; the caller holds mu.
func (j *jobs) change() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// WatchJobs sends all that are kept, the newest first: at once, then after
// changes, until ctx ends. Who is slow to take them misses what was in between.
func (a *Admin) WatchJobs(ctx context.Context) <-chan []api.Job {
	out := make(chan []api.Job)
	go func() {
		defer close(out)
		for {
			a.jobs.mu.Lock()
			list, changed := a.jobs.wire(), a.jobs.changed
			a.jobs.mu.Unlock()
			select {
			case out <- list:
			case <-ctx.Done():
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// Jobs lists all that are kept, the newest first.
func (a *Admin) Jobs(context.Context) ([]api.Job, error) {
	a.jobs.mu.Lock()
	defer a.jobs.mu.Unlock()
	return a.jobs.wire(), nil
}

func (j *jobs) wire() []api.Job {
	list := []api.Job{}
	for _, one := range slices.Backward(j.list) {
		list = append(list, one.wire())
	}
	return list
}

// StartJob queues a job, or returns the one that is doing the same already.
func (a *Admin) StartJob(_ context.Context, admin api.Me, req api.CreateJob) (api.Job, error) {
	work, err := a.opts.Work(req)
	if err != nil {
		return api.Job{}, err
	}
	return a.jobs.add(admin, req, work)
}

// CancelJob ends a job; one that has ended stays as it is.
func (a *Admin) CancelJob(_ context.Context, id string) (api.Job, error) {
	j := a.jobs
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.list, func(o *job) bool { return o.ID == id })
	if i < 0 {
		return api.Job{}, api.Errorf(api.NotFound, "there is no job %q", id)
	}
	one := j.list[i]
	switch one.State {
	case api.JobWaiting:
		one.State, one.EndedAt = api.JobCancelled, api.Time(j.now())
	case api.JobRunning:
		one.Stage = "cancelling"
		one.cancel()
	}
	j.change()
	return one.wire(), nil
}

func (o *job) wire() api.Job {
	w := o.Job
	w.Lines = append([]string{}, o.Lines...)
	return w
}

func (o *job) open() bool { return o.State == api.JobWaiting || o.State == api.JobRunning }

func (j *jobs) add(admin api.Me, req api.CreateJob, work Work) (api.Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	waiting := 0
	for _, o := range j.list {
		if o.open() && o.Kind == req.Kind && o.Name == req.Name {
			return o.wire(), nil
		}
		if o.State == api.JobWaiting {
			waiting++
		}
	}
	if waiting == maxWaiting {
		return api.Job{}, api.Errorf(api.TooMany, "%d jobs wait already: cancel some, or wait until they are done", waiting)
	}
	if len(j.list) == maxJobs {
		oldest := slices.IndexFunc(j.list, func(o *job) bool { return !o.open() })
		j.list = slices.Delete(j.list, oldest, oldest+1)
	}
	o := &job{work: work, Job: api.Job{
		ID: strings.ToLower(rand.Text()[:12]), Kind: req.Kind, Name: req.Name, State: api.JobWaiting,
		Lines: []string{}, By: admin.Name, CreatedAt: api.Time(j.now()),
	}}
	j.list = append(j.list, o)
	j.next()
	j.change()
	return o.wire(), nil
}

// next starts the oldest job that waits, unless one runs.
func (j *jobs) next() {
	if j.ctx.Err() != nil || slices.ContainsFunc(j.list, func(o *job) bool { return o.State == api.JobRunning }) {
		return
	}
	i := slices.IndexFunc(j.list, func(o *job) bool { return o.State == api.JobWaiting })
	if i < 0 {
		return
	}
	o := j.list[i]
	ctx, cancel := context.WithCancel(j.ctx)
	o.State, o.StartedAt, o.cancel = api.JobRunning, api.Time(j.now()), cancel
	j.running.Go(func() {
		defer cancel()
		err := o.work(ctx, func(s Step) { j.tell(o, s) })
		j.end(o, err, ctx.Err())
	})
}

func (j *jobs) tell(o *job, s Step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !o.open() || o.Stage == "cancelling" {
		return
	}
	defer j.change()
	o.Stage, o.Done, o.Total = s.Stage, s.Done, s.Total
	line := printable(s.Line)
	if line == "" || len(o.Lines) > 0 && o.Lines[len(o.Lines)-1] == line {
		return
	}
	if len(o.Lines) == maxLines {
		o.Lines = slices.Delete(o.Lines, 0, 1)
	}
	o.Lines = append(o.Lines, line)
}

func (j *jobs) end(o *job, err, cancelled error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	o.State, o.Stage, o.EndedAt, o.work, o.cancel = api.JobDone, "", api.Time(j.now()), nil, nil
	switch {
	case err == nil:
	case cancelled != nil || errors.Is(err, context.Canceled):
		o.State = api.JobCancelled
	default:
		o.State, o.Error = api.JobFailed, err.Error()
	}
	j.next()
	j.change()
}

// printable is a line of what a program wrote, without what terminals obey.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.TrimRight(s, " "); len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}
