package alert

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	deliveries *prometheus.CounterVec
	failed     *prometheus.CounterVec
	waiting    *prometheus.GaugeVec
	beats      *prometheus.CounterVec
}

func laneNames() []string { return []string{"webhook", "exec", "syslog"} }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pharos_alert_deliveries_total",
			Help: "Alarms by receiver (webhook, exec, syslog) and by what became of them: sent or given-up.",
		}, []string{"receiver", "result"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pharos_alert_attempts_failed_total",
			Help: "Tries to send an alarm that failed and are made again.",
		}, []string{"receiver"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pharos_alert_waiting",
			Help: "Alarms that wait for a receiver.",
		}, []string{"receiver"}),
		beats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pharos_alert_heartbeats_total",
			Help: "Heartbeats by result: sent or failed.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.deliveries, m.failed, m.waiting, m.beats} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	for _, l := range laneNames() { // so that a rate has something to start from
		m.deliveries.WithLabelValues(l, "sent")
		m.deliveries.WithLabelValues(l, "given-up")
		m.failed.WithLabelValues(l)
	}
	m.beats.WithLabelValues("sent")
	m.beats.WithLabelValues("failed")
	return m, nil
}
