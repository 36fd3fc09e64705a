package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// endingAt is an endpoint that a choice inside a bound will soon be free to take: a drain of it ends.
type endingAt struct {
	service  ServiceID
	endpoint int
	override *override // nil: the active metro
}

// findEnding finds what may be chosen once a drain ends whose time is about to. Drains that end no later do not count
// against it: together they move traffic.
func (s *State) findEnding(o *orders) {
	var vips map[string][]int
	for _, d := range o.drains {
		if d.suspended != "" || d.Expires.IsZero() || s.now.Before(d.warnAt()) {
			continue
		}
		a := span{kind: d.Kind, key: d.Key}
		if vips == nil && strings.HasPrefix(d.Key, "vip/") {
			vips = s.ix.byVIP()
		}
		for _, svc := range s.reach(&a, vips) {
			in := &s.ix.services[svc]
			for e := range in.eps {
				free := false
				for _, b := range s.boundsOf(o, svc) {
					if s.frees(o, in, &in.eps[e], b, d) {
						o.ending[endingAt{in.ID, e, b.override}] = d.Key
						free = true
					}
				}
				if free {
					o.frees[d.Key] = append(o.frees[d.Key], fmt.Sprintf("%s of service %s", in.endpointName(e), in.ID))
				}
			}
		}
	}
}

// boundsOf are the active metro of a service, and the sites that overrides keep it inside.
func (s *State) boundsOf(o *orders, svc int) []bound {
	list := []bound{s.mainBound(o, svc)}
	for _, v := range o.overrides {
		if v.followed() && v.site >= 0 && (v.svc < 0 || v.svc == svc) {
			list = append(list, bound{override: v})
		}
	}
	return list
}

// frees says whether an endpoint may be chosen inside a bound once a drain has ended, and may not before.
func (s *State) frees(o *orders, in *serviceInfo, ep *endpointInfo, b bound, d *order) bool {
	inside, then, by := false, false, span{kind: d.Kind, key: d.Key}
	for _, at := range ep.at {
		takes, site := b.takes(s.ix, at.site), s.ix.sites[at.site].ID
		inside = inside || takes
		switch {
		case !takes && b.override == nil:
		case o.offReason(in, ep, site) == "": // it may be already
			return false
		case by.covers(in, ep, site):
			then = then || !o.staysOff(in, ep, site, d.Expires)
		}
	}
	return inside && then
}

// staysOff says whether an endpoint takes no traffic in a site at a time to come, by the orders of now.
func (o *orders) staysOff(in *serviceInfo, ep *endpointInfo, site SiteID, at time.Time) bool {
	if l := o.lost[site]; l != nil && l.suspended == "" {
		return true
	}
	keys := []string{"site/" + string(site), "endpoint/" + string(in.ID) + "/" + string(site)}
	for _, a := range ep.Addresses {
		keys = append(keys, "vip/"+vipKey(a))
	}
	return slices.ContainsFunc(keys, func(key string) bool {
		end, drained := o.drainEnds[key]
		return drained && (end.IsZero() || end.After(at))
	})
}

// drainAlarms warn of a drain whose end is near and changes what may be chosen.
func (t *turn) drainAlarms() []alarm {
	const most = 3
	var list []alarm
	for _, d := range t.orders.drains {
		frees := t.orders.frees[d.Key]
		if len(frees) == 0 {
			continue
		}
		text := strings.Join(frees[:min(most, len(frees))], ", ")
		if n := len(frees) - most; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		list = append(list, alarm{
			"drain-expires/" + d.Key,
			fmt.Sprintf("the drain %s of %s ends at %s, and then %s may be chosen again; drain it again to prolong it",
				d.Key, d.Author, d.Expires.UTC().Format(time.DateTime), text),
			"pharos drain " + d.Key + " --reason ...",
		})
	}
	return list
}

// tellEnded logs the drains that ended by themselves since the orders were read before.
func (t *turn) tellEnded(before *orders) {
	for _, d := range before.drains {
		if e := t.entries[d.EntryKey()]; e.Stamp != d.Stamp || !e.over(t.now) {
			continue
		}
		was := "in force"
		if d.suspended != "" {
			was = "suspended"
		}
		t.change("drain "+d.Key, was, "ended", fmt.Sprintf("its time is over; it was given by %s for %s", d.Author, length(d.Expires.Sub(d.Stamp.Time()).Round(time.Second))))
	}
}
