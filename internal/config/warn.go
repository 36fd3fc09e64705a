package config

import (
	"slices"

	"github.com/scloudstack/pharos/policy"
)

// warnAbout finds what is allowed and probably not meant.
func (r *reading) warnAbout(root *node) {
	r.warnElectorate(root)
	r.warnCluster(root)
	r.warnLinks(root)
	r.warnRoles(root)
	for _, s := range r.s.Policy.Services {
		r.warnService(r.services[string(s.ID)], s)
	}
	if v := root.get("cluster").get("cold_start"); v != nil && r.s.Policy.ColdStart == policy.ColdStartServe && len(r.metros()) > 1 {
		r.warnf(v, "serve can undo a failover made by a remote site that is still cut off when the others start")
	}
}

func (r *reading) metros() []policy.MetroID {
	var all []policy.MetroID
	for _, s := range r.s.Policy.Sites {
		if !slices.Contains(all, s.Metro) {
			all = append(all, s.Metro)
		}
	}
	return all
}

// electorate is the sites with a configured node of the probe role.
func (r *reading) electorate() []policy.SiteID {
	var all []policy.SiteID
	for _, n := range r.s.Policy.Nodes {
		if n.Probes && n.Site != "" && !slices.Contains(all, n.Site) {
			all = append(all, n.Site)
		}
	}
	return all
}

func (r *reading) warnElectorate(root *node) {
	voting := r.electorate()
	if len(voting) == 2 {
		r.warnf(root.get("nodes"), "only %s have nodes that probe: the majority of two is both, so when one is silent nothing moves; "+
			"a node in a third site (role: witness is enough) would decide", joined(voting))
	}
	for _, id := range r.siteOrder {
		if v := root.get("sites").get(string(id)).get("requires"); v != nil && !slices.Contains(voting, id) {
			r.warnf(v, "nobody probes this: the site has no node with the role probe, and only its own nodes would")
		}
	}
}

func (r *reading) warnService(n *node, s policy.Service) {
	if !n.has("check") {
		r.warnf(n, "has no check: its endpoints count as up, always")
		for _, v := range n.get("endpoints").itemsOf() {
			if v.has("check_address") {
				r.warnf(v.get("check_address"), "has no meaning without a check")
			}
		}
	}
	if s.AllDown == policy.AllDownLast {
		return
	}
	var blind []policy.SiteID
	for _, id := range r.electorate() {
		if len(r.siteOf(id).Requires) == 0 {
			blind = append(blind, id)
		}
	}
	if len(blind) > 0 {
		r.warnf(n.get("all_down"), "%s, but %s %s: %s nodes can't tell that all is down from their own blindness, and keep the last answer",
			n.get("all_down").describe(), joined(blind), plural(len(blind), "has no requires", "have no requires"), plural(len(blind), "its", "their"))
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
