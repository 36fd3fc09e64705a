package cluster

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/scloudstack/pharos/policy"
)

// GossipConfig is what the transport is told.
type GossipConfig struct {
	Cluster  string
	Self     policy.NodeID
	Members  map[policy.NodeID]Member // of the configuration, Self among them; addresses as host:port
	Listen   string                   // "": Self's address
	KeysFile string                   // gossip keys, see `pharos cluster keys`
	Blocked  []policy.SiteID          // as of Block, before anything is heard
	Decoder  *Decoder
	Log      *slog.Logger

	// Transport stands in the place of UDP and TCP, for many nodes in one process; nil: UDP and TCP.
	Transport memberlist.Transport

	tune func(*memberlist.Config) // for tests with more nodes than the machine has room for
}

// Gossip carries packets between the nodes of a cluster, over memberlist: encrypted, to those that the configuration names
// and to nobody else. Run owns the goroutines; the node's loop sends by Send, and receives from Messages and Changed.
type Gossip struct {
	cluster  string
	self     policy.NodeID
	log      *slog.Logger
	decoder  *Decoder
	keys     *gossipKeys
	settings atomic.Pointer[gossipSettings]
	blocked  atomic.Pointer[blockList]
	stats    counters

	list     *memberlist.Memberlist
	sender   *sender
	messages chan Message
	changed  chan struct{}
	kick     chan struct{}
	retell   chan struct{}

	mu         sync.Mutex // guards what follows, and that settings and blocked are of one membership
	up         map[policy.NodeID]meta
	complaints map[string]time.Time
	cutOff     []policy.SiteID // what Block said last
}

// gossipSettings are what a reload changes.
type gossipSettings struct {
	members map[policy.NodeID]Member
	addrs   map[policy.NodeID]netip.AddrPort
	own     netip.AddrPort
	order   []policy.NodeID // without self
}

type counters struct{ received, sent, messages, refused, dropped, failed atomic.Uint64 }

// GossipStats are counters since the start.
type GossipStats struct {
	ReceivedBytes, SentBytes uint64 // as on the wire, without UDP and TCP headers
	Messages                 uint64 // packets that were good
	Refused                  uint64 // packets, and nodes, that were not
	Dropped                  uint64 // for want of room in a queue
	Failed                   uint64 // packets that could not be sent
}

const (
	messageQueue = 4096
	tcpTimeout   = 3 * time.Second
	leaveTimeout = time.Second
	rejoinLeast  = time.Second
	rejoinMost   = 10 * time.Second
	rejoinAtOnce = 8
	manyNodes    = 50 // from here on a join is dear: it brings the whole membership both ways
	rejoinOfMany = 2
	kickOfFew    = 200 * time.Millisecond
	kickOfMany   = time.Second
	complainLast = time.Minute
)

// NewGossip opens the sockets and reads the keys. It joins nobody before Run; where Run is never called, Close it.
func NewGossip(cfg GossipConfig) (*Gossip, error) {
	g := &Gossip{
		cluster: cfg.Cluster, self: cfg.Self, log: cfg.Log, decoder: cfg.Decoder,
		messages: make(chan Message, messageQueue), changed: make(chan struct{}, 1), kick: make(chan struct{}, 1), retell: make(chan struct{}, 1),
		up: map[policy.NodeID]meta{}, complaints: map[string]time.Time{}, cutOff: cfg.Blocked,
	}
	s, err := readSettings(cfg.Self, cfg.Members)
	if err != nil {
		return nil, err
	}
	if len(cfg.Cluster) > maxCluster {
		return nil, fmt.Errorf("gossip: cluster name of %d octets, at most %d expected", len(cfg.Cluster), maxCluster)
	}
	g.settings.Store(s)
	g.blocked.Store(newBlockList(s.members, g.self, cfg.Blocked))
	if g.keys, err = openKeys(cfg.KeysFile); err != nil {
		return nil, err
	}
	transport := cfg.Transport
	if transport == nil {
		at := s.own
		if cfg.Listen != "" {
			if at, err = netip.ParseAddrPort(cfg.Listen); err != nil {
				return nil, fmt.Errorf("gossip: listen %q: host:port expected: %w", cfg.Listen, err)
			}
		}
		if transport, err = listen(at, &g.blocked, &g.stats, g.log); err != nil {
			return nil, err
		}
	}
	list := g.memberlistConfig(transport, s.own)
	if cfg.tune != nil {
		cfg.tune(list)
	}
	if g.list, err = memberlist.Create(list); err != nil {
		transport.Shutdown()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g.sender = newSender(g.sendDatagram, g.sendStream, &g.stats, g.log)
	return g, nil
}

func readSettings(self policy.NodeID, members map[policy.NodeID]Member) (*gossipSettings, error) {
	s := &gossipSettings{members: members, addrs: map[policy.NodeID]netip.AddrPort{}}
	for id, m := range members {
		addr, err := netip.ParseAddrPort(m.Address)
		if err != nil {
			return nil, fmt.Errorf("gossip: address %q of node %s: host:port expected: %w", m.Address, id, err)
		}
		s.addrs[id] = unmapped(addr)
		if id != self {
			s.order = append(s.order, id)
		}
	}
	own, ok := s.addrs[self]
	if !ok {
		return nil, fmt.Errorf("gossip: node %q is none of the configuration", self)
	}
	s.own = own
	slices.Sort(s.order)
	return s, nil
}

func (g *Gossip) memberlistConfig(transport memberlist.Transport, own netip.AddrPort) *memberlist.Config {
	d := delegate{g}
	c := memberlist.DefaultLANConfig()
	c.Name = string(g.self)
	c.Transport = transport
	c.AdvertiseAddr, c.AdvertisePort = own.Addr().String(), int(own.Port())
	c.Keyring = g.keys.ring
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict = d, d, d, d, d
	c.Logger = log.New(logWriter{g}, "", 0)
	c.TCPTimeout = tcpTimeout
	c.EnableCompression = false
	c.DeadNodeReclaimTime = time.Second // a node's address changes with the configuration alone, see judge
	c.DNSConfigPath = ""
	return c
}

// SetMembers takes the nodes of a new configuration. After an error nothing has changed.
func (g *Gossip) SetMembers(members map[policy.NodeID]Member) error {
	s, err := readSettings(g.self, members)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.settings.Store(s)
	g.blocked.Store(newBlockList(s.members, g.self, g.cutOff)) // its nodes may have moved, or be others
	g.mu.Unlock()
	g.rejoinNow()
	return nil
}

// Run takes part in the cluster until the context ends; then it leaves, and waits for every goroutine. (Save for a probe of
// memberlist's that is under way: without sockets it ends by itself within seconds, and there is nothing to wait for it by.)
func (g *Gossip) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	group, _ := errgroup.WithContext(work)
	group.Go(func() error { g.sender.run(work); return nil })
	group.Go(func() error { g.rejoin(work); return nil })
	group.Go(func() error { g.tellMeta(work); return nil })
	<-ctx.Done()
	stop()
	group.Wait()
	if err := g.list.Leave(leaveTimeout); err != nil {
		g.log.Debug("gossip: nobody heard this node leave", "err", err)
	}
	return g.Close()
}

// Close shuts the sockets without leaving; Run does it by itself.
func (g *Gossip) Close() error {
	err := g.list.Shutdown()
	g.sender.close()
	return err
}

// Send has packets sent. It never waits.
func (g *Gossip) Send(packets []Packet) {
	s := g.settings.Load()
	blocked := g.blocked.Load()
	for _, p := range packets {
		if p.To != "" {
			if _, known := s.addrs[p.To]; known && !blocked.hasNode(p.To) {
				g.sender.put(p.To, p)
			}
			continue
		}
		for _, id := range s.order {
			if !blocked.hasNode(id) {
				g.sender.put(id, p)
			}
		}
	}
}

func (g *Gossip) sendDatagram(to policy.NodeID, data []byte) error {
	addr, ok := g.settings.Load().addrs[to]
	if !ok {
		return nil
	}
	return g.list.SendToAddress(memberlist.Address{Addr: addr.String(), Name: string(to)}, data)
}

func (g *Gossip) sendStream(to policy.NodeID, data []byte) error {
	addr, ok := g.settings.Load().addrs[to]
	if !ok {
		return nil
	}
	return g.list.SendReliable(&memberlist.Node{Name: string(to), Addr: addr.Addr().AsSlice(), Port: addr.Port()}, data)
}

// receive decodes a packet on a goroutine of the transport, and queues it.
func (g *Gossip) receive(packet []byte) {
	m, err := g.decoder.Decode(packet)
	if err != nil {
		g.stats.refused.Add(1)
		g.complain("packet "+string(m.From), "gossip packet refused", "err", err)
		return
	}
	if g.blocked.Load().hasNode(m.From) {
		return
	}
	g.stats.messages.Add(1)
	if m.kind != typeEntries && !g.isUp(m.From) {
		g.rejoinNow() // it can be reached again
	}
	select {
	case g.messages <- m:
	default:
		g.stats.dropped.Add(1)
		g.complain("queue", "gossip packets dropped: the node's loop does not keep up")
	}
}

// Messages are packets of peers, decoded and verified.
func (g *Gossip) Messages() <-chan Message { return g.messages }

// Changed tells that Alive has changed since it was last read.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// Alive are the other nodes that the membership sees, by name.
func (g *Gossip) Alive() []policy.NodeID {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]policy.NodeID, 0, len(g.up))
	for id := range g.up {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (g *Gossip) isUp(node policy.NodeID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.up[node]
	return ok
}

// alive takes the membership's word. It is called under memberlist's lock.
func (g *Gossip) alive(n *memberlist.Node, up bool) {
	id := policy.NodeID(n.Name)
	if id == g.self {
		return
	}
	g.mu.Lock()
	_, was := g.up[id]
	if up {
		g.up[id], _ = decodeMeta(n.Meta)
	} else {
		delete(g.up, id)
	}
	g.mu.Unlock()
	if was != up {
		g.log.Info("gossip: a node came or went", "node", id, "up", up, "address", addressOf(n))
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// Stats are counters since the start.
func (g *Gossip) Stats() GossipStats {
	c := &g.stats
	return GossipStats{c.received.Load(), c.sent.Load(), c.messages.Load(), c.refused.Load(), c.dropped.Load(), c.failed.Load()}
}

// Block drops all gossip of the nodes of some sites, both ways, and nothing else; none ends it. It is for drills.
func (g *Gossip) Block(sites []policy.SiteID) {
	g.mu.Lock()
	g.cutOff = sites
	g.blocked.Store(newBlockList(g.settings.Load().members, g.self, sites))
	g.mu.Unlock()
	if len(sites) == 0 {
		g.rejoinNow()
	}
}

func (g *Gossip) rejoinNow() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// rejoin joins every node of the configuration that the membership does not see, for ever: memberlist itself forgets a
// dead side. The time between two attempts grows, and falls back when a packet shows that someone is there.
func (g *Gossip) rejoin(ctx context.Context) {
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.kick:
			pause = 0
			select {
			case <-time.After(g.kickPause()): // kicks come in swarms
			case <-ctx.Done():
				return
			}
		case <-time.After(pause + time.Duration(rand.Int64N(int64(pause/4+50*time.Millisecond)))):
		}
		g.joinMissing(ctx)
		pause = min(max(2*pause, rejoinLeast), rejoinMost)
	}
}

func (g *Gossip) kickPause() time.Duration {
	if len(g.settings.Load().order) > manyNodes {
		return kickOfMany + time.Duration(rand.Int64N(int64(kickOfMany)))
	}
	return kickOfFew
}

func (g *Gossip) joinMissing(ctx context.Context) {
	s := g.settings.Load()
	var missing []policy.NodeID
	for _, id := range s.order {
		if !g.isUp(id) && !g.blocked.Load().hasNode(id) {
			missing = append(missing, id)
		}
	}
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	var group errgroup.Group
	atOnce := rejoinAtOnce
	if len(s.order) > manyNodes {
		atOnce = rejoinOfMany
	}
	for _, id := range missing[:min(len(missing), atOnce)] { // each brings those that it sees
		group.Go(func() error {
			addr := s.addrs[id].String()
			if _, err := g.list.Join([]string{string(id) + "/" + addr}); err != nil && ctx.Err() == nil {
				g.explainJoin(id, addr, err)
			}
			return nil
		})
	}
	group.Wait()
}

// GossipKeys lists this node's gossip keys.
func (g *Gossip) GossipKeys() []GossipKey { return g.keys.list() }

// KeysByNode lists the gossip keys of every node that the membership sees, this one among them.
func (g *Gossip) KeysByNode() map[policy.NodeID][]GossipKey {
	out := map[policy.NodeID][]GossipKey{g.self: g.keys.list()}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, m := range g.up {
		out[id] = m.keys
	}
	return out
}

// ApplyKeyOrder does a step of a key rotation on this node, and tells the others what keys it has now. Whether all nodes are
// ready for it is asked before, with KeyOrder.ReadyFor. It reads a file at most, and waits for nobody.
func (g *Gossip) ApplyKeyOrder(o KeyOrder) error {
	var err error
	switch o.Op {
	case KeyReread:
		err = g.keys.reread()
	case KeyUse:
		err = g.keys.use(o.Key)
	case KeyRemove:
		err = g.keys.remove(o.Key)
	default:
		err = fmt.Errorf("gossip keys: step %d is not known", o.Op)
	}
	select {
	case g.retell <- struct{}{}: // also that it failed
	default:
	}
	return err
}

// tellMeta tells the others when this node's metadata has changed.
func (g *Gossip) tellMeta(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.retell:
		}
		if err := g.list.UpdateNode(leaveTimeout); err != nil {
			g.log.Debug("gossip: metadata not told yet", "err", err)
		}
	}
}

func (g *Gossip) ownMeta() meta {
	own := g.settings.Load().members[g.self]
	return meta{least: oldestProtocol, most: protocolVersion, cluster: g.cluster, site: own.Site, key: keyPrint(own.PublicKey), keys: g.keys.list()}
}
