package node

import (
	"slices"
	"testing"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// TestKeyStepsAreDoneInTheirOrder wants a node that hears of a whole rotation at once to end with the key that was to be
// used last.
func TestKeyStepsAreDoneInTheirOrder(t *testing.T) {
	step := func(key string, wall int64) policy.Entry {
		return policy.Entry{Kind: policy.KindGossipKeys, Key: key, Stamp: policy.Stamp{Wall: wall, Node: "a1"}}
	}
	var got []string
	for _, e := range keySteps([]policy.Entry{
		step("remove/01", 4), {Kind: policy.KindDrain, Key: "site/city-a"}, step("use/02", 3), step("add", 1), step("use/01", 2),
	}) {
		got = append(got, e.Key)
	}
	if want := []string{"add", "use/01", "use/02", "remove/01"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWhoHasDoneAStep(t *testing.T) {
	former, next := cluster.Fingerprint{1}, cluster.Fingerprint{2}
	add, use, remove := cluster.KeyOrder{Op: cluster.KeyReread}, cluster.KeyOrder{Op: cluster.KeyUse, Key: next}, cluster.KeyOrder{Op: cluster.KeyRemove, Key: former}
	before := []cluster.GossipKey{{Fingerprint: former, Installed: true, Sends: true, InFile: true, FirstInFile: true}}
	added := append(before, cluster.GossipKey{Fingerprint: next, Installed: true, InFile: true})
	used := []cluster.GossipKey{{Fingerprint: former, Installed: true, InFile: true}, {Fingerprint: next, Installed: true, Sends: true, InFile: true}}
	written := []cluster.GossipKey{{Fingerprint: former, Installed: true}, {Fingerprint: next, Installed: true, Sends: true, InFile: true}}
	removed := written[1:]
	for _, tt := range []struct {
		name string
		step cluster.KeyOrder
		a, b []cluster.GossipKey
		want bool
	}{
		{"added by one", add, added, before, false},
		{"added by all", add, added, added, true},
		{"used by one", use, used, added, false},
		{"used by all", use, used, used, true},
		{"taken out of one file", add, written, used, false},
		{"taken out of all files", add, written, written, true},
		{"removed by one", remove, removed, written, false},
		{"removed by all", remove, removed, removed, true},
	} {
		for range 10 { // whichever node is looked at first
			if got := followed(tt.step, map[policy.NodeID][]cluster.GossipKey{"a1": tt.a, "b1": tt.b}); got != tt.want {
				t.Errorf("%s: %v", tt.name, got)
			}
		}
	}
}
