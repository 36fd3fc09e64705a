package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// ackPoll is how often it is looked who holds an order.
const ackPoll = 20 * time.Millisecond

// holders is who holds an order, as the loop knows it.
type holders struct {
	now   time.Time
	ttl   time.Duration // of votes
	peers []cluster.Peer
	acks  map[policy.NodeID]cluster.Ack
	lost  map[policy.SiteID]bool
	rev   *policy.Revision
}

// holders asks who has acknowledged all of an order's entries.
func (n *Node) holders(ctx context.Context, stamps []policy.Stamp) (holders, error) {
	return askLoop(ctx, n.loop, func(l *loop, now time.Time) holders {
		h := holders{now: now, ttl: l.deployed.settings.Policy.VoteTTL, peers: l.replica.Peers(), acks: map[policy.NodeID]cluster.Ack{}, lost: map[policy.SiteID]bool{}, rev: l.revision}
		for _, a := range l.replica.Acked(stamps...) {
			h.acks[a.Node] = a
		}
		for _, m := range l.deployed.settings.Nodes { // also those that are no peers, for want of a key
			h.lost[m.Site] = l.state.IsLost(m.Site)
		}
		return h
	})
}

// waits says whether a peer's word is still to come.
func (h holders) waits(w api.Wait) bool {
	return slices.ContainsFunc(h.peers, func(p cluster.Peer) bool {
		if _, ok := h.acks[p.Node]; ok || h.lost[p.Site] {
			return false
		}
		return w == api.WaitAll || w == api.WaitReachable && (p.Up || h.hears(p))
	})
}

// hears says whether a peer's votes come, which the membership may take longer to notice.
func (h holders) hears(p cluster.Peer) bool { return !p.Heard.IsZero() && h.now.Sub(p.Heard) <= h.ttl }

// spread waits for the other nodes to hold an order, and notes which do.
func (n *Node) spread(ctx context.Context, g api.Giving, sealed []*cluster.Sealed, result *api.OrderResult) {
	limit := time.NewTimer(g.WaitFor)
	defer limit.Stop()
	tick := time.NewTicker(ackPoll)
	defer tick.Stop()
	var stamps []policy.Stamp
	for _, s := range sealed {
		stamps = append(stamps, s.Entry.Stamp)
	}
	h, err := n.holders(ctx, stamps)
	for waiting := true; err == nil && waiting && h.waits(g.Wait); {
		select {
		case <-tick.C:
			h, err = n.holders(ctx, stamps)
		case <-limit.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	if err != nil {
		return // the order counts, and whoever gave it has gone
	}
	set := n.situation().running.settings
	for _, m := range set.Nodes {
		to := api.NodeHolds{Node: m.Name, Site: m.Site, Lost: h.lost[m.Site]}
		ack, acked := h.acks[m.Name]
		switch {
		case m.Name == set.Node.Name:
			served := revisionStatus(h.rev)
			to.Self, to.Holds, to.Revision, to.Digest = true, true, served.Number, served.Digest
			if result.Partial != "" {
				to.Holds, to.Note = false, "in memory only"
			}
		case acked:
			to.Holds, to.Revision, to.Digest = true, ack.Revision, hex.EncodeToString(ack.Digest[:])
		default:
			to.Note = h.silence(m.Name)
		}
		result.Nodes = append(result.Nodes, to)
	}
	if why := missing(result.Nodes); why != "" && g.Wait != api.WaitLocal && result.Partial == "" {
		result.Partial = why
	}
}

// silence is why a node has not said that it holds an order, in the words of status: the
// membership believes a dead node alive for longer than its votes count.
func (h holders) silence(id policy.NodeID) string {
	i := slices.IndexFunc(h.peers, func(p cluster.Peer) bool { return p.Node == id })
	if i < 0 {
		return "it has no public_key in the configuration"
	}
	p := h.peers[i]
	switch age := h.now.Sub(p.Heard); {
	case p.Up && p.Heard.IsZero(), h.hears(p):
		return "in contact, no word yet"
	case p.Heard.IsZero():
		return string(api.NeverHeard)
	default:
		return "silent for " + api.Duration(age.Round(time.Second)).String()
	}
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
