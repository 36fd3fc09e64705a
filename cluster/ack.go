package cluster

import (
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Ack is a node's word that it holds orders on its disk and has decided by them.
type Ack struct {
	Node     policy.NodeID
	Stamps   []policy.Stamp
	Revision uint64  // the node's own number of the revision that it serves
	Digest   [8]byte // of that revision, the same on nodes that decided the same
}

// AckDue are orders that a node wants acknowledged, once they are on disk and policy has decided by them.
type AckDue struct {
	Node   policy.NodeID
	Stamps []policy.Stamp
}

// waiting is an own order that peers are to acknowledge.
type waiting struct {
	sealed *Sealed
	acks   map[policy.NodeID]Ack
	begun  time.Time
	next   time.Time // when it is sent again to those that are silent
	every  time.Duration
}

const (
	ackPatience = 300 * time.Millisecond
	ackAsked    = 10 * time.Second // an order is sent again for so long
	ackAwaited  = time.Minute      // nobody waits longer to learn who has it
	ackKept     = time.Hour        // and it is known for so long, of the newest
	maxWaiting  = 256
)

func (r *Replica) awaitAcks(list []*Sealed, now time.Time) {
	r.hurry(now)
	for _, s := range list {
		r.waiting = append(r.waiting, &waiting{
			sealed: s, acks: map[policy.NodeID]Ack{}, begun: now,
			next: now.Add(ackPatience), every: ackPatience,
		})
	}
	over := 0
	for len(r.waiting)-over > maxWaiting && now.Sub(r.waiting[over].begun) > ackAwaited {
		over++
	}
	r.waiting = slices.Delete(r.waiting, 0, over)
}

// askAgain sends orders again to live peers that have not acknowledged them.
func (r *Replica) askAgain(now time.Time) {
	r.waiting = slices.DeleteFunc(r.waiting, func(w *waiting) bool { return now.Sub(w.begun) > ackKept })
	var due []*waiting
	for _, w := range r.waiting {
		if now.Sub(w.begun) > ackAsked || len(w.acks) == len(r.order) {
			continue
		}
		if r.hurry(now); now.Before(w.next) {
			continue
		}
		w.every *= 2
		w.next = now.Add(w.every)
		due = append(due, w)
	}
	if len(due) == 0 {
		return
	}
	for _, node := range r.livePeers(now) {
		var list []*Sealed
		for _, w := range due {
			if _, ok := w.acks[node]; !ok {
				list = append(list, w.sealed)
			}
		}
		r.ask(node, list)
	}
}

// ask sends orders to one peer, in few packets.
func (r *Replica) ask(node policy.NodeID, list []*Sealed) {
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && size < maxTurnBytes {
			size += len(list[n].leaf) + len(list[n].path) + 160
			n++
		}
		r.send(node, r.ring.singlesPacket(r.cfg.Self, list[:n], true))
		list = list[n:]
	}
}

// Ack sends an acknowledgement that is due, with the revision that is served now.
func (r *Replica) Ack(due AckDue, revision uint64, digest [8]byte, now time.Time) Out {
	for stamps := range slices.Chunk(due.Stamps, maxStamps) {
		b := append(putU64(nil, revision), digest[:]...)
		b = putUvarint(b, uint64(len(stamps)))
		for _, s := range stamps {
			b = putStamp(b, s)
		}
		r.send(due.Node, r.signedPacket(typeAck, due.Node, b))
	}
	return r.done(now)
}

func readAck(r *reader) (a Ack) {
	a.Revision = r.u64("revision")
	copy(a.Digest[:], r.take(len(a.Digest), "digest"))
	for n := r.count(maxStamps, 13, "stamps"); n > 0; n-- {
		a.Stamps = append(a.Stamps, r.stamp("stamp"))
	}
	return a
}

func (r *Replica) receiveAck(a Ack) {
	named := setOf(a.Stamps)
	known := false
	for _, w := range r.waiting {
		if named[w.sealed.Entry.Stamp] {
			w.acks[a.Node] = a
			known = true
		}
	}
	if known {
		r.out.Acks = append(r.out.Acks, a)
	}
}

// Acked lists who acknowledged all of some own orders, by name. It is known of those of the last minute, and of the newest of
// the last hour.
func (r *Replica) Acked(stamps ...policy.Stamp) []Ack {
	asked := setOf(stamps)
	count, last := map[policy.NodeID]int{}, map[policy.NodeID]Ack{}
	for _, w := range r.waiting {
		if !asked[w.sealed.Entry.Stamp] {
			continue
		}
		for id, a := range w.acks {
			count[id]++
			last[id] = a
		}
	}
	var out []Ack
	for _, id := range r.order {
		if count[id] > 0 && count[id] == len(stamps) {
			out = append(out, last[id])
		}
	}
	return out
}

func setOf(stamps []policy.Stamp) map[policy.Stamp]bool {
	set := make(map[policy.Stamp]bool, len(stamps))
	for _, s := range stamps {
		set[s] = true
	}
	return set
}
