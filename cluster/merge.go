package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// load takes in a stored entry.
func (r *Replica) load(s *Sealed) {
	if r.wasCut(s.Entry) {
		r.out.Forget = append(r.out.Forget, s.Entry.EntryKey())
		return
	}
	if held, ok := r.entries[s.Entry.EntryKey()]; ok && !s.Beats(held) {
		return
	}
	r.put(s)
}

// put has an entry held in the place of what was held for its key.
func (r *Replica) put(s *Sealed) {
	key := s.Entry.EntryKey()
	if held, ok := r.entries[key]; ok {
		r.takeOut(held)
	}
	r.entries[key] = s
	r.tree.add(itemOf(s))
	r.authors[s.Entry.Stamp.Node]++
	r.seq++
	delete(r.tombs, key)
	if s.Entry.Deleted {
		r.tombs[key] = r.seq
	}
	if s.Entry.Kind == policy.KindAudit && !s.later {
		r.seeCut(s.Entry)
	}
}

// takeOut undoes what put counted.
func (r *Replica) takeOut(held *Sealed) {
	r.tree.remove(itemOf(held))
	if r.authors[held.Entry.Stamp.Node]--; r.authors[held.Entry.Stamp.Node] == 0 {
		delete(r.authors, held.Entry.Stamp.Node)
	}
}

func (r *Replica) forget(key policy.EntryKey) {
	if held, ok := r.entries[key]; ok {
		r.takeOut(held)
		delete(r.entries, key)
		delete(r.tombs, key)
		r.out.Forget = append(r.out.Forget, key)
	}
}

// takeOwn takes in what was sealed here, and returns what stays. A record that was cut by now is of a folder that was set back.
func (r *Replica) takeOwn(sealed []*Sealed) (taken []*Sealed) {
	for _, s := range sealed {
		if held, ok := r.entries[s.Entry.EntryKey()]; ok && !s.Beats(held) || r.wasCut(s.Entry) {
			continue
		}
		r.put(s)
		taken = append(taken, s)
	}
	return taken
}

// takeMessage takes in an entry of a packet, if it stays, and says whether it, or what stays in its place, is held.
func (r *Replica) takeMessage(m *Message, s *Sealed, now time.Time) bool {
	if m.unknown[s] {
		r.park(s, m.From)
		return false
	}
	return r.take(s, m.From, now)
}

func (r *Replica) take(s *Sealed, from policy.NodeID, now time.Time) bool {
	key := s.Entry.EntryKey()
	held, ok := r.entries[key]
	switch {
	case ok && held.hash == s.hash:
		return true
	case ok && !s.Beats(held):
		r.lose(s, held, from)
		return true
	case r.collected.has(short(s.hash)):
		return true
	case !r.mayTake(s, from):
		return false
	}
	if ok {
		r.lose(held, s, from)
	}
	r.put(s)
	r.noteSkew(s, from, now)
	r.out.Keep = append(r.out.Keep, s)
	switch {
	case !s.told():
	case s.Entry.Kind == policy.KindAudit:
		r.out.Audit = append(r.out.Audit, s.Entry)
	default:
		r.out.Merged = append(r.out.Merged, s.Entry)
	}
	return true
}

func (r *Replica) mayTake(s *Sealed, from policy.NodeID) bool {
	if r.cfg.Void(s.Entry) {
		return false
	}
	if s.later {
		return true
	}
	if s.Entry.Kind == policy.KindAudit {
		return r.mayTakeRecord(s, from)
	}
	if r.cfg.Obsolete(s.Entry) {
		r.unwanted.add(itemOf(s))
		return false
	}
	return true
}

// lose takes note of an entry that gives way to another.
func (r *Replica) lose(loser, winner *Sealed, from policy.NodeID) {
	a, b := loser.Entry.Stamp, winner.Entry.Stamp
	record := loser.Entry.Kind == policy.KindAudit
	if record {
		if slices.ContainsFunc(r.forks, func(s *Sealed) bool { return s.hash == loser.hash }) {
			return
		}
		r.keepFork(loser)
	}
	if record || a == b {
		r.note(Note{
			Kind: NoteFork, Node: a.Node, From: from, Key: loser.Entry.EntryKey(),
			Text: fmt.Sprintf("%s and %s were both signed for one place: the folder of %s was set back, or its key is in use twice", loser, winner, a.Node),
		})
	}
	if loser.told() && !record {
		r.out.Lost = append(r.out.Lost, loser.Entry)
	}
}

func (r *Replica) noteSkew(s *Sealed, from policy.NodeID, now time.Time) {
	if ahead := s.Entry.Stamp.Time().Sub(now); ahead > maxSkew {
		r.note(Note{
			Kind: NoteSkew, Node: s.Entry.Stamp.Node, From: from, Key: s.Entry.EntryKey(),
			Text: fmt.Sprintf("%s is stamped %s ahead of this node's clock", s, ahead.Round(time.Second)),
		})
	}
}

// vouchForDeparted countersigns what nodes wrote that are not in the configuration any more, so that peers which never
// knew their keys can take it.
func (r *Replica) vouchForDeparted() {
	if !slices.ContainsFunc(slices.Collect(maps.Keys(r.authors)), func(n policy.NodeID) bool { return r.ring.keys[n] == nil }) {
		return
	}
	var vouched []*Sealed
	for it := range r.tree.under(prefix{}) {
		if v := r.vouched(it.sealed); v != it.sealed {
			vouched = append(vouched, v)
		}
	}
	r.keepVouched(vouched)
}

// refuse tells of entries that are not taken. One that is held, by another proof, is not worth a word: a node that does not
// know yet of its author's new key sends what was signed with the former one.
func (r *Replica) refuse(list []refusal) {
	for _, f := range list {
		if held, ok := r.entries[f.note.Key]; !ok || held.hash != f.hash {
			r.note(f.note)
		}
	}
}

// vouchForRekeyed countersigns what rests on a key that its node has no longer: it was good when it was taken.
func (r *Replica) vouchForRekeyed(old *Keyring) {
	rekeyed := func(n policy.NodeID) bool {
		before, now := old.keys[n], r.ring.keys[n]
		return before != nil && now != nil && !now.Equal(before)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(r.ring.keys)), rekeyed) {
		return
	}
	var vouched []*Sealed
	for it := range r.tree.under(prefix{}) {
		if s := it.sealed; rekeyed(s.Entry.Stamp.Node) || rekeyed(s.countBy) {
			vouched = append(vouched, s.countersign(r.cfg.Cluster, r.cfg.Self, r.cfg.Key))
		}
	}
	r.keepVouched(vouched)
}

// keepVouched has entries that are held go on with this node's countersignature.
func (r *Replica) keepVouched(vouched []*Sealed) {
	for _, v := range vouched {
		r.replace(r.entries[v.Entry.EntryKey()], v)
	}
	r.out.Keep = append(r.out.Keep, vouched...)
}

// vouched is the entry as it can be given to a peer.
func (r *Replica) vouched(s *Sealed) *Sealed {
	if _, present := r.ring.keys[s.Entry.Stamp.Node]; present {
		return s
	}
	if _, present := r.ring.keys[s.countBy]; present {
		return s
	}
	return s.countersign(r.cfg.Cluster, r.cfg.Self, r.cfg.Key)
}

// replace swaps a held entry for the same one with other proof.
func (r *Replica) replace(old, new *Sealed) {
	r.tree.remove(itemOf(old))
	r.entries[new.Entry.EntryKey()] = new
	r.tree.add(itemOf(new))
}

// parking keeps entries of unknown authors until a configuration knows them.
type parking struct {
	list  []*Sealed
	bytes int
}

const (
	maxParked      = 1000
	maxParkedBytes = 1 << 20
)

// park keeps an entry of an unknown author aside. What a node that left the configuration wrote is held by those who held it
// before; anything more under its name is refused.
func (r *Replica) park(s *Sealed, from policy.NodeID) {
	it := itemOf(s)
	if held, ok := r.entries[s.Entry.EntryKey()]; ok && held.hash == s.hash || r.unwanted.has(it.hash) {
		return
	}
	r.unwanted.add(it)
	if r.authors[s.Entry.Stamp.Node] > 0 { // it has left
		r.note(Note{
			Kind: NoteRefused, Node: s.Entry.Stamp.Node, From: from, Key: s.Entry.EntryKey(),
			Text: fmt.Sprintf("%s refused: %s is no longer in the configuration, and no present node vouches for it", s, s.Entry.Stamp.Node),
		})
		return
	}
	if len(r.parked.list) == maxParked || r.parked.bytes+len(s.leaf) > maxParkedBytes {
		r.parked.bytes -= len(r.parked.list[0].leaf)
		r.parked.list = r.parked.list[1:]
	}
	r.parked.list = append(r.parked.list, s)
	r.parked.bytes += len(s.leaf)
	r.note(Note{
		Kind: NoteParked, Node: s.Entry.Stamp.Node, From: from, Key: s.Entry.EntryKey(),
		Text: fmt.Sprintf("%s kept aside: %s is no node of the configuration", s, s.Entry.Stamp.Node),
	})
}

func (r *Replica) unpark(now time.Time) {
	list := r.parked.list
	r.parked = parking{}
	r.unwanted = newMemory(cap(r.unwanted.ring)) // it may be wanted by now
	for _, s := range list {
		switch err := r.ring.check(s, r.seen); err {
		case nil:
			r.take(s, s.Entry.Stamp.Node, now)
		case errUnknownAuthor:
			r.parked.list = append(r.parked.list, s)
			r.parked.bytes += len(s.leaf)
			r.unwanted.add(itemOf(s))
		default:
			r.note(Note{Kind: NoteRefused, Node: s.Entry.Stamp.Node, Key: s.Entry.EntryKey(), Text: fmt.Sprintf("parked entry %s refused: %v", s, err)})
		}
	}
}

// Parked is the number of entries of unknown authors that are kept aside.
func (r *Replica) Parked() int { return len(r.parked.list) }

// memory remembers the hashes of the last entries that were put into it.
type memory struct {
	places map[uint64]uint64 // entry hash → key hash
	ring   []uint64
	next   int
}

func newMemory(size int) *memory {
	return &memory{places: map[uint64]uint64{}, ring: make([]uint64, 0, size)}
}

func (m *memory) has(hash uint64) bool {
	_, ok := m.places[hash]
	return ok
}

func (m *memory) add(it item) {
	if m.has(it.hash) {
		return
	}
	if len(m.ring) < cap(m.ring) {
		m.ring = append(m.ring, it.hash)
	} else {
		delete(m.places, m.ring[m.next])
		m.ring[m.next] = it.hash
		m.next = (m.next + 1) % len(m.ring)
	}
	m.places[it.hash] = it.key
}

// under lists what is remembered under a prefix.
func (m *memory) under(p prefix) (out []pair) {
	for hash, key := range m.places {
		if p.has(key) {
			out = append(out, pair{key, hash})
		}
	}
	slices.SortFunc(out, func(a, b pair) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.hash, b.hash)) })
	return out
}
