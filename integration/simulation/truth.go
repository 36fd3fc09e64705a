package simulation

import (
	"time"

	"github.com/scloudstack/pharos/policy"
)

// truth is how things are, whatever the nodes make of it.
type truth struct {
	w       *World
	refuses map[policy.TargetID]bool // answers no
	silent  map[policy.TargetID]bool // answers nothing
	// Since when it is so, as of the last change of anything.
	reach map[sight]since // a node gets the answer of a target
	link  map[pair]since  // gossip gets from one node to another and back
	cut   since           // whether a line is cut, or since when none is any more
	loss  since           // whether a line loses packets
}

type sight struct {
	node   policy.NodeID
	target policy.TargetID
}

type pair struct{ a, b policy.NodeID }

type since struct {
	is bool
	at time.Duration
}

func newTruth(w *World) *truth {
	return &truth{
		w: w, refuses: map[policy.TargetID]bool{}, silent: map[policy.TargetID]bool{},
		reach: map[sight]since{}, link: map[pair]since{},
	}
}

// look finds how things are after a change.
func (t *truth) look() {
	now := t.w.now
	for _, n := range t.w.nodes {
		for id, target := range t.w.top.targets {
			there := place{site: target.site}
			is := n.life != nil && !n.stopped() && !t.refuses[id] && !t.silent[id] && t.w.net.passes(n.place, there) && t.w.net.passes(there, n.place)
			if k := (sight{n.id, id}); t.reach[k].is != is || t.reach[k] == (since{}) {
				t.reach[k] = since{is, now}
			}
		}
		for _, m := range t.w.nodes {
			is := n.life != nil && m.life != nil && t.w.linked(n, m)
			if k := (pair{n.id, m.id}); t.link[k].is != is {
				t.link[k] = since{is, now}
			}
		}
	}
	t.cut.note(len(t.w.net.cut)+len(t.w.net.isolated) > 0, now)
	t.loss.note(len(t.w.net.loss) > 0, now)
}

func (s *since) note(is bool, now time.Duration) {
	if s.is != is {
		*s = since{is, now}
	}
}

// lately says whether it is so, or was a short while ago.
func (t *truth) lately(s since, d time.Duration) bool { return s.is || s.at > 0 && t.w.now-s.at < d }

// reached says whether a node has got a target's answers for so long.
func (t *truth) reached(n *node, id policy.TargetID, d time.Duration) bool {
	s := t.reach[sight{n.id, id}]
	return s.is && t.w.now-s.at >= d
}

func (t *truth) linkedFor(n, m *node, d time.Duration) bool {
	if n == m {
		return true
	}
	s := t.link[pair{n.id, m.id}]
	return s.is && t.w.now-s.at >= d
}
