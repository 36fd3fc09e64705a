package cluster

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// ownVote is this node's vote. Every refresh carries it whole as long as it goes into a datagram; a longer one goes whole when
// it changes and to who asks, and its refreshes carry its hash.
type ownVote struct {
	set   bool
	value []byte
}

// heldVote is the newest vote of a peer.
type heldVote struct {
	incarnation, counter uint64
	hash                 uint64
	value                []byte
	whole                bool // false: the value was not received yet
}

// voteBody is: hash of the value (8) · entries held: count (uvarint), sum (8) · value follows (1) · value (string).
type voteBody struct {
	hash  uint64
	held  total
	whole bool
	value []byte
}

// wholeVote is the longest value that every refresh carries.
const wholeVote = datagram - 256

func readVote(r *reader) (v voteBody) {
	v.hash = r.u64("hash of the vote")
	v.held = total{int(r.uvarint(1<<40, "entries held")), r.u64("sum")}
	if v.whole = r.u8("vote follows") != 0; v.whole {
		v.value = r.bytes(maxVote, "vote")
		if r.err == nil && voteHash(v.value) != v.hash {
			r.fail("the vote is not what its hash names")
		}
	}
	return v
}

func voteHash(value []byte) uint64 { return short(sha256.Sum256(value)) }

// SetVote makes value this node's vote: it is sent at once, and refreshed until the next one.
func (r *Replica) SetVote(value []byte, now time.Time) (Out, error) {
	if len(value) > maxVote {
		return Out{}, fmt.Errorf("vote of %d octets, at most %d expected", len(value), maxVote)
	}
	r.vote = ownVote{set: true, value: value}
	r.timers.vote = now.Add(r.refresh())
	r.sendVote("", true)
	return r.done(now), nil
}

func (r *Replica) sendVote(to policy.NodeID, whole bool) {
	b := putU64(nil, voteHash(r.vote.value))
	b = putUvarint(b, uint64(r.tree.root.count))
	b = putU64(b, r.tree.root.sum)
	if b = append(b, bit(whole)); whole {
		b = putBytes(b, r.vote.value)
	}
	r.send(to, r.signedPacket(typeVote, to, b))
	r.out.Send[len(r.out.Send)-1].Vote = true
}

func (r *Replica) refreshVote() {
	if r.vote.set {
		r.sendVote("", len(r.vote.value) <= wholeVote)
	}
}

func (r *Replica) sendVoteTo(node policy.NodeID) {
	if r.vote.set {
		r.sendVote(node, true)
	}
}

func (r *Replica) receiveVote(m *Message, p *peer, now time.Time) {
	r.fallSilent(p, now)
	old := p.vote
	if old != nil && m.incarnation == old.incarnation && m.counter <= old.counter {
		return // it was overtaken on the way
	}
	v := &heldVote{incarnation: m.incarnation, counter: m.counter, hash: m.vote.hash, value: m.vote.value, whole: m.vote.whole}
	if !v.whole && old != nil && old.whole && old.hash == v.hash {
		v.value, v.whole = old.value, true
	}
	if old != nil && old.incarnation != v.incarnation {
		p.met = false // it was started again
	}
	if old == nil && !p.met { // it is heard again: what was begun into the silence waits too long for its next attempt
		p.out, p.retry = nil, time.Time{}
	}
	p.vote, p.heard = v, now
	if !v.whole && !now.Before(p.ask) {
		p.ask = now.Add(refreshEvery / 2)
		r.send(m.From, r.signedPacket(typeVoteAsk, m.From, nil))
	}
	if !p.met {
		r.meet(m.From, p, now)
		return
	}
	r.countVote(m.From, p)
	r.compareHeld(m.From, p, m.vote.held, now)
}

func (r *Replica) countVote(node policy.NodeID, p *peer) {
	if v := p.vote; v != nil && v.whole {
		r.out.Votes = append(r.out.Votes, RawVote{node, v.incarnation, v.counter, v.value})
	}
}

// SetReasons sends the evidence of what changed in the own vote.
func (r *Replica) SetReasons(value []byte, now time.Time) (Out, error) {
	if len(value) > maxReasons {
		return Out{}, fmt.Errorf("reasons of %d octets, at most %d expected", len(value), maxReasons)
	}
	r.send("", r.signedPacket(typeReasons, "", putBytes(nil, value)))
	return r.done(now), nil
}

// AskList asks a node which targets a digest stands for; the answer comes as Out.Lists.
func (r *Replica) AskList(node policy.NodeID, digest [32]byte, now time.Time) Out {
	r.send(node, r.signedPacket(typeListAsk, node, digest[:]))
	return r.done(now)
}

// SendList answers a ListAsk.
func (r *Replica) SendList(node policy.NodeID, value []byte, now time.Time) (Out, error) {
	if len(value) > maxList {
		return Out{}, fmt.Errorf("target list of %d octets, at most %d expected", len(value), maxList)
	}
	r.send(node, r.signedPacket(typeList, node, putBytes(nil, value)))
	return r.done(now), nil
}

// newest is the newest packet that a peer knows of a node.
type newest struct{ incarnation, counter uint64 }

// tellStale lets a node know what is known of it: peers take nothing of an earlier incarnation, and nothing that is far behind.
// Its clock or folder may have been set back; or someone else sent a recorded packet of it again.
func (r *Replica) tellStale(node policy.NodeID, p *peer, now time.Time) {
	if now.Sub(p.told) < refreshEvery {
		return
	}
	p.told = now
	r.send(node, r.signedPacket(typeStale, node, putU64(putU64(nil, p.window.incarnation), p.window.top)))
}

// receiveStale has this node go on above what a peer knows of it, where that is more than it has sent.
func (r *Replica) receiveStale(m *Message) {
	known := m.newest
	sent := known.incarnation < r.incarnation || known.incarnation == r.incarnation && known.counter <= r.counter
	if sent || known.incarnation >= 1<<62 {
		return
	}
	r.incarnation = known.incarnation + 1
	r.note(Note{
		Kind: NoteIncarnation, Node: r.cfg.Self, From: m.From,
		Text: "a later start of this node is known to " + string(m.From) + ": its clock or its data folder was set back",
	})
	r.refreshVote()
}
