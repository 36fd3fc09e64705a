package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// span is the time in which an order was in force. Tombstones tell it of orders
// that have ended, so that every node finds the same orders in conflict.
type span struct {
	kind   Kind
	key    string
	site   SiteID // an override's
	svc    int
	from   Stamp
	until  Stamp // zero: still
	expiry time.Time
	glass  []string
	live   *order // nil: ended
	held   bool   // suspended, or was until it ended
}

// words are the order, as the command that gave it.
func (a *span) words() string {
	if a.live != nil {
		return OrderText([]Entry{a.live.Entry})
	}
	return verb(Entry{Kind: a.kind}) + " " + orderKey(a.kind, a.key)
}

func (a *span) at(b Stamp) bool {
	if a.from.Compare(b) >= 0 || a.until != (Stamp{}) && b.Compare(a.until) >= 0 {
		return false
	}
	return a.expiry.IsZero() || b.Time().Before(a.expiry)
}

func (a *span) broke(rules ...string) bool {
	return slices.ContainsFunc(rules, func(r string) bool { return slices.Contains(a.glass, r) })
}

// suspend finds the orders that are legal each and not together: of two that
// meet, the later is kept and not followed. Judge refuses such orders, so they come only from
// nodes that did not know of one another's.
func (s *State) suspend(o *orders) {
	spans := s.spans(o)
	before := met{endpoints: map[ServiceID][]*span{}, vips: map[string][]*span{}}
	var vips map[string][]int
	for i := range spans {
		later := &spans[i]
		for _, earlier := range before.facing(later) {
			if !later.held && !earlier.held && earlier.at(later.from) {
				s.suspendPair(o, earlier, later)
			}
		}
		if vips == nil && strings.HasPrefix(later.key, "vip/") {
			vips = s.ix.byVIP()
		}
		switch {
		case later.held:
		case later.kind == KindSiteLost:
			s.suspendLast(o, &before, later)
		case later.kind == KindDrain:
			s.suspendEmptying(o, &before, later, vips)
		}
		before.add(later)
	}
}

// met are spans by what they may meet, so that thousands of them cost no search.
type met struct {
	overrides, sites []*span
	endpoints        map[ServiceID][]*span
	vips             map[string][]*span
}

func (m *met) add(a *span) {
	scope, rest, _ := strings.Cut(a.key, "/")
	switch {
	case a.kind == KindOverride:
		m.overrides = append(m.overrides, a)
	case a.offSite() != "":
		m.sites = append(m.sites, a)
	case scope == "endpoint":
		svc, _, _ := strings.Cut(rest, "/")
		m.endpoints[ServiceID(svc)] = append(m.endpoints[ServiceID(svc)], a)
	case scope == "vip":
		m.vips[rest] = append(m.vips[rest], a)
	}
}

// facing are those of which each may meet a as an override meets a drain of its site.
func (m *met) facing(a *span) []*span {
	switch {
	case a.kind == KindOverride:
		return m.sites
	case a.offSite() != "":
		return m.overrides
	}
	return nil
}

// off are those that take something out of a service at the moment of later.
func (m *met) off(in *serviceInfo, later *span) []*span {
	var list []*span
	keep := func(spans []*span) {
		for _, a := range spans {
			if !a.held && a.at(later.from) {
				list = append(list, a)
			}
		}
	}
	keep(m.sites)
	keep(m.endpoints[in.ID])
	if len(m.vips) > 0 {
		for e := range in.eps {
			for _, addr := range in.eps[e].Addresses {
				keep(m.vips[vipKey(addr)])
			}
		}
	}
	return list
}

// byVIP lists the services that answer with an address.
func (x *index) byVIP() map[string][]int {
	of := map[string][]int{}
	for i := range x.services {
		for e := range x.services[i].eps {
			for _, addr := range x.services[i].eps[e].Addresses {
				of[vipKey(addr)] = addOnce(of[vipKey(addr)], i)
			}
		}
	}
	return of
}

// reach lists the services that a drain or a loss may take something from.
func (s *State) reach(a *span, vips map[string][]int) []int {
	scope, rest, _ := strings.Cut(a.key, "/")
	switch site, ok := s.ix.siteOf[a.offSite()]; {
	case ok:
		return s.ix.bySite[site]
	case a.kind == KindDrain && scope == "endpoint":
		id, _, _ := strings.Cut(rest, "/")
		if svc, ok := s.ix.svcOf[ServiceID(id)]; ok {
			return []int{svc}
		}
	case a.kind == KindDrain && scope == "vip":
		return vips[rest]
	}
	return nil
}

// spans lists overrides onto sites, drains and lost sites, in force or ended, by stamp.
func (s *State) spans(o *orders) []span {
	var list []span
	for _, v := range o.overrides {
		if v.site >= 0 {
			list = append(list, span{
				kind: v.Kind, key: v.Key, site: v.Override.Site, svc: v.svc,
				from: v.Stamp, glass: v.BreakGlass, live: &v.order,
			})
		}
	}
	for _, d := range o.drains {
		list = append(list, span{kind: d.Kind, key: d.Key, from: d.Stamp, expiry: d.Expires, glass: d.BreakGlass, live: d})
	}
	for site, l := range o.lost {
		list = append(list, span{kind: l.Kind, key: string(site), from: l.Stamp, glass: l.BreakGlass, live: l})
	}
	for _, e := range s.entries {
		if a, ok := s.endedSpan(e); ok {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b span) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key))
	})
	return list
}

// Needed says that a tombstone still decides, so that it is to be kept: the end of an order beside which another may be
// suspended, which it stays until a person gives it again or clears it, and a readmission, after which return is by hand.
func (s *State) Needed(e Entry) bool {
	switch e.Kind {
	case KindOverride, KindDrain:
		return len(s.orders.suspended) > 0
	case KindSiteLost:
		_, there := s.ix.siteOf[SiteID(e.Key)]
		return there
	}
	return false
}

// endedSpan is the span of an order that is not in force any more: ended by a
// tombstone, by its expiry, or fallen.
func (s *State) endedSpan(e Entry) (span, bool) {
	a := span{kind: e.Kind, key: e.Key, from: e.Stamp, expiry: e.Expires, glass: e.BreakGlass}
	switch fall, fallen := s.entries[EntryKey{KindFall, e.Stamp.String()}]; {
	case e.Deleted && e.Ends != Stamp{}:
		a.from, a.until, a.expiry = e.Ends, e.Stamp, time.Time{}
	case e.Deleted:
		return a, false
	case e.Kind == KindOverride && fallen:
		a.until, a.expiry = fall.Stamp, time.Time{}
	case e.Kind == KindDrain && e.over(s.now):
	default:
		return a, false
	}
	switch e.Kind {
	case KindOverride:
		v, ok := decode[Override](e)
		a.site = v.Site
		return a, ok && v.Site != ""
	case KindDrain, KindSiteLost:
		return a, true
	}
	return a, false
}

// sameSuspended says whether two readings suspend the same orders.
func sameSuspended(a, b *orders) bool {
	return slices.EqualFunc(a.suspended, b.suspended, func(x, y *order) bool { return x.Kind == y.Kind && x.Stamp == y.Stamp })
}

// suspendWarnings tell which other orders new ones suspend, or have come into force: a failover, since what leaves a service
// no endpoint goes by its active metro.
func (s *State) suspendWarnings(after *State, given []Entry) []string {
	other := func(o *order, in *orders) bool {
		return !slices.ContainsFunc(in.suspended, func(x *order) bool { return x.Kind == o.Kind && x.Stamp == o.Stamp }) &&
			!slices.ContainsFunc(given, func(e Entry) bool { return e.EntryKey() == o.EntryKey() })
	}
	var list []string
	for _, o := range after.orders.suspended {
		if other(o, s.orders) {
			list = append(list, fmt.Sprintf("suspends %s by %s: %s", OrderText([]Entry{o.Entry}), o.Author, o.suspended))
		}
	}
	for _, o := range s.orders.suspended {
		if other(o, after.orders) {
			list = append(list, fmt.Sprintf("has %s by %s, which is suspended, come into force", OrderText([]Entry{o.Entry}), o.Author))
		}
	}
	return list
}

// offSite is the site that a drain or a loss takes out, or "".
func (a *span) offSite() SiteID {
	if a.kind == KindSiteLost {
		return SiteID(a.key)
	}
	if site, ok := strings.CutPrefix(a.key, "site/"); ok && a.kind == KindDrain {
		return SiteID(site)
	}
	return ""
}

// suspendPair suspends an override that meets a drain or loss of its site.
func (s *State) suspendPair(o *orders, earlier, later *span) {
	off, over := earlier, later
	if earlier.kind == KindOverride {
		off, over = later, earlier
	}
	rule := offRule(off.kind)
	if off.offSite() != over.site || later.broke(rule, ruleLastEndpoint) {
		return
	}
	o.hold(later, fmt.Sprintf("it meets %s, given before it (rule %s)", earlier.words(), rule))
}

// suspendLast suspends the loss that, with those before it, leaves no site to decide. What a loss
// takes from a service does not matter: it says what is, and the answer goes on without.
func (s *State) suspendLast(o *orders, before *met, later *span) {
	voted := false
	for site, nodes := range s.ix.probers {
		id := s.ix.sites[site].ID
		if len(nodes) == 0 {
			continue
		}
		voted = true
		if id != SiteID(later.key) && !slices.ContainsFunc(before.sites, func(a *span) bool {
			return a.kind == KindSiteLost && !a.held && a.key == string(id) && a.at(later.from)
		}) {
			return
		}
	}
	if voted {
		o.hold(later, fmt.Sprintf("with those before it, it leaves no site to decide (rule %s)", ruleElectorate))
	}
}

// suspendEmptying suspends a drain that, together with the drains and losses before it,
// leaves a service without a candidate, though it alone would not.
func (s *State) suspendEmptying(o *orders, before *met, later *span, vips map[string][]int) {
	if later.broke(ruleLastEndpoint) {
		return
	}
	for _, i := range s.reach(later, vips) {
		off := before.off(&s.ix.services[i], later)
		if len(off) == 0 || s.empties(o, i, off) {
			continue
		}
		if s.empties(o, i, append(off, later)) && !s.empties(o, i, []*span{later}) {
			o.hold(later, fmt.Sprintf("with the orders before it, it leaves service %s no endpoint (rule %s)",
				s.ix.services[i].ID, ruleLastEndpoint))
			return
		}
	}
}

// empties says whether drains and losses take every candidate of a service.
func (s *State) empties(o *orders, svc int, off []*span) bool {
	in := &s.ix.services[svc]
	b := s.mainBound(o, svc)
	some := false
	for e := range in.eps {
		for _, at := range in.eps[e].at {
			if !b.takes(s.ix, at.site) {
				continue
			}
			some = true
			if !slices.ContainsFunc(off, func(a *span) bool { return a.covers(in, &in.eps[e], s.ix.sites[at.site].ID) }) {
				return false
			}
		}
	}
	return some
}

// covers says whether a drain or a loss takes an endpoint out in a site.
func (a *span) covers(in *serviceInfo, ep *endpointInfo, site SiteID) bool {
	if off := a.offSite(); off != "" {
		return off == site
	}
	scope, rest, _ := strings.Cut(a.key, "/")
	switch scope {
	case "endpoint":
		return rest == string(in.ID)+"/"+string(site)
	case "vip":
		for _, addr := range ep.Addresses {
			if vipKey(addr) == rest {
				return true
			}
		}
	}
	return false
}

func (o *orders) hold(a *span, why string) {
	a.held = true
	if a.live == nil {
		return
	}
	a.live.suspended = why
	a.live.way = clearCommand(a.kind, a.key)
	o.suspended = append(o.suspended, a.live)
}

// offRule names the rule that an override onto a site meets.
func offRule(kind Kind) string {
	if kind == KindSiteLost {
		return ruleLostSite
	}
	return ruleDrainedSite
}
