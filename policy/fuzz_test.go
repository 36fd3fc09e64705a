package policy

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ofEveryKind is an entry of every kind, with a value as this release writes it. The last is of none that it knows.
func ofEveryKind(now time.Time) []Entry {
	epoch := Stamp{Wall: now.UnixMilli() - 1000, Node: "other"}
	move := Move{
		Service: "s0000", Number: 2, Set: []EndpointID{"10.1.0.0"}, Cause: "10.0.0.0 (city-a) is down", Start: now,
		Marks: []Mark{{Endpoint: "10.0.0.0", Left: now, Back: now, Failed: 2, SiteLoss: true, Ramp: true, Percent: 30}},
	}
	inside := move
	inside.Override, inside.OverrideKey = epoch, "service/s0000"
	return []Entry{
		{Kind: KindOverride, Key: "name/s0000.example.", Value: encode(Override{Site: "city-b", TTL: time.Minute})},
		{Kind: KindOverride, Key: "service/s0000", Value: []byte(`{"addresses":["10.1.0.0","2001:db8::1"],"keep_other":true,"unlisted":true}`)},
		{Kind: KindOverride, Key: "all", Value: encode(Override{Site: "city-a"})},
		{Kind: KindDrain, Key: "site/city-a", Value: encode(Drain{})},
		{Kind: KindDrain, Key: "endpoint/s0000/city-b", Value: encode(Drain{})},
		{Kind: KindDrain, Key: "vip/10.0.0.0/32", Value: encode(Drain{})},
		{Kind: KindActiveMetro, Key: "s0000", Value: encode(ActiveMetro{"far"})},
		{Kind: KindSiteLost, Key: "city-b"},
		{Kind: KindReturn, Key: "s0000", Value: encode(ReturnOrder{"city-a"})},
		{Kind: KindGate, Key: "freeze", Value: encode(Gate{Open: true})},
		{Kind: KindAck, Key: "margin", Value: encode(Ack{now})},
		{Kind: KindRejoin, Key: "edge-b"},
		{Kind: KindBlock, Key: "edge/city-b"},
		{Kind: KindGossipKeys, Key: "use/3f9a2c1b77d0e1aa"},
		{Kind: KindMove, Key: moveKey(&move), Rank: 2, Value: encode(move)},
		{Kind: KindMove, Key: moveKey(&inside), Rank: 2, Value: encode(inside)},
		{Kind: KindFall, Key: epoch.String(), Value: encode(Fall{"service/s0000"})},
		{Kind: KindAlarm, Key: "margin", Value: encode(Alarm{Text: "one more silent site", Way: "pharos status", Since: now})},
		{Kind: KindSent, Key: "margin", Value: encode(Sent{Since: now, Cleared: true})},
		{Kind: KindAudit, Key: "other/7c1f/1", Value: []byte("\x01\x00")},
		{Kind: "of-tomorrow", Key: "service/s0000", Value: []byte(`{"weight":7}`)},
	}
}

// FuzzEntryValue has a node hear an entry that a peer of another release, or a broken one, signed: whatever stands in it,
// nothing dies, no answer is empty, what is not understood is kept and changes nothing, and a node that starts with the same
// entries answers the same.
func FuzzEntryValue(f *testing.F) {
	for _, e := range ofEveryKind(epochStart) {
		f.Add(string(e.Kind), e.Key, []byte(e.Value), e.Rank, epochStart.UnixMilli(), int64(0), false)
		f.Add(string(e.Kind), e.Key, []byte(e.Value), e.Rank, epochStart.UnixMilli(), int64(60_000), true)
	}
	cfg := threeSites(bigConfig(1))
	cfg.Services[0].Return = Return{Policy: ReturnRamp, Over: time.Hour}
	cfg.Drills, cfg.Rules = true, []Rule{{Name: "freeze", GateOpen: true}}
	alone, _ := upState(bigConfig(1))
	ofThree, _ := Start(cfg, Stored{Stamped: epochStart}, epochStart)
	hear(ofThree, 1, epochStart, func(States) {})
	f.Fuzz(func(t *testing.T, kind, key string, value []byte, rank uint64, wall, lasts int64, deleted bool) {
		if min(wall, wall+lasts) < minMillis || max(wall, wall+lasts) > maxMillis {
			return // cluster refuses it
		}
		e := Entry{
			Kind: Kind(kind), Key: key, Value: value, Rank: rank, Deleted: deleted, Author: "ann", Reason: "test",
			Stamp: Stamp{Wall: wall, Node: "other"},
		}
		if lasts != 0 {
			e.Expires = time.UnixMilli(wall + lasts)
		}
		_ = OrderText([]Entry{e})
		takeOdd(t, alone.fork(), Ordered{e}, e)
		takeOdd(t, ofThree.fork(), Merged{e}, e)
		for _, s := range []*State{alone, ofThree} {
			started, _ := Start(s.ix.cfg, Stored{Entries: []Entry{e}, Stamped: epochStart}, epochStart)
			wantSane(t, started, epochStart)
		}
	})
}

// takeOdd has a state that serves take an entry, and live on with it for a day or more.
func takeOdd(t *testing.T, s *State, event Event, e Entry) {
	t.Helper()
	now, name := epochStart, s.names()[0]
	before, had := s.answerText(s.rev.Answers[name]), s.entries[e.EntryKey()]
	fx := Step(s, event, now)
	wantSane(t, s, now)
	if got := s.answerText(s.rev.Answers[name]); got != before && !readable(e) {
		t.Errorf("an entry that can't be read changes %s to %s", before, got)
	}
	held := s.entries[e.EntryKey()]
	if e.Replaces(had) && !cmp.Equal(held, e) && !held.Replaces(e) && !slices.Contains(fx.Drop, e.EntryKey()) {
		t.Errorf("it is neither kept, dropped nor replaced; held is %+v", held)
	}
	for range 10 {
		if !fx.Wake.IsZero() && !fx.Wake.After(now) {
			t.Fatalf("at %s it asks to be told the time at %s", now, fx.Wake)
		}
		if fx.Wake.IsZero() || fx.Wake.Sub(now) > 24*time.Hour {
			break
		}
		now = fx.Wake
		fx = Step(s, Tick{}, now)
	}
	now = now.Add(24 * time.Hour)
	Step(s, Tick{}, now)
	wantSane(t, s, now)
	var all []Entry
	for _, e := range s.entries {
		all = append(all, e)
	}
	again, _ := Start(s.ix.cfg, Stored{Entries: all, Stamped: now}, now)
	if again.rev.Digest != s.rev.Digest {
		t.Errorf("a start with the same entries answers %s, want %s", again.answerText(again.rev.Answers[name]), s.answerText(s.rev.Answers[name]))
	}
}

// readable says whether an entry is of a kind and of a form that this release knows. Some kinds say all by their key.
func readable(e Entry) bool {
	switch e.Kind {
	case KindDrain, KindSiteLost, KindRejoin, KindBlock, KindGossipKeys:
		return true
	case KindOverride, KindActiveMetro, KindReturn, KindGate, KindMove, KindFall, KindAck, KindAlarm, KindSent:
		return len(e.Value) == 0 || json.Valid(e.Value)
	}
	return false
}

// wantSane wants every name answered with addresses, unless a person's word leaves none of the service's, and people told.
func wantSane(t *testing.T, s *State, now time.Time) {
	t.Helper()
	for _, name := range s.names() {
		a := s.rev.Answers[name]
		addresses := 0
		for _, c := range a.Choices {
			for _, m := range slices.Concat(c.A, c.AAAA) {
				addresses += len(m.Addrs)
			}
		}
		x, err := s.Explain(Query{Name: name}, now)
		if err != nil {
			t.Errorf("explain %s: %v", name, err)
		}
		if (a.Fail || addresses == 0) && x.Rule != "no endpoint" {
			t.Errorf("%s is answered %s by %s", name, s.answerText(a), x.Rule)
		}
		if _, err := json.Marshal(x); err != nil {
			t.Error(err)
		}
	}
	if _, err := json.Marshal(s.Status(now)); err != nil {
		t.Error(err)
	}
}
