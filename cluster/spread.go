package cluster

import (
	"time"

	"github.com/scloudstack/pharos/policy"
)

// spread sends new entries to every live peer: few as datagrams, many as few packets on a stream. Whole batches are what
// seal made of them.
func (r *Replica) spread(list []*Sealed, wantAck bool, now time.Time) {
	var packet [][]*Sealed
	size := 0
	flush := func() {
		if len(packet) > 0 {
			r.deliver(r.ring.entriesPacket(r.cfg.Self, packet, wantAck), now)
			packet, size = nil, 0
		}
	}
	whole, rest := batches(list)
	for _, batch := range whole {
		n := 96
		for _, s := range batch {
			n += len(s.leaf) + 3
		}
		if few := size+n <= batchRoom+96; !few && size <= batchRoom+96 && n <= batchRoom+96 || size+n > maxTurnBytes {
			flush()
		}
		packet, size = append(packet, batch), size+n
	}
	flush()
	if len(rest) > 0 {
		r.deliver(r.ring.singlesPacket(r.cfg.Self, rest, wantAck), now)
	}
}

// batches finds what is there of whole batches; rest are entries that came without all of theirs.
func batches(list []*Sealed) (whole [][]*Sealed, rest []*Sealed) {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].sig == list[0].sig {
			n++
		}
		if n == int(list[0].count) {
			whole = append(whole, list[:n])
		} else {
			rest = append(rest, list[:n]...)
		}
		list = list[n:]
	}
	return whole, rest
}

// deliver sends a packet to every live peer, or, where there are many, to a few that pass it on.
func (r *Replica) deliver(packet []byte, now time.Time) {
	if !r.gossiping(now) {
		r.send("", packet)
		return
	}
	r.passOn(packet, now)
}

func (r *Replica) gossiping(now time.Time) bool {
	return len(r.order) > r.cfg.Direct && len(r.livePeers(now)) > r.cfg.Direct
}

// rumor is a packet of news that is told to a few peers, a few times.
type rumor struct {
	packet []byte
	left   int
	next   time.Time
}

const (
	rumorPeers = 4
	rumorTimes = 3
	rumorEvery = 100 * time.Millisecond
	maxRumors  = 128
)

func (r *Replica) passOn(packet []byte, now time.Time) {
	if len(r.rumors) == maxRumors {
		r.rumors = r.rumors[1:] // the exchange carries what is left
	}
	r.rumors = append(r.rumors, &rumor{packet, rumorTimes, now})
	r.spreadRumors(now)
}

func (r *Replica) spreadRumors(now time.Time) {
	if len(r.rumors) == 0 {
		return
	}
	r.hurry(now)
	live := r.livePeers(now)
	kept := r.rumors[:0]
	for _, u := range r.rumors {
		if !now.Before(u.next) {
			for _, node := range r.choose(live, rumorPeers) {
				r.send(node, u.packet)
			}
			u.left--
			u.next = now.Add(rumorEvery)
		}
		if u.left > 0 {
			kept = append(kept, u)
		}
	}
	clear(r.rumors[len(kept):])
	r.rumors = kept
}

// choose draws n of a list, which it reorders.
func (r *Replica) choose(list []policy.NodeID, n int) []policy.NodeID {
	n = min(n, len(list))
	for i := range n {
		j := i + r.rand.IntN(len(list)-i)
		list[i], list[j] = list[j], list[i]
	}
	return list[:n]
}
