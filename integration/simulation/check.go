package simulation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// checker finds what must hold and does not. The rules are those of DECIDING, "What must hold".
type checker struct {
	w         *World
	s         *Schedule
	sites     map[netip.Addr]policy.SiteID
	violation *Violation
	count     Count
	ack       map[policy.EntryKey]policy.Entry // the latest order of each key that was acknowledged
	differ    map[pair]time.Duration           // since when two nodes hold the same and answer otherwise
	moves     moveLog
	healedAt  time.Duration
	agreedAt  time.Duration // zero: not yet
	lastAgree time.Duration
	untold    map[string]time.Duration // since when suspended orders have no alarm, by node and order
}

// Count is what came by, so that one sees what a rule was tried on.
type Count struct {
	Moves, Orders, Refused, Held int
	Known, KnownDead, KnownAlone int // healths that were as the truth; of these, with a dead site; with all other sites declared lost
	LossAndCut, LateMove         int // false moves that are accepted: see judgeLeft
}

// Add sums counts up.
func (c *Count) Add(o Count) {
	c.Moves += o.Moves
	c.Orders += o.Orders
	c.Refused += o.Refused
	c.Held += o.Held
	c.Known += o.Known
	c.KnownDead += o.KnownDead
	c.KnownAlone += o.KnownAlone
	c.LossAndCut += o.LossAndCut
	c.LateMove += o.LateMove
}

// glance is what the checker last saw of a life.
type glance struct {
	text   string
	sites  []policy.SiteID
	heldAt time.Duration
	held   bool
	known  map[policy.SiteID]bool // what of a site was judged, and counted
	begins bool                   // the start was held
	freed  time.Duration          // when it was last known to be
	since  time.Duration          // when it began to answer so
}

func newChecker(w *World, s *Schedule) *checker {
	c := &checker{
		w: w, s: s, sites: map[netip.Addr]policy.SiteID{}, ack: map[policy.EntryKey]policy.Entry{},
		differ: map[pair]time.Duration{}, moves: moveLog{}, untold: map[string]time.Duration{},
	}
	for i, site := range s.Sites {
		c.sites[addressOf(i)] = policy.SiteID(site.Name)
	}
	return c
}

func (c *checker) result() Result {
	var end []string
	for _, n := range c.w.nodes {
		end = append(end, n.String())
	}
	return Result{Violation: c.violation, Agreed: c.agreedAt, Count: c.count, End: strings.Join(end, "\n")}
}

const (
	lookEvery  = 250 * time.Millisecond
	agreeEvery = 50 * time.Millisecond
)

// plan has the checks made that are not of one step.
func (c *checker) plan() {
	c.w.truth.look()
	var look func()
	looks := 0
	look = func() {
		c.compare()
		for _, n := range c.w.nodes {
			if n.life != nil && n.revision != nil && !n.stopped() {
				c.judgeHeld(n)
				if looks%4 == 0 {
					c.judgeKnown(n)
				}
			}
		}
		looks++
		c.w.after(lookEvery, look)
	}
	c.w.after(lookEvery, look)
}

func (c *checker) answer(n *node) *policy.Answer {
	if n.life == nil || n.revision == nil {
		return nil
	}
	return n.revision.Answers[serviceName]
}

// answerSites are the sites of the addresses that a node answers with.
func (c *checker) answerSites(n *node) []policy.SiteID {
	var list []policy.SiteID
	a := c.answer(n)
	if a == nil || a.Fail {
		return nil
	}
	for _, m := range a.Choices[0].A {
		for _, addr := range m.Addrs {
			list = append(list, c.sites[addr])
		}
	}
	slices.Sort(list)
	return list
}

func (c *checker) answerOf(n *node) string {
	a := c.answer(n)
	switch {
	case a == nil:
		return "answers nothing"
	case a.Fail:
		return "answers SERVFAIL"
	}
	return fmt.Sprintf("answers %v", c.answerSites(n))
}

// stepped judges what a step brought about.
func (c *checker) stepped(n *node, e policy.Effects) {
	if held := n.state.Held() != ""; held != n.seen.begins {
		if n.seen.begins = held; !held {
			c.judgeReleased(n)
		}
	}
	for _, s := range e.Store {
		if s.Kind == policy.KindMove {
			c.wrote(n, s)
		}
	}
	if e.Revision == nil {
		return
	}
	before, was := n.seen.sites, n.seen.text
	n.seen.sites, n.seen.text = c.answerSites(n), c.answerOf(n)
	if n.seen.text != was {
		n.seen.since = c.w.now
		c.w.say("%s %s", n.id, n.seen.text)
	}
	if n.serving {
		c.answered(n)
	}
	for _, site := range before {
		if !slices.Contains(n.seen.sites, site) && len(n.seen.sites) > 0 {
			c.judgeLeft(n, site)
		}
	}
}

// answered judges an answer that is served: I2 and I5.
func (c *checker) answered(n *node) {
	a := c.answer(n)
	held := n.state.Held()
	switch {
	case a == nil:
		c.w.fail("I2", "%s serves no answer", n.id)
		return
	case a.Fail && held == "":
		c.w.fail("I2", "%s answers SERVFAIL and is not held", n.id)
		return
	case a.Fail:
		return
	case held != "":
		c.w.fail("I2", "%s answers and is held: %s", n.id, held)
		return
	}
	sites := c.answerSites(n)
	if len(sites) == 0 {
		c.w.fail("I2", "%s answers without an address", n.id)
	}
	metro, override := c.ordered(n)
	for _, site := range sites {
		conf := c.siteConf(site)
		switch {
		case override:
		case conf.Role == policy.Standby && metro != conf.Metro:
			c.w.fail("I2", "%s answers standby site %s without a person's word", n.id, site)
		case metro != "" && metro != conf.Metro:
			c.w.fail("I5", "%s answers site %s, and holds an order that makes %s the active metro", n.id, site, metro)
		}
	}
}

// ordered is the metro that a person made active, as a node holds it, and whether there is an override.
func (c *checker) ordered(n *node) (metro policy.MetroID, override bool) {
	for s := range n.replica.Entries() {
		e := s.Entry
		switch {
		case e.Deleted:
		case e.Kind == policy.KindOverride:
			override = true
		case e.Kind == policy.KindActiveMetro:
			text := string(e.Value) // {"metro":"far"}
			metro = policy.MetroID(strings.TrimSuffix(strings.TrimPrefix(text, `{"metro":"`), `"}`))
		}
	}
	return metro, override
}

func (c *checker) siteConf(id policy.SiteID) policy.Site {
	for _, s := range c.w.top.cfg.Sites {
		if s.ID == id {
			return s
		}
	}
	return policy.Site{}
}

// noted takes what the replica wonders about. Nobody forges anything here.
func (c *checker) noted(n *node, note cluster.Note) {
	c.w.say("%s %s: %s", n.id, note.Kind, note.Text)
	if note.Kind == cluster.NoteRefused || note.Kind == cluster.NoteParked {
		c.w.fail("form", "%s: %s: %s", n.id, note.Kind, note.Text)
	}
}

// given judges an order as it is made: I8, it must win over what is known here.
func (c *checker) given(n *node, entries []policy.Entry) {
	c.count.Orders++
	for _, e := range entries {
		if held, ok := n.replica.Get(e.EntryKey()); ok && !e.Replaces(held.Entry) {
			c.w.fail("I8", "the order %s %s of %s does not win over %s, which %s holds", e.Kind, e.Key, e.Stamp, held.Entry.Stamp, n.id)
		}
	}
}

// acked notes orders that were acknowledged.
func (c *checker) acked(n *node, entries []policy.Entry) {
	for _, e := range entries {
		c.w.say("%s acknowledges %s %s", n.id, e.Kind, e.Key)
		if old, ok := c.ack[e.EntryKey()]; !ok || e.Replaces(old) {
			c.ack[e.EntryKey()] = e
		}
	}
}

// emptied forgives what was on no other disk: a lost folder loses it.
func (c *checker) emptied(n *node) {
	for key, e := range c.ack {
		if _, here := n.disk.entries[key]; !here {
			continue
		}
		safe := slices.ContainsFunc(c.w.nodes, func(o *node) bool {
			s, ok := o.disk.entries[key]
			return o != n && ok && !e.Replaces(s.Entry)
		})
		if !safe {
			delete(c.ack, key)
		}
	}
}
