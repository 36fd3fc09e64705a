package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// bigConfig has n services in two sites, with ten targets each.
func bigConfig(n int) *Config {
	cfg := emptyConfig()
	cfg.Sites = []Site{{ID: "city-a", Metro: "city"}, {ID: "city-b", Metro: "city"}}
	for i := range n {
		sv := Service{
			ID: ServiceID(fmt.Sprintf("s%04d", i)), Names: []string{fmt.Sprintf("s%04d.example.", i)},
			TTL: 10 * time.Second, TTLFloor: 2 * time.Second, Return: Return{Hold: time.Minute},
		}
		for e := range 10 {
			addr := netip.AddrFrom4([4]byte{10, byte(e), byte(i >> 8), byte(i)})
			site := cfg.Sites[e%2].ID
			id := TargetID(addr.String())
			cfg.Targets[id] = Target{ID: id, Site: site, Label: "tcp " + addr.String(), Interval: time.Second, Fall: 3, Rise: 10}
			sv.Endpoints = append(sv.Endpoints, Endpoint{
				ID: EndpointID(addr.String()), Addresses: []netip.Addr{addr}, At: []EndpointSite{{Site: site, Targets: []TargetID{id}}},
			})
		}
		cfg.Services = append(cfg.Services, sv)
	}
	return &cfg
}

// upState is a state of cfg in which every target was seen up.
func upState(cfg *Config) (*State, time.Time) {
	now := epochStart
	s, _ := Start(cfg, Stored{}, now)
	var all Observed
	for _, t := range s.ix.targets {
		all = append(all, Observation{Target: t.ID, At: now, Reason: "connected"})
	}
	Step(s, all, now)
	return s, now
}

// besideExpired is upState with an override onto all services that expired and stays, since the last of
// them has nothing to fall back to.
func besideExpired(tb testing.TB, cfg *Config) (*State, time.Time) {
	tb.Helper()
	s, now := upState(cfg)
	p, err := s.Judge(Order{
		Kind: KindOverride, Key: "all", Override: &Override{Site: "city-b"}, Author: "ann", Reason: "bench", For: time.Second,
	}, now)
	if err != nil {
		tb.Fatal(err)
	}
	Step(s, Ordered(p.Entries), now)
	var down Observed
	for _, ep := range cfg.Services[len(cfg.Services)-1].Endpoints {
		down = append(down, Observation{Target: ep.At[0].Targets[0], Outcome: Refused})
	}
	for range 3 {
		Step(s, down, now)
	}
	now = now.Add(time.Minute)
	Step(s, Tick{}, now)
	if !s.someExpired() {
		tb.Fatal("the override fell")
	}
	return s, now
}

// A result that changes nothing must not cost more because of what expired and stays.
func TestCostBesideExpired(t *testing.T) {
	cfg := bigConfig(50)
	s, now := besideExpired(t, cfg)
	target := cfg.Services[0].Endpoints[0].At[0].Targets[0]
	if n := testing.AllocsPerRun(100, func() { Step(s, Observed{{Target: target, At: now}}, now) }); n > 5 {
		t.Errorf("%v allocations a success", n)
	}
}

// BenchmarkStep is the cost of one event on 10,000 targets and 1,000 services.
func BenchmarkStep(b *testing.B) {
	cfg := bigConfig(1000)
	target := cfg.Services[500].Endpoints[0].At[0].Targets[0]
	b.Run("success", func(b *testing.B) {
		s, now := upState(cfg)
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Millisecond)
			Step(s, Observed{{Target: target, At: now}}, now)
		}
	})
	b.Run("failing-and-back", func(b *testing.B) {
		s, now := upState(cfg)
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Millisecond)
			Step(s, Observed{{Target: target, At: now, Outcome: Refused}}, now)
			Step(s, Observed{{Target: target, At: now}}, now)
		}
	})
	b.Run("down-and-up", func(b *testing.B) {
		s, now := upState(cfg)
		b.ReportAllocs()
		for b.Loop() {
			for range 3 {
				now = now.Add(time.Second)
				Step(s, Observed{{Target: target, At: now, Outcome: Refused}}, now)
			}
			for range 10 {
				now = now.Add(time.Second)
				Step(s, Observed{{Target: target, At: now}}, now)
			}
		}
	})
	b.Run("round-of-10000", func(b *testing.B) {
		s, now := upState(cfg)
		var all Observed
		for _, t := range s.ix.targets {
			all = append(all, Observation{Target: t.ID})
		}
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Second)
			Step(s, all, now)
		}
	})
	b.Run("success-beside-an-expired-override", func(b *testing.B) {
		s, now := besideExpired(b, cfg)
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Millisecond)
			Step(s, Observed{{Target: target, At: now}}, now)
		}
	})
	b.Run("override-judged", func(b *testing.B) {
		s, now := upState(cfg)
		b.ReportAllocs()
		for b.Loop() {
			_, err := s.Judge(Order{
				Kind: KindOverride, Key: "service/s0500", Override: &Override{Site: "city-b"}, Author: "ann", Reason: "bench",
			}, now)
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Orders on every service, in force and ended, are judged without comparing each with each.
func TestManyDrains(t *testing.T) {
	cfg := bigConfig(1000)
	s, now := upState(cfg)
	var list Ordered
	for i := range 2000 {
		key := fmt.Sprintf("endpoint/s%04d/%s", i/2, []string{"city-a", "city-b"}[i%2])
		at := Stamp{Wall: now.UnixMilli() + int64(i), Node: "other"}
		list = append(list, Entry{Kind: KindDrain, Key: key, Stamp: at.next("other"), Deleted: true, Ends: at})
		if i%4 == 0 {
			at.Wall += 5000
			list = append(list, Entry{Kind: KindDrain, Key: key, Stamp: at})
		}
	}
	began := time.Now()
	Step(s, list, now.Add(time.Minute))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if n := len(s.orders.drains); n != 500 {
		t.Errorf("%d drains", n)
	}
}

// threeSites is cfg in a cluster of three sites with a node each.
func threeSites(cfg *Config) *Config {
	cfg.Sites = append(cfg.Sites, Site{ID: "remote", Metro: "far", Role: Standby})
	cfg.Nodes = append(cfg.Nodes, Node{ID: "edge-b", Site: "city-b", Probes: true}, Node{ID: "edge-r", Site: "remote", Probes: true})
	return cfg
}

// hear has votes of the peers come that say the same of every target.
func hear(s *State, counter uint64, now time.Time, change func(States)) Effects {
	var votes Heard
	for _, id := range []NodeID{"edge-b", "edge-r"} {
		v := Vote{Node: id, Incarnation: 1, Counter: counter, List: s.ix.list, States: newStates(len(s.ix.targets)), Decides: true}
		for i := range s.ix.targets {
			v.States.set(i, Up)
		}
		change(v.States)
		votes = append(votes, v)
	}
	return Step(s, votes, now)
}

// BenchmarkVote is the cost of one peer's vote on 10,000 targets and 1,000 services.
func BenchmarkVote(b *testing.B) {
	cfg := threeSites(bigConfig(1000))
	same := func(States) {}
	b.Run("refresh", func(b *testing.B) {
		s, now := upState(cfg)
		hear(s, 1, now, same)
		data := EncodeVote(Vote{List: s.ix.list, States: s.peers[1].states, Decides: true})
		counter := uint64(1)
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Millisecond)
			counter++
			v, err := DecodeVote(data)
			if err != nil {
				b.Fatal(err)
			}
			v.Node, v.Incarnation, v.Counter = "edge-b", 1, counter
			if fx := Step(s, Heard{v}, now); fx.Revision != nil {
				b.Fatal("a refresh changed something")
			}
		}
	})
	b.Run("1000-changed", func(b *testing.B) {
		s, now := upState(cfg)
		hear(s, 1, now, same)
		down := slices.Clone(s.peers[1].states)
		for i := range 1000 {
			down.set(i*10, Down)
		}
		counter, states := uint64(1), [2]States{down, s.peers[1].states}
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Millisecond)
			counter++
			Step(s, Heard{{Node: "edge-b", Incarnation: 1, Counter: counter, List: s.ix.list, States: states[counter%2], Decides: true}}, now)
		}
	})
	b.Run("1000-services-move", func(b *testing.B) {
		s, now := upState(cfg)
		hear(s, 1, now, same)
		counter := uint64(1)
		for b.Loop() { // of each service the endpoints in city-a die, and come back
			now, counter = now.Add(time.Second), counter+1
			hear(s, counter, now, func(st States) {
				for i, t := range s.ix.targets {
					if counter%2 == 0 && t.Site == "city-a" {
						st.set(i, Down)
					}
				}
			})
		}
	})
}

// A refreshed vote must cost next to nothing, however many targets it is on.
func TestCostOfRefresh(t *testing.T) {
	s, now := upState(threeSites(bigConfig(50)))
	hear(s, 1, now, func(States) {})
	v := Vote{Node: "edge-b", Incarnation: 1, List: s.ix.list, States: s.peers[1].states, Decides: true}
	counter := uint64(1)
	if n := testing.AllocsPerRun(100, func() {
		counter++
		v.Counter = counter
		Step(s, Heard{v}, now)
	}); n > 5 {
		t.Errorf("%v allocations a refresh", n)
	}
}
