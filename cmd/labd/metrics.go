package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sandlot/internal/host/volume"
	"sandlot/internal/play"
)

// starts counts how plays come up.
type starts struct {
	seconds *prometheus.HistogramVec
	ended   *prometheus.CounterVec
}

func newStarts(r prometheus.Registerer) *starts {
	s := &starts{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sandlot_play_start_seconds", Help: "Time from the start of a play until all its machines ran.",
			Buckets: []float64{1, 2, 4, 8, 15, 30, 60, 120, 300, 600},
		}, []string{"kind"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sandlot_play_starts_total", Help: "Starts of plays that ended, by how.",
		}, []string{"kind", "result"}),
	}
	r.MustRegister(s.seconds, s.ended)
	for _, kind := range []string{"new", "restart"} {
		for _, result := range []string{"running", "failed"} {
			s.ended.WithLabelValues(kind, result)
		}
	}
	return s
}

// entered is told the history of a play after each of its states.
func (s *starts) entered(_ play.ID, events []play.StateEvent) {
	kind, took, result := startOf(events)
	if result == "" {
		return
	}
	s.ended.WithLabelValues(kind, result).Inc()
	if result == "running" {
		s.seconds.WithLabelValues(kind).Observe(took.Seconds())
	}
}

// startOf tells how the start ended that the last event is the end of; the
// result is empty if that is no end of one.
func startOf(events []play.StateEvent) (kind string, took time.Duration, result string) {
	last := events[len(events)-1]
	switch last.State {
	case play.Running:
		result = "running"
	case play.Failed:
		result = "failed"
	default:
		return "", 0, ""
	}
	kind = "restart"
	first := len(events) - 1
	for first > 0 && (events[first-1].State == play.Starting || events[first-1].State == play.Created) {
		first--
	}
	if first == len(events)-1 {
		return "", 0, "" // it ran before
	}
	if events[first].State == play.Created {
		kind = "new"
	}
	return kind, last.At.Sub(events[first].At), result
}

// levels are what is measured when somebody asks.
type levels struct {
	count func() (map[play.State]int, map[play.MachineState]int)
	pool  func() (volume.Usage, error)
}

var (
	playsDesc    = prometheus.NewDesc("sandlot_plays", "Plays by state.", []string{"state"}, nil)
	machinesDesc = prometheus.NewDesc("sandlot_machines", "Machines by state.", []string{"state"}, nil)
	poolDesc     = prometheus.NewDesc("sandlot_pool_bytes", "Room of the pool of volumes; reserved is the part of free that new plays do not get.", []string{"kind"}, nil)
)

// Describe and Collect make levels a prometheus.Collector.
func (l levels) Describe(c chan<- *prometheus.Desc) { c <- playsDesc; c <- machinesDesc; c <- poolDesc }

// Collect measures. Every state is there, those of nothing as 0.
func (l levels) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, label string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
	}
	plays, machines := l.count()
	for _, s := range []play.State{play.Created, play.Starting, play.Running, play.Stopping, play.Stopped, play.Destroying, play.Failed} {
		gauge(playsDesc, float64(plays[s]), string(s))
	}
	for _, s := range []play.MachineState{play.MachineCreated, play.MachineStarting, play.MachineRunning, play.MachineRebooting, play.MachineStopping, play.MachineStopped, play.MachineFailed} {
		gauge(machinesDesc, float64(machines[s]), string(s))
	}
	if u, err := l.pool(); err == nil {
		gauge(poolDesc, float64(u.Used()), "used")
		gauge(poolDesc, float64(u.Free), "free")
		gauge(poolDesc, float64(u.Reserve), "reserved")
	}
}

// newRegistry has what every Go program tells; levels and starts are added.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
