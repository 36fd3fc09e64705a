package dnsserver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// benchData has 10,000 static names and one steered name of each kind.
func benchData(t testing.TB) Data {
	var b strings.Builder
	b.WriteString(smallZone)
	for i := range 10000 {
		fmt.Fprintf(&b, "host%d A 192.0.2.%d\n", i, i%250)
	}
	b.WriteString("sub NS ns.sub\nns.sub A 192.0.2.3\n*.wild A 192.0.2.4\nalias CNAME host1\nto-steered CNAME steered\nmx MX 10 host1\n")
	z := mustZone(t, "shop.example.", b.String())
	names := []string{"steered.shop.example.", "weighted.shop.example.", "near.shop.example."}
	z, err := z.WithNames(names...)
	if err != nil {
		t.Fatal(err)
	}
	addr := func(i byte) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, i})} }
	members := func(w uint32) []policy.Member {
		return []policy.Member{{Site: "a", Weight: w, Addrs: addr(1)}, {Site: "b", Weight: 2 * w, Addrs: addr(2)}}
	}
	r := &policy.Revision{
		Groups: []policy.Group{{Site: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		Answers: map[string]*policy.Answer{
			names[0]: {Name: names[0], Service: "s", TTL: 10, NegTTL: 10, Choices: []policy.Choice{{A: members(0)}}},
			names[1]: {Name: names[1], Service: "w", TTL: 10, NegTTL: 10, Choices: []policy.Choice{{A: members(1)}}},
			names[2]: {Name: names[2], Service: "n", TTL: 10, NegTTL: 10, Choices: []policy.Choice{{A: members(0)}, {A: members(0)[:1]}}},
		},
	}
	return Data{Zones: []*zones.Zone{z}, Revision: r}
}

var benchQuestions = []struct {
	name  string
	qname string
	qtype uint16
}{
	{"static", "host77.shop.example.", dns.TypeA},
	{"nodata", "host77.shop.example.", dns.TypeAAAA},
	{"nxdomain", "absent.shop.example.", dns.TypeA},
	{"wildcard", "x.wild.shop.example.", dns.TypeA},
	{"referral", "www.sub.shop.example.", dns.TypeA},
	{"cname", "alias.shop.example.", dns.TypeA},
	{"mx", "mx.shop.example.", dns.TypeMX},
	{"steered", "steered.shop.example.", dns.TypeA},
	{"steered-nodata", "steered.shop.example.", dns.TypeAAAA},
	{"weighted", "weighted.shop.example.", dns.TypeA},
	{"nearest", "near.shop.example.", dns.TypeA},
	{"alias-of-steered", "to-steered.shop.example.", dns.TypeA},
	{"refused", "www.example.net.", dns.TypeA},
}

// prepared is a packet with room for its answer.
type prepared struct {
	buf  []byte
	ask  []byte
	from sockaddr
}

func prepare(t testing.TB, qname string, qtype uint16) *prepared {
	m := new(dns.Msg).SetQuestion(qname, qtype)
	m.SetEdns0(1232, false)
	ask, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	p := &prepared{buf: make([]byte, bufSize), ask: ask}
	p.from.setAddr(netip.MustParseAddr("127.0.0.1"))
	return p
}

func (p *prepared) respond(r *responder, v *view) int {
	copy(p.buf, p.ask)
	return r.respond(v, p.buf, len(p.ask), &p.from)
}

// BenchmarkRespond is the whole work on a question, but for the system calls.
func BenchmarkRespond(b *testing.B) {
	v := newView(Config{}, benchData(b))
	for _, q := range benchQuestions {
		b.Run(q.name, func(b *testing.B) {
			r := newResponder(v, udp)
			p := prepare(b, q.qname, q.qtype)
			b.ReportAllocs()
			for b.Loop() {
				p.respond(r, v)
			}
			if r.counters.slow.Load() != 0 {
				b.Error("took the slow path")
			}
		})
	}
}

// TestNoAllocations holds the fast path to its word.
func TestNoAllocations(t *testing.T) {
	v := newView(Config{}, benchData(t))
	for _, q := range benchQuestions {
		r := newResponder(v, udp)
		p := prepare(t, q.qname, q.qtype)
		if n := testing.AllocsPerRun(100, func() { p.respond(r, v) }); n != 0 {
			t.Errorf("%s: %v allocations", q.name, n)
		}
		if r.counters.slow.Load() != 0 {
			t.Errorf("%s: took the slow path", q.name)
		}
	}
}
