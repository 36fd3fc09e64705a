package policy

import (
	"slices"
	"sort"
	"strings"
)

// index is a Config with every name resolved to a number, so that one observation
// finds what rests on it without a search. It is immutable.
type index struct {
	cfg        *Config
	sites      []Site
	siteOf     map[SiteID]int
	targets    []Target // by ID, so that the order is the same everywhere
	targetOf   map[TargetID]int
	services   []serviceInfo
	svcOf      map[ServiceID]int
	nameOf     map[string]nameRef
	byTarget   [][]int // target → services whose choice rests on it
	bySite     [][]int // site → services with an endpoint there
	required   [][]int // site → targets of its requirements
	here       []bool  // target → this node probes it
	probed     int     // how many this node probes
	isRequired []bool  // target → a site requires it
	groups     []Group
	gates      map[string]Rule
}

type nameRef struct{ svc, name int }

// serviceInfo is a Service with its endpoints grouped by place: the site, or the
// set of sites, that they are in.
type serviceInfo struct {
	*Service
	eps    []endpointInfo // in the order of the configuration
	places [][]int        // endpoints of each place, places in order of preference
	epOf   map[EndpointID]int
	metro  MetroID // of the first production endpoint
}

type endpointInfo struct {
	*Endpoint
	at    []atInfo
	place int
}

type atInfo struct {
	site    int
	targets []int // -1: not in the configuration, never known
}

func newIndex(cfg *Config) *index {
	x := &index{
		cfg: cfg, sites: cfg.Sites,
		siteOf: map[SiteID]int{}, targetOf: map[TargetID]int{}, svcOf: map[ServiceID]int{}, nameOf: map[string]nameRef{},
		gates: map[string]Rule{},
	}
	for i, site := range cfg.Sites {
		x.siteOf[site.ID] = i
		if len(site.Networks) > 0 {
			x.groups = append(x.groups, Group{Site: site.ID, Prefixes: site.Networks})
		}
	}
	for _, t := range cfg.Targets {
		x.targets = append(x.targets, t)
	}
	sort.Slice(x.targets, func(i, j int) bool { return x.targets[i].ID < x.targets[j].ID })
	for i, t := range x.targets {
		x.targetOf[t.ID] = i
	}
	x.byTarget = make([][]int, len(x.targets))
	x.bySite = make([][]int, len(x.sites))
	x.services = make([]serviceInfo, len(cfg.Services))
	for i := range cfg.Services {
		x.addService(i)
	}
	for _, r := range cfg.Rules {
		if r.Service == "" {
			x.gates[r.Name] = r
		}
	}
	x.addRequirements()
	return x
}

func (x *index) addService(i int) {
	s := &x.cfg.Services[i]
	in := serviceInfo{Service: s, epOf: map[EndpointID]int{}, eps: make([]endpointInfo, len(s.Endpoints))}
	x.svcOf[s.ID] = i
	for n, name := range s.Names {
		x.nameOf[name] = nameRef{i, n}
	}
	for e := range s.Endpoints {
		ep := &s.Endpoints[e]
		in.epOf[ep.ID] = e
		info := endpointInfo{Endpoint: ep}
		for _, at := range ep.At {
			info.at = append(info.at, x.resolveAt(at, i))
		}
		in.eps[e] = info
	}
	in.metro = x.homeMetro(&in)
	x.addPlaces(&in)
	x.services[i] = in
}

func (x *index) resolveAt(at EndpointSite, svc int) atInfo {
	a := atInfo{site: x.siteOf[at.Site]}
	x.bySite[a.site] = addOnce(x.bySite[a.site], svc)
	for _, id := range at.Targets {
		t, ok := x.targetOf[id]
		if !ok {
			t = -1
		} else {
			x.byTarget[t] = addOnce(x.byTarget[t], svc)
		}
		a.targets = append(a.targets, t)
	}
	return a
}

func addOnce(list []int, v int) []int {
	if len(list) > 0 && list[len(list)-1] == v {
		return list
	}
	return append(list, v)
}

// homeMetro is the active metro of epoch 0.
func (x *index) homeMetro(in *serviceInfo) MetroID {
	for _, ep := range in.eps {
		for _, at := range ep.at {
			if x.sites[at.site].Role == Production {
				return x.sites[at.site].Metro
			}
		}
	}
	return ""
}

// addPlaces groups endpoints that stand in the same sites, in order of preference.
func (x *index) addPlaces(in *serviceInfo) {
	order := make([]int, len(in.eps))
	for i := range order {
		order[i] = i
	}
	if in.ByRole {
		slices.SortStableFunc(order, func(a, b int) int {
			return int(x.bestRole(in.eps[a])) - int(x.bestRole(in.eps[b]))
		})
	}
	known := map[string]int{}
	for _, e := range order {
		var key strings.Builder
		for _, at := range in.eps[e].At {
			key.WriteString(string(at.Site))
			key.WriteByte('\n')
		}
		p, ok := known[key.String()]
		if !ok {
			p = len(in.places)
			known[key.String()] = p
			in.places = append(in.places, nil)
		}
		in.places[p] = append(in.places[p], e)
		in.eps[e].place = p
	}
}

func (x *index) bestRole(ep endpointInfo) SiteRole {
	best := Witness
	for _, at := range ep.at {
		best = min(best, x.sites[at.site].Role)
	}
	return best
}

// addRequirements notes what each site requires. Those of other sites are
// probed by the nodes there, so this node never sees them.
func (x *index) addRequirements() {
	x.required = make([][]int, len(x.sites))
	x.here = make([]bool, len(x.targets))
	x.isRequired = make([]bool, len(x.targets))
	for i := range x.here {
		x.here[i] = len(x.byTarget[i]) > 0
	}
	var own SiteID
	for _, n := range x.cfg.Nodes {
		if n.ID == x.cfg.Self {
			own = n.Site
		}
	}
	for i, site := range x.sites {
		for _, r := range site.Requires {
			t, ok := x.targetOf[r.Target]
			if !ok {
				continue
			}
			x.required[i] = append(x.required[i], t)
			x.isRequired[t] = true
			x.here[t] = x.here[t] || site.ID == own
			for _, svc := range x.bySite[i] {
				if !slices.Contains(x.byTarget[t], svc) {
					x.byTarget[t] = append(x.byTarget[t], svc)
				}
			}
		}
	}
	for _, here := range x.here {
		if here {
			x.probed++
		}
	}
}

// endpointName is how people are told of an endpoint: "203.0.113.10 (city-a)".
func (in *serviceInfo) endpointName(e int) string {
	return string(in.eps[e].ID) + " (" + in.eps[e].where() + ")"
}

func (ep endpointInfo) where() string {
	var names []string
	for _, at := range ep.At {
		names = append(names, string(at.Site))
	}
	return strings.Join(names, "+")
}

func (ep endpointInfo) inSite(site int) bool {
	for _, at := range ep.at {
		if at.site == site {
			return true
		}
	}
	return false
}

// preference lists the endpoints, the preferred first.
func (in *serviceInfo) preference() []int { return slices.Concat(in.places...) }
