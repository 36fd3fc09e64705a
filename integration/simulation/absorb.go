package simulation

import (
	"slices"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// What follows does what internal/node's loop does, in its order: see loop.carryOut, loop.absorb and what they
// call. Where one changes, so does the other.

func (n *node) step(e policy.Event) { n.carryOut(policy.Step(n.state, e, n.time())) }

// carryOut does what a step asks for.
func (n *node) carryOut(e policy.Effects) {
	n.tellVote(e)
	if e.Revision != nil {
		n.revision = e.Revision
	}
	n.writer.keep(write{health: e.Health})
	n.tellEntries(e)
	if e.Probe != nil {
		n.probe(e.Probe)
	}
	for _, c := range e.Changes {
		n.w.tell(n, c)
	}
	if n.serving && n.state.Held() == "" {
		n.writer.serving = true // a held node's disk is not stamped
	}
	if !e.Wake.IsZero() {
		if at := n.until(e.Wake); n.wake.at == 0 || at < n.wake.at {
			n.arm(&n.wake, at, func() { n.step(policy.Tick{}) })
		}
	}
	n.w.check.stepped(n, e)
}

func (n *node) tellVote(e policy.Effects) {
	now := n.time()
	if e.Vote != nil {
		n.absorbOr(n.replica.SetVote(policy.EncodeVote(*e.Vote), now))
	}
	if e.Reasons != nil {
		n.absorbOr(n.replica.SetReasons(policy.EncodeReasons(e.Reasons), now))
	}
	for _, a := range e.Ask {
		n.absorb(n.replica.AskList(a.Node, a.Digest, now))
	}
}

func (n *node) tellEntries(e policy.Effects) {
	if len(e.Store) > 0 {
		n.absorbOr(n.replica.Write(e.Store, n.time()))
	}
	if len(e.Drop) > 0 {
		n.absorb(n.replica.Forget(e.Drop, n.time()))
	}
}

func (n *node) absorbOr(out cluster.Out, err error) {
	if err != nil {
		n.w.fail("form", "%s can't tell the others: %v", n.id, err)
		return
	}
	n.absorb(out)
}

// absorb does what the replica asks for and tells the decision what it brought, until neither has more to say.
func (n *node) absorb(out cluster.Out) {
	if len(out.AckDue) > 0 {
		due := out.AckDue
		n.writer.store(out.Keep, func() {
			for _, d := range due {
				rev := n.revision
				n.absorb(n.replica.Ack(d, rev.Number, [8]byte(rev.Digest[:8]), n.time()))
			}
		})
		n.writer.keep(write{forget: out.Forget})
	} else {
		n.writer.keep(write{keep: out.Keep, forget: out.Forget})
	}
	n.send(out.Send)
	for _, note := range out.Notes {
		n.w.check.noted(n, note)
	}
	if list := slices.Concat(out.Lost, out.Merged); len(list) > 0 {
		n.step(policy.Merged(list))
	}
	if len(out.Met) > 0 {
		n.step(policy.Met(out.Met))
	}
	if votes := n.votes(out.Votes); len(votes) > 0 {
		n.step(policy.Heard(votes))
	}
	for _, v := range out.Reasons {
		list, err := policy.DecodeReasons(v.Value)
		if err != nil {
			n.w.fail("form", "%s can't read the reasons of %s: %v", n.id, v.Node, err)
			return
		}
		n.step(policy.Reasons{Node: v.Node, List: list})
	}
	n.exchangeLists(out)
	if !out.Wake.IsZero() {
		if at := max(n.until(out.Wake), n.w.now); n.tick.at == 0 || at != n.tick.at {
			n.arm(&n.tick, at, func() { n.absorb(n.replica.Tick(n.time())) })
		}
	}
	if len(out.Met) > 0 {
		n.lookedAround()
	}
}

func (n *node) votes(raw []cluster.RawVote) []policy.Vote {
	list := make([]policy.Vote, 0, len(raw))
	for _, r := range raw {
		v, err := policy.DecodeVote(r.Value)
		if err != nil {
			n.w.fail("form", "%s can't read the vote of %s: %v", n.id, r.Node, err)
			continue
		}
		v.Node, v.Incarnation, v.Counter = r.Node, r.Incarnation, r.Counter
		list = append(list, v)
	}
	return list
}

func (n *node) exchangeLists(out cluster.Out) {
	for _, a := range out.ListAsks {
		if digest, list := n.state.TargetList(); digest == a.Digest {
			n.absorbOr(n.replica.SendList(a.Node, policy.EncodeTargets(list), n.time()))
		}
	}
	for _, v := range out.Lists {
		if list, err := policy.DecodeTargets(v.Value); err == nil {
			n.step(policy.Lists{Node: v.Node, Targets: list})
		}
	}
}

// send puts packets on the network.
func (n *node) send(list []cluster.Packet) {
	for _, p := range list {
		for _, to := range n.w.nodes {
			if to == n || p.To != "" && p.To != to.id {
				continue
			}
			carry := n.w.net.datagram
			if p.Reliable {
				carry = n.w.net.stream
			}
			d, ok := carry(n.place, to.place)
			if !ok {
				continue
			}
			n.w.after(d, func() { to.receive(p.Data) })
			if n.w.rand.IntN(200) == 0 { // now and then one comes twice, the second time late
				n.w.after(d+time.Duration(n.w.rand.Int64N(int64(2*time.Second))), func() { to.receive(p.Data) })
			}
		}
	}
}

// receive takes a packet, if the node runs.
func (n *node) receive(data []byte) {
	switch {
	case n.life == nil:
		return
	case n.stopped(): // it waits in the socket's buffer
		n.after(0, func() { n.receive(data) })
		return
	}
	m, err := n.decoder.Decode(data)
	if err != nil {
		n.w.fail("form", "%s can't read a packet: %v", n.id, err)
		return
	}
	n.absorb(n.replica.Receive(m, n.time()))
}

// membership is what memberlist would see of another node.
type membership struct {
	up      bool
	missing time.Duration // since when it can't be reached; zero: it can
}

const (
	memberEvery = 250 * time.Millisecond // how often a node's view of another is brought up to date
	memberDown  = 4 * time.Second        // after which one that can't be reached is down
)

// watchMembers has the membership follow the network. One that some third node reaches is not down.
func (w *World) watchMembers() {
	for _, n := range w.nodes {
		for _, p := range w.nodes {
			if n != p && n.life != nil && !n.stopped() {
				n.watchMember(p)
			}
		}
	}
	w.after(memberEvery, w.watchMembers)
}

func (n *node) watchMember(p *node) {
	m := n.members[p.id]
	if m == nil {
		m = &membership{}
		n.members[p.id] = m
	}
	if p.life == nil || !n.w.reaches(n, p) {
		if m.missing == 0 {
			m.missing = n.w.now
		}
		if m.up && n.w.now-m.missing >= memberDown {
			m.up = false
			n.absorb(n.replica.Down(p.id, n.time()))
			n.lookedAround()
		}
		return
	}
	m.missing = 0
	if !m.up && n.w.rand.IntN(3) > 0 {
		m.up = true
		n.absorb(n.replica.Up(p.id, n.time()))
		n.lookedAround()
	}
}

// reaches says whether two nodes reach each other, by themselves or through a third.
func (w *World) reaches(a, b *node) bool {
	if w.linked(a, b) {
		return true
	}
	return slices.ContainsFunc(w.nodes, func(c *node) bool {
		return c != a && c != b && c.life != nil && !c.stopped() && w.linked(a, c) && w.linked(c, b)
	})
}

func (w *World) linked(a, b *node) bool {
	return !a.stopped() && !b.stopped() && w.net.gossips(a.place, b.place) && w.net.gossips(b.place, a.place)
}
