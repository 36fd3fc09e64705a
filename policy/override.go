package policy

import (
	"fmt"
	"slices"
	"time"
)

// fallExpired writes the fall of overrides whose time is over and whose going moves
// traffic only to what is healthy, or nothing, with a majority only and in turn. It says whether there was one.
func (t *turn) fallExpired() bool {
	fell := false
	t.fallDue = time.Time{}
	for _, v := range t.orders.overrides {
		if !v.over(t.now) || !t.decides() || v.followed() && t.holdsUp(v) != "" {
			delete(t.falling, v.Stamp)
			continue
		}
		if _, ok := t.falling[v.Stamp]; !ok {
			t.falling[v.Stamp] = t.now
		}
		if due := t.falling[v.Stamp].Add(time.Duration(t.rank()) * turnAfter); due.After(t.now) {
			t.fallDue = sooner(t.fallDue, due)
			continue
		}
		delete(t.falling, v.Stamp)
		why := "what it falls back to is healthy"
		if !v.followed() {
			why = "it was not followed"
		}
		t.write(KindFall, v.Stamp.String(), Fall{v.Key}, false)
		t.change("override "+v.Key, "expired", "fallen", why)
		t.ordersMoved, fell = true, true
		if v.svc >= 0 {
			t.touch(v.svc)
		} else {
			t.touchAll()
		}
	}
	return fell
}

// someExpired says whether an override is there beyond its time.
func (s *State) someExpired() bool {
	return slices.ContainsFunc(s.orders.overrides, func(v *override) bool { return v.over(s.now) })
}

// holdsUp says why an override may not fall: what a name of it would be
// answered with is not healthy, or outside the active metro.
func (s *State) holdsUp(v *override) string {
	for svc := range s.ix.services {
		if v.svc >= 0 && v.svc != svc {
			continue
		}
		in := &s.ix.services[svc]
		for n := range in.Names {
			if v.name >= 0 && v.name != n || !s.restsOnOverride(svc, n, v) {
				continue
			}
			if why := s.unhealthyWithout(svc, n, v); why != "" {
				return in.Names[n] + " would be answered with " + why
			}
		}
	}
	return ""
}

// restsOnOverride says whether a name is decided by an override, be it for the family alone that pins above it leave alone.
func (s *State) restsOnOverride(svc, name int, v *override) bool {
	have := s.overrideFor(svc, name, nil)
	for have != nil && have != v && have.site < 0 && have.KeepOther {
		have = s.overrideFor(svc, name, have)
	}
	return have == v
}

// unhealthyWithout says what is wrong with a name's answer once an override is gone.
func (s *State) unhealthyWithout(svc, name int, v *override) string {
	in := &s.ix.services[svc]
	b := s.mainBound(s.orders, svc)
	next := s.overrideFor(svc, name, v)
	if next != nil && next.site < 0 {
		for _, a := range next.Addresses {
			e := in.endpointAt(a)
			if e < 0 {
				return a.String() + ", which is no endpoint and not probed"
			}
			if why := s.unfit(in, e, b); why != "" {
				return why
			}
		}
		return ""
	}
	c := s.svcs[svc].main
	inside := b
	if next != nil {
		inside, c = bound{override: next}, s.svcs[svc].inside[next.Stamp]
		if c.move == nil { // nothing was decided inside it yet
			return "site " + string(next.Override.Site) + " by override " + next.Key + ", where nothing is decided yet"
		}
	}
	d := s.resolve(svc, inside, c, s.look(svc, inside, c))
	if d.fail {
		return "SERVFAIL"
	}
	bad := ""
	for e, ok := range d.set {
		if !ok {
			continue
		}
		if bad = s.unfit(in, e, b); bad == "" {
			return ""
		}
	}
	return bad
}

// unfit says why an endpoint is no place to fall back to.
func (s *State) unfit(in *serviceInfo, e int, b bound) string {
	ep := &in.eps[e]
	if !slices.ContainsFunc(ep.at, func(at atInfo) bool { return b.takes(s.ix, at.site) }) {
		return in.endpointName(e) + ", which is outside the active metro"
	}
	if health, _ := s.anyHealth(ep); health != Up {
		return fmt.Sprintf("%s, which is %s", in.endpointName(e), health)
	}
	return ""
}
