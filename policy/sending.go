package policy

import (
	"cmp"
	"slices"
	"time"
)

// Unsent is an alarm whose receivers are still to be told that it came, or that it went.
type Unsent struct {
	Cause   string
	Alarm   Alarm
	Cleared bool
	At      time.Time // when it was raised or cleared
	Stamp   Stamp     // of the alarm's entry: the same whoever sends it
}

// Unsent lists the alarms that this node is to send: none where another node in contact comes before it, since one node
// sends each. What goes before it was sent is not sent at all.
func (s *State) Unsent() []Unsent {
	if s.comesBefore() {
		return nil
	}
	var list []Unsent
	for key, e := range s.entries {
		if key.Kind != KindAlarm {
			continue
		}
		sent, _ := decode[Sent](s.entries[EntryKey{KindSent, key.Key}])
		u := Unsent{Cause: key.Key, Cleared: e.Deleted, At: e.Stamp.Time(), Stamp: e.Stamp}
		if e.Deleted {
			u.Alarm.Since = sent.Since
			if sent.Since.IsZero() || sent.Cleared {
				continue
			}
		} else {
			a, ok := decode[Alarm](e)
			if !ok || a.Since.Equal(sent.Since) && !sent.Cleared {
				continue
			}
			u.Alarm = a
		}
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b Unsent) int { return cmp.Or(a.Stamp.Compare(b.Stamp), cmp.Compare(a.Cause, b.Cause)) })
	return list
}

// comesBefore says whether another node in contact sends alarms in the place of this one: the first by name of those whose
// site is not declared lost, since what a node of a lost site notes as sent counts for nobody else, and before
// those that can tell nobody.
func (s *State) comesBefore() bool {
	rank := func(n int, mute bool) int {
		switch site := s.ix.nodes[n].site; {
		case site >= 0 && s.IsLost(s.ix.sites[site].ID):
			return 2
		case mute:
			return 1
		}
		return 0
	}
	own := 0
	if s.ix.self >= 0 {
		own = rank(s.ix.self, s.mute.Is)
	}
	for n := range s.peers {
		if n == s.ix.self || !s.peers[n].live {
			continue
		}
		if c := cmp.Compare(rank(n, s.peers[n].vote.Mute), own); c < 0 || c == 0 && s.ix.nodes[n].ID < s.ix.cfg.Self {
			return true
		}
	}
	return false
}

// markSent notes that alarms were sent.
func (t *turn) markSent(list []Unsent) {
	for _, u := range list {
		t.write(KindSent, u.Cause, Sent{u.Alarm.Since, u.Cleared}, false)
	}
}

// Well says whether the cluster works as seen from this node: it is not held, and hears a majority.
func (s *State) Well() bool { return s.hold == nil && s.majority }
