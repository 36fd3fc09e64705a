package config

import (
	"net/netip"
	"slices"

	"github.com/scloudstack/pharos/policy"
)

// owner is who announces an address: the sites of the endpoint it stands in.
type owner struct {
	sites []policy.SiteID // sorted
	at    place
}

// checkedAddress is an address that is probed for a site.
type checkedAddress struct {
	address netip.Addr
	site    policy.SiteID
	at      *node
}

// endpointKeys are the keys of an endpoint.
var endpointKeys = []string{"site", "sites", "address", "addresses", "check_address", "weight"}

// endpoint reads one balancer of a service, which has the addresses taken so far.
func (r *reading) endpoint(s *policy.Service, taken map[netip.Addr]bool, c *check, n *node) {
	e := policy.Endpoint{Weight: 1}
	var sites []policy.SiteID
	before := len(r.errors)
	r.object(n, "services.NAME.endpoints",
		optional("site", func(v *node) { sites = r.endpointSite(sites, v) }),
		optional("sites", func(v *node) {
			r.each(v, "sites that share the address", false, func(v *node) { sites = r.endpointSite(sites, v) })
		}),
		optional("address", func(v *node) { r.endpointAddress(taken, &e, v) }),
		optional("addresses", func(v *node) {
			r.each(v, "addresses", false, func(v *node) { r.endpointAddress(taken, &e, v) })
		}),
		optional("check_address", func(*node) {}), // read below, when the sites are known
		optional("weight", integer(r.decoder, &e.Weight, 0, 1_000_000)),
	)
	if n.kind != mapping {
		return
	}
	r.oneOfTwo(n, "site", "sites")
	r.oneOfTwo(n, "address", "addresses")
	if len(r.errors) > before || len(sites) == 0 || len(e.Addresses) == 0 {
		return
	}
	e.ID = policy.EndpointID(e.Addresses[0].String())
	r.judgeShared(n, sites)
	for _, a := range e.Addresses {
		r.announce(n, a, sites)
	}
	probed := r.checkAddresses(n, &e, c, sites)
	for _, site := range sites {
		at := policy.EndpointSite{Site: site}
		if c != nil {
			for _, a := range probed[site] {
				at.Targets = append(at.Targets, r.target(c, a, site))
			}
		}
		e.At = append(e.At, at)
	}
	s.Endpoints = append(s.Endpoints, e)
}

// oneOfTwo reports two keys of which exactly one is meant to be there.
func (r *reading) oneOfTwo(n *node, one, several string) {
	switch {
	case n.has(one) && n.has(several):
		r.errorf(n.get(several), "stands beside %s, expected one of the two", one)
	case misspelt(n, one, endpointKeys), misspelt(n, several, endpointKeys):
	case !n.has(one) && !n.has(several):
		r.errorf(n, "%q (or %q) is missing", one, several)
	}
}

func (r *reading) endpointSite(sites []policy.SiteID, n *node) []policy.SiteID {
	var id policy.SiteID
	r.siteRef(&id)(n)
	switch {
	case id == "":
		return sites
	case slices.Contains(sites, id):
		r.errorf(n, "found %s twice", n.describe())
		return sites
	case r.sites[id].Role == policy.Witness:
		r.errorf(n, "the site %s is a witness, which serves nothing", id)
	}
	return append(sites, id)
}

func (r *reading) endpointAddress(taken map[netip.Addr]bool, e *policy.Endpoint, n *node) {
	var a netip.Addr
	r.address(&a)(n)
	if !a.IsValid() {
		return
	}
	if taken[a] {
		r.errorf(n, "found %s, which the service has already", a)
		return
	}
	taken[a] = true
	e.Addresses = append(e.Addresses, a)
}

// judgeShared reports sites that can't share one address.
func (r *reading) judgeShared(n *node, sites []policy.SiteID) {
	if n.has("sites") && len(sites) == 1 {
		r.errorf(n.get("sites"), "names one site, expected several (or site: %s)", sites[0])
	}
	for _, id := range sites[1:] {
		if a, b := r.siteOf(sites[0]), r.siteOf(id); a.Metro != b.Metro {
			r.errorf(n.get("sites"), "%s is in the metro %s and %s in %s: sites that share an address are in one metro", a.ID, a.Metro, b.ID, b.Metro)
		}
	}
}

// announce notes who announces an address and reports two who differ.
func (r *reading) announce(n *node, a netip.Addr, sites []policy.SiteID) {
	mine := slices.Sorted(slices.Values(sites))
	other, known := r.owners[a]
	if !known {
		r.owners[a] = owner{mine, n.at}
		return
	}
	if !slices.Equal(other.sites, mine) {
		r.errorf(n, "%s is announced by %s here and by %s at %s: name the same sites in both", a, joined(mine), joined(other.sites), other.at)
	}
}

func joined(sites []policy.SiteID) string {
	words := make([]string, len(sites))
	for i, s := range sites {
		words[i] = string(s)
	}
	return andOf(words)
}

// checkAddresses reads what is probed for each site of an endpoint.
func (r *reading) checkAddresses(n *node, e *policy.Endpoint, c *check, sites []policy.SiteID) map[policy.SiteID][]netip.Addr {
	probed := make(map[policy.SiteID][]netip.Addr)
	at := n.get("check_address")
	switch {
	case at == nil && len(sites) > 1:
		if c != nil {
			r.errorf(n, "several sites announce %s, so a probe of it may reach the wrong balancer, or the prober's own: "+
				"give check_address for each site, {%s: ADDRESS, ...}", e.ID, sites[0])
		}
	case at == nil:
		for _, a := range e.Addresses {
			r.checked = append(r.checked, checkedAddress{a, sites[0], n})
		}
		probed[sites[0]] = e.Addresses
	case at.kind == null:
	case at.kind == mapping:
		r.checkAddressBySite(at, e, sites, probed)
	case len(sites) > 1:
		r.errorf(at, "several sites announce %s: expected a check_address for each, {%s: ADDRESS, ...}", e.ID, sites[0])
	default:
		probed[sites[0]] = r.checkAddress(at, e, sites[0])
	}
	return probed
}

func (r *reading) checkAddressBySite(n *node, e *policy.Endpoint, sites []policy.SiteID, probed map[policy.SiteID][]netip.Addr) {
	for _, f := range n.fields {
		id := policy.SiteID(f.key)
		switch {
		case !slices.Contains(sites, id):
			words := make([]string, len(sites))
			for i, s := range sites {
				words[i] = string(s)
			}
			r.errors = append(r.errors, finding{f.at, prefixed(n, unknownText("site", f.key, words)+" (of this endpoint)")})
		case f.value.kind == null:
			r.errorf(f.value, "has no value")
		default:
			probed[id] = r.checkAddress(f.value, e, id)
		}
	}
	for _, s := range sites {
		if !n.has(string(s)) {
			r.errorf(n, "%q is missing: each site's own balancer is probed", s)
		}
	}
}

// checkAddress reads one address, or a list of them, all of which must be up.
func (r *reading) checkAddress(n *node, e *policy.Endpoint, site policy.SiteID) []netip.Addr {
	var all []netip.Addr
	seen := make(map[netip.Addr]bool)
	has := make(map[string]bool) // families
	for _, a := range e.Addresses {
		has[family(a)] = true
	}
	r.each(n, "addresses", true, func(v *node) {
		var a netip.Addr
		r.address(&a)(v)
		switch {
		case !a.IsValid():
		case seen[a]:
			r.errorf(v, "found %s twice", a)
		case !has[family(a)]:
			r.errorf(v, "found %s, which is %s, but the endpoint has only %s: its check would prove nothing", a, family(a), family(e.Addresses[0]))
		default:
			seen[a] = true
			all = append(all, a)
			r.checked = append(r.checked, checkedAddress{a, site, v})
		}
	})
	return all
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// servicesTogether judges what only shows when all services are read: no probe
// may aim at an address that several sites announce, and a check address
// belongs to one site.
func (r *reading) servicesTogether() {
	first := make(map[netip.Addr]checkedAddress)
	for _, c := range r.checked {
		if o, known := r.owners[c.address]; known && len(o.sites) > 1 {
			r.errorf(c.at, "%s is announced by several sites (%s, at %s), so a probe of it may reach the wrong balancer, or the prober's own: "+
				"expected the balancer's own address as check_address", c.address, joined(o.sites), o.at)
			continue
		}
		if other, known := first[c.address]; known && other.site != c.site {
			r.errorf(c.at, "%s is probed for the site %s here and for %s at %s", c.address, c.site, other.site, other.at.at)
			continue
		}
		if o, known := r.owners[c.address]; known && !slices.Contains(o.sites, c.site) {
			r.errorf(c.at, "%s is probed for the site %s, but stands in %s (%s)", c.address, c.site, joined(o.sites), o.at)
			continue
		}
		first[c.address] = c
	}
}
