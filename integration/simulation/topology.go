package simulation

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// What every simulated cluster is configured with. Times that are minutes in production are seconds here.
const (
	interval    = time.Second
	timeout     = 500 * time.Millisecond
	fall        = 3
	rise        = 3
	voteTTL     = 3 * time.Second
	rejoinAfter = 30 * time.Second
	serviceID   = policy.ServiceID("shop")
	serviceName = "www.shop.example."
)

// topology is the configuration that a schedule names.
type topology struct {
	cfg     policy.Config // without Self
	members map[policy.NodeID]cluster.Member
	keys    map[policy.NodeID]ed25519.PrivateKey
	nodes   []place
	targets map[policy.TargetID]target
}

// place is where a node stands.
type place struct {
	id   policy.NodeID
	site policy.SiteID
}

// target is what is probed: the balancer of a site, or its uplink.
type target struct {
	site   policy.SiteID
	uplink bool
}

func balancerOf(site policy.SiteID) policy.TargetID { return policy.TargetID("balancer-" + site) }
func uplinkOf(site policy.SiteID) policy.TargetID   { return policy.TargetID("uplink-" + site) }

// addressOf is the address that the service has in the site with a number.
func addressOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(10 * (n + 1))}) }

func newTopology(s *Schedule) (*topology, error) {
	t := &topology{
		cfg: policy.Config{
			Cluster: "sim", RejoinAfter: rejoinAfter, VoteTTL: voteTTL, Targets: map[policy.TargetID]policy.Target{},
		},
		members: map[policy.NodeID]cluster.Member{}, keys: map[policy.NodeID]ed25519.PrivateKey{},
		targets: map[policy.TargetID]target{},
	}
	svc := policy.Service{ID: serviceID, Names: []string{serviceName}, TTL: 10 * time.Second, TTLFloor: 2 * time.Second}
	if s.Steer == "active-active" {
		svc.Steer = policy.ActiveActive
	}
	var err error
	if svc.Return, err = parseReturn(s.Return); err != nil {
		return nil, err
	}
	for i, site := range s.Sites {
		if err := t.addSite(i, site, &svc); err != nil {
			return nil, err
		}
	}
	t.cfg.Services = []policy.Service{svc}
	return t, nil
}

func parseReturn(text string) (r policy.Return, err error) {
	how, rest, _ := strings.Cut(text, " ")
	switch how {
	case "manual":
		return policy.Return{Policy: policy.ReturnManual}, nil
	case "ramp":
		r.Policy = policy.ReturnRamp
		r.Over, err = time.ParseDuration(rest)
	case "hold":
		r.Hold, err = time.ParseDuration(rest)
	default:
		err = fmt.Errorf("return %q: expected hold DURATION, ramp DURATION or manual", text)
	}
	return r, err
}

func (t *topology) addSite(i int, site Site, svc *policy.Service) error {
	id := policy.SiteID(site.Name)
	roles := map[string]policy.SiteRole{"production": policy.Production, "standby": policy.Standby, "witness": policy.Witness}
	role, ok := roles[site.Role]
	if !ok || site.Nodes < 0 || site.Nodes > 9 {
		return fmt.Errorf("site %s: found role %q and %d nodes", site.Name, site.Role, site.Nodes)
	}
	conf := policy.Site{ID: id, Metro: policy.MetroID(site.Metro), Role: role}
	if site.Requires {
		conf.Requires = []policy.Requirement{{Name: "wan", Target: uplinkOf(id)}}
		t.addTarget(uplinkOf(id), target{id, true})
	}
	if role != policy.Witness {
		addr := addressOf(i)
		svc.Endpoints = append(svc.Endpoints, policy.Endpoint{
			ID: policy.EndpointID(addr.String()), Addresses: []netip.Addr{addr}, Weight: 1,
			At: []policy.EndpointSite{{Site: id, Targets: []policy.TargetID{balancerOf(id)}}},
		})
		t.addTarget(balancerOf(id), target{id, false})
	}
	t.cfg.Sites = append(t.cfg.Sites, conf)
	for n := 1; n <= site.Nodes; n++ {
		node := policy.NodeID(fmt.Sprintf("%s%d", site.Name, n))
		t.cfg.Nodes = append(t.cfg.Nodes, policy.Node{ID: node, Site: id, Probes: true})
		var seed [ed25519.SeedSize]byte
		binary.BigEndian.PutUint64(seed[:], uint64(len(t.nodes)+1))
		key := ed25519.NewKeyFromSeed(seed[:])
		t.keys[node] = key
		t.members[node] = cluster.Member{
			Site: id, Address: fmt.Sprintf("127.1.%d.%d:7946", i, n), PublicKey: key.Public().(ed25519.PublicKey),
		}
		t.nodes = append(t.nodes, place{node, id})
	}
	return nil
}

func (t *topology) addTarget(id policy.TargetID, at target) {
	t.targets[id] = at
	t.cfg.Targets[id] = policy.Target{
		ID: id, Site: at.site, Label: string(id), Interval: interval, Timeout: timeout, Fall: fall, Rise: rise,
	}
}
