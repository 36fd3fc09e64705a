package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/scloudstack/pharos/integration/lab/wan"
)

// Topology is what a lab consists of. Default is one to start from.
type Topology struct {
	Sites []SiteSpec
	Links []LinkSpec

	Mode    wan.Mode // of the emulator; empty: coarse
	Seed    uint64   // of its chances
	Reroute bool     // traffic goes the other way round while a link is cut

	Solo   bool   // every node knows itself alone, not the others
	Silent bool   // no node is started; tests start them
	Check  Check  // of all balancers and requirements
	TTL    string // of the service shop
	Return string // its way back, YAML

	Cluster map[string]string // more keys of the section cluster
	Node    map[string]string // more keys of the section node
	Extra   string            // more sections, YAML, as one that is included; {{dir}} in it is the node's folder
	Zone    string            // more records of shop.example

	Disk    int64  // octets: each node's data folder is a file system of its own, in memory; 0: it is a folder
	Program string // pharos; empty: $PHAROS, else bin/pharos of this module
}

// Check is how targets are probed.
type Check struct {
	Interval, Timeout time.Duration
	Fall, Rise        int
}

// SiteSpec is one site. Its number N gives it the network 10.N.0.0/16.
type SiteSpec struct {
	Name, Metro, Role string

	Number    int
	Nodes     []NodeSpec
	Balancers int    // the first is that of the service shop; 0: one
	Public    string // what shop answers with for this site; empty: the site has no endpoint
}

// NodeSpec is one node.
type NodeSpec struct {
	Name    string
	Program string            // in place of the topology's
	Env     []string          // beside the lab's own
	Roles   []string          // nil: the program's default
	Node    map[string]string // keys of the section node, beside the topology's
}

// LinkSpec is one link between two sites.
type LinkSpec struct {
	Name    string
	Between [2]string
	Kind    string
	To      wan.Impairment // in each direction
}

// Impairment is what a link does to what it carries.
type Impairment = wan.Impairment

// Default is three sites in a triangle of links, with a node each: two in one
// city 2 ms apart, and a remote one on standby, 40 ms away.
func Default() Topology {
	return Topology{
		Sites: []SiteSpec{
			{Name: "city-a", Metro: "city", Role: "production", Number: 1, Nodes: []NodeSpec{{Name: "edge-a1"}}, Public: "203.0.113.10"},
			{Name: "city-b", Metro: "city", Role: "production", Number: 2, Nodes: []NodeSpec{{Name: "edge-b1"}}, Public: "203.0.113.20"},
			{Name: "remote", Metro: "far", Role: "standby", Number: 9, Nodes: []NodeSpec{{Name: "edge-r1"}}, Public: "198.51.100.10"},
		},
		Links: []LinkSpec{
			{Name: "dwdm", Between: [2]string{"city-a", "city-b"}, Kind: "dwdm", To: Impairment{Delay: time.Millisecond}},
			{Name: "lease-1", Between: [2]string{"city-a", "remote"}, Kind: "leased-line", To: Impairment{Delay: 20 * time.Millisecond}},
			{Name: "lease-2", Between: [2]string{"city-b", "remote"}, Kind: "leased-line", To: Impairment{Delay: 20 * time.Millisecond}},
		},
		Check:  Check{Interval: 200 * time.Millisecond, Timeout: 150 * time.Millisecond, Fall: 3, Rise: 3},
		TTL:    "5s",
		Return: "{policy: hold, hold: 0s}",
	}
}

// WithNodes has n nodes in every site, named as the default's.
func (t Topology) WithNodes(n int) Topology {
	t.Sites = slices.Clone(t.Sites)
	for i, s := range t.Sites {
		letter := s.Name[len(s.Name)-1:]
		if s.Name == "remote" {
			letter = "r"
		}
		t.Sites[i].Nodes = nil
		for j := range n {
			t.Sites[i].Nodes = append(t.Sites[i].Nodes, NodeSpec{Name: fmt.Sprintf("edge-%s%d", letter, j+1)})
		}
	}
	return t
}

const (
	maxNumber = 254 // of a site: an octet of its addresses
	maxHosts  = 200 // nodes, or balancers, of one site
	maxDevice = 15  // characters in the name of a network device
)

func (t Topology) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	sites, nodes, links, numbers := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[int]bool{}
	for _, s := range t.Sites {
		if s.Name == "" || sites[s.Name] {
			bad("site %q: expected a name that no other has", s.Name)
		}
		if s.Number < 1 || s.Number > maxNumber || numbers[s.Number] {
			bad("site %s: number %d: expected 1 to %d, and that no other has it", s.Name, s.Number, maxNumber)
		}
		if s.Public != "" {
			if _, err := netip.ParseAddr(s.Public); err != nil {
				bad("site %s: public: %w", s.Name, err)
			}
		}
		if len(s.Nodes) > maxHosts || s.Balancers > maxHosts {
			bad("site %s: at most %d nodes and balancers", s.Name, maxHosts)
		}
		sites[s.Name], numbers[s.Number] = true, true
		for _, n := range s.Nodes {
			if n.Name == "" || nodes[n.Name] {
				bad("node %q of %s: expected a name that no other has", n.Name, s.Name)
			}
			nodes[n.Name] = true
		}
	}
	for _, l := range t.Links {
		if l.Name == "" || len(l.Name) > maxDevice || links[l.Name] || reserved(l.Name) {
			bad("link %q: expected a name of at most %d characters that no other and no device of the lab has", l.Name, maxDevice)
		}
		links[l.Name] = true
		if !sites[l.Between[0]] || !sites[l.Between[1]] || l.Between[0] == l.Between[1] {
			bad("link %s: between %v: expected two sites", l.Name, l.Between)
		}
	}
	return errors.Join(errs...)
}
