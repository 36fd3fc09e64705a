package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
)

// reading turns one tree into Settings. Sections are read in the order in
// which they need each other, whatever their order in the files.
type reading struct {
	*decoder
	opt Options
	dir string
	s   *Settings

	nodeAt      *node // the section node, if there
	sites       map[policy.SiteID]*policy.Site
	siteNames   []string
	siteOrder   []policy.SiteID
	sitesBroken bool // a reference to an unknown site says nothing then
	nodeRoles   *Roles
	ownAt       *node // the first listener on the node's own address
	zonesBroken bool
	zoneNames   []string
	zoneSet     map[string]bool
	all         []probe.Target       // every target, each once
	owners      map[netip.Addr]owner // endpoint addresses and the sites they stand in
	names       map[string]nameOf    // steered names
	services    map[string]*node     // by name, for safety
	checked     []checkedAddress     // judged when every service is known
}

// top reads the whole configuration.
func (r *reading) top(root *node) {
	r.sites = make(map[policy.SiteID]*policy.Site)
	r.owners = make(map[netip.Addr]owner)
	r.names = make(map[string]nameOf)
	r.services = make(map[string]*node)
	r.zoneSet = make(map[string]bool)
	r.s.Cluster = Cluster{Port: defaultClusterPort}
	r.s.Alarms = Alarms{HeartbeatEvery: defaultHeartbeat}
	r.s.Audit = Audit{Keep: defaultAuditKeep, Most: defaultAuditMost}
	r.s.Policy = &policy.Config{
		Cluster:     "pharos",
		Targets:     make(map[policy.TargetID]policy.Target),
		RejoinAfter: 10 * time.Minute,
		VoteTTL:     defaultVoteTTL,
		Observers:   defaultObservers,
		Digest:      [8]byte(r.s.digest[:8]),
	}
	r.sitesBroken = slices.ContainsFunc(root.fields, func(f field) bool { return nearest(f.key, []string{"sites"}) != "" })
	r.object(root, "",
		optional("node", r.node),
		optional("mode", oneOf(r.decoder, &r.s.Observe, word[bool]{"serve", false}, word[bool]{"observe", true})),
		optional("observe", r.observe),
		optional("cluster", r.cluster),
		optional("sites", r.sitesSection),
		optional("nodes", r.nodesSection),
		optional("links", r.linksSection),
		optional("alarms", r.alarms),
		optional("audit", r.audit),
		optional("api", r.api),
		optional("dns", r.dns),
		optional("services", r.servicesSection),
		optional("safety", r.safety),
		optional("include", func(*node) {}), // load has read it
	)
	r.clusterTogether(root)
	r.self(root)
	r.ownListeners()
	r.apiDefaults(root)
	r.dnsDefaults(root)
	r.servicesTogether()
	r.ownTargets()
	if len(r.errors) == 0 {
		r.warnAbout(root)
	}
}

// ownTargets picks what this node probes: every endpoint, and what its own
// site requires.
func (r *reading) ownTargets() {
	s := r.s
	skip := make(map[policy.TargetID]bool)
	for _, site := range s.Policy.Sites {
		for _, q := range site.Requires {
			skip[q.Target] = true
		}
	}
	for _, site := range s.Policy.Sites {
		for _, q := range site.Requires {
			if site.ID == s.Node.Site {
				skip[q.Target] = false
				// Several sites may require the same, each over its own uplink.
				t := s.Policy.Targets[q.Target]
				t.Site = site.ID
				s.Policy.Targets[q.Target] = t
			}
		}
	}
	for _, service := range s.Policy.Services {
		for _, e := range service.Endpoints {
			for _, at := range e.At {
				for _, id := range at.Targets {
					skip[id] = false
				}
			}
		}
	}
	if !s.Node.Roles.Probe {
		return
	}
	for _, t := range r.all {
		if !skip[t.ID] {
			s.Targets = append(s.Targets, t)
		}
	}
}

// node reads what differs from node to node.
func (r *reading) node(n *node) {
	r.nodeAt = n
	var roles Roles
	r.object(n, "node",
		optional("name", r.name((*string)(&r.s.Node.Name), "node")),
		optional("data_dir", r.text(&r.s.DataDir)),
		optional("key_file", r.file(&r.s.KeyFile)),
		optional("roles", func(v *node) { r.roles(&roles)(v); r.nodeRoles = &roles }),
	)
}

// roles reads a list of parts.
func (r *reading) roles(dst *Roles) reader {
	return func(n *node) {
		*dst = Roles{}
		r.each(n, "roles: dns, probe, bgp, replicate", false, func(v *node) {
			var role *bool
			oneOf(r.decoder, &role, word[*bool]{"dns", &dst.DNS}, word[*bool]{"probe", &dst.Probe},
				word[*bool]{"bgp", &dst.BGP}, word[*bool]{"replicate", &dst.Replicate})(v)
			if role == nil {
				return
			}
			if *role {
				r.errorf(v, "found %s twice", v.describe())
			}
			*role = true
		})
	}
}

// name reads a name that the user chose.
func (d *decoder) name(dst *string, what string) reader {
	return func(n *node) {
		var s string
		d.text(&s)(n)
		if s == "" {
			return
		}
		if why := badName(s); why != "" {
			d.errorf(n, "%s is no %s name: %s", n.describe(), what, why)
			return
		}
		*dst = s
	}
}

func (r *reading) observe(n *node) {
	r.object(n, "observe",
		optional("compare", func(v *node) {
			r.each(v, "addresses of live DNS servers", false, func(v *node) {
				var a netip.AddrPort
				r.addrPort(&a, 53)(v)
				if slices.Contains(r.s.Compare, a) {
					r.errorf(v, "found %s twice", v.describe())
				}
				if a.IsValid() {
					r.s.Compare = append(r.s.Compare, a)
				}
			})
		}),
	)
	if !r.s.Observe {
		r.errorf(n, "has no meaning without mode: observe")
	}
}

// self finds out which node this is, and where it keeps its state.
func (r *reading) self(root *node) {
	at := root
	if v := r.nodeAt.get("name"); v != nil {
		at = v
	}
	given := r.opt.Node
	from := "--node"
	if given == "" {
		given, from = r.opt.Getenv("PHAROS_NODE"), "PHAROS_NODE"
	}
	if given != "" {
		at = &node{}
		if why := badName(given); why != "" {
			r.errors = append(r.errors, finding{text: fmt.Sprintf("%s: %q is no node name: %s", from, short(given), why)})
			return
		}
		r.s.Node.Name = policy.NodeID(given)
	}
	r.dataDir()
	if !root.has("nodes") && !root.has("sites") {
		r.alone(root)
		return
	}
	r.amongNodes(root, at, from)
}

func (r *reading) dataDir() {
	inFile := r.s.DataDir
	if inFile != "" && !filepath.IsAbs(inFile) {
		inFile = filepath.Join(r.dir, inFile)
	}
	r.s.DataDir = cmp.Or(r.opt.DataDir, r.opt.Getenv("PHAROS_DATA_DIR"), inFile, DefaultDataDir)
	r.s.KeyFile = cmp.Or(r.s.KeyFile, filepath.Join(r.s.DataDir, "node.key"))
}

// alone makes up a site for a node that has none: a plain authoritative server.
func (r *reading) alone(root *node) {
	const site = policy.SiteID("local")
	s := r.s
	if s.Node.Name == "" && r.opt.AnyNode {
		s.Node.Name = "local"
	}
	if s.Node.Name == "" {
		r.missingName(root)
		return
	}
	s.Node.Site = site
	s.Node.Roles = Roles{DNS: true, Probe: true}
	if r.nodeRoles != nil {
		s.Node.Roles = *r.nodeRoles
	}
	s.Nodes = []Node{s.Node}
	s.Policy.Self = s.Node.Name
	s.Policy.Sites = []policy.Site{{ID: site, Metro: policy.MetroID(site), Role: policy.Production}}
	s.Policy.Nodes = []policy.Node{{ID: s.Node.Name, Site: site, Probes: s.Node.Roles.Probe}}
}

func (r *reading) missingName(root *node) {
	at := root
	if r.nodeAt != nil {
		at = r.nodeAt
	}
	r.errors = append(r.errors, finding{at.at, "node.name is missing: which node is this? (or give --node NAME, or PHAROS_NODE)"})
}

// amongNodes finds this node in the section nodes.
func (r *reading) amongNodes(root, at *node, from string) {
	s := r.s
	if !root.has("nodes") {
		r.errorf(root, `"nodes" is missing: it says in which site each node stands`)
		return
	}
	if s.Node.Name == "" {
		if !r.opt.AnyNode || len(s.Nodes) == 0 {
			r.missingName(root)
			return
		}
		s.Node.Name = s.Nodes[0].Name
		r.warnings = append(r.warnings, finding{root.at, fmt.Sprintf("no node is named: read as %s, the first of nodes", s.Node.Name)})
	}
	i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == s.Node.Name })
	if i < 0 {
		names := make([]string, len(s.Nodes))
		for i, n := range s.Nodes {
			names[i] = string(n.Name)
		}
		text := unknownText("node", string(s.Node.Name), names)
		if at.up == nil && at != root {
			text = from + ": " + text
			r.errors = append(r.errors, finding{text: text})
			return
		}
		r.errorf(at, "%s", text)
		return
	}
	if r.nodeRoles != nil {
		r.ownRoles(root, i)
	}
	s.Node = s.Nodes[i]
	s.Policy.Self = s.Node.Name
}

// ownRoles applies node.roles to this node's entry in nodes.
func (r *reading) ownRoles(root *node, i int) {
	s := r.s
	if v := root.get("nodes").get(string(s.Nodes[i].Name)).get("roles"); v != nil && s.Nodes[i].Roles != *r.nodeRoles {
		r.errorf(r.nodeAt.get("roles"), "differs from the roles at %s: give them there alone", v.at)
		return
	}
	s.Nodes[i].Roles = *r.nodeRoles
	s.Policy.Nodes[i].Probes = r.nodeRoles.Probe
	if len(s.Nodes) > 1 {
		r.warnf(r.nodeAt.get("roles"), "other nodes can't read this: write roles into nodes.%s", s.Nodes[i].Name)
	}
}
