package node

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// CheckKeysFile warns of a file of gossip keys that the node could not use: it would start all the same. Away from
// the nodes that the configuration is for, the file need not be there.
func CheckKeysFile(s *config.Settings) config.Warnings {
	if !s.Gossips() {
		return nil
	}
	if err := cluster.CheckKeysFile(s.Cluster.KeysFile); err != nil {
		return config.Warnings{s.KeysFileProblem(err)}
	}
	return nil
}

const (
	gossipRetry = 5 * time.Second        // how long after a failure the sockets are tried again
	greetAfter  = 400 * time.Millisecond // how long a start gives the membership to see who is there
)

// gossip joins the loop to the other nodes. Sockets or keys that can't be opened must not
// stop DNS: they are tried again and again. A nil gossip is that of a node without others.
type gossip struct {
	loop    *loop
	decoder *cluster.Decoder
	open    func(blocked []policy.SiteID) (*cluster.Gossip, error)
	log     *slog.Logger

	fault     func(error) // why it is not open; nil: it is
	keysFault func(error) // why the keys could not be read again; nil: they were

	mu      sync.Mutex      // guards what follows
	on      *cluster.Gossip // nil: not open
	blocked []policy.SiteID
	turned  chan struct{} // closed when the last steps of a rotation of keys are done; nil: there was none
}

// openGossip makes the part that speaks to the other nodes, where there are any.
func (n *Node) openGossip() {
	settings := n.situation().running.settings
	if !settings.Gossips() {
		return
	}
	log := n.log.With("part", "gossip")
	decoder := cluster.NewDecoder(settings.Node.Name, n.loop.replica.Keyring())
	n.gossip = &gossip{
		loop: n.loop, decoder: decoder, log: log,
		blocked: n.loop.state.Blocked(), // drills that a restart does not end; the loop does not run yet
		open: func(blocked []policy.SiteID) (*cluster.Gossip, error) {
			s := n.situation().running.settings
			return cluster.NewGossip(cluster.GossipConfig{
				Cluster: s.Policy.Cluster, Self: s.Node.Name, Members: members(s, n.loop.key),
				KeysFile: s.Cluster.KeysFile, Blocked: blocked, Decoder: decoder, Log: log,
			})
		},
		fault: func(err error) {
			n.change(func(s *situation) {
				s.gossipFault.set(err)
				if err == nil {
					s.keysFault.set(nil) // the keys were read for it
				}
			})
		},
		keysFault: func(err error) { n.change(func(s *situation) { s.keysFault.set(err) }) },
	}
}

// Run speaks to the other nodes until ctx ends.
func (g *gossip) Run(ctx context.Context) error {
	defer g.awaitKeys()
	for {
		on, err := g.open(g.cutOff())
		if err == nil {
			g.fault(nil)
			g.set(on)
			err = g.speak(ctx, on)
			g.set(nil)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			g.log.Error("no gossip: this node hears no other", "error", err)
			g.fault(err)
		}
		retry := time.NewTimer(gossipRetry)
		select {
		case <-ctx.Done():
			retry.Stop()
			return nil
		case <-retry.C:
		}
	}
}

func (g *gossip) set(on *cluster.Gossip) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.on = on
	if on != nil {
		on.Block(g.blocked)
	}
}

func (g *gossip) cutOff() []policy.SiteID {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.blocked
}

func (g *gossip) current() *cluster.Gossip {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.on
}

// speak hands what comes from others to the loop.
func (g *gossip) speak(ctx context.Context, on *cluster.Gossip) error {
	ended := make(chan error, 1)
	go func() { ended <- on.Run(ctx) }()
	greet := time.NewTimer(greetAfter)
	defer greet.Stop()
	var alive []policy.NodeID
	for {
		select {
		case err := <-ended:
			return err
		case <-greet.C:
			g.tell(sighting{})
		case m := <-on.Messages():
			select {
			case g.loop.heard <- m:
			case <-g.loop.done:
			}
		case <-on.Changed():
			now := on.Alive()
			for _, id := range now {
				if !slices.Contains(alive, id) {
					g.tell(sighting{id, true})
				}
			}
			for _, id := range alive {
				if !slices.Contains(now, id) {
					g.tell(sighting{id, false})
				}
			}
			alive = now
		}
	}
}

func (g *gossip) tell(s sighting) {
	select {
	case g.loop.sighted <- s:
	case <-g.loop.done:
	}
}

// send has packets sent, without waiting.
func (g *gossip) send(list []cluster.Packet) {
	if on := g.current(); on != nil && len(list) > 0 {
		on.Send(list)
	}
}

// block has a drill cut this node off from sites, and from no others.
func (g *gossip) block(sites []policy.SiteID) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked = sites
	if g.on != nil {
		g.on.Block(sites)
	}
}

// follow has the nodes of another configuration spoken to, and their keys count.
func (g *gossip) follow(k *cluster.Keyring, nodes map[policy.NodeID]cluster.Member) {
	if g == nil {
		return
	}
	g.decoder.SetKeyring(k)
	if on := g.current(); on != nil {
		if err := on.SetMembers(nodes); err != nil {
			g.log.Error("the nodes of the configuration can't be followed", "error", err)
		}
	}
}
