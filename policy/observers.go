package policy

import (
	"hash/fnv"
	"slices"
)

// watch finds what this node probes: what its own site requires, and its share of the endpoints. Of
// a site's nodes that live, those with the highest hash of node and target probe it, so that all
// of them choose the same and a death moves only what the dead one probed.
func (t *turn) watch(anew bool) {
	own := t.ix.ownSite()
	if own < 0 || !t.ix.nodes[t.ix.self].Probes {
		t.take(make([]bool, len(t.targets)), anew)
		return
	}
	var rivals []NodeID
	for _, n := range t.ix.probers[own] {
		if p := &t.peers[n]; n != t.ix.self && p.live && !p.vote.Suspect {
			rivals = append(rivals, t.ix.nodes[n].ID)
		}
	}
	observers := t.ix.cfg.Observers
	if observers <= 0 {
		observers = defaultObservers
	}
	here := make([]bool, len(t.targets))
	for i := range here {
		here[i] = t.ix.checked[i] && chosen(t.ix.cfg.Self, rivals, t.ix.targets[i].ID, observers) ||
			slices.ContainsFunc(t.ix.needsOf[i], func(k int) bool { return t.ix.needs[k].site == own })
	}
	t.take(here, anew)
}

// chosen says whether fewer than most rivals have a higher claim to a target.
func chosen(self NodeID, rivals []NodeID, id TargetID, most int) bool {
	if len(rivals) < most {
		return true
	}
	mine, above := claim(self, id), 0
	for _, r := range rivals {
		if c := claim(r, id); c > mine || c == mine && r < self {
			above++
		}
	}
	return above < most
}

func claim(n NodeID, id TargetID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(n))
	// FNV alone leaves names that differ in their last letter close to each other.
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return v
}

// take makes here what this node probes. What it probes no more it knows nothing of; what it takes
// over it finds down no sooner than the node before it would have.
func (t *turn) take(here []bool, anew bool) {
	if !anew && slices.Equal(here, t.here) {
		return
	}
	for i := range here {
		if here[i] == t.here[i] {
			continue
		}
		tg := &t.targets[i]
		if here[i] {
			switch t.verdicts[i].state {
			case Up:
				tg.start = byFall
			case Down:
				tg.start = byRise
			}
			continue
		}
		*tg = target{}
		t.fails(i)
		t.fx.Health = append(t.fx.Health, HealthEntry{Target: t.ix.targets[i].ID})
		t.cast(i)
	}
	t.here, t.trust = here, trust{}
	t.fx.Probe = []TargetID{}
	for i, is := range here {
		if !is {
			continue
		}
		t.trust.count(&t.targets[i], t.ix.targets[i], 1)
		t.fx.Probe = append(t.fx.Probe, t.ix.targets[i].ID)
	}
}
