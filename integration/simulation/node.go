package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// As in internal/node: how long observations wait to be judged together, a start for its first look, and the
// membership to see who is there.
const (
	coalesce   = 5 * time.Millisecond
	firstLook  = 2 * time.Second
	greetAfter = 400 * time.Millisecond
)

// node is one node, through all its lives. What it does in a life is what internal/node's loop does.
type node struct {
	w *World
	place
	skew     time.Duration // of its clock, from the start of this life
	nextSkew time.Duration // from the next one
	disk     *disk
	died     time.Duration // when its last life ended
	frozen   time.Duration // until when it is stopped, as by SIGSTOP: what comes to it waits
	stalled  time.Duration // until when its disk writes nothing
	*life                  // nil: it does not run
}

// life is what a crash ends.
type life struct {
	began    time.Duration
	state    *policy.State
	replica  *cluster.Replica
	decoder  *cluster.Decoder
	writer   *writer
	revision *policy.Revision
	serving  bool // its DNS sockets are open
	unseen   map[policy.TargetID]bool
	greeting *bool // whether every seed was tried; nil: nobody is waited for
	batch    policy.Observed
	judging  bool // a judgement of the batch is planned
	probes   map[policy.TargetID]bool
	members  map[policy.NodeID]*membership
	wake     alarmClock
	tick     alarmClock
	seen     glance // of the checker
}

// alarmClock is a timer that keeps the earliest time it was set to, or the last.
type alarmClock struct {
	at  time.Duration // zero: not set
	set uint64
}

// time is what the node's clock shows.
func (n *node) time() time.Time { return epoch.Add(n.w.now + n.skew) }

// after plans something for this life.
func (n *node) after(d time.Duration, do func()) {
	l := n.life
	var try func()
	try = func() {
		switch {
		case n.life != l:
		case n.stopped():
			n.w.after(min(n.frozen-n.w.now, 20*time.Millisecond), try) // it may end sooner than it was to
		default:
			do()
		}
	}
	n.w.after(d, try)
}

func (n *node) stopped() bool { return n.w.now < n.frozen }

// arm sets a timer.
func (n *node) arm(a *alarmClock, at time.Duration, do func()) {
	a.set++
	a.at = max(at, n.w.now)
	set := a.set
	n.after(at-n.w.now, func() {
		if a.set == set {
			a.at = 0
			do()
		}
	})
}

// until is the virtual time of a time of the node's clock.
func (n *node) until(t time.Time) time.Duration { return n.w.now + t.Sub(n.time()) }

// start begins a life by what is on the disk: see loop.begin.
func (n *node) start() {
	n.skew = n.nextSkew
	n.life = &life{
		began: n.w.now, greeting: new(bool), probes: map[policy.TargetID]bool{},
		members: map[policy.NodeID]*membership{},
	}
	n.writer = &writer{n: n}
	if len(n.disk.health) == 0 {
		n.unseen = map[policy.TargetID]bool{}
	}
	now := n.time()
	var stored []*cluster.Sealed
	for _, key := range sortedKeys(n.disk.entries) {
		s, err := cluster.DecodeSealed(n.disk.entries[key].Bytes())
		if err != nil {
			n.w.fail("form", "%s can't read its disk: %v", n.id, err)
			return
		}
		stored = append(stored, s)
	}
	incarnation := max(n.disk.incarnation+1, uint64(now.UnixMilli()))
	replica, out, err := cluster.New(cluster.Config{
		Cluster: n.w.top.cfg.Cluster, Self: n.id, Key: n.w.top.keys[n.id], Members: n.w.top.members,
		Incarnation: incarnation, VoteTTL: voteTTL,
		Obsolete: func(e policy.Entry) bool { return n.state != nil && n.state.Obsolete(e) },
		Needed:   func(e policy.Entry) bool { return n.state == nil || n.state.Needed(e) },
		Rand:     rand.New(rand.NewPCG(n.w.rand.Uint64(), 1)),
	}, stored, now)
	if err != nil {
		n.w.fail("form", "%s can't start: %v", n.id, err)
		return
	}
	n.replica, n.decoder = replica, cluster.NewDecoder(n.id, replica.Keyring())
	n.writer.keep(write{incarnation: incarnation})
	cfg := n.w.top.cfg
	cfg.Self = n.id
	from := policy.Stored{Entries: replica.Told(), Stamped: n.disk.stamped}
	slices.SortFunc(from.Entries, func(a, b policy.Entry) int {
		return cmp.Or(a.Stamp.Compare(b.Stamp), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	for _, h := range n.disk.health {
		from.Health = append(from.Health, h)
	}
	slices.SortFunc(from.Health, func(a, b policy.HealthEntry) int { return cmp.Compare(a.Target, b.Target) })
	state, effects := policy.Start(&cfg, from, now)
	n.state = state
	n.w.check.started(n, from.Stamped)
	n.carryOut(effects)
	n.absorb(out)
	n.step(policy.Loaded{})
	n.lookAround()
}

// lookAround is the first look of a start: see loop.Run and loop.lookedAround.
func (n *node) lookAround() {
	n.after(greetAfter, func() {
		if n.greeting != nil {
			*n.greeting = true
		}
		n.lookedAround()
	})
	n.after(firstLook, func() {
		n.greeting = nil
		n.judge()
	})
	if len(n.unseen) == 0 {
		n.unseen = nil
	}
	n.lookedAround()
}

func (n *node) lookedAround() {
	if g := n.greeting; g != nil && *g && !slices.ContainsFunc(n.replica.Peers(), func(p cluster.Peer) bool { return p.Up && !p.Met }) {
		n.greeting = nil
	}
	if n.unseen != nil || n.greeting != nil || n.serving {
		return
	}
	n.serving = true
	n.writer.serving = n.state.Held() == ""
	n.writer.tick()
	n.w.check.answered(n)
}

// observe takes the result of a check, and judges it with those that end with it.
func (n *node) observe(o policy.Observation) {
	delete(n.unseen, o.Target)
	n.batch = append(n.batch, o)
	switch {
	case len(n.unseen) > 0:
	case n.unseen != nil:
		n.judge()
	case !n.judging:
		n.judging = true
		n.after(coalesce, func() {
			n.judging = false
			n.judge()
		})
	}
}

func (n *node) judge() {
	if n.unseen != nil {
		n.unseen = nil
		slices.SortStableFunc(n.batch, func(a, b policy.Observation) int { return cmp.Compare(a.Outcome, b.Outcome) })
	}
	if len(n.batch) > 0 {
		batch := n.batch
		n.batch = nil
		n.step(batch)
	}
	n.lookedAround()
}

// kill ends a life at once.
func (n *node) kill() {
	n.writer.crash()
	n.life, n.died, n.frozen = nil, n.w.now, n.w.now
}

// empty takes away all that is on the disk.
func (n *node) empty() { n.disk = newDisk() }

func (n *node) String() string {
	if n.life == nil {
		return fmt.Sprintf("%s does not run", n.id)
	}
	return fmt.Sprintf("%s %s", n.id, n.w.check.answerOf(n))
}
