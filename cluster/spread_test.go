package cluster

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Above Direct live peers news go by gossip: no node sends to all, and all have them soon.
func TestManyNodesAreToldByGossip(t *testing.T) {
	g := newRig(t, 80, 1)
	g.upAll()
	g.run(2 * time.Second)
	a := g.nodes["n1"]
	sent := map[policy.NodeID]int{}
	g.tap = func(from, to policy.NodeID, p Packet) {
		if p.Data[1] == typeEntries {
			sent[from]++
		}
	}
	g.write(a, g.entry(a, policy.KindMove, "shop/0", "x"))
	took := g.until(10*time.Second, func() bool { return g.agree() })
	most, sum := 0, 0
	for _, n := range sent {
		most, sum = max(most, n), sum+n
	}
	t.Logf("80 nodes agree after %s, %d packets in all, %d of one node at most", took, sum, most)
	if !g.agree() || took > 2*time.Second || most > 2*rumorPeers*rumorTimes {
		t.Errorf("took %s, %d packets of one node", took, most)
	}
	stamp := g.order1(a, g.entry(a, policy.KindDrain, "site/s2", "{}"))
	g.until(10*time.Second, func() bool { return len(a.r.Acked(stamp)) == 79 })
	if n := len(a.r.Acked(stamp)); n != 79 {
		t.Errorf("%d of 79 acknowledged", n)
	}
}

// A vote too long for a datagram goes whole when it changes, and its refreshes carry its hash.
func TestALongVoteIsRefreshedByItsHash(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	g.run(time.Second)
	a, b := g.nodes["n1"], g.nodes["n2"]
	long := bytes.Repeat([]byte{0xa5}, 20_000)
	out, err := a.r.SetVote(long, g.now)
	if err != nil {
		t.Fatal(err)
	}
	g.handle(a, out)
	g.run(100 * time.Millisecond)
	g.bytes = 0
	g.run(10 * time.Second)
	if g.bytes > 10_000 {
		t.Errorf("10 s of refreshes took %d octets", g.bytes)
	}
	if n := len(b.out.Votes); n < 9 || !bytes.Equal(b.out.Votes[n-1].Value, long) {
		t.Errorf("%d votes", n)
	}
	// The change is lost: the refresh has it asked for.
	lose := true
	g.drop = func(from, to policy.NodeID) bool { return lose }
	long = bytes.Repeat([]byte{0x5a}, 20_000)
	out, _ = a.r.SetVote(long, g.now)
	g.handle(a, out)
	lose = false
	b.out.Votes = nil
	took := g.until(3*time.Second, func() bool { return len(b.out.Votes) > 0 && bytes.Equal(b.out.Votes[len(b.out.Votes)-1].Value, long) })
	if took > 1500*time.Millisecond {
		t.Errorf("asked for and had after %s", took)
	}
	if _, err := a.r.SetVote(make([]byte, maxVote+1), g.now); err == nil {
		t.Error("a vote of any length is taken")
	}
}

func TestReasonsAndListsArrive(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a, b := g.nodes["n1"], g.nodes["n2"]
	out, _ := a.r.SetReasons([]byte("503 from 203.0.113.10"), g.now)
	g.handle(a, out)
	digest := [32]byte{1, 2, 3}
	g.handle(a, a.r.AskList("n2", digest, g.now))
	g.run(100 * time.Millisecond)
	if len(b.out.Reasons) != 1 || b.out.Reasons[0].Node != "n1" || string(b.out.Reasons[0].Value) != "503 from 203.0.113.10" {
		t.Errorf("reasons %v", b.out.Reasons)
	}
	if len(b.out.ListAsks) != 1 || b.out.ListAsks[0] != (ListAsk{"n1", digest}) {
		t.Fatalf("asked: %v", b.out.ListAsks)
	}
	list := bytes.Repeat([]byte("targets"), maxList/7) // as long as it may be
	out, err := b.r.SendList("n1", list, g.now)
	if err != nil {
		t.Fatal(err)
	}
	g.handle(b, out)
	g.run(100 * time.Millisecond)
	if len(a.out.Lists) != 1 || !bytes.Equal(a.out.Lists[0].Value, list) {
		t.Errorf("%d lists", len(a.out.Lists))
	}
	if _, err := b.r.SendList("n1", make([]byte, maxList+1), g.now); err == nil {
		t.Error("a list of any length is taken")
	}
}

// A digest in a vote that stays different has the entry found without waiting for the next exchange.
func TestAVotesDigestFindsWhatWasLost(t *testing.T) {
	g := newRig(t, 5, 1)
	g.upAll()
	for _, id := range g.order {
		out, _ := g.nodes[id].r.SetVote([]byte("v"), g.now)
		g.handle(g.nodes[id], out)
	}
	g.run(2 * time.Second)
	var took []time.Duration
	for i := range 20 {
		a := g.nodes["n1"]
		g.drop = func(from, to policy.NodeID) bool { return to == "n5" }
		g.write(a, g.entry(a, policy.KindMove, fmt.Sprint(i), "x"))
		g.run(20 * time.Millisecond)
		g.drop = nil
		took = append(took, g.mustAgree(5*time.Second))
		g.run(time.Second)
	}
	worst := time.Duration(0)
	for _, d := range took {
		worst = max(worst, d)
	}
	t.Logf("a lost packet of news was made up for after %s at worst", worst)
	if worst > 2500*time.Millisecond {
		t.Errorf("%s", worst)
	}
}

func TestClockIsNeverBehindWhatItSaw(t *testing.T) {
	c := Clock{Node: "n1"}
	now := epoch
	first := c.Stamp(now)
	if second := c.Stamp(now.Add(-time.Hour)); second.Compare(first) <= 0 {
		t.Errorf("%s after %s", second, first)
	}
	c.See(policy.Stamp{Wall: now.Add(30 * time.Second).UnixMilli(), Node: "n2"}, now)
	third := c.Stamp(now)
	if third.Time() != now.Add(30*time.Second) {
		t.Errorf("%s", third)
	}
	c.See(policy.Stamp{Wall: now.Add(time.Hour).UnixMilli(), Node: "n2"}, now)
	if fourth := c.Stamp(now); fourth.Time() != third.Time() {
		t.Errorf("a far-off stamp moved the clock: %s", fourth)
	}
}
