package admin

import (
	"slices"
	"sync"
	"time"

	"sandlot/api"
)

// What is kept of the host: an hour.
const (
	SampleEvery = 20 * time.Second
	maxSamples  = 180
)

// ring keeps the last samples.
type ring struct {
	mu   sync.Mutex
	list []api.HostSample
}

func (r *ring) add(s api.HostSample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == maxSamples {
		r.list = slices.Delete(r.list, 0, 1)
	}
	r.list = append(r.list, s)
}

// all is a copy, the oldest first.
func (r *ring) all() []api.HostSample {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]api.HostSample{}, r.list...)
}

// Sample takes one sample; call it at the start and every SampleEvery.
func (a *Admin) Sample() error {
	s, err := a.opts.Measure()
	if err != nil {
		return err
	}
	s.At = api.Time(a.opts.Now())
	a.samples.add(s)
	return nil
}
