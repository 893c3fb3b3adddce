package image

import (
	"sync"
	"time"
)

// progressEvery bounds how often a stage is reported.
const progressEvery = 100 * time.Millisecond

// reporter serialises and thins the reports of one operation, whose parts run
// concurrently. A nil function reports nothing.
type reporter struct {
	mu     sync.Mutex
	report func(Progress)
	now    func() time.Time
	last   time.Time
	at     Progress
}

func (s *Store) reporter(f func(Progress)) *reporter {
	return &reporter{report: f, now: s.opts.Now}
}

// stage begins a stage of total bytes (0: unknown).
func (r *reporter) stage(name string, total int64, note string) {
	if r.report == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = Progress{Stage: name, Total: total, Note: note}
	r.last = r.now()
	r.report(r.at)
}

// add counts n bytes of the current stage.
func (r *reporter) add(n int64) {
	if r.report == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.Done += n
	now := r.now()
	if now.Sub(r.last) >= progressEvery || (r.at.Total > 0 && r.at.Done == r.at.Total) {
		r.last = now
		r.report(r.at)
	}
}

// note reports a line of the current stage.
func (r *reporter) note(line string) {
	if r.report == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.at
	p.Note = line
	r.report(p)
}
