package cluster

import (
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// peer is what a replica knows of another node of the configuration.
type peer struct {
	Member
	window window
	up     bool      // as the membership sees it
	met    bool      // all was exchanged, both ways, since it was last silent
	heard  time.Time // the last vote
	vote   *heldVote
	ask    time.Time // no whole vote is asked for before
	told   time.Time // when it was last told that a packet of it is stale

	differs time.Time // since when its votes name another digest than this node's

	out, in *session // exchanges that were begun here, and there
	retry   time.Time
	synced  uint64 // seq up to which it was seen to hold what this replica holds
}

// Peer is what Peers says of one node.
type Peer struct {
	Node        policy.NodeID
	Site        policy.SiteID
	Up          bool      // by the membership
	Met         bool      // its votes count
	Heard       time.Time // the last vote; zero: never
	Incarnation uint64
}

func (r *Replica) configurePeers() {
	for id, m := range r.cfg.Members {
		if id == r.cfg.Self {
			continue
		}
		if p := r.peers[id]; p == nil || !p.PublicKey.Equal(m.PublicKey) {
			r.peers[id] = &peer{}
		}
		r.peers[id].Member = m
	}
	r.order = r.order[:0]
	for id := range r.peers {
		if _, ok := r.cfg.Members[id]; !ok {
			delete(r.peers, id)
			continue
		}
		r.order = append(r.order, id)
	}
	slices.Sort(r.order)
}

// Peers lists the other nodes of the configuration, by name.
func (r *Replica) Peers() []Peer {
	out := make([]Peer, 0, len(r.order))
	for _, id := range r.order {
		p := r.peers[id]
		out = append(out, Peer{id, p.Site, p.up, p.met, p.heard, p.window.incarnation})
	}
	return out
}

// live says whether a peer can be reached, by the membership or by its own votes.
func (r *Replica) live(p *peer, now time.Time) bool {
	return p.up || p.vote != nil && now.Sub(p.heard) <= r.cfg.VoteTTL
}

func (r *Replica) livePeers(now time.Time) []policy.NodeID {
	var out []policy.NodeID
	for _, id := range r.order {
		if r.live(r.peers[id], now) {
			out = append(out, id)
		}
	}
	return out
}

// Up tells that the membership sees a node. Entries are exchanged with it at once.
func (r *Replica) Up(node policy.NodeID, now time.Time) Out {
	if p := r.peers[node]; p != nil && !p.up {
		p.up = true
		if r.cfg.Self > node { // the other begins
			p.retry = now.Add(meetPatience)
		}
		r.meet(node, p, now)
	}
	return r.done(now)
}

// Down tells that the membership lost a node. Its votes, as long as they come, still count.
func (r *Replica) Down(node policy.NodeID, now time.Time) Out {
	if p := r.peers[node]; p != nil {
		p.up = false
		if !r.live(p, now) {
			p.met = false
		}
	}
	return r.done(now)
}

// timers say when there is something to do.
type timers struct {
	vote     time.Time // refresh of the own vote
	exchange time.Time // the next digest exchange
	house    time.Time // silences, exchanges that had no answer, acknowledgements, rumors
	tombs    time.Time
}

const (
	refreshEvery  = time.Second
	exchangeLeast = 2 * time.Second
	exchangeMost  = 5 * time.Second
	houseEvery    = 100 * time.Millisecond // while something is under way
	houseIdle     = time.Second
	tombsEvery    = time.Minute
	meetPatience  = 250 * time.Millisecond
	meetFew       = 8
	maxOpen       = 16 // exchanges begun here at a time
)

func (r *Replica) startTimers(now time.Time) {
	r.timers = timers{vote: now.Add(r.refresh()), exchange: now.Add(r.jitter(exchangeLeast, exchangeMost)), house: now, tombs: now.Add(tombsEvery)}
}

// refresh is often enough for two lost packets not to be silence.
func (r *Replica) refresh() time.Duration { return min(refreshEvery, r.cfg.VoteTTL/3) }

func (r *Replica) jitter(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rand.Int64N(int64(most-least)))
}

func (t *timers) next() time.Time {
	next := t.vote
	for _, at := range []time.Time{t.exchange, t.house, t.tombs} {
		if at.Before(next) {
			next = at
		}
	}
	return next
}

// hurry has the house kept soon: something is under way.
func (r *Replica) hurry(now time.Time) {
	if soon := now.Add(houseEvery); soon.Before(r.timers.house) {
		r.timers.house = soon
	}
}

// Tick does what is due.
func (r *Replica) Tick(now time.Time) Out {
	if !now.Before(r.timers.house) {
		r.timers.house = now.Add(houseIdle)
		r.keepHouse(now)
	}
	if !now.Before(r.timers.vote) {
		r.timers.vote = now.Add(r.refresh())
		r.refreshVote()
	}
	if !now.Before(r.timers.exchange) {
		r.timers.exchange = now.Add(r.jitter(exchangeLeast, exchangeMost))
		r.exchangeWithOne(now)
	}
	if !now.Before(r.timers.tombs) {
		r.timers.tombs = now.Add(tombsEvery)
		r.collectTombstones(now)
	}
	return r.done(now)
}

// meet begins an exchange with a peer that can be reached and was not met: with every one in a small cluster; in a large one
// with those that vote, and with a few to be filled by. A few at a time.
func (r *Replica) meet(node policy.NodeID, p *peer, now time.Time) {
	if p.met || p.out != nil || !r.live(p, now) || p.vote == nil && len(r.order) > r.cfg.Direct && r.met >= meetFew {
		return
	}
	if now.Before(p.retry) || r.open >= maxOpen {
		r.hurry(now)
		return
	}
	r.begin(node, p, now)
}

// fallSilent forgets the vote of a peer that did not refresh it.
func (r *Replica) fallSilent(p *peer, now time.Time) {
	if p.vote != nil && now.Sub(p.heard) > r.cfg.VoteTTL {
		p.vote, p.met = nil, false
	}
}

func (r *Replica) keepHouse(now time.Time) {
	r.open, r.met = 0, 0
	for _, id := range r.order {
		p := r.peers[id]
		r.fallSilent(p, now)
		r.resumeExchange(id, p, now)
		r.open += int(bit(p.out != nil))
		r.met += int(bit(p.met))
	}
	for _, id := range r.order {
		r.meet(id, r.peers[id], now)
	}
	r.askAgain(now)
	r.spreadRumors(now)
}
