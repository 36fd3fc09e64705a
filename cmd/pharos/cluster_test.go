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
func cutOff() policy.Status {
	alike := policy.MemberStatus{
		Site: "remote", Probes: true, Heard: true, Revision: 1812, Digest: "810c74bd00",
		SameAnswers: true, SameConfig: true, SameZones: true,
	}
	is := func(name policy.NodeID, change func(m *policy.MemberStatus)) policy.MemberStatus {
		m := alike
		m.Node = name
		change(&m)
		return m
	}
	return policy.Status{
		Cluster: "prod", Node: "edge-r1", Now: noon,
		Contact: "2 of 3 sites silent for 4m, no majority, serving revision 1812",
		Next:    []string{"pharos site lost city-a city-b --reason ..."},
		Members: []policy.MemberStatus{
			is("edge-a1", func(m *policy.MemberStatus) {
				m.Site, m.Heard, m.Age, m.SameConfig = "city-a", false, 4*time.Minute, false
			}),
			is("edge-b1", func(m *policy.MemberStatus) { m.Site, m.Heard, m.Revision, m.SameAnswers = "city-b", false, 0, false }),
			is("edge-r1", func(*policy.MemberStatus) {}),
			is("edge-r2", func(m *policy.MemberStatus) {
				m.Held, m.SameAnswers, m.SameConfig, m.SameZones = true, false, false, false
			}),
			is("edge-r3", func(m *policy.MemberStatus) { m.Suspect = true }),
			is("edge-r4", func(m *policy.MemberStatus) { m.Decides, m.Probes = false, false }),
			is("edge-r5", func(m *policy.MemberStatus) { m.Decides = true }),
		},
		Sites: []policy.SiteStatus{
			{Site: "city-a", Votes: true, Silent: noon.Add(-4 * time.Minute)},
			{Site: "city-b", Votes: true},
			{Site: "remote", Votes: true, Heard: true},
			{Site: "city-c", Lost: true, LostBy: policy.WordStatus{Author: "bob", Reason: "fire", Given: noon.Add(-time.Hour)}},
		},
		Services: []policy.ServiceStatus{{
			Service: "shop", ActiveMetro: "far", MovedBy: policy.WordStatus{Author: "ann", Reason: "flood", Given: noon.Add(-time.Minute)},
		}},
		Blocks: []policy.BlockStatus{
			{Node: "edge-r1", Site: "city-a", Author: "ann", Reason: "drill", Expires: noon.Add(2 * time.Minute)},
			{Node: "edge-r1", Site: "city-b", Author: "ann", Reason: "drill", Expires: noon.Add(2 * time.Minute), Off: true},
		},
	}
}

func TestClusterPage(t *testing.T) {
	d := cutOff()
	hour := api.Duration(time.Hour)
	s := api.ClusterStatus{
		Name: d.Cluster, Node: d.Node, Now: d.Now, Contact: d.Contact, Next: d.Next, Blocks: d.Blocks, Members: members(d),
		Electorate: []api.ElectorateSite{
			{Site: "city-a", Silent: noon.Add(-4 * time.Minute)}, {Site: "city-b"}, {Site: "remote", Heard: true}, {Site: "city-c", Lost: true},
		},
		Conflicts: []api.Conflict{{Cause: "conflict/override/all", Text: "two orders met", Since: noon.Add(-time.Minute)}},
		Parked:    3,
		Entries:   map[policy.Kind]int{policy.KindMove: 12, policy.KindDrain: 1},
	}
	s.Majority = api.NewMajority(s.Electorate)
	s.Members[1].Problem = "the configuration has no public_key of it"
	s.Members[5].Lost = true
	s.Members[6].Offset = &hour
	wantPage(t, `
cluster prod · as edge-r1 knows it
1 of 3 sites speaks, 2 needed: nothing can be decided
2 of 3 sites silent for 4m, no majority, serving revision 1812

ELECTORATE
  city-a  silent for 4m
  city-b  silent
  remote  speaks
  city-c  declared lost, does not count

NODES
  NODE     SITE    STATE          REVISION
  edge-a1  city-a  silent for 4m  1812 (810c74bd)
  edge-b1  city-b  never heard                     the configuration has no public_key of it
  edge-r1  remote  this node      1812 (810c74bd)  hears no majority
  edge-r2  remote  alive          1812 (810c74bd)  held: answers no steered name · other answers · other configuration · other zones
  edge-r3  remote  alive          1812 (810c74bd)  suspects itself, abstains
  edge-r4  remote  alive          1812 (810c74bd)  its site is declared lost
  edge-r5  remote  alive          1812 (810c74bd)  clock +1h

DRILLS
  edge-r1 does not hear city-a for 2m more, by ann: drill
  edge-r1 hears city-b: cluster.drills is false (2m left of the drill, by ann: drill)

CONFLICTS
  conflict/override/all  two orders met (for 1m)
    → pharos alarm ack conflict/override/all

ENTRIES
  drain   1
  move    12
  parked  3 wait until the configuration knows who signed them

Next: pharos site lost city-a city-b --reason ...
`, func(p *page) { p.cluster(s) })
}

func TestMajorityInWords(t *testing.T) {
	site := func(id policy.SiteID, heard bool) api.ElectorateSite {
		return api.ElectorateSite{Site: id, Heard: heard}
	}
	for want, sites := range map[string][]api.ElectorateSite{
		"1 of 1 site speaks, 1 needed: it decides alone\n":                                 {site("a", true)},
		"2 of 3 sites speak, 2 needed: one more silent site, and nothing can be decided\n": {site("a", true), site("b", true), site("c", false)},
		"3 of 3 sites speak, 2 needed: 1 more site may fall silent\n":                      {site("a", true), site("b", true), site("c", true)},
		"1 of 2 sites speaks, 2 needed: nothing can be decided\n":                          {site("a", true), {Site: "b", Heard: true, Abstains: true}},
		"2 of 2 sites speak, 2 needed: one more silent site, and nothing can be decided\n": {site("a", true), site("b", true), {Site: "c", Lost: true}},
	} {
		if got := printed(func(p *page) { p.majority(api.NewMajority(sites)) }); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestStatusSaysWhatKeepsTheNodeFromDeciding wants the sentence at the top, and
// the command at the bottom.
func TestStatusSaysWhatKeepsTheNodeFromDeciding(t *testing.T) {
	s := api.Status{Node: api.NodeStatus{Name: "edge-r1", Site: "remote", Now: noon, Readiness: api.Readiness{Ready: true}}, Decision: cutOff()}
	s.Decision.Held, s.Decision.Suspects = "it started with an empty folder", "none of its probes succeeds"
	text := printed(func(p *page) { p.status(s) })
	top, _, _ := strings.Cut(text, "SITES")
	for _, want := range []string{
		"\n2 of 3 sites silent for 4m, no majority, serving revision 1812\n",
		"\nheld, answers no steered name: it started with an empty folder\n",
		"\nsuspects itself and abstains: none of its probes succeeds\n",
	} {
		if !strings.Contains(top, want) {
			t.Errorf("not at the top: %q in\n%s", want, text)
		}
	}
	for _, want := range []string{"\nNext: pharos site lost city-a city-b --reason ...\n", "\nDRILLS\n", "  edge-b1  city-b  never heard\n", `
ORDERS
  site lost  city-c                by bob 1h ago: fire
  failover   service/shop  to far  by ann 1m ago: flood
`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if !strings.HasPrefix(text, "edge-r1 in remote · held · ") {
		t.Errorf("the first line does not say that it is held:\n%s", text)
	}
	s.Decision.Members = s.Decision.Members[2:3]
	if text := printed(func(p *page) { p.status(s) }); strings.Contains(text, "NODES") {
		t.Errorf("a node that is alone needs no table:\n%s", text)
	}
}

func TestExplainShowsWhoSaysWhat(t *testing.T) {
	e := policy.Explanation{
		Name: "www.shop.example.", Service: "shop", Now: noon, Answer: "203.0.113.20 (city-b, up)", Rule: "move", Metro: "city",
		Rests: &policy.Entry{Kind: policy.KindMove, Key: "shop/0", Stamp: policy.Stamp{Wall: noon.UnixMilli(), Node: "edge-b1"}},
		Candidates: []policy.EndpointStatus{{
			Sites: []policy.SiteID{"city-a"}, Addresses: []string{"203.0.113.10"}, Health: policy.Down, Candidate: true,
			Targets: []policy.TargetStatus{
				{Label: "http 10.1.8.10", Health: policy.Down, Seen: noon.Add(-time.Second), Votes: []policy.SiteVote{
					{Site: "city-a", Voice: policy.Down, Counts: true, Nodes: []policy.NodeVote{
						{Node: "edge-a1", State: policy.Down, Heard: true, Age: 300 * time.Millisecond, Reason: "refused by 10.1.8.10:443"},
						{Node: "edge-a2", State: policy.Unknown, Why: "silent", Age: 4 * time.Minute},
					}},
					{Site: "city-b", Voice: policy.Unknown, Counts: true, Nodes: []policy.NodeVote{{Node: "edge-b1", State: policy.Up, Why: "suspects itself", Reason: "200"}}},
					{Site: "remote", Voice: policy.Up, Nodes: []policy.NodeVote{{Node: "edge-r1", State: policy.Up, Heard: true}}},
				}},
				{Label: "tcp 10.1.8.10", Health: policy.Up, Seen: noon, Votes: []policy.SiteVote{{Site: "city-a", Nodes: []policy.NodeVote{{Node: "edge-a1"}}}}},
			},
		}},
	}
	text := printed(func(p *page) { p.explanation(e) })
	_, got, _ := strings.Cut(text, "ENDPOINTS\n")
	want := `  203.0.113.10 in city-a · down · candidate
      http 10.1.8.10  down    1s ago
        city-a  down            edge-a1  down     300ms old  refused by 10.1.8.10:443
                                edge-a2  unknown  4m old     silent
        city-b  no voice        edge-b1  up       now        suspects itself · 200
        remote  does not count  edge-r1  up       now
      tcp 10.1.8.10  up    0ms ago
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(text, "  rests on  move shop/0, written on edge-b1 at ") {
		t.Errorf("no entry:\n%s", text)
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
	wantPage(t, "Stored, by ann.\nBoth orders stay in the audit: pharos audit list --kind order\n", func(p *page) {
		p.orderResult(api.OrderRequest{Kind: policy.KindAck, Key: "conflict/override/all"}, res)
	})
}

// TestAckOfTheNodesOwnAlarm wants it said that no other node knows of it.
func TestAckOfTheNodesOwnAlarm(t *testing.T) {
	res := api.OrderResult{Author: "ann", Local: true}
	r := api.OrderRequest{Kind: policy.KindAck, Key: "disk"}
	wantPage(t, "Done: alarm disk acknowledged, by ann, on this node alone and until it restarts: the alarm is its own.\n",
		func(p *page) { p.orderResult(r, res) })
	r.Clear = true
	wantPage(t, "Done: alarm disk no longer acknowledged, by ann, on this node alone: the alarm is its own.\n",
		func(p *page) { p.orderResult(r, res) })
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
		{Node: "edge-b2", Site: "city-b", Unread: true, Keys: []api.NodeKey{{Fingerprint: older, Taken: true, Sends: true, InFile: true, First: true}, {Fingerprint: newer, Taken: true, InFile: true}}},
		{Node: "edge-r1", Site: "remote", Lost: true},
	})
	wantPage(t, `
KEY               SENT WITH BY
3f9a2c1b77d0e1aa  nobody                     not confirmed by edge-b1
77d0e1aa3f9a2c1b  edge-a1, edge-b1, edge-b2  in no keys_file on edge-b1: a restart there loses it

NODES
  NODE     SITE    KEYS
  edge-a1  city-a  3f9a2c1b (first in the keys_file) · 77d0e1aa (sends, but not after a restart: it is not first in the keys_file)
  edge-b1  city-b  77d0e1aa (sends) · 3f9a2c1b (in the keys_file, not read yet)
  edge-b2  city-b  77d0e1aa (sends) · 3f9a2c1b · its keys_file could not be read: see its alarm gossip-keys
  edge-r1  remote  its site is declared lost: nobody waits for it
`, func(p *page) { p.gossipKeys(k) })

	if text := unconfirmed(k); text != "edge-b1 has not confirmed 3f9a2c1b77d0e1aa" {
		t.Errorf("got %q", text)
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
			{Node: "edge-a1", Chain: "edge-a1/3f9a2c1b77", First: 1, Last: 9, Head: "abc"},
			{Node: "edge-b1", Chain: "edge-b1/77d0e1aa3f", First: 4, Last: 7, Head: "def", Problem: "fork at 5: two records of one number"},
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

func TestSiteState(t *testing.T) {
	requires := []policy.RequirementStatus{{Name: "uplink"}}
	silent := policy.SiteStatus{Votes: true, Silent: noon.Add(-4 * time.Minute)}
	for want, s := range map[string]policy.SiteStatus{
		"lost":            {Lost: true, Drained: true},
		"drained":         {Drained: true, Votes: true},
		"silent for 4m":   silent,
		"down":            {Votes: true, Health: policy.Down, Requires: requires, Silent: silent.Silent},
		"up":              {Votes: true, Heard: true, Health: policy.Up, Requires: requires},
		"heard":           {Votes: true, Heard: true},
		"suspects itself": {Votes: true, Heard: true, Abstains: true, Requires: requires},
		"not judged":      {},
	} {
		if got := string(siteState(s, noon).text); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

func TestUnknownEndpointsAreNotCalledDown(t *testing.T) {
	of := func(states ...policy.HealthState) []policy.ServiceStatus {
		var s policy.ServiceStatus
		for _, h := range states {
			s.Endpoints = append(s.Endpoints, policy.EndpointStatus{Sites: []policy.SiteID{"city-a"}, Health: h})
		}
		return []policy.ServiceStatus{s}
	}
	for want, services := range map[string][]policy.ServiceStatus{
		"none": nil, "2 up": of(policy.Up, policy.Up), "1 of 2 up": of(policy.Up, policy.Unknown),
		"0 of 2 up": of(policy.Down, policy.Unknown), "2 unknown": of(policy.Unknown, policy.Unknown),
	} {
		if got := string(endpointsUp(services, "city-a").text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	seen := policy.EndpointStatus{Health: policy.Unknown, Detail: "down"}
	if got, want := endpointNotes(seen), "down for this node"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSentencesAreBrokenOnATerminal wants a line that is too long broken there, and whole for grep.
func TestSentencesAreBrokenOnATerminal(t *testing.T) {
	text := strings.TrimSpace(strings.Repeat("four ", 20))
	if got := (&page{}).wrap(text, 10, 4); string(got) != text {
		t.Errorf("without a terminal: %q", got)
	}
	for i, line := range strings.Split(string((&page{width: 50}).wrap(text, 10, 4)), "\n") {
		n := len(line)
		if i == 0 {
			n += 10
		} else if !strings.HasPrefix(line, "    four") {
			t.Errorf("%q is not indented", line)
		}
		if n > 50 || strings.HasSuffix(line, " ") {
			t.Errorf("%q has %d columns", line, n)
		}
	}
}

func TestStatusDoesNotProposeItself(t *testing.T) {
	s := api.Status{Node: api.NodeStatus{Now: noon}, Decision: policy.Status{Next: []string{"pharos status", "pharos explain www.shop.example."}}}
	if text := printed(func(p *page) { p.status(s) }); !strings.HasSuffix(text, "\nNext: pharos explain www.shop.example.\n") {
		t.Errorf("got\n%s", text)
	}
}
