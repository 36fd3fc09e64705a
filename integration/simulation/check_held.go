package simulation

import (
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// started judges that a start is held where it must be, or is held no more at once: the node may have to wait for nobody.
func (c *checker) started(n *node, stamped time.Time) {
	away := n.time().Sub(stamped)
	must := len(c.s.Sites) > 1 && (stamped.IsZero() || away < 0 || away > rejoinAfter)
	switch held := n.state.Held() != ""; {
	case held && !must:
		c.w.fail("held", "%s starts, last stamped %v ago by its clock, and is held", n.id, away)
	case must && !held:
		c.judgeReleased(n)
	}
}

// judgeReleased judges that a hold ended by a person, or by what could be heard in this life: from every site of the electorate,
// or from the active metro.
func (c *checker) judgeReleased(n *node) {
	if s, ok := n.replica.Get(policy.EntryKey{Kind: policy.KindRejoin, Key: string(n.id)}); ok && s.Entry.Author == "ann" {
		return
	}
	heard := func(site policy.SiteID) bool {
		return site == n.site || slices.ContainsFunc(c.w.nodes, func(m *node) bool { return m.site == site && c.heardOf(n, m) })
	}
	metro, _ := c.ordered(n)
	if metro == "" {
		metro = c.w.top.cfg.Sites[0].Metro // of the first production endpoint
	}
	all, active := true, false
	for _, s := range c.w.top.cfg.Sites {
		if c.electorate(n, s.ID) {
			all = all && heard(s.ID)
		}
		active = active || s.ID != n.site && s.Metro == metro && heard(s.ID) ||
			s.ID == n.site && s.Metro == metro && slices.ContainsFunc(c.w.nodes, func(m *node) bool { return m != n && m.site == s.ID && c.heardOf(n, m) })
	}
	if !all && !active {
		c.w.fail("held", "%s is held no more, and could hear neither every site nor the active metro", n.id)
	}
}

// heardOf says whether n could hear m, and m it, in n's life.
func (c *checker) heardOf(n, m *node) bool {
	s, ok := c.w.truth.link[pair{n.id, m.id}]
	return ok && (s.is || s.at > n.began)
}
