package policy

import (
	"testing"
	"time"
)

// TestVoid wants what is written in a site between its loss and its readmission to be void.
func TestVoid(t *testing.T) {
	now := time.UnixMilli(10_000)
	cfg := &Config{
		Self:  "a",
		Sites: []Site{{ID: "sa", Metro: "m"}, {ID: "sb", Metro: "m"}, {ID: "sc", Metro: "m"}},
		Nodes: []Node{{ID: "a", Site: "sa", Probes: true}, {ID: "b", Site: "sb", Probes: true}, {ID: "c", Site: "sc", Probes: true}},
	}
	s, _ := Start(cfg, Stored{Stamped: now}, now)
	of := func(node NodeID, wall int64) Entry {
		return Entry{Kind: KindOverride, Key: "all", Stamp: Stamp{Wall: wall, Node: node}}
	}
	lost := Entry{Kind: KindSiteLost, Key: "sb", Stamp: Stamp{Wall: 5_000, Node: "a"}, Author: "ann", Reason: "fire"}
	Step(s, Merged{lost}, now)
	if s.Void(of("b", 4_999)) || !s.Void(of("b", 5_001)) || s.Void(of("c", 5_001)) {
		t.Error("while it is lost: what came before, or another site's, is void, or what came after is not")
	}
	Step(s, Merged{{Kind: KindSiteLost, Key: "sb", Stamp: Stamp{Wall: 7_000, Node: "a"}, Author: "ann", Deleted: true, Ends: lost.Stamp}}, now)
	if s.Void(of("b", 4_999)) || !s.Void(of("b", 5_001)) || s.Void(of("b", 7_001)) {
		t.Error("once it is readmitted: other than what was written meanwhile is void")
	}
	drill := Entry{Kind: KindBlock, Key: "b/sa", Stamp: Stamp{Wall: 5_001, Node: "b"}}
	if s.Void(drill) {
		t.Error("a drill of a node of the site is void")
	}
	Step(s, Refilled{}, now)
	if s.Void(of("b", 5_001)) || s.IsLost("sb") {
		t.Error("refilled with nothing, it remembers the loss")
	}
}

// TestAlarmOfALostSite wants an alarm that a node can't clear any more, since its site was declared lost
// meanwhile, to be cleared by those that hold it: it would name the way out of what is over.
func TestAlarmOfALostSite(t *testing.T) {
	now := time.UnixMilli(10_000)
	cfg := &Config{
		Self:  "a",
		Sites: []Site{{ID: "sa", Metro: "m"}, {ID: "sb", Metro: "m"}, {ID: "sc", Metro: "m"}},
		Nodes: []Node{{ID: "a", Site: "sa", Probes: true}, {ID: "b", Site: "sb", Probes: true}, {ID: "c", Site: "sc", Probes: true}},
	}
	s, _ := Start(cfg, Stored{Stamped: now}, now)
	value := encode(Alarm{Text: "node b answers no steered name", Way: "pharos site lost sc", Since: now})
	heard := func(counter uint64, now time.Time) {
		Step(s, Heard{{Node: "b", Incarnation: 1, Counter: counter, List: s.ix.list, States: newStates(len(s.ix.targets))}}, now)
	}
	heard(1, now)
	Step(s, Merged{{Kind: KindAlarm, Key: "held/b", Stamp: Stamp{Wall: 10_000, Node: "b"}, Value: value}}, now)
	for i := range 10 {
		heard(uint64(i+2), now.Add(time.Duration(i)*time.Second))
	}
	if _, is := s.raised["held/b"]; !is {
		t.Fatal("the alarm of another node was cleared while it could do so itself")
	}
	now = now.Add(10 * time.Second)
	Step(s, Merged{{Kind: KindSiteLost, Key: "sb", Stamp: Stamp{Wall: 5_000, Node: "c"}, Author: "ann", Reason: "fire"}}, now)
	for i := range 5 {
		heard(uint64(i+20), now.Add(time.Duration(i)*time.Second))
	}
	if e, is := s.raised["held/b"]; is {
		t.Errorf("still raised: %+v", e)
	}
}

// TestNoMarginWithoutAMajority wants the warning of another view not shown beside what it warns of.
func TestNoMarginWithoutAMajority(t *testing.T) {
	now := time.UnixMilli(10_000)
	s, _ := Start(&Config{Self: "a", Sites: []Site{{ID: "sa", Metro: "m"}}, Nodes: []Node{{ID: "a", Site: "sa", Probes: true}}}, Stored{Stamped: now}, now)
	s.raised["margin"] = raised{Alarm: Alarm{Text: "one more silent site"}}
	if got := s.alarmStatus(); len(got) != 1 || got[0].Cause != "margin" {
		t.Errorf("alone: %+v", got)
	}
	s.raised["majority"] = raised{Alarm: Alarm{Text: "no majority"}}
	if got := s.alarmStatus(); len(got) != 1 || got[0].Cause != "majority" {
		t.Errorf("beside the other: %+v", got)
	}
}

// TestWhoSendsBesideALostSite wants alarms sent by the first node by name, but not by one whose site is declared lost while
// others are in contact, what it notes as sent being void, nor by one that can tell no receiver.
func TestWhoSendsBesideALostSite(t *testing.T) {
	now := time.UnixMilli(10_000)
	lost := Entry{Kind: KindSiteLost, Key: "sa", Stamp: Stamp{Wall: 11_000, Node: "c"}, Author: "ann", Reason: "fire"}
	raised := Entry{Kind: KindAlarm, Key: "all-down/shop", Stamp: Stamp{Wall: 10_000, Node: "c"}, Value: encode(Alarm{Text: "none is up", Since: now})}
	sends := func(mute NodeID, self NodeID, heard ...NodeID) []bool {
		var list []bool
		cfg := &Config{Self: self, Sites: []Site{{ID: "sa", Metro: "m"}, {ID: "sb", Metro: "m"}, {ID: "sc", Metro: "m"}}}
		for _, n := range []NodeID{"a", "b", "c"} {
			cfg.Nodes = append(cfg.Nodes, Node{ID: n, Site: SiteID("s" + n), Probes: true})
		}
		s, _ := Start(cfg, Stored{Stamped: now}, now)
		var votes Heard
		for _, n := range heard {
			votes = append(votes, Vote{Node: n, Incarnation: 1, Counter: 1, List: s.ix.list, States: newStates(len(s.ix.targets)), Mute: n == mute})
		}
		Step(s, votes, now)
		Step(s, Muted{self == mute, "webhook: 502"}, now)
		for _, e := range []Entry{raised, lost} {
			Step(s, Merged{e}, now)
			list = append(list, len(s.Unsent()) > 0)
		}
		return list
	}
	for _, tt := range []struct {
		mute, self    NodeID
		heard         []NodeID
		before, after bool // the loss of a's site
	}{
		{"", "a", []NodeID{"b", "c"}, true, false},
		{"", "b", []NodeID{"a", "c"}, false, true},
		{"", "c", []NodeID{"a", "b"}, false, false},
		{"", "c", []NodeID{"a"}, false, true},
		{"", "a", nil, true, true},
		{"a", "a", []NodeID{"b", "c"}, false, false},
		{"a", "b", []NodeID{"a", "c"}, true, true},
		{"a", "c", []NodeID{"a", "b"}, false, false},
		{"b", "b", []NodeID{"a", "c"}, false, false},
		{"b", "c", []NodeID{"a", "b"}, false, true},
		{"b", "b", []NodeID{"a"}, false, true},
		{"a", "a", nil, true, true},
	} {
		if got := sends(tt.mute, tt.self, tt.heard...); got[0] != tt.before || got[1] != tt.after {
			t.Errorf("%s, which hears %v, while %q is mute: %v, want %v and %v", tt.self, tt.heard, tt.mute, got, tt.before, tt.after)
		}
	}
}
