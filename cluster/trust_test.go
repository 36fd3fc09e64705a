package cluster

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// inject has a node receive a packet now.
func (g *rig) inject(to policy.NodeID, packet []byte) error {
	n := g.nodes[to]
	m, err := n.decoder.Decode(packet)
	if err == nil {
		g.handle(n, n.r.Receive(m, g.now))
	}
	return err
}

func TestForgedEntriesAreRefused(t *testing.T) {
	g := newRig(t, 3, 1)
	b := g.nodes["n2"]
	forged, err := seal("test", keyOf(3), []policy.Entry{{Kind: policy.KindDrain, Key: "site/s2", Stamp: policy.Stamp{Wall: 9, Node: "n1"}}}) // n3 signs as n1
	if err != nil {
		t.Fatal(err)
	}
	for name, packet := range map[string][]byte{
		"alone":   g.ring().singlesPacket("n3", forged, false),
		"a batch": g.ring().entriesPacket("n3", [][]*Sealed{forged}, false),
	} {
		b.out = Out{}
		if err := g.inject("n2", packet); err != nil {
			t.Fatal(err)
		}
		notes := b.notes(NoteRefused)
		if len(notes) != 1 || notes[0].Node != "n1" || notes[0].From != "n3" || !strings.Contains(notes[0].Text, "site/s2") {
			t.Errorf("%s: notes %v", name, b.out.Notes)
		}
		if n, _ := b.r.Digest(); n != 0 || len(b.out.Keep) != 0 {
			t.Errorf("%s: taken in", name)
		}
	}
	other := sealedIn(t, "another cluster", 1, policy.Entry{Kind: policy.KindDrain, Key: "site/s2", Stamp: policy.Stamp{Wall: 9, Node: "n1"}})
	if g.inject("n2", g.ring().singlesPacket("n1", other, false)); len(b.notes(NoteRefused)) == 0 || len(b.out.Keep) > 0 {
		t.Error("an entry of another cluster is taken in")
	}
}

func sealedIn(t testing.TB, cluster string, node int, entries ...policy.Entry) []*Sealed {
	t.Helper()
	out, err := seal(cluster, keyOf(node), entries)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestForgedAndMisdirectedPacketsAreRefused(t *testing.T) {
	g := newRig(t, 3, 1)
	a := g.nodes["n1"].r
	good := a.signedPacket(typeReasons, "n2", putBytes(nil, []byte("because")))
	if err := g.inject("n2", good); err != nil || len(g.nodes["n2"].out.Reasons) != 1 {
		t.Fatalf("%v, %v", err, g.nodes["n2"].out.Reasons)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		if g.inject("n2", bad) == nil {
			t.Errorf("octet %d can be altered", i)
		}
	}
	if err := g.inject("n3", good); err == nil || !strings.Contains(err.Error(), `meant for "n2"`) {
		t.Errorf("n3 takes what is meant for n2: %v", err)
	}
	for i := range good {
		if g.inject("n2", good[:i]) == nil {
			t.Errorf("the first %d octets are taken", i)
		}
	}
	if err := g.inject("n2", append([]byte{9}, good[1:]...)); err == nil || !strings.Contains(err.Error(), "protocol version 9, 1 expected") {
		t.Errorf("another version: %v", err)
	}
}

func TestReplayedVotesAreRefused(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a, b := g.nodes["n1"], g.nodes["n2"]
	var recorded [][]byte
	g.tap = func(from, to policy.NodeID, p Packet) {
		if from == "n1" && p.Vote {
			recorded = append(recorded, p.Data)
		}
	}
	for _, v := range []string{"up", "down"} {
		out, _ := a.r.SetVote([]byte(v), g.now)
		g.handle(a, out)
		g.run(3 * time.Second)
	}
	b.out.Votes = nil
	for _, packet := range recorded {
		if err := g.inject("n2", packet); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.out.Votes) > 0 {
		t.Errorf("replayed votes count: %v", b.out.Votes)
	}
	g.drop = func(from, to policy.NodeID) bool { return true }
	g.run(10 * time.Second) // silence does not make them new
	for _, packet := range recorded {
		g.inject("n2", packet)
	}
	if len(b.out.Votes) > 0 {
		t.Errorf("replayed votes count after silence: %v", b.out.Votes)
	}
}

// Whoever records packets can send old ones again without any key. Their author has not been set back by that.
func TestReplayedPacketsDoNotSetANodeBack(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a, b := g.nodes["n1"], g.nodes["n2"]
	say := func(times int) {
		for range times {
			out, _ := a.r.SetReasons([]byte("because"), g.now)
			g.handle(a, out)
		}
		out, _ := a.r.SetVote([]byte("v"), g.now)
		g.handle(a, out)
		g.run(time.Second)
	}
	var earlier, old []byte
	g.tap = func(from, to policy.NodeID, p Packet) {
		if from == "n1" && p.Vote && earlier == nil {
			earlier = p.Data
		}
	}
	say(1)
	a = g.start("n1", a.disk)
	g.handle(a, a.r.Up("n2", g.now))
	g.tap = func(from, to policy.NodeID, p Packet) {
		if from == "n1" && p.Vote && old == nil {
			old = p.Data
		}
	}
	say(1)
	say(2 * windowSize)
	incarnation := a.r.Incarnation()
	b.out.Met = nil
	for range 5 {
		for _, packet := range [][]byte{earlier, old} {
			if err := g.inject("n2", packet); err != nil {
				t.Fatal(err)
			}
			g.run(2 * time.Second)
		}
	}
	if a.r.Incarnation() != incarnation || len(a.notes(NoteIncarnation)) > 0 || len(b.out.Met) > 0 || !b.r.peers["n1"].met {
		t.Errorf("incarnation %d, was %d; notes %v; met again %v", a.r.Incarnation(), incarnation, a.out.Notes, b.out.Met)
	}
}

func TestAnOldVoteAfterARestartDoesNotCount(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a := g.nodes["n1"]
	var first []byte
	g.tap = func(from, to policy.NodeID, p Packet) {
		if from == "n1" && p.Vote && first == nil {
			first = p.Data
		}
	}
	out, _ := a.r.SetVote([]byte("old"), g.now)
	g.handle(a, out)
	g.run(time.Second)
	g.drop = func(from, to policy.NodeID) bool { return from == "n1" } // n1 can't be heard, its recorded packet can
	b := g.start("n2", g.nodes["n2"].disk)
	for range 20 {
		g.inject("n2", first)
		g.run(100 * time.Millisecond)
	}
	if len(b.out.Votes)+len(b.out.Met) > 0 {
		t.Errorf("votes %v, met %v", b.out.Votes, b.out.Met)
	}
}

func TestFarOffStampsAreTakenAndNoted(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	a, b := g.nodes["n1"], g.nodes["n2"]
	e := g.entry(a, policy.KindDrain, "site/s2", "{}")
	e.Stamp.Wall = g.now.Add(time.Hour).UnixMilli()
	g.write(a, e)
	g.mustAgree(time.Second)
	s, ok := b.r.Get(e.EntryKey())
	if !ok || s.Entry.Stamp != e.Stamp {
		t.Errorf("held: %v", s)
	}
	if notes := b.notes(NoteSkew); len(notes) != 1 || notes[0].Node != "n1" || !strings.Contains(notes[0].Text, "1h0m0s ahead") {
		t.Errorf("notes %v", b.out.Notes)
	}
}

func TestEntriesOfUnknownAuthorsAreParkedAndJudgedAgain(t *testing.T) {
	g := newRig(t, 3, 1)
	two := map[policy.NodeID]Member{"n1": g.members["n1"], "n2": g.members["n2"]}
	b := g.nodes["n2"]
	cfg := b.cfg
	cfg.Members = two
	reconfigure := func(cfg Config) {
		out, err := b.r.Reconfigure(cfg, g.now)
		if err != nil {
			t.Fatal(err)
		}
		b.decoder.SetKeyring(b.r.Keyring())
		g.handle(b, out)
	}
	reconfigure(cfg)
	a := g.nodes["n1"]
	g.write(g.nodes["n3"], g.entry(g.nodes["n3"], policy.KindDrain, "site/s3", "{}"))
	g.handle(a, a.r.Up("n3", g.now))
	g.handle(a, a.r.Up("n2", g.now))
	g.run(5 * time.Second)
	if n, _ := b.r.Digest(); n != 0 || b.r.Parked() != 1 || len(b.notes(NoteParked)) != 1 {
		t.Fatalf("%d held, %d parked, notes %v", n, b.r.Parked(), b.out.Notes)
	}
	bytes := g.bytes
	g.run(10 * time.Second)
	t.Logf("%d octets in 10 s with one entry parked", g.bytes-bytes)
	reconfigure(b.cfg)
	if n, _ := b.r.Digest(); n != 1 || b.r.Parked() != 0 || len(b.out.Merged) != 1 {
		t.Errorf("%d held, %d parked, merged %v", n, b.r.Parked(), b.out.Merged)
	}
	// What is forged does not come in by waiting.
	reconfigure(cfg)
	forged := sealedIn(t, "test", 2, policy.Entry{Kind: policy.KindDrain, Key: "site/s9", Stamp: policy.Stamp{Wall: epoch.UnixMilli(), Node: "n9"}})
	g.inject("n2", g.ring().singlesPacket("n1", forged, false))
	if b.r.Parked() != 1 {
		t.Fatalf("%d parked", b.r.Parked())
	}
	nine := b.cfg
	nine.Members = map[policy.NodeID]Member{"n9": {Site: "s9", PublicKey: keyOf(9).Public().(ed25519.PublicKey)}}
	for id, m := range g.members {
		nine.Members[id] = m
	}
	reconfigure(nine)
	if _, held := b.r.Get(forged[0].Entry.EntryKey()); held || b.r.Parked() != 0 {
		t.Error("a forged entry came in")
	}
}

func TestParkingIsBounded(t *testing.T) {
	g := newRig(t, 2, 1)
	for i := range 3 * maxParked {
		g.inject("n2", g.ring().singlesPacket("n1", sealedIn(t, "test", 9, policy.Entry{Kind: policy.KindDrain, Key: fmt.Sprint(i), Stamp: policy.Stamp{Wall: epoch.UnixMilli(), Node: "n9"}, Value: make([]byte, 2000)}), false))
	}
	if p := g.nodes["n2"].r.parked; len(p.list) > maxParked || p.bytes > maxParkedBytes || len(p.list) < 100 {
		t.Errorf("%d entries, %d octets", len(p.list), p.bytes)
	}
}

func TestWhatALeavingNodeWroteStaysAndNothingMoreOfIt(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	c := g.nodes["n3"]
	g.write(c, g.entry(c, policy.KindDrain, "site/s1", "{}"))
	g.mustAgree(time.Second)
	two := map[policy.NodeID]Member{"n1": g.members["n1"], "n2": g.members["n2"]}
	delete(g.nodes, "n3")
	g.order = []policy.NodeID{"n1", "n2"}
	a := g.nodes["n1"]
	cfg := a.cfg
	cfg.Members = two
	out, err := a.r.Reconfigure(cfg, g.now)
	if err != nil {
		t.Fatal(err)
	}
	a.decoder.SetKeyring(a.r.Keyring())
	g.handle(a, out)
	if len(out.Keep) != 1 || out.Keep[0].countBy != "n1" {
		t.Fatalf("kept: %v", out.Keep)
	}
	// A node that never knew n3 is filled.
	g.members = two
	b := g.start("n2", nil)
	g.upAll()
	g.mustAgree(time.Second)
	if n, _ := b.r.Digest(); n != 1 {
		t.Fatalf("n2 holds %d", n)
	}
	// Anything more under its key is refused.
	late := sealed(t, 3, policy.Entry{Kind: policy.KindDrain, Key: "site/s2", Stamp: policy.Stamp{Wall: g.now.UnixMilli(), Node: "n3"}})
	g.inject("n1", g.ring().singlesPacket("n2", late, false))
	if n, _ := a.r.Digest(); n != 1 || len(a.notes(NoteRefused)) != 1 {
		t.Errorf("n1 holds %d, notes %v", n, a.out.Notes)
	}
	// And both survive a restart.
	for _, id := range g.order {
		g.start(id, g.nodes[id].disk)
		if n, _ := g.nodes[id].r.Digest(); n != 1 {
			t.Errorf("%s holds %d after a restart", id, n)
		}
	}
}

func TestWhatANodeWroteWithAFormerKeyStaysAndNothingMoreOfIt(t *testing.T) {
	g := newRig(t, 3, 1)
	g.upAll()
	c := g.nodes["n3"]
	g.write(c, g.entry(c, policy.KindDrain, "site/s1", "{}"))
	g.mustAgree(time.Second)
	old := g.members["n3"].PublicKey
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	g.members = maps.Clone(g.members)
	g.members["n3"] = Member{Site: g.members["n3"].Site, PublicKey: public}
	g.keys["n3"] = key
	rekeyed := func(id policy.NodeID) Config {
		cfg := g.config(id)
		cfg.Former = map[policy.NodeID][]ed25519.PublicKey{"n3": {old}}
		return cfg
	}

	// n1 takes the new configuration while it runs, n2 starts with it, n3 has another folder by now.
	a := g.nodes["n1"]
	out, err := a.r.Reconfigure(rekeyed("n1"), g.now)
	if err != nil {
		t.Fatal(err)
	}
	a.decoder.SetKeyring(a.r.Keyring())
	g.handle(a, out)
	if len(out.Keep) != 1 || out.Keep[0].countBy != "n1" {
		t.Fatalf("n1 keeps %v", out.Keep)
	}
	stored := slices.Collect(maps.Values(g.nodes["n2"].disk))
	if _, out, err := New(rekeyed("n2"), stored, g.now); err != nil || len(out.Notes) > 0 || len(out.Keep) != 1 || out.Keep[0].countBy != "n2" {
		t.Fatalf("n2 keeps %v, notes %v, %v", out.Keep, out.Notes, err)
	}
	delete(g.nodes, "n2")
	g.order = []policy.NodeID{"n1", "n3"}
	g.start("n3", nil)
	g.upAll()
	g.mustAgree(time.Second)
	if n, _ := g.nodes["n3"].r.Digest(); n != 1 || len(g.nodes["n3"].notes(NoteRefused)) > 0 {
		t.Fatalf("n3 holds %d, notes %v", n, g.nodes["n3"].out.Notes)
	}

	// Anything more under the old key is refused, also where its holder vouches for itself.
	late := sealed(t, 3, policy.Entry{Kind: policy.KindDrain, Key: "site/s2", Stamp: policy.Stamp{Wall: g.now.UnixMilli(), Node: "n3"}})
	g.inject("n1", g.ring().singlesPacket("n3", late, false))
	if n, _ := a.r.Digest(); n != 1 || len(a.notes(NoteRefused)) != 1 {
		t.Errorf("n1 holds %d, notes %v", n, a.out.Notes)
	}
	late[0] = late[0].countersign("test", "n3", key)
	g.inject("n1", g.ring().singlesPacket("n3", late, false))
	if n, _ := a.r.Digest(); n != 1 || len(a.notes(NoteRefused)) != 2 {
		t.Errorf("n1 holds %d, notes %v", n, a.out.Notes)
	}
	// And it survives a restart.
	g.start("n1", a.disk)
	if n, _ := g.nodes["n1"].r.Digest(); n != 1 {
		t.Errorf("n1 holds %d after a restart", n)
	}
}

// A start may find, beside what a departed node wrote, what a rekeyed one wrote and has cut since.
func TestAStartAfterANodeLeftAndAnotherWasRekeyed(t *testing.T) {
	g := newRig(t, 3, 1)
	left := sealed(t, 3, policy.Entry{Kind: policy.KindDrain, Key: "site/s1", Stamp: policy.Stamp{Wall: 5, Node: "n3"}})
	record := func(number string, value string) policy.Entry {
		return policy.Entry{Kind: policy.KindAudit, Key: "n2/aa/" + number, Stamp: policy.Stamp{Wall: 6, Node: "n2"}, Value: []byte(value)}
	}
	stored := slices.Concat(
		sealedIn(t, "test", 9, record("3", `{"cut":{"first":1,"through":2}}`)),
		sealedIn(t, "test", 2, record("2", "{}")), left, // of a key that n2 had before
	)
	cfg := g.config("n1")
	cfg.Members = map[policy.NodeID]Member{"n1": g.members["n1"], "n2": {Site: "s2", PublicKey: keyOf(9).Public().(ed25519.PublicKey)}}
	cfg.Former = map[policy.NodeID][]ed25519.PublicKey{"n2": {g.members["n2"].PublicKey}}
	r, out, err := New(cfg, stored, g.now)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := r.Digest(); n != 2 || len(out.Forget) != 1 || out.Forget[0].Key != "n2/aa/2" {
		t.Errorf("%d held, forgotten %v", n, out.Forget)
	}
	if s, _ := r.Get(left[0].Entry.EntryKey()); s.countBy != "n1" {
		t.Errorf("%s is not vouched for", s)
	}
}

func TestStoredEntriesThatWereAlteredAreLeftOut(t *testing.T) {
	g := newRig(t, 2, 1)
	list := sealed(t, 1, policy.Entry{Kind: policy.KindDrain, Key: "site/s1", Stamp: policy.Stamp{Wall: 5, Node: "n1"}}, policy.Entry{Kind: policy.KindDrain, Key: "site/s2", Stamp: policy.Stamp{Wall: 6, Node: "n1"}})
	list[1].leaf = slices.Clone(list[1].leaf)
	list[1].leaf[len(list[1].leaf)-1] ^= 1
	list[1].hash = hashLeaf(list[1].leaf)
	r, out, err := New(g.config("n1"), list, g.now)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := r.Digest(); n != 1 || len(out.Notes) != 1 || out.Notes[0].Kind != NoteRefused {
		t.Errorf("%d held, notes %v", n, out.Notes)
	}
}

func TestWindow(t *testing.T) {
	var w window
	for i, c := range []struct {
		incarnation, counter uint64
		want                 verdict
	}{
		{5, 1, fresh},
		{5, 1, replayed},
		{5, 3, fresh},
		{5, 2, fresh},
		{5, 2, replayed},
		{4, 9, stale},
		{5, 5000, fresh},
		{5, 5000, replayed},
		{5, 3, stale},
		{5, 4999, fresh},
		{5, 5000 - windowSize, stale},
		{5, 5001 - windowSize, fresh},
		{6, 1, fresh},
		{5, 6000, stale},
		{6, 1<<64 - 1, fresh},
		{6, 1<<64 - 1, replayed},
		{6, 1<<64 - 2, fresh},
		{7, 1<<64 - 3, fresh},
		{7, 1<<64 - 1, fresh},
		{7, 1<<64 - 2, fresh},
	} {
		if got := w.judge(c.incarnation, c.counter); got != c.want {
			t.Errorf("step %d: %d, %d expected", i, got, c.want)
		}
	}
}

// TestWhatALostSiteWritesIsNotTaken wants the orders of a site that was declared lost at their time to stay its own,
// and those of before and after to be taken.
func TestWhatALostSiteWritesIsNotTaken(t *testing.T) {
	g := newRig(t, 2, 1)
	lost := policy.Stamp{Wall: g.now.UnixMilli() + 1000, Node: "n1"}
	cfg := g.nodes["n1"].cfg
	cfg.Void = func(e policy.Entry) bool {
		return e.Stamp.Compare(lost) > 0 && e.Stamp.Wall < lost.Wall+1000
	}
	if _, err := g.nodes["n1"].r.Reconfigure(cfg, g.now); err != nil {
		t.Fatal(err)
	}
	entry := func(kind policy.Kind, key string, after int64) policy.Entry {
		return policy.Entry{Kind: kind, Key: key, Stamp: policy.Stamp{Wall: lost.Wall + after, Node: "n2"}, Author: "ann"}
	}
	list := []policy.Entry{
		entry(policy.KindOverride, "before", -1), entry(policy.KindOverride, "meanwhile", 1),
		entry(policy.KindOverride, "after", 1000),
	}
	sealed, err := g.nodes["n2"].r.Seal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sealed {
		want := s.Entry.Key != "meanwhile"
		if got := g.nodes["n1"].r.take(s, "n2", g.now); got != want {
			t.Errorf("%s: taken %v, want %v", s, got, want)
		}
	}
}

// A node that was started as a copy of another, or under another cluster's name, has the right keys: its packets are known by
// what it takes itself to be, and none is read.
func TestPacketsTellWhereTheirSenderTakesItselfToBe(t *testing.T) {
	g := newRig(t, 2, 1)
	e := g.entry(g.nodes["n1"], policy.KindDrain, "site/s1", "x")
	for name, tt := range map[string]struct{ cluster, address, want string }{
		"as configured":   {"test", "127.1.0.1:7946", ""},
		"the long form":   {"test", "[::ffff:127.1.0.1]:7946", ""},
		"another address": {"test", "127.1.0.9:7946", "at another address than the configuration has"},
		"another port":    {"test", "127.1.0.1:7947", "at another address than the configuration has"},
		"another cluster": {"other", "127.1.0.1:7946", `it is of another cluster than "test"`},
	} {
		ring, err := NewKeyring(tt.cluster, map[policy.NodeID]Member{"n1": {Address: tt.address, PublicKey: g.members["n1"].PublicKey}})
		if err != nil {
			t.Fatal(err)
		}
		b := g.nodes["n2"]
		b.out = Out{}
		err = g.inject("n2", ring.singlesPacket("n1", sealed(t, 1, e), false))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if len(b.notes(NoteRefused)) > 0 {
			t.Errorf("%s: what is a mistake is noted as a forgery", name)
		}
	}
}
