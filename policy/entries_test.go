package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// twoSites is a service shop with an endpoint in each of two sites, both up.
func twoSites(t *testing.T) (*State, time.Time) {
	t.Helper()
	cfg := bigConfig(1)
	return upState(cfg)
}

// An entry of a later version, or of a broken one, must not empty an answer.
func TestOddEntries(t *testing.T) {
	s, now := twoSites(t)
	name := s.names()[0]
	want := s.answerText(s.rev.Answers[name])
	kinds := []Kind{
		KindOverride, KindDrain, KindSiteLost, KindActiveMetro, KindReturn, KindGate, KindAck, KindMove, KindFall, KindAlarm, "of-tomorrow",
	}
	keys := []string{
		"", "/", "all", "all/x", "name/", "name/" + name, "service/s0000", "service/", "site/", "endpoint/", "endpoint/s0000/",
		"vip/", "vip/10.0.0.0/8", "s0000", "a/b/c/d", "s0000/0/18446744073709551615",
	}
	values := []string{
		``, `{`, `{}`, `null`, `[]`, `{"site":"nowhere"}`, `{"addresses":[]}`, `{"addresses":[""]}`, `{"site":"city-a","addresses":["10.0.0.1"]}`,
		`{"to":"nowhere"}`, `{"service":"s0000","number":18446744073709551615}`,
	}
	for _, kind := range kinds {
		for _, key := range keys {
			for _, value := range values {
				for _, deleted := range []bool{false, true} {
					e := Entry{Kind: kind, Key: key, Value: []byte(value), Deleted: deleted, Stamp: Stamp{Wall: now.UnixMilli(), Node: "other"}}
					what := fmt.Sprintf("%s %q %s deleted=%v", kind, key, value, deleted)
					f := s.fork()
					Step(f, Ordered{e}, now)
					if got := f.answerText(f.rev.Answers[name]); got != want {
						t.Errorf("%s: %s, want %s", what, got, want)
					}
					started, _ := Start(s.ix.cfg, Stored{Entries: []Entry{e}}, now)
					if a := started.rev.Answers[name]; a.Fail || len(a.Choices[0].A) == 0 {
						t.Errorf("%s: a start answers %s", what, started.answerText(a))
					}
					_ = f.Status(now)
				}
			}
		}
	}
}

// A move that can't be read, as of another release, changes no answer; but the move before it is gone from the entries, and a
// node that starts would not know of it. So it is made again, with a number that wins everywhere.
func TestAMoveThatCantBeReadIsMadeAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		odd  Entry
		want uint64 // the number of the move that follows
	}{
		{"later", Entry{Rank: 5, Stamp: Stamp{Wall: epochStart.UnixMilli(), Node: "other"}}, 6},
		{"of the same number, and earlier", Entry{Rank: 1, Stamp: Stamp{Wall: 1, Node: "other"}}, 2},
		{"of the same number, and later", Entry{Rank: 1, Stamp: Stamp{Wall: epochStart.UnixMilli() + 5000, Node: "other"}}, 0},
	} {
		s, now := twoSites(t)
		tt.odd.Kind, tt.odd.Key, tt.odd.Value = KindMove, chainKey("s0000", Stamp{}, Stamp{}), []byte("{")
		before := s.rev.Digest
		now = now.Add(time.Second)
		fx := Step(s, Merged{tt.odd}, now)
		switch {
		case s.rev.Digest != before:
			t.Errorf("%s: the answer changes", tt.name)
		case tt.want == 0 && len(fx.Store) > 0, tt.want > 0 && (len(fx.Store) != 1 || fx.Store[0].Rank != tt.want):
			t.Errorf("%s: stores %+v, want move %d", tt.name, fx.Store, tt.want)
		}
		var all []Entry
		for _, e := range s.entries {
			all = append(all, e)
		}
		if again, _ := Start(s.ix.cfg, Stored{Entries: all, Stamped: now}, now); again.rev.Digest != before {
			t.Errorf("%s: a start answers otherwise", tt.name)
		}
		if fx := Step(s, Tick{}, now.Add(time.Minute)); len(fx.Store) > 0 {
			t.Errorf("%s: stores %+v once more", tt.name, fx.Store)
		}
	}
}

// The returns of an endpoint that a move of another node counts are only numbers.
func TestAnyNumberOfFailedReturns(t *testing.T) {
	in := serviceInfo{Service: &Service{Return: Return{Hold: time.Minute}}}
	for failed, want := range map[int]time.Duration{-1: time.Minute, 0: time.Minute, 2: 4 * time.Minute, 9: time.Hour, 1<<63 - 1: time.Hour} {
		if got := in.holdFor(Mark{Left: epochStart, Failed: failed}, epochStart); got != want {
			t.Errorf("%d failed returns hold for %s, want %s", failed, got, want)
		}
	}
	in.Return.Hold = 0
	if got := in.holdFor(Mark{Left: epochStart, Failed: 1<<63 - 1}, epochStart); got != 0 {
		t.Errorf("no hold becomes %s", got)
	}
}

// Overrides that expire day after day leave nothing behind but the newest.
func TestFallsAreForgotten(t *testing.T) {
	s, now := twoSites(t)
	var disk []Entry
	keep := func(fx Effects) {
		disk = append(disk, fx.Store...)
		disk = slices.DeleteFunc(disk, func(e Entry) bool { return slices.Contains(fx.Drop, e.EntryKey()) })
	}
	for range 100 {
		p, err := s.Judge(Order{
			Kind: KindOverride, Key: "service/s0000", Override: &Override{Site: "city-b"}, Author: "ann", Reason: "test", For: time.Minute,
		}, now)
		if err != nil {
			t.Fatal(err)
		}
		keep(Step(s, Ordered(p.Entries), now))
		for range 5 {
			now = now.Add(time.Minute)
			keep(Step(s, Tick{}, now))
		}
	}
	if n := len(s.entries); n > 5 {
		t.Errorf("%d entries are held", n)
	}
	falls := 0
	for _, e := range disk {
		if e.Kind == KindFall {
			falls++
		}
	}
	if falls != 1 {
		t.Errorf("%d falls are on disk", falls)
	}
	again, fx := Start(s.ix.cfg, Stored{Entries: disk}, now) // the disk lost the override, not its fall
	if len(fx.Drop) != 1 || fx.Drop[0].Kind != KindFall {
		t.Errorf("a start drops %v of %d", fx.Drop, len(again.entries))
	}
}
