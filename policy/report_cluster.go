package policy

import (
	"encoding/hex"
	"strings"
	"time"
)

// members are the nodes of the configuration as this one knows them.
func (s *State) members(now time.Time) []MemberStatus {
	list := make([]MemberStatus, 0, len(s.peers))
	for n := range s.peers {
		p, node := &s.peers[n], s.ix.nodes[n]
		v := p.vote
		if n == s.ix.self {
			v = Vote{
				Suspect: !s.suspect.IsZero(), Held: s.hold != nil, Decides: s.decides(), Unheld: s.unheld(),
				Revision: s.rev.Number, Digest: [8]byte(s.rev.Digest[:8]), Config: s.ix.cfg.Digest, Zones: s.zones,
			}
		}
		m := MemberStatus{
			Node: node.ID, Site: node.Site, Probes: node.Probes, Heard: p.live, Since: p.since,
			Suspect: v.Suspect, Held: v.Held, Unheld: v.Unheld, Decides: v.Decides && p.live, Revision: v.Revision,
			SameAnswers: v.Digest == [8]byte(s.rev.Digest[:8]),
			SameConfig:  same(v.Config, s.ix.cfg.Digest), SameZones: same(v.Zones, s.zones),
		}
		if n == s.ix.self || v.Counter > 0 {
			m.Digest = hex.EncodeToString(v.Digest[:])
		}
		if n != s.ix.self && !p.heard.IsZero() {
			m.Age = now.Sub(p.heard)
		}
		list = append(list, m)
	}
	return list
}

// same compares digests of which either may not be told.
func same(a, b [8]byte) bool { return a == b || a == [8]byte{} || b == [8]byte{} }

// voteStatus is what each site says of a target; of a requirement its own site's word alone.
func (s *State) voteStatus(i, only int) []SiteVote {
	var list []SiteVote
	for site, nodes := range s.ix.probers {
		if len(nodes) == 0 || only >= 0 && site != only {
			continue
		}
		sv := SiteVote{Site: s.ix.sites[site].ID, Voice: s.siteVoice(site, i).voice(), Counts: s.seated[site]}
		for _, n := range nodes {
			sv.Nodes = append(sv.Nodes, s.nodeVote(n, i))
		}
		list = append(list, sv)
	}
	return list
}

func (s *State) nodeVote(n, i int) NodeVote {
	p := &s.peers[n]
	v := NodeVote{Node: s.ix.nodes[n].ID, State: p.states.At(i), Heard: p.live}
	if n == s.ix.self {
		t := &s.targets[i]
		v.Reason, v.Since = t.reason, t.since
	} else if !p.heard.IsZero() {
		v.Age = s.now.Sub(p.heard)
		for _, r := range p.reasons {
			if r.Target == s.ix.targets[i].ID && r.State == v.State {
				v.Reason, v.Since = r.Text, r.Since
			}
		}
	}
	switch {
	case !p.live:
		v.Why = "silent"
	case p.vote.Suspect:
		v.Why = "suspects itself"
	case v.State == Unknown && p.states.raw(i) != unsure:
		v.Why = "does not probe it"
	case v.State == Unknown:
		v.Why = "not sure"
	case s.votes(n, i) == Unknown:
		v.Why = "from before this node's first failing probe"
	}
	return v
}

func (s *State) blockStatus() []BlockStatus {
	list := []BlockStatus{}
	for _, e := range s.orders.blocks {
		node, site, _ := strings.Cut(e.Key, "/")
		list = append(list, BlockStatus{
			Node: NodeID(node), Site: SiteID(site), Author: e.Author, Reason: e.Reason, Given: e.Stamp.Time(), Expires: e.Expires,
			Off: !s.ix.cfg.Drills,
		})
	}
	return list
}
