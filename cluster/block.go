package cluster

import (
	"errors"
	"net/netip"

	"github.com/scloudstack/pharos/policy"
)

var errBlocked = errors.New("blocked by a drill")

// blockList is whose gossip is dropped, both ways. It is never changed; nil blocks nobody.
type blockList struct {
	nodes map[policy.NodeID]bool
	addrs map[netip.Addr]bool
}

func (b *blockList) hasNode(node policy.NodeID) bool { return b != nil && b.nodes[node] }

func (b *blockList) hasAddr(addr netip.Addr) bool { return b != nil && b.addrs[addr] }

func newBlockList(members map[policy.NodeID]Member, self policy.NodeID, sites []policy.SiteID) *blockList {
	b := &blockList{nodes: map[policy.NodeID]bool{}, addrs: map[netip.Addr]bool{}}
	own := hostOf(members[self]) // nodes that share it are blocked by name alone
	for _, site := range sites {
		for id, m := range members {
			if m.Site != site || id == self {
				continue
			}
			b.nodes[id] = true
			if host := hostOf(m); host.IsValid() && host != own {
				b.addrs[host] = true
			}
		}
	}
	if len(b.nodes) == 0 {
		return nil
	}
	return b
}

func hostOf(m Member) netip.Addr {
	addr, err := netip.ParseAddrPort(m.Address)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}
