package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/policy"
)

func TestGossipKeysAreSummedUp(t *testing.T) {
	both := []NodeKey{{Fingerprint: "new", Taken: true, InFile: true}, {Fingerprint: "old", Taken: true, Sends: true, InFile: true, First: true}}
	nodes := []NodeKeys{
		{Node: "a1", Keys: both},
		{Node: "b1", Keys: []NodeKey{{Fingerprint: "old", Taken: true, Sends: true}, {Fingerprint: "new", InFile: true}}},
		{Node: "b2", Problem: "never heard"},
		{Node: "r1", Lost: true},
	}
	want := []GossipKey{
		{Fingerprint: "new", Missing: []policy.NodeID{"b1", "b2"}},
		{Fingerprint: "old", Sends: []policy.NodeID{"a1", "b1"}, Missing: []policy.NodeID{"b2"}, Unwritten: []policy.NodeID{"b1"}},
	}
	if diff := cmp.Diff(want, NewGossipKeys(nodes).Keys); diff != "" {
		t.Error(diff)
	}
	if none := NewGossipKeys(nil); none.Keys == nil {
		t.Error("no keys are written as null")
	}
}
