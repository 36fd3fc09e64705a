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
