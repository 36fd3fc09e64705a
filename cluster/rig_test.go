package cluster

import (
	"container/heap"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// rig is replicas on a virtual network with a virtual clock. The network delays and loses what it is told to.
type rig struct {
	t       testing.TB
	now     time.Time
	rand    *rand.Rand
	members map[policy.NodeID]Member
	keys    map[policy.NodeID]ed25519.PrivateKey
	nodes   map[policy.NodeID]*node
	order   []policy.NodeID
	flights flights
	serial  int
	drop    func(from, to policy.NodeID) bool // nil: nothing is lost
	delay   time.Duration
	bytes   int
	packets int
	tap     func(from, to policy.NodeID, p Packet)
}

// node is a replica and what a node's loop would have of it.
type node struct {
	id      policy.NodeID
	cfg     Config
	r       *Replica
	decoder *Decoder
	clock   Clock
	disk    map[policy.EntryKey]*Sealed
	wake    time.Time
	out     Out // everything that came out so far, without packets
	errs    []error
	holdAck bool
	due     []AckDue
}

type flight struct {
	at     time.Time
	serial int
	from   policy.NodeID
	to     policy.NodeID
	data   []byte
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at.Before(f[j].at) || f[i].at.Equal(f[j].at) && f[i].serial < f[j].serial
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

var epoch = time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)

func keyOf(seed int) ed25519.PrivateKey {
	var b [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(b[:], uint64(seed))
	return ed25519.NewKeyFromSeed(b[:])
}

// newRig makes n replicas: n1 in site s1 and so on. They are not up to one another.
func newRig(t testing.TB, n int, seed uint64) *rig {
	g := &rig{
		t: t, now: epoch, rand: rand.New(rand.NewPCG(seed, 7)), delay: 5 * time.Millisecond,
		members: map[policy.NodeID]Member{}, keys: map[policy.NodeID]ed25519.PrivateKey{}, nodes: map[policy.NodeID]*node{},
	}
	for i := 1; i <= n; i++ {
		id := policy.NodeID(fmt.Sprintf("n%d", i))
		g.keys[id] = keyOf(i)
		g.members[id] = Member{Site: policy.SiteID(fmt.Sprintf("s%d", i)), Address: fmt.Sprintf("127.1.0.%d:7946", i), PublicKey: g.keys[id].Public().(ed25519.PublicKey)}
		g.order = append(g.order, id)
	}
	for _, id := range g.order {
		g.start(id, nil)
	}
	return g
}

func (g *rig) config(id policy.NodeID) Config {
	return Config{
		Cluster: "test", Self: id, Key: g.keys[id], Members: g.members,
		Incarnation: uint64(g.now.UnixMilli()), Rand: rand.New(rand.NewPCG(g.rand.Uint64(), 1)),
	}
}

// ring is what the nodes judge by.
func (g *rig) ring() *Keyring {
	g.t.Helper()
	ring, err := NewKeyring("test", g.members)
	if err != nil {
		g.t.Fatal(err)
	}
	return ring
}

// start starts a node by what is on its disk.
func (g *rig) start(id policy.NodeID, disk map[policy.EntryKey]*Sealed) *node {
	g.t.Helper()
	n := &node{id: id, cfg: g.config(id), clock: Clock{Node: id}, disk: disk}
	if disk == nil {
		n.disk = map[policy.EntryKey]*Sealed{}
	}
	var stored []*Sealed
	for _, s := range n.disk {
		back, err := DecodeSealed(s.Bytes())
		if err != nil {
			g.t.Fatal(err)
		}
		stored = append(stored, back)
	}
	r, out, err := New(n.cfg, stored, g.now)
	if err != nil {
		g.t.Fatal(err)
	}
	n.r = r
	n.decoder = NewDecoder(id, r.Keyring())
	g.nodes[id] = n
	g.handle(n, out)
	return n
}

func (g *rig) upAll() {
	for _, a := range g.order {
		for _, b := range g.order {
			if a != b {
				g.handle(g.nodes[a], g.nodes[a].r.Up(b, g.now))
			}
		}
	}
}

// handle does what an Out asks for.
func (g *rig) handle(n *node, out Out) {
	for _, s := range out.Keep {
		n.disk[s.Entry.EntryKey()] = s
	}
	for _, k := range out.Forget {
		delete(n.disk, k)
	}
	for _, p := range out.Send {
		g.post(n, p)
	}
	n.wake = out.Wake
	o := &n.out
	o.Keep = append(o.Keep, out.Keep...)
	o.Merged = append(o.Merged, out.Merged...)
	o.Audit = append(o.Audit, out.Audit...)
	o.Lost = append(o.Lost, out.Lost...)
	o.Votes = append(o.Votes, out.Votes...)
	o.Met = append(o.Met, out.Met...)
	o.Reasons = append(o.Reasons, out.Reasons...)
	o.ListAsks = append(o.ListAsks, out.ListAsks...)
	o.Lists = append(o.Lists, out.Lists...)
	o.Acks = append(o.Acks, out.Acks...)
	o.Notes = append(o.Notes, out.Notes...)
	n.due = append(n.due, out.AckDue...)
	if !n.holdAck {
		for len(n.due) > 0 {
			due := n.due[0]
			n.due = n.due[1:]
			g.handle(n, n.r.Ack(due, 7, [8]byte{1}, g.now))
		}
	}
}

func (g *rig) post(n *node, p Packet) {
	for _, to := range g.order {
		if to == n.id || p.To != "" && p.To != to {
			continue
		}
		g.packets++
		g.bytes += len(p.Data)
		if g.tap != nil {
			g.tap(n.id, to, p)
		}
		if g.drop != nil && g.drop(n.id, to) {
			continue
		}
		g.serial++
		jitter := time.Duration(g.rand.Int64N(int64(g.delay) + 1))
		heap.Push(&g.flights, flight{g.now.Add(g.delay + jitter), g.serial, n.id, to, p.Data})
	}
}

// run lets time pass.
func (g *rig) run(d time.Duration) {
	g.t.Helper()
	g.until(d, func() bool { return false })
}

// until lets time pass until done is true, for d at most, and says how long it took.
func (g *rig) until(d time.Duration, done func() bool) time.Duration {
	g.t.Helper()
	begun := g.now
	end := g.now.Add(d)
	for !done() {
		next := end
		if len(g.flights) > 0 && g.flights[0].at.Before(next) {
			next = g.flights[0].at
		}
		for _, id := range g.order {
			if n := g.nodes[id]; n != nil && n.wake.Before(next) {
				next = n.wake
			}
		}
		if next.After(g.now) {
			g.now = next
		}
		if !g.now.Before(end) {
			break
		}
		if len(g.flights) > 0 && !g.flights[0].at.After(g.now) {
			f := heap.Pop(&g.flights).(flight)
			g.arrive(f)
			continue
		}
		for _, id := range g.order {
			if n := g.nodes[id]; n != nil && !n.wake.After(g.now) {
				g.handle(n, n.r.Tick(g.now))
			}
		}
	}
	return g.now.Sub(begun)
}

func (g *rig) arrive(f flight) {
	n := g.nodes[f.to]
	if n == nil {
		return
	}
	m, err := n.decoder.Decode(f.data)
	if err != nil {
		n.errs = append(n.errs, err)
		return
	}
	g.handle(n, n.r.Receive(m, g.now))
}

func (g *rig) entry(n *node, kind policy.Kind, key, value string) policy.Entry {
	return policy.Entry{Kind: kind, Key: key, Stamp: n.clock.Stamp(g.now), Author: "ann", Reason: "test", Value: []byte(value)}
}

// write has a node's machine write entries.
func (g *rig) write(n *node, entries ...policy.Entry) {
	g.t.Helper()
	out, err := n.r.Write(entries, g.now)
	if err != nil {
		g.t.Fatal(err)
	}
	g.handle(n, out)
}

// order gives a person's order on a node, and returns its stamp.
func (g *rig) order1(n *node, e policy.Entry) policy.Stamp {
	g.t.Helper()
	sealed, err := n.r.Seal([]policy.Entry{e})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, s := range sealed {
		n.disk[s.Entry.EntryKey()] = s
	}
	g.handle(n, n.r.Commit(sealed, g.now))
	return e.Stamp
}

func (g *rig) agree() bool {
	var first *Replica
	for _, id := range g.order {
		n := g.nodes[id]
		if n == nil {
			continue
		}
		if first == nil {
			first = n.r
		}
		if n.r.tree.root.total != first.tree.root.total {
			return false
		}
	}
	return true
}

func (g *rig) mustAgree(within time.Duration) time.Duration {
	g.t.Helper()
	took := g.until(within, g.agree)
	if !g.agree() {
		for _, id := range g.order {
			if n := g.nodes[id]; n != nil {
				g.t.Logf("%s holds %+v, errors %v", id, n.r.tree.root.total, n.errs)
			}
		}
		g.t.Fatalf("no agreement within %s", within)
	}
	return took
}

func (n *node) notes(kind NoteKind) (out []Note) {
	for _, x := range n.out.Notes {
		if x.Kind == kind {
			out = append(out, x)
		}
	}
	return out
}
