package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/hashicorp/memberlist"

	"github.com/scloudstack/pharos/policy"
)

// delegate is what memberlist asks and tells. It is called on memberlist's goroutines, partly under its lock, and calls
// nothing of memberlist.
type delegate struct{ g *Gossip }

// NodeMeta is what this node tells of itself.
func (d delegate) NodeMeta(limit int) []byte {
	b := d.g.ownMeta().encode()
	if len(b) > limit {
		d.g.log.Error("gossip metadata is too long and is not sent", "octets", len(b), "at_most", limit)
		return nil
	}
	return b
}

// NotifyMsg takes a packet: it is decoded and verified here, and queued for the node's loop.
func (d delegate) NotifyMsg(b []byte) { d.g.receive(append([]byte(nil), b...)) }

// GetBroadcasts: entries do not go by memberlist's own gossip.
func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState: push/pull carries the membership alone.
func (d delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState: see LocalState.
func (d delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive refuses a node that is not what the configuration says.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if err := d.g.judge(n); err != nil {
		d.g.refuse(n.Name, addressOf(n), err)
		return err
	}
	return nil
}

// NotifyMerge refuses to join with nodes of another cluster or another protocol, and to be the second of a name: what is one
// node's fault alone is NotifyAlive's.
func (d delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.State != memberlist.StateAlive {
			continue
		}
		if err := d.g.judgeCluster(n); err != nil {
			d.g.refuse(n.Name, addressOf(n), err)
			return err
		}
		if n.Name == string(d.g.self) && addressOf(n) != d.g.settings.Load().own.String() {
			err := fmt.Errorf("it bears this node's name: two nodes are started as %s", n.Name)
			d.g.refuse(n.Name, addressOf(n), err)
			return err
		}
	}
	return nil
}

// NotifyConflict tells of a second node of one name; memberlist keeps the first.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.g.refuse(other.Name, addressOf(other), fmt.Errorf("a node of this name is at %s already", addressOf(existing)))
}

// NotifyJoin tells that a node is there.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.g.alive(n, true) }

// NotifyUpdate tells of new metadata.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.g.alive(n, true) }

// NotifyLeave tells that a node is gone.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.g.alive(n, false) }

func addressOf(n *memberlist.Node) string {
	addr, ok := netip.AddrFromSlice(n.Addr)
	if !ok {
		return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
	}
	return unmapped(netip.AddrPortFrom(addr, n.Port)).String()
}

func (g *Gossip) judgeCluster(n *memberlist.Node) error {
	m, err := decodeMeta(n.Meta)
	switch {
	case err != nil:
		return fmt.Errorf("its metadata can't be read: %w", err)
	case m.cluster != g.cluster:
		return fmt.Errorf("it belongs to cluster %q, this node to %q", m.cluster, g.cluster)
	case !m.understood():
		return fmt.Errorf("it speaks protocol versions %d to %d, this node %d to %d", m.least, m.most, oldestProtocol, protocolVersion)
	}
	return nil
}

func (g *Gossip) judge(n *memberlist.Node) error {
	if err := g.judgeCluster(n); err != nil {
		return err
	}
	s := g.settings.Load()
	member, known := s.members[policy.NodeID(n.Name)]
	meta, _ := decodeMeta(n.Meta)
	switch want := s.addrs[policy.NodeID(n.Name)]; {
	case !known:
		return fmt.Errorf("no node of this name is in the configuration")
	case addressOf(n) != want.String():
		return fmt.Errorf("the configuration has it at %s: two nodes may be started as %s", want, n.Name)
	case meta.key != keyPrint(member.PublicKey):
		return fmt.Errorf("it signs with another key than the configuration names")
	}
	if meta.site != member.Site {
		g.complain("site "+n.Name, "gossip: a node and the configuration disagree about its site",
			"node", n.Name, "its_word", meta.site, "configured", member.Site)
	}
	return nil
}
