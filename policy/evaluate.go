package policy

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// evaluate decides one service anew: its moves, what each of its names answers, its
// alarms, and when time alone may change any of it.
func (t *turn) evaluate(svc int) {
	sv := &t.svcs[svc]
	b := t.mainBound(t.orders, svc)
	main := sv.main
	if main.move != nil && main.move.Epoch != b.stamp { // of an epoch that is over
		main = chain{move: t.moves[chainKey(t.ix.services[svc].ID, b.stamp, Stamp{})]}
		t.tellFollowed(svc, b, chain{}, main)
	}
	main, views := t.advance(svc, b, main)
	sv.main = main
	d := t.resolve(svc, b, main, views)
	d.pending = t.pendingWhy(svc, d)
	t.svcDue[svc] = t.dueIn(svc, main, views)
	alarms := t.serviceAlarms(svc, d, views)
	inside := map[*override]decision{}
	chains := map[Stamp]chain{}
	decide := func(v *override) decision {
		if v == nil {
			return d
		}
		in, ok := inside[v]
		if !ok {
			in, alarms = t.evaluateInside(svc, v, chains, alarms)
			inside[v] = in
		}
		return in
	}
	mainChoices := t.choices(&t.ix.services[svc], d)
	for n := range sv.answers {
		a, full := t.answer(svc, n, t.decisionOf(svc, n, t.overrideFor(svc, n, nil), decide), mainChoices)
		t.setAnswer(sv, n, a, full)
	}
	for _, stamp := range slices.SortedFunc(maps.Keys(sv.inside), Stamp.Compare) {
		if _, ok := chains[stamp]; ok {
			continue
		}
		m := t.moves[chainKey(t.ix.services[svc].ID, Stamp{}, stamp)]
		switch {
		case m == nil:
		case t.overrideOver(m.OverrideKey, stamp):
			t.drop(EntryKey{KindMove, moveKey(m)})
		default: // suspended, or not known yet
			chains[stamp] = chain{move: m}
		}
	}
	sv.inside = chains
	if t.hold != nil {
		alarms = nil
	}
	t.raise(sv.alarms, alarms)
	sv.alarms = alarms
}

// decisionOf is what a name is answered by where an override decides it, or none. decide tells what the machine chooses
// inside a site override, or (nil) the active metro.
func (s *State) decisionOf(svc, n int, v *override, decide func(*override) decision) decision {
	if v == nil || v.site >= 0 {
		return decide(v)
	}
	d := decision{override: v, chain: s.svcs[svc].main, rule: "pin", by: s.ix.services[svc].Steer}
	if v.KeepOther {
		without := s.decisionOf(svc, n, s.overrideFor(svc, n, v), decide)
		d.without = &without
	}
	return d
}

// evaluateInside decides a service inside a site override.
func (t *turn) evaluateInside(svc int, v *override, chains map[Stamp]chain, alarms []alarm) (decision, []alarm) {
	b := bound{override: v}
	c, views := t.advance(svc, b, t.svcs[svc].inside[v.Stamp])
	if c.move != nil {
		chains[v.Stamp] = c
	}
	d := t.resolve(svc, b, c, views)
	d.pending = t.pendingWhy(svc, d)
	t.svcDue[svc] = sooner(t.svcDue[svc], t.dueIn(svc, c, views))
	return d, append(alarms, t.serviceAlarms(svc, d, views)...)
}

// dueIn is when time alone may change what is answered or written: a hold or a step of a ramp ends,
// or it is this node's turn to write a move.
func (t *turn) dueIn(svc int, c chain, views []view) time.Time {
	in := &t.ix.services[svc]
	due := c.due
	for e := range views {
		for _, at := range in.eps[e].at {
			for _, i := range at.targets {
				if i >= 0 && t.awaited(i).After(t.now) {
					due = sooner(due, t.awaited(i))
				}
			}
		}
		v := &views[e]
		if v.eligible && !v.inSet && v.wanted && v.until.After(t.now) {
			due = sooner(due, v.until)
		}
		if m := c.mark(in.eps[e].ID); m.Ramp && v.inSet {
			due = sooner(due, t.nextStep(in, m))
		}
	}
	return due
}

func (t *turn) setAnswer(sv *service, n int, a *Answer, full uint32) {
	if old := sv.answers[n]; old != nil {
		same := equalAnswers(old, a)
		if same && sv.ttls[n] == full {
			return
		}
		t.sum = xor(t.sum, sv.digests[n])
		if same {
			a = old
		}
	}
	if t.rev != nil { // decided twice in one step, and the same as before it
		if old := t.rev.Answers[a.Name]; old != nil && equalAnswers(old, a) {
			a = old
		}
	}
	sv.answers[n], sv.ttls[n], sv.digests[n] = a, full, digestAnswer(a, full)
	t.sum = xor(t.sum, sv.digests[n])
	t.changed = append(t.changed, a.Name)
}

// pendingWhy says what may soon change what is decided inside a bound, or "".
// While there is such a thing the TTL is ttl_floor.
func (s *State) pendingWhy(svc int, d decision) string {
	if d.chain.move == nil {
		return ""
	}
	in := &s.ix.services[svc]
	for e := range d.views {
		if why := s.pendingEndpoint(in, e, d); why != "" {
			return why
		}
	}
	return ""
}

// pendingEndpoint says how one endpoint may soon change a decision: an answered one
// may be found down or rises by a ramp, another may be found up or end its hold or its drain.
func (s *State) pendingEndpoint(in *serviceInfo, e int, d decision) string {
	v := &d.views[e]
	switch {
	case !v.eligible:
		if key := s.orders.ending[endingAt{in.ID, e, d.bound.override}]; key != "" && in.wanted(e, d.views) {
			return "the end of drain " + key + " is near"
		}
		return ""
	case v.inSet && s.percent(in, d.chain.mark(in.eps[e].ID)) < 100:
		return in.endpointName(e) + " comes back by a ramp"
	case v.inSet && v.health != Down && !d.chain.move.NoneUp:
		return s.counting(in, e, func(i int) bool {
			t := &s.targets[i]
			return t.fails > 0 && t.state != Down || s.awaited(i).After(s.now)
		})
	case !v.inSet && !in.wanted(e, d.views):
		return ""
	case v.wanted && !v.until.IsZero():
		return in.endpointName(e) + " comes back after a " + v.why
	}
	return s.counting(in, e, func(i int) bool { return s.targets[i].oks > 0 })
}

// expiryNear says that an override's time is about to end, or "".
func (s *State) expiryNear(v *override) string {
	if v == nil || v.Expires.IsZero() || s.now.Before(v.warnAt()) || v.over(s.now) {
		return ""
	}
	return "the expiry of override " + v.Key + " is near"
}

// awaited is until when other votes are waited for on a target that is down for this node alone; zero: they are not.
func (s *State) awaited(i int) time.Time {
	t := &s.targets[i]
	if s.ix.alone || t.state != Down || s.verdicts[i].state == Down || !s.ix.checked[i] {
		return time.Time{}
	}
	return t.since.Add(s.lossShows())
}

// counting names a target of an endpoint, or of its site, whose results are being counted.
func (s *State) counting(in *serviceInfo, e int, f func(i int) bool) string {
	say := func(i int) string { return fmt.Sprintf("%s is %s", s.ix.targets[i].Label, s.targetDetail(i)) }
	for _, at := range in.eps[e].at {
		for _, i := range at.targets {
			if i >= 0 && f(i) {
				return say(i)
			}
		}
		for _, k := range s.ix.required[at.site] {
			if i := s.ix.needs[k].target; f(i) {
				return say(i)
			}
		}
	}
	return ""
}

// targetDetail is a target's state in words: what this node finds, or who says what of one that it leaves to others.
func (s *State) targetDetail(i int) string {
	switch {
	case !s.here[i] && s.ix.alone:
		return "not probed by this node, nor by another"
	case !s.here[i]:
		return "not probed by this node: " + s.why(i)
	}
	fall := 0
	if n, ok := s.ix.siteOf[s.ix.targets[i].Site]; ok {
		fall = s.paths[n].fall()
	}
	return s.targets[i].detail(s.ix.targets[i], fall)
}
