package policy

import (
	"slices"
	"sort"
	"strings"
)

// index is a Config with every name resolved to a number, so that one observation
// finds what rests on it without a search. It is immutable.
type index struct {
	cfg      *Config
	sites    []Site
	siteOf   map[SiteID]int
	targets  []Target // by ID, so that the order is the same everywhere
	targetOf map[TargetID]int
	services []serviceInfo
	svcOf    map[ServiceID]int
	nameOf   map[string]nameRef
	list     [32]byte   // digest of the targets, as votes name it
	byTarget [][]int    // target → services whose choice rests on it
	bySite   [][]int    // site → services with an endpoint there
	checked  []bool     // target → an endpoint is checked by it
	needs    []needInfo // what sites require
	needsOf  [][]int    // target → needs
	required [][]int    // site → needs
	groups   []Group
	gates    map[string]Rule
	nodes    []nodeInfo // in the order of the configuration
	nodeOf   map[NodeID]int
	self     int     // among nodes; -1: it is none of them
	probers  [][]int // site → nodes that probe; a site with some has a seat in the electorate
	nodesOf  [][]int // site → nodes
	alone    bool    // no other node votes
}

// needInfo is one requirement of one site, which its own nodes probe.
type needInfo struct {
	name         string
	site, target int
}

type nodeInfo struct {
	Node
	site int // -1: not configured
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
		gates: map[string]Rule{}, nodeOf: map[NodeID]int{}, self: -1,
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
	ids := make([]TargetID, len(x.targets))
	for i, t := range x.targets {
		x.targetOf[t.ID], ids[i] = i, t.ID
	}
	x.list = ListDigest(ids)
	x.addNodes()
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

func (x *index) addNodes() {
	x.probers, x.nodesOf, x.alone = make([][]int, len(x.sites)), make([][]int, len(x.sites)), true
	for i, n := range x.cfg.Nodes {
		site, ok := x.siteOf[n.Site]
		if !ok {
			site = -1
		}
		x.nodes = append(x.nodes, nodeInfo{n, site})
		x.nodeOf[n.ID] = i
		if n.ID == x.cfg.Self {
			x.self = i
		}
		if ok {
			x.nodesOf[site] = append(x.nodesOf[site], i)
		}
		if n.Probes && ok {
			x.probers[site] = append(x.probers[site], i)
			x.alone = x.alone && n.ID == x.cfg.Self
		}
	}
}

// ownSite is where this node stands; -1: nowhere.
func (x *index) ownSite() int {
	if x.self < 0 {
		return -1
	}
	return x.nodes[x.self].site
}

// addRequirements notes what each site requires. Those of other sites are
// probed by the nodes there, so this node sees them by their votes alone.
func (x *index) addRequirements() {
	x.required = make([][]int, len(x.sites))
	x.needsOf = make([][]int, len(x.targets))
	x.checked = make([]bool, len(x.targets))
	for i := range x.checked {
		x.checked[i] = len(x.byTarget[i]) > 0
	}
	for i, site := range x.sites {
		for _, r := range site.Requires {
			t, ok := x.targetOf[r.Target]
			if !ok {
				continue
			}
			x.required[i] = append(x.required[i], len(x.needs))
			x.needsOf[t] = append(x.needsOf[t], len(x.needs))
			x.needs = append(x.needs, needInfo{r.Name, i, t})
			for _, svc := range x.bySite[i] {
				if !slices.Contains(x.byTarget[t], svc) {
					x.byTarget[t] = append(x.byTarget[t], svc)
				}
			}
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
