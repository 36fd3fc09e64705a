package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func TestNewsReachEveryPeerAtOnce(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	g.run(time.Second)
	a := g.nodes["n1"]
	g.write(a, g.entry(a, policy.KindMove, "shop/0", "x"))
	if took := g.mustAgree(time.Second); took > 20*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	if n, _ := a.r.Digest(); n != 1 {
		t.Errorf("%d entries held, 1 expected", n)
	}
	if got := g.nodes["n2"].out.Merged; len(got) != 1 || string(got[0].Value) != "x" {
		t.Errorf("merged %v", got)
	}
}

func TestManyMovesGoInFewPackets(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	g.run(time.Second)
	var list []policy.Entry
	a := g.nodes["n1"]
	for i := range 1000 {
		list = append(list, g.entry(a, policy.KindMove, fmt.Sprintf("service-%d/0", i), fmt.Sprintf("%0200d", i)))
	}
	g.packets, g.bytes = 0, 0
	g.write(a, list...)
	t.Logf("%d packets of %d octets in all to 2 peers", g.packets, g.bytes)
	if g.packets > 4 {
		t.Errorf("%d packets", g.packets)
	}
	g.mustAgree(time.Second)
	g.packets = 0
	g.write(a, g.entry(a, policy.KindMove, "one/0", "x"), g.entry(a, policy.KindMove, "two/0", "y"))
	if g.packets != 2 {
		t.Errorf("two moves went in %d packets, 2 expected", g.packets)
	}
}

func TestVotesCountOnceEntriesWereExchanged(t *testing.T) {
	g := newRig(t, 2, 1)
	a, b := g.nodes["n1"], g.nodes["n2"]
	g.write(a, g.entry(a, policy.KindMove, "shop/0", "x"))
	g.write(b, g.entry(b, policy.KindMove, "pay/0", "y"))
	vote := func(n *node, v string) {
		out, err := n.r.SetVote([]byte(v), g.now)
		if err != nil {
			t.Fatal(err)
		}
		g.handle(n, out)
	}
	cut := true
	g.drop = func(from, to policy.NodeID) bool { return cut }
	vote(a, "a1")
	vote(b, "b1")
	g.run(10 * time.Second)
	if len(a.out.Votes)+len(b.out.Votes) > 0 {
		t.Fatal("votes came through a cut")
	}
	cut = false
	took := g.until(5*time.Second, func() bool { return len(a.out.Votes) > 0 && len(b.out.Votes) > 0 })
	if !g.agree() {
		t.Fatal("votes count before entries agree")
	}
	if took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(a.out.Met) != 1 || len(b.out.Met) != 1 || string(a.out.Votes[0].Value) != "b1" {
		t.Errorf("met %v %v, vote %q", a.out.Met, b.out.Met, a.out.Votes[0].Value)
	}
	// Silence, and entries of both sides: met again only when these are exchanged.
	cut = true
	g.run(5 * time.Second)
	g.write(a, g.entry(a, policy.KindMove, "shop/1", "x"))
	g.write(b, g.entry(b, policy.KindMove, "pay/1", "y"))
	a.out.Votes, a.out.Met = nil, nil
	cut = false
	g.until(5*time.Second, func() bool { return len(a.out.Votes) > 0 })
	if len(a.out.Met) != 1 || !g.agree() {
		t.Errorf("met %v, agree %v", a.out.Met, g.agree())
	}
}

func TestLostNewsAreFoundByTheExchange(t *testing.T) {
	g := newRig(t, 5, 3)
	g.upAll()
	g.run(time.Second)
	for i := range 50 {
		n := g.nodes[g.order[i%5]]
		g.drop = func(from, to policy.NodeID) bool { return g.rand.IntN(10) < 3 }
		g.write(n, g.entry(n, policy.KindMove, fmt.Sprintf("service-%d/0", i), "x"))
		g.run(20 * time.Millisecond)
	}
	t.Logf("agreed after %s with 30%% loss", g.mustAgree(time.Minute))
}

func TestOrdersAreAcknowledgedByWhoHasThemOnDisk(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	g.run(time.Second)
	a, b := g.nodes["n1"], g.nodes["n2"]
	b.holdAck = true
	lost := 0
	g.drop = func(from, to policy.NodeID) bool { // the first packet to n3 is lost
		if from == "n1" && to == "n3" && lost == 0 {
			lost++
			return true
		}
		return false
	}
	stamp := g.order1(a, g.entry(a, policy.KindDrain, "site/s2", "{}"))
	g.run(time.Second)
	acks := a.r.Acked(stamp)
	if len(acks) != 1 || acks[0].Node != "n3" || acks[0].Revision != 7 || acks[0].Digest != [8]byte{1} {
		t.Fatalf("acknowledged by %v, n3 expected", acks)
	}
	b.holdAck = false
	g.run(2 * time.Second)
	if acks := a.r.Acked(stamp); len(acks) != 2 || len(a.out.Acks) < 2 {
		t.Fatalf("acknowledged by %v, both expected", acks)
	}
}

// An order may be of many entries, as a failover of all services is. Who holds all of them is known, also when other orders follow.
func TestAnOrderOfManyEntriesIsAcknowledged(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	g.run(time.Second)
	a := g.nodes["n1"]
	g.nodes["n2"].holdAck = true
	var list []policy.Entry
	var stamps []policy.Stamp
	for i := range 1000 {
		list = append(list, g.entry(a, policy.KindActiveMetro, fmt.Sprintf("service-%d", i), "{}"))
		stamps = append(stamps, list[i].Stamp)
	}
	sealed, err := a.r.Seal(list)
	if err != nil {
		t.Fatal(err)
	}
	g.handle(a, a.r.Commit(sealed, g.now))
	g.order1(a, g.entry(a, policy.KindDrain, "site/s2", "{}"))
	g.packets = 0
	g.run(2 * time.Second)
	if acks := a.r.Acked(stamps...); len(acks) != 1 || acks[0].Node != "n3" {
		t.Fatalf("acknowledged by %v, n3 expected", acks)
	}
	g.nodes["n2"].holdAck = false
	g.run(2 * time.Second)
	if acks := a.r.Acked(stamps...); len(acks) != 2 {
		t.Fatalf("acknowledged by %v, both expected", acks)
	}
	if g.packets > 100 {
		t.Errorf("it was acknowledged and asked for again in %d packets", g.packets)
	}
	for range 3 * maxWaiting {
		g.now = g.now.Add(time.Second)
		g.order1(a, g.entry(a, policy.KindDrain, "site/s2", "{}"))
	}
	if n := len(a.r.waiting); n > 2*maxWaiting {
		t.Errorf("%d orders are remembered", n)
	}
}

// TestOrdersOfAClockFarBehindAreAcknowledged wants an order that is too old to be taken as news to be acknowledged all the
// same once the exchange has brought it.
func TestOrdersOfAClockFarBehindAreAcknowledged(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	for _, id := range g.order {
		out, _ := g.nodes[id].r.SetVote([]byte("v"), g.now)
		g.handle(g.nodes[id], out)
	}
	g.run(time.Second)
	a := g.nodes["n1"]
	e := g.entry(a, policy.KindDrain, "site/s2", "{}")
	e.Stamp.Wall = g.now.Add(-20 * time.Hour).UnixMilli()
	stamp := g.order1(a, e)
	took := g.until(20*time.Second, func() bool { return len(a.r.Acked(stamp)) == 2 })
	if acks := a.r.Acked(stamp); len(acks) != 2 {
		t.Fatalf("acknowledged by %v, both expected", acks)
	}
	t.Logf("acknowledged after %s", took)
}

func TestConflictingOrdersEndTheSameAndTheLoserIsTold(t *testing.T) {
	g := newRig(t, 2, 1)
	a, b := g.nodes["n1"], g.nodes["n2"]
	g.drop = func(from, to policy.NodeID) bool { return true }
	g.order1(a, g.entry(a, policy.KindOverride, "all", "a"))
	g.run(time.Second)
	g.order1(b, g.entry(b, policy.KindOverride, "all", "b"))
	g.drop = nil
	g.upAll()
	g.mustAgree(2 * time.Second)
	s, _ := a.r.Get(policy.EntryKey{Kind: policy.KindOverride, Key: "all"})
	if string(s.Entry.Value) != "b" {
		t.Errorf("%s won", s.Entry.Value)
	}
	if len(a.out.Lost) != 1 || string(a.out.Lost[0].Value) != "a" {
		t.Errorf("lost at n1: %v", a.out.Lost)
	}
}

func TestRestartTellsPeersToExchangeAgain(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a, b := g.nodes["n1"], g.nodes["n2"]
	for _, n := range []*node{a, b} {
		out, _ := n.r.SetVote([]byte("v"), g.now)
		g.handle(n, out)
	}
	g.write(a, g.entry(a, policy.KindMove, "shop/0", "x"))
	g.run(2 * time.Second)
	b.out = Out{}
	a = g.start("n1", nil) // an emptied folder
	out, _ := a.r.SetVote([]byte("v"), g.now)
	g.handle(a, out)
	g.mustAgree(3 * time.Second)
	g.run(time.Second)
	if !slices.Contains(b.out.Met, "n1") || !slices.Contains(a.out.Met, "n2") {
		t.Errorf("met %v and %v", a.out.Met, b.out.Met)
	}
}

func TestANodeWhoseClockWentBackIsHeardAgain(t *testing.T) {
	for name, back := range map[string]func(before uint64) uint64{
		"an earlier number": func(uint64) uint64 { return 5 },
		"the same number":   func(before uint64) uint64 { return before },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 2, 1)
			g.upAll()
			a, b := g.nodes["n1"], g.nodes["n2"]
			for range 2 * windowSize {
				out, _ := a.r.SetVote([]byte("v1"), g.now)
				g.handle(a, out)
			}
			g.run(2 * time.Second)
			cfg := g.config("n1")
			cfg.Incarnation = back(a.r.Incarnation())
			r, out, err := New(cfg, nil, g.now)
			if err != nil {
				t.Fatal(err)
			}
			a.r, a.decoder = r, NewDecoder("n1", r.Keyring())
			g.handle(a, out)
			out, _ = a.r.SetVote([]byte("v2"), g.now)
			g.handle(a, out)
			b.out.Votes = nil
			g.until(5*time.Second, func() bool { return len(b.out.Votes) > 0 })
			if len(b.out.Votes) == 0 || string(b.out.Votes[0].Value) != "v2" || len(a.notes(NoteIncarnation)) == 0 {
				t.Errorf("votes %v, notes %v", b.out.Votes, a.out.Notes)
			}
		})
	}
}
