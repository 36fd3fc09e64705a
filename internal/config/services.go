package config

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Defaults of a service.
const (
	defaultTTL      = 10 * time.Second
	defaultTTLFloor = 2 * time.Second
	defaultHold     = 5 * time.Minute
	longestTTL      = 24 * time.Hour
)

// nameOf is a steered name, where it stands.
type nameOf struct {
	service policy.ServiceID
	at      place
}

func (r *reading) servicesSection(n *node) {
	if len(r.sites) == 0 && !r.sitesBroken {
		r.errorf(n, `needs the section "sites": where do the endpoints stand?`)
		r.sitesBroken = true
	}
	r.named(n, "service", r.service)
}

// service reads one business application.
func (r *reading) service(name string, n *node) {
	s := policy.Service{ID: policy.ServiceID(name), TTL: defaultTTL, MinHealthy: 1, Return: policy.Return{Hold: defaultHold}}
	r.services[name] = n
	var check *check
	var endpoints []*node
	ok := r.object(n, "services.NAME",
		required("names", func(v *node) { r.serviceNames(&s, v) }),
		optional("steer", oneOf(r.decoder, &s.Steer,
			word[policy.Steering]{"failover", policy.Failover},
			word[policy.Steering]{"active-active", policy.ActiveActive},
			word[policy.Steering]{"weighted", policy.Weighted},
			word[policy.Steering]{"nearest", policy.Nearest})),
		optional("order", oneOf(r.decoder, &s.ByRole, word[bool]{"endpoints", false}, word[bool]{"roles", true})),
		optional("pick_by", oneOf(r.decoder, &s.PickBy,
			word[policy.PickBy]{"turn", policy.PickByTurn},
			word[policy.PickBy]{"query-id", policy.PickByQueryID},
			word[policy.PickBy]{"client", policy.PickByClient})),
		optional("ttl", r.seconds(&s.TTL, time.Second, longestTTL)),
		optional("ttl_floor", r.seconds(&s.TTLFloor, time.Second, longestTTL)),
		optional("all_down", oneOf(r.decoder, &s.AllDown,
			word[policy.AllDown]{"last", policy.AllDownLast},
			word[policy.AllDown]{"all", policy.AllDownAll},
			word[policy.AllDown]{"primary", policy.AllDownPrimary},
			word[policy.AllDown]{"servfail", policy.AllDownServfail})),
		optional("min_healthy", integer(r.decoder, &s.MinHealthy, 1, 1000)),
		optional("check", func(v *node) { check = r.check(v) }),
		required("endpoints", func(v *node) {
			r.each(v, "endpoints: {site: ..., address: ...}", false, func(v *node) { endpoints = append(endpoints, v) })
		}),
		optional("needs", func(v *node) { r.needs(&s, v) }),
		optional("return", func(v *node) { r.wayBack(&s, v) }), // after needs, which sets its default
	)
	if !ok {
		return
	}
	if s.Return.Policy != policy.ReturnHold {
		s.Return.Hold = 0
	}
	taken := make(map[netip.Addr]bool)
	for _, v := range endpoints {
		r.endpoint(&s, taken, check, v)
	}
	r.judgeTTL(n, &s)
	r.judgeSteering(n, &s)
	r.judgeEndpoints(n, &s)
	r.s.Policy.Services = append(r.s.Policy.Services, s)
}

func (r *reading) serviceNames(s *policy.Service, n *node) {
	r.each(n, "domain names", false, func(v *node) {
		var name string
		r.domain(&name)(v)
		if name == "" {
			return
		}
		if other, twice := r.names[name]; twice {
			r.errorf(v, "the name %s is already that of the service %s, at %s", name, other.service, other.at)
			return
		}
		r.names[name] = nameOf{s.ID, v.at}
		r.s.names[name] = v.at
		r.inZone(v, name)
		s.Names = append(s.Names, name)
	})
}

func (r *reading) needs(s *policy.Service, n *node) {
	r.object(n, "services.NAME.needs",
		required("databases", func(v *node) {
			seen := make(map[string]bool)
			r.each(v, "names of databases", false, func(v *node) {
				var name string
				r.name(&name, "database")(v)
				if name != "" && seen[name] {
					r.errorf(v, "found %s twice", v.describe())
				}
				seen[name] = true
				s.NeedsDB = true
				s.Return.Policy = policy.ReturnManual
			})
		}),
	)
}

// wayBack reads how an endpoint that became healthy again is readmitted.
func (r *reading) wayBack(s *policy.Service, n *node) {
	ret := &s.Return
	r.object(n, "services.NAME.return",
		optional("policy", oneOf(r.decoder, &ret.Policy,
			word[policy.ReturnPolicy]{"hold", policy.ReturnHold},
			word[policy.ReturnPolicy]{"manual", policy.ReturnManual},
			word[policy.ReturnPolicy]{"ramp", policy.ReturnRamp})),
		optional("hold", r.duration(&ret.Hold, 0, 24*time.Hour)),
		optional("over", r.duration(&ret.Over, time.Second, 24*time.Hour)),
		optional("after_site_loss", oneOf(r.decoder, &ret.AfterSiteLossSame, word[bool]{"manual", false}, word[bool]{"same", true})),
	)
	if v := n.get("hold"); v != nil && ret.Policy != policy.ReturnHold {
		r.errorf(v, "has no meaning without policy: hold")
	}
	switch v := n.get("over"); {
	case v != nil && ret.Policy != policy.ReturnRamp:
		r.errorf(v, "has no meaning without policy: ramp")
	case v == nil && ret.Policy == policy.ReturnRamp && n.kind == mapping:
		r.errorf(n, `"over" is missing: how long does the ramp take?`)
	}
}

func (r *reading) judgeTTL(n *node, s *policy.Service) {
	v := n.get("ttl_floor")
	if v == nil {
		s.TTLFloor = min(defaultTTLFloor, s.TTL)
		return
	}
	if s.TTLFloor > s.TTL {
		r.errorf(v, "found %s, expected at most the ttl (%s)", v.describe(), since(s.TTL))
	}
}

// judgeSteering reports keys that the kind of steering has no use for.
func (r *reading) judgeSteering(n *node, s *policy.Service) {
	if v := n.get("pick_by"); v != nil && s.Steer != policy.Weighted {
		r.errorf(v, "has no meaning without steer: weighted")
	}
	if v := n.get("order"); v != nil && s.Steer != policy.Failover {
		r.errorf(v, "has no meaning without steer: failover")
	}
	if s.Steer == policy.Nearest {
		local := slices.ContainsFunc(s.Endpoints, func(e policy.Endpoint) bool {
			return slices.ContainsFunc(e.At, func(at policy.EndpointSite) bool { return len(r.siteOf(at.Site).Networks) > 0 })
		})
		if !local && !r.sitesBroken {
			r.errorf(n.get("steer"), "found nearest, but no site of the endpoints has networks: every client would be equally near")
		}
	}
	zero := 0
	for _, v := range n.get("endpoints").itemsOf() {
		if w := v.get("weight"); w != nil && s.Steer != policy.Weighted {
			r.errorf(w, "has no meaning without steer: weighted")
		}
	}
	for _, e := range s.Endpoints {
		if e.Weight == 0 {
			zero++
		}
	}
	if s.Steer == policy.Weighted && zero > 0 && zero == len(s.Endpoints) {
		r.errorf(n.get("endpoints"), "every weight is 0, expected at least one above")
	}
}

func (n *node) itemsOf() []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// judgeEndpoints reports services that could never be answered, and sites that
// could never be chosen.
func (r *reading) judgeEndpoints(n *node, s *policy.Service) {
	if r.sitesBroken || len(s.Endpoints) == 0 || len(s.Endpoints) != len(n.get("endpoints").itemsOf()) {
		return // what is wrong with an endpoint has been said
	}
	v4, v6 := 0, 0
	for _, e := range s.Endpoints {
		for _, a := range e.Addresses {
			if a.Is4() {
				v4++
			} else {
				v6++
			}
		}
	}
	if max(v4, v6) > policy.MaxAddresses {
		r.errorf(n.get("endpoints"), "found %d IPv4 and %d IPv6 addresses, expected at most %d of a family: an answer has to hold them",
			v4, v6, policy.MaxAddresses)
	}
	in := make(map[policy.SiteID]int)
	var order []policy.SiteID
	production := false
	for _, e := range s.Endpoints {
		for _, at := range e.At {
			if in[at.Site] == 0 {
				order = append(order, at.Site)
			}
			in[at.Site]++
			production = production || r.siteOf(at.Site).Role == policy.Production
		}
	}
	if !production {
		r.errorf(n.get("endpoints"), "none is in a site with role: production, so nothing would ever be answered")
	}
	for _, site := range order {
		if in[site] < s.MinHealthy {
			r.errorf(cmp.Or(n.get("min_healthy"), n), "found %d, but the site %s has %d %s: it could never be chosen",
				s.MinHealthy, site, in[site], plural(in[site], "endpoint", "endpoints"))
		}
	}
}
