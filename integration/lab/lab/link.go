package lab

import (
	"fmt"
	"net/netip"

	"github.com/scloudstack/pharos/integration/lab/wan"
)

// Link is one wire through the emulator: a link between two sites, a site's
// uplink, or the cable of a node or of a site's balancers.
type Link struct {
	lab       *Lab
	name      string
	wire      string
	ends      [2]string // sites; of an uplink and a cable, the second is what hangs there
	spec      LinkSpec  // of a link between sites
	between   bool      // a link between sites
	addresses [2]netip.Addr
	cuts      [2]bool // by the end that frames enter by
}

// Name is the link's name in the topology.
func (k *Link) Name() string { return k.name }

// end is 0 or 1.
func (k *Link) end(site string) int {
	k.lab.t.Helper()
	for e, name := range k.ends {
		if name == site {
			return e
		}
	}
	k.lab.t.Fatalf("lab: %s does not begin at %q, but at %q", k.name, site, k.ends)
	panic("unreachable")
}

var sides = [2]wan.Side{wan.A, wan.B}

// Cut has all frames vanish, those on their way too. The carrier stays.
func (k *Link) Cut() {
	k.lab.t.Helper()
	k.setCuts([2]bool{true, true})
}

// CutFrom has the frames vanish that come from one site (of a node's cable, by
// the node's name: from the node); the others pass.
func (k *Link) CutFrom(site string) {
	k.lab.t.Helper()
	cuts := k.cuts
	cuts[k.end(site)] = true
	k.setCuts(cuts)
}

// Mend ends all cuts.
func (k *Link) Mend() {
	k.lab.t.Helper()
	k.setCuts([2]bool{})
}

// MendFrom ends the cut of what comes from one site.
func (k *Link) MendFrom(site string) {
	k.lab.t.Helper()
	cuts := k.cuts
	cuts[k.end(site)] = false
	k.setCuts(cuts)
}

func (k *Link) setCuts(cuts [2]bool) {
	k.lab.t.Helper()
	for e, cut := range cuts {
		if cut == k.cuts[e] {
			continue
		}
		if cut {
			k.lab.must(k.lab.wan.Cut(k.wire, sides[e]))
		} else {
			k.lab.must(k.lab.wan.Mend(k.wire, sides[e]))
		}
		k.cuts[e] = cut
	}
	if k.between && k.lab.topology.Reroute {
		k.lab.must(k.lab.route(func(link string) bool { return k.lab.Link(link).cuts == [2]bool{} }))
	}
}

// Set says what the link does from now on to what it carries, both ways. Cuts
// are apart from it.
func (k *Link) Set(to Impairment) {
	k.lab.t.Helper()
	k.lab.must(k.lab.wan.Set(k.wire, wan.Both, to))
}

// SetFrom is Set for what comes from one site.
func (k *Link) SetFrom(site string, to Impairment) {
	k.lab.t.Helper()
	k.lab.must(k.lab.wan.Set(k.wire, sides[k.end(site)], to))
}

// Restore is Set with what the topology says.
func (k *Link) Restore() {
	k.lab.t.Helper()
	k.Set(k.spec.To)
}

// Stats are what happened to the frames that came from a site.
func (k *Link) Stats(from string) wan.Stats {
	k.lab.t.Helper()
	return k.lab.Stats()[k.wire][sides[k.end(from)]]
}

// Address is that of a site's end of a link between sites.
func (k *Link) Address(site string) netip.Addr {
	k.lab.t.Helper()
	return k.addresses[k.end(site)]
}

// String names the link and its state.
func (k *Link) String() string {
	switch k.cuts {
	case [2]bool{true, true}:
		return k.name + " (cut)"
	case [2]bool{true, false}:
		return fmt.Sprintf("%s (cut from %s)", k.name, k.ends[0])
	case [2]bool{false, true}:
		return fmt.Sprintf("%s (cut from %s)", k.name, k.ends[1])
	}
	return k.name
}
