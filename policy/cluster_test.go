package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// trio is a state of three sites, with every target up for this node.
func trio(t *testing.T) (*State, time.Time) {
	t.Helper()
	cfg := threeSites(bigConfig(2))
	s, _ := Start(cfg, Stored{Stamped: epochStart}, epochStart)
	var all Observed
	for _, tg := range s.ix.targets {
		all = append(all, Observation{Target: tg.ID, At: epochStart})
	}
	Step(s, all, epochStart)
	return s, epochStart
}

// A vote that names a list that is not known is asked for it and counts for nothing until it is told;
// targets that this node does not know, and those that the list lacks, are unknown.
func TestUnknownList(t *testing.T) {
	s, now := trio(t)
	list := []TargetID{"of-tomorrow", s.ix.targets[3].ID, s.ix.targets[1].ID}
	v := Vote{Node: "edge-b", Incarnation: 1, Counter: 1, List: ListDigest(list), States: newStates(3)}
	for i := range 3 {
		v.States.set(i, Up)
	}
	fx := Step(s, Heard{v}, now)
	if len(fx.Ask) != 1 || fx.Ask[0] != (ListRequest{"edge-b", v.List}) {
		t.Fatalf("asks %v", fx.Ask)
	}
	v.Counter++
	if fx := Step(s, Heard{v}, now.Add(time.Second)); len(fx.Ask) != 0 {
		t.Errorf("asks %v again within a second", fx.Ask)
	}
	Step(s, Lists{"edge-b", []TargetID{"some", "other"}}, now.Add(time.Second))
	v.Counter++
	if fx := Step(s, Heard{v}, now.Add(askAgain)); len(fx.Ask) != 1 {
		t.Fatalf("asks %v after %v without an answer", fx.Ask, askAgain)
	}
	for i := range s.verdicts {
		if s.verdicts[i].state != Unknown {
			t.Fatalf("%s is %s without a list", s.ix.targets[i].ID, s.verdicts[i].state)
		}
	}
	Step(s, Lists{"edge-b", list}, now.Add(time.Second))
	for i := range s.verdicts {
		want := Unknown
		if i == 1 || i == 3 {
			want = Up
		}
		if s.verdicts[i].state != want {
			t.Errorf("%s is %s, want %s", s.ix.targets[i].ID, s.verdicts[i].state, want)
		}
	}
	// A list that nobody names any more is forgotten, and one that is too short says nothing.
	v.Counter, v.List, v.States = v.Counter+1, s.ix.list, States{0xff}
	Step(s, Heard{v}, now.Add(2*time.Second))
	if got := s.peers[1].states.At(0); got != Unknown {
		t.Errorf("states of another length read as %s", got)
	}
	Step(s, Tick{}, now.Add(time.Minute))
	if len(s.lists.known)+len(s.lists.asked) != 0 {
		t.Errorf("lists %v", s.lists)
	}
}

// What a silent node said last is shown by the targets that it was said of, also after a reload with others before them.
func TestSilentVotesAfterReload(t *testing.T) {
	s, now := trio(t)
	down := s.ix.targets[1].ID
	hear(s, 1, now, func(st States) { st.set(1, Down) })
	now = now.Add(time.Minute)
	Step(s, Tick{}, now)
	first := Target{ID: "0", Site: "city-a", Interval: time.Second, Fall: 3, Rise: 3}
	cfg := threeSites(bigConfig(2))
	cfg.Targets[first.ID] = first
	cfg.Services[0].Endpoints[0].At[0].Targets = append(cfg.Services[0].Endpoints[0].At[0].Targets, first.ID)
	Step(s, Reconfigured{cfg}, now)
	for i, tg := range s.ix.targets {
		want := Up
		switch tg.ID {
		case first.ID:
			want = Unknown
		case down:
			want = Down
		}
		if v := s.nodeVote(1, i); v.State != want || v.Why != "silent" {
			t.Errorf("%s is shown as %s (%s), want %s", tg.ID, v.State, v.Why, want)
		}
	}
}

// A vote that is not newer than the last is no sign of life.
func TestOldVotesAreNoSignOfLife(t *testing.T) {
	s, now := trio(t)
	hear(s, 7, now, func(States) {})
	for range 4 {
		now = now.Add(time.Second)
		hear(s, 7, now, func(States) {})
		hear(s, 6, now, func(st States) { st.set(0, Down) })
	}
	if s.peers[1].live || s.majority {
		t.Error("a replayed vote keeps a node alive")
	}
	v := Vote{Node: "edge-b", Incarnation: 2, Counter: 1, List: s.ix.list, States: newStates(len(s.ix.targets))}
	Step(s, Heard{v}, now)
	if !s.peers[1].live {
		t.Error("a node that started again is not heard")
	}
}

// Where a target fails for this node itself, a vote from before its first failing probe does not count
// against it; one that is refreshed after does.
func TestVotesFromBeforeTheCut(t *testing.T) {
	s, now := trio(t)
	hear(s, 1, now, func(st States) { st.set(0, Down) })
	if s.verdicts[0].state != Down { // of both others
		t.Fatalf("%s, want down", s.verdicts[0].state)
	}
	hear(s, 2, now, func(States) {})
	now = now.Add(time.Second)
	one := func(counter uint64) {
		v := Vote{Node: "edge-b", Incarnation: 1, Counter: counter, List: s.ix.list, States: slices.Clone(s.peers[1].states)}
		v.States.set(0, Down)
		Step(s, Heard{v}, now)
	}
	one(3)
	for range 3 {
		now = now.Add(200 * time.Millisecond)
		Step(s, Observed{{Target: s.ix.targets[0].ID, At: now, Outcome: Refused}}, now)
	}
	if s.targets[0].state != Down || s.verdicts[0].state == Down {
		t.Fatalf("own %s, verdict %s: a vote from before the first failure counts", s.targets[0].state, s.verdicts[0].state)
	}
	one(4)
	if s.verdicts[0].state != Down {
		t.Errorf("%s after the vote was refreshed", s.verdicts[0].state)
	}
}

func TestDivergenceIsAlarmed(t *testing.T) {
	cfg := threeSites(bigConfig(1))
	cfg.Digest = [8]byte{1}
	s, _ := Start(cfg, Stored{Stamped: epochStart}, epochStart)
	Step(s, Loaded{Zones: [8]byte{7}}, epochStart)
	now := epochStart
	tell := func(counter uint64, config, zones byte) Effects {
		v := Vote{Node: "edge-b", Incarnation: 1, Counter: counter, List: s.ix.list, States: newStates(len(s.ix.targets))}
		v.Config[0], v.Zones[0] = config, zones
		return Step(s, Heard{v}, now)
	}
	raised := func(cause string) bool { _, ok := s.raised[cause]; return ok }
	for i := range uint64(20) {
		tell(i+1, 2, 0)
		now = now.Add(time.Second)
	}
	if !raised("divergence/configuration") || raised("divergence/zones") {
		t.Fatalf("alarms %v", s.alarmCauses())
	}
	if m := s.Status(now).Members[1]; m.SameConfig || !m.SameZones {
		t.Errorf("%+v", m)
	}
	tell(30, 1, 7)
	if raised("divergence/configuration") {
		t.Error("the alarm stays")
	}
}

// What an end makes obsolete is known whatever came first, and what is not known yet is kept.
func TestObsolete(t *testing.T) {
	s, now := trio(t)
	at := func(sec int64, node NodeID) Stamp { return Stamp{Wall: now.UnixMilli() + 1000*sec, Node: node} }
	move := func(epoch, inside Stamp) Entry {
		m := Move{Service: "s0000", Epoch: epoch, Override: inside, Number: 1, Set: []EndpointID{s.ix.services[0].eps[0].ID}, OverrideKey: "service/s0000"}
		if inside == (Stamp{}) {
			m.OverrideKey = ""
		}
		return Entry{Kind: KindMove, Key: moveKey(&m), Rank: 1, Stamp: at(50, "edge-b"), Value: encode(m)}
	}
	metro := func(sec int64) Entry {
		return Entry{Kind: KindActiveMetro, Key: "s0000", Stamp: at(sec, "edge-r"), Author: "ann", Value: encode(ActiveMetro{"city"})}
	}
	override := Entry{Kind: KindOverride, Key: "service/s0000", Stamp: at(3, "edge-r"), Author: "ann", Value: encode(Override{Site: "city-b"})}
	fall := Entry{Kind: KindFall, Key: at(3, "edge-r").String(), Stamp: at(9, "edge-r"), Value: encode(Fall{"service/s0000"})}
	later := override
	later.Stamp = at(8, "edge-r")
	for _, tt := range []struct {
		name  string
		after []Entry
		e     Entry
		want  bool
	}{
		{"of this epoch", []Entry{metro(1)}, move(at(1, "edge-r"), Stamp{}), false},
		{"of an epoch not known yet", nil, move(at(1, "edge-r"), Stamp{}), false},
		{"of an earlier epoch", []Entry{metro(2)}, move(at(1, "edge-r"), Stamp{}), true},
		{"of no epoch", []Entry{metro(2)}, move(Stamp{}, Stamp{}), true},
		{"inside an override", []Entry{override}, move(Stamp{}, override.Stamp), false},
		{"inside one not known yet", nil, move(Stamp{}, override.Stamp), false},
		{"inside one that was replaced", []Entry{later}, move(Stamp{}, override.Stamp), true},
		{"inside one that fell", []Entry{override, fall}, move(Stamp{}, override.Stamp), true},
		{"fall", []Entry{override}, fall, false},
		{"fall not known yet", nil, fall, false},
		{"fall of one that was replaced", []Entry{later}, fall, true},
		{"order", []Entry{later}, override, false},
		{"broken", nil, Entry{Kind: KindMove, Key: "s0000/in/x"}, false},
	} {
		f := s.fork()
		Step(f, Merged(tt.after), now)
		if got := f.Obsolete(tt.e); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		fx := Step(f, Merged{tt.e}, now)
		if dropped := slices.Contains(fx.Drop, tt.e.EntryKey()); dropped != tt.want {
			t.Errorf("%s: dropped %v", tt.name, dropped)
		}
		// The other way about: it is there, and then it ends.
		g := s.fork()
		Step(g, Merged{tt.e}, now)
		fx = Step(g, Merged(tt.after), now)
		if _, held := g.entries[tt.e.EntryKey()]; tt.want && held {
			t.Errorf("%s: it stays after its end (drops %v)", tt.name, fx.Drop)
		}
	}
}

// Moves decided together are one batch, in turn: at once for the first by name, after a second for the next.
func TestMovesAreOneBatch(t *testing.T) {
	for _, tt := range []struct {
		first string // name of another node that decides
		after time.Duration
	}{{"zz", 0}, {"aa", time.Second}} {
		cfg := threeSites(bigConfig(100))
		cfg.Nodes[1].ID = NodeID(tt.first)
		s, now := upState(cfg)
		tell := func(counter uint64, state HealthState, decides bool) (list []Effects) {
			for _, id := range []NodeID{cfg.Nodes[1].ID, "edge-r"} {
				v := Vote{Node: id, Incarnation: 1, Counter: counter, List: s.ix.list, States: newStates(len(s.ix.targets)), Decides: decides && id != "edge-r"}
				for i, tg := range s.ix.targets {
					v.States.set(i, Up)
					if tg.Site == "city-a" {
						v.States.set(i, state)
					}
				}
				list = append(list, Step(s, Heard{v}, now))
			}
			return list
		}
		s.hold = nil
		tell(1, Up, true)
		now = now.Add(2 * time.Second)
		Step(s, Tick{}, now)
		digest := s.rev.Digest
		fx := tell(2, Down, true)[1]
		if s.rev.Digest == digest {
			t.Fatal("nothing moved")
		}
		if tt.after > 0 {
			if len(fx.Store) != 0 || s.Status(now).Services[0].Pending != true {
				t.Fatalf("%d entries out of turn", len(fx.Store))
			}
			now = now.Add(tt.after)
			fx = Step(s, Tick{}, now)
		}
		moves := 0
		for _, e := range fx.Store {
			if e.Kind == KindMove {
				moves++
			}
		}
		if moves != 100 {
			t.Errorf("%s first: %d moves in one batch", tt.first, moves)
		}
		if again := Step(s, Tick{}, now.Add(100*time.Millisecond)); len(again.Store) != 0 {
			t.Errorf("%d entries more", len(again.Store))
		}
	}
}

// The first written wins, also over a move of this node that is no entry yet.
func TestFirstWrittenWins(t *testing.T) {
	cfg := threeSites(bigConfig(1))
	cfg.Nodes[1].ID = "aa" // comes before this node
	s, now := upState(cfg)
	s.hold = nil
	eps := s.ix.services[0].eps
	votes := func(counter uint64, down ...int) {
		for _, id := range []NodeID{"aa", "edge-r"} {
			v := Vote{Node: id, Incarnation: 1, Counter: counter, List: s.ix.list, States: newStates(len(s.ix.targets)), Decides: true}
			for i, tg := range s.ix.targets {
				v.States.set(i, Up)
				for _, e := range down {
					if eps[e].At[0].Targets[0] == tg.ID {
						v.States.set(i, Down)
					}
				}
			}
			Step(s, Heard{v}, now)
		}
	}
	votes(1)
	now = now.Add(1500 * time.Millisecond)
	Step(s, Tick{}, now)
	now = now.Add(1500 * time.Millisecond)
	votes(2)
	votes(3, 0)
	c := s.svcs[0].main
	if c.at.IsZero() || slices.Contains(c.move.Set, eps[0].ID) {
		t.Fatalf("no move of its own: %+v", c)
	}
	theirs := *c.move
	theirs.Set, theirs.Cause = []EndpointID{eps[2].ID}, "theirs"
	fx := Step(s, Merged{{Kind: KindMove, Key: moveKey(&theirs), Rank: theirs.Number, Stamp: Stamp{Wall: now.UnixMilli(), Node: "aa"}, Value: encode(theirs)}}, now)
	if got := s.svcs[0].main; !got.at.IsZero() || got.move.Cause != "theirs" || len(fx.Store) != 0 {
		t.Errorf("answers by %+v, stores %v", got.move, fx.Store)
	}
	// Its own view comes after a second, as the next move.
	now = now.Add(turnAfter)
	Step(s, Tick{}, now)
	if got := s.svcs[0].main; got.move.Number != theirs.Number+1 {
		t.Errorf("still %+v", got.move)
	}
}

// A move that is no entry yet is answered by, so what it brought in is left only when down: unknown, and up again while a
// hold would run, change nothing.
func TestPendingMoveStands(t *testing.T) {
	cfg := threeSites(bigConfig(1))
	cfg.Nodes[1].ID = "aa" // comes before this node
	cfg.Sites[2] = Site{ID: "remote", Metro: "city"}
	cfg.Services[0].Endpoints[9].At[0].Site = "remote" // a third place
	s, now := upState(cfg)
	s.hold = nil
	var first, brought []EndpointID
	counter := uint64(0)
	votes := func(of func(EndpointID) HealthState) {
		counter++
		now = now.Add(100 * time.Millisecond)
		for _, id := range []NodeID{"aa", "edge-r"} {
			v := Vote{Node: id, Incarnation: 1, Counter: counter, List: s.ix.list, States: newStates(len(s.ix.targets)), Decides: true}
			for _, ep := range s.ix.services[0].eps {
				v.States.set(s.ix.targetOf[ep.At[0].Targets[0]], of(ep.ID))
			}
			Step(s, Heard{v}, now)
		}
	}
	say := func(now HealthState) func(EndpointID) HealthState {
		return func(id EndpointID) HealthState {
			switch {
			case slices.Contains(first, id):
				return Down
			case slices.Contains(brought, id):
				return now
			}
			return Up
		}
	}
	votes(func(EndpointID) HealthState { return Up })
	now = now.Add(1500 * time.Millisecond)
	Step(s, Tick{}, now)
	votes(func(EndpointID) HealthState { return Up })
	first = s.svcs[0].main.move.Set
	votes(say(Up))
	move := s.svcs[0].main.move
	brought = move.Set
	for _, health := range []HealthState{Unknown, Up} {
		votes(say(health))
		c := s.svcs[0].main
		if c.at.IsZero() || !slices.Equal(c.move.Set, brought) || !c.move.Start.Equal(move.Start) {
			t.Errorf("%s of what it brought in changed the pending move from %+v to %+v", health, move, c.move)
		}
	}
	votes(say(Down))
	if c := s.svcs[0].main; slices.Equal(c.move.Set, brought) && !c.move.NoneUp {
		t.Errorf("still answers what is down: %+v", c.move)
	}
}

func TestJudgeClusterRefuses(t *testing.T) {
	cfg := threeSites(bigConfig(2))
	cfg.Sites[2].Role = Witness
	s, now := upState(cfg)
	s.hold = nil
	Step(s, Tick{}, now)
	by := func(o Order) Order { o.Author, o.Reason = "ann", "test"; return o }
	for _, tt := range []struct {
		order Order
		want  string
	}{
		{Order{Kind: KindSiteLost, Key: "city-x"}, `did you mean "city-a"?`},
		{Order{Kind: KindSiteLost, Key: "city-a"}, "is this node's own"},
		{Order{Kind: KindSiteLost, Sites: []SiteID{"city-b", "city-b"}}, "is given twice"},
		{Order{Kind: KindSiteLost, Key: "remote", Sites: []SiteID{"city-b"}}, "name the sites in one place"},
		{Order{Kind: KindSiteLost, Key: "city-b", Clear: true}, "there is none at all"},
		{Order{Kind: KindSiteLost, Key: "city-b", For: time.Hour}, "--for goes with"},
		{Order{Kind: KindActiveMetro, Key: "s0000", Metro: "city"}, "want service/SERVICE or all"},
		{Order{Kind: KindActiveMetro, Key: "service/s000", Metro: "far"}, `did you mean "s0000"?`},
		{Order{Kind: KindActiveMetro, Key: "service/s0000", Metro: "fra"}, `did you mean "far"?`},
		{Order{Kind: KindActiveMetro, Key: "service/s0000", Metro: "far"}, "it has no endpoint in metro far: it has them in city-a, city-b"},
		{Order{Kind: KindActiveMetro, Key: "service/s0000", Metro: "city"}, "is its active metro already"},
		{Order{Kind: KindActiveMetro, Key: "all", Metro: "far"}, "no service can be moved to metro far"},
		{Order{Kind: KindActiveMetro, Key: "service/s0000", Clear: true}, "not cleared"},
		{Order{Kind: KindRejoin}, "node edge is not held"},
		{Order{Kind: KindRejoin, Key: "edge-b"}, "rejoin is for the node it is given on"},
		{Order{Kind: KindBlock, Key: "city-b", For: time.Minute}, "set cluster.drills: true"},
	} {
		if p, err := s.Judge(by(tt.order), now); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q (%+v)", tt.order, err, tt.want, p)
		}
	}
	if _, err := s.Judge(Order{Kind: KindSiteLost, Key: "city-b", Author: "ann"}, now); err == nil || !strings.Contains(err.Error(), "needs a reason") {
		t.Errorf("without a reason: %v", err)
	}
}

// A configuration without drills ends those that run, also for a node that starts with it.
func TestADrillEndsWithTheConfigurationThatAllowsIt(t *testing.T) {
	cfg := threeSites(bigConfig(2))
	cfg.Drills = true
	s, now := upState(cfg)
	p, err := s.Judge(Order{Kind: KindBlock, Key: "city-b", For: time.Hour, Author: "ann", Reason: "test"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if fx := Step(s, Ordered(p.Entries), now); !slices.Equal(fx.Block, []SiteID{"city-b"}) {
		t.Fatalf("blocked: %v", fx.Block)
	}
	without := *cfg
	without.Drills = false
	now = now.Add(time.Minute)
	if fx := Step(s, Reconfigured{&without}, now); fx.Block == nil || len(fx.Block) > 0 {
		t.Errorf("after the reload: %v blocked, an empty list expected", fx.Block)
	}
	if list := s.Status(now).Blocks; len(list) != 1 || !list[0].Off {
		t.Errorf("shown: %+v, expected that it is not obeyed", list)
	}
	if _, fx := Start(&without, Stored{Entries: p.Entries, Stamped: now}, now); len(fx.Block) > 0 {
		t.Errorf("after a start: %v blocked", fx.Block)
	}
	if _, err := s.Judge(Order{Kind: KindBlock, Key: "city-b", Clear: true, Author: "ann"}, now); err != nil {
		t.Errorf("it can't be ended: %v", err)
	}
	if fx := Step(s, Reconfigured{cfg}, now); !slices.Equal(fx.Block, []SiteID{"city-b"}) {
		t.Errorf("allowed again within its time: %v blocked", fx.Block)
	}
}

// Losses that together leave nobody to decide are refused here, and suspended where they meet.
func TestElectorateIsNeverEmpty(t *testing.T) {
	s, now := trio(t)
	var list Merged
	for i, id := range []string{"city-b", "remote", "city-a"} {
		list = append(list, Entry{Kind: KindSiteLost, Key: id, Author: "bob", Stamp: Stamp{Wall: now.UnixMilli() + int64(i), Node: "edge-b"}})
	}
	slices.Reverse(list)
	now = now.Add(time.Minute)
	Step(s, list, now)
	if s.seats != 1 || !s.seated[0] || s.orders.lost["city-a"].suspended == "" {
		t.Errorf("%d seats, %v, lost %+v", s.seats, s.seated, s.orders.lost["city-a"])
	}
	if _, ok := s.raised["suspended/site-lost/city-a"]; !ok {
		t.Errorf("no alarm among %v", s.alarmCauses())
	}
	g := s.fork()
	Step(g, Merged{{Kind: KindSiteLost, Key: "city-b", Deleted: true, Ends: list[2].Stamp, Author: "bob", Stamp: Stamp{Wall: now.UnixMilli(), Node: "edge-b"}}}, now)
	if g.seats != 2 || g.orders.lost["city-a"].suspended == "" {
		t.Errorf("the readmission of another wakes what was suspended: %d seats", g.seats)
	}
}

// An alarm whose text counts is not written anew with every count.
func TestCountingAlarmsAreNoStorm(t *testing.T) {
	s, now := trio(t)
	now = now.Add(time.Minute)
	writes := 0
	for i := range 100 {
		now = now.Add(time.Second)
		turn := s.begin(now)
		turn.raise(nil, []alarm{{"test/x", fmt.Sprintf("%d of 100 are gone", i), "pharos status"}})
		turn.settleDue()
		for _, e := range turn.fx.Store {
			if e.Key == "test/x" {
				writes++
			}
		}
	}
	if writes < 2 || writes > 3 {
		t.Errorf("%d writes in 100 s", writes)
	}
}

// An alarm raised by a clock far ahead can be acknowledged, and no other of its cause by that, also where it came before.
func TestAckOfAlarmFromAhead(t *testing.T) {
	s, now := trio(t)
	acked := func() bool { _, ok := s.acked("site-down/city-b"); return ok }
	raise := func(given, since time.Time) {
		e := Entry{Kind: KindAlarm, Key: "site-down/city-b", Stamp: Stamp{Wall: given.UnixMilli(), Node: "edge-b"}, Author: machine}
		e.Value = encode(Alarm{Text: "site city-b is down", Way: "pharos status", Since: since})
		Step(s, Merged{e}, now)
	}
	ahead := now.Add(time.Hour + 1)
	raise(ahead, ahead)
	p, err := s.Judge(Order{Kind: KindAck, Key: "site-down/city-b", Author: "ann"}, now)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	Step(s, Ordered(p.Entries), now)
	if !acked() {
		t.Error("the acknowledgement is lost")
	}
	if _, told := s.raised["clock/edge"]; told {
		t.Error("the clock of who acknowledges is blamed")
	}
	raise(ahead.Add(time.Second), now.Add(-time.Minute))
	if _, is := s.raised["site-down/city-b"]; !is || acked() {
		t.Errorf("another alarm: raised %v, acknowledged %v", is, acked())
	}
}

// The evidence of a peer is bounded and shown.
func TestReasonsOfPeers(t *testing.T) {
	s, now := trio(t)
	hear(s, 1, now, func(st States) { st.set(0, Down) })
	id := s.ix.targets[0].ID
	Step(s, Reasons{"edge-b", []Reason{{id, Down, "503 after 12 ms", now}}}, now)
	Step(s, Reasons{"nobody", []Reason{{id, Down, "x", now}}}, now)
	if got := s.reason(0); got != "503 after 12 ms, says edge-b" {
		t.Errorf("reason %q", got)
	}
}

// A node without the role probe says who judges a target, and by what evidence, in place of a word of its own.
func TestProbedByOthers(t *testing.T) {
	cfg := threeSites(bigConfig(2))
	cfg.Nodes[0].Probes = false
	s, _ := Start(cfg, Stored{Stamped: epochStart}, epochStart)
	now := epochStart
	target := s.ix.cfg.Services[0].Endpoints[0].At[0].Targets[0]
	look := func() (TargetStatus, string) {
		ex, err := s.Explain(Query{Name: s.ix.services[0].Names[0]}, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, ep := range ex.Candidates {
			for _, st := range ep.Targets {
				if st.Target == target {
					return st, ep.Detail
				}
			}
		}
		t.Fatalf("explain tells nothing of %s", target)
		panic("unreachable")
	}
	if st, _ := look(); st.Here || st.Detail != "not probed by this node: no site says anything" {
		t.Errorf("before anybody spoke: %+v", st)
	}
	hear(s, 1, now, func(States) {})
	if st, detail := look(); st.Health != Up || st.Detail != "not probed by this node: up for city-b, remote" || detail != st.Detail {
		t.Errorf("up: %+v, %q", st, detail)
	}
	i := s.ix.targetOf[target]
	hear(s, 2, now, func(st States) { st.set(i, Down) })
	Step(s, Reasons{"edge-b", []Reason{{target, Down, "503 from 203.0.113.10:443", now}}}, now)
	if st, _ := look(); st.Health != Down || st.Reason != "503 from 203.0.113.10:443, says edge-b" || st.Detail != "not probed by this node: down for city-b, remote" {
		t.Errorf("down: %+v", st)
	}
	cfg = bigConfig(2)
	cfg.Nodes[0].Probes = false
	if s, _ = Start(cfg, Stored{Stamped: epochStart}, epochStart); s.targetDetail(0) != "not probed by this node, nor by another" {
		t.Errorf("alone: %q", s.targetDetail(0))
	}
}
