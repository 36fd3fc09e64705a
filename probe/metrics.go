package probe

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/policy"
)

var (
	kinds    = []string{"http", "tcp", "icmp", "dns", "exec"}
	outcomes = []string{policy.Success: "success", policy.Refused: "refused", policy.Timeout: "timeout"}
)

// metrics counts checks. The series of each kind and outcome exist from the
// start, so that counting looks nothing up.
type metrics struct {
	targets  prometheus.Gauge
	running  prometheus.Gauge
	late     prometheus.Counter
	checks   map[string][]prometheus.Counter // by kind, then outcome
	duration map[string]prometheus.Observer  // by kind
	faults   map[fault]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		targets: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pharos_probe_targets", Help: "Targets on the schedule.",
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pharos_probe_running", Help: "Checks under way.",
		}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pharos_probe_late_total", Help: "Checks that began late or not at all: the one before was under way, no worker was free, or the process was busy.",
		}),
		checks:   map[string][]prometheus.Counter{},
		duration: map[string]prometheus.Observer{},
		faults:   map[fault]prometheus.Counter{},
	}
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pharos_probe_checks_total", Help: "Checks that ended, by kind and outcome.",
	}, []string{"kind", "outcome"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pharos_probe_duration_seconds", Help: "How long the deciding attempt of a check took, by kind.",
		Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
	}, []string{"kind"})
	for _, kind := range kinds {
		for _, outcome := range outcomes {
			m.checks[kind] = append(m.checks[kind], checks.WithLabelValues(kind, outcome))
		}
		m.duration[kind] = duration.WithLabelValues(kind)
	}
	faults := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pharos_probe_local_faults_total", Help: "Checks that ended without an observation because of a fault of this host, by kind of fault.",
	}, []string{"kind"})
	for f := range remedies {
		m.faults[f] = faults.WithLabelValues(string(f))
	}
	if reg != nil {
		reg.MustRegister(m.targets, m.running, m.late, checks, duration, faults)
	}
	return m
}

func (m *metrics) observe(kind string, o policy.Observation) {
	m.checks[kind][o.Outcome].Inc()
	m.duration[kind].Observe(o.Latency.Seconds())
}
