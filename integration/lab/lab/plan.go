package lab

import (
	"net/netip"
	"strings"
)

// Where things are in a site with number N:
//
//	10.N.0.1       the edge router           10.N.8.10 ...  balancers
//	10.N.0.5 ...   nodes                     10.N.9.1       clients
//	10.N.10.5 ...  nodes, to their clients   192.0.2.N      the Internet, behind the site's uplink
const (
	deviceUplink    = "uplink"
	deviceBalancers = "balancers"
	deviceClients   = "clients"
	deviceNode      = "node" // and a number
)

func reserved(device string) bool {
	return device == "lo" || device == deviceUplink || device == deviceBalancers || device == deviceClients || strings.HasPrefix(device, deviceNode)
}

func at(number int, third, fourth int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(number), byte(third), byte(fourth)})
}

func (s SiteSpec) network() netip.Prefix       { return netip.PrefixFrom(at(s.Number, 0, 0), 16) }
func (s SiteSpec) router() netip.Addr          { return at(s.Number, 0, 1) }
func (s SiteSpec) node(i int) netip.Addr       { return at(s.Number, 0, 5+i) }
func (s SiteSpec) balancer(i int) netip.Addr   { return at(s.Number, 8, 10+i) }
func (s SiteSpec) balancers() netip.Prefix     { return netip.PrefixFrom(at(s.Number, 8, 0), 24) }
func (s SiteSpec) clients() netip.Addr         { return at(s.Number, 9, 1) }
func (s SiteSpec) nodeAccess(i int) netip.Addr { return at(s.Number, 10, 5+i) }
func (s SiteSpec) outside() netip.Addr         { return netip.AddrFrom4([4]byte{192, 0, 2, byte(s.Number)}) }

// linkEnd is the address of one end of the i-th link, in the network of the
// links themselves.
func linkEnd(i, end int) netip.Addr {
	return netip.AddrFrom4([4]byte{172, 31, byte(i), byte(1 + end)})
}

// paths finds, for every two sites, the link that traffic from the first to the
// second leaves by: the way of the fewest links, of equal ones the first in the
// topology's order.
func (t Topology) paths(usable func(link string) bool) map[[2]string]string {
	all := map[[2]string]string{}
	for _, from := range t.Sites {
		first := map[string]string{from.Name: ""}
		for frontier := []string{from.Name}; len(frontier) > 0; {
			at := frontier[0]
			frontier = frontier[1:]
			for _, l := range t.Links {
				for end, site := range l.Between {
					next := l.Between[1-end]
					if _, known := first[next]; known || site != at || !usable(l.Name) {
						continue
					}
					if first[next] = first[at]; at == from.Name {
						first[next] = l.Name
					}
					all[[2]string{from.Name, next}] = first[next]
					frontier = append(frontier, next)
				}
			}
		}
	}
	return all
}
