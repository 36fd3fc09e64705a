package policy

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestIfAllUp(t *testing.T) {
	s := newStory(t)
	for _, line := range []string{
		"site city-a city net=10.1.0.0/16",
		"site city-b city net=10.2.0.0/16",
		"site remote far standby net=10.9.0.0/16",
		"service shop failover",
		"endpoint city-a 203.0.113.10,2001:db8::10 check=a",
		"endpoint city-b 203.0.113.20 check=b",
		"endpoint remote 198.51.100.10 check=r",
		"service near nearest",
		"endpoint city-a 203.0.113.30 check=p",
		"endpoint city-b 203.0.113.40 check=q",
		"service bare failover",
		"endpoint city-a 203.0.113.50",
	} {
		s.run(line)
	}
	rev := IfAllUp(&s.cfg)
	shop := rev.Answers["www.shop.example."]
	if len(shop.Choices) != 1 || len(shop.Choices[0].A) != 1 || len(shop.Choices[0].AAAA) != 1 || shop.TTL != 10 {
		t.Errorf("shop %+v", shop)
	}
	near := rev.Answers["www.near.example."]
	if len(rev.Groups) != 3 || len(near.Choices) != 4 {
		t.Fatalf("%d groups, near %+v", len(rev.Groups), near)
	}
	for i, want := range []string{"203.0.113.30", "203.0.113.30", "203.0.113.40", "203.0.113.30"} {
		if got := near.Choices[i].A[0].Addrs[0]; got != netip.MustParseAddr(want) {
			t.Errorf("group %d gets %v, want %s", i, got, want)
		}
	}
	if got := rev.Answers["www.bare.example."]; got.Fail || got.Choices[0].A[0].Site != "city-a" {
		t.Errorf("an endpoint without a check: %+v", got)
	}
	if again := IfAllUp(&s.cfg); again.Digest != rev.Digest {
		t.Error("the digest is not the same each time")
	}
}

// A revision keeps what did not change, names what did, and lowered TTLs are not in its digest.
func TestRevisionChanges(t *testing.T) {
	cfg := bigConfig(50)
	s, now := upState(cfg)
	first := s.Revision()
	target := cfg.Services[7].Endpoints[0].At[0].Targets[0]
	fail := func() *Revision {
		now = now.Add(time.Second)
		return Step(s, Observed{{Target: target, At: now, Outcome: Refused}}, now).Revision
	}
	lowered := fail()
	if lowered == nil || lowered.Digest != first.Digest || lowered.Answers["s0007.example."].TTL != 2 {
		t.Fatalf("a failure counted: %+v", lowered)
	}
	if again := fail(); again != nil {
		t.Fatalf("another failure made revision %d", again.Number)
	}
	moved := fail()
	if moved == nil || moved.Digest == first.Digest || moved.Number != first.Number+2 {
		t.Fatalf("a move: %+v", moved)
	}
	for name, a := range moved.Answers {
		if (a != first.Answers[name]) != (name == "s0007.example.") {
			t.Errorf("%s: pointer changed: %v", name, a != first.Answers[name])
		}
	}
	for _, prev := range []*Revision{first, lowered} {
		changes := moved.Changes(prev)
		if len(changes) != 1 || changes[0].Name != "s0007.example." || changes[0].After != moved.Answers["s0007.example."] ||
			changes[0].Before != prev.Answers["s0007.example."] {
			t.Errorf("changes since %d: %+v", prev.Number, changes)
		}
	}
	if n := len(moved.Changes(nil)); n != 50 {
		t.Errorf("%d changes since nothing", n)
	}
	names := func(r *Revision) []string {
		var list []string
		for _, c := range r.Changes(moved) {
			list = append(list, c.Name)
		}
		return list
	}
	smaller := *cfg
	smaller.Services = slices.Clone(cfg.Services[:49])
	less := Step(s, Reconfigured{&smaller}, now).Revision
	if less == nil || !slices.Equal(names(less), []string{"s0049.example."}) {
		t.Fatalf("a service less: %v", less)
	}
	more := Step(s, Reconfigured{cfg}, now).Revision
	if more.Digest != moved.Digest || !slices.Equal(names(more), []string{"s0049.example."}) {
		t.Errorf("a service back: %v", names(more))
	}
}

func TestWeights(t *testing.T) {
	s := newStory(t)
	s.run(`site city-a city
site city-b city
service shop weighted
endpoint city-a 203.0.113.10 weight=0 check=a
endpoint city-b 203.0.113.20 weight=4 check=b
endpoint city-b 203.0.113.21,2001:db8::21 weight=6 check=b2
start
probe a=ok b=ok b2=ok
`)
	weights := func() map[string]uint32 {
		got := map[string]uint32{}
		c := s.state.Revision().Answers["www.shop.example."].Choices[0]
		for i, m := range c.A {
			got[m.Addrs[0].String()] = m.Weight
			if c.AAAA[i].Site != m.Site || c.AAAA[i].Weight != m.Weight {
				t.Errorf("the families disagree: %+v", c)
			}
		}
		return got
	}
	if got := weights(); len(got) != 2 || got["203.0.113.20"] != 2 || got["203.0.113.21"] != 3 {
		t.Errorf("weights %v", got)
	}
	s.run("probe 3x1s a=ok b=refused b2=refused")
	if got := weights(); len(got) != 1 || got["203.0.113.10"] != 1 {
		t.Errorf("only weight 0 is up: %v", got)
	}
}
