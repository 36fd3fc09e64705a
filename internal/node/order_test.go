package node

import (
	"context"
	"errors"
	"strings"
	"sync"
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

// blockDisk has the disk write nothing until release.
func (r *rig) blockDisk() (release func()) {
	r.t.Helper()
	blocked, end := make(chan struct{}), make(chan struct{})
	r.node.disk.Store(nil, func(error) { close(blocked); <-end }) // on the disk's goroutine
	<-blocked
	release = sync.OnceFunc(func() { close(end) })
	r.t.Cleanup(release)
	return release
}

// ordersOnRecord are the orders in the audit, the newest first.
func (r *rig) ordersOnRecord() []string {
	r.t.Helper()
	page, err := r.node.Audit(r.t.Context(), api.AuditQuery{Kind: "order", Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	list := []string{}
	for _, a := range page.Records {
		list = append(list, a.Subject)
	}
	return list
}

// flushDisk waits until the disk has done all that it was given, and then the records of that.
func (r *rig) flushDisk() {
	r.t.Helper()
	for range 2 {
		done := make(chan struct{})
		r.node.disk.Store(nil, func(error) { close(done) })
		<-done
	}
}

// TestVolatileOrderOfALateDisk wants an order that was obeyed in memory obeyed, and in the audit, no second time when the
// disk takes it after all.
func TestVolatileOrderOfALateDisk(t *testing.T) {
	r := newRig(t)
	r.opt.Volatile = true
	r.start()
	release := r.blockDisk()
	o := policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}}
	asked := time.Now()
	result, err := r.order(o)
	if want := "obeyed, but kept in memory only until the disk writes again (the disk has not answered for 5s); a restart before that loses it"; err != nil || result.Partial != want {
		t.Errorf("%+v, %v, want %s", result, err, want)
	}
	if took := time.Since(asked); took >= 2*orderWait {
		t.Errorf("the disk was waited for again: it took %v", took)
	}
	r.wantAnswer(addrB)
	release()
	r.flushDisk()
	if diff := cmp.Diff([]string{"override set service shop site city-b"}, r.ordersOnRecord()); diff != "" {
		t.Error(diff)
	}
	r.restart()
	r.wantAnswer(addrB)
}

// TestVolatileOrderThatOthersHold has other nodes hold an order that this one has in memory only: a restart does not lose it.
func TestVolatileOrderThatOthersHold(t *testing.T) {
	c := newCrew(t)
	a := c["a1"]
	a.opt.Volatile = true
	c.start(t, "a1", "b1", "r1")
	c.all(t, addrA, "a1", "b1", "r1")
	a.blockDisk()
	result, err := a.order(policy.Order{Kind: policy.KindDrain, Key: "site/city-b"})
	if err != nil || !strings.Contains(result.Partial, "; a restart before that takes it up again from b1, r1") {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestCancelledOrder has who gave an order go while the disk is slow: the order is not taken into memory as if the disk
// failed, and counts, once, when the disk has it.
func TestCancelledOrder(t *testing.T) {
	r := newRig(t)
	r.opt.Volatile = true
	r.start()
	release := r.blockDisk()
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		o := policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}, Author: "root", Reason: "test"}
		_, err := r.node.Order(ctx, o, api.Giving{Wait: api.WaitLocal, WaitFor: api.DefaultWaitFor})
		answer <- err
	}()
	eventually(t, "the order waits for the disk", func() bool {
		r.node.disk.mu.Lock()
		defer r.node.disk.mu.Unlock()
		return len(r.node.disk.orders) > 0
	})
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) || errors.Is(err, api.ErrDegraded) {
		t.Errorf("got %v", err)
	}
	r.wantAnswer(addrA)
	release()
	eventually(t, "the order counts", func() bool { return r.answer() == addrB })
	r.flushDisk()
	if diff := cmp.Diff([]string{"override set service shop site city-b"}, r.ordersOnRecord()); diff != "" {
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
