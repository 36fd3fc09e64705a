package node

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// collectTimeout bounds how long a scrape waits for the loop.
const collectTimeout = 2 * time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pharos_"+name, help, labels, nil)
}

var (
	descBuild        = desc("build_info", "1; what is running.", "version", "commit", "go")
	descConfig       = desc("config_info", "1; the digest of the configuration that runs, the same on nodes configured alike.", "digest")
	descConfigLoaded = desc("config_loaded_timestamp_seconds", "When the configuration that runs was loaded.")
	descReloadFailed = desc("config_last_reload_failed", "1 where the last reload was refused.")
	descConfirm      = desc("config_unconfirmed", "1 while the configuration goes back unless it is confirmed.")
	descDecision     = desc("decision_info", "1; the digest of the newest revision, the same on nodes that decided the same.", "digest")
	descRevision     = desc("decision_revision", "Number of the newest revision.")
	descMade         = desc("decision_made_timestamp_seconds", "When the newest revision was decided.")
	descReady        = desc("ready", "1 where the node does what it is there for.")
	descEntries      = desc("entries", "Orders, moves and other entries on the disk, by kind.", "kind")
	descDiskFailing  = desc("disk_failing", "1 while the data folder can't be written, and orders are refused.")
	descDiskDamaged  = desc("disk_damaged", "1 where damage was found in the data folder since the start.")
	descDiskPending  = desc("disk_pending_writes", "Entries and health that wait to be written.")
	descDiskBytes    = desc("disk_bytes", "Size of the database file.")
	descZones        = desc("zones", "Zones by where what is served of them comes from (file, last-good, running, rollback; none: it answers SERVFAIL).", "source")
	descZone         = desc("zone_source", "1; a zone that is not served from its file, and where it comes from. Absent for the others.", "zone", "source")
	descZoneSerial   = desc("zone_serial", "Serial of the zone that is served.", "zone")
	descZoneRecords  = desc("zone_records", "Records of all zones that are served.")
	descTarget       = desc("target_up", "1 where the target is held up, 0 where down; absent where that is not known.", "target", "check")
	descNode         = desc("cluster_node_heard", "1 where the node is in contact.", "node", "site")
	descNodeAge      = desc("cluster_node_vote_age_seconds", "Age of the node's last vote; absent where there is none.", "node", "site")
	descNodeDiffers  = desc("cluster_node_differs", "1 where what the node in contact has is not as here: answers, configuration or zones.", "node", "what")
	descHeld         = desc("held", "1 while this node's start is held: it answers no steered name.")
	descMajority     = desc("cluster_majority", "1 where this node hears a majority of the electorate's sites, its own among them.")
	descMargin       = desc("cluster_margin", "How many more sites may fall silent before nothing can be decided; below 0: nothing can.")
	descGossip       = desc("gossip_bytes_total", "Octets of gossip since the start, as on the wire without UDP and TCP headers.", "direction")
	descPackets      = desc("gossip_packets_total", "Packets of other nodes by what became of them, and those that were not sent.", "result")
	descAlarm        = desc("alarm", "1 while the alarm's cause is there.", "cause", "acknowledged")
)

// collector makes the node's own metrics when they are asked for.
type collector struct{ n *Node }

func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descConfig, descConfigLoaded, descReloadFailed, descConfirm, descDecision, descRevision, descMade, descReady,
		descEntries, descDiskFailing, descDiskDamaged, descDiskPending, descDiskBytes, descZones, descZone, descZoneSerial, descZoneRecords, descTarget, descAlarm,
		descNode, descNodeAge, descNodeDiffers, descHeld, descMajority, descMargin, descGossip, descPackets,
	} {
		out <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	n := c.n
	v := n.Version()
	gauge(descBuild, 1, v.Version, v.Commit, v.Go)

	s := n.situation()
	digest := s.running.settings.Digest()
	gauge(descConfig, 1, hex.EncodeToString(digest[:]))
	gauge(descConfigLoaded, seconds(s.running.loaded))
	gauge(descReloadFailed, number(s.failure != nil))
	gauge(descConfirm, number(s.confirmBy != time.Time{}))
	gauge(descReady, number(n.Ready().Ready))
	if r := s.revision; r != nil {
		gauge(descDecision, 1, hex.EncodeToString(r.Digest[:]))
		gauge(descRevision, float64(r.Number))
		gauge(descMade, seconds(r.Made))
	}

	d := n.disk.State()
	for kind, count := range d.Entries {
		gauge(descEntries, float64(count), string(kind))
	}
	gauge(descDiskFailing, number(d.trouble() != nil))
	gauge(descDiskDamaged, number(d.Damaged != ""))
	gauge(descDiskPending, float64(d.Pending))
	gauge(descDiskBytes, float64(d.Size))

	// There may be ten thousand zones: the serial is the one series that each has.
	sources, records := map[string]int{zones.File.String(): 0}, 0
	for i := range s.running.zones {
		z := &s.running.zones[i]
		source := z.source()
		sources[source]++
		if source != zones.File.String() {
			gauge(descZone, 1, z.Spec.Name, source)
		}
		if z.Zone != nil {
			gauge(descZoneSerial, float64(z.Zone.Serial()), z.Spec.Name)
			records += z.Zone.Records()
		}
	}
	for source, count := range sources {
		gauge(descZones, float64(count), source)
	}
	gauge(descZoneRecords, float64(records))

	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	decision, err := n.decision(ctx)
	if err != nil {
		return // the node is stopping, or so busy that deciding goes first
	}
	c.collectCluster(gauge, out, decision)
	for _, t := range targets(decision) {
		if t.Health != policy.Unknown {
			gauge(descTarget, number(t.Health == policy.Up), string(t.Target), t.Label)
		}
	}
	for _, a := range n.alarms(n.situation(), decision) {
		gauge(descAlarm, 1, a.Cause, strconv.FormatBool(a.Acknowledged))
	}
}

// collectCluster makes the metrics of what this node knows of the others.
func (c collector) collectCluster(gauge func(*prometheus.Desc, float64, ...string), out chan<- prometheus.Metric, d policy.Status) {
	gauge(descHeld, number(d.Held != ""))
	if len(d.Members) < 2 {
		return
	}
	m := api.NewMajority(electorate(d))
	gauge(descMajority, number(m.Margin >= 0))
	gauge(descMargin, float64(m.Margin))
	for _, n := range d.Members {
		if n.Node == d.Node {
			continue
		}
		gauge(descNode, number(n.Heard), string(n.Node), string(n.Site))
		if n.Age > 0 {
			gauge(descNodeAge, n.Age.Seconds(), string(n.Node), string(n.Site))
		}
		if n.Heard {
			for what, same := range map[string]bool{"answers": n.SameAnswers, "configuration": n.SameConfig, "zones": n.SameZones} {
				gauge(descNodeDiffers, number(!same), string(n.Node), what)
			}
		}
	}
	on := c.n.gossip.current()
	if on == nil {
		return
	}
	count := func(d *prometheus.Desc, v uint64, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), label)
	}
	s := on.Stats()
	count(descGossip, s.ReceivedBytes, "received")
	count(descGossip, s.SentBytes, "sent")
	for result, v := range map[string]uint64{"good": s.Messages, "refused": s.Refused, "dropped": s.Dropped, "unsent": s.Failed} {
		count(descPackets, v, result)
	}
}

// targets are all of a decision, each once.
func targets(decision policy.Status) map[policy.TargetID]policy.TargetStatus {
	all := map[policy.TargetID]policy.TargetStatus{}
	for _, s := range decision.Services {
		for _, e := range s.Endpoints {
			for _, t := range e.Targets {
				all[t.Target] = t
			}
		}
	}
	for _, s := range decision.Sites {
		for _, r := range s.Requires {
			all[r.Target.Target] = r.Target
		}
	}
	return all
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
