package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
)

const (
	settled     = 20 * time.Second // after the heal, when all must be at rest
	toldAgain   = 7 * time.Second  // until an alarm that a clock far ahead has cleared is raised again: 5 s, and two looks
	agreeWithin = 6 * time.Second  // after the heal, until all agree: I4's some 5 s, and the membership's part
)

// compare judges that nodes which hold the same answer the same: I3. A move that a node answers by and has not written
// yet is written when its turn comes.
func (c *checker) compare() {
	for i, a := range c.w.nodes {
		for _, b := range c.w.nodes[i+1:] {
			k := pair{a.id, b.id}
			if !c.comparable(a, b) || a.revision.Digest == b.revision.Digest {
				delete(c.differ, k)
				continue
			}
			from, ok := c.differ[k]
			if !ok {
				c.differ[k] = c.w.now
				continue
			}
			if patience := time.Duration(len(c.w.nodes))*time.Second + 2*time.Second; c.w.now-from > patience {
				c.w.fail("I3", "%s %s, %s %s, and both hold the same for %v", a.id, c.answerOf(a), b.id, c.answerOf(b), c.w.now-from)
			}
		}
	}
}

func (c *checker) comparable(a, b *node) bool {
	if a.life == nil || b.life == nil || a.stopped() || b.stopped() || !a.serving || !b.serving || a.state.Held() != "" || b.state.Held() != "" {
		return false
	}
	if a.skew != b.skew { // what time changes comes at other times
		return false
	}
	n, sum := a.replica.Digest()
	m, other := b.replica.Digest()
	return n == m && sum == other
}

// judgeHeld judges that a held node says so, with a way out: I4.
func (c *checker) judgeHeld(n *node) {
	if n.state.Held() == "" {
		n.seen.held = false
		return
	}
	n.seen.freed = c.w.now
	if !n.seen.held {
		n.seen.held, n.seen.heldAt = true, c.w.now
		c.count.Held++
		return
	}
	if c.w.now-n.seen.heldAt < 2*time.Second {
		return
	}
	cause := "held/" + string(n.id)
	for _, a := range n.state.Status(n.time()).Alarms {
		if a.Cause == cause && a.Way != "" {
			return
		}
	}
	c.w.fail("I4", "%s is held for %v without an alarm that names the way out", n.id, c.w.now-n.seen.heldAt)
}

// healed begins to wait until all agree: I4.
func (c *checker) healed() {
	c.healedAt = c.w.now
	var look func()
	look = func() {
		why := c.disagreement()
		switch {
		case why == "":
			c.lastAgree = c.w.now
			if c.agreedAt == 0 {
				c.agreedAt = c.w.now - c.healedAt
				c.w.say("all agree")
			}
		case c.agreedAt == 0 && c.w.now-c.healedAt > agreeWithin:
			c.w.fail("I4", "no agreement %v after the heal: %s", agreeWithin, why)
		}
		c.w.after(agreeEvery, look)
	}
	c.w.after(agreeEvery, look)
	var told func()
	told = func() {
		for _, n := range c.w.nodes {
			c.lookSuspended(n)
		}
		c.w.after(time.Second, told)
	}
	c.w.after(0, told)
}

// disagreement says why not all nodes agree; "": they do.
func (c *checker) disagreement() string {
	var first *node
	for _, n := range c.w.nodes {
		switch {
		case !n.serving:
			return fmt.Sprintf("%s does not serve yet", n.id)
		case n.state.Held() != "":
			return fmt.Sprintf("%s is held: %s", n.id, n.state.Held())
		}
		if first == nil {
			first = n
			continue
		}
		if a, b := first.revision.Digest, n.revision.Digest; a != b && !c.ownTimes() {
			return fmt.Sprintf("%s %s, %s %s", first.id, c.answerOf(first), n.id, c.answerOf(n))
		}
		k, sum := first.replica.Digest()
		if l, other := n.replica.Digest(); k != l || sum != other {
			return fmt.Sprintf("%s and %s hold %d and %d entries, and not the same: %s", first.id, n.id, k, l, c.difference(first, n))
		}
	}
	return ""
}

// ownTimes says that answers change with the time, and that clocks differ: a ramp and an expiry follow each node's own.
func (c *checker) ownTimes() bool {
	return c.clocksDiffer() && (c.w.top.cfg.Services[0].Return.Policy == policy.ReturnRamp || c.ownExpiry())
}

// ownExpiry says that an order may be over for one node and not for another.
func (c *checker) ownExpiry() bool {
	return c.clocksDiffer() && slices.ContainsFunc(c.s.Actions, func(a Action) bool { return slices.Contains(a.Args, "for") })
}

func (c *checker) clocksDiffer() bool {
	return slices.ContainsFunc(c.w.nodes, func(n *node) bool { return n.skew != c.w.nodes[0].skew })
}

// difference names what one node holds and another does not.
func (c *checker) difference(a, b *node) string {
	var list []string
	for _, x := range [][2]*node{{a, b}, {b, a}} {
		for s := range x[0].replica.Entries() {
			o, ok := x[1].replica.Get(s.Entry.EntryKey())
			if !ok || o.Entry.Stamp != s.Entry.Stamp {
				list = append(list, fmt.Sprintf("%s alone holds %s %s of %s", x[0].id, s.Entry.Kind, s.Entry.Key, s.Entry.Stamp))
			}
		}
	}
	return strings.Join(list, "; ")
}

// end judges what is left at the end: I4 and I8.
func (c *checker) end() {
	if c.violation != nil {
		return
	}
	if c.w.now-c.lastAgree > 3*time.Second {
		c.w.fail("I4", "%v after the heal nothing changes any more, and nodes do not agree: %s", settled, c.disagreement())
		return
	}
	for _, order := range slices.Sorted(maps.Keys(c.untold)) {
		if since := c.untold[order]; c.w.now-since > toldAgain {
			c.w.fail("I4", "%s without an alarm that names the way out for %v", order, c.w.now-since)
			return
		}
	}
	for _, n := range c.w.nodes {
		for key, e := range c.ack {
			s, ok := n.replica.Get(key)
			if !ok || e.Replaces(s.Entry) {
				c.w.fail("I8", "the order %s %s of %s was acknowledged, and %s does not hold it", e.Kind, e.Key, e.Stamp, n.id)
				return
			}
		}
	}
}

// lookSuspended notes since when a node's suspended orders have no alarm that names the way out.
func (c *checker) lookSuspended(n *node) {
	if n.life == nil {
		return
	}
	st := n.state.Status(n.time())
	told := map[string]bool{}
	for _, a := range st.Alarms {
		told[a.Cause] = a.Way != ""
	}
	untold := map[string]time.Duration{}
	for _, s := range st.Suspended {
		order := string(s.Kind) + "/" + s.Key
		if s.Way != "" && told["suspended/"+order] {
			continue
		}
		key := order + " is suspended on " + string(n.id)
		untold[key] = c.w.now
		if since, ok := c.untold[key]; ok {
			untold[key] = since
		}
	}
	maps.DeleteFunc(c.untold, func(key string, _ time.Duration) bool { return strings.HasSuffix(key, " on "+string(n.id)) })
	maps.Copy(c.untold, untold)
}
