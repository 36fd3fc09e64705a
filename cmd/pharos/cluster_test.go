package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// printed is what people see.
func printed(show func(p *page)) string {
	var b bytes.Buffer
	show(&page{w: &b})
	return b.String()
}

func wantPage(t *testing.T, want string, show func(p *page)) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), printed(show)); diff != "" {
		t.Error(diff)
	}
}

// cutOff is what a remote node knows of two sites that fell silent.
func cutOff() api.ClusterStatus {
	hour := api.Duration(time.Hour)
	rev := func(n uint64, digest string) api.RevisionStatus {
		return api.RevisionStatus{Number: n, Digest: digest}
	}
	return api.ClusterStatus{
		Name: "prod", Node: "edge-r1", Now: noon,
		Members: []api.Member{
			{Name: "edge-a1", Site: "city-a", State: api.Silent, Heard: noon.Add(-4 * time.Minute), Revision: rev(1812, "810c74bd00")},
			{Name: "edge-b1", Site: "city-b", State: api.NeverHeard, Problem: "wrong gossip key"},
			{Name: "edge-r1", Site: "remote", State: api.Alive, Self: true, Voting: true, Revision: rev(1812, "810c74bd00")},
			{Name: "edge-r2", Site: "remote", State: api.Alive, Held: true, Offset: &hour, Differs: []string{"configuration", "zones"}},
			{Name: "edge-r3", Site: "remote", State: api.Alive, Suspects: "none of its probes succeeds"},
			{Name: "edge-r4", Site: "remote", State: api.Left, Heard: noon.Add(-time.Hour)},
		},
		Electorate: api.Electorate{
			Sites: []api.ElectorateSite{{Site: "city-a", Since: noon.Add(-4 * time.Minute)}, {Site: "city-b"}, {Site: "remote", Voiced: true}},
			Lost:  []policy.SiteID{"city-c"},
		},
		Majority: api.Majority{
			Have: 1, Need: 2, Of: 3, Margin: -1,
			Text: "2 of 3 sites silent for 4m, no majority, serving revision 1812",
			Next: "pharos site lost city-a city-b --reason ...",
		},
		Conflicts: []api.Conflict{{Cause: "conflict/override/all", Text: "two orders met", Since: noon.Add(-time.Minute)}},
		Parked:    3,
		Entries:   map[policy.Kind]int{policy.KindMove: 12, policy.KindDrain: 1},
		Blocked:   []api.Block{{Site: "city-a", Author: "ann", Reason: "drill", Until: noon.Add(2 * time.Minute)}},
	}
}

func TestClusterPage(t *testing.T) {
	wantPage(t, `
cluster prod · as edge-r1 knows it
2 of 3 sites silent for 4m, no majority, serving revision 1812
  → pharos site lost city-a city-b --reason ...

ELECTORATE
  city-a  silent for 4m
  city-b  silent
  remote  votes
  city-c  declared lost, does not count

NODES
  NODE     SITE    STATE          REVISION
  edge-a1  city-a  silent for 4m  1812 (810c74bd)
  edge-b1  city-b  never heard                     wrong gossip key
  edge-r1  remote  this node      1812 (810c74bd)
  edge-r2  remote  alive                           held: serves no steered name yet · other configuration · other zones · clock +1h
  edge-r3  remote  alive                           abstains: none of its probes succeeds
  edge-r4  remote  left for 1h

DRILLS
  city-a is not heard for 2m more, by ann: drill

CONFLICTS
  conflict/override/all  two orders met (for 1m)
    → pharos alarm ack conflict/override/all

ENTRIES
  drain   1
  move    12
  parked  3 wait until the configuration knows who signed them
`, func(p *page) { p.cluster(cutOff()) })
}

// TestStatusSaysThatNothingCanBeDecided wants the sentence at the top, and the
// command at the bottom once.
func TestStatusSaysThatNothingCanBeDecided(t *testing.T) {
	cluster := cutOff()
	s := api.Status{Node: api.NodeStatus{Name: "edge-r1", Site: "remote", Now: noon, Readiness: api.Readiness{Ready: true}}, Cluster: &cluster}
	text := printed(func(p *page) { p.status(s) })
	top, _, _ := strings.Cut(text, "NODES")
	if !strings.Contains(top, "no majority, serving revision 1812\n  → pharos site lost") {
		t.Errorf("not at the top:\n%s", text)
	}
	if !strings.Contains(text, "\nNext: pharos site lost city-a city-b --reason ...\n") {
		t.Errorf("not at the bottom:\n%s", text)
	}
	s.Decision.Next = []string{cluster.Majority.Next}
	if n := strings.Count(printed(func(p *page) { p.status(s) }), "Next: "); n != 1 {
		t.Errorf("%d times next", n)
	}
	cluster.Majority = api.Majority{Have: 2, Need: 2, Of: 3, Text: "city-a silent for 4m"}
	if text := printed(func(p *page) { p.status(s) }); !strings.Contains(text, "city-a silent for 4m: one more silent site and nothing can be decided\n") {
		t.Errorf("no margin is not told:\n%s", text)
	}
	cluster.Majority = api.Majority{Have: 3, Need: 2, Of: 3, Margin: 1, Text: "all is well"}
	if text := printed(func(p *page) { p.status(s) }); strings.Contains(text, "all is well") {
		t.Errorf("a healthy day is no news:\n%s", text)
	}
}

func TestOrderResultPage(t *testing.T) {
	res := api.OrderResult{
		Author: "ann", Revision: 7, Partial: "not held by edge-b1",
		Nodes: []api.NodeHolds{
			{Node: "edge-a1", Site: "city-a", Self: true, Holds: true, Revision: 7, Digest: "810c74bd00"},
			{Node: "edge-b1", Site: "city-b", Revision: 9, Digest: "ffffffff00", Note: "silent for 4m"},
			{Node: "edge-r1", Site: "remote", Lost: true},
		},
	}
	wantPage(t, `
Done: declared lost: city-b, city-c, by ann, in revision 7.
  NODE     SITE    HOLDS IT              REVISION
  edge-a1  city-a  yes                   7 (810c74bd)
  edge-b1  city-b  no                    9 (ffffffff)  silent for 4m
  edge-r1  remote  no, its site is lost
`, func(p *page) {
		p.orderResult(api.OrderRequest{Kind: policy.KindSiteLost, Key: "city-b", Also: []string{"city-c"}}, res)
	})
	res.Revision, res.Nodes = 0, res.Nodes[:1]
	wantPage(t, "Stored, by ann.\n", func(p *page) { p.orderResult(api.OrderRequest{Kind: policy.KindGate, Key: "freeze"}, res) })
}

func TestOrdersInWords(t *testing.T) {
	for want, r := range map[string]api.OrderRequest{
		"site city-a readmitted":                {Kind: policy.KindSiteLost, Key: "city-a", Clear: true},
		"declared lost: city-a":                 {Kind: policy.KindSiteLost, Key: "city-a"},
		"failover of shop to metro far":         {Kind: policy.KindActiveMetro, Key: "service/shop", Metro: "far"},
		"failover of all services to metro far": {Kind: policy.KindActiveMetro, Key: "all", Metro: "far"},
		"held start of edge-a1 ended":           {Kind: policy.KindRejoin, Key: "edge-a1"},
		"site city-a is not heard for 5m":       {Kind: policy.KindBlock, Key: "city-a", For: api.Duration(5 * time.Minute)},
		"site city-a is heard again":            {Kind: policy.KindBlock, Key: "city-a", Clear: true},
		"undrain of site/city-a":                {Kind: policy.KindDrain, Key: "site/city-a", Clear: true},
	} {
		if got := orderWord(r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestGossipKeysPage(t *testing.T) {
	const newer, older = "3f9a2c1b77d0e1aa", "77d0e1aa3f9a2c1b"
	k := api.NewGossipKeys([]api.NodeKeys{
		{Node: "edge-a1", Site: "city-a", Keys: []api.NodeKey{
			{Fingerprint: newer, Taken: true, InFile: true, First: true}, {Fingerprint: older, Taken: true, Sends: true, InFile: true},
		}},
		{Node: "edge-b1", Site: "city-b", Keys: []api.NodeKey{{Fingerprint: older, Taken: true, Sends: true, First: true}, {Fingerprint: newer, InFile: true}}},
		{Node: "edge-r1", Site: "remote", Lost: true},
	})
	wantPage(t, `
KEY               SENT WITH BY
3f9a2c1b77d0e1aa  nobody            not confirmed by edge-b1
77d0e1aa3f9a2c1b  edge-a1, edge-b1  in no keys_file on edge-b1: a restart there loses it

NODES
  NODE     SITE    KEYS
  edge-a1  city-a  3f9a2c1b (first in the keys_file) · 77d0e1aa (sends, but not after a restart: it is not first in the keys_file)
  edge-b1  city-b  77d0e1aa (sends) · 3f9a2c1b (in the keys_file, not read yet)
  edge-r1  remote  its site is declared lost: nobody waits for it
`, func(p *page) { p.gossipKeys(k) })

	if err := keysIncomplete(k); err == nil || err.Error() != "edge-b1 has not confirmed 3f9a2c1b77d0e1aa" {
		t.Errorf("got %v", err)
	}
	for typed, want := range map[string]string{"3f": newer, "77d0e1aa3f9a2c1b": older, "": "begins several", "ab": "there are " + newer} {
		got, err := findKey(k, typed)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

func TestAuditPages(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local) // as it is printed
	wantPage(t, `
There are older ones: --limit shows more.
TIME                 NODE       BY       KIND    WHAT
2026-11-23 12:00:00  edge-a1/1  ann      order   override all: nothing → site city-b · INC-7
2026-11-23 12:00:05  edge-a1/2  machine  health  http 10.1.8.10: up → down (stands for 3 more records)
`, func(p *page) {
		p.audit(api.AuditPage{More: true, Records: []api.AuditRecord{
			{Node: "edge-a1", Number: 2, At: noon.Add(5 * time.Second), Kind: "health", Subject: "http 10.1.8.10", Before: "up", After: "down", Folded: 3},
			{Node: "edge-a1", Number: 1, At: noon, Kind: "order", Author: "ann", Subject: "override all", After: "site city-b", Why: "INC-7"},
		}})
	})
	wantPage(t, `
NODE     CHAIN     RECORDS  HEAD
edge-a1  3f9a2c1b  1 to 9   abc   holds together
edge-b1  77d0e1aa  4 to 7   def   fork at 5: two records of one number
Not good: records are missing, altered or twice there.
`, func(p *page) {
		p.auditVerdict(api.AuditVerdict{Chains: []api.AuditChain{
			{Node: "edge-a1", Chain: "3f9a2c1b77", First: 1, Last: 9, Head: "abc"},
			{Node: "edge-b1", Chain: "77d0e1aa3f", First: 4, Last: 7, Head: "def", Problem: "fork at 5: two records of one number"},
		}})
	})
}

func TestSinceIsALengthOrATime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"":                          {},
		"24h":                       noon.Add(-24 * time.Hour),
		"2026-11-23T12:00:00Z":      noon,
		"2026-11-23T13:00:00+01:00": noon,
	} {
		if got, err := parseSince(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1h", "yesterday", "2026-11-23"} {
		if _, err := parseSince(text, noon); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
