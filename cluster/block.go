package cluster

import (
	"errors"
	"net/netip"

	"github.com/scloudstack/pharos/policy"
)

var errBlocked = errors.New("blocked by a drill")

// blockList is whose gossip is dropped, both ways. Entries and votes are signed, and dropped by their author's name.
// memberlist's own packets name nobody that could be proven; they are dropped by address, so that the membership loses sight
// of the nodes as well. It is never changed; nil blocks nobody.
type blockList struct {
	nodes map[policy.NodeID]bool
	addrs map[netip.AddrPort]bool // of the nodes
	hosts map[netip.Addr]bool     // whose every port is theirs: no other node of the configuration has the address
}

func (b *blockList) hasNode(node policy.NodeID) bool { return b != nil && b.nodes[node] }

// hasAddr says whether what comes from an address, or goes there, is dropped. What comes by a stream, or through a NAT, has
// another port than the configuration.
func (b *blockList) hasAddr(addr netip.AddrPort) bool {
	return b != nil && (b.addrs[unmapped(addr)] || b.hosts[addr.Addr().Unmap()])
}

func newBlockList(members map[policy.NodeID]Member, self policy.NodeID, sites []policy.SiteID) *blockList {
	b := &blockList{nodes: map[policy.NodeID]bool{}, addrs: map[netip.AddrPort]bool{}, hosts: map[netip.Addr]bool{}}
	for _, site := range sites {
		for id, m := range members {
			if m.Site != site || id == self {
				continue
			}
			b.nodes[id] = true
			if addr, err := netip.ParseAddrPort(m.Address); err == nil {
				b.addrs[unmapped(addr)], b.hosts[addr.Addr().Unmap()] = true, true
			}
		}
	}
	if len(b.nodes) == 0 {
		return nil
	}
	for id, m := range members {
		if addr, err := netip.ParseAddrPort(m.Address); err == nil && !b.nodes[id] {
			delete(b.hosts, addr.Addr().Unmap())
		}
	}
	return b
}

// unmapped is an IPv4 address in its short form, also where it came by a socket for IPv6.
func unmapped(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
