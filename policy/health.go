package policy

import "time"

// atHealth is the health of an endpoint as it stands in one of its sites: down when
// the site is or one of its targets is, up when all are.
func (s *State) atHealth(at atInfo) (HealthState, time.Time) {
	health, since := Up, time.Time{}
	if !s.silent(at.site) {
		health, since = s.siteHealth(at.site)
	}
	if health == Down {
		return Down, since
	}
	for _, i := range at.targets {
		if i < 0 {
			health = worse(health, Unknown)
			continue
		}
		v := &s.verdicts[i]
		if w := worse(health, v.state); w != health {
			health, since = w, v.since
		} else if v.state == health && v.since.After(since) {
			since = v.since
		}
	}
	return health, since
}

// worse orders down before unknown before up.
func worse(a, b HealthState) HealthState {
	rank := [...]int{Unknown: 1, Up: 2, Down: 0}
	if rank[b] < rank[a] {
		return b
	}
	return a
}

// siteHealth is a site's word against itself: down when one requirement is down,
// up when all are up, unknown where it has none or none of its nodes looks.
func (s *State) siteHealth(site int) (HealthState, time.Time) {
	health, since, known := Up, time.Time{}, false
	for _, k := range s.ix.required[site] {
		v := &s.needs[k]
		if !v.known {
			continue
		}
		known = true
		if w := worse(health, v.state); w != health {
			health, since = w, v.since
		} else if v.state == health && v.since.After(since) {
			since = v.since
		}
	}
	if !known {
		return Unknown, time.Time{}
	}
	return health, since
}

// silent says that nothing is known of what a site requires: it is judged by its endpoints.
func (s *State) silent(site int) bool {
	for _, k := range s.ix.required[site] {
		if s.needs[k].known {
			return false
		}
	}
	return true
}

// observe counts results in and marks what rests on a state that changed. What came
// together is judged together: whether anything succeeds is found first.
func (t *turn) observe(list []Observation) {
	for _, o := range list {
		if i, ok := t.ix.targetOf[o.Target]; ok && t.here[i] {
			t.hear(i, o)
		}
	}
	if t.trust.succeeding > 0 {
		t.abstain(false)
	}
	for _, o := range list {
		if i, ok := t.ix.targetOf[o.Target]; ok && t.here[i] { // else of a configuration, or a share, that is no more
			t.observeOne(i, o)
		}
	}
	t.suspectSelf()
}

// hear keeps count of what this node trusts itself by.
func (t *turn) hear(i int, o Observation) {
	tg, cfg := &t.targets[i], t.ix.targets[i]
	t.trust.count(tg, cfg, -1)
	if o.Outcome == Unable {
		tg.cannot(o.Reason, cfg)
	} else {
		tg.heard, tg.last, tg.unable, tg.unableBy = true, o.Outcome, 0, ""
	}
	t.trust.count(tg, cfg, 1)
}

// trust counts the targets that this node trusts itself by: those probed here that its host can check.
type trust struct {
	probed     int // by this node at all
	aside      int // that its host can't check
	unheard    int // of the others, those that no result came from yet
	succeeding int // those whose last result is a success
}

// count adds a target that is probed here, or takes it away.
func (c *trust) count(tg *target, cfg Target, n int) {
	c.probed += n
	switch {
	case tg.aside(cfg):
		c.aside += n
	case !tg.heard:
		c.unheard += n
	case tg.last == Success:
		c.succeeding += n
	}
}

func (t *turn) observeOne(i int, o Observation) {
	tg, cfg := &t.targets[i], t.ix.targets[i]
	if o.Outcome == Unable {
		return
	}
	if o.At.IsZero() || o.At.After(t.now) {
		o.At = t.now
	}
	var p *path
	if n, ok := t.ix.siteOf[cfg.Site]; ok {
		p = &t.paths[n]
	}
	before, wasChanging := tg.state, tg.changing()
	fall := 0
	if p != nil {
		if o.Outcome == Success {
			p.note(tg.missing)
		} else {
			fall = p.fall()
		}
	}
	tg.take(o, cfg, fall, t.trust.succeeding == 0)
	if !t.suspect.IsZero() && t.trust.succeeding == 0 { // what is seen while blind is no evidence
		tg.fails, tg.refusals, tg.missing = 0, 0, 0
	}
	t.fails(i)
	t.cast(i)
	if tg.state != before {
		t.healthChanged(i, before)
	} else if tg.changing() != wasChanging {
		t.touch(t.ix.byTarget[i]...)
	}
}

// fails keeps count of the targets that fail for this node.
func (t *turn) fails(i int) {
	if at := t.targets[i].failing; at.IsZero() {
		delete(t.failing, i)
	} else if _, ok := t.failing[i]; !ok {
		t.failing[i] = struct{}{}
		if at.After(t.failed) {
			t.failed = at
		}
	}
}

// cast brings this node's own vote on a target up to date.
func (t *turn) cast(i int) {
	if t.ix.self < 0 {
		return
	}
	own := &t.peers[t.ix.self]
	if v := t.targets[i].vote(); v != own.states.raw(i) {
		own.states.set(i, v)
		own.changed, t.voteMoved = t.now, true
		t.recount(i, false)
	}
}

// vote is a target's state as a vote has it.
func (t *target) vote() HealthState {
	if t.state == Unknown && !t.seen.IsZero() {
		return unsure
	}
	return t.state
}

func (t *turn) healthChanged(i int, before HealthState) {
	tg := &t.targets[i]
	t.fx.Health = append(t.fx.Health, HealthEntry{
		Target: t.ix.targets[i].ID, State: tg.state, Since: tg.since, Seen: tg.seen, Reason: tg.reason,
	})
	t.touch(t.ix.byTarget[i]...)
	if !t.ix.alone {
		t.change("vote "+t.ix.targets[i].Label, before.String(), tg.state.String(), tg.reason)
	}
}

// suspectSelf forgets every state when nothing that this node probes succeeds, and
// stops suspecting with the first success. While not every target was heard, after a
// start or because a reload brought new ones, it changes neither; nor while its host
// can check none at all.
func (t *turn) suspectSelf() {
	switch {
	case t.trust.probed == 0, t.trust.succeeding > 0:
		t.trustSelf()
	case t.trust.unheard == 0 && t.trust.aside < t.trust.probed && t.suspect.IsZero():
		t.losesTrust()
	}
}

func (t *turn) trustSelf() {
	if t.suspect.IsZero() {
		return
	}
	why := "a probe succeeds"
	if t.trust.succeeding == 0 {
		why = "it probes nothing any more"
	}
	t.suspect = time.Time{}
	t.abstain(false)
	t.sitesTouched = true
	t.change("node "+string(t.ix.cfg.Self), "suspects itself", "trusts itself", why)
}

func (t *turn) losesTrust() {
	t.suspect = t.now
	t.change("node "+string(t.ix.cfg.Self), "trusts itself", "suspects itself", "none of its probes succeeds")
	for i := range t.targets {
		t.targets[i].forget(t.now)
	}
	t.abstain(true)
	t.touchAll()
	t.sitesTouched = true
}

// abstain has this node's vote count for nothing, or for something again.
func (t *turn) abstain(is bool) {
	if t.ix.self < 0 || t.peers[t.ix.self].vote.Suspect == is {
		return
	}
	own := &t.peers[t.ix.self]
	own.vote.Suspect, t.contactsMoved, t.voteMoved = is, true, true
	if own.doubted = (time.Time{}); is {
		own.doubted = t.now
	}
	if is {
		for i := range t.targets {
			own.states.set(i, t.targets[i].vote())
		}
	}
	t.recountAll()
}

// startHealth takes over what was kept on disk, unless too long ago.
func (s *State) startHealth(stored Stored, now time.Time) {
	keep := s.rejoinAfter()
	for _, h := range stored.Health {
		i, ok := s.ix.targetOf[h.Target]
		if !ok || !s.here[i] || h.State == Unknown && h.Seen.IsZero() {
			continue
		}
		last := h.Seen
		if stored.Stamped.After(last) {
			last = stored.Stamped
		}
		if age := now.Sub(last); age >= 0 && age <= keep {
			s.targets[i] = restore(h)
		}
	}
	s.castAll()
}

// castAll makes this node's own vote of the states of its targets.
func (s *State) castAll() {
	if s.ix.self < 0 {
		return
	}
	for i := range s.targets {
		s.peers[s.ix.self].states.set(i, s.targets[i].vote())
	}
}
