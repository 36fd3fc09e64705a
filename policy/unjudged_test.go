package policy

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Unjudged counts the targets of unknown health that a service does not rest on now: new ones,
// those that its site requires, and those of others that are not judged yet.
func TestUnjudged(t *testing.T) {
	at := func(site SiteID, targets ...TargetID) []EndpointSite {
		return []EndpointSite{{Site: site, Targets: targets}}
	}
	config := func(requires []Requirement, a, b []TargetID) *Config {
		cfg := &Config{
			Self: "edge-a", Nodes: []Node{{ID: "edge-a", Site: "city-a", Probes: true}},
			Targets: map[TargetID]Target{},
			Sites:   []Site{{ID: "city-a", Metro: "city", Requires: requires}, {ID: "city-b", Metro: "city"}},
			Services: []Service{
				{ID: "shop", Names: []string{"www.shop.example."}, Endpoints: []Endpoint{{ID: "shop-a", At: at("city-a", a...)}}},
				{ID: "pay", Names: []string{"www.pay.example."}, Endpoints: []Endpoint{{ID: "pay-b", At: at("city-b", b...)}}},
			},
		}
		for _, id := range slices.Concat(a, b) {
			cfg.Targets[id] = Target{ID: id, Interval: time.Second, Fall: 3, Rise: 3}
		}
		for _, r := range requires {
			cfg.Targets[r.Target] = Target{ID: r.Target, Interval: time.Second, Fall: 3, Rise: 3}
		}
		return cfg
	}
	s, _ := Start(config(nil, []TargetID{"up", "unknown"}, []TargetID{"down"}), Stored{Stamped: epochStart}, epochStart)
	for id, state := range map[TargetID]HealthState{"up": Up, "down": Down} {
		s.verdicts[s.ix.targetOf[id]] = verdict{state: state, known: true}
	}
	wan := []Requirement{{Name: "wan", Target: "wan"}}
	for _, tc := range []struct {
		name string
		cfg  *Config
		want []Unjudged
	}{
		{"the same", config(nil, []TargetID{"up", "unknown"}, []TargetID{"down"}), nil},
		{"known ones of each other", config(nil, []TargetID{"down"}, []TargetID{"up"}), nil},
		{"two new ones", config(nil, []TargetID{"up", "new", "newer"}, []TargetID{"down"}), []Unjudged{{"shop", 2}}},
		{"one of another service that is not judged yet", config(nil, []TargetID{"unknown"}, []TargetID{"unknown"}), []Unjudged{{"pay", 1}}},
		{"a new one of both", config(nil, []TargetID{"new"}, []TargetID{"new"}), []Unjudged{{"shop", 1}, {"pay", 1}}},
		{"what the site requires", config(wan, []TargetID{"up"}, []TargetID{"down"}), []Unjudged{{"shop", 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, s.Unjudged(tc.cfg)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
