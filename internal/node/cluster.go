package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// ClusterStatus is every configured node as this one knows it.
func (n *Node) ClusterStatus(ctx context.Context) (api.ClusterStatus, error) {
	type held struct {
		decision policy.Status
		entries  map[policy.Kind]int
		parked   int
	}
	h, err := askLoop(ctx, n.loop, func(l *loop, now time.Time) held {
		h := held{decision: l.state.Status(now), entries: map[policy.Kind]int{}, parked: l.replica.Parked()}
		for s := range l.replica.Entries() {
			h.entries[s.Entry.Kind]++
		}
		return h
	})
	if err != nil {
		return api.ClusterStatus{}, err
	}
	d := h.decision
	c := api.ClusterStatus{
		Name: d.Cluster, Node: d.Node, Now: d.Now, Contact: d.Contact, Next: d.Next,
		Electorate: electorate(d), Conflicts: conflicts(d), Parked: h.parked, Entries: h.entries, Blocks: d.Blocks,
	}
	c.Majority = api.NewMajority(c.Electorate)
	c.Members = n.members(d)
	return c, nil
}

// members adds to what is decided with of each node how it is reached.
func (n *Node) members(d policy.Status) []api.Member {
	set := n.situation().running.settings
	keys := n.gossip.keysByNode()
	list := make([]api.Member, 0, len(d.Members))
	for _, m := range d.Members {
		to := api.NewMember(m, d.Node, isLost(d, m.Site))
		i := slices.IndexFunc(set.Nodes, func(c config.Node) bool { return c.Name == m.Node })
		if i >= 0 {
			to.Address, to.Problem = reach(set.Nodes[i], to.Self, n.gossip != nil)
		}
		for _, k := range keys[m.Node] {
			switch {
			case k.Sends:
				to.Keys = slices.Insert(to.Keys, 0, k.Fingerprint.String())
			case k.Installed:
				to.Keys = append(to.Keys, k.Fingerprint.String())
			}
		}
		list = append(list, to)
	}
	return list
}

// reach is where a node is reached, and why it is not spoken to, if so.
func reach(m config.Node, self, gossips bool) (address, problem string) {
	if m.Address.IsValid() {
		address = netip.AddrPortFrom(m.Address, m.Port).String()
	}
	switch {
	case self:
	case !gossips:
		problem = "this node has no gossip: cluster.keys_file is missing"
	case len(m.PublicKey) == 0:
		problem = "the configuration has no public_key of it"
	}
	return address, problem
}

// electorate is the sites with a node that probes.
func electorate(d policy.Status) []api.ElectorateSite {
	list := []api.ElectorateSite{}
	for _, s := range d.Sites {
		probes := slices.ContainsFunc(d.Members, func(m policy.MemberStatus) bool { return m.Site == s.Site && m.Probes })
		if s.Votes || s.Lost && probes {
			list = append(list, api.ElectorateSite{Site: s.Site, Heard: s.Heard, Silent: s.Silent, Abstains: s.Abstains, Lost: s.Lost})
		}
	}
	return list
}

func isLost(d policy.Status, site policy.SiteID) bool {
	return slices.ContainsFunc(d.Sites, func(s policy.SiteStatus) bool { return s.Site == site && s.Lost })
}

// conflicts are the alarms that tell of orders that met.
func conflicts(d policy.Status) []api.Conflict {
	list := []api.Conflict{}
	for _, a := range d.Alarms {
		if strings.HasPrefix(a.Cause, "conflict/") && !a.Acknowledged {
			list = append(list, api.Conflict{Cause: a.Cause, Text: a.Text, Since: a.Since})
		}
	}
	return list
}

// GossipKeys tells which node has which gossip key.
func (n *Node) GossipKeys(ctx context.Context) (api.GossipKeys, error) {
	d, err := n.decision(ctx)
	if err != nil {
		return api.GossipKeys{}, err
	}
	known := n.gossip.keysByNode()
	nodes := make([]api.NodeKeys, 0, len(d.Members))
	for _, m := range d.Members {
		to := api.NodeKeys{Node: m.Node, Site: m.Site, Self: m.Node == d.Node, Lost: isLost(d, m.Site), Keys: []api.NodeKey{}}
		keys, heard := known[m.Node]
		switch {
		case n.gossip == nil:
			to.Problem = "this node is alone: it has no gossip"
		case !heard:
			to.Problem = "it was not heard of"
		}
		for _, k := range keys {
			to.Unread = k.Unread
			to.Keys = append(to.Keys, api.NodeKey{
				Fingerprint: k.Fingerprint.String(), Taken: k.Installed, Sends: k.Sends, InFile: k.InFile, First: k.FirstInFile,
			})
		}
		nodes = append(nodes, to)
	}
	return api.NewGossipKeys(nodes), nil
}

// keysByNode are the gossip keys of the nodes that are seen; none without gossip.
func (g *gossip) keysByNode() map[policy.NodeID][]cluster.GossipKey {
	if on := g.current(); on != nil {
		return on.KeysByNode()
	}
	return nil
}

var errAlone = fmt.Errorf("%w: this node is alone: it has no gossip", api.ErrConflict)
