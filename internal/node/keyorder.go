package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// keyOrder reads a step of a rotation of gossip keys from an entry.
func keyOrder(e policy.Entry) (cluster.KeyOrder, error) {
	verb, text, _ := strings.Cut(e.Key, "/")
	o := cluster.KeyOrder{Op: map[string]cluster.KeyOp{"add": cluster.KeyReread, "use": cluster.KeyUse, "remove": cluster.KeyRemove}[verb]}
	if o.Op == cluster.KeyReread {
		return o, nil
	}
	var err error
	o.Key, err = cluster.ParseFingerprint(text)
	return o, err
}

// keySteps are the steps of a rotation among entries, in the order in which they were given: a node that was away, or
// has an empty folder, hears of several at once.
func keySteps(list []policy.Entry) []policy.Entry {
	var steps []policy.Entry
	for _, e := range list {
		if e.Kind == policy.KindGossipKeys {
			steps = append(steps, e)
		}
	}
	slices.SortFunc(steps, func(a, b policy.Entry) int { return a.Stamp.Compare(b.Stamp) })
	return steps
}

// turnKeys follows the steps among new entries, after those that it was told before, and without waiting: a file may
// have to be read.
func (g *gossip) turnKeys(list []policy.Entry) {
	on, steps := g.current(), keySteps(list)
	if on == nil || len(steps) == 0 {
		return
	}
	done := make(chan struct{})
	g.mu.Lock()
	before := g.turned
	g.turned = done
	g.mu.Unlock()
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		for _, e := range steps {
			g.turnKey(on, e)
		}
	}()
}

func (g *gossip) turnKey(on *cluster.Gossip, e policy.Entry) {
	o, err := keyOrder(e)
	if err == nil {
		err = on.ApplyKeyOrder(o)
	}
	if o.Op == cluster.KeyReread {
		g.keysFault(err)
	}
	if err != nil {
		g.log.Error("a step of the rotation of gossip keys was not done", "step", e.Key, "author", e.Author, "error", err)
		return
	}
	g.log.Info("gossip keys", "step", e.Key, "author", e.Author)
}

// awaitKeys waits until the steps are done that turnKeys was told so far.
func (g *gossip) awaitKeys() {
	g.mu.Lock()
	turned := g.turned
	g.mu.Unlock()
	if turned != nil {
		<-turned
	}
}

// AddGossipKeys has every node read its keys_file again.
func (n *Node) AddGossipKeys(ctx context.Context, author string) (api.GossipKeys, error) {
	return n.turnGossipKeys(ctx, "add", author)
}

// UseGossipKey has every node send with a key. It is refused until every node that counts has the key.
func (n *Node) UseGossipKey(ctx context.Context, fingerprint, author string) (api.GossipKeys, error) {
	return n.turnGossipKeys(ctx, "use/"+fingerprint, author)
}

// RemoveGossipKey has every node forget a key. It is refused while any node that counts sends with it.
func (n *Node) RemoveGossipKey(ctx context.Context, fingerprint, author string) (api.GossipKeys, error) {
	return n.turnGossipKeys(ctx, "remove/"+fingerprint, author)
}

// turnGossipKeys gives a step as an order, so that it is stored, signed and audited, and every node does it.
func (n *Node) turnGossipKeys(ctx context.Context, step, author string) (api.GossipKeys, error) {
	on := n.gossip.current()
	if on == nil {
		return api.GossipKeys{}, errAlone
	}
	o, err := keyOrder(policy.Entry{Key: step})
	if err != nil {
		return api.GossipKeys{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	d, err := n.decision(ctx)
	if err != nil {
		return api.GossipKeys{}, err
	}
	var count []policy.NodeID
	for _, m := range d.Members {
		if !isLost(d, m.Site) {
			count = append(count, m.Node)
		}
	}
	if late := o.ReadyFor(count, on.KeysByNode()); len(late) > 0 {
		var why []string
		for node, text := range late {
			why = append(why, fmt.Sprintf("%s: %s", node, text))
		}
		slices.Sort(why)
		return api.GossipKeys{}, fmt.Errorf("%w: not every node is ready: %s", api.ErrConflict, strings.Join(why, "; "))
	}
	order := policy.Order{Kind: policy.KindGossipKeys, Key: step, Author: author, Reason: "rotation of gossip keys"}
	result, err := n.Order(ctx, order, api.Giving{Wait: api.WaitReachable, WaitFor: api.DefaultWaitFor})
	if err != nil {
		return api.GossipKeys{}, err
	}
	n.gossip.awaitKeys()
	awaitFollowed(ctx, o, n.gossip.keysByNode)
	keys, err := n.GossipKeys(ctx)
	if o.Op == cluster.KeyReread {
		missing := slices.DeleteFunc([]string{result.Partial, n.unread(keys)}, func(s string) bool { return s == "" })
		result.Partial = strings.Join(missing, "; ")
	}
	keys.Partial = result.Partial
	return keys, err
}

// unread says which nodes could not read their keys_file again, and of this one why.
func (n *Node) unread(keys api.GossipKeys) string {
	var list []string
	for _, node := range keys.Nodes {
		err := n.situation().keysFault.err
		switch {
		case node.Self && err != nil:
			list = append(list, fmt.Sprintf("%s: %v", node.Node, err))
		case node.Unread:
			list = append(list, fmt.Sprintf("%s could not read its keys_file: its alarm gossip-keys says why", node.Node))
		}
	}
	return strings.Join(list, "; ")
}

// awaitFollowed waits until every node that is heard tells that it has done a step: that comes by the membership, after
// the order itself was acknowledged.
func awaitFollowed(ctx context.Context, o cluster.KeyOrder, known func() map[policy.NodeID][]cluster.GossipKey) {
	limit := time.NewTimer(api.DefaultWaitFor)
	defer limit.Stop()
	tick := time.NewTicker(ackPoll)
	defer tick.Stop()
	for !followed(o, known()) {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// followed says whether every node has done a step. What add asks for is that all have the same keys in their files, and take
// them.
func followed(o cluster.KeyOrder, known map[policy.NodeID][]cluster.GossipKey) bool {
	all := map[cluster.Fingerprint]bool{}
	for _, keys := range known {
		for _, k := range keys {
			all[k.Fingerprint] = all[k.Fingerprint] || k.InFile
		}
	}
	has := func(keys []cluster.GossipKey, f cluster.Fingerprint) cluster.GossipKey {
		i := slices.IndexFunc(keys, func(k cluster.GossipKey) bool { return k.Fingerprint == f })
		if i < 0 {
			return cluster.GossipKey{}
		}
		return keys[i]
	}
	for _, keys := range known {
		switch {
		case o.Op == cluster.KeyReread && slices.ContainsFunc(keys, func(k cluster.GossipKey) bool { return k.Unread }):
			return false
		case o.Op == cluster.KeyUse && !has(keys, o.Key).Sends, o.Op == cluster.KeyRemove && has(keys, o.Key).Installed:
			return false
		case o.Op != cluster.KeyReread:
			continue
		}
		for f, inFile := range all {
			if k := has(keys, f); k.InFile != inFile || inFile && !k.Installed {
				return false
			}
		}
	}
	return true
}
