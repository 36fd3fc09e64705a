package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

const (
	compareEvery   = 10 * time.Second
	compareTimeout = 2 * time.Second // for one question
	compareTries   = 2               // before a server counts as silent for this round
)

// observer asks the live servers what they answer and shows where this node
// would answer otherwise. It is there in mode observe only.
type observer struct {
	log      *slog.Logger
	servers  func() []netip.AddrPort
	revision func() *policy.Revision
	every    time.Duration

	last    atomic.Pointer[api.ObserveStatus]
	differ  *prometheus.GaugeVec
	silent  *prometheus.GaugeVec
	checked prometheus.Counter
}

func newObserver(servers func() []netip.AddrPort, revision func() *policy.Revision, log *slog.Logger, reg prometheus.Registerer) (*observer, error) {
	o := &observer{
		log: log, servers: servers, revision: revision, every: compareEvery,
		differ: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pharos_observe_differences",
			Help: "Steered answers, one for each name and type, that a live server gives otherwise than this node would.",
		}, []string{"server"}),
		silent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pharos_observe_server_silent",
			Help: "1 where a live server could not be asked the last time.",
		}, []string{"server"}),
		checked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pharos_observe_comparisons_total",
			Help: "Answers of live servers that were compared.",
		}),
	}
	for _, m := range []prometheus.Collector{o.differ, o.silent, o.checked} {
		if err := reg.Register(m); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Run compares again and again until ctx ends.
func (o *observer) Run(ctx context.Context) error {
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		o.compare(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Status is the outcome of the last comparison.
func (o *observer) Status() *api.ObserveStatus {
	if s := o.last.Load(); s != nil {
		return s
	}
	return &api.ObserveStatus{Servers: []api.ObservedServer{}, Differ: []api.Difference{}}
}

// compare asks every server for every steered name, the servers side by side.
func (o *observer) compare(ctx context.Context) {
	servers, rev := o.servers(), o.revision()
	if rev == nil {
		return
	}
	names := make([]string, 0, len(rev.Answers))
	for name := range rev.Answers {
		names = append(names, name)
	}
	slices.Sort(names)
	results := make([]comparison, len(servers))
	var group errgroup.Group
	for i, at := range servers {
		group.Go(func() error {
			results[i] = o.compareOne(ctx, at, rev, names)
			return nil
		})
	}
	_ = group.Wait() // each keeps its own error
	if ctx.Err() != nil {
		return
	}
	status := &api.ObserveStatus{Compared: time.Now(), Names: len(names), Servers: []api.ObservedServer{}, Differ: []api.Difference{}}
	o.differ.Reset()
	o.silent.Reset()
	for i, at := range servers {
		r := results[i]
		server := api.ObservedServer{Address: at.String()}
		silent := 0.0
		if r.err != nil {
			server.Error = r.err.Error()
			silent = 1
		}
		o.silent.WithLabelValues(at.String()).Set(silent)
		o.differ.WithLabelValues(at.String()).Set(float64(len(r.differ)))
		status.Servers = append(status.Servers, server)
		status.Differ = append(status.Differ, r.differ...)
	}
	o.logNews(o.last.Swap(status), status)
}

// logNews says which differences came and which went.
func (o *observer) logNews(before, after *api.ObserveStatus) {
	if before == nil {
		before = &api.ObserveStatus{}
	}
	for _, d := range after.Differ {
		if !slices.Contains(before.Differ, d) {
			o.log.Info("live answer differs", "server", d.Server, "name", d.Name, "type", d.Type, "live", d.Live, "ours", d.Ours)
		}
	}
	for _, d := range before.Differ {
		same := func(e api.Difference) bool { return e.Server == d.Server && e.Name == d.Name && e.Type == d.Type }
		if !slices.ContainsFunc(after.Differ, same) {
			o.log.Info("live answer agrees again", "server", d.Server, "name", d.Name, "type", d.Type)
		}
	}
}

// comparison is what one server was found to answer.
type comparison struct {
	differ []api.Difference
	err    error // why it could not be asked (to the end)
}

func (o *observer) compareOne(ctx context.Context, at netip.AddrPort, rev *policy.Revision, names []string) (c comparison) {
	live := liveServer{at: at.String()}
	defer live.close()
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			reply, err := live.ask(ctx, name, qtype)
			if err != nil {
				c.err = err
				return c
			}
			o.checked.Inc()
			ours := expect(rev, rev.Answers[name], qtype, live.local)
			if text := liveText(reply, qtype); !ours.agrees(reply, qtype) {
				c.differ = append(c.differ, api.Difference{
					Server: at.String(), Name: name, Type: dns.TypeToString[qtype], Live: text, Ours: ours.String(),
				})
			}
		}
	}
	return c
}

// liveServer is one server, asked over one UDP socket.
type liveServer struct {
	at    string
	conn  *dns.Conn
	local netip.Addr // the address that the server sees
}

func (s *liveServer) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

func (s *liveServer) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.RecursionDesired = false
	q.SetEdns0(1232, false)
	var err error
	for range compareTries {
		var reply *dns.Msg
		if reply, err = s.exchange(ctx, q); err == nil {
			return reply, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
}

func (s *liveServer) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	client := &dns.Client{Net: "udp", UDPSize: 1232, Timeout: compareTimeout}
	if s.conn == nil {
		conn, err := client.DialContext(ctx, s.at)
		if err != nil {
			return nil, err
		}
		s.conn = conn
		if local, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
			s.local = local.Addr().Unmap()
		}
	}
	reply, _, err := client.ExchangeWithConnContext(ctx, q, s.conn)
	if err != nil {
		s.conn.Close() // a late answer must not be taken for the next one's
		s.conn = nil
		return nil, err
	}
	if reply.Truncated {
		client.Net = "tcp"
		reply, _, err = client.ExchangeContext(ctx, q, s.at)
	}
	return reply, err
}

// expected is what this node would answer: any one of the sets.
type expected struct {
	fail bool
	sets [][]netip.Addr // sorted; an empty one is NODATA
}

// expect works out the answer for a client at the given address.
func expect(rev *policy.Revision, a *policy.Answer, qtype uint16, client netip.Addr) expected {
	if a.Fail {
		return expected{fail: true}
	}
	choice := a.Choices[0]
	if g := groupOf(rev.Groups, client); g < len(a.Choices) {
		choice = a.Choices[g]
	}
	members := choice.A
	if qtype == dns.TypeAAAA {
		members = choice.AAAA
	}
	var e expected
	var union []netip.Addr
	for _, m := range members {
		if m.Weight > 0 {
			e.sets = append(e.sets, sortedAddrs(m.Addrs))
		}
		union = append(union, m.Addrs...)
	}
	if len(e.sets) == 0 {
		e.sets = [][]netip.Addr{sortedAddrs(union)}
	}
	return e
}

// groupOf is the number of the client's group, by the longest prefix; 0: none.
func groupOf(groups []policy.Group, client netip.Addr) int {
	group, bits := 0, -1
	for i, g := range groups {
		for _, p := range g.Prefixes {
			if p.Bits() > bits && p.Contains(client) {
				group, bits = i+1, p.Bits()
			}
		}
	}
	return group
}

func (e expected) agrees(reply *dns.Msg, qtype uint16) bool {
	if e.fail {
		return reply.Rcode == dns.RcodeServerFailure
	}
	if reply.Rcode != dns.RcodeSuccess {
		return false
	}
	live := liveAddrs(reply, qtype)
	return slices.ContainsFunc(e.sets, func(set []netip.Addr) bool { return slices.Equal(set, live) })
}

func (e expected) String() string {
	if e.fail {
		return "SERVFAIL"
	}
	var texts []string
	for _, set := range e.sets {
		if text := addrsText(set); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, " or ")
}

func liveText(reply *dns.Msg, qtype uint16) string {
	if reply.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[reply.Rcode]
	}
	return addrsText(liveAddrs(reply, qtype))
}

// liveAddrs lists the addresses in an answer, also those at the end of a CNAME
// chain, sorted.
func liveAddrs(reply *dns.Msg, qtype uint16) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range reply.Answer {
		switch r := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(r.A.To4()); ok && qtype == dns.TypeA {
				addrs = append(addrs, a)
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(r.AAAA.To16()); ok && qtype == dns.TypeAAAA {
				addrs = append(addrs, a)
			}
		}
	}
	return sortedAddrs(addrs)
}

func sortedAddrs(addrs []netip.Addr) []netip.Addr {
	sorted := slices.Clone(addrs)
	slices.SortFunc(sorted, netip.Addr.Compare)
	return slices.Compact(sorted)
}

func addrsText(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no addresses"
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}
