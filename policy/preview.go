package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// scopeOf lists the services that an order is about, whether it changes their answers or not.
func (s *State) scopeOf(e Entry) []nameRef {
	var list []nameRef
	scope, rest, _ := strings.Cut(e.Key, "/")
	for svc := range s.ix.services {
		in := &s.ix.services[svc]
		for n, name := range in.Names {
			about := false
			switch {
			case e.Kind == KindOverride && scope == "name":
				about = name == rest
			case e.Kind == KindOverride && scope == "service":
				about = string(in.ID) == rest
			case e.Kind == KindOverride:
				about = true
			case e.Kind == KindReturn, e.Kind == KindActiveMetro:
				about = string(in.ID) == e.Key
			case e.Kind == KindDrain, e.Kind == KindSiteLost:
				about = s.drainTouches(e, in)
			}
			if about {
				list = append(list, nameRef{svc, n})
			}
		}
	}
	return list
}

func (s *State) drainTouches(e Entry, in *serviceInfo) bool {
	a := span{kind: e.Kind, key: e.Key}
	for i := range in.eps {
		for _, at := range in.eps[i].At {
			if a.covers(in, &in.eps[i], at.Site) {
				return true
			}
		}
	}
	return false
}

// compare lists names before (s) and after: those of the scope, and whatever else changed.
func (s *State) compare(after *State, scope []nameRef) []PreviewName {
	var list []PreviewName
	for svc := range s.ix.services {
		in := &s.ix.services[svc]
		for n, name := range in.Names {
			changed := s.svcs[svc].digests[n] != after.svcs[svc].digests[n]
			if !changed && !slices.Contains(scope, nameRef{svc, n}) {
				continue
			}
			p := PreviewName{
				Name: name, Service: in.ID, Changed: changed,
				Before: s.answerText(s.svcs[svc].answers[n]), After: after.answerText(after.svcs[svc].answers[n]),
			}
			p.tellApart(s, after, nameRef{svc, n}, nameRef{svc, n})
			list = append(list, p)
		}
	}
	return list
}

// tellApart adds to what is answered before and after, where the texts are the same, what differs.
func (p *PreviewName) tellApart(s, after *State, was, is nameRef) {
	if p.Before != p.After {
		return
	}
	add := func(format string, before, then any) {
		if a, b := fmt.Sprintf(format, before), fmt.Sprintf(format, then); a != b {
			p.Before, p.After = p.Before+", "+a, p.After+", "+b
		}
	}
	a, b := s.svcs[was.svc].answers[was.name], after.svcs[is.svc].answers[is.name]
	add("service %s", a.Service, b.Service)
	add("TTL %d s", s.svcs[was.svc].ttls[was.name], after.svcs[is.svc].ttls[is.name])
	add("pick_by %s", a.PickBy, b.PickBy)
	if x, y := a.weightText(), b.weightText(); strings.Contains(x, ":") && strings.Contains(y, ":") {
		add("weights %s", x, y)
	}
}

// weightText lists the weights of an answer's members, for clients of no group: "2:1".
func (a *Answer) weightText() string {
	var list []string
	for _, w := range weights(a.Choices[0]) {
		list = append(list, fmt.Sprint(w.Weight))
	}
	return strings.Join(list, ":")
}

// Reconsider is the dry run of a reload: the names whose answers another
// configuration would change, with those that come and go.
func (s *State) Reconsider(cfg *Config, now time.Time) []PreviewName {
	base := s.fork()
	Step(base, Tick{}, now)
	after := base.fork()
	Step(after, Reconfigured{cfg}, now)
	var list []PreviewName
	for _, name := range unionSorted(base.names(), after.names()) {
		before, was := base.ix.nameOf[name]
		then, is := after.ix.nameOf[name]
		p := PreviewName{Name: name, Before: "nothing", After: "nothing", Changed: true}
		var had, has [32]byte
		if was {
			p.Service, p.Before = base.ix.services[before.svc].ID, base.answerText(base.svcs[before.svc].answers[before.name])
			had = base.svcs[before.svc].digests[before.name]
		}
		if is {
			p.Service, p.After = after.ix.services[then.svc].ID, after.answerText(after.svcs[then.svc].answers[then.name])
			has = after.svcs[then.svc].digests[then.name]
		}
		if had == has {
			continue
		}
		if was && is {
			p.tellApart(base, after, before, then)
		}
		list = append(list, p)
	}
	return list
}

// Unjudged names the services that another configuration lets rest on targets that they do not rest on now, and whose
// health is not known: what Reconsider says of them is the decision until then. They come in the order of cfg.
func (s *State) Unjudged(cfg *Config) []Unjudged {
	next := newIndex(cfg)
	fresh := make([]int, len(next.services))
	for i, svcs := range next.byTarget {
		old, known := s.ix.targetOf[next.targets[i].ID]
		if known && s.judged(old) {
			continue
		}
		for _, svc := range svcs {
			if was, ok := s.ix.svcOf[next.services[svc].ID]; !known || !ok || !slices.Contains(s.ix.byTarget[old], was) {
				fresh[svc]++
			}
		}
	}
	var list []Unjudged
	for svc, n := range fresh {
		if n > 0 {
			list = append(list, Unjudged{next.services[svc].ID, n})
		}
	}
	return list
}

// judged says whether anything is held true of a target: as a check of endpoints, or as what a site requires.
func (s *State) judged(i int) bool {
	return s.verdicts[i].state != Unknown ||
		slices.ContainsFunc(s.ix.needsOf[i], func(k int) bool { return s.needs[k].state != Unknown })
}

func unionSorted(a, b []string) []string {
	list := slices.Concat(a, b)
	slices.Sort(list)
	return slices.Compact(list)
}

// warnings tells what an order does not reach or does not do.
func (s *State) warnings(e Entry, after *State) []string {
	switch {
	case e.Kind == KindOverride && e.Deleted:
		return nil
	case e.Kind == KindOverride:
		return after.overrideWarnings(e)
	case e.Kind == KindDrain && !e.Deleted:
		return after.drainWarnings(e)
	case e.Kind == KindDrain:
		return after.undrainWarnings(e)
	case e.Kind == KindReturn:
		return after.returnWarnings(e)
	case e.Kind == KindSiteLost && !e.Deleted:
		return s.lostWarnings(e)
	case e.Kind == KindSiteLost:
		return after.readmitWarnings(e)
	case e.Kind == KindActiveMetro:
		return append(s.failoverWarnings(e), after.returnWarnings(e)...)
	case e.Kind == KindGate:
		if v, _ := decode[Gate](e); v.Open == s.orders.gates[e.Key] {
			return []string{"gate " + e.Key + " is that already"}
		}
	}
	return nil
}

// overrideWarnings: s is behind the order.
func (s *State) overrideWarnings(e Entry) []string {
	v := s.overrideOf(e)
	if v == nil {
		return nil
	}
	list := s.misses(v)
	for svc := range s.ix.services {
		in := &s.ix.services[svc]
		if v.svc >= 0 && v.svc != svc || !s.reaches(v, svc) {
			continue
		}
		list = append(list, s.answerWarnings(in, v)...)
		list = append(list, s.familyWarnings(svc, v)...)
	}
	return list
}

// misses lists what an override's scope holds and it does not decide, and why.
func (s *State) misses(v *override) []string {
	var list []string
	for svc := range s.ix.services {
		in := &s.ix.services[svc]
		if v.svc >= 0 && v.svc != svc {
			continue
		}
		if !s.reaches(v, svc) {
			what := "has none of its addresses"
			if v.site >= 0 {
				what = "has no endpoint in site " + string(v.Override.Site)
			}
			list = append(list, fmt.Sprintf("does not reach service %s: it %s", in.ID, what))
			continue
		}
		for n, name := range in.Names {
			if v.name >= 0 && v.name != n {
				continue
			}
			switch w := s.overrideFor(svc, n, nil); {
			case w == nil || w == v:
			case s.restsOnOverride(svc, n, v):
				list = append(list, fmt.Sprintf("reaches of %s only the family that override %s leaves alone", name, w.Key))
			default:
				list = append(list, fmt.Sprintf("does not reach %s: override %s is more specific", name, w.Key))
			}
		}
	}
	return list
}

// answerWarnings tells of endpoints that are answered and not well.
func (s *State) answerWarnings(in *serviceInfo, v *override) []string {
	var list []string
	for e := range in.eps {
		ep := &in.eps[e]
		named := v.site >= 0 && ep.inSite(v.site)
		if v.site < 0 {
			named = slices.ContainsFunc(ep.Addresses, func(a netip.Addr) bool { return slices.Contains(v.Addresses, a) })
		}
		if !named {
			continue
		}
		if health, _ := s.anyHealth(ep); health != Up {
			list = append(list, fmt.Sprintf("%s of service %s is %s", in.endpointName(e), in.ID, health))
		}
		if s.orders.offBy(in, ep) != nil {
			list = append(list, fmt.Sprintf("%s of service %s takes no traffic: %s", in.endpointName(e), in.ID, s.offWhy(in, e)))
		}
		if v.site >= 0 && len(ep.at) > 1 {
			list = append(list, fmt.Sprintf("%s of service %s is shared by its sites: its DNS answer stays, and which site takes the traffic is for routing",
				in.endpointName(e), in.ID))
		}
	}
	return list
}

// familyWarnings tells of a family that is answered with nothing from now on.
func (s *State) familyWarnings(svc int, v *override) []string {
	var list []string
	in := &s.ix.services[svc]
	have4, have6 := false, false
	for _, ep := range in.eps {
		v4, v6 := families(ep.Addresses)
		have4, have6 = have4 || len(v4) > 0, have6 || len(v6) > 0
	}
	for n, name := range in.Names {
		if s.overrideFor(svc, n, nil) != v || s.svcs[svc].answers[n].Fail {
			continue
		}
		a4, a6 := addresses(s.svcs[svc].answers[n].Choices[0])
		if have4 && len(a4) == 0 {
			list = append(list, "A of "+name+" is answered with nothing (NODATA)")
		}
		if have6 && len(a6) == 0 {
			list = append(list, "AAAA of "+name+" is answered with nothing (NODATA)")
		}
	}
	return list
}

// drainWarnings: s is behind the order.
func (s *State) drainWarnings(e Entry) []string {
	var list []string
	off := span{kind: e.Kind, key: e.Key}
	for svc := range s.ix.services {
		in := &s.ix.services[svc]
		for i := range in.eps {
			ep := &in.eps[i]
			covered, free := 0, 0
			for _, at := range ep.At {
				if off.covers(in, ep, at.Site) {
					covered++
				} else if s.orders.offReason(in, ep, at.Site) == "" {
					free++
				}
			}
			if covered > 0 && free > 0 {
				list = append(list, fmt.Sprintf("%s of service %s is shared by its sites: its DNS answer stays, and which site takes the traffic is for routing",
					in.endpointName(i), in.ID))
			}
		}
		for n, name := range in.Names {
			if v := s.overrideFor(svc, n, nil); v != nil && v.site < 0 && s.pinsDrained(in, v, off) {
				list = append(list, fmt.Sprintf("does not reach %s: override %s pins its address", name, v.Key))
			}
		}
	}
	return list
}

func (s *State) pinsDrained(in *serviceInfo, v *override, off span) bool {
	for _, a := range v.Addresses {
		if e := in.endpointAt(a); e >= 0 {
			for _, at := range in.eps[e].At {
				if off.covers(in, &in.eps[e], at.Site) {
					return true
				}
			}
		}
	}
	return false
}

// undrainWarnings tells when what is eligible again comes back: s is behind the order.
func (s *State) undrainWarnings(e Entry) []string {
	var list []string
	for svc := range s.ix.services {
		if !s.drainTouches(e, &s.ix.services[svc]) {
			continue
		}
		for _, w := range s.waiting(svc) {
			text := fmt.Sprintf("service %s: %s may be chosen again and waits: %s", s.ix.services[svc].ID, w.Endpoint, w.Why)
			if !w.Until.IsZero() {
				text += ", until " + w.Until.UTC().Format(time.DateTime)
			}
			list = append(list, text+"; at once: "+w.Command)
		}
	}
	return list
}

func (s *State) returnWarnings(e Entry) []string {
	svc, ok := s.ix.svcOf[ServiceID(e.Key)]
	if !ok {
		return nil
	}
	var list []string
	for n, name := range s.ix.services[svc].Names {
		if v := s.overrideFor(svc, n, nil); v != nil {
			list = append(list, fmt.Sprintf("does not reach %s: override %s decides it", name, v.Key))
		}
	}
	return list
}
