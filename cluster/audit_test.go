package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func newAudit(t *testing.T, n *node, cfg AuditConfig, held []policy.Entry) *Audit {
	t.Helper()
	cfg.Clock = &n.clock
	if cfg.Chain == "" {
		cfg.Chain = string(n.id) + "/aa"
	}
	a, err := NewAudit(cfg, held)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func held(r *Replica) (out []policy.Entry) {
	for s := range r.Entries() {
		out = append(out, s.Entry)
	}
	return out
}

func order(who, subject string) Record {
	return Record{Who: who, What: "override set", Subject: subject, Before: "city-a", After: "city-b", Why: "because"}
}

func TestAChainSaysWhereItBreaks(t *testing.T) {
	g := newRig(t, 1, 1)
	a := newAudit(t, g.nodes["n1"], AuditConfig{}, nil)
	var list []policy.Entry
	for i := range 5 {
		list = append(list, a.Add(order("ann", fmt.Sprint(i)), g.now.Add(time.Duration(i)*time.Second))...)
	}
	if v := Verify(list); len(v) != 1 || len(v[0].Breaks) > 0 || v[0].First != 1 || v[0].Last != 5 {
		t.Fatalf("%+v", v)
	}
	without := slices.Delete(slices.Clone(list), 2, 3)
	altered := slices.Clone(list)
	altered[2].Value = []byte(strings.Replace(string(altered[2].Value), "because", "by mistake", 1))
	swapped := slices.Clone(list)
	swapped[1].Value, swapped[2].Value = swapped[2].Value, swapped[1].Value
	for name, c := range map[string]struct {
		list   []policy.Entry
		number uint64
		text   string
	}{
		"one missing":    {without, 3, "it is missing"},
		"several":        {slices.Delete(slices.Clone(list), 1, 4), 2, "up to 4 are missing"},
		"the first":      {list[1:], 1, "it is missing"},
		"one altered":    {altered, 4, "altered"},
		"two swapped":    {swapped, 2, "altered"},
		"one unreadable": {append(slices.Clone(list[:4]), policy.Entry{Kind: policy.KindAudit, Key: "n1/aa/5", Value: []byte("{")}), 5, "can't be read"},
	} {
		v := Verify(c.list)
		if len(v[0].Breaks) == 0 || v[0].Breaks[0].Number != c.number || !strings.Contains(v[0].Breaks[0].Text, c.text) {
			t.Errorf("%s: %+v", name, v[0].Breaks)
		}
	}
}

func TestAChainGoesOnAfterARestart(t *testing.T) {
	g := newRig(t, 1, 1)
	n := g.nodes["n1"]
	a := newAudit(t, n, AuditConfig{}, nil)
	g.write(n, a.Add(order("ann", "x"), g.now)...)
	n = g.start("n1", n.disk)
	a = newAudit(t, n, AuditConfig{}, held(n.r))
	g.write(n, a.Add(order("bob", "y"), g.now)...)
	if v := Verify(held(n.r)); v[0].Last != 2 || len(v[0].Breaks) > 0 {
		t.Errorf("%+v", v)
	}
	if list := Records(held(n.r)); len(list) != 2 || list[1].Who != "bob" || list[1].Number != 2 {
		t.Errorf("%+v", list)
	}
}

func TestFlapsAreFolded(t *testing.T) {
	g := newRig(t, 1, 1)
	a := newAudit(t, g.nodes["n1"], AuditConfig{Fold: time.Minute}, nil)
	var list []policy.Entry
	at := g.now
	for i := range 300 { // a change each second for five minutes
		before, after := "up", "down"
		if i%2 == 1 {
			before, after = after, before
		}
		list = append(list, a.Add(Record{Who: machine, What: "health", Subject: "shop", Before: before, After: after}, at)...)
		list = append(list, a.Tick(at)...)
		at = at.Add(time.Second)
	}
	for range 300 {
		list = append(list, a.Tick(at)...)
		at = at.Add(time.Second)
	}
	sum := 0
	for _, r := range Records(list) {
		sum += max(r.Count, 1)
	}
	if len(list) > 6+foldAfter || sum != 300 {
		t.Errorf("%d records of %d changes, 300 expected", len(list), sum)
	}
	for i, r := range Records(list)[:foldAfter] { // those that somebody waits for, at once
		if r.Count != 0 || !r.Time.Equal(g.now.Add(time.Duration(i)*time.Second)) {
			t.Errorf("%+v", r)
		}
	}
	if got := Records(list)[foldAfter]; got.Before != "up" || got.After != "down" && got.After != "up" || got.Since.IsZero() {
		t.Errorf("%+v", got)
	}
	if v := Verify(list); len(v[0].Breaks) > 0 {
		t.Errorf("%+v", v)
	}
	if len(a.folds) > 0 {
		t.Errorf("%d subjects are remembered after they were quiet", len(a.folds))
	}
	// A person's orders are never folded.
	for range 3 {
		if len(a.Add(order("ann", "x"), at)) != 1 {
			t.Error("an order was folded")
		}
	}
}

func TestRetentionCutsWithASummaryEverywhere(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	n := g.nodes["n1"]
	a := newAudit(t, n, AuditConfig{Records: 20}, nil)
	for i := range 100 {
		g.now = g.now.Add(time.Second)
		g.write(n, a.Add(order("ann", fmt.Sprint(i)), g.now)...)
	}
	g.mustAgree(10 * time.Second)
	for _, id := range g.order {
		x := g.nodes[id]
		v := Verify(held(x.r))
		if len(v) != 1 || len(v[0].Breaks) > 0 || v[0].Cut == nil {
			t.Fatalf("%s: %+v", id, v)
		}
		count, _ := x.r.Digest()
		if count > 21 || len(x.disk) != count {
			t.Errorf("%s holds %d, and %d on disk", id, count, len(x.disk))
		}
		if c := v[0].Cut; uint64(c.Records) != c.Through || c.From.After(epoch.Add(2*time.Second)) {
			t.Errorf("%s: summary %+v", id, c)
		}
	}
	// What was cut does not come back, not even after a restart.
	old := a.kept[0].number - 1
	if old < 1 || n.r.cuts["n1/aa"] != old {
		t.Errorf("cut to %d, the first kept is %d", n.r.cuts["n1/aa"], old+1)
	}
	g.start("n2", g.nodes["n2"].disk)
	g.upAll()
	g.mustAgree(5 * time.Second)
	b := newAudit(t, g.start("n1", n.disk), AuditConfig{Records: 20}, held(n.r))
	if b.number != a.number || b.head != a.head || b.cut.Records != a.cut.Records || len(b.kept) != len(a.kept) {
		t.Errorf("after a restart: %d %+v", b.number, b.cut)
	}
	// By age.
	later := g.now.Add(500 * 24 * time.Hour)
	list := a.Tick(later)
	if len(list) != 1 || len(a.kept) != 2 {
		t.Errorf("%d records of retention, %d kept", len(list), len(a.kept))
	}
}

// A node that was cut off while a chain was cut several times takes the summaries as they come, and drops what all tell of.
func TestCutsThatWereMissedAreMadeUpForInAnyOrder(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	n, b := g.nodes["n1"], g.nodes["n2"]
	a := newAudit(t, n, AuditConfig{Records: 200}, nil)
	add := func(count int) {
		for i := range count {
			g.now = g.now.Add(time.Second)
			g.write(n, a.Add(order("ann", fmt.Sprint(i)), g.now)...)
		}
	}
	add(190)
	g.mustAgree(10 * time.Second)
	g.drop = func(from, to policy.NodeID) bool { return true }
	add(100)
	missed := slices.SortedFunc(n.r.Entries(), func(x, y *Sealed) int { return int(recordNumber(y.Entry)) - int(recordNumber(x.Entry)) })
	disk := maps.Clone(b.disk)
	for _, s := range missed { // the newest first
		g.inject("n2", g.ring().singlesPacket("n1", []*Sealed{s}, false))
		disk[s.Entry.EntryKey()] = s
	}
	if len(slices.DeleteFunc(missed, func(s *Sealed) bool { return !strings.Contains(string(s.Entry.Value), `"cut"`) })) < 2 {
		t.Fatal("the chain was cut less than twice")
	}
	if !g.agree() || len(b.disk) != b.r.tree.root.count {
		t.Errorf("n1 holds %+v, n2 %+v, and %d on its disk", n.r.tree.root.total, b.r.tree.root.total, len(b.disk))
	}
	for range 10 { // a start reads them in any order
		b = g.start("n2", maps.Clone(disk))
		if !g.agree() || len(b.disk) != b.r.tree.root.count {
			t.Fatalf("n1 holds %+v, n2 after a start %+v, and %d on its disk", n.r.tree.root.total, b.r.tree.root.total, len(b.disk))
		}
	}
}

// A summary of more than is held costs a look at what is held, however many records it tells of.
func TestACutOfManyRecordsIsCheap(t *testing.T) {
	g := newRig(t, 2, 1)
	b := g.nodes["n2"]
	record := func(number, through uint64) policy.Entry {
		rec := Record{What: "audit retention"}
		if through > 0 {
			rec.Cut = &Cut{First: 1, Through: through}
		}
		return policy.Entry{Kind: policy.KindAudit, Key: fmt.Sprintf("n1/aa/%d", number), Stamp: policy.Stamp{Wall: epoch.UnixMilli(), Node: "n1"}, Value: encodeRecord(rec)}
	}
	list := []policy.Entry{record(5, 0), record(1<<40, 0), record(1<<40+2, 0), record(1<<40+3, 1<<40+1)}
	g.inject("n2", g.ring().singlesPacket("n1", sealed(t, 1, list...), false))
	if got := held(b.r); len(got) != 2 || len(b.disk) != 2 {
		t.Errorf("%d held, the summary and the record before it expected: %v", len(got), got)
	}
}

// A node whose folder was set back may have records for numbers that peers know to be cut before it hears of that.
func TestOwnRecordsThatWereCutAreNotHeld(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	n := g.nodes["n1"]
	a := newAudit(t, n, AuditConfig{Records: 200}, nil)
	g.write(n, a.Add(order("ann", "x"), g.now)...)
	backup := maps.Clone(n.disk)
	for i := range 300 {
		g.write(n, a.Add(order("ann", fmt.Sprint(i)), g.now)...)
	}
	g.mustAgree(10 * time.Second)
	n = g.start("n1", backup)
	late := newAudit(t, n, AuditConfig{Records: 200}, held(n.r)).Add(order("bob", "2"), g.now)
	g.upAll()
	g.mustAgree(5 * time.Second)
	g.write(n, late...)
	if !g.agree() {
		t.Error("n1 holds what n2 does not take")
	}
}

func TestAForkIsKeptAsideAndNoted(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	n, b := g.nodes["n1"], g.nodes["n2"]
	a := newAudit(t, n, AuditConfig{}, nil)
	first := a.Add(order("ann", "x"), g.now)
	g.write(n, first...)
	g.mustAgree(time.Second)
	g.now = g.now.Add(time.Second)
	second := newAudit(t, n, AuditConfig{}, nil).Add(order("eve", "y"), g.now) // another number 1 of the chain
	g.inject("n2", g.ring().singlesPacket("n1", sealed(t, 1, second...), false))
	s, _ := b.r.Get(first[0].EntryKey())
	if s.Entry.Stamp != first[0].Stamp {
		t.Errorf("the second stayed")
	}
	if notes := b.notes(NoteFork); len(notes) != 1 || notes[0].Node != "n1" {
		t.Errorf("notes %v", b.out.Notes)
	}
	if forks := b.r.Forks(); len(forks) != 1 || forks[0].Entry.Stamp != second[0].Stamp {
		t.Errorf("forks %v", forks)
	}
	g.inject("n2", g.ring().singlesPacket("n1", sealed(t, 1, second...), false))
	if len(b.notes(NoteFork)) != 1 {
		t.Error("noted twice")
	}
}

func TestNobodyWritesIntoAnothersChain(t *testing.T) {
	g := newRig(t, 2, 1)
	e := policy.Entry{Kind: policy.KindAudit, Key: "n2/aa/1", Stamp: policy.Stamp{Wall: epoch.UnixMilli(), Node: "n1"}, Value: []byte("{}")}
	g.inject("n2", g.ring().singlesPacket("n1", sealed(t, 1, e), false))
	b := g.nodes["n2"]
	if n, _ := b.r.Digest(); n != 0 || len(b.notes(NoteRefused)) != 1 {
		t.Errorf("%d held, notes %v", n, b.out.Notes)
	}
}

func TestAFolderThatWasSetBackIsNoticed(t *testing.T) {
	g := newRig(t, 2, 1)
	g.upAll()
	n := g.nodes["n1"]
	a := newAudit(t, n, AuditConfig{}, nil)
	g.write(n, a.Add(order("ann", "1"), g.now)...)
	backup := map[policy.EntryKey]*Sealed{}
	for k, s := range n.disk {
		backup[k] = s
	}
	g.write(n, append(a.Add(order("ann", "2"), g.now), a.Add(order("ann", "3"), g.now)...)...)
	g.mustAgree(time.Second)
	g.now = g.now.Add(time.Minute)
	n = g.start("n1", backup)
	a = newAudit(t, n, AuditConfig{}, held(n.r))
	g.write(n, a.Add(order("bob", "another 2"), g.now)...) // before it hears of it
	g.upAll()
	g.mustAgree(5 * time.Second)
	back := slices.IndexFunc(n.out.Audit, a.SetBack)
	if back < 0 {
		t.Fatalf("not noticed; %v", n.out.Audit)
	}
	g.write(n, a.Restart("n1/bb", "the data folder was set back", g.now)...)
	g.write(n, a.Add(order("bob", "x"), g.now)...)
	g.mustAgree(5 * time.Second)
	v := Verify(held(g.nodes["n2"].r))
	if len(v) != 2 || len(v[0].Breaks)+len(v[1].Breaks) > 0 || v[0].Last != 3 || v[1].Chain != "n1/bb" || v[1].Last != 2 {
		t.Errorf("%+v", v)
	}
	if len(n.r.Forks()) != 1 || len(n.notes(NoteFork)) != 1 {
		t.Errorf("forks %v, notes %v", n.r.Forks(), n.out.Notes)
	}
	if slices.ContainsFunc(held(n.r), a.SetBack) {
		t.Error("the new chain counts as set back")
	}
}

func TestChainNames(t *testing.T) {
	if a, b := NewChain("n1"), NewChain("n1"); a == b || !strings.HasPrefix(a, "n1/") {
		t.Errorf("%s, %s", a, b)
	}
	if _, err := NewAudit(AuditConfig{Chain: "n2/aa", Clock: &Clock{Node: "n1"}}, nil); err == nil {
		t.Error("a chain of another node is taken")
	}
	for _, key := range []string{"", "a", "a/1", "a/b/0", "a/b/01", "a/b/-1", "a/b/x", "a/b/"} {
		if _, _, ok := parseRecordKey(key); ok {
			t.Errorf("%q is taken", key)
		}
	}
}
