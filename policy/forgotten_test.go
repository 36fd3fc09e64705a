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
