package dnsserver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/policy"
)

// transport of a question.
type transport uint8

// counter is read by other goroutines.
type counter = atomic.Uint64

const (
	udp transport = iota
	tcp
)

var transportNames = [...]string{"udp", "tcp"}

// typeNames are the types that are counted each by itself.
var typeNames = [...]string{
	"other", "A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA",
	"SRV", "NAPTR", "DS", "DNSKEY", "SVCB", "HTTPS", "CAA", "ANY",
}

// typeIndex says which of typeNames a type is counted as.
var typeIndex = func() (x [512]uint8) {
	for i, n := range typeNames[1:] {
		x[dns.StringToType[n]] = uint8(i + 1)
	}
	return x
}()

func countedType(t uint16) int {
	if int(t) < len(typeIndex) {
		return int(typeIndex[t])
	}
	return 0
}

// rcodes that are ever answered; they are counted by their place here.
var rcodes = [...]uint8{
	dns.RcodeSuccess, dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNameError, dns.RcodeNotImplemented,
	dns.RcodeRefused, dns.RcodeYXDomain, dns.RcodeNotAuth, dns.RcodeBadVers,
}

var rcodeIndex = func() (x [32]uint8) {
	for i, r := range rcodes {
		x[r] = uint8(i)
	}
	return x
}()

// drop is why a packet or connection got no answer.
type drop uint8

const (
	dropShort drop = iota
	dropResponse
	dropSend
	dropTCPSource
	dropTCPEvicted
	numDrops
)

var dropNames = [...]string{"short", "response", "send", "tcp_source_limit", "tcp_evicted"}

// latencyBounds are the upper bounds of the histogram's buckets, in seconds.
var latencyBounds = [...]float64{
	1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 0.1,
}

// lane holds the counters of one thread, so that threads share no cache line.
type lane struct {
	_       [64]byte
	queries [len(transportNames)][len(typeNames)][len(rcodes)]atomic.Uint64
	slow    atomic.Uint64
	drops   [numDrops]atomic.Uint64
	latency [len(latencyBounds) + 1]atomic.Uint64
	nanos   atomic.Uint64
	_       [64]byte
}

// observe counts n answers that took that long.
func (l *lane) observe(d time.Duration, n int) {
	i, s := 0, d.Seconds()
	for i < len(latencyBounds) && s > latencyBounds[i] {
		i++
	}
	l.latency[i].Add(uint64(n))
	l.nanos.Add(uint64(d) * uint64(n))
}

// siteHits counts the answers of one service that led to one site.
type siteHits struct {
	service policy.ServiceID
	site    policy.SiteID
	lanes   []struct {
		n atomic.Uint64
		_ [56]byte
	}
}

func (h *siteHits) count(lane int) { h.lanes[lane&(len(h.lanes)-1)].n.Add(1) }

// counters is what the server shows of itself; see Describe.
type counters struct {
	lanes []lane
	view  func() *view
	conns func() int

	mu   sync.Mutex // guards hits, not what they point to
	hits map[[2]string]*siteHits
}

func newCounters(lanes int) *counters {
	return &counters{lanes: make([]lane, lanes), hits: map[[2]string]*siteHits{}}
}

// site returns the counters of a service's site. They last as long as the server.
func (c *counters) site(service policy.ServiceID, site policy.SiteID) *siteHits {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := [2]string{string(service), string(site)}
	h := c.hits[k]
	if h == nil {
		h = &siteHits{service: service, site: site}
		h.lanes = make([]struct {
			n atomic.Uint64
			_ [56]byte
		}, len(c.lanes))
		c.hits[k] = h
	}
	return h
}

var (
	queriesDesc = prometheus.NewDesc("pharos_dns_queries_total",
		"Questions answered.", []string{"transport", "type", "rcode"}, nil)
	pathDesc = prometheus.NewDesc("pharos_dns_path_total",
		"Questions answered from compiled data (fast) and composed when asked (slow).", []string{"path"}, nil)
	dropsDesc = prometheus.NewDesc("pharos_dns_drops_total",
		"Packets and connections without an answer.", []string{"reason"}, nil)
	latencyDesc = prometheus.NewDesc("pharos_dns_answer_seconds",
		"Time from reading a packet to having handed its answer to the kernel. A sample of the UDP packets.", nil, nil)
	sitesDesc = prometheus.NewDesc("pharos_dns_service_answers_total",
		"Answers with addresses of a service, by the site of the first address; the site of addresses that are no endpoint is empty.",
		[]string{"service", "site"}, nil)
	revisionDesc = prometheus.NewDesc("pharos_dns_revision",
		"Number of the revision that is answered.", nil, nil)
	ageDesc = prometheus.NewDesc("pharos_dns_revision_age_seconds",
		"Time since the revision that is answered was decided.", nil, nil)
	zonesDesc = prometheus.NewDesc("pharos_dns_zones",
		"Zones that are answered, and those that answer SERVFAIL.", []string{"state"}, nil)
	connsDesc = prometheus.NewDesc("pharos_dns_tcp_connections",
		"Open TCP connections.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *counters) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		queriesDesc, pathDesc, dropsDesc, latencyDesc, sitesDesc, revisionDesc, ageDesc, zonesDesc, connsDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *counters) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	var all, slow uint64
	for t, tn := range transportNames {
		for ty, tyn := range typeNames {
			for r, rc := range rcodes {
				var n uint64
				for i := range c.lanes {
					n += c.lanes[i].queries[t][ty][r].Load()
				}
				if all += n; n > 0 {
					counter(queriesDesc, n, tn, tyn, rcodeName(rc))
				}
			}
		}
	}
	var drops [numDrops]uint64
	buckets := make(map[float64]uint64, len(latencyBounds))
	var observed, nanos uint64
	for i := range c.lanes {
		l := &c.lanes[i]
		slow += l.slow.Load()
		nanos += l.nanos.Load()
		for d := range drops {
			drops[d] += l.drops[d].Load()
		}
	}
	for b := range latencyBounds {
		for i := range c.lanes {
			observed += c.lanes[i].latency[b].Load()
		}
		buckets[latencyBounds[b]] = observed
	}
	for i := range c.lanes {
		observed += c.lanes[i].latency[len(latencyBounds)].Load()
	}
	counter(pathDesc, all-min(slow, all), "fast")
	counter(pathDesc, slow, "slow")
	for d, n := range drops {
		counter(dropsDesc, n, dropNames[d])
	}
	ch <- prometheus.MustNewConstHistogram(latencyDesc, observed, float64(nanos)/1e9, buckets)
	c.mu.Lock()
	for _, h := range c.hits {
		var n uint64
		for i := range h.lanes {
			n += h.lanes[i].n.Load()
		}
		counter(sitesDesc, n, string(h.service), string(h.site))
	}
	c.mu.Unlock()
	gauge(connsDesc, float64(c.conns()))
	c.collectView(gauge)
}

func (c *counters) collectView(gauge func(*prometheus.Desc, float64, ...string)) {
	v := c.view()
	if r := v.data.Revision; r != nil {
		gauge(revisionDesc, float64(r.Number))
		gauge(ageDesc, time.Since(r.Made).Seconds())
	}
	failed := 0
	for _, z := range v.zones {
		if z.zone == nil {
			failed++
		}
	}
	gauge(zonesDesc, float64(len(v.zones)-failed), "served")
	gauge(zonesDesc, float64(failed), "failed")
}

func rcodeName(r uint8) string {
	if r == dns.RcodeBadVers {
		return "BADVERS" // 16 is BADSIG, too
	}
	return dns.RcodeToString[int(r)]
}
