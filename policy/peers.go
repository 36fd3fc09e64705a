package policy

import (
	"bytes"
	"fmt"
	"time"
)

const (
	defaultVoteTTL   = 3 * time.Second
	defaultObservers = 2
	askAgain         = 3 * time.Second // after which a target list is asked for again
)

// peer is what is known of one node by its votes. This node's own stands among them.
type peer struct {
	live    bool      // its vote is fresh
	since   time.Time // when it became live or silent
	heard   time.Time // when its last vote came
	vote    Vote
	states  States    // of the vote, by target of this node's configuration; never changed in place but for the own
	changed time.Time // when states changed last
	doubted time.Time // since when it suspects itself; zero: it does not
	reasons []Reason
	met     bool // all entries were exchanged with it since the start
}

// last is when a node that is silent was last heard, else since when it is waited for.
func (p *peer) last() time.Time {
	if p.heard.IsZero() {
		return p.since
	}
	return p.heard
}

// lists are the target lists of other configurations that votes name.
type lists struct {
	known map[[32]byte][]TargetID
	asked map[[32]byte]time.Time
}

func (s *State) voteTTL() time.Duration {
	if ttl := s.ix.cfg.VoteTTL; ttl > 0 {
		return ttl
	}
	return defaultVoteTTL
}

// TargetList is the target list that this node's votes follow, for peers that do not know it.
func (s *State) TargetList() (digest [32]byte, list []TargetID) {
	for _, t := range s.ix.targets {
		list = append(list, t.ID)
	}
	return s.ix.list, list
}

// startPeers lays peers under a new configuration. What was heard of nodes that stay is kept.
func (s *State) startPeers(old *index, peers []peer) {
	s.peers = make([]peer, len(s.ix.nodes))
	for n := range s.peers {
		s.peers[n].since, s.peers[n].changed = s.now, s.now
		if old == nil {
			continue
		}
		if was, ok := old.nodeOf[s.ix.nodes[n].ID]; ok {
			s.peers[n] = peers[was]
		}
	}
	if old != nil && old.list != s.ix.list {
		list := make([]TargetID, len(old.targets))
		for i, t := range old.targets {
			list[i] = t.ID
		}
		s.lists.known[old.list] = list
	}
	for n := range s.peers {
		if p := &s.peers[n]; n == s.ix.self {
			p.live, p.states = true, newStates(len(s.targets))
		} else { // of one that is silent, too: they are shown
			p.states = s.mapped(p.vote)
		}
	}
	s.forgetLists()
}

// hearVotes takes votes of peers in. A vote that is not newer than the last is no sign of life.
func (t *turn) hearVotes(list []Vote) {
	for _, v := range list {
		n, ok := t.ix.nodeOf[v.Node]
		if !ok || n == t.ix.self {
			continue
		}
		if last := &t.peers[n].vote; v.Incarnation < last.Incarnation || v.Incarnation == last.Incarnation && v.Counter <= last.Counter {
			continue
		}
		t.hearVote(n, v)
	}
}

func (t *turn) hearVote(n int, v Vote) {
	p := &t.peers[n]
	last, heard, old := p.vote, p.heard, p.states
	p.vote, p.heard = v, t.now
	if !p.live {
		p.live, p.since, p.changed = true, t.now, t.now
		last, old = Vote{}, nil
		t.contactsMoved = true
		t.change("node "+string(v.Node), "silent", "heard", "")
	}
	t.expiry = sooner(t.expiry, t.now.Add(t.voteTTL()))
	switch {
	case !v.Suspect:
		p.doubted = time.Time{}
	case p.doubted.IsZero():
		p.doubted = t.now
	}
	if v.Suspect != last.Suspect || v.Held != last.Held || v.Decides != last.Decides || !v.Unheld.Equal(last.Unheld) ||
		v.Config != last.Config || v.Zones != last.Zones || v.Mute != last.Mute {
		t.contactsMoved = true
	}
	t.askFor(v)
	if v.List == last.List && bytes.Equal(v.States, last.States) && len(p.states) > 0 {
		if v.Suspect != last.Suspect {
			t.recountVoted(p.states, nil)
		} else if t.failed.After(heard) {
			t.recountFailing(p)
		}
		return
	}
	p.states = t.mapped(v)
	if !bytes.Equal(old, p.states) {
		p.changed = t.now
	}
	if v.Suspect != last.Suspect {
		t.recountVoted(p.states, old)
		return
	}
	t.recountChanged(old, p.states)
	if t.failed.After(heard) {
		t.recountFailing(p)
	}
}

// askFor asks for the list of a vote where it is not known, and again after a while, since what asks and what
// answers may be lost.
func (t *turn) askFor(v Vote) {
	if _, known := t.lists.known[v.List]; known || v.List == t.ix.list {
		return
	}
	if at := t.lists.asked[v.List]; at.IsZero() || t.now.Sub(at) >= askAgain {
		t.lists.asked[v.List] = t.now
		t.fx.Ask = append(t.fx.Ask, ListRequest{v.Node, v.List})
	}
}

// mapped brings a vote's states into the order of this node's targets. A list that is not known is
// never guessed: until it comes all is unknown.
func (s *State) mapped(v Vote) States {
	if v.List == s.ix.list {
		if want := len(newStates(len(s.targets))); len(v.States) != want { // not what its list says
			return newStates(len(s.targets))
		}
		return v.States
	}
	states := newStates(len(s.targets))
	for place, id := range s.lists.known[v.List] {
		if i, here := s.ix.targetOf[id]; here {
			states.set(i, v.States.raw(place))
		}
	}
	return states
}

// learn takes in a target list that was asked for.
func (t *turn) learn(list []TargetID) {
	digest := ListDigest(list)
	if _, asked := t.lists.asked[digest]; !asked {
		return
	}
	delete(t.lists.asked, digest)
	t.lists.known[digest] = list
	for n := range t.peers {
		p := &t.peers[n]
		if n == t.ix.self || !p.live || p.vote.List != digest {
			continue
		}
		old := p.states
		p.states = t.mapped(p.vote)
		p.changed = t.now
		t.recountChanged(old, p.states)
	}
	t.forgetLists()
}

// forgetLists keeps the lists that a vote names.
func (s *State) forgetLists() {
	named := map[[32]byte]bool{}
	for n := range s.peers {
		if s.peers[n].live && n != s.ix.self {
			named[s.peers[n].vote.List] = true
		}
	}
	for digest := range s.lists.known {
		if !named[digest] {
			delete(s.lists.known, digest)
		}
	}
	for digest := range s.lists.asked {
		if !named[digest] {
			delete(s.lists.asked, digest)
		}
	}
}

// expireVotes finds the peers that are silent: a vote that is not refreshed counts no more.
func (t *turn) expireVotes() {
	if t.expiry.IsZero() || t.now.Before(t.expiry) {
		return
	}
	t.expiry = time.Time{}
	for n := range t.peers {
		p := &t.peers[n]
		if n == t.ix.self || !p.live {
			continue
		}
		if at := p.heard.Add(t.voteTTL()); t.now.Before(at) {
			t.expiry = sooner(t.expiry, at)
			continue
		}
		p.live, p.since = false, t.now
		t.contactsMoved = true
		t.change("node "+string(t.ix.nodes[n].ID), "heard", "silent", fmt.Sprintf("no vote for %v", t.voteTTL()))
		t.recountVoted(p.states, nil)
		if site := t.ix.nodes[n].site; site >= 0 {
			t.touch(t.ix.bySite[site]...) // what left with it left with its whole site
		}
	}
	if t.contactsMoved {
		t.forgetLists()
	}
}

// hears says whether a site has a node that probes and whose vote is fresh.
func (s *State) hears(site int) bool {
	for _, n := range s.ix.probers[site] {
		if s.peers[n].live {
			return true
		}
	}
	return false
}

// seat says whether a site belongs to the electorate.
func (s *State) seat(site int) bool {
	return len(s.ix.probers[site]) > 0 && !s.IsLost(s.ix.sites[site].ID)
}

// IsLost says whether a site is declared lost, and the order is followed.
func (s *State) IsLost(site SiteID) bool {
	l := s.orders.lost[site]
	return l != nil && l.suspended == ""
}

// Void says whether an entry was written in another site while that was declared lost: it then counts for
// nobody else, and is set aside by the site's nodes when they are readmitted.
func (s *State) Void(e Entry) bool {
	n, ok := s.ix.nodeOf[e.Stamp.Node]
	if !ok || e.Kind.OfNodes() || s.ix.nodes[n].site < 0 || s.ix.nodes[n].site == s.ix.ownSite() {
		return false
	}
	site := s.ix.sites[s.ix.nodes[n].site].ID
	if l := s.orders.lost[site]; l != nil {
		return l.suspended == "" && e.Stamp.Compare(l.Stamp) > 0
	}
	word, ok := s.entries[EntryKey{KindSiteLost, string(site)}]
	return ok && word.Deleted && word.Ends != (Stamp{}) && e.Stamp.Compare(word.Ends) > 0 && e.Stamp.Compare(word.Stamp) < 0
}

// countSeats finds the electorate anew, and the states that a majority of another size holds true.
func (t *turn) countSeats() {
	moved := t.seated == nil
	if moved {
		t.seated = make([]bool, len(t.ix.sites))
	}
	seated, seats := make([]bool, len(t.ix.sites)), 0
	for i := range t.ix.sites {
		if seated[i] = t.seat(i); seated[i] {
			seats++
		}
		moved = moved || seated[i] != t.seated[i]
	}
	if moved {
		t.seated, t.seats = seated, seats
		t.contactsMoved = true
		t.recountAll()
	}
}

// countContacts finds whether this node hears a majority of the electorate's sites, its own among them.
// Where nobody can vote nobody is waited for.
func (t *turn) countContacts() {
	heard := 0
	for i, seated := range t.seated {
		if seated && t.hears(i) {
			heard++
		}
	}
	own := t.ix.ownSite()
	majority := t.seats == 0 || 2*heard > t.seats && own >= 0 && t.seated[own] && t.hears(own)
	if majority != t.majority {
		t.majority = majority
		t.touchAll()
		t.sitesTouched = true
	}
}

// decides says whether this node may make moves.
func (s *State) decides() bool { return s.majority && s.hold == nil }

// believe keeps the evidence of a peer's vote, for people.
func (t *turn) believe(e Reasons) {
	if n, ok := t.ix.nodeOf[e.Node]; ok && n != t.ix.self {
		t.peers[n].reasons = e.List[:min(len(e.List), maxReasons)]
	}
}
