package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// hold is a held start: the node was away for so long that what it remembers may have been undone.
type hold struct {
	since   time.Time
	stamped time.Time    // when it last served; zero: an empty folder
	held    map[int]bool // nodes that were held while this one was
	cold    time.Time    // since when a majority is in contact, all of it held
}

// coldStart is how long a majority of held nodes waits before it serves, where cold_start says so.
const coldStart = 2 * time.Minute

// Held says why this node's start is held, "" if it is not. A held node answers no steered name and
// announces nothing, and its disk is not stamped.
func (s *State) Held() string {
	if s.hold == nil {
		return ""
	}
	last := s.hold.stamped.UTC().Format(time.DateTime)
	switch {
	case s.hold.stamped.IsZero():
		return "it started with an empty folder"
	case s.hold.stamped.After(s.hold.since):
		return "it started with a clock behind " + last + ", when it last served"
	}
	return "it started after more than " + length(s.rejoinAfter()) + " without serving, last at " + last
}

func (s *State) rejoinAfter() time.Duration {
	if keep := s.ix.cfg.RejoinAfter; keep > 0 {
		return keep
	}
	return defaultRejoinAfter
}

// startHold holds a start after too long without serving. A cluster of one site is never held: nobody
// else could have decided meanwhile.
func (s *State) startHold(stamped, now time.Time) {
	elsewhere := slices.ContainsFunc(s.ix.nodes, func(n nodeInfo) bool { return n.site != s.ix.ownSite() })
	age := now.Sub(stamped)
	if !elsewhere || !stamped.IsZero() && age >= 0 && age <= s.rejoinAfter() {
		return
	}
	s.hold = &hold{since: now, stamped: stamped, held: map[int]bool{}}
}

// meetPeers notes with whom all entries were exchanged.
func (t *turn) meetPeers(list []NodeID) {
	for _, id := range list {
		if n, ok := t.ix.nodeOf[id]; ok {
			t.peers[n].met = true
			t.contactsMoved = true
		}
	}
}

// unmet are the sites of the electorate that a held node waits for.
func (s *State) unmet() []SiteID {
	var list []SiteID
	for site, seated := range s.seated {
		met := site == s.ix.ownSite() || slices.ContainsFunc(s.ix.nodesOf[site], func(n int) bool { return s.peers[n].met })
		if seated && !met {
			list = append(list, s.ix.sites[site].ID)
		}
	}
	return list
}

// judgeHold ends a held start once nothing can have happened that this node does not know.
func (t *turn) judgeHold() {
	if t.hold == nil {
		return
	}
	if len(t.unmet()) == 0 {
		t.release("merged with every site of the electorate")
		return
	}
	if by := t.steadyNodes(); len(by) > 0 {
		t.release("merged with " + strings.Join(by, ", ") + ", which served all the while")
		return
	}
	if t.ix.cfg.ColdStart == ColdStartServe && t.coldMajority() {
		if t.hold.cold.IsZero() {
			t.hold.cold = t.now
		}
		if t.now.Sub(t.hold.cold) >= coldStart {
			t.release(fmt.Sprintf("cold_start: a majority is in contact and all of it was held for %v", coldStart))
		}
		return
	}
	t.hold.cold = time.Time{}
}

// steadyNodes names, for the active metro of every service, a node there that was met and served since
// before this one stopped; none, if a metro has no such node.
func (s *State) steadyNodes() []string {
	var names []string
	judged := map[MetroID]bool{}
	for svc := range s.ix.services {
		metro := s.mainBound(s.orders, svc).metro
		if judged[metro] {
			continue
		}
		judged[metro] = true
		n := slices.IndexFunc(s.ix.nodes, func(n nodeInfo) bool {
			return n.site >= 0 && s.ix.sites[n.site].Metro == metro && s.steady(s.ix.nodeOf[n.ID])
		})
		if n < 0 {
			return nil
		}
		names = append(names, string(s.ix.nodes[n].ID))
	}
	return names
}

// steady says that a node was met and has served since before this one last did.
func (s *State) steady(n int) bool {
	p := &s.peers[n]
	if n == s.ix.self || !p.met || !p.live || p.vote.Held {
		return false
	}
	return p.vote.Unheld.IsZero() || !s.hold.stamped.IsZero() && p.vote.Unheld.Before(s.hold.stamped)
}

// coldMajority says that a majority of sites is in contact, and nobody in contact served while this node was held.
func (t *turn) coldMajority() bool {
	for n := range t.peers {
		p := &t.peers[n]
		if n == t.ix.self || !p.live {
			continue
		}
		if p.vote.Held {
			t.hold.held[n] = true
		}
		if !t.hold.held[n] {
			return false
		}
	}
	return t.majority
}

// coldDue is when a held majority serves; zero: not by time.
func (s *State) coldDue() time.Time {
	if s.hold == nil || s.hold.cold.IsZero() {
		return time.Time{}
	}
	return s.hold.cold.Add(coldStart)
}

// release ends the hold. Unless a person's order did, it becomes an entry, so that a restart knows of it.
func (t *turn) release(why string) {
	if t.hold == nil {
		return
	}
	self := string(t.ix.cfg.Self)
	given := t.entries[EntryKey{KindRejoin, self}]
	if given.Author == "" || given.Author == machine || given.Stamp.Time().Before(t.hold.since.Truncate(time.Millisecond)) {
		t.write(KindRejoin, self, nil, false)
	}
	t.hold = nil
	t.change("node "+self, "held", "serves", why)
	t.touchAll()
	t.contactsMoved, t.voteMoved, t.sitesTouched = true, true, true
}

// unheld is when this node's last hold ended; zero: it was never held.
func (s *State) unheld() time.Time {
	e, ok := s.entries[EntryKey{KindRejoin, string(s.ix.cfg.Self)}]
	if !ok || e.Deleted {
		return time.Time{}
	}
	return e.Stamp.Time()
}

// holdAlarm tells what a held node waits for, and the ways out.
func (s *State) holdAlarm() alarm {
	var names []string
	for _, id := range s.unmet() {
		names = append(names, string(id))
	}
	return alarm{
		"held/" + string(s.ix.cfg.Self),
		fmt.Sprintf("node %s answers no steered name: %s. It waits until it has merged with %s: ask there first, it may be serving. Only where it is really gone: pharos site lost, or pharos cluster rejoin --alone to serve what this node remembers",
			s.ix.cfg.Self, s.Held(), strings.Join(names, ", ")),
		lostCommand(names),
	}
}
