package dnsserver

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// manySteered is a zone with n steered names, decided.
func manySteered(t testing.TB, n int) Data {
	var names []string
	r := &policy.Revision{Number: 1, Answers: map[string]*policy.Answer{}}
	for i := range n {
		name := fmt.Sprintf("s%d.shop.example.", i)
		names = append(names, name)
		r.Answers[name] = &policy.Answer{Name: name, Service: policy.ServiceID(name), TTL: 10, NegTTL: 10, Choices: []policy.Choice{{
			A: []policy.Member{{Site: "a", Addrs: ips("203.0.113.1")}, {Site: "b", Addrs: ips("203.0.113.2")}},
		}}}
	}
	z, err := mustZone(t, "shop.example.", smallZone+"alias CNAME s1\n").WithNames(names...)
	if err != nil {
		t.Fatal(err)
	}
	return Data{Zones: []*zones.Zone{z}, Revision: r}
}

// changed is d with another answer at one name.
func changed(d Data, name, addr string) Data {
	r := *d.Revision
	r.Answers = maps.Clone(r.Answers)
	a := *r.Answers[name]
	a.Choices = []policy.Choice{{A: []policy.Member{{Site: "a", Addrs: ips(addr)}}}}
	r.Answers[name] = &a
	r.Number++
	d.Revision = &r
	return d
}

func nextView(v *view, d Data) *view { return v.next(d, func() {}) }

func TestOnlyWhatChangedIsCompiled(t *testing.T) {
	d := manySteered(t, 20)
	v := newView(Config{}, d)
	w := nextView(v, changed(d, "s1.shop.example.", "192.0.2.7"))
	if w.zones[0] != v.zones[0] || w.special != v.special {
		t.Error("a new decision compiled the zones")
	}
	for i, n := range v.special.names {
		if same := w.steered[i] == v.steered[i]; same == (n == "s1.shop.example.") {
			t.Errorf("%s: compiled again: %v", n, !same)
		}
	}
	for _, name := range []string{"s1.shop.example.", "alias.shop.example."} {
		r := reply(t, w, ask{name: name, typ: "A"})
		if a, ok := r.Answer[len(r.Answer)-1].(*dns.A); !ok || a.A.String() != "192.0.2.7" {
			t.Errorf("%s: %v", name, r.Answer)
		}
	}

	other := mustZone(t, "other.test.", smallZone)
	d.Zones = append(d.Zones, other)
	x := nextView(w, d)
	if x.zones[0] != v.zones[0] {
		t.Error("another zone compiled the first one again")
	}
	if i := 5; x.steered[i] != w.steered[i] {
		t.Error("another zone compiled the answers again")
	}
	if got := brief(reply(t, x, ask{name: "www.other.test.", typ: "A"})); !strings.HasPrefix(got, "NOERROR") {
		t.Error(got)
	}
	d.Zones, d.Failed = d.Zones[:1], []string{"other.test."}
	if got := brief(reply(t, nextView(x, d), ask{name: "www.other.test.", typ: "A"})); got != "SERVFAIL" {
		t.Error(got)
	}
}

// TestManyZones finds each of many zones, and names next to them.
func TestManyZones(t *testing.T) {
	var d Data
	for i := range 300 {
		d.Zones = append(d.Zones, mustZone(t, fmt.Sprintf("z%d.example.", i), smallZone))
	}
	d.Zones = append(d.Zones, mustZone(t, ".", "$TTL 300\n@ SOA ns.example. h.example. 1 2 3 4 5\n@ NS ns.example.\nns.example. A 192.0.2.1\n"))
	v := newView(Config{}, d)
	for i := range 300 {
		if got := brief(reply(t, v, ask{name: fmt.Sprintf("www.z%d.example.", i), typ: "A"})); !strings.HasPrefix(got, "NOERROR aa\nan www") {
			t.Fatalf("zone %d: %s", i, got)
		}
	}
	if got := brief(reply(t, v, ask{name: "www.z300.example.", typ: "A"})); got != "NXDOMAIN aa\nns . 5 IN SOA ns.example. h.example. 1 2 3 4 5" {
		t.Error(got)
	}
}

// TestLargeEntries: names with more data than an entry takes are composed.
func TestLargeEntries(t *testing.T) {
	var b strings.Builder
	b.WriteString(smallZone)
	for typ := range 14 {
		for i := range 200 {
			fmt.Fprintf(&b, "huge TYPE%d \\# 240 %0480x\n", 65300+typ, i)
		}
	}
	for i := range 300 {
		fmt.Fprintf(&b, "toolarge TYPE65300 \\# 240 %0480x\n", i)
	}
	v := newView(Config{}, Data{Zones: []*zones.Zone{mustZone(t, "shop.example.", b.String())}})
	ask := ask{name: "huge.shop.example.", typ: "A", via: tcp, edit: func(m *dns.Msg) { m.Question[0].Qtype = 65301 }}
	if r := reply(t, v, ask); len(r.Answer) != 200 || r.Truncated {
		t.Errorf("%d records, truncated %v", len(r.Answer), r.Truncated)
	}
	ask.name, ask.edit = "toolarge.shop.example.", func(m *dns.Msg) { m.Question[0].Qtype = 65300 }
	if r := reply(t, v, ask); len(r.Answer) != 0 || !r.Truncated {
		t.Errorf("%d records, truncated %v", len(r.Answer), r.Truncated)
	}
}

func BenchmarkSetOneChangeOf1000(b *testing.B) {
	d := manySteered(b, 1000)
	v := newView(Config{}, d)
	next := [2]Data{changed(d, "s500.shop.example.", "192.0.2.7"), d}
	i := 0
	for b.Loop() {
		v = v.next(next[i&1], func() {})
		i++
	}
}

func BenchmarkCompileZone(b *testing.B) {
	const n = 200_000
	var text strings.Builder
	text.WriteString(smallZone)
	for i := range n {
		fmt.Fprintf(&text, "h%d A %v\n", i, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	z := mustZone(b, "shop.example.", text.String())
	size := 0
	for b.Loop() {
		size = compileZone(z, func() {}).table.size()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
	b.ReportMetric(float64(size)/n, "B/record")
}
