package node

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// refill is under way on a node whose site was declared lost and is readmitted: what it holds was set
// aside, since the others went on without it, and it is filled from them. Until it has met one of them
// it answers as before. What people ordered here meanwhile is not taken back, but shown to them.
type refill struct {
	aside []*cluster.Sealed
}

// watchReadmission begins a refill when one of new entries readmits the node's own site.
func (l *loop) watchReadmission(list []policy.Entry) {
	readmits := func(e policy.Entry) bool {
		return e.Kind == policy.KindSiteLost && e.Deleted && e.Key == string(l.deployed.settings.Node.Site)
	}
	if l.refill != nil || !slices.ContainsFunc(list, readmits) {
		return
	}
	l.log.Warn("this site is readmitted: the node is filled from its peers")
	l.disk.SetAside()
	l.disk.Mark(marks{refill: refillBegun}, nil)
	if err := l.beginRefill(); err != nil {
		l.log.Error("the node is not filled from its peers", "error", err)
	}
}

// beginRefill goes on with a replica that holds nothing but what is about nodes: the audit, words on lost
// sites, drills.
func (l *loop) beginRefill() error {
	var kept, aside []*cluster.Sealed
	for s := range l.replica.Entries() {
		if s.Entry.Kind.OfNodes() {
			kept = append(kept, s)
		} else {
			aside = append(aside, s)
		}
	}
	now := clock()
	next, out, err := cluster.New(l.replicaConfig(l.replica.Incarnation()+1), kept, now)
	if err != nil {
		return err
	}
	before := l.replica.Peers()
	l.replica, l.refill = next, &refill{aside}
	l.follow(next.Keyring(), members(l.deployed.settings, l.key))
	l.revote()
	l.absorb(out)
	for _, p := range before {
		if p.Up {
			l.absorb(l.replica.Up(p.Node, now))
		}
	}
	return nil
}

// endRefill follows what the peers hold, once all was exchanged with one that is of no lost site.
func (l *loop) endRefill(met []policy.NodeID) {
	if l.refill == nil || !slices.ContainsFunc(l.replica.Peers(), func(p cluster.Peer) bool {
		return slices.Contains(met, p.Node) && p.Site != l.deployed.settings.Node.Site && !l.state.IsLost(p.Site)
	}) {
		return
	}
	aside := l.refill.aside
	l.refill = nil
	var over []policy.EntryKey
	var instead []*cluster.Sealed // the disk kept the later ones, which are void
	for _, s := range aside {
		held, there := l.replica.Get(s.Entry.EntryKey())
		if there && bytes.Equal(held.Bytes(), s.Bytes()) {
			continue
		}
		over = append(over, s.Entry.EntryKey())
		if there {
			instead = append(instead, held)
		}
	}
	l.disk.Keep(nil, over, nil)
	l.disk.Keep(instead, nil, nil)
	l.disk.Mark(marks{refill: refillEnded}, nil)
	l.step(policy.Refilled(l.replica.Told()))
	for _, e := range l.replica.Unseen(aside) {
		l.offer(e)
	}
	l.log.Info("filled from peers", "entries", len(l.replica.Told()), "set_aside", len(over))
}

// offer shows people an order that was given here while the site was declared lost.
func (l *loop) offer(e policy.Entry) {
	what := policy.OrderText([]policy.Entry{e})
	text := fmt.Sprintf("%s, ordered here by %s at %s (%s) while this site was declared lost, was set aside; give it again if it is still wanted",
		what, e.Author, e.Stamp.Time().Format(time.DateTime), e.Reason)
	l.record(cluster.Record{Who: e.Author, What: "order set aside", Subject: what, Why: e.Reason})
	l.alert(cluster.Note{Kind: "set-aside", Node: e.Stamp.Node, Key: e.EntryKey(), Text: text})
}

// revote has the replica send the own vote again.
func (l *loop) revote() {
	if l.vote == nil {
		return
	}
	l.absorbOr("vote")(l.replica.SetVote(policy.EncodeVote(*l.vote), clock()))
}
