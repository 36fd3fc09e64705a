package config

import (
	"net/netip"

	"github.com/scloudstack/pharos/policy"
)

// sitesSection reads the sites. Their requirements are probed by each site's
// own nodes.
func (r *reading) sitesSection(n *node) {
	networks := make(map[netip.Prefix]place)
	r.sitesBroken = !r.named(n, "site", func(name string, v *node) {
		site := &policy.Site{ID: policy.SiteID(name)}
		r.sites[site.ID] = site
		r.siteNames = append(r.siteNames, name)
		r.siteOrder = append(r.siteOrder, site.ID)
		r.object(v, "sites.NAME",
			required("metro", r.name((*string)(&site.Metro), "metro")),
			optional("role", oneOf(r.decoder, &site.Role,
				word[policy.SiteRole]{"production", policy.Production},
				word[policy.SiteRole]{"standby", policy.Standby},
				word[policy.SiteRole]{"witness", policy.Witness})),
			optional("networks", func(v *node) {
				r.each(v, "networks such as 10.1.0.0/16", true, func(v *node) {
					r.network(site, networks, v)
				})
			}),
			optional("requires", func(v *node) { r.requires(site, v) }),
		)
	})
	if len(r.siteNames) == 0 && n.kind == mapping {
		r.errorf(n, "is empty: expected at least one site")
		r.sitesBroken = true
	}
	production := false
	for _, id := range r.siteOrder {
		r.s.Policy.Sites = append(r.s.Policy.Sites, *r.sites[id])
		production = production || r.sites[id].Role == policy.Production
	}
	if !production && !r.sitesBroken {
		r.errorf(n, "no site has role: production")
	}
}

func (r *reading) network(site *policy.Site, networks map[netip.Prefix]place, n *node) {
	var p netip.Prefix
	r.prefix(&p)(n)
	if !p.IsValid() {
		return
	}
	if at, twice := networks[p]; twice {
		r.errorf(n, "found %s, which stands already at %s", p, at)
		return
	}
	networks[p] = n.at
	site.Networks = append(site.Networks, p)
}

// requires reads what a site itself needs to be of use.
func (r *reading) requires(site *policy.Site, n *node) {
	r.named(n, "requirement", func(name string, v *node) {
		c, address := r.requirement(v)
		if c == nil || !address.IsValid() {
			return
		}
		id := r.target(c, address, site.ID)
		site.Requires = append(site.Requires, policy.Requirement{Name: name, Target: id})
	})
}

// siteRef reads the name of a configured site.
func (r *reading) siteRef(dst *policy.SiteID) reader {
	return func(n *node) {
		var name string
		r.text(&name)(n)
		if name == "" {
			return
		}
		if !r.knowsSite(n, name) {
			return
		}
		*dst = policy.SiteID(name)
	}
}

func (r *reading) knowsSite(n *node, name string) bool {
	if r.sites[policy.SiteID(name)] != nil {
		return true
	}
	if !r.sitesBroken {
		r.unknown(n, "site", name, r.siteNames)
	}
	return false
}

// nodesSection reads the nodes of all sites.
func (r *reading) nodesSection(n *node) {
	r.named(n, "node", func(name string, v *node) {
		m := Node{Name: policy.NodeID(name), Roles: Roles{DNS: true, Probe: true}}
		r.object(v, "nodes.NAME",
			required("site", r.siteRef(&m.Site)),
			optional("address", r.address(&m.Address)),
			optional("port", integer(r.decoder, &m.Port, 1, 65535)),
			optional("public_key", r.publicKey(&m.PublicKey)),
			optional("roles", r.roles(&m.Roles)),
		)
		r.s.Nodes = append(r.s.Nodes, m)
		r.s.Policy.Nodes = append(r.s.Policy.Nodes, policy.Node{ID: m.Name, Site: m.Site, Probes: m.Roles.Probe})
	})
	if len(r.s.Nodes) == 0 && n.kind == mapping {
		r.errorf(n, "is empty: expected at least one node")
	}
}
