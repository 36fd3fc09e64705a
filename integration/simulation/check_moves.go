package simulation

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// recovered is how long an endpoint must have been reached for no vote to call it down any more: two checks, and a
// vote that is not refreshed.
const recovered = 2*interval + voteTTL + 2*time.Second

// judgeLeft judges that a node answers with a site no more: I1.
func (c *checker) judgeLeft(n *node, site policy.SiteID) {
	st := n.state.Status(n.time())
	svc := st.Services[0]
	if n.state.Held() != "" || svc.Names[0].Override != "" {
		return
	}
	for _, ep := range svc.Endpoints {
		if ep.Sites[0] != site || !ep.Candidate {
			continue
		}
		if ep.Health != policy.Down {
			if ep.Health == policy.Up && !c.preferred(svc, site) && c.w.now-c.written(n) > lateAfter && c.reachedByMajority(n, site) {
				c.w.say("%s leaves %s by a late move", n.id, site)
				c.count.LateMove++ // of a node that moved rightly and was cut off before it told
			}
			return
		}
		if !c.reachedByMajority(n, site) {
			return
		}
		t := c.w.truth
		switch {
		case t.lately(t.loss, proven) && t.lately(t.cut, proven):
			c.count.LossAndCut++
		default:
			c.w.fail("I1", "%s moves away from %s (%s; %s), which a majority of sites reaches", n.id, site, ep.Detail, svc.Cause)
		}
	}
}

// lateAfter is after how long a move that comes tells of what may have passed.
const lateAfter = 5 * time.Second

// written is when the newest move that a node holds was written.
func (c *checker) written(n *node) (at time.Duration) {
	at = c.w.now
	for s := range n.replica.Entries() {
		if log, ok := c.moves[s.Entry.EntryKey()]; ok && log[s.Entry.Rank].Move != nil {
			at = min(at, c.w.now-log[s.Entry.Rank].at) // of several chains the newest
		}
	}
	return c.w.now - at
}

// preferred says whether what is answered now is before a site by order, so that leaving it is a return.
func (c *checker) preferred(svc policy.ServiceStatus, site policy.SiteID) bool {
	for _, ep := range svc.Endpoints {
		if ep.Sites[0] == site {
			return false
		}
		if ep.InSet {
			return true
		}
	}
	return false
}

// reachedByMajority says whether a majority of the electorate, as a node counts it, has got a site's answers for long,
// and the site itself what it requires.
func (c *checker) reachedByMajority(n *node, site policy.SiteID) bool {
	seats, reach := 0, 0
	for _, s := range c.w.top.cfg.Sites {
		voters := c.runs(s.ID)
		if c.electorate(n, s.ID) {
			seats++
			if len(voters) > 0 && !slices.ContainsFunc(voters, func(v *node) bool { return !c.w.truth.reached(v, balancerOf(site), recovered) }) {
				reach++
			}
		}
		if s.ID == site && len(s.Requires) > 0 && slices.ContainsFunc(c.speak(site), func(v *node) bool { return !c.w.truth.reached(v, uplinkOf(site), recovered) }) {
			return false
		}
	}
	return 2*reach > seats
}

// electorate says whether a site votes, as a node counts.
func (c *checker) electorate(n *node, site policy.SiteID) bool {
	return slices.ContainsFunc(c.w.nodes, func(m *node) bool { return m.site == site }) && !n.state.IsLost(site)
}

// runs are the nodes of a site that run.
func (c *checker) runs(site policy.SiteID) []*node {
	var list []*node
	for _, n := range c.w.nodes {
		if n.site == site && n.life != nil {
			list = append(list, n)
		}
	}
	return list
}

// speak are the nodes of a site that run, or whose last votes may still count.
func (c *checker) speak(site policy.SiteID) []*node {
	list := c.runs(site)
	for _, n := range c.w.nodes {
		if n.site == site && n.life == nil && c.w.now-n.died < voteTTL+time.Second {
			list = append(list, n)
		}
	}
	return list
}

// judgeKnown judges what a node of a majority holds true, and answers, once it is so for long: I6, and with it I9 and I10.
func (c *checker) judgeKnown(n *node) {
	if c.w.truth.lately(c.w.truth.loss, 2*proven) || !n.serving || n.state.Held() != "" {
		return
	}
	var st *policy.Status
	for _, conf := range c.w.top.cfg.Sites {
		down := c.majority(n, conf.ID, false, deadline(fall))
		up := down == nil && c.healthy(conf, proven)
		if up {
			up = c.majority(n, conf.ID, true, proven) != nil
		}
		if conf.Role == policy.Witness || down == nil && !up {
			delete(n.seen.known, conf.ID)
			continue
		}
		if st == nil {
			now := n.state.Status(n.time())
			st = &now
		}
		if down != nil {
			c.judgeDown(n, st, conf.ID, down)
		} else if h := endpointOf(st, conf.ID).Health; h != policy.Up {
			c.w.fail("I6", "%s holds %s %s, which a majority of sites has reached for more than %v", n.id, conf.ID, h, proven)
		}
		c.countKnown(n, conf.ID)
	}
}

// judgeDown judges what a node makes of a site that is down for a majority.
func (c *checker) judgeDown(n *node, st *policy.Status, site policy.SiteID, voters []*node) {
	ep := endpointOf(st, site)
	answers := min(c.w.now-n.seen.freed-deadline(fall), c.w.now-n.seen.since-followed) > 0 && slices.Contains(n.seen.sites, site) && ep.Candidate && !c.ownExpiry() && st.Services[0].Names[0].Override == "" && c.another(st, site, voters)
	if ep.Health == policy.Down && !answers {
		return
	}
	k := fall
	for _, v := range voters {
		for _, s := range v.state.Status(v.time()).Sites {
			if s.Site == site {
				k = max(k, s.Fall)
			}
		}
	}
	switch {
	case c.majority(n, site, false, deadline(k)) == nil:
	case answers:
		c.w.fail("I6", "%s still answers %s, which is down for a majority for more than %v (k = %d), and another is up", n.id, site, deadline(k), k)
	default:
		c.w.fail("I6", "%s holds %s %s, which is down for a majority for more than %v (k = %d)", n.id, site, ep.Health, deadline(k), k)
	}
}

func endpointOf(st *policy.Status, site policy.SiteID) policy.EndpointStatus {
	for _, ep := range st.Services[0].Endpoints {
		if ep.Sites[0] == site {
			return ep
		}
	}
	return policy.EndpointStatus{}
}

// countKnown counts once what was judged.
func (c *checker) countKnown(n *node, site policy.SiteID) {
	if n.seen.known[site] {
		return
	}
	if n.seen.known == nil {
		n.seen.known = map[policy.SiteID]bool{}
	}
	n.seen.known[site] = true
	c.count.Known++
	lost, dead := 0, false
	for _, s := range c.w.top.cfg.Sites {
		if n.state.IsLost(s.ID) {
			lost++
		} else if len(c.runs(s.ID)) == 0 {
			dead = true
		}
	}
	if dead {
		c.count.KnownDead++
	}
	if lost > 0 && lost >= len(c.w.top.cfg.Sites)-1 {
		c.count.KnownAlone++
	}
}

// deadline is I6's k × interval + timeout + 1 s; intervals here are up to a twentieth longer, and the last check may
// have begun just before.
func deadline(k int) time.Duration {
	return time.Duration(k)*interval*21/20 + timeout + time.Second + lookEvery
}

const (
	// acquainted is how long voters must have known each other.
	acquainted = 8 * time.Second
	// followed is how long a node answers by another's move before it contradicts it: the votes of who wrote it may
	// be under way, or may be all that it has.
	followed = time.Second + lookEvery
	// proven is how long an endpoint must have been reached to be up without a doubt.
	proven = 20 * time.Second
)

// majority are the nodes of a majority of sites that have all reached a site, or all missed it, for at least d, and are
// connected with n since long before; nil: there is no such majority.
func (c *checker) majority(n *node, site policy.SiteID, reached bool, d time.Duration) (voters []*node) {
	seats, say, own := 0, 0, false
	for _, s := range c.w.top.cfg.Sites {
		if !c.electorate(n, s.ID) {
			continue
		}
		seats++
		if list := c.voters(n, s.ID, site, reached, d); list != nil {
			say++
			voters = append(voters, list...)
			own = own || s.ID == n.site
		}
	}
	if !own || 2*say <= seats {
		return nil
	}
	return voters
}

// voters are the nodes of a site that probe another and all found the same for d; nil: they did not, or some are not known for long.
func (c *checker) voters(n *node, of, site policy.SiteID, reached bool, d time.Duration) []*node {
	var list []*node
	t := c.w.truth
	for _, m := range c.w.nodes {
		if m.site != of {
			continue
		}
		if m.life == nil {
			if c.w.now-m.died < d+acquainted {
				return nil // its last vote may still have counted
			}
			continue
		}
		s := t.reach[sight{m.id, balancerOf(site)}]
		if s.is != reached || c.w.now-s.at < d || !t.linkedFor(n, m, d+acquainted) || c.w.now-m.began < d+acquainted || m.state.Held() != "" {
			return nil
		}
		if !m.probes[balancerOf(site)] {
			continue
		}
		sees := false
		for id := range m.probes {
			sees = sees || t.reached(m, id, d)
		}
		if !sees { // it suspects itself
			return nil
		}
		list = append(list, m)
	}
	return list
}

// healthy says whether a site has had for long what it requires, for all its nodes.
func (c *checker) healthy(s policy.Site, d time.Duration) bool {
	return len(s.Requires) == 0 || !slices.ContainsFunc(c.w.nodes, func(m *node) bool {
		return m.site == s.ID && (m.life == nil || c.w.now-m.began < d || !c.w.truth.reached(m, uplinkOf(s.ID), d))
	})
}

// another says whether another site than one that is down could be answered: a candidate that all voters have reached for long.
func (c *checker) another(st *policy.Status, down policy.SiteID, voters []*node) bool {
	for _, s := range c.w.top.cfg.Sites {
		if s.ID == down || !endpointOf(st, s.ID).Candidate || !c.healthy(s, proven) {
			continue
		}
		if !slices.ContainsFunc(voters, func(v *node) bool { return !c.w.truth.reached(v, balancerOf(s.ID), proven) }) {
			return true
		}
	}
	return false
}

// moveLog is the moves that were written, by chain.
type moveLog map[policy.EntryKey]chainLog

// chainLog is the sets of all moves of a chain, by number.
type chainLog map[uint64]loggedMove

// before is the newest move of a lower number.
func (l chainLog) before(number uint64) (m loggedMove) {
	for k, other := range l {
		if k < number && (m.Move == nil || k > m.Number) {
			m = other
		}
	}
	return m
}

// loggedMove is the first of a number to be written.
type loggedMove struct {
	*policy.Move
	all    []*policy.Move // of the number
	at     time.Duration
	stands bool // something that the move before answered was up, for who wrote this one
}

// stands says whether something that a move answers is up for a node.
func (c *checker) stands(n *node, m loggedMove) bool {
	return m.Move != nil && slices.ContainsFunc(n.state.Status(n.time()).Services[0].Endpoints, func(ep policy.EndpointStatus) bool {
		return ep.Health == policy.Up && slices.Contains(m.Set, ep.Endpoint)
	})
}

// wrote judges a move that a node writes: I7, endpoints that flap come back ever more rarely.
func (c *checker) wrote(n *node, e policy.Entry) {
	var m policy.Move
	if err := json.Unmarshal(e.Value, &m); err != nil {
		c.w.fail("form", "%s writes a move that can't be read: %v", n.id, err)
		return
	}
	c.w.say("%s writes move %d %v (%s)", n.id, m.Number, m.Set, m.Cause)
	c.count.Moves++
	if len(m.Set) == 0 {
		c.w.fail("I2", "%s writes a move to nothing", n.id)
	}
	log := c.moves[e.EntryKey()]
	if log == nil {
		log = chainLog{}
		c.moves[e.EntryKey()] = log
	}
	c.judgeLeaving(n, &m, log)
	l, ok := log[m.Number]
	if !ok {
		l = loggedMove{Move: &m, at: c.w.now, stands: c.stands(n, log.before(m.Number))}
	}
	l.all = append(l.all, &m)
	log[m.Number] = l
	c.judgeReturns(log)
}

// judgeLeaving judges that a move leaves an endpoint, which whoever wrote it must know to be down: I1.
func (c *checker) judgeLeaving(n *node, m *policy.Move, log chainLog) {
	last := log[m.Number-1].all
	if m.Override != (policy.Stamp{}) || len(last) == 0 {
		return
	}
	svc := n.state.Status(n.time()).Services[0]
	for i, ep := range svc.Endpoints {
		// Of several that bear the last number the node held one, and which is not known here.
		left := !slices.ContainsFunc(last, func(l *policy.Move) bool { return l.NoneUp || !slices.Contains(l.Set, ep.Endpoint) }) && !slices.Contains(m.Set, ep.Endpoint)
		preferred := slices.ContainsFunc(svc.Endpoints[:i], func(p policy.EndpointStatus) bool { return slices.Contains(m.Set, p.Endpoint) })
		if left && ep.Candidate && ep.Health != policy.Down && !preferred {
			c.w.fail("I1", "%s writes a move away from %s, which is %s for itself (%s)", n.id, ep.Endpoint, ep.Health, m.Cause)
		}
	}
}

// judgeReturns counts how often an endpoint came back beside one that stood.
func (c *checker) judgeReturns(log chainLog) {
	conf := c.w.top.cfg.Services[0].Return
	if conf.Policy != policy.ReturnHold || conf.Hold == 0 || slices.ContainsFunc(c.s.Actions, func(a Action) bool { return a.Verb == "order" || a.Verb == "empty" }) {
		return
	}
	numbers := make([]uint64, 0, len(log))
	for k := range log {
		numbers = append(numbers, k)
	}
	slices.Sort(numbers)
	back := map[policy.EndpointID]int{}
	was := map[policy.EndpointID]bool{}
	for i, k := range numbers {
		for _, id := range log[k].Set {
			if i > 0 && log[k].stands && was[id] && !slices.Contains(log[numbers[i-1]].Set, id) && !log[k].NoneUp && !log[numbers[i-1]].NoneUp {
				back[id]++
			}
			was[id] = true
		}
	}
	most := 2 + int(math.Log2(1+float64(c.s.End)/float64(conf.Hold)))
	for id, times := range back {
		if times > most {
			c.w.fail("I7", "%s came back %d times in %v, %d at most expected with a hold of %v that doubles", id, times, c.w.now, most, conf.Hold)
		}
	}
}
