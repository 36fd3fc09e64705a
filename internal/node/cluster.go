package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// What a node says of the others that hears none of them.

// ClusterStatus is every configured node as this one knows it.
func (n *Node) ClusterStatus(ctx context.Context) (api.ClusterStatus, error) {
	decision, err := n.decision(ctx)
	if err != nil {
		return api.ClusterStatus{}, err
	}
	return clusterStatus(n.situation(), decision), nil
}

func clusterStatus(s situation, decision policy.Status) api.ClusterStatus {
	set := s.running.settings
	c := api.ClusterStatus{
		Name: set.Policy.Cluster, Node: set.Node.Name, Now: time.Now(),
		Members: []api.Member{}, Conflicts: conflicts(decision), Blocked: []api.Block{},
	}
	for _, m := range set.Nodes {
		c.Members = append(c.Members, member(s, m, decision))
	}
	c.Electorate, c.Majority = electorate(set, decision)
	return c
}

// conflicts are the alarms that tell of orders that met.
func conflicts(decision policy.Status) []api.Conflict {
	list := []api.Conflict{}
	for _, a := range decision.Alarms {
		if strings.HasPrefix(a.Cause, "conflict/") && !a.Acknowledged {
			list = append(list, api.Conflict{Cause: a.Cause, Text: a.Text, Since: a.Since})
		}
	}
	return list
}

func member(s situation, m config.Node, decision policy.Status) api.Member {
	set := s.running.settings
	to := api.Member{Name: m.Name, Site: m.Site, State: api.NeverHeard}
	if m.Address.IsValid() {
		to.Address = netip.AddrPortFrom(m.Address, m.Port).String()
	}
	if m.Name != set.Node.Name {
		return to
	}
	digest := set.Digest()
	to.Self, to.State, to.Heard = true, api.Alive, time.Now()
	to.Suspects, to.Voting = decision.Suspects, m.Roles.Probe && decision.Suspects == ""
	to.Config = hex.EncodeToString(digest[:])
	to.Revision = revisionStatus(s.revision)
	return to
}

// electorate is the sites with a node that probes, less those that are lost.
func electorate(set *config.Settings, decision policy.Status) (api.Electorate, api.Majority) {
	e := api.Electorate{Sites: []api.ElectorateSite{}}
	var m api.Majority
	for _, site := range decision.Sites {
		probes := slices.ContainsFunc(set.Nodes, func(n config.Node) bool { return n.Site == site.Site && n.Roles.Probe })
		switch {
		case !probes:
		case site.Lost:
			e.Lost = append(e.Lost, site.Site)
		default:
			here := site.Site == set.Node.Site
			e.Sites = append(e.Sites, api.ElectorateSite{Site: site.Site, Voiced: here && decision.Suspects == ""})
			if m.Of++; here {
				m.Have++
			}
		}
	}
	m.Need = m.Of/2 + 1
	m.Margin = m.Have - m.Need
	m.Text = fmt.Sprintf("%d of %d sites in contact, %d needed", m.Have, m.Of, m.Need)
	return e, m
}

// spread notes who holds an order that this node has taken.
func (n *Node) spread(ctx context.Context, g api.Giving, rev *policy.Revision, result *api.OrderResult) {
	decision, err := n.decision(ctx)
	if err != nil {
		return // the order counts, and whoever gave it has gone
	}
	set := n.situation().running.settings
	for _, m := range set.Nodes {
		h := api.NodeHolds{Node: m.Name, Site: m.Site, Lost: isLost(decision, m.Site), Note: string(api.NeverHeard)}
		if m.Name == set.Node.Name {
			served := revisionStatus(rev)
			h.Self, h.Holds, h.Revision, h.Digest, h.Note = true, true, served.Number, served.Digest, ""
			if result.Partial != "" {
				h.Holds, h.Note = false, "in memory only"
			}
		}
		result.Nodes = append(result.Nodes, h)
	}
	if why := missing(result.Nodes); why != "" && g.Wait != api.WaitLocal && result.Partial == "" {
		result.Partial = why
	}
}

func isLost(decision policy.Status, site policy.SiteID) bool {
	return slices.ContainsFunc(decision.Sites, func(s policy.SiteStatus) bool { return s.Site == site && s.Lost })
}

// missing says which nodes that count do not hold an order; "": none.
func missing(all []api.NodeHolds) string {
	var names []string
	for _, h := range all {
		if !h.Holds && !h.Lost {
			names = append(names, fmt.Sprintf("%s in %s (%s)", h.Node, h.Site, h.Note))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "not held by " + strings.Join(names, ", ")
}

// checkBlock judges what policy has no say in: a drill.
func checkBlock(set *config.Settings, o policy.Order) error {
	switch {
	case !set.Cluster.Drills:
		return fmt.Errorf("%w: faults on purpose need cluster.drills: true in the configuration", api.ErrConflict)
	case !slices.ContainsFunc(set.Policy.Sites, func(s policy.Site) bool { return string(s.ID) == o.Key }):
		return fmt.Errorf("%w: no site %q in the configuration", api.ErrInvalid, o.Key)
	case o.Key == string(set.Node.Site):
		return fmt.Errorf("%w: site %s is this node's own", api.ErrInvalid, o.Key)
	case !o.Clear && o.For <= 0:
		return fmt.Errorf("%w: a block always ends by itself: say after how long (--for)", api.ErrInvalid)
	}
	return nil
}

// Audit lists what was done.
func (n *Node) Audit(context.Context, api.AuditQuery) (api.AuditPage, error) {
	return api.AuditPage{}, errNoAudit
}

// VerifyAudit checks the hash chains.
func (n *Node) VerifyAudit(context.Context) (api.AuditVerdict, error) {
	return api.AuditVerdict{}, errNoAudit
}

// GossipKeys tells which node has which gossip key.
func (n *Node) GossipKeys(context.Context) (api.GossipKeys, error) {
	set := n.situation().running.settings
	var nodes []api.NodeKeys
	for _, m := range set.Nodes {
		nodes = append(nodes, api.NodeKeys{
			Node: m.Name, Site: m.Site, Self: m.Name == set.Node.Name, Keys: []api.NodeKey{}, Problem: "this node is alone: it has no gossip",
		})
	}
	return api.NewGossipKeys(nodes), nil
}

// AddGossipKeys has every node read its keys_file again.
func (n *Node) AddGossipKeys(context.Context, string) (api.GossipKeys, error) {
	return api.GossipKeys{}, errAlone
}

// UseGossipKey has every node send with a key.
func (n *Node) UseGossipKey(context.Context, string, string) (api.GossipKeys, error) {
	return api.GossipKeys{}, errAlone
}

// RemoveGossipKey has every node forget a key.
func (n *Node) RemoveGossipKey(context.Context, string, string) (api.GossipKeys, error) {
	return api.GossipKeys{}, errAlone
}

var (
	errAlone   = fmt.Errorf("%w: this node is alone: it has no gossip", api.ErrConflict)
	errNoAudit = fmt.Errorf("%w: this node keeps no audit", api.ErrDegraded)
)
