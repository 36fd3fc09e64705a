package cluster

import (
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// collectTombstones removes tombstones that every configured node holds, of lost sites too: learnt by an exchange after which
// both held the same. So no node can bring back what they ended. That a node's folder may be set back to before it is
// why a tombstone is also kept for a while.
func (r *Replica) collectTombstones(now time.Time) {
	if len(r.tombs) == 0 {
		return
	}
	through := r.seq
	for _, p := range r.peers {
		through = min(through, p.synced)
	}
	var over []*Sealed
	for key, seq := range r.tombs {
		s := r.entries[key]
		if seq <= through && now.Sub(s.Entry.Stamp.Time()) >= r.cfg.Tombstones && !r.cfg.Needed(s.Entry) {
			over = append(over, s)
		}
	}
	slices.SortFunc(over, func(a, b *Sealed) int { return a.Entry.Stamp.Compare(b.Entry.Stamp) })
	for _, s := range over {
		r.collect(s)
	}
}

func (r *Replica) collect(s *Sealed) {
	r.collected.add(itemOf(s))
	r.forget(s.Entry.EntryKey())
}

// dropCollected removes tombstones that a peer says every node held.
func (r *Replica) dropCollected(hashes []uint64) {
	if len(hashes) == 0 {
		return
	}
	for key := range r.tombs {
		if s := r.entries[key]; slices.Contains(hashes, short(s.hash)) {
			r.collect(s)
		}
	}
}

// Unseen are the orders of persons that this node sealed and that a replica filled from its peers does not know: what a
// node that is readmitted has in the store that it set aside. They are not taken back, but offered to people as conflicts.
func (r *Replica) Unseen(aside []*Sealed) []policy.Entry {
	var out []policy.Entry
	for _, s := range aside {
		e := s.Entry
		if e.Stamp.Node != r.cfg.Self || e.Author == machine || e.Kind == policy.KindAudit || s.later {
			continue
		}
		held, ok := r.entries[e.EntryKey()]
		if ok && (held.hash == s.hash || held.Entry.Over.Compare(e.Stamp) >= 0 || held.Entry.Ends == e.Stamp) {
			continue
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b policy.Entry) int { return a.Stamp.Compare(b.Stamp) })
	return out
}

// machine is the author of what no person ordered.
const machine = "machine"
