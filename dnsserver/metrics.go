package dnsserver

import (
	"slices"
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
	turns   growing // of steered names, A and AAAA
	sites   growing // answers by service and site
	_       [64]byte
}

// growing is counters that are added while others are counted.
type growing struct {
	chunks atomic.Pointer[[]*counterChunk]
}

type counterChunk [128]counter

func (g *growing) at(i int32) *counter {
	return &(*g.chunks.Load())[uint32(i)/uint32(len(counterChunk{}))][uint32(i)%uint32(len(counterChunk{}))]
}

func (g *growing) add(i int32) uint64 { return g.at(i).Add(1) }

// grow makes room for n counters. Only one goroutine may call it at a time.
func (g *growing) grow(to int32) {
	n := int(to)
	var chunks []*counterChunk
	if old := g.chunks.Load(); old != nil {
		chunks = *old
	}
	if n <= len(chunks)*len(counterChunk{}) {
		return
	}
	chunks = slices.Clone(chunks)
	for n > len(chunks)*len(counterChunk{}) {
		chunks = append(chunks, new(counterChunk))
	}
	g.chunks.Store(&chunks)
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

// counters is what the server shows of itself; see Describe.
type counters struct {
	lanes []lane
	view  func() *view
	conns func() int

	mu    sync.Mutex       // guards the numbering
	turns map[string]int32 // by the name's wire form
	sites map[siteKey]int32
}

// siteKey is a service's site, as answers are counted by.
type siteKey struct {
	service policy.ServiceID
	site    policy.SiteID
}

func newCounters(lanes int) *counters {
	return &counters{lanes: make([]lane, lanes), turns: map[string]int32{}, sites: map[siteKey]int32{}}
}

// turn returns the number of a steered name's turns. It lasts as long as the server.
func (c *counters) turn(wire []byte) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.turns[string(wire)]
	if !ok {
		n = int32(len(c.turns))
		c.turns[string(wire)] = n
		for i := range c.lanes {
			c.lanes[i].turns.grow(2*n + 2)
		}
	}
	return n
}

// site returns the number of a service's site. It lasts as long as the server.
func (c *counters) site(service policy.ServiceID, site policy.SiteID) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := siteKey{service, site}
	n, ok := c.sites[k]
	if !ok {
		n = int32(len(c.sites))
		c.sites[k] = n
		for i := range c.lanes {
			c.lanes[i].sites.grow(n + 1)
		}
	}
	return n
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
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
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
					count(queriesDesc, n, tn, tyn, rcodeName(rc))
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
	count(pathDesc, all-min(slow, all), "fast")
	count(pathDesc, slow, "slow")
	for d, n := range drops {
		count(dropsDesc, n, dropNames[d])
	}
	ch <- prometheus.MustNewConstHistogram(latencyDesc, observed, float64(nanos)/1e9, buckets)
	c.mu.Lock()
	for k, number := range c.sites {
		var n uint64
		for i := range c.lanes {
			n += c.lanes[i].sites.at(number).Load()
		}
		count(sitesDesc, n, string(k.service), string(k.site))
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
