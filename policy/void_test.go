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
