package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// genMesh is a cluster of two to four sites with one to three nodes each, on genConfig's services.
func genMesh(t *rapid.T) *mesh {
	cfg := *genConfig(t)
	cfg.Nodes = nil
	for i, site := range cfg.Sites {
		most := 2
		if i > 1 {
			most = 1
		}
		for n := range rapid.IntRange(1, most).Draw(t, "nodes") {
			cfg.Nodes = append(cfg.Nodes, Node{ID: NodeID(fmt.Sprintf("node-%d%c", i, 'a'+n)), Site: site.ID, Probes: n == 0 || rapid.Bool().Draw(t, "probes")})
		}
	}
	cfg.ColdStart = ColdStart(rapid.IntRange(0, 1).Draw(t, "cold"))
	cfg.Observers = rapid.IntRange(1, 2).Draw(t, "observers")
	m := newMesh(t.Fatalf, t.Logf, cfg, epochStart)
	m.quiet = true
	return m
}

// disturb does something to the network, the nodes or the targets.
func disturb(t *rapid.T, m *mesh) {
	all := m.all()
	a, b := all[rapid.IntRange(0, len(all)-1).Draw(t, "a")], all[rapid.IntRange(0, len(all)-1).Draw(t, "b")]
	targets := []string{"*"}
	for id := range m.cfg.Targets {
		targets = append(targets, string(id))
	}
	slices.Sort(targets)
	target := rapid.SampledFrom(targets).Draw(t, "target")
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		m.cuts[[2]NodeID{a.id, b.id}], m.cuts[[2]NodeID{b.id, a.id}] = a != b, a != b
	case 1:
		m.cuts[[2]NodeID{a.id, b.id}] = a != b
	case 2:
		clear(m.cuts)
	case 3:
		a.s = nil
	case 4:
		if a.s == nil {
			if rapid.IntRange(0, 3).Draw(t, "empty") == 0 {
				a.disk, a.health, a.stamped = map[EntryKey]Entry{}, map[TargetID]HealthEntry{}, time.Time{}
			}
			m.start(a)
		}
	case 5:
		m.fails[target] = Outcome(rapid.IntRange(1, 2).Draw(t, "how"))
	case 6:
		m.fails[target+" "+string(a.id)] = Timeout
	case 7:
		clear(m.fails)
	case 8:
		orderAnywhere(t, m, a)
	case 9:
		m.skew[a.id] = time.Duration(rapid.IntRange(-90, 90).Draw(t, "skew")) * time.Second
	}
}

func orderAnywhere(t *rapid.T, m *mesh, n *member) {
	if n.s == nil {
		return
	}
	w := &world{t: t, cfg: n.s.ix.cfg, s: n.s}
	o := w.drawOrder()
	site := m.cfg.Sites[rapid.IntRange(0, len(m.cfg.Sites)-1).Draw(t, "site")]
	switch rapid.IntRange(0, 5).Draw(t, "cluster order") {
	case 0:
		o = Order{Kind: KindSiteLost, Key: string(site.ID), Clear: rapid.Bool().Draw(t, "readmit"), Author: "ann", Reason: "test"}
	case 1:
		o = Order{Kind: KindActiveMetro, Key: "all", Metro: site.Metro, Author: "ann", Reason: "test"}
	case 2:
		o = Order{Kind: KindRejoin, Author: "ann", Reason: "test"}
	}
	p, err := n.s.Judge(o, m.clock(n))
	if err != nil {
		return
	}
	m.give(n, p.Entries)
	if n.s.hold != nil {
		return
	}
	for _, e := range p.Entries {
		if have := n.s.entries[e.EntryKey()]; have.Stamp != e.Stamp {
			t.Fatalf("the order %+v was beaten by %+v, which it knew", e, have)
		}
	}
}

// checkMesh wants what must hold at every moment on every node: no empty answer, none of a standby site
// without a person, no held node that answers, none that answers by an epoch older than it knows.
func checkMesh(t *rapid.T, m *mesh) {
	for _, n := range m.all() {
		if n.s == nil {
			continue
		}
		w := &world{t: t, cfg: n.s.ix.cfg, s: n.s}
		for svc := range n.s.ix.services {
			in := &n.s.ix.services[svc]
			if move := n.s.svcs[svc].main.move; move != nil && move.Epoch != n.s.epochOf(in.ID) {
				t.Fatalf("%s answers %s by epoch %v, and knows %v", n.id, in.ID, move.Epoch, n.s.epochOf(in.ID))
			}
			for name, a := range n.s.svcs[svc].answers {
				switch {
				case n.s.hold != nil && !a.Fail:
					t.Fatalf("%s is held and answers %s", n.id, a.Name)
				case n.s.hold == nil && (n.s.svcs[svc].main.move != nil || a.Fail):
					w.checkAnswer(svc, name, a)
				}
			}
		}
		_ = n.s.Status(m.clock(n))
		for _, name := range n.s.names() {
			if _, err := n.s.Explain(Query{Name: name}, m.clock(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkAgreed wants a healed cluster to answer alike and to hold the same entries, with nobody held.
func checkAgreed(t *rapid.T, m *mesh) {
	first := m.all()[0]
	for _, n := range m.all() {
		if n.s.hold != nil {
			t.Fatalf("%s is held: %s, waits for %v", n.id, n.s.Held(), n.s.unmet())
		}
		if !n.s.majority && n.s.seat(n.s.ix.ownSite()) {
			t.Fatalf("%s hears no majority", n.id)
		}
		if n.s.rev.Digest != first.s.rev.Digest {
			t.Fatalf("%s answers\n%s\n%s answers\n%s", first.id, snapshot(first.s), n.id, snapshot(n.s))
		}
		for key, e := range first.s.entries {
			if have, ok := n.s.entries[key]; !ok || have.Stamp != e.Stamp {
				t.Fatalf("%s holds %s %s of %v, %s of %v", first.id, key.Kind, key.Key, e.Stamp, n.id, have.Stamp)
			}
		}
		if len(n.s.entries) != len(first.s.entries) {
			t.Fatalf("%s holds %d entries, %s %d", first.id, len(first.s.entries), n.id, len(n.s.entries))
		}
		if len(n.s.doubts) > 0 {
			t.Fatalf("%s is in doubt about %v", n.id, n.s.doubts)
		}
	}
}

func TestMeshProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMesh(t)
		for _, n := range m.all() {
			if rapid.IntRange(0, 3).Draw(t, "fresh") > 0 {
				n.stamped = m.now
			}
			m.start(n)
		}
		m.meet()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			disturb(t, m)
			m.pass(time.Duration(rapid.IntRange(1, 8).Draw(t, "wait")) * time.Second)
			checkMesh(t, m)
		}
		clear(m.cuts)
		clear(m.fails)
		clear(m.skew)
		for _, n := range m.all() {
			if n.s == nil {
				m.start(n)
			}
		}
		m.pass(4 * time.Minute) // what was held by clocks, holds and orders that expire is over
		checkMesh(t, m)
		checkAgreed(t, m)
	})
}
