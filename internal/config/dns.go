package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/zones"
)

// dns reads how questions are taken and which zones are served.
func (r *reading) dns(n *node) {
	c := &r.s.DNS
	ok := r.object(n, "dns",
		optional("listen", r.listen(&c.Listen, 53)),
		optional("zones", r.zonesList),
		optional("edns_size", integer(r.decoder, &c.EDNSSize, 512, 4096)),
		optional("tcp", r.dnsTCP),
		optional("threads", integer(r.decoder, &c.Threads, 1, 256)),
		optional("version", r.textUpTo(&c.Version, 255)),
		optional("hide_version", r.boolean(&c.HideVersion)),
		optional("server_id", r.textUpTo(&c.ServerID, 255)),
		optional("nsid", r.textUpTo(&c.NSID, 255)),
		optional("ecs", func(v *node) {
			r.object(v, "dns.ecs", required("trusted", func(v *node) {
				r.each(v, "networks of resolvers", true, func(v *node) {
					var p netip.Prefix
					r.prefix(&p)(v)
					if slices.Contains(c.ECSTrusted, p) && p.IsValid() {
						r.errorf(v, "found %s twice", p)
					}
					c.ECSTrusted = append(c.ECSTrusted, p)
				})
			}))
		}),
	)
	r.zonesBroken = r.zonesBroken || !ok
	if c.HideVersion && n.has("version") {
		r.errorf(n.get("version"), "has no meaning with hide_version: true")
	}
}

func (r *reading) dnsTCP(n *node) {
	c := &r.s.DNS.TCP
	r.object(n, "dns.tcp",
		optional("max_connections", integer(r.decoder, &c.MaxConns, 1, 1_000_000)),
		optional("max_per_source", integer(r.decoder, &c.MaxPerSource, 1, 1_000_000)),
		optional("idle", r.duration(&c.Idle, 100*time.Millisecond, time.Hour)),
	)
	if c.MaxConns > 0 && c.MaxPerSource > c.MaxConns {
		r.errorf(n.get("max_per_source"), "found %d, expected at most max_connections (%d)", c.MaxPerSource, c.MaxConns)
	}
}

// listen reads addresses and ports, each once.
func (r *reading) listen(dst *[]netip.AddrPort, port uint16) reader {
	return func(n *node) {
		r.each(n, "addresses and ports to listen on", true, func(v *node) {
			var a netip.AddrPort
			own, isOwn := strings.CutPrefix(v.text, ownAddress)
			ok := false
			if isOwn = isOwn && v.kind == scalar; isOwn {
				a, ok = r.ownPort(v, own, port)
			} else {
				r.addrPort(&a, port)(v)
				ok = a.IsValid()
			}
			switch {
			case !ok:
			case a.Port() != 0 && slices.Contains(*dst, a) && isOwn:
				r.errorf(v, "found %s twice", v.describe())
			case a.Port() != 0 && slices.Contains(*dst, a):
				r.errorf(v, "found %s twice", a)
			case a.Addr().IsMulticast():
				r.expected(v, "an address of this machine")
			default:
				*dst = append(*dst, a)
			}
			if isOwn && r.ownAt == nil {
				r.ownAt = v
			}
		})
	}
}

// ownAddress stands for the address of the node that reads it, so that one file
// does for nodes which share a machine.
const ownAddress = "{address}"

// ownPort reads what follows ownAddress: nothing, or a port. The address is
// filled in when it is known which node reads the file.
func (r *reading) ownPort(n *node, rest string, port uint16) (netip.AddrPort, bool) {
	if rest != "" || port == 0 {
		p, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
		if err != nil || !strings.HasPrefix(rest, ":") {
			r.expected(n, "{address} and a port, such as \"{address}:53\"")
			return netip.AddrPort{}, false
		}
		port = uint16(p)
	}
	return netip.AddrPortFrom(netip.Addr{}, port), true
}

// ownListeners fills in the node's own address.
func (r *reading) ownListeners() {
	if r.ownAt == nil {
		return
	}
	own := r.s.Node.Address
	if !own.IsValid() {
		if r.s.Node.Name != "" {
			r.errorf(r.ownAt, "found %s, but the node %s has no address in nodes", r.ownAt.describe(), r.s.Node.Name)
		}
		return
	}
	for _, list := range [][]netip.AddrPort{r.s.DNS.Listen, r.s.API.Listen} {
		for i := range list {
			if !list[i].Addr().IsValid() {
				list[i] = netip.AddrPortFrom(own, list[i].Port())
			}
		}
	}
}

// textUpTo reads a text of some octets at most.
func (r *reading) textUpTo(dst *string, most int) reader {
	return func(n *node) {
		r.text(dst)(n)
		if len(*dst) > most {
			r.errorf(n, "is longer than %d octets", most)
		}
	}
}

func (r *reading) zonesList(n *node) {
	first := make(map[string]place)
	if n.kind == list && len(n.items) == 0 {
		return
	}
	r.each(n, "zones: {name: ..., file: ...}", false, func(v *node) {
		var z zones.Spec
		ok := r.object(v, "dns.zones",
			required("name", r.domain(&z.Name)),
			required("file", r.file(&z.File)),
		)
		if !ok || z.Name == "" {
			r.zonesBroken = true
			return
		}
		if at, twice := first[z.Name]; twice {
			r.errorf(v.get("name"), "the zone %s stands already at %s", z.Name, at)
			return
		}
		first[z.Name] = v.get("name").at
		r.s.Zones = append(r.s.Zones, z)
		r.zoneNames = append(r.zoneNames, z.Name)
		r.zoneSet[z.Name] = true
	})
	if n.kind != list {
		r.zonesBroken = true
	}
}

// dnsDefaults fills in what depends on other sections.
func (r *reading) dnsDefaults(root *node) {
	c := &r.s.DNS
	if len(c.Listen) == 0 && !root.get("dns").has("listen") {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53"), netip.MustParseAddrPort("[::]:53")}
	}
	for _, s := range []*string{&c.ServerID, &c.NSID} {
		*s = strings.ReplaceAll(*s, "{node}", string(r.s.Node.Name))
	}
}

// inZone reports a service's name that no configured zone holds.
func (r *reading) inZone(n *node, name string) {
	if r.zonesBroken {
		return
	}
	if _, ok := deepest(r.zoneSet, name); ok {
		return
	}
	for i := range name {
		if i > 0 && name[i-1] != '.' {
			continue
		}
		if z := nearest(name[i:], r.zoneNames); z != "" {
			r.errorf(n, "%s is in no configured zone: did you mean %q?", name, name[:i]+z)
			return
		}
	}
	if len(r.zoneNames) == 0 {
		r.errorf(n, "%s is in no configured zone: dns.zones holds none", name)
		return
	}
	r.errorf(n, "%s is in no configured zone: expected a name in %s", name, anyOf(r.zoneNames))
}

// siteOf finds the settings of a site.
func (r *reading) siteOf(id policy.SiteID) policy.Site {
	if s := r.sites[id]; s != nil {
		return *s
	}
	return policy.Site{}
}
