package main

import (
	"testing"

	"github.com/scloudstack/pharos/internal/api"
)

// TestZoneOfSeveralFaults wants each fault in its line, below the zone that it is of.
func TestZoneOfSeveralFaults(t *testing.T) {
	wantPage(t, `
  ZONE          SERIAL  RECORDS  FROM            FILE
  bad.example.  0       0        none: SERVFAIL  bad.zone
  bad.example. bad.zone:2: no serial
    bad.zone:3: no address
`, func(p *page) {
		p.zones([]api.Zone{{Name: "bad.example.", Source: "none", File: "bad.zone", Problem: "bad.zone:2: no serial\nbad.zone:3: no address"}})
	})
}

// TestZoneDiffTellsOfAll wants the numbers of all records, of which the node lists the first.
func TestZoneDiffTellsOfAll(t *testing.T) {
	d := api.ZoneDiff{
		Name: "one.example.", From: 5, To: 6,
		Added: []string{"a.one.example. 60 IN A 192.0.2.1"}, AddedCount: 12346,
		Removed: []string{"b.one.example. 60 IN A 192.0.2.2"}, RemovedCount: 1,
	}
	wantPage(t, `
one.example. serial 5 → 6: 12346 records added, 1 removed
- b.one.example. 60 IN A 192.0.2.2
+ a.one.example. 60 IN A 192.0.2.1
+ and 12345 more
`, func(p *page) { p.zoneDiff(d) })
	wantPage(t, `

AGAINST THE RUNNING NODE
one.example. serial 5 → 6: 12346 records added, 1 removed
Next: pharos reload, or pharos reload --confirm 5m
`, func(p *page) { p.diff(api.DiffResult{Zones: []api.ZoneDiff{d}}) })
}
