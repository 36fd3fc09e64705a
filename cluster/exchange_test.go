package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/scloudstack/pharos/policy"
)

// stock is many sealed entries of n1, as a test's common past.
func stock(t testing.TB, g *rig, n, size int) []*Sealed {
	t.Helper()
	clock := Clock{Node: "n1"}
	var list []policy.Entry
	for i := range n {
		list = append(list, policy.Entry{
			Kind: policy.KindMove, Key: fmt.Sprintf("service-%d/0", i), Stamp: clock.Stamp(g.now.Add(-time.Hour)), Author: machine,
			Value: []byte(fmt.Sprintf("%0*d", size, i)),
		})
	}
	sealed, err := seal("test", keyOf(1), list)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func (g *rig) fill(list []*Sealed, ids ...policy.NodeID) {
	for _, id := range ids {
		for _, s := range list {
			g.nodes[id].r.load(s)
		}
	}
}

// The cost of an exchange grows with what differs, not with what is stored.
func TestExchangeCostsWhatDiffers(t *testing.T) {
	const big = 100_000
	past := stock(t, newRig(t, 2, 1), big, 200)
	for _, c := range []struct{ stored, differ, most int }{
		{100, 0, 1_000},
		{big, 0, 1_000},
		{100, 1, 6_000},
		{big, 1, 6_000},
		{big, 10, 30_000},
		{big, 1000, 2_000_000},
	} {
		g := newRig(t, 2, 1)
		g.fill(past[:c.stored], "n1", "n2")
		a := g.nodes["n1"]
		g.drop = func(from, to policy.NodeID) bool { return true }
		for i := range c.differ {
			g.write(a, g.entry(a, policy.KindMove, fmt.Sprintf("service-%d/0", i*7), fmt.Sprintf("%0200d", i)), g.entry(a, policy.KindMove, fmt.Sprintf("new-%d", i), fmt.Sprintf("%0200d", i)))
		}
		g.drop = nil
		g.bytes, g.packets = 0, 0
		g.handle(a, a.r.Up("n2", g.now))
		took := g.until(time.Minute, func() bool { return g.agree() && len(a.out.Met) > 0 && len(g.nodes["n2"].out.Met) > 0 })
		t.Logf("%6d stored, %4d changed and as many new: %7d octets in %2d packets, %s at 5 to 10 ms a way", c.stored, c.differ, g.bytes, g.packets, took.Round(time.Millisecond))
		if !g.agree() || g.bytes > c.most {
			t.Errorf("%d octets, at most %d expected; agree %v", g.bytes, c.most, g.agree())
		}
	}
}

func TestAnEmptyReplicaIsFilled(t *testing.T) {
	g := newRig(t, 3, 1)
	g.fill(stock(t, g, 30_000, 200), "n1", "n2")
	g.upAll()
	took := g.mustAgree(time.Minute)
	t.Logf("30,000 entries after %s, %d octets in %d packets", took.Round(time.Millisecond), g.bytes, g.packets)
	if len(g.nodes["n3"].disk) != 30_000 {
		t.Errorf("%d on disk", len(g.nodes["n3"].disk))
	}
}

// Two sides that each wrote much while they were parted.
func TestTwoSidesThatBothWroteMuchMeet(t *testing.T) {
	g := newRig(t, 2, 1)
	for _, id := range g.order {
		n := g.nodes[id]
		var list []policy.Entry
		for i := range 20_000 {
			list = append(list, g.entry(n, policy.KindMove, fmt.Sprintf("%s-%d", id, i), "x"))
		}
		g.drop = func(from, to policy.NodeID) bool { return true }
		g.write(n, list...)
	}
	g.flights, g.drop = nil, nil
	g.upAll()
	t.Logf("agreed after %s", g.mustAgree(time.Minute))
}

func TestExchangeCopesWithLossAndReordering(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		loss := rapid.IntRange(0, 50).Draw(rt, "loss")
		g := newRig(t, 3, seed)
		g.drop = func(from, to policy.NodeID) bool { return g.rand.IntN(100) < loss }
		g.upAll()
		kinds := []policy.Kind{policy.KindDrain, policy.KindMove, policy.KindFall, "of a later release"}
		for range rapid.IntRange(1, 60).Draw(rt, "writes") {
			n := g.nodes[g.order[g.rand.IntN(3)]]
			e := g.entry(n, kinds[g.rand.IntN(4)], fmt.Sprint(g.rand.IntN(8)), fmt.Sprint(g.serial))
			e.Rank = uint64(g.rand.IntN(3))
			g.write(n, e)
			g.run(time.Duration(g.rand.IntN(50)) * time.Millisecond)
		}
		if g.until(2*time.Minute, g.agree); !g.agree() {
			rt.Fatalf("no agreement with %d %% loss", loss)
		}
	})
}

func TestTreeSumsAreThoseOfWhatItHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var tr tree
		held := map[uint64]item{}
		for range rapid.IntRange(0, 400).Draw(rt, "steps") {
			key := rapid.Uint64Range(0, 90).Draw(rt, "key") * 0x0101_0101_0101_0101 >> 3
			if it, ok := held[key]; ok {
				tr.remove(it)
				delete(held, key)
			} else {
				it := item{key, key*31 + 7, &Sealed{}}
				tr.add(it)
				held[key] = it
			}
		}
		p := prefix{}
		for p.depth < maxDepth {
			var want [fan]total
			for key, it := range held {
				if p.has(key) {
					d := digit(key, p.depth)
					want[d].count++
					want[d].sum += it.hash
				}
			}
			if got := tr.totals(p); got != want {
				rt.Fatalf("totals of %+v: %v, %v expected", p, got, want)
			}
			p = p.child(rapid.IntRange(0, fan-1).Draw(rt, "digit"))
		}
	})
}

// A node that begins an exchange anew, as with a peer that is heard again, may have both beginnings overtake one another: the
// peer follows the later one, else the exchange would rest until it is given up.
func TestTheLaterOfTwoBeginningsCounts(t *testing.T) {
	g := newRig(t, 2, 1)
	a, b := g.nodes["n1"], g.nodes["n2"]
	g.write(a, g.entry(a, policy.KindDrain, "site/s1", "x"))
	a.r.peers["n2"].up = true // b begins none
	for range 2 {
		a.r.begin("n2", a.r.peers["n2"], g.now)
	}
	begun := a.r.done(g.now)
	slices.Reverse(begun.Send)
	g.delay = 0 // what is sent together comes in that order
	g.handle(a, begun)
	if took := g.until(time.Minute, func() bool { return a.r.peers["n2"].met && b.r.peers["n1"].met }); took > 500*time.Millisecond {
		t.Errorf("they met after %v", took)
	}
}

// What one side of a cut writes comes to the other by a third soon, though exchanges with those behind the cut are open.
func TestNewsComeRoundACut(t *testing.T) {
	for seed := range uint64(20) {
		g := newRig(t, 5, seed)
		g.upAll()
		for _, id := range g.order {
			out, err := g.nodes[id].r.SetVote([]byte("v"), g.now)
			if err != nil {
				t.Fatal(err)
			}
			g.handle(g.nodes[id], out)
		}
		g.mustAgree(5 * time.Second)
		g.run(3 * time.Second)
		side := map[policy.NodeID]int{"n1": 1, "n2": 1, "n3": 2, "n4": 2} // n5 hears all
		g.drop = func(from, to policy.NodeID) bool { return side[from]*side[to] == 2 }
		g.run(4 * time.Second) // the membership does not know yet
		g.write(g.nodes["n1"], g.entry(g.nodes["n1"], policy.KindMove, "shop/0", "x"))
		if took := g.until(10*time.Second, g.agree); took > 2200*time.Millisecond {
			t.Errorf("seed %d: known to all after %v", seed, took)
		}
	}
}
