package policy

import (
	"testing"
	"time"
)

// A node that probes nothing can't be blind.
func TestNodeWithoutTargetsTrustsItself(t *testing.T) {
	cfg := &Config{
		Cluster: "c", Self: "a",
		Sites: []Site{{ID: "s", Metro: "m"}},
		Nodes: []Node{{ID: "a", Site: "s", Probes: true}},
	}
	now := time.Unix(1700000000, 0)
	s, _ := Start(cfg, Stored{}, now)
	for range 3 {
		now = now.Add(time.Minute)
		Step(s, Reconfigured{Config: cfg}, now)
		Step(s, Tick{}, now.Add(30*time.Second))
	}
	if status := s.Status(now.Add(time.Minute)); status.Suspects != "" || len(status.Alarms) > 0 {
		t.Errorf("suspects itself: %q, alarms %+v", status.Suspects, status.Alarms)
	}
}

// Nor can one whose only targets are what other sites require, which it doesn't probe.
func TestNodeWithForeignTargetsTrustsItself(t *testing.T) {
	cfg := emptyConfig()
	cfg.Sites = []Site{{ID: "city-a", Metro: "m"}, {ID: "city-b", Metro: "m", Requires: []Requirement{{"wan", "wan"}}}}
	cfg.Targets["wan"] = Target{ID: "wan", Site: "city-b", Label: "icmp wan", Fall: 3, Rise: 3}
	s, _ := Start(&cfg, Stored{}, epochStart)
	Step(s, Reconfigured{Config: &cfg}, epochStart)
	if suspects := s.Status(epochStart).Suspects; suspects != "" {
		t.Errorf("suspects itself: %q", suspects)
	}
}

// A reload that brings targets ends no blindness: no probe has succeeded.
func TestReloadWhileBlind(t *testing.T) {
	cfg := bigConfig(1)
	s, now := upState(cfg)
	fail := func() {
		var all Observed
		for _, tg := range s.ix.targets {
			all = append(all, Observation{Target: tg.ID, At: now, Outcome: Timeout})
		}
		Step(s, all, now)
	}
	fail()
	if s.suspect.IsZero() {
		t.Fatal("trusts itself with nothing that succeeds")
	}
	for _, c := range Step(s, Reconfigured{Config: bigConfig(2)}, now).Changes {
		if c.Subject == "node edge" {
			t.Errorf("%s → %s (%s)", c.Before, c.After, c.Why)
		}
	}
	for range 5 {
		now = now.Add(time.Second)
		fail()
	}
	if s.suspect.IsZero() || len(s.Status(now).Alarms) != 1 {
		t.Errorf("suspect since %v, alarms %+v", s.suspect, s.Status(now).Alarms)
	}
	for _, sv := range s.Status(now).Services {
		if sv.NoneUp {
			t.Errorf("service %s was found down by a blind node", sv.Service)
		}
	}
}
