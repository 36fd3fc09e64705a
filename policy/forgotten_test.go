package policy

import (
	"testing"
	"time"
)

// TestForgotten wants a tombstone that every node held to go, and an order that stands to stay.
func TestForgotten(t *testing.T) {
	now := time.UnixMilli(10_000)
	cfg := &Config{Self: "a", Sites: []Site{{ID: "s", Metro: "m"}}, Nodes: []Node{{ID: "a", Site: "s", Probes: true}}}
	s, _ := Start(cfg, Stored{Stamped: now}, now)
	stands := Entry{Kind: KindDrain, Key: "site/s", Stamp: Stamp{Wall: 1, Node: "a"}, Author: "ann", Reason: "r"}
	ended := Entry{Kind: KindDrain, Key: "site/t", Stamp: Stamp{Wall: 2, Node: "a"}, Author: "ann", Deleted: true, Ends: Stamp{Wall: 1, Node: "b"}}
	Step(s, Merged{stands, ended}, now)
	Step(s, Forgotten{stands.EntryKey(), ended.EntryKey()}, now)
	if _, ok := s.entries[ended.EntryKey()]; ok {
		t.Error("the tombstone is still there")
	}
	if _, ok := s.entries[stands.EntryKey()]; !ok {
		t.Error("the drain is gone")
	}
}

// TestTombstonesThatDecideAreNeeded wants the end of a drain kept as long as the override that met it is suspended, which would
// move traffic unasked without it, and that of a loss while its site is there.
func TestTombstonesThatDecideAreNeeded(t *testing.T) {
	now := time.UnixMilli(10_000)
	cfg := &Config{
		Self: "a", Sites: []Site{{ID: "s", Metro: "m"}, {ID: "t", Metro: "m"}}, Nodes: []Node{{ID: "a", Site: "s", Probes: true}},
		Services: []Service{{ID: "shop", Names: []string{"www."}, Steer: Failover, TTL: 30 * time.Second}},
	}
	override := Entry{Kind: KindOverride, Key: "service/shop", Stamp: Stamp{Wall: 3, Node: "b"}, Author: "bob", Reason: "r", Value: encode(Override{Site: "t"})}
	ended := Entry{Kind: KindDrain, Key: "site/t", Stamp: Stamp{Wall: 4, Node: "a"}, Author: "ann", Deleted: true, Ends: Stamp{Wall: 2, Node: "a"}}
	readmitted := Entry{Kind: KindSiteLost, Key: "s", Stamp: Stamp{Wall: 4, Node: "a"}, Author: "ann", Deleted: true, Ends: Stamp{Wall: 1, Node: "a"}}
	s, _ := Start(cfg, Stored{Stamped: now, Entries: []Entry{override, ended, readmitted}}, now)
	if len(s.Status(now).Suspended) != 1 || !s.Needed(ended) || !s.Needed(readmitted) {
		t.Errorf("suspended: %+v; the drain's end needed: %v, the readmission: %v", s.Status(now).Suspended, s.Needed(ended), s.Needed(readmitted))
	}
	gone := override
	gone.Stamp.Wall, gone.Deleted, gone.Ends, gone.Value = 5, true, override.Stamp, nil
	Step(s, Merged{gone}, now)
	if s.Needed(ended) {
		t.Error("the drain's end is needed though nothing is suspended any more")
	}
	readmitted.Key = "elsewhere"
	if s.Needed(readmitted) {
		t.Error("the readmission of a site that is not configured is needed")
	}
}
