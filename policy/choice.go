package policy

import "time"

// bound is what limits a choice: the active metro in one epoch, or a site override.
type bound struct {
	epoch
	override *override // nil: the active metro bounds
}

func (b bound) overrideStamp() Stamp {
	if b.override == nil {
		return Stamp{}
	}
	return b.override.Stamp
}

// view is one endpoint as a choice sees it.
type view struct {
	health   HealthState
	since    time.Time // of health
	inside   bool      // of the bound
	eligible bool      // inside, and neither drained nor lost
	off      string    // why it is inside and not eligible
	inSet    bool      // of the newest move
	place    int       // of the endpoint
	failed   int       // returns that did not last
	readmission
}

// mainBound is a service's active metro.
func (s *State) mainBound(o *orders, svc int) bound {
	in := &s.ix.services[svc]
	if e, ok := o.metros[in.ID]; ok {
		return bound{epoch: e}
	}
	return bound{epoch: epoch{metro: in.metro}}
}

// takes says whether endpoints of a site are inside the bound.
func (b bound) takes(ix *index, site int) bool {
	if ix.sites[site].Role == Witness {
		return false
	}
	if b.override != nil {
		return b.override.site == site
	}
	if ix.sites[site].Metro != b.metro || b.metro == "" {
		return false
	}
	// A person who named the metro meant its standby sites too.
	return ix.sites[site].Role == Production || b.stamp != Stamp{}
}

// look is how a service's endpoints stand for a choice inside b.
func (s *State) look(svc int, b bound, c chain) []view {
	in := &s.ix.services[svc]
	views := make([]view, len(in.eps))
	if c.move != nil {
		for _, id := range c.move.Set {
			if e, ok := in.epOf[id]; ok {
				views[e].inSet = true
			}
		}
	}
	for e := range in.eps {
		views[e].place, views[e].failed = in.eps[e].place, c.mark(in.eps[e].ID).failed(s.now)
		s.lookAt(in, &in.eps[e], b, &views[e])
	}
	for e := range views {
		if v := &views[e]; v.eligible && !v.inSet && v.health == Up {
			v.readmission = s.readmit(in, e, b, c, views)
		}
	}
	return views
}

// lookAt finds whether an endpoint is inside the bound and its health there. A
// shared VIP is up while one of its sites is, whichever of them the bound names:
// BGP chooses between them.
func (s *State) lookAt(in *serviceInfo, ep *endpointInfo, b bound, v *view) {
	free := false
	for _, at := range ep.at {
		takes := b.takes(s.ix, at.site)
		v.inside = v.inside || takes
		if !takes && b.override == nil {
			continue
		}
		if off := s.orders.offReason(in, ep, s.ix.sites[at.site].ID); off != "" {
			v.off = off
			continue
		}
		health, since := s.atHealth(at)
		switch {
		case !free, health == Up && v.health != Up:
			v.health, v.since = health, since
		case health == Up && since.Before(v.since):
			v.since = since
		case health == Unknown && v.health == Down:
			v.health, v.since = health, since
		}
		free = true
	}
	v.eligible = v.inside && free
	if v.eligible {
		v.off = ""
	} else if !free { // show what is there, whether it may be used or not
		v.health, v.since = s.anyHealth(ep)
	}
}

// anyHealth is an endpoint's health whatever bounds a choice.
func (s *State) anyHealth(ep *endpointInfo) (HealthState, time.Time) {
	best, since := s.atHealth(ep.at[0])
	for _, at := range ep.at[1:] {
		if h, when := s.atHealth(at); worse(best, h) == best && h != best {
			best, since = h, when
		}
	}
	return best, since
}

// choice is the set that a service should be answered with.
type choice struct {
	set    []bool
	noneUp bool
	ramp   []bool // enters by a ramp
	why    string // what was done without, for people; "": nothing
}

// choose finds the set that should follow the newest move of c. An endpoint leaves
// only when it is down or no candidate, and enters only when it is up and readmitted; one that is
// unknown enters only where all that are answered are down and none is up.
func (s *State) choose(svc int, c chain, views []view) choice {
	in := &s.ix.services[svc]
	fresh := !anyInSet(views) // nothing was decided yet, or all of it left the configuration
	stays := func(v *view) bool { return v.eligible && v.health != Down && (v.inSet || fresh) }
	keptOrReady := func(v *view) bool { return stays(v) || v.eligible && v.health == Up && v.ready }
	up := func(v *view) bool { return v.eligible && v.health == Up }
	// What came back and failed again within the day is not tried on a single success.
	downIn := anyView(views, func(v *view) bool { return v.inSet && v.eligible })
	unknown := func(v *view) bool { return v.eligible && v.health == Unknown && (v.failed == 0 || !downIn) }
	wasNone := c.move != nil && c.move.NoneUp && !fresh
	if wasNone {
		// Unknown is not up: what none-up left behind stays until one is up, or
		// another may be.
		stays = func(*view) bool { return false }
		keptOrReady = up
		if anyView(views, func(v *view) bool { return v.inSet && v.eligible && v.health != Down }) {
			unknown = stays
		}
	}
	least := max(in.MinHealthy, 1)
	// What is held back is not waited for where a place has nothing left in service; where
	// it still has, and too little, it waits: else one that flaps would never be held.
	stands := in.standing(views)
	upElsewhere := func(v *view) bool { return up(v) && (keptOrReady(v) || !stands[v.place]) }
	keptInPlace := keptOrReady
	if at := in.current(views); in.Steer == Failover && at < len(in.places) && !wasNone {
		keptInPlace = func(v *view) bool { return keptOrReady(v) && v.place == at } // no place is better
	}
	for i, pass := range []struct {
		ok    func(*view) bool
		least int
		why   string
	}{
		{keptOrReady, least, ""},
		{upElsewhere, least, ""},
		{keptInPlace, 1, "no site has min_healthy of its endpoints up"},
		{up, 1, "no site has min_healthy of its endpoints up"},
		{unknown, 1, "none is up, and what is not known to be down is tried"},
	} {
		set, ok := in.pick(views, pass.ok, pass.least)
		if !ok {
			continue
		}
		ch := choice{set: set, why: pass.why, ramp: make([]bool, len(views))}
		if i == 0 && !fresh && !wasNone {
			s.addRamps(in, c, views, stays, &ch)
		}
		return ch
	}
	eligible := func(v *view) bool { return v.eligible }
	if !anyView(views, eligible) { // nothing to choose from: what was decided stands
		return choice{set: currentSet(views), noneUp: wasNone, ramp: make([]bool, len(views))}
	}
	ch := choice{set: currentSet(views), noneUp: true, ramp: make([]bool, len(views))}
	if fresh {
		ch.set, _ = in.pick(views, eligible, 1)
	}
	return ch
}

// standing says of each place whether something in the set still stands there.
func (in *serviceInfo) standing(views []view) []bool {
	list := make([]bool, len(in.places))
	for e := range views {
		if v := &views[e]; v.inSet && v.eligible && v.health != Down {
			list[v.place] = true
		}
	}
	return list
}

// pick takes the endpoints that are ok from places that have enough of them: for
// failover from the first such place, otherwise from all.
func (in *serviceInfo) pick(views []view, ok func(*view) bool, least int) ([]bool, bool) {
	set, some := make([]bool, len(views)), false
	for _, place := range in.places {
		n := 0
		for _, e := range place {
			if ok(&views[e]) {
				n++
			}
		}
		if n < least {
			continue
		}
		for _, e := range place {
			set[e] = ok(&views[e])
		}
		some = true
		if in.Steer == Failover {
			break
		}
	}
	return set, some
}

// addRamps finds what enters by a ramp. Where failover changes its place by one,
// the old place stays in the set until the ramp is over.
func (s *State) addRamps(in *serviceInfo, c chain, views []view, stays func(*view) bool, ch *choice) {
	if in.Return.Policy != ReturnRamp || in.Return.Over <= 0 {
		return
	}
	ramping := false
	for e := range views {
		if !ch.set[e] {
			continue
		}
		if !views[e].inSet {
			ch.ramp[e] = true
		}
		ramping = ramping || ch.ramp[e] || s.percent(in, c.mark(in.eps[e].ID)) < 100
	}
	others := false
	for e := range views {
		if in.Steer == Failover && ramping && !ch.set[e] && stays(&views[e]) {
			ch.set[e], others = true, true
		}
		others = others || ch.set[e] && views[e].inSet
	}
	if !others { // nothing to share with
		clear(ch.ramp)
	}
}

func anyView(views []view, f func(*view) bool) bool {
	for e := range views {
		if f(&views[e]) {
			return true
		}
	}
	return false
}

func anyInSet(views []view) bool { return anyView(views, func(v *view) bool { return v.inSet }) }

func currentSet(views []view) []bool {
	set := make([]bool, len(views))
	for e := range views {
		set[e] = views[e].inSet
	}
	return set
}
