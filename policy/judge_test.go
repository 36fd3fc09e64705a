package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// judgeStory is a small world for orders: two production sites, a standby site and a witness.
func judgeStory(t *testing.T) *story {
	s := newStory(t)
	s.run(`site city-a city
site city-b city
site remote far standby
site watch city witness
service shop failover names=www.shop.example.,shop.example.
endpoint city-a 203.0.113.10,2001:db8::10 check=a
endpoint city-b 203.0.113.20 check=b
endpoint remote 198.51.100.10 check=r
service pay active-active names=pay.shop.example.
endpoint city-a 203.0.113.30 check=p
endpoint city-b 203.0.113.40 check=q
gate freeze open
assert in-service pay 2
start
probe a=ok b=ok r=ok p=ok q=ok
`)
	return s
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// block is n addresses in a row.
func block(first string, n int) (out []netip.Addr) {
	for a := netip.MustParseAddr(first); len(out) < n; a = a.Next() {
		out = append(out, a)
	}
	return out
}

// A pin may be as large as answers may be, in both families.
func TestJudgeTakesTheLargestPin(t *testing.T) {
	s := judgeStory(t)
	all := append(block("10.0.0.0", MaxAddresses), block("2001:db8::", MaxAddresses)...)
	if _, err := s.state.Judge(Order{
		Kind: KindOverride, Key: "service/shop", Author: "ann", Reason: "test",
		Override: &Override{Addresses: all, Unlisted: true},
	}, s.now); err != nil {
		t.Error(err)
	}
}

func TestJudgeRefuses(t *testing.T) {
	set := func(key string, v Override) Order {
		return Order{Kind: KindOverride, Key: key, Override: &v, Author: "ann", Reason: "test"}
	}
	site := Override{Site: "city-b"}
	for _, tt := range []struct {
		name  string
		given string // orders before it
		order Order
		want  string // in the error
		rule  string // of the refusal
	}{
		{"no author", "", Order{Kind: KindDrain, Key: "site/city-a", Reason: "x"}, "needs an author", ""},
		{"no reason", "", Order{Kind: KindDrain, Key: "site/city-a", Author: "ann", Reason: " "}, "needs a reason (--reason)", ""},
		{"no kind", "", Order{Author: "ann", Reason: "x"}, `no order of kind ""`, ""},
		{"negative time", "", Order{Kind: KindDrain, Key: "site/city-a", Author: "ann", Reason: "x", For: -1}, "want one second or longer", ""},
		{"time of a gate", "", Order{Kind: KindGate, Key: "freeze", Author: "ann", Reason: "x", For: time.Hour}, "--for goes with", ""},
		{"scope", "", set("names/x", site), "want name/NAME, service/SERVICE or all", ""},
		{"name", "", set("name/ww.shop.example", site), `did you mean "www.shop.example."?`, ""},
		{"nothing like it", "", set("name/mail.other.test", site), `no steered name "mail.other.test."`, ""},
		{"service", "", set("service/shopp", site), `did you mean "shop"?`, ""},
		{"site", "", set("service/shop", Override{Site: "cityb"}), `did you mean "city-b"?`, ""},
		{"witness", "", set("service/shop", Override{Site: "watch"}), "is a witness", ""},
		{"site without endpoint", "", set("service/pay", Override{Site: "remote"}), "has no endpoint in site remote: it has them in city-a, city-b", ""},
		{"neither", "", set("service/shop", Override{}), "needs addresses or a site", ""},
		{"nil", "", Order{Kind: KindOverride, Key: "all", Author: "ann", Reason: "x"}, "needs addresses or a site", ""},
		{"both", "", set("service/shop", Override{Site: "city-b", Addresses: addrs("203.0.113.10")}), "not both", ""},
		{"typing error", "", set("service/shop", Override{Addresses: addrs("203.0.113.11")}), "no endpoint of service shop, which has 203.0.113.10, 2001:db8::10", ""},
		{"typing error for all", "", set("all", Override{Addresses: addrs("203.0.113.11")}), "no endpoint of any service", ""},
		{"twice", "", set("service/shop", Override{Addresses: addrs("203.0.113.10", "::ffff:203.0.113.10")}), "given twice", ""},
		{"more than an answer holds", "", set("name/www.shop.example.", Override{Addresses: block("10.0.0.0", 257), Unlisted: true}), "257 IPv4 and 0 IPv6 addresses are given, want at most 256 of a family", ""},
		{"the same mapped", "", set("all", Override{Addresses: block("::ffff:10.0.0.0", 257), Unlisted: true}), "257 IPv4 and 0 IPv6", ""},
		{"unspecified", "", set("service/shop", Override{Addresses: addrs("0.0.0.0"), Unlisted: true}), "can't be answered", ""},
		{"ttl", "", set("service/shop", Override{Site: "city-b", TTL: time.Millisecond}), "--ttl 1ms: want from 1s", ""},
		{"keep other with a site", "", set("service/shop", Override{Site: "city-b", KeepOther: true}), "go with addresses", ""},
		{"keep other of both", "", set("service/shop", Override{Addresses: addrs("203.0.113.10", "2001:db8::10"), KeepOther: true}), "both are given", ""},
		{"clear nothing", "", Order{Kind: KindOverride, Key: "all", Clear: true, Author: "ann"}, "there is none at all", ""},
		{"clear another", "override service/shop site=city-b", Order{Kind: KindOverride, Key: "all", Clear: true, Author: "ann"}, "there is service/shop", ""},
		{"drained site", "drain endpoint/shop/city-a\ndrain site/city-a break=in-service", set("service/shop", Override{Site: "city-a"}), "is drained; end that with pharos undrain site/city-a", "drained-site"},
		{"lost site", "entry site-lost city-b by=x", set("service/shop", site), "declared lost by bob", "lost-site"},
		{"too few in service", "", set("service/pay", site), "leave service pay 1 healthy of at least 2", "in-service"},
		{"to an unlisted page", "", set("all", Override{Addresses: addrs("192.0.2.1"), Unlisted: true}), "leave service pay 0 healthy", "in-service"},
		{"closed gate", "gate-close freeze", set("service/shop", site), "gate freeze is closed; open it with pharos gate open freeze", "freeze"},
		{"drain of what", "", Order{Kind: KindDrain, Key: "city-a", Author: "ann", Reason: "x"}, "want site/NAME, endpoint/SERVICE/SITE or vip/PREFIX", ""},
		{"drain of no endpoint", "", Order{Kind: KindDrain, Key: "endpoint/pay/remote", Author: "ann", Reason: "x"}, "no endpoint in site remote", ""},
		{"drain of a network", "", Order{Kind: KindDrain, Key: "vip/203.0.113.0/24", Author: "ann", Reason: "x"}, "want an address or the prefix of one", ""},
		{"last endpoint", "drain endpoint/shop/city-a", Order{Kind: KindDrain, Key: "endpoint/shop/city-b", Author: "ann", Reason: "x"}, "last healthy endpoint of service shop", "last-endpoint"},
		{"last healthy endpoint", "probe 3x1s a=refused b=ok r=ok", Order{Kind: KindDrain, Key: "vip/203.0.113.20", Author: "ann", Reason: "x"}, "203.0.113.10 (city-a): down", "last-endpoint"},
		{"drain under an override", "override service/shop site=city-b", Order{Kind: KindDrain, Key: "site/city-b", Author: "ann", Reason: "x"}, "override service/shop of ann sends traffic to site city-b", "drained-site"},
		{"undrain", "", Order{Kind: KindDrain, Key: "site/city-b", Clear: true, Author: "ann"}, "no drain of site/city-b: there is none at all", ""},
		{"return of nothing", "", Order{Kind: KindReturn, Key: "shop", Author: "ann", Reason: "x"}, "no endpoint of service shop is up and held back", ""},
		{"return to where it is", "", Order{Kind: KindReturn, Key: "shop", ReturnTo: "city-a", Author: "ann", Reason: "x"}, "is in service already", ""},
		{"return abroad", "", Order{Kind: KindReturn, Key: "shop", ReturnTo: "remote", Author: "ann", Reason: "x"}, "outside the active metro", ""},
		{"return of the drained", "drain endpoint/shop/city-a", Order{Kind: KindReturn, Key: "shop", ReturnTo: "city-a", Author: "ann", Reason: "x"}, "drained in city-a", ""},
		{"gate", "", Order{Kind: KindGate, Key: "freez", Author: "ann", Reason: "x"}, `did you mean "freeze"?`, ""},
		{"assertion as a gate", "", Order{Kind: KindGate, Key: "in-service", Author: "ann", Reason: "x"}, `no gate "in-service"`, ""},
		{"alarm", "", Order{Kind: KindAck, Key: "all-down/shop", Author: "ann"}, "there is none at all", ""},
		{"rule to break", "", Order{Kind: KindDrain, Key: "site/city-a", Author: "ann", Reason: "x", BreakGlass: []string{"last-endpoin"}}, `did you mean "last-endpoint"?`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := judgeStory(t)
			s.run(tt.given)
			before := s.state.Revision()
			p, err := s.state.Judge(tt.order, s.now)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
			var refusal *Refusal
			if errors.As(err, &refusal) != (tt.rule != "") {
				t.Fatalf("error %#v, want a refusal: %v", err, tt.rule != "")
			}
			if refusal != nil && refusal.Rule != tt.rule {
				t.Errorf("rule %s, want %s", refusal.Rule, tt.rule)
			}
			if len(p.Entries) != 0 {
				t.Errorf("entries %v of a refused order", p.Entries)
			}
			if s.state.Revision() != before {
				t.Error("judging changed the revision")
			}
			if refusal == nil || !refusal.Break {
				return
			}
			tt.order.BreakGlass = []string{tt.rule}
			p, err = s.state.Judge(tt.order, s.now)
			for errors.As(err, &refusal) && refusal.Break { // it may meet more than one rule
				tt.order.BreakGlass = append(tt.order.BreakGlass, refusal.Rule)
				p, err = s.state.Judge(tt.order, s.now)
			}
			if err != nil || len(p.Entries) != 1 || len(p.Entries[0].BreakGlass) != len(tt.order.BreakGlass) {
				t.Errorf("with the glass broken: %v, %+v", err, p.Entries)
			}
		})
	}
}

// An order given in knowledge of another always wins, however far ahead that one is stamped.
func TestOrderIsLaterThanWhatItKnew(t *testing.T) {
	s := judgeStory(t)
	far := Entry{
		Kind: KindDrain, Key: "site/city-a", Author: "bob", Reason: "a clock that is wrong",
		Stamp: Stamp{Wall: s.now.Add(48 * time.Hour).UnixMilli(), Logical: 7, Node: "zz"},
	}
	s.effects(Step(s.state, Ordered{far}, s.now))
	if _, ok := s.state.raised["clock/zz"]; !ok {
		t.Error("no alarm of a stamp from the future")
	}
	p, err := s.state.Judge(Order{Kind: KindDrain, Key: "site/city-a", Clear: true, Author: "ann"}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	undrain := p.Entries[0]
	if undrain.Stamp.Compare(far.Stamp) <= 0 || undrain.Ends != far.Stamp {
		t.Errorf("undrain %+v does not end %+v", undrain, far)
	}
	s.effects(Step(s.state, Ordered(p.Entries), s.now))
	if drains := s.state.Status(s.now).Drains; len(drains) != 0 {
		t.Errorf("drains %+v", drains)
	}
	// The far-off stamp did not move the clock of other keys.
	p, err = s.state.Judge(Order{Kind: KindDrain, Key: "site/city-b", Author: "ann", Reason: "x", BreakGlass: []string{"in-service"}}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Entries[0].Stamp.Time(); got.After(s.now.Add(maxSkew)) {
		t.Errorf("an order of another key is stamped %v", got)
	}
}

func TestStampText(t *testing.T) {
	for _, st := range []Stamp{{}, {Wall: 1, Node: "a"}, {Wall: 1772366400000, Logical: 3, Node: "edge.a1"}} {
		got, err := ParseStamp(st.String())
		if err != nil || got != st {
			t.Errorf("%q reads as %+v, %v", st, got, err)
		}
	}
	for _, bad := range []string{"", "1", "1.2", "x.0.a", "1.x.a", "1.-1.a"} {
		if st, err := ParseStamp(bad); err == nil {
			t.Errorf("%q reads as %+v", bad, st)
		}
	}
}

// TestOrdersOfOneMoment wants an order stamped later than one that is on its way to the disk, also where the stamps of its
// key are far ahead, and no later once that is there.
func TestOrdersOfOneMoment(t *testing.T) {
	now := time.UnixMilli(10_000)
	cfg := &Config{Self: "a", Sites: []Site{{ID: "s", Metro: "m"}, {ID: "t", Metro: "m"}}, Nodes: []Node{{ID: "a", Site: "s", Probes: true}}}
	for name, stored := range map[string][]Entry{
		"alone":                nil,
		"behind a clock ahead": {{Kind: KindDrain, Key: "site/t", Stamp: Stamp{Wall: 90_000_000, Node: "b"}, Author: "ann", Reason: "r"}},
	} {
		s, _ := Start(cfg, Stored{Stamped: now, Entries: stored}, now)
		order := func(clear bool) []Entry {
			p, err := s.Judge(Order{Kind: KindDrain, Key: "site/t", Clear: clear, Author: "ann", Reason: "r", BreakGlass: builtinRules}, now)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return p.Entries
		}
		first := order(false)
		Step(s, Promised(first), now)
		second := order(false)
		if first[0].Stamp.Compare(second[0].Stamp) >= 0 {
			t.Errorf("%s: %v, and the order after it %v", name, first[0].Stamp, second[0].Stamp)
		}
		Step(s, Ordered(first), now)
		if len(s.promised) > 0 {
			t.Errorf("%s: still promised: %v", name, s.promised)
		}
		if last := order(true); first[0].Stamp.Compare(last[0].Stamp) >= 0 || last[0].Ends != first[0].Stamp {
			t.Errorf("%s: %v, and its end %v of %v", name, first[0].Stamp, last[0].Stamp, last[0].Ends)
		}
	}
}

// What is suspended beside an override would count again, and suspend it, once the override is given anew: so that is refused.
func TestAnOverrideGivenAgainBesideWhatItSuspends(t *testing.T) {
	for _, tt := range []struct{ order, rule string }{{"drain site/city-b", ruleDrainedSite}, {"site-lost city-b", ruleLostSite}} {
		s, now := upState(threeSites(bigConfig(1)))
		give := func(o Order) error {
			now = now.Add(time.Second)
			p, err := s.Judge(o, now)
			if err == nil {
				Step(s, Ordered(p.Entries), now)
			}
			return err
		}
		o := Order{Kind: KindOverride, Key: "all", Override: &Override{Site: "city-b"}, Author: "ann", Reason: "test"}
		if err := give(o); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		kind, key, _ := strings.Cut(tt.order, " ")
		Step(s, Merged{{Kind: Kind(kind), Key: key, Author: "bob", Reason: "met", Value: encode(Drain{}), Stamp: Stamp{Wall: now.UnixMilli(), Node: "edge-r"}}}, now)
		if len(s.orders.suspended) != 1 {
			t.Fatalf("%s: suspended are %v", tt.order, s.orders.suspended)
		}
		var refused *Refusal
		if err := give(o); !errors.As(err, &refused) || refused.Rule != tt.rule {
			t.Errorf("%s: %v, want a refusal by %s", tt.order, err, tt.rule)
		}
		if v := s.orders.all; v == nil || !v.followed() {
			t.Errorf("%s: the override is not followed: %+v", tt.order, v)
		}
	}
}
