package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Defaults of the section cluster.
const (
	defaultClusterPort = 7946
	defaultVoteTTL     = 3 * time.Second
	defaultObservers   = 2
)

// Cluster is how the nodes reach one another.
type Cluster struct {
	Port     uint16 // UDP and TCP, of nodes that name none of their own
	KeysFile string // gossip keys, one in base64 a line; empty: the nodes do not talk to one another
}

// Link is one connection between two sites, with its budget; zero fields have none.
type Link struct {
	Name      string
	Between   [2]policy.SiteID
	Kind      string
	RTT       time.Duration
	Jitter    time.Duration
	Loss      float64 // of 1
	Bandwidth uint64  // bits a second
}

func (r *reading) cluster(n *node) {
	c, s := r.s.Policy, r.s
	r.object(n, "cluster",
		optional("name", r.name(&c.Cluster, "cluster")),
		optional("port", integer(r.decoder, &s.Cluster.Port, 1, 65535)),
		optional("keys_file", r.file(&s.Cluster.KeysFile)),
		optional("rejoin_after", r.duration(&c.RejoinAfter, time.Second, 30*24*time.Hour)),
		optional("cold_start", oneOf(r.decoder, &c.ColdStart,
			word[policy.ColdStart]{"wait", policy.ColdStartWait},
			word[policy.ColdStart]{"serve", policy.ColdStartServe})),
		optional("vote_ttl", r.duration(&c.VoteTTL, time.Second, time.Minute)),
		optional("observers", integer(r.decoder, &c.Observers, 1, 16)),
		optional("drills", r.boolean(&c.Drills)),
	)
	if v := n.get("keys_file"); v != nil {
		s.keysAt = v.at
	}
}

// publicKey reads the public half of a node's key: ed25519:BASE64.
func (r *reading) publicKey(dst *ed25519.PublicKey) reader {
	return func(n *node) {
		const what = "a key such as pharos cluster key show prints, ed25519: and 44 characters of base64"
		text, ok := strings.CutPrefix(n.text, "ed25519:")
		if n.kind != scalar || !ok {
			r.expected(n, what)
			return
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			r.expected(n, what)
			return
		}
		*dst = key
	}
}

// clusterTogether judges what the nodes need to talk to one another.
func (r *reading) clusterTogether(root *node) {
	type at struct {
		address netip.Addr
		port    uint16
	}
	seen := map[at]place{}
	for i := range r.s.Nodes {
		m := &r.s.Nodes[i]
		if m.Port == 0 {
			m.Port = r.s.Cluster.Port
		}
		v := root.get("nodes").get(string(m.Name))
		here := at{m.Address, m.Port}
		if first, twice := seen[here]; twice && m.Address.IsValid() {
			r.errorf(v.get("address"), "found %s, which with the same port is the address of the node at %s", m.Address, first)
		}
		if v.has("address") {
			seen[here] = v.get("address").at
		}
		if r.s.Cluster.KeysFile != "" && !m.Address.IsValid() && !v.has("address") {
			r.errorf(v, `"address" is missing: the other nodes reach it there`)
		}
	}
}

func (r *reading) warnCluster(root *node) {
	if len(r.s.Nodes) < 2 {
		return
	}
	if r.s.Cluster.KeysFile == "" {
		r.warnf(root.get("nodes"), "cluster.keys_file is missing: the nodes do not talk to one another, and each takes the others for silent (pharos cluster keys new makes one)")
		return
	}
	for _, m := range r.s.Nodes {
		if len(m.PublicKey) == 0 {
			r.warnf(root.get("nodes").get(string(m.Name)), "has no public_key: what it says counts for no other node (pharos cluster key show prints it there)")
		}
	}
}

// warnLinks finds the links whose cut leaves a production site seen by no other: then
// nobody else can say whether it lives.
func (r *reading) warnLinks(root *node) {
	for _, l := range r.s.Links {
		for _, site := range l.Between {
			other := slices.ContainsFunc(r.s.Links, func(o Link) bool {
				return o.Name != l.Name && slices.Contains(o.Between[:], site)
			})
			if s := r.sites[site]; s != nil && s.Role == policy.Production && !other {
				r.warnf(root.get("links").get(l.Name), "its cut leaves site %s seen by no other: nobody else could say whether it lives", site)
			}
		}
	}
}

// warnRoles names the parts that a node is told to run and this release does not have.
func (r *reading) warnRoles(root *node) {
	for _, m := range r.s.Nodes {
		var missing []string
		if m.Roles.BGP {
			missing = append(missing, "bgp")
		}
		if m.Roles.Replicate {
			missing = append(missing, "replicate")
		}
		if len(missing) > 0 {
			at := root.get("nodes").get(string(m.Name)).get("roles")
			if at == nil {
				at = r.nodeAt.get("roles")
			}
			r.warnf(at, "this release has no part for %s: the role starts nothing", andOf(missing))
		}
	}
}

// linksSection reads the connections between sites.
func (r *reading) linksSection(n *node) {
	r.named(n, "link", func(name string, v *node) {
		l := Link{Name: name}
		var ends []policy.SiteID
		r.object(v, "links.NAME",
			required("between", func(v *node) {
				r.each(v, "two sites", false, func(v *node) {
					var id policy.SiteID
					r.siteRef(&id)(v)
					ends = append(ends, id)
				})
				if v.kind == list && (len(ends) != 2 || ends[0] == ends[1] && ends[0] != "") {
					r.expected(v, "two different sites")
				}
			}),
			optional("kind", oneOf(r.decoder, &l.Kind, word[string]{"dwdm", "dwdm"}, word[string]{"leased-line", "leased-line"},
				word[string]{"sd-wan", "sd-wan"}, word[string]{"vpn", "vpn"}, word[string]{"internet", "internet"})),
			optional("rtt", r.duration(&l.RTT, 100*time.Microsecond, time.Minute)),
			optional("jitter", r.duration(&l.Jitter, 100*time.Microsecond, time.Minute)),
			optional("loss", r.percent(&l.Loss)),
			optional("bandwidth", r.bandwidth(&l.Bandwidth)),
		)
		if len(ends) == 2 {
			l.Between = [2]policy.SiteID{ends[0], ends[1]}
			r.s.Links = append(r.s.Links, l)
		}
	})
}
