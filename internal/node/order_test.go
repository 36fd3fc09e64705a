package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// TestAuditNamesAllThatAnOrderIsAbout wants each of several sites in the record of
// the one order that declares them lost.
func TestAuditNamesAllThatAnOrderIsAbout(t *testing.T) {
	o := policy.Order{Kind: policy.KindSiteLost, Key: "city-a", Author: "ann", Reason: "flood"}
	r := orderRecord(o, policy.Preview{Entries: []policy.Entry{{Kind: policy.KindSiteLost, Key: "city-a"}, {Kind: policy.KindSiteLost, Key: "city-b"}}})
	if want := "site lost city-a, city-b"; r.Subject != want || r.Who != "ann" || r.Why != "flood" {
		t.Errorf("%+v, want %s", r, want)
	}
}

// TestAuditLeavesToEachNodeWhatItDid wants an alarm in the audit of the node that raised it, and in no other.
func TestAuditLeavesToEachNodeWhatItDid(t *testing.T) {
	got := changeRecords([]policy.Change{
		{Subject: "alarm margin", Before: "clear", After: "raised", Why: "one more silent site", Heard: "edge-b"},
		{Subject: "vote http 10.1.8.10", Before: "up", After: "down", Why: "refused"},
	})
	want := []cluster.Record{{Who: "machine", What: "vote", Subject: "http 10.1.8.10", Before: "up", After: "down", Why: "refused"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhyANodeDoesNotHoldAnOrder(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	h := holders{now: now, ttl: 3 * time.Second, peers: []cluster.Peer{
		{Node: "speaks", Up: true, Heard: now.Add(-time.Second)},
		{Node: "joined", Up: true},
		{Node: "died", Up: true, Heard: now.Add(-6 * time.Second)}, // the membership has not noticed yet
		{Node: "back", Heard: now.Add(-time.Second)},               // nor that this one is heard again
		{Node: "gone", Heard: now.Add(-time.Minute)},
		{Node: "never"},
	}}
	for id, want := range map[policy.NodeID]string{
		"speaks": "in contact, no word yet", "back": "in contact, no word yet", "joined": "in contact, no word yet", "died": "silent for 6s", "gone": "silent for 1m",
		"never": "never heard", "unknown": "it has no public_key in the configuration",
	} {
		if got := h.silence(id); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
	for i, want := range []bool{true, true, true, true, false, false} {
		one := holders{now: h.now, ttl: h.ttl, peers: h.peers[i : i+1]}
		if got := one.waits(api.WaitReachable); got != want {
			t.Errorf("an order waits for %s: %t, want %t", h.peers[i].Node, got, want)
		}
	}
}
