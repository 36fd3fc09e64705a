package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func TestTombstonesGoOnceEveryNodeHeldThem(t *testing.T) {
	g := newRig(t, 3, 1)
	needed := map[string]bool{}
	for _, id := range g.order {
		n := g.nodes[id]
		n.cfg.Needed = func(e policy.Entry) bool { return needed[e.Key] }
		n.cfg.Tombstones = 10 * time.Minute
		if _, err := n.r.Reconfigure(n.cfg, g.now); err != nil {
			t.Fatal(err)
		}
		n.decoder.SetKeyring(n.r.Keyring())
	}
	g.upAll()
	a := g.nodes["n1"]
	live := g.entry(a, policy.KindDrain, "site/s1", "{}")
	g.order1(a, live)
	g.mustAgree(time.Second)
	before := map[policy.EntryKey]*Sealed{}
	for k, s := range g.nodes["n3"].disk {
		before[k] = s
	}
	parted := true
	g.drop = func(from, to policy.NodeID) bool { return parted && (from == "n3" || to == "n3") }
	dead := g.entry(a, policy.KindDrain, "site/s1", "")
	dead.Deleted, dead.Ends = true, live.Stamp
	g.order1(a, dead)
	g.run(15 * time.Minute)
	for _, id := range []policy.NodeID{"n1", "n2"} {
		if n, _ := g.nodes[id].r.Digest(); n != 1 {
			t.Fatalf("%s collected a tombstone that n3 does not hold", id)
		}
	}
	parted = false
	g.upAll()
	g.run(5 * time.Minute)
	for _, id := range g.order {
		if n, _ := g.nodes[id].r.Digest(); n != 0 || len(g.nodes[id].disk) != 0 {
			t.Errorf("%s still holds %d", id, n)
		}
	}
	// Nor one that still decides.
	needed["site/s2"] = true
	g.order1(a, g.entry(a, policy.KindDrain, "site/s2", "{}"))
	dead = g.entry(a, policy.KindDrain, "site/s2", "")
	dead.Deleted = true
	g.order1(a, dead)
	g.run(15 * time.Minute)
	if n, _ := a.r.Digest(); n != 1 {
		t.Errorf("a tombstone that is needed was collected")
	}
	delete(needed, "site/s2")
	g.run(5 * time.Minute)
	if n, _ := a.r.Digest(); n != 0 {
		t.Errorf("a tombstone that is needed no more was not collected")
	}
}

func TestRecordedNewsDoNotBringBackWhatWasEnded(t *testing.T) {
	g := newRig(t, 3, 1)
	for _, id := range g.order {
		n := g.nodes[id]
		n.cfg.Tombstones = 10 * time.Minute
		if _, err := n.r.Reconfigure(n.cfg, g.now); err != nil {
			t.Fatal(err)
		}
		n.decoder.SetKeyring(n.r.Keyring())
	}
	g.upAll()
	a := g.nodes["n1"]
	var news []byte
	g.tap = func(from, to policy.NodeID, p Packet) {
		if m, err := g.nodes["n2"].decoder.Decode(p.Data); to == "n2" && err == nil && m.kind == typeEntries && news == nil {
			news = p.Data
		}
	}
	live := g.entry(a, policy.KindDrain, "site/s1", "{}")
	g.order1(a, live)
	g.mustAgree(time.Second)
	dead := g.entry(a, policy.KindDrain, "site/s1", "")
	dead.Deleted, dead.Ends = true, live.Stamp
	g.order1(a, dead)
	g.run(20 * time.Minute)
	if n, _ := a.r.Digest(); n != 0 || news == nil {
		t.Fatalf("%d held, %d octets of news recorded", n, len(news))
	}
	for range 3 {
		g.inject("n2", news)
		g.run(time.Minute)
	}
	for _, id := range g.order {
		if n, _ := g.nodes[id].r.Digest(); n != 0 {
			t.Errorf("%s holds %d", id, n)
		}
	}
}

func TestATombstoneIsNotCollectedYoung(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a := g.nodes["n1"]
	dead := g.entry(a, policy.KindDrain, "site/s1", "")
	dead.Deleted = true
	g.order1(a, dead)
	g.run(10 * time.Minute)
	if n, _ := a.r.Digest(); n != 1 {
		t.Error("collected within 24 hours")
	}
}

// One node knows that all held a tombstone, the other does not yet: the first tells, and it is not sent back and forth.
func TestACollectedTombstoneIsNotBroughtBack(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	a := g.nodes["n1"]
	dead := g.entry(a, policy.KindDrain, "site/s1", "")
	dead.Deleted = true
	g.order1(a, dead)
	g.mustAgree(time.Second)
	s, _ := a.r.Get(dead.EntryKey())
	a.r.collect(s)
	g.handle(a, a.r.Tick(g.now))
	g.run(20 * time.Second)
	for _, id := range g.order {
		if n, _ := g.nodes[id].r.Digest(); n != 0 {
			t.Errorf("%s holds %d", id, n)
		}
	}
}

func TestAReadmittedNodeOffersWhatNobodySaw(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	b := g.nodes["n2"]
	seen := g.entry(b, policy.KindDrain, "site/s1", "{}")
	g.order1(b, seen)
	g.mustAgree(time.Second)
	g.drop = func(from, to policy.NodeID) bool { return true }
	unseen := g.entry(b, policy.KindDrain, "site/s2", "{}")
	g.order1(b, unseen)
	answered := g.entry(b, policy.KindOverride, "all", "{}")
	g.order1(b, answered)
	ended := g.entry(b, policy.KindOverride, "service/shop", "{}")
	g.order1(b, ended)
	machines := g.entry(b, policy.KindMove, "shop/0", "{}")
	machines.Author = machine
	g.write(b, machines)
	var aside []*Sealed
	for _, s := range b.disk {
		aside = append(aside, s)
	}
	a := g.nodes["n1"]
	over := g.entry(a, policy.KindOverride, "all", "{}")
	over.Stamp.Wall += 5
	over.Over = answered.Stamp // given in knowledge of it
	g.order1(a, over)
	end := g.entry(a, policy.KindOverride, "service/shop", "")
	end.Deleted, end.Ends = true, ended.Stamp
	g.order1(a, end)
	g.drop = nil
	b = g.start("n2", nil)
	g.upAll()
	g.mustAgree(5 * time.Second)
	got := b.r.Unseen(aside)
	if len(got) != 1 || got[0].Stamp != unseen.Stamp {
		t.Errorf("offered: %v", got)
	}
	if slices.ContainsFunc(held(b.r), func(e policy.Entry) bool { return e.Stamp == unseen.Stamp }) {
		t.Error("it was taken back")
	}
}

func TestWhatIsObsoleteDoesNotComeBack(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a, b := g.nodes["n1"], g.nodes["n2"]
	g.write(a, g.entry(a, policy.KindMove, "shop/0", "{}"))
	g.mustAgree(time.Second)
	b.cfg.Obsolete = func(e policy.Entry) bool { return e.Key == "shop/0" }
	if _, err := b.r.Reconfigure(b.cfg, g.now); err != nil {
		t.Fatal(err)
	}
	b.decoder.SetKeyring(b.r.Keyring())
	g.handle(b, b.r.Forget([]policy.EntryKey{{Kind: policy.KindMove, Key: "shop/0"}}, g.now))
	g.run(10 * time.Second)
	if n, _ := b.r.Digest(); n != 0 || len(b.disk) != 0 {
		t.Error("it came back")
	}
	g.bytes = 0
	g.run(30 * time.Second)
	t.Logf("%d octets in 30 s where one holds what is obsolete to the other", g.bytes)
	if g.bytes > 40_000 {
		t.Errorf("%d octets", g.bytes)
	}
}
