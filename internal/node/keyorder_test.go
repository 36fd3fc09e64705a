package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestKeysFileThatCantBeReadIsTold breaks the keys_file of three nodes: who has it read again is told why that failed here,
// and on which other nodes it did; each raises an alarm until it can be read again.
func TestKeysFileThatCantBeReadIsTold(t *testing.T) {
	c := newCrew(t)
	a := c["a1"]
	good, err := os.ReadFile(filepath.Join(a.dir, "gossip.keys"))
	if err != nil {
		t.Fatal(err)
	}
	c.start(t, "a1", "b1", "r1")
	eventually(t, "all are heard", func() bool { return len(a.node.gossip.keysByNode()) == 3 })
	a.write("gossip.keys", "no base64!\n")
	eventually(t, "what failed is told", func() bool {
		keys, err := a.node.AddGossipKeys(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(keys.Partial, "a1: gossip keys: ") && strings.Contains(keys.Partial, "no base64") &&
			strings.Contains(keys.Partial, "b1 could not read its keys_file") && strings.Contains(keys.Partial, "r1 could not read its keys_file")
	})
	for _, r := range c {
		r.wantAlarm("gossip-keys", true)
	}
	known := a.node.gossip.keysByNode()
	for _, op := range []cluster.KeyOp{cluster.KeyUse, cluster.KeyRemove} {
		step := cluster.KeyOrder{Op: op, Key: known["a1"][0].Fingerprint}
		if late := step.ReadyFor([]policy.NodeID{"a1", "b1", "r1"}, known); len(late) != 3 {
			t.Errorf("step %d goes on: %v", op, late)
		}
	}

	a.write("gossip.keys", string(good))
	eventually(t, "all have read it", func() bool {
		keys, err := a.node.AddGossipKeys(t.Context(), "ann")
		return err == nil && keys.Partial == ""
	})
	for _, r := range c {
		r.wantAlarm("gossip-keys", false)
	}
}
