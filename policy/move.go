package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// mark is what the newest move remembers of an endpoint.
func (c chain) mark(id EndpointID) Mark {
	if c.move != nil {
		for _, m := range c.move.Marks {
			if m.Endpoint == id {
				return m
			}
		}
	}
	return Mark{Endpoint: id}
}

// turnAfter is how long each node waits for those whose names come before its own.
const turnAfter = time.Second

// rank is how many nodes that may make moves come before this one.
func (s *State) rank() int {
	n := 0
	for i := range s.peers {
		if p := &s.peers[i]; i != s.ix.self && p.live && p.vote.Decides && s.ix.nodes[i].ID < s.ix.cfg.Self {
			n++
		}
	}
	return n
}

// advance makes the next move of a chain where the choice differs from its newest, and a
// majority of sites is heard. It is answered by at once; it becomes an entry at once if this
// node is the first by name of those that may write it, else if it is still missing when
// this node's turn comes. held is what the chain was answered with until now. A move of another node
// is not contradicted before the votes that it was made for had the time to arrive.
func (t *turn) advance(svc int, b bound, held chain) (chain, []view) {
	in := &t.ix.services[svc]
	base := chain{move: t.moves[chainKey(in.ID, b.stamp, b.overrideStamp())]}
	views := t.look(svc, b, base)
	base.taken = t.takenAt(held, base)
	var next *Move
	pending := !held.at.IsZero() && held.after == base.move
	if wait := base.taken.Add(turnAfter); pending {
		next = t.next(in, svc, b, base, in.stillUp(views, held.move))
	} else if base.taken.IsZero() || !wait.After(t.now) || t.ordersMoved {
		next = t.next(in, svc, b, base, views)
	} else {
		base.due = wait
	}
	if next == nil {
		t.tellFollowed(svc, b, held, base)
		return base, views
	}
	at, known := t.now, !held.at.IsZero() && sameMove(held.move, next)
	if known {
		next, at = held.move, held.at
	} else if !sameSet(held.move, next) { // else it is made anew with other marks
		t.change(moveSubject(in, b), in.setName(t.before(svc, b, held)), in.setName(chain{move: next}), next.Cause)
	}
	c := chain{move: next, at: at, due: at.Add(time.Duration(t.rank()) * turnAfter), after: base.move, taken: base.taken}
	if !c.due.After(t.now) {
		t.writeMove(*next)
		c = chain{move: next}
	}
	return c, t.look(svc, b, c)
}

// stillUp are the views with what a move brought in taken for up, and for readmitted, until it is known to be down: a
// move that is answered by and no entry yet is not left because of what is unknown.
func (in *serviceInfo) stillUp(views []view, m *Move) []view {
	views = slices.Clone(views)
	for _, id := range m.Set {
		if e, ok := in.epOf[id]; ok && views[e].eligible && views[e].health != Down {
			views[e].health, views[e].ready = Up, true
		}
	}
	return views
}

// takenAt is when the newest entry of a chain was taken over from another node, if it was.
func (t *turn) takenAt(held, base chain) time.Time {
	last := held.move
	if !held.at.IsZero() {
		last = held.after
	}
	if base.move == last || base.move == nil {
		return held.taken
	}
	if e := t.entries[EntryKey{KindMove, moveKey(base.move)}]; e.Stamp.Node == t.ix.cfg.Self {
		return time.Time{}
	}
	return t.now
}

// next is the move that should follow the newest of a chain; nil: none, or not by this node.
func (t *turn) next(in *serviceInfo, svc int, b bound, c chain, views []view) *Move {
	if !t.decides() {
		return nil
	}
	ch := t.choose(svc, c, views)
	marks := t.marks(in, b, c, views, ch)
	last, odd := t.unread[chainKey(in.ID, b.stamp, b.overrideStamp())]
	differs := c.move == nil || t.differs(in, c, ch, marks)
	if !differs && !odd {
		return nil
	}
	set := in.ids(ch.set)
	if len(set) == 0 {
		return nil
	}
	next := &Move{
		Service: in.ID, Epoch: b.stamp, Set: set, NoneUp: ch.noneUp,
		Cause: "the newest move can't be read: the one before it is made again", Start: t.now, Marks: marks,
	}
	if differs {
		next.Cause = t.cause(svc, b, c, views, ch, marks)
	}
	if b.override != nil {
		next.Epoch, next.Override, next.OverrideKey = Stamp{}, b.override.Stamp, b.override.Key
	}
	for _, m := range marks {
		next.Ramp = next.Ramp || m.Ramp
	}
	if c.move != nil {
		last = max(last, c.move.Number)
	}
	next.Number = max(last, last+1) // none comes after the highest
	return next
}

// sameMove says whether two moves change the same, whenever each was made.
func sameMove(a, b *Move) bool {
	return sameSet(a, b) && slices.EqualFunc(a.Marks, b.Marks, func(x, y Mark) bool {
		return x.Endpoint == y.Endpoint && x.Ramp == y.Ramp && x.Percent == y.Percent && x.SiteLoss == y.SiteLoss
	})
}

// sameSet says whether two moves are of one number and answer the same, whatever they mark.
func sameSet(a, b *Move) bool {
	return a != nil && b != nil && a.Number == b.Number && a.NoneUp == b.NoneUp && slices.Equal(a.Set, b.Set)
}

// tellFollowed logs a move of another node, and one of this node's that never became an entry.
func (t *turn) tellFollowed(svc int, b bound, held, base chain) {
	in := &t.ix.services[svc]
	if held.move == base.move || sameSet(held.move, base.move) {
		return
	}
	why := "what it was made for has passed"
	if base.move != nil && (held.move == nil || base.move.Number >= held.move.Number) {
		why = base.move.Cause
		if e, ok := t.entries[EntryKey{KindMove, moveKey(base.move)}]; ok {
			why += "; says " + string(e.Stamp.Node)
		}
	}
	t.change(moveSubject(in, b), in.setName(t.before(svc, b, held)), in.setName(base), why)
}

// before is the chain that was answered by until now: where that of a bound has no move yet, the one of the epoch
// before, or of the override that it replaces, else outside of it.
func (t *turn) before(svc int, b bound, held chain) chain {
	if held.move != nil {
		return held
	}
	if b.override != nil {
		for stamp, c := range t.svcs[svc].inside {
			if stamp != b.override.Stamp && c.move.OverrideKey == b.override.Key {
				return c
			}
		}
	}
	return t.svcs[svc].main
}

// begins says what a chain begins with: a person's order, or nothing before it.
func (t *turn) begins(svc int, b bound) string {
	in := &t.ix.services[svc]
	var text string
	e := t.entries[EntryKey{KindActiveMetro, string(in.ID)}]
	switch {
	case b.override != nil:
		text = "override " + b.override.Key + " to site " + string(b.override.Override.Site) + " by " + b.override.Author
	case b.stamp != Stamp{} && e.Stamp == b.stamp:
		text = "failover to " + string(b.metro) + " by " + e.Author
	default:
		return "first decision"
	}
	if was := t.before(svc, b, chain{}); was.move != nil {
		text += ", before it " + in.setName(was)
	}
	return text
}

func moveSubject(in *serviceInfo, b bound) string {
	if b.override != nil {
		return "service " + string(in.ID) + " inside override " + b.override.Key
	}
	return "service " + string(in.ID)
}

// differs says whether a choice asks for a new move. What marks forget by time alone does not.
func (t *turn) differs(in *serviceInfo, c chain, ch choice, marks []Mark) bool {
	// A member that left the configuration is moved away from, so that it is none when it comes back.
	if set := in.known(c.move.Set); ch.noneUp != c.move.NoneUp || len(set) != len(c.move.Set) || !slices.Equal(set, in.ids(ch.set)) {
		return true
	}
	for _, m := range marks {
		if was := c.mark(m.Endpoint); m.Percent != was.Percent || m.SiteLoss && !was.SiteLoss {
			return true
		}
	}
	return false
}

func (in *serviceInfo) ids(set []bool) []EndpointID {
	var ids []EndpointID
	for e, ok := range set {
		if ok {
			ids = append(ids, in.eps[e].ID)
		}
	}
	return ids
}

// known is the part of a move's set that is still configured, in the order of the configuration.
func (in *serviceInfo) known(ids []EndpointID) []EndpointID {
	set := make([]bool, len(in.eps))
	for _, id := range ids {
		if e, ok := in.epOf[id]; ok {
			set[e] = true
		}
	}
	return in.ids(set)
}

// marks are those that the next move carries.
func (t *turn) marks(in *serviceInfo, b bound, c chain, views []view, ch choice) []Mark {
	gate := t.closedGate() != ""
	var marks []Mark
	for e := range views {
		m, v := c.mark(in.eps[e].ID), &views[e]
		switch {
		case v.inSet && !ch.set[e]:
			m = t.left(in, b, e, m, v)
		case !v.inSet && ch.set[e]:
			if !m.Left.IsZero() || ch.ramp[e] {
				m.Back = t.now
			}
			m.SiteLoss, m.Ramp, m.Percent = false, ch.ramp[e], 0
		case !v.inSet && !m.SiteLoss && v.health == Down && t.now.Sub(m.Left) <= t.lossShows():
			m.SiteLoss = t.siteGone(&in.eps[e], b)
		}
		if m.Ramp && t.percent(in, m) >= 100 {
			m.Ramp = false // it is over, so that no gate stops it
		}
		m = t.stopRamp(in, m, gate)
		if ch.set[e] && !m.Ramp && !m.Back.IsZero() && t.now.Sub(m.Back) >= quietDay {
			continue
		}
		if m != (Mark{Endpoint: m.Endpoint}) {
			marks = append(marks, m)
		}
	}
	return marks
}

// left is the mark of an endpoint that leaves the set.
func (t *turn) left(in *serviceInfo, b bound, e int, m Mark, v *view) Mark {
	m.Ramp, m.Percent = false, 0
	down := v.health == Down
	if v.eligible && !down {
		return m // another is preferred
	}
	m.Failed = m.failed(t.now)
	if down && !m.Back.IsZero() && t.now.Sub(m.Back) < quietDay {
		m.Failed++
	}
	m.Left = t.now
	m.SiteLoss = t.siteGone(&in.eps[e], b)
	return m
}

// siteGone says whether an endpoint leaves because each of its sites is down as a whole, lost, or silent.
func (t *turn) siteGone(ep *endpointInfo, b bound) bool {
	for _, at := range ep.at {
		if t.IsLost(t.ix.sites[at.site].ID) || t.silentSite(at.site) {
			continue
		}
		if health, _ := t.siteHealth(at.site); health != Down {
			return false
		}
	}
	return true
}

// lossShows is how long after an endpoint left its site may be found gone: its nodes' last votes still count
// when its balancers are found dead.
func (s *State) lossShows() time.Duration { return 2 * s.voteTTL() }

// silentSite says that a site has nodes, and none is heard.
func (s *State) silentSite(site int) bool {
	nodes := s.ix.nodesOf[site]
	return len(nodes) > 0 && !slices.ContainsFunc(nodes, func(n int) bool { return s.peers[n].live })
}

// stopRamp holds a ramp at its step while a gate is closed, and lets it go on from there.
func (t *turn) stopRamp(in *serviceInfo, m Mark, gate bool) Mark {
	switch {
	case m.Ramp && gate && m.Percent == 0:
		m.Percent = t.percent(in, m)
	case m.Ramp && !gate && m.Percent > 0:
		m.Back = t.now.Add(-in.Return.Over * time.Duration(min(m.Percent, 100)) / 100)
		m.Percent = 0
	}
	return m
}

// cause says in words what a move changes and why.
func (t *turn) cause(svc int, b bound, c chain, views []view, ch choice, marks []Mark) string {
	in := &t.ix.services[svc]
	var parts []string
	switch {
	case c.move == nil:
		parts = append(parts, t.begins(svc, b))
	case !anyInSet(views):
		parts = append(parts, "the endpoints left the configuration")
	}
	if c.move != nil && anyInSet(views) {
		for _, id := range c.move.Set {
			if _, ok := in.epOf[id]; !ok {
				parts = append(parts, string(id)+" left the configuration")
			}
		}
	}
	if ch.noneUp {
		parts = append(parts, "none is up")
	}
	if ch.why != "" {
		parts = append(parts, ch.why)
	}
	for e := range views {
		v, name := &views[e], in.endpointName(e)
		switch {
		case ch.noneUp && v.eligible && v.health == Down:
			parts = append(parts, name+" is down"+t.evidence(in, e))
		case v.inSet && !ch.set[e]:
			parts = append(parts, name+t.leaves(in, e, v))
		case !v.inSet && ch.set[e] && c.move != nil:
			parts = append(parts, name+t.enters(in, e, v, c, ch))
		}
	}
	if len(parts) == 0 && c.move.NoneUp {
		parts = append(parts, "one is up again")
	}
	if len(parts) == 0 {
		for _, m := range marks {
			if m.SiteLoss && !c.mark(m.Endpoint).SiteLoss {
				// The set stays, and with it what the move before it was made for.
				parts = append(parts, c.move.Cause, in.endpointName(in.epOf[m.Endpoint])+" is down with its whole site, and returns "+in.afterSiteLoss())
				break
			}
			if m.Percent != c.mark(m.Endpoint).Percent {
				parts = append(parts, "a gate stops or lets go a ramp")
				break
			}
		}
	}
	const most = 6
	if len(parts) > most {
		parts = append(parts[:most], fmt.Sprintf("and %d more", len(parts)-most))
	}
	return strings.Join(parts, "; ")
}

// afterSiteLoss is how an endpoint returns whose whole site was down.
func (in *serviceInfo) afterSiteLoss() string {
	switch {
	case !in.Return.AfterSiteLossSame, in.Return.Policy == ReturnManual:
		return "by hand"
	case in.Return.Policy == ReturnRamp:
		return "by a ramp over " + in.Return.Over.String()
	}
	return "after its hold"
}

func (t *turn) leaves(in *serviceInfo, e int, v *view) string {
	switch {
	case !v.eligible && v.off != "":
		return " leaves: " + v.off
	case !v.eligible:
		return " leaves: it is no candidate"
	case v.health == Down:
		return " is down" + t.evidence(in, e)
	}
	return " leaves: another is preferred"
}

func (t *turn) enters(in *serviceInfo, e int, v *view, c chain, ch choice) string {
	how := ""
	if ch.ramp[e] {
		how = ", by a ramp over " + in.Return.Over.String()
	}
	if o, ok := t.orders.returns[in.ID]; ok && v.ready && v.health == Up && t.now.Sub(o.given) < time.Second {
		if site, known := t.ix.siteOf[o.to]; known && in.eps[e].inSite(site) {
			how += ", returned by a person"
		}
	}
	left := c.mark(in.eps[e].ID).Left
	if freed, drain := t.orders.freedAt(in, &in.eps[e]); !left.IsZero() && freed.After(left) {
		how += fmt.Sprintf(", since the drain %s ended at %s", drain, freed.UTC().Format(time.DateTime))
	}
	return " is " + v.health.String() + how
}

// evidence is why an endpoint is down: the reason of its first target that is.
func (s *State) evidence(in *serviceInfo, e int) string {
	for _, at := range in.eps[e].at {
		for _, k := range s.ix.required[at.site] {
			if s.needs[k].state == Down {
				return ": site " + string(s.ix.sites[at.site].ID) + " is down, " + s.reason(s.ix.needs[k].target)
			}
		}
		for _, i := range at.targets {
			if i < 0 || s.verdicts[i].state != Down {
				continue
			}
			if why := s.reason(i); why != "" {
				return ": " + why
			}
		}
	}
	return ""
}

// setName is a move's set in words.
func (in *serviceInfo) setName(c chain) string {
	if c.move == nil {
		return "nothing"
	}
	var parts []string
	for _, id := range c.move.Set {
		if e, ok := in.epOf[id]; ok {
			parts = append(parts, in.endpointName(e))
		} else {
			parts = append(parts, string(id))
		}
	}
	text := strings.Join(parts, " ")
	if c.move.NoneUp {
		text += ", none up"
	}
	return text
}
