package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// orders is what the entries of people say at one moment. It is made anew
// when one comes or one's time is over, and never changed.
type orders struct {
	overrides []*override // in force, suspended or stray; by stamp
	byName    map[string]*override
	bySvc     map[ServiceID]*override
	all       *override
	drains    []*order // in force or suspended; by stamp
	lost      map[SiteID]*order
	// freed is when a drain ended that is not there any more, by its key;
	// readmitted the same for lost sites.
	freed      map[string]time.Time
	readmitted map[SiteID]time.Time
	siteOff    map[SiteID]bool // drained
	endpOff    map[string]bool // endpoint/SERVICE/SITE
	vipOff     map[netip.Addr]bool
	drainEnds  map[string]time.Time // of the drains in force; zero: a person ends it
	ending     map[endingAt]string  // the drain whose end is near
	frees      map[string][]string  // what may be chosen then, by the drain
	metros     map[ServiceID]epoch
	returns    map[ServiceID]returnOrder
	gates      map[string]bool // open
	blocks     []Entry         // drills, by key
	suspended  []*order
	ahead      *Entry      // an order stamped too far ahead of this node's clock
	wakes      []time.Time // later than now: expiries and the warnings of them
}

// order is one entry of a person, with why it is suspended if it is.
type order struct {
	Entry
	suspended string
	way       string
}

type override struct {
	order
	Override
	svc  int // of a name or service scope; -1: every service
	name int // of a name scope; -1: every name
	site int // -1: a pin
	// stray is why it reaches nothing that is configured; "": it does. It is kept, and
	// applies again if what it names comes back.
	stray string
}

// followed says whether an override decides answers.
func (v *override) followed() bool { return v.suspended == "" && v.stray == "" }

type epoch struct {
	stamp Stamp
	metro MetroID
}

type returnOrder struct {
	to    SiteID
	given time.Time
}

// warnAhead is how long before its expiry an override or a drain is warned of.
const warnAhead = 15 * time.Minute

// warnAt is when to warn of an expiry: 15 minutes ahead, but not before half of
// an order's time is over, so that a short one does not start with a warning.
func (e Entry) warnAt() time.Time {
	half := e.Expires.Add(-e.Expires.Sub(e.Stamp.Time()) / 2)
	if at := e.Expires.Add(-warnAhead); at.After(half) {
		return at
	}
	return half
}

// next is when the orders have to be read again.
func (o *orders) next() time.Time {
	if o == nil {
		return time.Time{}
	}
	var next time.Time
	for _, at := range o.wakes {
		next = sooner(next, at)
	}
	return next
}

func (o *orders) wakeAt(now time.Time, times ...time.Time) {
	for _, at := range times {
		if at.After(now) {
			o.wakes = append(o.wakes, at)
		}
	}
}

// readOrders reads what is in force at s.now.
func (s *State) readOrders() *orders {
	o := &orders{
		byName: map[string]*override{}, bySvc: map[ServiceID]*override{},
		lost: map[SiteID]*order{}, freed: map[string]time.Time{}, readmitted: map[SiteID]time.Time{},
		siteOff: map[SiteID]bool{}, endpOff: map[string]bool{}, vipOff: map[netip.Addr]bool{},
		drainEnds: map[string]time.Time{}, ending: map[endingAt]string{}, frees: map[string][]string{},
		metros: map[ServiceID]epoch{}, returns: map[ServiceID]returnOrder{}, gates: map[string]bool{},
	}
	for name, r := range s.ix.gates {
		o.gates[name] = r.GateOpen
	}
	for _, e := range s.entries {
		s.readOrder(o, e)
	}
	byStamp := func(a, b Entry) int { return cmp.Or(a.Stamp.Compare(b.Stamp), cmp.Compare(a.Key, b.Key)) }
	slices.SortFunc(o.overrides, func(a, b *override) int { return byStamp(a.Entry, b.Entry) })
	slices.SortFunc(o.blocks, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(o.drains, func(a, b *order) int { return byStamp(a.Entry, b.Entry) })
	s.suspend(o)
	for _, v := range o.overrides {
		if v.followed() {
			o.place(s.ix, v)
		}
	}
	for _, d := range o.drains {
		if d.suspended == "" {
			o.turnOff(d.Key)
			o.drainEnds[d.Key] = d.Expires
		}
	}
	s.findEnding(o)
	return o
}

func (s *State) readOrder(o *orders, e Entry) {
	if over := e.Stamp.Time().Add(-maxSkew); over.After(s.now) && e.Kind != KindMove && e.Kind != KindFall && e.Kind != KindAlarm && e.Kind != KindRejoin {
		if o.ahead == nil || o.ahead.Stamp.Compare(e.Stamp) < 0 {
			o.ahead = &e
		}
		o.wakeAt(s.now, over)
	}
	switch e.Kind {
	case KindOverride:
		s.readOverride(o, e)
	case KindDrain:
		switch {
		case e.Deleted:
			o.freed[e.Key] = e.Stamp.Time()
		case e.over(s.now):
			o.freed[e.Key] = e.Expires
		default:
			o.drains = append(o.drains, &order{Entry: e})
			if !e.Expires.IsZero() {
				o.wakeAt(s.now, e.warnAt(), e.Expires)
			}
		}
	case KindSiteLost:
		if e.Deleted {
			o.readmitted[SiteID(e.Key)] = e.Stamp.Time()
		} else {
			o.lost[SiteID(e.Key)] = &order{Entry: e}
		}
	case KindBlock:
		if !e.Deleted && !e.over(s.now) {
			o.blocks = append(o.blocks, e)
			o.wakeAt(s.now, e.Expires)
		}
	case KindActiveMetro:
		if v, ok := decode[ActiveMetro](e); ok && !e.Deleted && v.Metro != "" {
			o.metros[ServiceID(e.Key)] = epoch{e.Stamp, v.Metro}
		}
	case KindReturn:
		if v, ok := decode[ReturnOrder](e); ok && !e.Deleted {
			o.returns[ServiceID(e.Key)] = returnOrder{v.To, e.Stamp.Time()}
		}
	case KindGate:
		if v, ok := decode[Gate](e); ok && !e.Deleted {
			if _, known := o.gates[e.Key]; known {
				o.gates[e.Key] = v.Open
			}
		}
	}
}

// over says that an entry's time has passed.
func (e Entry) over(now time.Time) bool {
	return !e.Expires.IsZero() && !now.Before(e.Expires)
}

// readOverride keeps an override until its fall is an entry, however long it has expired.
func (s *State) readOverride(o *orders, e Entry) {
	if e.Deleted {
		return
	}
	if _, fallen := s.entries[EntryKey{KindFall, e.Stamp.String()}]; fallen {
		return
	}
	v, ok := decode[Override](e)
	if !ok || !v.answers() {
		return
	}
	ov := &override{order: order{Entry: e}, Override: v, svc: -1, name: -1, site: -1}
	if !s.scope(ov) {
		ov.stray = strings.Replace(e.Key, "/", " ", 1) + " is not configured"
	} else if v.Site != "" {
		if ov.site, ok = s.ix.siteOf[v.Site]; !ok {
			ov.site, ov.stray = -1, "site "+string(v.Site)+" is not configured"
		}
	}
	o.overrides = append(o.overrides, ov)
	if !e.Expires.IsZero() {
		o.wakeAt(s.now, e.warnAt(), e.Expires)
	}
}

// answers says whether an override names a site, or nothing but addresses.
func (v Override) answers() bool {
	if v.Site != "" {
		return len(v.Addresses) == 0
	}
	return len(v.Addresses) > 0 && !slices.ContainsFunc(v.Addresses, func(a netip.Addr) bool { return !a.IsValid() })
}

// scope resolves an override's key; false: it is about nothing that is configured.
func (s *State) scope(ov *override) bool {
	scope, rest, _ := strings.Cut(ov.Key, "/")
	switch scope {
	case "all":
		return true
	case "service":
		i, ok := s.ix.svcOf[ServiceID(rest)]
		ov.svc = i
		return ok
	case "name":
		ref, ok := s.ix.nameOf[rest]
		ov.svc, ov.name = ref.svc, ref.name
		return ok
	}
	return false
}

func (o *orders) place(ix *index, v *override) {
	switch {
	case v.svc < 0:
		o.all = v
	case v.name < 0:
		o.bySvc[ix.services[v.svc].ID] = v
	default:
		o.byName[ix.services[v.svc].Names[v.name]] = v
	}
}

func (o *orders) turnOff(key string) {
	scope, rest, _ := strings.Cut(key, "/")
	switch scope {
	case "site":
		o.siteOff[SiteID(rest)] = true
	case "endpoint":
		o.endpOff[rest] = true
	case "vip":
		if p, err := netip.ParsePrefix(rest); err == nil && p.IsSingleIP() {
			o.vipOff[p.Addr()] = true
		}
	}
}

// overrideFor is the override that decides a name: the most specific that
// reaches it. Below another, the next less specific than that one.
func (s *State) overrideFor(svc, name int, below *override) *override {
	in := &s.ix.services[svc]
	list := []*override{s.orders.byName[in.Names[name]], s.orders.bySvc[in.ID], s.orders.all}
	if below != nil {
		list = list[slices.Index(list, below)+1:]
	}
	for _, v := range list {
		if v != nil && s.reaches(v, svc) {
			return v
		}
	}
	return nil
}

// reaches says whether an override has something to answer for a service of its scope.
func (s *State) reaches(v *override, svc int) bool {
	in := &s.ix.services[svc]
	if v.svc >= 0 && v.svc != svc {
		return false
	}
	if v.site >= 0 {
		return slices.ContainsFunc(in.eps, func(ep endpointInfo) bool { return ep.inSite(v.site) })
	}
	if v.svc >= 0 || v.Unlisted {
		return true
	}
	return slices.ContainsFunc(v.Addresses, func(a netip.Addr) bool { return in.endpointAt(a) >= 0 })
}

// endpointAt is the endpoint that has an address, or -1.
func (in *serviceInfo) endpointAt(a netip.Addr) int {
	return slices.IndexFunc(in.eps, func(ep endpointInfo) bool { return slices.Contains(ep.Addresses, a) })
}

// offReason is why an endpoint takes no traffic in one of its sites; "": it does.
func (o *orders) offReason(in *serviceInfo, ep *endpointInfo, site SiteID) string {
	if l := o.lost[site]; l != nil && l.suspended == "" {
		return "site " + string(site) + " is declared lost"
	}
	if o.siteOff[site] {
		return "site " + string(site) + " is drained"
	}
	if len(o.endpOff) > 0 && o.endpOff[string(in.ID)+"/"+string(site)] {
		return "drained in " + string(site)
	}
	if len(o.vipOff) > 0 {
		for _, a := range ep.Addresses {
			if o.vipOff[a] {
				return "VIP " + a.String() + " is drained"
			}
		}
	}
	return ""
}

// offBy is an order by which an endpoint takes no traffic in any of its sites; nil: it does.
func (o *orders) offBy(in *serviceInfo, ep *endpointInfo) *order {
	var first *order
	for _, at := range ep.At {
		if o.offReason(in, ep, at.Site) == "" {
			return nil
		}
		if first != nil {
			continue
		}
		if l := o.lost[at.Site]; l != nil && l.suspended == "" {
			first = l
			continue
		}
		for _, d := range o.drains {
			if a := (span{kind: d.Kind, key: d.Key}); d.suspended == "" && a.covers(in, ep, at.Site) {
				first = d
				break
			}
		}
	}
	return first
}

// freedAt is when the last drain of an endpoint ended, and its key.
func (o *orders) freedAt(in *serviceInfo, ep *endpointInfo) (last time.Time, drain string) {
	if len(o.freed) == 0 {
		return last, ""
	}
	keep := func(key string) {
		if t := o.freed[key]; t.After(last) {
			last, drain = t, key
		}
	}
	for _, at := range ep.At {
		keep("site/" + string(at.Site))
		keep("endpoint/" + string(in.ID) + "/" + string(at.Site))
	}
	for _, a := range ep.Addresses {
		keep("vip/" + vipKey(a))
	}
	return last, drain
}

// vipKey is an address as the prefix that it is announced as.
func vipKey(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

// readmittedAt is when the last of an endpoint's sites that were lost was readmitted.
func (o *orders) readmittedAt(ep *endpointInfo) time.Time {
	var last time.Time
	for _, at := range ep.At {
		if t := o.readmitted[at.Site]; t.After(last) {
			last = t
		}
	}
	return last
}

// closedGate names a gate that is closed, or "". The first by configuration.
func (s *State) closedGate() string {
	for _, r := range s.ix.cfg.Rules {
		if open, ok := s.orders.gates[r.Name]; ok && !open {
			return r.Name
		}
	}
	return ""
}
