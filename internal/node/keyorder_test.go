package node

import (
	"slices"
	"testing"

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
