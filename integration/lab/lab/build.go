package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/scloudstack/pharos/integration/lab/host"
	"github.com/scloudstack/pharos/integration/lab/wan"
)

// build makes all hosts, cables and routes.
func (l *Lab) build() error {
	var err error
	if l.emulated, err = l.newHost("emulator"); err != nil {
		return err
	}
	if l.internet, err = l.newHost("internet"); err != nil {
		return err
	}
	for _, spec := range l.topology.Sites {
		if err := l.buildSite(spec); err != nil {
			return fmt.Errorf("site %s: %w", spec.Name, err)
		}
	}
	for i, spec := range l.topology.Links {
		if err := l.buildLink(i, spec); err != nil {
			return fmt.Errorf("link %s: %w", spec.Name, err)
		}
	}
	return l.route(func(string) bool { return true })
}

func (l *Lab) newHost(name string) (*host.Host, error) {
	h, err := host.New(name)
	if err == nil {
		l.hosts = append(l.hosts, h)
	}
	return h, err
}

// neighbour is one end of a cable, and the address that it has for the other.
type neighbour struct {
	host.End
	address netip.Addr
}

// know has both ends know the other's address, hardware and all.
func know(a, b neighbour) error {
	for _, x := range [][2]neighbour{{a, b}, {b, a}} {
		hw, err := x[1].End.Address()
		if err != nil {
			return err
		}
		if err := x[0].Neighbour(x[1].address, hw); err != nil {
			return err
		}
	}
	return nil
}

// cables numbers those of all labs of this process.
var cables atomic.Int64

// cable connects two hosts directly.
func (l *Lab) cable(a, b neighbour) error {
	if err := host.Cable(l.cableNumber(), a.End, b.End); err != nil {
		return err
	}
	return know(a, b)
}

func (l *Lab) cableNumber() int { return int(cables.Add(1)) & 0xffffff }

// wire connects two hosts through the emulator.
func (l *Lab) wire(name string, a, b neighbour, to Impairment) error {
	w := wan.Wire{Name: name, A: fmt.Sprintf("w%da", len(l.wires)), B: fmt.Sprintf("w%db", len(l.wires)), AtoB: to, BtoA: to}
	for _, half := range []struct {
		outer host.End
		port  string
	}{{a.End, w.A}, {b.End, w.B}} {
		port := host.End{Host: l.emulated, Device: half.port}
		if err := errors.Join(host.Cable(l.cableNumber(), half.outer, port), half.outer.NoOffloads(), port.Bare()); err != nil {
			return err
		}
	}
	l.wires = append(l.wires, w)
	return know(a, b)
}

func (l *Lab) buildSite(spec SiteSpec) error {
	s := &Site{lab: l, spec: spec}
	l.sites = append(l.sites, s)
	for _, h := range []struct {
		host **host.Host
		name string
	}{{&s.router, "router"}, {&s.balancerHost, "balancers"}, {&s.clients, "clients"}} {
		var err error
		if *h.host, err = l.newHost(spec.Name + " " + h.name); err != nil {
			return err
		}
	}
	if err := s.router.Forward(); err != nil {
		return err
	}
	if err := s.router.AddAddress("lo", spec.router()); err != nil {
		return err
	}
	for _, step := range []func() error{s.buildUplink, s.buildBalancers, s.buildClients, s.buildNodes} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

var everywhere = netip.MustParsePrefix("0.0.0.0/0")

func host32(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (s *Site) buildUplink() error {
	inside := neighbour{host.End{Host: s.router, Device: deviceUplink}, s.spec.router()}
	outside := neighbour{host.End{Host: s.lab.internet, Device: fmt.Sprintf("site%d", s.spec.Number)}, s.spec.outside()}
	s.uplink = &Link{lab: s.lab, name: "uplink of " + s.Name(), wire: "uplink/" + s.Name(), ends: [2]string{s.Name(), ""}}
	return firstError(
		func() error { return s.lab.wire(s.uplink.wire, inside, outside, Impairment{}) },
		func() error { return s.lab.internet.AddAddress(outside.Device, outside.address) },
		func() error {
			return s.lab.internet.Route(s.spec.network(), outside.Device, inside.address, outside.address)
		},
		func() error {
			return s.router.Route(host32(outside.address), deviceUplink, outside.address, inside.address)
		},
	)
}

func (s *Site) buildBalancers() error {
	router := neighbour{host.End{Host: s.router, Device: deviceBalancers}, s.spec.router()}
	inside := neighbour{host.End{Host: s.balancerHost, Device: "eth0"}, s.spec.balancer(0)}
	s.balancerWire = &Link{lab: s.lab, name: "balancers of " + s.Name(), wire: "balancers/" + s.Name(), ends: [2]string{s.Name(), ""}}
	if err := s.lab.wire(s.balancerWire.wire, router, inside, Impairment{}); err != nil {
		return err
	}
	for i := range max(1, s.spec.Balancers) {
		b := &balancer{name: fmt.Sprintf("%s balancer %d", s.Name(), i+1), address: s.spec.balancer(i)}
		if err := s.balancerHost.AddAddress("eth0", b.address); err != nil {
			return err
		}
		s.balancers = append(s.balancers, b)
	}
	return firstError(
		func() error { return s.balancerHost.Route(everywhere, "eth0", router.address, netip.Addr{}) },
		func() error {
			return s.router.Route(s.spec.balancers(), deviceBalancers, inside.address, router.address)
		},
	)
}

func (s *Site) buildClients() error {
	router := neighbour{host.End{Host: s.router, Device: deviceClients}, s.spec.router()}
	inside := neighbour{host.End{Host: s.clients, Device: "eth0"}, s.spec.clients()}
	return firstError(
		func() error { return s.lab.cable(router, inside) },
		func() error { return s.clients.AddAddress("eth0", inside.address) },
		func() error { return s.clients.Route(everywhere, "eth0", router.address, inside.address) },
		func() error {
			return s.router.Route(host32(inside.address), deviceClients, inside.address, router.address)
		},
	)
}

func (s *Site) buildNodes() error {
	for i, spec := range s.spec.Nodes {
		h, err := s.lab.newHost(spec.Name)
		if err != nil {
			return err
		}
		n := &Node{lab: s.lab, site: s, spec: spec, host: h, address: s.spec.node(i), access: s.spec.nodeAccess(i)}
		n.wire = &Link{lab: s.lab, name: "cable of " + spec.Name, wire: "node/" + spec.Name, ends: [2]string{s.Name(), spec.Name}}
		s.nodes, s.lab.nodes = append(s.nodes, n), append(s.lab.nodes, n)
		if err := n.build(i); err != nil {
			return err
		}
	}
	return nil
}

// build gives the node its cable to the router, and the one to its clients.
func (n *Node) build(i int) error {
	device := fmt.Sprintf("%s%d", deviceNode, i)
	router := neighbour{host.End{Host: n.site.router, Device: device}, n.site.spec.router()}
	inside := neighbour{host.End{Host: n.host, Device: "eth0"}, n.address}
	clients := neighbour{host.End{Host: n.site.clients, Device: device}, n.site.spec.clients()}
	access := neighbour{host.End{Host: n.host, Device: "clients"}, n.access}
	return firstError(
		func() error { return n.lab.wire(n.wire.wire, router, inside, Impairment{}) },
		func() error { return n.host.AddAddress("eth0", n.address) },
		func() error { return n.host.Route(everywhere, "eth0", router.address, n.address) },
		func() error { return n.site.router.Route(host32(n.address), device, n.address, router.address) },
		func() error { return n.lab.cable(clients, access) },
		func() error { return n.host.AddAddress("clients", n.access) },
		func() error { return n.host.Route(host32(clients.address), "clients", clients.address, n.access) },
		func() error { return n.site.clients.Route(host32(n.access), device, n.access, clients.address) },
	)
}

func (l *Lab) buildLink(i int, spec LinkSpec) error {
	k := &Link{lab: l, name: spec.Name, wire: spec.Name, ends: spec.Between, spec: spec, between: true}
	l.links = append(l.links, k)
	var ends [2]neighbour
	for e, name := range spec.Between {
		ends[e] = neighbour{host.End{Host: l.Site(name).router, Device: spec.Name}, linkEnd(i, e)}
		k.addresses[e] = ends[e].address
	}
	if err := l.wire(spec.Name, ends[0], ends[1], spec.To); err != nil {
		return err
	}
	for e := range ends {
		here, there := ends[e], ends[1-e]
		if err := here.Host.AddAddress(spec.Name, here.address); err != nil {
			return err
		}
		if err := here.Host.Route(host32(there.address), spec.Name, netip.Addr{}, here.address); err != nil {
			return err
		}
	}
	return nil
}

// route sets the routes between sites by the links that are usable. Sites that
// none connects keep the routes they had: into the cut.
func (l *Lab) route(usable func(link string) bool) error {
	for pair, link := range l.topology.paths(usable) {
		from, to := l.Site(pair[0]), l.Site(pair[1])
		k := l.Link(link)
		there := k.addresses[1-k.end(from.Name())]
		if err := from.router.Route(to.spec.network(), link, there, from.spec.router()); err != nil {
			return err
		}
	}
	return nil
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
