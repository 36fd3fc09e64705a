package dnsserver

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// What Prepare compiled is what a later Set serves, also when another Set for
// the zones that are served came in between.
func TestPrepareCompilesAhead(t *testing.T) {
	parse := func(serial string) *zones.Zone {
		z, _, err := zones.Parse("p.example.", strings.NewReader("$TTL 60\n@ SOA ns1 h "+serial+" 1 1 1 1\n@ NS ns1\nns1 A 192.0.2.1\n"), "p", zones.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	s, err := New(Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	first, second := parse("1"), parse("2")
	s.Set(Data{Zones: []*zones.Zone{first}})
	served := s.view.Load().zones[0]

	s.Prepare([]*zones.Zone{first, second})
	ahead := s.view.Load().ahead
	if len(ahead) != 1 || ahead[second] == nil {
		t.Fatalf("compiled ahead: %v, want the second zone alone", ahead)
	}
	s.Set(Data{Zones: []*zones.Zone{first}, Revision: &policy.Revision{Number: 2}})
	if got := s.view.Load().zones[0]; got != served {
		t.Error("the zone that is served was compiled again")
	}
	s.Set(Data{Zones: []*zones.Zone{second}})
	if got := s.view.Load(); got.zones[0] != ahead[second] || got.ahead != nil {
		t.Error("what was compiled ahead is not what is served, or is kept")
	}
}
