package cluster

import (
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Clock is a hybrid logical clock: it stamps later than it ever stamped or saw. The zero Clock with a Node is ready.
type Clock struct {
	Node policy.NodeID
	last policy.Stamp
}

// Stamp makes a stamp by the time, later than every stamp that was made or seen.
func (c *Clock) Stamp(now time.Time) policy.Stamp {
	s := policy.Stamp{Wall: now.UnixMilli(), Node: c.Node}
	if s.Compare(c.last) <= 0 {
		s = policy.Stamp{Wall: c.last.Wall, Logical: c.last.Logical + 1, Node: c.Node}
		if s.Logical == 0 {
			s.Wall++
		}
	}
	c.last = s
	return s
}

// See moves the clock behind a stamp, unless it is so far ahead that some clock is wrong.
func (c *Clock) See(s policy.Stamp, now time.Time) {
	if s.Compare(c.last) > 0 && s.Wall <= now.Add(maxSkew).UnixMilli() {
		c.last = s
	}
}
