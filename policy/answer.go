package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// decision is what a name is answered with and why, before it is made an Answer.
type decision struct {
	bound    bound
	override *override
	without  *decision // of a pin that leaves the other family alone: what that family is answered by
	chain    chain
	set      []bool   // the endpoints answered with; nil for a pin
	by       Steering // how the set is handed out
	fail     bool
	rule     string
	fallback string // why what was decided can't be followed; "" when it is
	views    []view
	pending  string // what may soon change it
}

// resolve finds what a service is answered with inside a bound: the newest move's set
// less what may not be chosen any more, or what the rules put in its place.
// It rests on entries alone, never on health.
func (s *State) resolve(svc int, b bound, c chain, views []view) decision {
	in := &s.ix.services[svc]
	d := decision{bound: b, override: b.override, chain: c, by: in.Steer, rule: "move", views: views}
	if b.override != nil {
		d.rule = "site override"
	}
	eligible := func(v *view) bool { return v.eligible }
	noneUp := c.move != nil && c.move.NoneUp
	if noneUp && in.AllDown != AllDownLast && anyView(views, eligible) {
		d.rule = "all_down: " + in.AllDown.String()
		switch in.AllDown {
		case AllDownServfail:
			d.fail = true
		case AllDownAll:
			d.set, d.by = filter(views, eligible), ActiveActive
		case AllDownPrimary:
			d.set = in.first(views, eligible)
		}
		return d
	}
	if noneUp {
		d.rule = "all_down: last"
	}
	d.set = filter(views, func(v *view) bool { return v.inSet && v.eligible })
	if slices.Contains(d.set, true) {
		return d
	}
	switch {
	case c.move == nil && anyView(views, eligible):
		d.set, d.fallback = in.first(views, eligible), "nothing is decided here yet: the first that may be is answered"
	case anyView(views, eligible):
		d.set, d.fallback = in.first(views, eligible), "no endpoint of the newest move may be chosen: the first that may be is answered"
	case anyView(views, func(v *view) bool { return v.inSet && v.inside }):
		d.set = filter(views, func(v *view) bool { return v.inSet && v.inside })
		d.fallback = "every endpoint is drained or lost: the last set is answered as it was"
	case anyView(views, func(v *view) bool { return v.inside }):
		d.set = in.first(views, func(v *view) bool { return v.inside })
		d.fallback = "every endpoint is drained or lost: the first is answered all the same"
	case anyView(views, func(v *view) bool { return v.inSet }):
		d.set = filter(views, func(v *view) bool { return v.inSet })
		d.fallback = "the configuration has no endpoint there any more: the last set is answered as it was"
	default:
		d.fail, d.rule = true, "no endpoint"
	}
	return d
}

func filter(views []view, ok func(*view) bool) []bool {
	set := make([]bool, len(views))
	for e := range views {
		set[e] = ok(&views[e])
	}
	return set
}

// first is the most preferred endpoint that is ok.
func (in *serviceInfo) first(views []view, ok func(*view) bool) []bool {
	set := make([]bool, len(views))
	for _, e := range in.preference() {
		if ok(&views[e]) {
			set[e] = true
			break
		}
	}
	return set
}

// share is one endpoint's part in an answer.
type share struct {
	ep     int
	weight uint32 // all zero: a union
}

// choices makes the answer of each client group out of a decision.
func (s *State) choices(in *serviceInfo, d decision) []Choice {
	switch {
	case d.override != nil && d.override.site < 0:
		return s.pinned(in, d)
	case d.fail:
		return []Choice{{}}
	}
	if d.by != Nearest {
		return []Choice{in.choice(s.shares(in, d, -1))}
	}
	list := []Choice{in.choice(s.shares(in, d, -1))}
	same := true
	for _, g := range s.ix.groups {
		c := in.choice(s.shares(in, d, s.ix.siteOf[g.Site]))
		same = same && equalChoices(c, list[0])
		list = append(list, c)
	}
	if same {
		return list[:1]
	}
	return list
}

// shares hands a set out for clients nearest to a site (-1: none).
func (s *State) shares(in *serviceInfo, d decision, site int) []share {
	switch d.by {
	case ActiveActive:
		return s.rising(in, d, in.members(d.set), func(int) uint32 { return 100 })
	case Weighted:
		return s.weighted(in, d)
	}
	return s.byPlace(in, d, site)
}

func (in *serviceInfo) members(set []bool) []int {
	var list []int
	for e, ok := range set {
		if ok {
			list = append(list, e)
		}
	}
	return list
}

// rising gives endpoints their weights, less what a ramp keeps back. Without
// a ramp a union of equals needs none.
func (s *State) rising(in *serviceInfo, d decision, eps []int, weight func(e int) uint32) []share {
	list, ramps, equal := make([]share, len(eps)), false, true
	for i, e := range eps {
		percent := s.percent(in, d.chain.mark(in.eps[e].ID))
		ramps = ramps || percent < 100
		equal = equal && percent == s.percent(in, d.chain.mark(in.eps[eps[0]].ID))
		list[i] = share{e, weight(e) * uint32(percent)}
	}
	if d.by != Weighted && (!ramps || equal) {
		for i := range list {
			list[i].weight = 0
		}
	}
	return list
}

// weighted leaves endpoints of weight 0 out while another is in the set.
func (s *State) weighted(in *serviceInfo, d decision) []share {
	eps := in.members(d.set)
	heavy := slices.DeleteFunc(slices.Clone(eps), func(e int) bool { return in.eps[e].Weight == 0 })
	if len(heavy) == 0 {
		return s.reduced(s.rising(in, d, eps, func(int) uint32 { return 1 }))
	}
	return s.reduced(s.rising(in, d, heavy, func(e int) uint32 { return in.eps[e].Weight }))
}

// reduced divides weights by what they have in common.
func (s *State) reduced(list []share) []share {
	var g uint32
	for _, m := range list {
		g = gcd(g, m.weight)
	}
	if g > 1 {
		for i := range list {
			list[i].weight /= g
		}
	}
	return list
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// byPlace answers with the first place of the set: the one at the clients' site, then by
// order of preference. A place that comes back by a ramp shares with the next one.
func (s *State) byPlace(in *serviceInfo, d decision, site int) []share {
	var places [][]int
	for _, place := range in.places {
		var eps []int
		for _, e := range place {
			if d.set[e] {
				eps = append(eps, e)
			}
		}
		if len(eps) == 0 {
			continue
		}
		if site >= 0 && in.eps[eps[0]].inSite(site) {
			places = slices.Insert(places, 0, eps)
			site = -1
		} else {
			places = append(places, eps)
		}
	}
	if len(places) == 0 {
		return nil
	}
	first, percent := places[0], 0
	for _, e := range first {
		percent = max(percent, s.percent(in, d.chain.mark(in.eps[e].ID)))
	}
	if percent < 100 {
		for _, next := range places[1:] {
			if s.percent(in, d.chain.mark(in.eps[next[0]].ID)) < 100 {
				continue
			}
			return s.reduced(mix(first, next, uint32(percent)))
		}
	}
	return s.reduced(s.rising(in, d, first, func(int) uint32 { return 1 }))
}

// mix gives the first place percent of the answers and the next one the rest.
func mix(first, next []int, percent uint32) []share {
	var list []share
	for _, e := range first {
		list = append(list, share{e, percent * uint32(len(next))})
	}
	for _, e := range next {
		list = append(list, share{e, (100 - percent) * uint32(len(first))})
	}
	return list
}

// choice makes the RRsets of both families. Where one member is picked for each
// answer both families list the same members, so that they agree about the site.
func (in *serviceInfo) choice(list []share) Choice {
	picked := slices.ContainsFunc(list, func(m share) bool { return m.weight > 0 })
	var c Choice
	for _, m := range list {
		ep := &in.eps[m.ep]
		v4, v6 := families(ep.Addresses)
		site := ep.At[0].Site // a shared VIP counts for the first of its sites
		if picked || len(v4) > 0 {
			c.A = append(c.A, Member{Site: site, Weight: m.weight, Addrs: v4})
		}
		if picked || len(v6) > 0 {
			c.AAAA = append(c.AAAA, Member{Site: site, Weight: m.weight, Addrs: v6})
		}
	}
	return c
}

func families(addrs []netip.Addr) (v4, v6 []netip.Addr) {
	for _, a := range addrs {
		if a.Unmap().Is4() {
			v4 = append(v4, a.Unmap())
		} else {
			v6 = append(v6, a)
		}
	}
	return v4, v6
}

// pinned is the answer of addresses that a person named. The family that they are not of has none, or is answered
// as without them.
func (s *State) pinned(in *serviceInfo, d decision) []Choice {
	var c Choice
	for _, a := range d.override.Addresses {
		site := SiteID("")
		if e := in.endpointAt(a); e >= 0 {
			site = in.eps[e].At[0].Site
		}
		m := Member{Site: site, Addrs: []netip.Addr{a.Unmap()}}
		if a.Unmap().Is4() {
			c.A = append(c.A, m)
		} else {
			c.AAAA = append(c.AAAA, m)
		}
	}
	if d.without == nil {
		return []Choice{c}
	}
	list := slices.Clone(s.choices(in, *d.without))
	for i := range list {
		if len(c.A) > 0 {
			list[i].A = c.A
		}
		if len(c.AAAA) > 0 {
			list[i].AAAA = c.AAAA
		}
	}
	return list
}

// seconds is a TTL as DNS has it: whole seconds, at least one.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return max(uint32(d/time.Second), 1)
}

// answer makes one name's answer, and the TTL that it has while nothing is pending.
func (s *State) answer(svc, name int, d decision, main []Choice) (*Answer, uint32) {
	in := &s.ix.services[svc]
	a := &Answer{Name: in.Names[name], Service: in.ID, PickBy: in.PickBy, Fail: d.fail}
	ttl := in.TTL
	a.Choices = main
	if d.override != nil {
		a.Choices = s.choices(in, d)
	}
	if s.hold != nil {
		a.Fail, a.Choices = true, []Choice{{}}
	}
	if d.override != nil && d.override.TTL > 0 {
		ttl = d.override.TTL
	}
	full := seconds(ttl)
	a.TTL = full
	if floor := seconds(in.TTLFloor); s.pendingFor(d) != "" && floor > 0 && floor < full {
		a.TTL = floor
	}
	a.NegTTL = min(a.TTL, seconds(in.TTL))
	return a, full
}

// pendingFor says what may soon change a name's answer, or "".
func (s *State) pendingFor(d decision) string {
	if why := s.expiryNear(d.override); why != "" {
		return why
	}
	if d.without != nil {
		return s.pendingFor(*d.without)
	}
	return d.pending
}

// answerText is an answer in words: "203.0.113.10 (city-a, up)".
func (s *State) answerText(a *Answer) string {
	if a == nil {
		return "nothing"
	}
	if a.Fail {
		return "SERVFAIL"
	}
	text := s.choiceText(a, a.Choices[0])
	for i, g := range s.ix.groups {
		if i+1 < len(a.Choices) && !equalChoices(a.Choices[0], a.Choices[i+1]) {
			text += fmt.Sprintf("; clients of %s: %s", g.Site, s.choiceText(a, a.Choices[i+1]))
		}
	}
	return text
}

func (s *State) choiceText(a *Answer, c Choice) string {
	in := &s.ix.services[s.ix.svcOf[a.Service]]
	var total uint32
	for _, m := range c.A {
		total += m.Weight
	}
	for i := range c.AAAA {
		if len(c.A) == 0 {
			total += c.AAAA[i].Weight
		}
	}
	var parts []string
	for _, m := range slices.Concat(c.A, c.AAAA) {
		share := ""
		if total > m.Weight {
			share = fmt.Sprintf(", %.3g %%", 100*float64(m.Weight)/float64(total))
		}
		for _, addr := range m.Addrs {
			parts = append(parts, addr.String()+" ("+s.addrText(in, addr, m.Site)+share+")")
		}
	}
	if len(parts) == 0 {
		return "no address"
	}
	return strings.Join(parts, " ")
}

func (s *State) addrText(in *serviceInfo, addr netip.Addr, site SiteID) string {
	e := in.endpointAt(addr)
	if e < 0 {
		return "not an endpoint"
	}
	health, _ := s.anyHealth(&in.eps[e])
	where := in.eps[e].where()
	if site != "" && len(in.eps[e].at) == 1 {
		where = string(site)
	}
	return where + ", " + health.String()
}
