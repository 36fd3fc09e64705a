package cluster

import (
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// session is an exchange with one peer, seen from one side.
type session struct {
	mine, yours uint64 // what each side drew
	opened      opened // by which packet, where the peer began it
	step        uint64 // of the last turn that was sent
	last        []byte // that turn, to be sent again when no answer comes
	ended       bool   // it said that nothing was left
	unanswered  bool   // that turn, within its patience
	partial     bool
	through     uint64    // seq when it began
	again       time.Time // when last is sent again
	patience    time.Duration
	touched     time.Time
}

// opened is the packet that a peer began a session with: of two, the later counts, in whatever order they come.
type opened struct{ incarnation, counter uint64 }

func (o opened) after(m *Message) bool {
	return o.incarnation == m.incarnation && o.counter > m.counter
}

const (
	turnPatience = 400 * time.Millisecond
	bulkPatience = 2 * time.Second
	maxPatience  = 8 * time.Second // between two attempts; then the exchange is given up
	retryLeast   = 500 * time.Millisecond
	retryMost    = time.Second
	heldPatience = 900 * time.Millisecond // a digest that differs for so long is looked into
	hintLeast    = 300 * time.Millisecond
	// where there are many nodes, news take a while
	heldPatienceOfMany = 5 * time.Second
	sessionIdle        = time.Minute
)

// begin starts an exchange.
func (r *Replica) begin(node policy.NodeID, p *peer, now time.Time) {
	r.open++
	p.out = &session{mine: r.rand.Uint64() | 1, through: r.seq}
	first := turn{}
	r.sum(prefix{}, &first)
	r.say(node, p.out, first, 0, now)
}

// say sends a turn.
func (r *Replica) say(node policy.NodeID, s *session, t turn, step uint64, now time.Time) {
	t.mine, t.yours, t.step, t.held = s.mine, s.yours, step, r.tree.root.total
	t.partial = t.partial || s.partial
	if t.empty() && step > 0 {
		t.end, s.ended = true, true
	}
	s.step, s.last, s.partial, s.unanswered = step, t.append(nil), t.partial, false
	s.touched = now
	r.hurry(now)
	s.patience = turnPatience
	if len(t.entries)+len(t.want)+len(t.all) > 0 { // it, or the answer, takes a while on a thin line
		s.patience = bulkPatience
	}
	s.again = now.Add(s.patience)
	r.send(node, r.signedPacket(typeExchange, node, s.last))
}

func (r *Replica) repeat(node policy.NodeID, s *session) {
	r.send(node, r.signedPacket(typeExchange, node, s.last))
}

// resumeExchange says again what had no answer, and gives up in the end.
func (r *Replica) resumeExchange(node policy.NodeID, p *peer, now time.Time) {
	if p.in != nil && now.Sub(p.in.touched) > sessionIdle {
		p.in = nil
	}
	s := p.out
	if s == nil {
		return
	}
	if r.hurry(now); now.Before(s.again) {
		return
	}
	if s.patience *= 2; s.patience > maxPatience || !r.live(p, now) {
		p.out = nil
		p.retry = now.Add(r.jitter(retryLeast, retryMost))
		return
	}
	s.again, s.unanswered = now.Add(s.patience), true
	r.repeat(node, s)
}

func (r *Replica) receiveTurn(m *Message, p *peer, now time.Time) {
	t := &m.exchange
	var s *session
	if t.step%2 == 0 {
		s = r.openedThere(m, p, now)
	} else if s = p.out; s == nil || t.yours != s.mine || t.step != s.step+1 {
		return // of an exchange that is over
	}
	if s == nil {
		return
	}
	r.refuse(m.refused)
	for _, e := range m.entries {
		r.takeMessage(m, e, now)
	}
	r.dropCollected(t.collected)
	s.yours = t.mine
	s.partial = s.partial || t.partial
	r.reply(m.From, p, s, t, now)
}

// openedThere finds the session to a turn of a peer that began it; nil: it was answered already, or is of no session.
func (r *Replica) openedThere(m *Message, p *peer, now time.Time) *session {
	t := &m.exchange
	switch s := p.in; {
	case s != nil && t.mine == s.yours && t.step+1 == s.step:
		r.repeat(m.From, s) // the answer was lost
		return nil
	case t.step == 0 && s != nil && s.opened.after(m):
		return nil // the peer has begun anew since
	case t.step == 0:
		p.in = &session{mine: r.rand.Uint64() | 1, opened: opened{m.incarnation, m.counter}, through: r.seq, touched: now}
		return p.in
	case s == nil || t.yours != s.mine || t.step != s.step+1:
		return nil
	default:
		return s
	}
}

// reply answers a turn. A side is through when its own number came back to it (step 0 may be an old packet) and nothing is
// left to say; the one that began has the last word.
func (r *Replica) reply(node policy.NodeID, p *peer, s *session, t *turn, now time.Time) {
	if p.out == s && s.ended && t.end {
		p.out = nil
		r.open--
		return
	}
	answer := r.answer(t)
	if r.defers(node, &answer, now) {
		return // the turn comes again, and by then less is lacking
	}
	through := t.step > 0 && answer.empty()
	r.say(node, s, answer, t.step+1, now)
	if !through {
		return
	}
	if s.partial {
		if p.out == s {
			p.out = nil
			r.begin(node, p, now)
		}
		return
	}
	r.completed(node, p, s, t)
}

// defers has one peer at a time asked for much: several would send the same.
func (r *Replica) defers(node policy.NodeID, answer *turn, now time.Time) bool {
	other := r.pull.node != node && now.Before(r.pull.until)
	switch {
	case answer.asksMuch() && other:
		return true
	case answer.asksMuch():
		r.pull = pull{node, now.Add(bulkPatience)}
	case r.pull.node == node:
		r.pull = pull{}
	}
	return false
}

// pull is which peer is being asked for much, and until when that is believed.
type pull struct {
	node  policy.NodeID
	until time.Time
}

func (r *Replica) completed(node policy.NodeID, p *peer, s *session, t *turn) {
	if t.held == r.tree.root.total {
		p.synced = max(p.synced, s.through)
	}
	if p.met {
		return
	}
	p.met = true
	r.met++
	r.out.Met = append(r.out.Met, node)
	r.countVote(node, p)
}

// exchangeWithOne compares with a peer, so that what was lost on the way is found.
func (r *Replica) exchangeWithOne(now time.Time) {
	var free []policy.NodeID
	for _, id := range r.livePeers(now) {
		if r.peers[id].out == nil {
			free = append(free, id)
		}
	}
	if len(free) > 0 {
		node := free[r.rand.IntN(len(free))]
		r.begin(node, r.peers[node], now)
	}
}

// compareHeld looks into a digest in a peer's vote that has differed for a while: something was lost on the way.
func (r *Replica) compareHeld(node policy.NodeID, p *peer, held total, now time.Time) {
	switch {
	case held == r.tree.root.total:
		p.differs = time.Time{}
	case p.differs.IsZero():
		p.differs = now
	case now.Sub(p.differs) >= r.heldPatience() && now.Sub(r.hinted) >= hintLeast && !r.exchanging():
		p.differs, r.hinted = time.Time{}, now
		r.begin(node, p, now)
	}
}

// exchanging says whether an exchange that was begun here goes on. One with a peer that does not answer, behind a cut,
// does not: what was written there comes by others.
func (r *Replica) exchanging() bool {
	return slices.ContainsFunc(r.order, func(id policy.NodeID) bool {
		s := r.peers[id].out
		return s != nil && !s.unanswered
	})
}

// heldPatience is longer in a large cluster, where news take a while, and all would turn to the few that vote.
func (r *Replica) heldPatience() time.Duration {
	if len(r.order) > r.cfg.Direct {
		return heldPatienceOfMany
	}
	return heldPatience
}
