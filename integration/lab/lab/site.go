package lab

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/scloudstack/pharos/integration/lab/host"
)

// Site is one site of a lab.
type Site struct {
	lab  *Lab
	spec SiteSpec

	router, balancerHost, clients *host.Host

	uplink       *Link
	balancerWire *Link
	balancers    []*balancer
	nodes        []*Node
}

// Name is the site's.
func (s *Site) Name() string { return s.spec.Name }

// Nodes are the site's.
func (s *Site) Nodes() []*Node { return slices.Clone(s.nodes) }

// Router is the site's edge router.
func (s *Site) Router() *host.Host { return s.router }

// Clients is the host of the site's clients.
func (s *Site) Clients() *host.Host { return s.clients }

// Balancers is the host of the site's load balancers.
func (s *Site) Balancers() *host.Host { return s.balancerHost }

// Balancer is the address of a load balancer, from 0 on.
func (s *Site) Balancer(i int) netip.Addr { return s.balancers[i].address }

// Uplink is the site's way to the Internet, where what it requires is: cut, the
// links between sites still work.
func (s *Site) Uplink() *Link { return s.uplink }

// BalancerCable is the cable of the site's balancers: cut, they are silent,
// where killed ones refuse.
func (s *Site) BalancerCable() *Link { return s.balancerWire }

// Links are those between this site and others.
func (s *Site) Links() []*Link {
	var own []*Link
	for _, k := range s.lab.links {
		if slices.Contains(k.ends[:], s.Name()) {
			own = append(own, k)
		}
	}
	return own
}

// CutOff cuts all links to other sites; the uplink stays.
func (s *Site) CutOff() {
	s.lab.t.Helper()
	for _, k := range s.Links() {
		k.Cut()
	}
}

// Reconnect mends them.
func (s *Site) Reconnect() {
	s.lab.t.Helper()
	for _, k := range s.Links() {
		k.Mend()
	}
}

// Kill ends all nodes and balancers of the site by SIGKILL.
func (s *Site) Kill() {
	s.lab.t.Helper()
	errs := []error{s.killBalancers()}
	for _, n := range s.nodes {
		errs = append(errs, n.kill())
	}
	s.lab.must(errors.Join(errs...))
}

// Revive starts them again, and waits until they answer.
func (s *Site) Revive() {
	s.lab.t.Helper()
	s.lab.must(s.healBalancers())
	for _, n := range s.nodes {
		s.lab.must(n.launch())
	}
	for _, n := range s.nodes {
		s.lab.must(n.awaitAnswer())
	}
}

// KillBalancers ends all balancers by SIGKILL: the site's hosts refuse connections.
func (s *Site) KillBalancers() {
	s.lab.t.Helper()
	s.lab.must(s.killBalancers())
}

func (s *Site) killBalancers() error {
	var errs []error
	for _, b := range s.balancers {
		errs = append(errs, b.kill())
	}
	return errors.Join(errs...)
}

// SilenceBalancers cuts their cable: checks of them time out.
func (s *Site) SilenceBalancers() {
	s.lab.t.Helper()
	s.balancerWire.Cut()
}

// Break503 has all balancers answer 503.
func (s *Site) Break503() {
	s.lab.t.Helper()
	for _, b := range s.balancers {
		s.lab.must(b.breakIt())
	}
}

// HealBalancers has all balancers run and answer, whatever was done to them.
func (s *Site) HealBalancers() {
	s.lab.t.Helper()
	s.balancerWire.Mend()
	s.lab.must(s.healBalancers())
}

func (s *Site) healBalancers() error {
	var errs []error
	for _, b := range s.balancers {
		errs = append(errs, b.start(s))
	}
	return errors.Join(errs...)
}

// Flap breaks and heals the balancers in turn, each state lasting every, and
// leaves them well.
func (s *Site) Flap(every, during time.Duration) {
	s.lab.t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); {
		s.Break503()
		<-time.After(every)
		s.HealBalancers()
		<-time.After(every)
	}
}

// KillBalancer ends one balancer, from 0 on, by SIGKILL.
func (s *Site) KillBalancer(i int) {
	s.lab.t.Helper()
	s.lab.must(s.balancers[i].kill())
}

// HealBalancer has one balancer run and answer.
func (s *Site) HealBalancer(i int) {
	s.lab.t.Helper()
	s.lab.must(s.balancers[i].start(s))
}
