package cluster

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func TestABlockDropsTheAddressesOfItsNodesAlone(t *testing.T) {
	members := map[policy.NodeID]Member{
		"a1": {Site: "city-a", Address: "192.0.2.1:7946"},
		"a2": {Site: "city-a", Address: "192.0.2.9:7001"}, // behind the same NAT as b2
		"b1": {Site: "city-b", Address: "192.0.2.2:7946"},
		"b2": {Site: "city-b", Address: "192.0.2.9:7002"},
		"r1": {Site: "remote", Address: "[2001:db8::3]:7946"},
	}
	b := newBlockList(members, "a1", []policy.SiteID{"city-b"})
	for node, want := range map[policy.NodeID]bool{"a1": false, "a2": false, "b1": true, "b2": true, "r1": false} {
		if b.hasNode(node) != want {
			t.Errorf("%s is blocked: %v", node, !want)
		}
	}
	for addr, want := range map[string]bool{
		"192.0.2.2:7946": true, "192.0.2.2:51000": true, "[::ffff:192.0.2.2]:51000": true,
		"192.0.2.9:7002": true, "[::ffff:192.0.2.9]:7002": true, "192.0.2.9:7001": false, "192.0.2.9:51000": false,
		"192.0.2.1:7946": false, "[2001:db8::3]:7946": false,
	} {
		if b.hasAddr(netip.MustParseAddrPort(addr)) != want {
			t.Errorf("%s is blocked: %v", addr, !want)
		}
	}
	if b := newBlockList(members, "a1", []policy.SiteID{"city-b", "city-a"}); !b.hasAddr(netip.MustParseAddrPort("192.0.2.9:51000")) {
		t.Error("an address whose nodes are all blocked lets a stream in")
	}
	if b := newBlockList(members, "r1", []policy.SiteID{"remote"}); b.hasNode("r1") || b.hasAddr(netip.MustParseAddrPort("[2001:db8::3]:7946")) {
		t.Error("a node blocks itself")
	}
}

// TestABlockSparesTheOtherNodeOfAnAddress has two nodes of two sites behind one address: the one that is not blocked is heard.
func TestABlockSparesTheOtherNodeOfAnAddress(t *testing.T) {
	members := field(t, 3)
	n3 := members["n3"]
	n3.Address = netip.AddrPortFrom(netip.MustParseAddrPort(members["n2"].Address).Addr(), netip.MustParseAddrPort(n3.Address).Port()).String()
	members["n3"] = n3
	keys := keysFile(t, 1)
	a, c := startReal(t, "prod", 1, members, keys), startReal(t, "prod", 3, members, keys)
	eventually(t, "they see each other", 20*time.Second, allSee(1, a, c), a, c)
	a.g.Block([]policy.SiteID{"s2"})
	c.write("site/s3")
	eventually(t, "n1 holds what n3 wrote", 20*time.Second, allHold(1, a), a, c)
}

// TestABlockFollowsTheNodesOfANewConfiguration gives a node of a blocked site another address: it stays blocked, and its old
// address is free.
func TestABlockFollowsTheNodesOfANewConfiguration(t *testing.T) {
	members := field(t, 2)
	keys := keysFile(t, 1)
	a := startReal(t, "prod", 1, members, keys)
	a.g.Block([]policy.SiteID{"s2"})
	was := netip.MustParseAddrPort(members["n2"].Address)
	is := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), was.Port())
	moved := maps.Clone(members)
	n2 := moved["n2"]
	n2.Address = is.String()
	moved["n2"] = n2
	if err := a.g.SetMembers(moved); err != nil {
		t.Fatal(err)
	}
	if b := a.g.blocked.Load(); !b.hasAddr(is) || b.hasAddr(was) || !b.hasNode("n2") {
		t.Errorf("blocked: %s %v, %s %v, n2 %v; expected the new address and n2", is, b.hasAddr(is), was, b.hasAddr(was), b.hasNode("n2"))
	}
}
