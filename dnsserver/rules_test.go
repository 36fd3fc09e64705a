package dnsserver

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

const rulesZone = `
$TTL 300
@ 3600 SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
@ NS ns.elsewhere.net.
@ MX 10 mail
ns1 A 192.0.2.1
mail A 192.0.2.25
mail AAAA 2001:db8::25
www A 192.0.2.80
www TXT "plain"
steered TXT "static beside steering"
alias CNAME www
chain CNAME alias
out CNAME www.elsewhere.net.
loop1 CNAME loop2
loop2 CNAME loop1
self CNAME self
to-absent CNAME absent
to-steered CNAME steered
to-cut CNAME www.sub
to-other CNAME www.other.test.
_sip._tcp SRV 1 2 5060 mail
deep.ent A 192.0.2.3
*.wild A 192.0.2.4
*.wild MX 10 mail
*.walias CNAME steered
sub NS ns.sub
sub NS ns.elsewhere.net.
sub DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub A 192.0.2.53
child NS ns.child
ns.child A 192.0.2.54
old DNAME new
new A 192.0.2.5
x.new A 192.0.2.6
big TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big TXT "1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big TXT "2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big TXT "3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
big TXT "4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
to-big CNAME big
`

func ips(s ...string) (as []netip.Addr) {
	for _, a := range s {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

// rulesData is what the tables below ask about.
func rulesData(t testing.TB) Data {
	shop := mustZone(t, "shop.example.", rulesZone)
	shop, err := shop.WithNames("steered.shop.example.", "both.shop.example.", "fails.shop.example.", "unknown.shop.example.",
		"*.any.shop.example.", "near.shop.example.", "many.shop.example.", "empty.shop.example.")
	if err != nil {
		t.Fatal(err)
	}
	child := mustZone(t, "child.shop.example.", "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 900\n@ NS ns\nns A 192.0.2.54\nwww A 192.0.2.99\n")
	other := mustZone(t, "other.test.", "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 900\n@ NS ns\nns A 192.0.2.55\nwww A 192.0.2.77\nback CNAME steered.shop.example.\n")
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	one := func(a ...string) []policy.Choice {
		return []policy.Choice{{A: []policy.Member{{Site: "a", Addrs: ips(a...)}}}}
	}
	answer := func(name string, choices []policy.Choice) *policy.Answer {
		return &policy.Answer{Name: name, Service: "s", TTL: 10, NegTTL: 5, Choices: choices}
	}
	return Data{
		Zones:  []*zones.Zone{shop, child, other},
		Failed: []string{"failed.test."},
		Revision: &policy.Revision{
			Number: 3,
			Groups: []policy.Group{
				{Site: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8:a::/48")}},
				{Site: "b", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.7.0/24")}},
			},
			Answers: map[string]*policy.Answer{
				"steered.shop.example.": answer("steered.shop.example.", one("203.0.113.1")),
				"empty.shop.example.":   answer("empty.shop.example.", []policy.Choice{{}}),
				"both.shop.example.": answer("both.shop.example.", []policy.Choice{{
					A:    []policy.Member{{Site: "a", Addrs: ips("203.0.113.1", "203.0.113.2")}, {Site: "b", Addrs: ips("203.0.113.2", "203.0.113.3")}},
					AAAA: []policy.Member{{Site: "a", Addrs: ips("2001:db8::1")}},
				}}),
				"fails.shop.example.":  {Name: "fails.shop.example.", Fail: true, TTL: 10, NegTTL: 5, Choices: one("203.0.113.1")},
				"*.any.shop.example.":  answer("*.any.shop.example.", one("203.0.113.9")),
				"many.shop.example.":   answer("many.shop.example.", []policy.Choice{{A: []policy.Member{{Addrs: many}}}}),
				"near.shop.example.":   answer("near.shop.example.", append(append(one("203.0.113.50"), one("203.0.113.51")...), one("203.0.113.52")...)),
				"absent.shop.example.": nil,
			},
		},
	}
}

// ask is one question and how it is put.
type ask struct {
	name, typ string
	via       transport
	from      string
	edit      func(*dns.Msg)
}

var rulesConfig = Config{
	Version: "pharos 1", ServerID: "edge-a1", NSID: "edge-a1.city",
	ECSTrusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
}

// reply asks both paths, which have to agree, and returns the message.
func reply(t testing.TB, v *view, q ask) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(q.name, dns.StringToType[q.typ])
	m.RecursionDesired = false
	if q.edit != nil {
		q.edit(m)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	from := netip.MustParseAddr("198.51.100.1")
	if q.from != "" {
		from = netip.MustParseAddr(q.from)
	}
	a := askBoth(v, packet, q.via, from, 0)
	if a.fastOK && string(a.fast) != string(a.slow) {
		t.Errorf("%s %s: the paths differ\nfast %x\nslow %x", q.name, q.typ, a.fast, a.slow)
	}
	r := new(dns.Msg)
	if err := r.Unpack(a.slow); err != nil {
		t.Fatalf("%s %s: %v: %x", q.name, q.typ, err, a.slow)
	}
	return r
}

// brief writes a message in one line a record, for tables.
func brief(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(dns.RcodeToString[m.Rcode])
	if m.Authoritative {
		b.WriteString(" aa")
	}
	if m.Truncated {
		b.WriteString(" tc")
	}
	section := func(mark string, rrs []dns.RR) {
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				fmt.Fprintf(&b, "\n%s %s", mark, strings.Join(strings.Fields(rr.String()), " "))
			}
		}
	}
	section("an", m.Answer)
	section("ns", m.Ns)
	section("ar", m.Extra)
	return strings.ReplaceAll(b.String(), ".shop.example.", "~")
}

const (
	soa60 = "ns shop.example. 60 IN SOA ns1~ hostmaster~ 7 3600 600 86400 60"
	soa5  = "ns shop.example. 5 IN SOA ns1~ hostmaster~ 7 3600 600 86400 60"
)

func TestRules(t *testing.T) {
	v := newView(rulesConfig, rulesData(t))
	tests := []struct {
		why string
		ask ask
		out string
	}{
		{"positive", ask{name: "www~", typ: "A"}, "NOERROR aa\nan www~ 300 IN A 192.0.2.80"},
		{"NODATA: the SOA's TTL is its MINIMUM (RFC 2308 §3)", ask{name: "www~", typ: "AAAA"}, "NOERROR aa\n" + soa60},
		{"NXDOMAIN", ask{name: "absent~", typ: "A"}, "NXDOMAIN aa\n" + soa60},
		{"NXDOMAIN below the SOA's MNAME", ask{name: "x.ns1~", typ: "A"}, "NXDOMAIN aa\n" + soa60},
		{"NODATA at the SOA's MNAME", ask{name: "ns1~", typ: "MX"}, "NOERROR aa\n" + soa60},
		{"empty non-terminal (RFC 4592 §2.2.2)", ask{name: "ent~", typ: "A"}, "NOERROR aa\n" + soa60},
		{"apex NS with glue", ask{name: "shop.example.", typ: "NS"}, "NOERROR aa\nan shop.example. 300 IN NS ns.elsewhere.net.\nan shop.example. 300 IN NS ns1~\nar ns1~ 300 IN A 192.0.2.1"},
		{"MX with addresses", ask{name: "shop.example.", typ: "MX"}, "NOERROR aa\nan shop.example. 300 IN MX 10 mail~\nar mail~ 300 IN A 192.0.2.25\nar mail~ 300 IN AAAA 2001:db8::25"},
		{"SRV with addresses", ask{name: "_sip._tcp~", typ: "SRV"}, "NOERROR aa\nan _sip._tcp~ 300 IN SRV 1 2 5060 mail~\nar mail~ 300 IN A 192.0.2.25\nar mail~ 300 IN AAAA 2001:db8::25"},
		{"wildcard", ask{name: "a.b.wild~", typ: "A"}, "NOERROR aa\nan a.b.wild~ 300 IN A 192.0.2.4"},
		{"wildcard's other types", ask{name: "a.wild~", typ: "MX"}, "NOERROR aa\nan a.wild~ 300 IN MX 10 mail~\nar mail~ 300 IN A 192.0.2.25\nar mail~ 300 IN AAAA 2001:db8::25"},
		{"wildcard NODATA", ask{name: "a.wild~", typ: "TXT"}, "NOERROR aa\n" + soa60},
		{"the wildcard itself", ask{name: "*.wild~", typ: "A"}, "NOERROR aa\nan *.wild~ 300 IN A 192.0.2.4"},
		{"CNAME", ask{name: "alias~", typ: "CNAME"}, "NOERROR aa\nan alias~ 300 IN CNAME www~"},
		{"chain", ask{name: "chain~", typ: "A"}, "NOERROR aa\nan chain~ 300 IN CNAME alias~\nan alias~ 300 IN CNAME www~\nan www~ 300 IN A 192.0.2.80"},
		{"chain to another type", ask{name: "chain~", typ: "TXT"}, "NOERROR aa\nan chain~ 300 IN CNAME alias~\nan alias~ 300 IN CNAME www~\nan www~ 300 IN TXT \"plain\""},
		{"chain to NODATA", ask{name: "alias~", typ: "MX"}, "NOERROR aa\nan alias~ 300 IN CNAME www~\n" + soa60},
		{"chain to NXDOMAIN", ask{name: "to-absent~", typ: "A"}, "NXDOMAIN aa\nan to-absent~ 300 IN CNAME absent~\n" + soa60},
		{"chain out of all zones", ask{name: "out~", typ: "A"}, "NOERROR aa\nan out~ 300 IN CNAME www.elsewhere.net."},
		{"chain into another zone", ask{name: "to-other~", typ: "A"}, "NOERROR aa\nan to-other~ 300 IN CNAME www.other.test.\nan www.other.test. 300 IN A 192.0.2.77"},
		{"loop", ask{name: "loop1~", typ: "A"}, "NOERROR aa\nan loop1~ 300 IN CNAME loop2~\nan loop2~ 300 IN CNAME loop1~"},
		{"CNAME to itself", ask{name: "self~", typ: "A"}, "NOERROR aa\nan self~ 300 IN CNAME self~"},
		{"chain to a referral", ask{name: "to-cut~", typ: "A"}, "NOERROR aa\nan to-cut~ 300 IN CNAME www.sub~\nns sub~ 300 IN NS ns.sub~\nns sub~ 300 IN NS ns.elsewhere.net.\nar ns.sub~ 300 IN A 192.0.2.53"},
		{"referral", ask{name: "www.sub~", typ: "A"}, "NOERROR\nns sub~ 300 IN NS ns.sub~\nns sub~ 300 IN NS ns.elsewhere.net.\nar ns.sub~ 300 IN A 192.0.2.53"},
		{"glue is not answered", ask{name: "ns.sub~", typ: "A"}, "NOERROR\nns sub~ 300 IN NS ns.sub~\nns sub~ 300 IN NS ns.elsewhere.net.\nar ns.sub~ 300 IN A 192.0.2.53"},
		{"DS belongs to the parent", ask{name: "sub~", typ: "DS"}, "NOERROR aa\nan sub~ 300 IN DS 1 8 2 " + strings.Repeat("0", 64)},
		{"the deepest zone wins", ask{name: "www.child~", typ: "A"}, "NOERROR aa\nan www.child~ 300 IN A 192.0.2.99"},
		{"DS of a child zone that is served, too", ask{name: "child~", typ: "DS"}, "NOERROR aa\n" + soa60},
		{"DNAME", ask{name: "x.old~", typ: "A"}, "NOERROR aa\nan old~ 300 IN DNAME new~\nan x.old~ 300 IN CNAME x.new~\nan x.new~ 300 IN A 192.0.2.6"},
		{"DNAME's own name", ask{name: "old~", typ: "A"}, "NOERROR aa\n" + soa60},
		{"DNAME, CNAME asked", ask{name: "x.old~", typ: "CNAME"}, "NOERROR aa\nan old~ 300 IN DNAME new~\nan x.old~ 300 IN CNAME x.new~"},
		{"outside all zones", ask{name: "www.example.net.", typ: "A"}, "REFUSED"},
		{"above all zones", ask{name: "example.", typ: "A"}, "REFUSED"},
		{"failed zone", ask{name: "www.failed.test.", typ: "A"}, "SERVFAIL"},
		{"zone transfer", ask{name: "shop.example.", typ: "AXFR", via: tcp}, "REFUSED"},
		{"TKEY", ask{name: "shop.example.", typ: "TKEY"}, "NOTIMP"},
		{"ANY: one RRset (RFC 8482 §4.1)", ask{name: "www~", typ: "ANY"}, "NOERROR aa\nan www~ 300 IN A 192.0.2.80"},
		{"ANY at a CNAME", ask{name: "alias~", typ: "ANY"}, "NOERROR aa\nan alias~ 300 IN CNAME www~"},
		{"ANY that does not exist", ask{name: "absent~", typ: "ANY"}, "NXDOMAIN aa\n" + soa60},
		{"ANY, steered", ask{name: "steered~", typ: "ANY"}, "NOERROR aa\nan steered~ 10 IN A 203.0.113.1"},

		{"steered", ask{name: "steered~", typ: "A"}, "NOERROR aa\nan steered~ 10 IN A 203.0.113.1"},
		{"steered: NODATA of the other family, with its own TTL", ask{name: "steered~", typ: "AAAA"}, "NOERROR aa\n" + soa5},
		{"steered: the zone keeps the rest", ask{name: "steered~", typ: "TXT"}, "NOERROR aa\nan steered~ 300 IN TXT \"static beside steering\""},
		{"steered: NODATA of a static type, with the same TTL", ask{name: "steered~", typ: "MX"}, "NOERROR aa\n" + soa5},
		{"steered, both families, without duplicates", ask{name: "both~", typ: "A"}, "NOERROR aa\nan both~ 10 IN A 203.0.113.1\nan both~ 10 IN A 203.0.113.2\nan both~ 10 IN A 203.0.113.3"},
		{"steered, both families", ask{name: "both~", typ: "AAAA"}, "NOERROR aa\nan both~ 10 IN AAAA 2001:db8::1"},
		{"steered, nothing to answer", ask{name: "empty~", typ: "A"}, "NOERROR aa\n" + soa5},
		{"steered, failing", ask{name: "fails~", typ: "A"}, "SERVFAIL"},
		{"steered, without a decision", ask{name: "unknown~", typ: "A"}, "SERVFAIL"},
		{"steered wildcard", ask{name: "x.any~", typ: "A"}, "NOERROR aa\nan x.any~ 10 IN A 203.0.113.9"},
		{"steered wildcard, NODATA", ask{name: "x.any~", typ: "AAAA"}, "NOERROR aa\n" + soa5},
		{"steered wildcard, NODATA of a static type", ask{name: "x.any~", typ: "HTTPS"}, "NOERROR aa\n" + soa5},
		{"chain to a steered name, NODATA of a static type", ask{name: "to-steered~", typ: "HTTPS"}, "NOERROR aa\nan to-steered~ 300 IN CNAME steered~\n" + soa5},
		{"wildcard chain to a steered name, NODATA of a static type", ask{name: "y.walias~", typ: "MX"}, "NOERROR aa\nan y.walias~ 300 IN CNAME steered~\n" + soa5},
		{"chain from another zone, NODATA of a static type", ask{name: "back.other.test.", typ: "MX"}, "NOERROR aa\nan back.other.test. 300 IN CNAME steered~\n" + soa5},
		{"chain to a steered name", ask{name: "to-steered~", typ: "A"}, "NOERROR aa\nan to-steered~ 300 IN CNAME steered~\nan steered~ 10 IN A 203.0.113.1"},
		{"chain to a steered name, NODATA", ask{name: "to-steered~", typ: "AAAA"}, "NOERROR aa\nan to-steered~ 300 IN CNAME steered~\n" + soa5},
		{"chain to a steered name, static type", ask{name: "to-steered~", typ: "TXT"}, "NOERROR aa\nan to-steered~ 300 IN CNAME steered~\nan steered~ 300 IN TXT \"static beside steering\""},
		{"chain to a steered name out of another zone", ask{name: "back.other.test.", typ: "A"}, "NOERROR aa\nan back.other.test. 300 IN CNAME steered~\nan steered~ 10 IN A 203.0.113.1"},
		{"wildcard chain to a steered name", ask{name: "y.walias~", typ: "A"}, "NOERROR aa\nan y.walias~ 300 IN CNAME steered~\nan steered~ 10 IN A 203.0.113.1"},
		{"nearest: no group", ask{name: "near~", typ: "A"}, "NOERROR aa\nan near~ 10 IN A 203.0.113.50"},
		{"nearest: by the longest prefix", ask{name: "near~", typ: "A", from: "10.1.7.9"}, "NOERROR aa\nan near~ 10 IN A 203.0.113.52"},
		{"nearest: IPv6", ask{name: "near~", typ: "A", from: "2001:db8:a::9"}, "NOERROR aa\nan near~ 10 IN A 203.0.113.51"},

		{"too long for UDP: whole RRsets", ask{name: "big~", typ: "TXT"}, "NOERROR aa tc"},
		{"too long for UDP: what fits", ask{name: "to-big~", typ: "TXT"}, "NOERROR aa tc\nan to-big~ 300 IN CNAME big~"},
		{"too many addresses", ask{name: "many~", typ: "A"}, "NOERROR aa tc"},
		{"class ANY is never authoritative", ask{name: "www~", typ: "A", edit: func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }}, "NOERROR\nan www~ 300 IN A 192.0.2.80"},
		{"class HESIOD", ask{name: "www~", typ: "A", edit: func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassHESIOD }}, "REFUSED"},
		{"NOTIFY", ask{name: "shop.example.", typ: "SOA", edit: func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }}, "NOTIMP"},
		{"UPDATE", ask{name: "shop.example.", typ: "SOA", edit: func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }}, "NOTIMP"},
		{"two questions (RFC 9619)", ask{name: "www~", typ: "A", edit: func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }}, "FORMERR"},
		{"no question", ask{name: "www~", typ: "A", edit: func(m *dns.Msg) { m.Question = nil }}, "FORMERR"},
		{"a question with an answer", ask{name: "www~", typ: "A", edit: func(m *dns.Msg) {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeA, Class: 1}, A: []byte{1, 2, 3, 4}}}
		}}, "FORMERR"},
	}
	for _, tt := range tests {
		q := tt.ask
		q.name = strings.ReplaceAll(q.name, "~", ".shop.example.")
		t.Run(tt.why, func(t *testing.T) {
			if diff := cmp.Diff(tt.out, brief(reply(t, v, q))); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", q.name, q.typ, diff)
			}
		})
	}
}

func TestChaos(t *testing.T) {
	ch := func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }
	hidden := rulesConfig
	hidden.HideVersion, hidden.ServerID = true, ""
	for _, tt := range []struct {
		cfg       Config
		name, typ string
		out       string
	}{
		{rulesConfig, "version.bind.", "TXT", "NOERROR aa\nan version.bind. 0 CH TXT \"pharos 1\""},
		{rulesConfig, "VERSION.Server.", "TXT", "NOERROR aa\nan VERSION.Server. 0 CH TXT \"pharos 1\""},
		{rulesConfig, "id.server.", "ANY", "NOERROR aa\nan id.server. 0 CH TXT \"edge-a1\""},
		{rulesConfig, "hostname.bind.", "TXT", "NOERROR aa\nan hostname.bind. 0 CH TXT \"edge-a1\""},
		{rulesConfig, "version.bind.", "A", "NOERROR aa"},
		{rulesConfig, "authors.bind.", "TXT", "REFUSED"},
		{rulesConfig, "www.shop.example.", "A", "REFUSED"},
		{hidden, "version.bind.", "TXT", "REFUSED"},
		{hidden, "id.server.", "TXT", "REFUSED"},
	} {
		v := newView(tt.cfg, rulesData(t))
		if diff := cmp.Diff(tt.out, brief(reply(t, v, ask{name: tt.name, typ: tt.typ, edit: ch}))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.name, tt.typ, diff)
		}
	}
}

// opt makes an OPT record of the options given.
func opt(size uint16, version uint8, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: options}
		o.SetUDPSize(size)
		o.SetVersion(version)
		m.Extra = append(m.Extra, o)
	}
}

func ecs(family uint16, bits, scope uint8, addr string) *dns.EDNS0_SUBNET {
	return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: bits, SourceScope: scope, Address: netip.MustParseAddr(addr).AsSlice()}
}

func TestEDNS(t *testing.T) {
	v := newView(rulesConfig, rulesData(t))
	const near = "near.shop.example."
	for _, tt := range []struct {
		why   string
		ask   ask
		rcode int
		tc    bool
		first string // address in the answer
		opts  string
	}{
		{"plain", ask{name: near, typ: "A", edit: opt(4096, 0)}, 0, false, "203.0.113.50", "1232"},
		{"cookies are passed over", ask{name: near, typ: "A", edit: opt(4096, 0, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})}, 0, false, "203.0.113.50", "1232"},
		{"BADVERS (RFC 6891 §6.1.3)", ask{name: near, typ: "A", edit: opt(4096, 1)}, dns.RcodeBadVers, false, "", "1232"},
		{"sizes below 512 are 512", ask{name: "big.shop.example.", typ: "TXT", edit: opt(0, 0)}, 0, true, "", "1232"},
		{"enough room", ask{name: "big.shop.example.", typ: "TXT", edit: opt(1232, 0)}, 0, false, "", "1232"},
		{"no more than ours", ask{name: "many.shop.example.", typ: "A", edit: opt(4096, 0)}, 0, true, "", "1232"},
		{"TCP has room", ask{name: "many.shop.example.", typ: "A", via: tcp, edit: opt(512, 0)}, 0, false, "203.0.113.0", "1232"},
		{"NSID (RFC 5001)", ask{name: near, typ: "A", edit: opt(1232, 0, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})}, 0, false, "203.0.113.50", "1232 nsid=edge-a1.city"},
		{"two OPT", ask{name: near, typ: "A", edit: func(m *dns.Msg) { opt(1232, 0)(m); opt(1232, 0)(m) }}, dns.RcodeFormatError, false, "", ""},
		{"TSIG without keys (RFC 8945 §5.2.1)", ask{name: near, typ: "A", edit: func(m *dns.Msg) { m.SetTsig("k.", dns.HmacSHA256, 300, 1) }}, dns.RcodeNotAuth, false, "", "BADKEY"},

		{"ECS: the network's group, and as far as it reaches", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(1, 24, 0, "10.1.1.0"))}, 0, false, "203.0.113.51", "1232 ecs=10.1.1.0/24/22"},
		{"ECS: the longest prefix", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(1, 24, 0, "10.1.7.0"))}, 0, false, "203.0.113.52", "1232 ecs=10.1.7.0/24/24"},
		{"ECS: no group", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(1, 24, 0, "172.16.0.0"))}, 0, false, "203.0.113.50", "1232 ecs=172.16.0.0/24/1"},
		{"ECS: IPv6", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(2, 56, 0, "2001:db8:a::"))}, 0, false, "203.0.113.51", "1232 ecs=2001:db8:a::/56/48"},
		{"ECS: the answer is the same for all", ask{name: "www.shop.example.", typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(1, 24, 0, "10.1.1.0"))}, 0, false, "192.0.2.80", "1232 ecs=10.1.1.0/24/0"},
		{"ECS: a client that gives nothing", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(1, 0, 0, "0.0.0.0"))}, 0, false, "203.0.113.50", "1232 ecs=0.0.0.0/0/0"},
		{"ECS: an untrusted source is not believed", ask{name: near, typ: "A", edit: opt(1232, 0, ecs(1, 24, 0, "10.1.1.0"))}, 0, false, "203.0.113.50", "1232"},
		{"ECS: a scope in a question", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, ecs(1, 24, 24, "10.1.1.0"))}, dns.RcodeFormatError, false, "", "1232"},
		{"ECS: bits past the prefix", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 20, 0, 10, 1, 1}})}, dns.RcodeFormatError, false, "", "1232"},
		{"ECS: unknown family", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 9, 8, 0, 10}})}, dns.RcodeFormatError, false, "", "1232"},
		{"ECS: cut off", ask{name: near, typ: "A", from: "192.0.2.9", edit: opt(1232, 0, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 24, 0, 10}})}, dns.RcodeFormatError, false, "", "1232"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			r := reply(t, v, tt.ask)
			var got []string
			for _, rr := range r.Extra {
				switch x := rr.(type) {
				case *dns.OPT:
					got = append(got, fmt.Sprint(x.UDPSize()))
					for _, o := range x.Option {
						switch o := o.(type) {
						case *dns.EDNS0_NSID:
							id, _ := hex.DecodeString(o.Nsid)
							got = append(got, "nsid="+string(id))
						case *dns.EDNS0_SUBNET:
							got = append(got, fmt.Sprintf("ecs=%v/%d/%d", o.Address, o.SourceNetmask, o.SourceScope))
						default:
							got = append(got, o.String())
						}
					}
				case *dns.TSIG:
					got = append(got, dns.RcodeToString[int(x.Error)])
				}
			}
			first := ""
			for _, rr := range r.Answer {
				if a, ok := rr.(*dns.A); ok && first == "" {
					first = a.A.String()
				}
			}
			if r.Rcode != tt.rcode || r.Truncated != tt.tc || first != tt.first || strings.Join(got, " ") != tt.opts {
				t.Errorf("got %s tc=%v %q opt %q; want %s tc=%v %q opt %q", dns.RcodeToString[r.Rcode], r.Truncated, first, strings.Join(got, " "),
					dns.RcodeToString[tt.rcode], tt.tc, tt.first, tt.opts)
			}
			if n := r.IsEdns0(); n != nil && r.Len() > 1232 && tt.ask.via == udp {
				t.Errorf("%d octets", r.Len())
			}
		})
	}
}

// TestMalformed sends packets that no library would make.
func TestMalformed(t *testing.T) {
	v := newView(rulesConfig, rulesData(t))
	const (
		head = "1234 0100 0001 0000 0000 0000"
		name = "03777777 0473686f70 076578616d706c65 00"
	)
	for _, tt := range []struct{ why, packet, want string }{
		{"11 octets", "1234 0100 0001 0000 0000 00", ""},
		{"a response", "1234 8100 0001 0000 0000 0000" + name + "0001 0001", ""},
		{"a header alone", head, "1234 8101 0000 0000 0000 0000"},
		{"a name cut off", head + "0377", "1234 8101 0000 0000 0000 0000"},
		{"a name without type", head + name, "1234 8101 0000 0000 0000 0000"},
		{"a label of 64 octets", head + "40" + strings.Repeat("61", 64) + "00 0001 0001", "1234 8101 0000 0000 0000 0000"},
		{"a name of 256 octets", head + strings.Repeat("0161", 127) + "0161 00 0001 0001", "1234 8101 0000 0000 0000 0000"},
		{"a pointer", head + "c00c 0001 0001", "1234 8101 0000 0000 0000 0000"},
		{"octets behind", head + name + "0001 0001 00", "1234 8101 0000 0000 0000 0000"},
		{"an OPT cut off", "1234 0100 0001 0000 0000 0001" + name + "0001 0001 00 0029 1000", "1234 8101 0000 0000 0000 0000"},
		{"an OPT with a name", "1234 0100 0001 0000 0000 0001" + name + "0001 0001 0161 00 0029 1000 00000000 0000", "1234 8101 0000 0000 0000 0000"},
		{"an OPT among the answers", "1234 0100 0001 0001 0000 0000" + name + "0001 0001 00 0029 1000 00000000 0000", "1234 8101 0000 0000 0000 0000"},
		{"an option cut off", "1234 0100 0001 0000 0000 0001" + name + "0001 0001 00 0029 1000 00000000 0003 000a00", "1234 8101 0001 0000 0000 0001" + name + "0001 0001 00 0029 04d0 00000000 0000"},
		{"opcode 15", "1234 7900 0001 0000 0000 0000" + name + "0001 0001", "1234 f904 0000 0000 0000 0000"},
		{"all flags set", "1234 07f0 0001 0000 0000 0000" + name + "ff00 0001", "1234 8500 0001 0000 0001 0000"},
	} {
		packet, want := unhex(t, tt.packet), unhex(t, tt.want)
		buf := make([]byte, bufSize)
		copy(buf, packet)
		var from sockaddr
		from.setAddr(netip.MustParseAddr("192.0.2.1"))
		n := newResponder(v, udp).respond(v, buf, len(packet), &from)
		if tt.why == "all flags set" { // only RD comes back
			n = min(n, headerLen)
		}
		if got := buf[:n]; string(got) != string(want) {
			t.Errorf("%s: answered %x, want %x", tt.why, got, want)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
