package simulation

import (
	"math/rand/v2"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// network carries packets between places: one-way, late, and not always. What is cut, lossy, deaf or mute is
// named by site or node.
type network struct {
	rand     *rand.Rand
	metro    map[policy.SiteID]policy.MetroID
	cut      map[[2]string]bool     // from, to
	loss     map[[2]string]float64  // from, to
	deaf     map[policy.NodeID]bool // gossip does not come in
	mute     map[policy.NodeID]bool // gossip does not go out
	isolated map[policy.NodeID]bool // nothing comes in or goes out, not even of its own site
}

func newNetwork(t *topology, r *rand.Rand) *network {
	n := &network{rand: r, metro: map[policy.SiteID]policy.MetroID{}}
	for _, s := range t.cfg.Sites {
		n.metro[s.ID] = s.Metro
	}
	n.heal()
	return n
}

func (n *network) heal() {
	n.cut, n.loss = map[[2]string]bool{}, map[[2]string]float64{}
	n.deaf, n.mute, n.isolated = map[policy.NodeID]bool{}, map[policy.NodeID]bool{}, map[policy.NodeID]bool{}
}

// passes says whether anything gets from a node to a site (and the node to there; none: the site's own).
func (n *network) passes(from place, to place) bool {
	if n.isolated[from.id] || n.isolated[to.id] {
		return false
	}
	if len(n.cut) == 0 {
		return true
	}
	for _, a := range names(from) {
		for _, b := range names(to) {
			if n.cut[[2]string{a, b}] {
				return false
			}
		}
	}
	return true
}

// lossOf is the share of packets lost on the way.
func (n *network) lossOf(from, to place) float64 {
	if len(n.loss) == 0 || from.site == to.site {
		return 0
	}
	return n.loss[[2]string{string(from.site), string(to.site)}]
}

func names(p place) []string { return []string{string(p.site), string(p.id)} }

// delay is how long a packet takes.
func (n *network) delay(from, to place) time.Duration {
	base := time.Millisecond
	switch {
	case from.site == to.site:
		base = 200 * time.Microsecond
	case n.metro[from.site] != n.metro[to.site]:
		base = 20 * time.Millisecond
	}
	jitter := time.Duration(n.rand.Int64N(int64(2 * time.Millisecond)))
	if n.rand.IntN(50) == 0 { // now and then one is overtaken
		jitter = time.Duration(n.rand.Int64N(int64(150 * time.Millisecond)))
	}
	return base + jitter
}

// gossips says whether gossip gets from one node to another.
func (n *network) gossips(from, to place) bool {
	return !n.mute[from.id] && !n.deaf[to.id] && n.passes(from, to)
}

// datagram says whether a datagram arrives, and after how long.
func (n *network) datagram(from, to place) (time.Duration, bool) {
	if !n.gossips(from, to) || n.rand.Float64() < n.lossOf(from, to) {
		return 0, false
	}
	return n.delay(from, to), true
}

// stream says whether what is sent by a stream arrives, for which both ways must be open.
func (n *network) stream(from, to place) (time.Duration, bool) {
	if !n.gossips(from, to) || !n.gossips(to, from) {
		return 0, false
	}
	d := 3 * n.delay(from, to)
	loss := 1 - (1-n.lossOf(from, to))*(1-n.lossOf(to, from))
	for again := 200 * time.Millisecond; n.rand.Float64() < loss; again *= 2 { // a lost segment is repeated
		if d += again; d > 3*time.Second {
			return 0, false
		}
	}
	return d, true
}

// answers says whether one attempt of a check gets its answer: two packets each way, as a TCP connection with a question.
func (n *network) answers(from, to place) (time.Duration, bool) {
	if !n.passes(from, to) || !n.passes(to, from) {
		return 0, false
	}
	if len(n.loss) > 0 {
		there, back := 1-n.lossOf(from, to), 1-n.lossOf(to, from)
		if n.rand.Float64() > there*there*back*back {
			return 0, false
		}
	}
	return n.delay(from, to) + n.delay(to, from), true
}
