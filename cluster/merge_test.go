package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/scloudstack/pharos/policy"
)

// Any order, duplication and grouping of the same news ends in the same entries, and the same on disk.
func TestMergingKnowsNoOrder(t *testing.T) {
	kinds := []policy.Kind{policy.KindDrain, policy.KindMove, policy.KindFall, policy.KindAudit, "of a later release"}
	rapid.Check(t, func(rt *rapid.T) {
		g := newRig(t, 4, rapid.Uint64().Draw(rt, "seed"))
		var news []*Sealed
		for i := range rapid.IntRange(1, 40).Draw(rt, "news") {
			author := 1 + g.rand.IntN(3)
			node := policy.NodeID(fmt.Sprintf("n%d", author))
			kind := kinds[g.rand.IntN(len(kinds))]
			e := policy.Entry{
				Kind: kind, Key: fmt.Sprint(g.rand.IntN(4)), Rank: uint64(g.rand.IntN(3)), Deleted: g.rand.IntN(4) == 0,
				Stamp: policy.Stamp{Wall: int64(g.rand.IntN(6)), Logical: uint32(g.rand.IntN(2)), Node: node}, Value: []byte(fmt.Sprint(i)),
			}
			if kind == policy.KindAudit {
				e.Key, e.Deleted, e.Value = fmt.Sprintf("%s/aa/%d", node, 1+g.rand.IntN(3)), false, []byte(fmt.Sprintf(`{"what":"%d"}`, i))
			}
			news = append(news, sealed(t, author, e)...)
		}
		for s := range slices.Values(news) { // some of a later format, with every rule
			if g.rand.IntN(4) == 0 {
				news = append(news, sealLeaf(keyOf(1), laterLeaf(uint8(g.rand.IntN(4)), uint64(g.rand.IntN(3)), "k", policy.Stamp{Wall: int64(g.rand.IntN(5)), Node: "n1"}, s.Entry.Key)))
			}
		}
		deliver := func(to policy.NodeID) {
			list := append(slices.Clone(news), news[:g.rand.IntN(len(news))]...)
			g.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			for len(list) > 0 {
				n := 1 + g.rand.IntN(len(list))
				if err := g.inject(to, g.ring().singlesPacket("n1", list[:n], g.rand.IntN(2) == 0)); err != nil {
					rt.Fatal(err)
				}
				list = list[n:]
			}
		}
		deliver("n3")
		deliver("n4")
		a, b := g.nodes["n3"], g.nodes["n4"]
		if a.r.tree.root.total != b.r.tree.root.total {
			rt.Fatalf("%+v and %+v", a.r.tree.root.total, b.r.tree.root.total)
		}
		for s := range a.r.Entries() {
			other, ok := b.r.Get(s.Entry.EntryKey())
			if !ok || other.hash != s.hash || a.disk[s.Entry.EntryKey()].hash != s.hash {
				rt.Fatalf("%s here, %s there", s, other)
			}
		}
		// What policy was told merges to the same by its own rule.
		merged := map[policy.EntryKey]policy.Entry{}
		for _, e := range a.out.Merged {
			if h, ok := merged[e.EntryKey()]; !ok || e.Replaces(h) || e.Stamp == h.Stamp {
				merged[e.EntryKey()] = e
			}
		}
		for key, e := range merged {
			if s, _ := a.r.Get(key); s.Entry.Stamp != e.Stamp {
				rt.Fatalf("policy has %v, the replica %s", e.Stamp, s)
			}
		}
	})
}

func TestSenderKeepsTheNewestVoteAndNeverWaits(t *testing.T) {
	type sent struct {
		to   policy.NodeID
		data string
	}
	out := make(chan sent, 100)
	stuck := make(chan struct{})
	stats := &counters{}
	s := newSender(
		func(to policy.NodeID, data []byte) error { out <- sent{to, string(data)}; return nil },
		func(to policy.NodeID, data []byte) error { <-stuck; return nil }, stats, nil)
	for i := range 5 {
		s.put("n2", Packet{Vote: true, Data: fmt.Appendf(nil, "vote %d", i)})
		s.put("n2", Packet{Data: fmt.Appendf(nil, "news %d", i)})
	}
	for range 3 * maxStreamQueue { // a peer whose stream is stuck
		s.put("n3", Packet{Reliable: true, Data: []byte("x")})
	}
	if got := stats.dropped.Load(); got < maxStreamQueue {
		t.Errorf("%d dropped of a queue that is full", got)
	}
	ctx, cancel := contextOf(t)
	done := make(chan struct{})
	go func() { s.run(ctx); close(done) }()
	want := []string{"vote 4", "news 0", "news 1", "news 2", "news 3", "news 4"}
	for _, w := range want {
		select {
		case got := <-out:
			if got.data != w {
				t.Errorf("sent %q, %q expected", got.data, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q was not sent", w)
		}
	}
	cancel()
	<-done
	close(stuck)
	s.close()
	s.put("n2", Packet{Reliable: true, Data: []byte("late")})
}
