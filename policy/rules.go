package policy

import (
	"fmt"
	"slices"
	"strings"
)

// The built-in rules. Those under safety in the configuration have names of their own.
const (
	ruleLastEndpoint = "last-endpoint" // a drain takes the last healthy endpoint of a service
	ruleDrainedSite  = "drained-site"  // an override and a drain of its site, or of all that it answers with
	ruleLostSite     = "lost-site"     // an override onto a site that is declared lost
	ruleElectorate   = "electorate"    // the last site that can decide is declared lost; nothing passes it
)

var builtinRules = []string{ruleLastEndpoint, ruleDrainedSite, ruleLostSite}

// BuiltinRules lists the names of the rules that need no configuration, which those
// under safety can't have.
func BuiltinRules() []string { return slices.Clone(builtinRules) }

// knownRule refuses to break a rule that there is not.
func (s *State) knownRule(name string) error {
	known := slices.Clone(builtinRules)
	for _, r := range s.ix.cfg.Rules {
		known = append(known, r.Name)
	}
	if slices.Contains(known, name) {
		return nil
	}
	return unknown("rule", name, known)
}

// violations lists the rules that an order breaks, s being before and after behind it.
func (s *State) violations(e Entry, after *State) []*Refusal {
	switch e.Kind {
	case KindOverride, KindDrain, KindReturn, KindSiteLost, KindActiveMetro:
	default:
		return nil
	}
	var list []*Refusal
	if l := after.orders.lost[SiteID(e.Key)]; e.Kind == KindSiteLost && !e.Deleted && l != nil && l.suspended != "" {
		return append(list, &Refusal{Rule: ruleElectorate, Text: "the loss of site " + e.Key + " would leave no site that decides"})
	}
	list = append(list, s.meets(e)...)
	list = append(list, after.sendsOff(e)...)
	if e.Kind == KindDrain && !e.Deleted {
		list = append(list, s.takesLast(e, after)...)
	}
	for _, r := range s.ix.cfg.Rules {
		if r.Service == "" {
			if !s.orders.gates[r.Name] {
				list = append(list, &Refusal{
					Rule: r.Name, Break: true,
					Text: fmt.Sprintf("gate %s is closed; open it with pharos gate open %s --reason ..., or pass it with --break-glass %s", r.Name, r.Name, r.Name),
				})
			}
			continue
		}
		svc, ok := s.ix.svcOf[r.Service]
		if !ok {
			continue
		}
		if had, has := s.inService(svc), after.inService(svc); has < r.AtLeast && has < had {
			list = append(list, &Refusal{
				Rule: r.Name, Break: true,
				Text: fmt.Sprintf("it would leave service %s %d healthy of at least %d endpoints in service (now %d); pass it with --break-glass %s",
					r.Service, has, r.AtLeast, had, r.Name),
			})
		}
	}
	return list
}

// meets refuses an override onto a site that takes no traffic, and a drain or loss of a
// site that an override sends traffic to.
func (s *State) meets(e Entry) []*Refusal {
	if e.Deleted {
		return nil
	}
	if v, ok := decode[Override](e); e.Kind == KindOverride && ok && v.Site != "" {
		// An order that is suspended beside an override counts again once that is given anew, and then suspends it.
		if l := s.orders.lost[v.Site]; l != nil {
			return []*Refusal{{
				Rule: ruleLostSite,
				Text: fmt.Sprintf("site %s was declared lost by %s (%s); first pharos site readmit %s", v.Site, l.Author, l.Reason, v.Site),
			}}
		}
		drained := func(d *order) bool { return d.Key == "site/"+string(v.Site) }
		if s.orders.siteOff[v.Site] || slices.ContainsFunc(s.orders.drains, drained) {
			return []*Refusal{{
				Rule: ruleDrainedSite, Break: true,
				Text: fmt.Sprintf("site %s is drained; end that with pharos undrain site/%s, or pass it with --break-glass %s",
					v.Site, v.Site, ruleDrainedSite),
			}}
		}
	}
	site, rule, ok := "", ruleDrainedSite, false
	switch e.Kind {
	case KindDrain:
		site, ok = strings.CutPrefix(e.Key, "site/")
	case KindSiteLost:
		site, rule, ok = e.Key, ruleLostSite, true
	}
	if !ok {
		return nil
	}
	for _, v := range s.orders.overrides {
		if v.followed() && v.Override.Site == SiteID(site) {
			return []*Refusal{{
				Rule: rule, Break: true,
				Text: fmt.Sprintf("override %s of %s sends traffic to site %s; end that with %s, or pass it with --break-glass %s",
					v.Key, v.Author, site, clearCommand(v.Kind, v.Key), rule),
			}}
		}
	}
	return nil
}

// sendsOff refuses an override all of whose services would be answered with what takes no traffic, though its site as a
// whole does: s is behind the order. Where some of several would, it is a warning.
func (s *State) sendsOff(e Entry) []*Refusal {
	v := s.overrideOf(e)
	if v == nil || v.site >= 0 && (s.IsLost(v.Override.Site) || s.orders.siteOff[v.Override.Site]) { // see meets
		return nil
	}
	var first *Refusal
	for svc := range s.ix.services {
		in := &s.ix.services[svc]
		if !s.reaches(v, svc) {
			continue
		}
		ep, by := s.answersOff(in, v)
		if by == nil {
			return nil
		}
		if rule := offRule(by.Kind); first == nil {
			first = &Refusal{
				Rule: rule, Break: true,
				Text: fmt.Sprintf("%s of service %s takes no traffic: %s, by %s (%s); end that with %s, or pass it with --break-glass %s",
					in.endpointName(ep), in.ID, s.offWhy(in, ep), by.Author, by.Reason, clearCommand(by.Kind, by.Key), rule),
			}
		}
	}
	if first == nil {
		return nil
	}
	return []*Refusal{first}
}

// overrideOf is the override that an entry sets and that is followed, or nil.
func (s *State) overrideOf(e Entry) *override {
	for _, v := range s.orders.overrides {
		if v.Key == e.Key && v.Stamp == e.Stamp && v.followed() && e.Kind == KindOverride {
			return v
		}
	}
	return nil
}

// answersOff finds an endpoint that an override answers a service with and that takes no traffic, and the order by which it
// does not: of a site, where none of the endpoints there does. nil: there is none.
func (s *State) answersOff(in *serviceInfo, v *override) (int, *order) {
	if v.site < 0 {
		for _, a := range v.Addresses {
			if e := in.endpointAt(a); e >= 0 {
				if by := s.orders.offBy(in, &in.eps[e]); by != nil {
					return e, by
				}
			}
		}
		return 0, nil
	}
	first, why := 0, (*order)(nil)
	for e := range in.eps {
		if !in.eps[e].inSite(v.site) {
			continue
		}
		by := s.orders.offBy(in, &in.eps[e])
		if by == nil {
			return 0, nil
		}
		if why == nil {
			first, why = e, by
		}
	}
	return first, why
}

// offWhy says why an endpoint takes no traffic, by the first of its sites.
func (s *State) offWhy(in *serviceInfo, e int) string {
	return s.orders.offReason(in, &in.eps[e], in.eps[e].At[0].Site)
}

// takesLast refuses a drain that leaves a service without a healthy endpoint, or without any.
func (s *State) takesLast(e Entry, after *State) []*Refusal {
	for svc := range s.ix.services {
		had, has := s.inService(svc), after.inService(svc)
		if has > 0 || had == 0 && (after.candidates(svc) > 0 || s.candidates(svc) == 0) {
			continue
		}
		in := &s.ix.services[svc]
		return []*Refusal{{
			Rule: ruleLastEndpoint, Break: true,
			Text: fmt.Sprintf("drain of %s takes the last healthy endpoint of service %s%s; pass it with --break-glass %s",
				e.Key, in.ID, after.others(svc), ruleLastEndpoint),
		}}
	}
	return nil
}

// others says how the endpoints stand that are left.
func (s *State) others(svc int) string {
	in := &s.ix.services[svc]
	b := s.mainBound(s.orders, svc)
	var parts []string
	for e, v := range s.look(svc, b, s.svcs[svc].main) {
		why := v.health.String()
		switch {
		case v.off != "":
			why = v.off
		case !v.inside:
			why = "outside the active metro"
		}
		parts = append(parts, fmt.Sprintf("%s: %s", in.endpointName(e), why))
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// candidates is how many endpoints of a service the machine may choose among.
func (s *State) candidates(svc int) int {
	n := 0
	for _, v := range s.look(svc, s.mainBound(s.orders, svc), s.svcs[svc].main) {
		if v.eligible {
			n++
		}
	}
	return n
}

// inService is how many healthy endpoints a service's names may be answered with, of
// the name that has the fewest.
func (s *State) inService(svc int) int {
	in := &s.ix.services[svc]
	least := -1
	for n := range in.Names {
		count := s.inServiceOf(svc, s.overrideFor(svc, n, nil))
		if least < 0 || count < least {
			least = count
		}
	}
	return max(least, 0)
}

func (s *State) inServiceOf(svc int, v *override) int {
	in := &s.ix.services[svc]
	count := 0
	if v != nil && v.site < 0 {
		for _, a := range v.Addresses {
			if e := in.endpointAt(a); e >= 0 {
				if health, _ := s.anyHealth(&in.eps[e]); health == Up {
					count++
				}
			}
		}
		return count
	}
	b, c := s.mainBound(s.orders, svc), s.svcs[svc].main
	if v != nil {
		b, c = bound{override: v}, s.svcs[svc].inside[v.Stamp]
	}
	for _, view := range s.look(svc, b, c) {
		if view.eligible && view.health == Up {
			count++
		}
	}
	return count
}
