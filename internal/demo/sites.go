package demo

import (
	"net/netip"
	"slices"
)

// site is one of the three: a node, and a load balancer on an address of its own.
type site struct {
	name    string
	role    string
	metro   string
	address netip.Addr // of the balancer
	node    string
	at      netip.Addr // of the node
}

var sites = []site{
	{"city-a", "production", "city", netip.MustParseAddr("127.0.1.1"), "edge-a", netip.MustParseAddr("127.0.0.1")},
	{"city-b", "production", "city", netip.MustParseAddr("127.0.2.1"), "edge-b", netip.MustParseAddr("127.0.0.2")},
	{"remote", "standby", "far", netip.MustParseAddr("127.0.3.1"), "edge-r", netip.MustParseAddr("127.0.0.3")},
}

// link joins two sites. What is cut is cut by the nodes at its ends.
type link struct {
	name    string
	between [2]string
}

var links = []link{
	{"dwdm", [2]string{"city-a", "city-b"}},
	{"lease-1", [2]string{"city-a", "remote"}},
	{"lease-2", [2]string{"city-b", "remote"}},
}

// DefaultNode is the node that commands speak to unless told otherwise.
const DefaultNode = "edge-a"

// Sites are the names of the demo's sites.
func Sites() []string {
	var names []string
	for _, s := range sites {
		names = append(names, s.name)
	}
	return names
}

// Links are the names of the links between them.
func Links() []string {
	var names []string
	for _, l := range links {
		names = append(names, l.name)
	}
	return names
}

// linksOf are the link of a name, or all links of a site; none: there is no such thing.
func linksOf(name string) []string {
	var found []string
	for _, l := range links {
		if l.name == name || slices.Contains(l.between[:], name) {
			found = append(found, l.name)
		}
	}
	return found
}

// cutFrom are the sites that a site does not reach while links are cut.
func cutFrom(name string, cut []string) []string {
	var far []string
	for _, l := range links {
		if !slices.Contains(cut, l.name) {
			continue
		}
		switch name {
		case l.between[0]:
			far = append(far, l.between[1])
		case l.between[1]:
			far = append(far, l.between[0])
		}
	}
	return far
}
