package dnsserver

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// newView compiles what a test answers from.
func newView(cfg Config, d Data) *view {
	cfg, err := cfg.filled()
	if err != nil {
		panic(err)
	}
	v := &view{set: newSettings(cfg), counters: newCounters(1), special: &specials{}}
	return v.next(d, func() {})
}

func newResponder(v *view, via transport) *responder {
	return &responder{counters: &v.counters.lanes[0], via: via}
}

// answers is what both paths answered to one packet.
type answers struct {
	fast   []byte
	fastOK bool
	slow   []byte
}

// askBoth asks each path alone. The turns of steered names stand at turn.
func askBoth(v *view, packet []byte, via transport, from netip.Addr, turn uint64) (a answers) {
	var sa sockaddr
	sa.setAddr(from)
	at := func() {
		for i := range 2 * len(v.counters.turns) {
			v.counters.lanes[0].turns.at(int32(i)).Store(turn)
		}
	}
	room := func() []byte { return append(make([]byte, 0, 70000), packet...)[:70000] }

	at()
	buf, r := room(), newResponder(v, via)
	r.q.from = &sa
	if r.q.read(buf, len(packet), via, v.set.udpSize) && r.q.qclass == dns.ClassINET && !isRare(r.q.qtype) {
		var n int
		if n, a.fastOK = r.fast(v, buf); a.fastOK {
			a.fast = buf[:n]
		}
	}
	at()
	buf, r = room(), newResponder(v, via)
	r.q.from = &sa
	a.slow = buf[:new(slowPath).respond(r, v, buf, len(packet))]
	return a
}

var drawnTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypeMX, dns.TypeTXT, dns.TypeSRV,
	dns.TypeDS, dns.TypeDNAME, dns.TypePTR, dns.TypeHTTPS, dns.TypeNSEC, 65280,
}

var drawnLabels = []string{"a", "b", "ns1", "mail", "xyz", "*"}

func drawName(t *rapid.T, apex string) string {
	n := apex
	for range rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 3}).Draw(t, "depth") {
		n = rapid.SampledFrom(drawnLabels).Draw(t, "label") + "." + n
	}
	return n
}

// drawZone draws a zone that is mostly in order; nil where it is refused.
func drawZone(t *rapid.T, apex string, all []string) *zones.Zone {
	target := func() string { return drawName(t, rapid.SampledFrom(append(all, "elsewhere.net.")).Draw(t, "target")) }
	lines := []string{
		fmt.Sprintf("%s 300 SOA %s hostmaster.%s 1 3600 600 86400 %d", apex, target(), apex, rapid.SampledFrom([]int{60, 900}).Draw(t, "minimum")),
		fmt.Sprintf("%s 300 NS ns1.%s", apex, apex),
		fmt.Sprintf("ns1.%s 300 A 192.0.2.1", apex),
	}
	for range rapid.IntRange(0, 12).Draw(t, "owners") {
		owner := drawName(t, apex)
		add := func(format string, args ...any) {
			lines = append(lines, fmt.Sprintf("%s %d ", owner, 100+len(owner))+fmt.Sprintf(format, args...))
		}
		switch rapid.SampledFrom([]string{"data", "data", "data", "cname", "cname", "dname", "cut"}).Draw(t, "kind") {
		case "cname":
			add("CNAME %s", target())
		case "dname":
			add("DNAME %s", target())
		case "cut":
			add("NS %s", target())
			if rapid.Bool().Draw(t, "glue") {
				add("NS ns1.%s", owner)
				lines = append(lines, fmt.Sprintf("ns1.%s 300 A 192.0.2.3", owner), fmt.Sprintf("ns1.%s 300 AAAA 2001:db8::3", owner))
			}
			if rapid.Bool().Draw(t, "ds") {
				add("DS 1 8 2 %064x", 7)
			}
		default:
			for range rapid.IntRange(1, 3).Draw(t, "sets") {
				switch rapid.SampledFrom([]string{"A", "AAAA", "MX", "TXT", "SRV", "PTR", "X", "HTTPS"}).Draw(t, "type") {
				case "A":
					for i := range rapid.SampledFrom([]int{1, 2, 40}).Draw(t, "n") {
						add("A 198.51.100.%d", i)
					}
				case "AAAA":
					add("AAAA 2001:db8::1")
				case "MX":
					add("MX 10 %s", target())
					add("MX 20 %s", target())
				case "TXT":
					add("TXT %s", strings.Repeat("\"long text\" ", rapid.SampledFrom([]int{1, 200}).Draw(t, "strings")))
				case "SRV":
					add("SRV 1 2 443 %s", target())
				case "PTR":
					add("PTR %s", target())
				case "HTTPS":
					add("HTTPS 1 . alpn=h2")
				default:
					add(`TYPE65280 \# 3 010203`)
				}
			}
		}
	}
	z, _, err := zones.Parse(apex, strings.NewReader(strings.Join(lines, "\n")+"\n"), apex, zones.Options{})
	if err != nil {
		return nil
	}
	var names []string
	for range rapid.IntRange(0, 4).Draw(t, "steered") {
		n := drawName(t, apex)
		if _, err := z.WithNames(n); err == nil {
			names = append(names, n)
		}
	}
	if z, err = z.WithNames(names...); err != nil {
		return nil
	}
	return z
}

func drawAnswer(t *rapid.T, name string) *policy.Answer {
	a := &policy.Answer{
		Name: name, Service: "s", TTL: 10, NegTTL: 7,
		Fail:   rapid.IntRange(0, 9).Draw(t, "fail") == 0,
		PickBy: policy.PickBy(rapid.IntRange(0, 2).Draw(t, "pick")),
	}
	member := func(weighted bool) (m [2]policy.Member) {
		site := policy.SiteID(rapid.SampledFrom([]string{"", "city-a", "city-b"}).Draw(t, "site"))
		var w uint32
		if weighted {
			w = uint32(rapid.IntRange(0, 5).Draw(t, "weight"))
		}
		for fam := range m {
			m[fam] = policy.Member{Site: site, Weight: w}
			for range rapid.SampledFrom([]int{0, 1, 2, 90}).Draw(t, "addrs") {
				i := rapid.IntRange(0, 255).Draw(t, "addr")
				addr := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
				if fam == dns6 {
					addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})
				}
				m[fam].Addrs = append(m[fam].Addrs, addr)
			}
		}
		return m
	}
	for range rapid.IntRange(1, 3).Draw(t, "choices") {
		var c policy.Choice
		weighted := rapid.Bool().Draw(t, "weighted")
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			m := member(weighted)
			c.A, c.AAAA = append(c.A, m[0]), append(c.AAAA, m[1])
		}
		a.Choices = append(a.Choices, c)
	}
	return a
}

func drawData(t *rapid.T) (d Data, apexes []string) {
	apexes = []string{"shop.example."}
	if rapid.Bool().Draw(t, "child") {
		apexes = append(apexes, rapid.SampledFrom([]string{"a.shop.example.", "b.a.shop.example."}).Draw(t, "childname"))
	}
	if rapid.Bool().Draw(t, "other") {
		apexes = append(apexes, "other.test.")
	}
	r := &policy.Revision{Number: 1, Answers: map[string]*policy.Answer{}, Groups: []policy.Group{
		{Site: "city-a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8:a::/48")}},
		{Site: "city-b", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("10.2.0.0/16")}},
	}}
	d.Revision = r
	for _, apex := range apexes {
		z := drawZone(t, apex, apexes)
		if z == nil {
			if apex == apexes[0] {
				t.Skip("refused zone")
			}
			d.Failed = append(d.Failed, apex)
			continue
		}
		d.Zones = append(d.Zones, z)
		z.Walk(func(owner []byte, _ []zones.RRset, flags zones.NodeFlags) bool {
			if flags&zones.FlagSteered != 0 && rapid.IntRange(0, 9).Draw(t, "unanswered") > 0 {
				n := zones.NameText(owner)
				r.Answers[n] = drawAnswer(t, n)
			}
			return true
		})
	}
	return d, apexes
}

// TestPathsAgree asks both paths the same, over random zones and decisions:
// the bytes are equal, and equal to what miekg/dns makes of the message.
func TestPathsAgree(t *testing.T) {
	fast, total := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d, apexes := drawData(t)
		v := newView(Config{}, d)
		for range 60 {
			name := drawName(t, rapid.SampledFrom(append(apexes, "absent.org.")).Draw(t, "apex"))
			mixed := rapid.IntRange(0, 3).Draw(t, "mixed") == 0
			asked := name
			if mixed {
				asked = strings.ToUpper(name)
			}
			m := new(dns.Msg).SetQuestion(asked, rapid.SampledFrom(drawnTypes).Draw(t, "qtype"))
			m.Id = uint16(rapid.IntRange(0, 65535).Draw(t, "id"))
			m.RecursionDesired = rapid.Bool().Draw(t, "rd")
			if rapid.Bool().Draw(t, "edns") {
				m.SetEdns0(uint16(rapid.SampledFrom([]int{0, 512, 1232, 4096}).Draw(t, "size")), rapid.Bool().Draw(t, "do"))
			}
			via := transport(rapid.IntRange(0, 1).Draw(t, "via"))
			from := netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.2.3", "10.1.9.9", "192.0.2.1", "2001:db8:a::1", "::1"}).Draw(t, "from"))
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			a := askBoth(v, packet, via, from, uint64(rapid.IntRange(0, 9).Draw(t, "turn")))
			total++
			var reply dns.Msg
			if err := reply.Unpack(a.slow); err != nil {
				t.Fatalf("%s %s: %v\n%x", asked, dns.TypeToString[m.Question[0].Qtype], err, a.slow)
			}
			if a.fastOK {
				fast++
				if !bytes.Equal(a.fast, a.slow) {
					var f dns.Msg
					err := f.Unpack(a.fast)
					t.Fatalf("fast %x (%v)\n%v\nslow %x\n%v", a.fast, err, &f, a.slow, &reply)
				}
			}
			if reply.Question[0] != m.Question[0] || reply.Id != m.Id || reply.RecursionDesired != m.RecursionDesired {
				t.Fatalf("asked %v, answered %v", m, &reply)
			}
			if !mixed {
				reply.Compress = true
				want, err := reply.Pack()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(a.slow, want) {
					t.Fatalf("packed %x\nmiekg  %x\n%v", a.slow, want, &reply)
				}
			}
		}
	})
	t.Logf("%d of %d answers from the fast path", fast, total)
	if fast < total/2 {
		t.Errorf("only %d of %d answers from the fast path", fast, total)
	}
}
