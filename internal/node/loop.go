package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

const (
	coalesce = 5 * time.Millisecond // observations that end within it are judged together
	maxBatch = 4096                 // and no more than these
	// firstLook is how long a node that starts waits for the first results of its
	// checks, where it remembers no health, and for the entries of the other nodes,
	// before it opens its DNS sockets: silence sends a resolver to the next server, a
	// wrong answer would not.
	firstLook    = 2 * time.Second
	observeQueue = 16384                 // observations that wait for the loop
	observeWait  = 50 * time.Millisecond // how long a probe waits where the queue is full
	heardQueue   = 4096                  // packets of other nodes that wait for the loop
	maxHeard     = 256                   // of these, at most, are read before the loop looks elsewhere
)

// hands carry out what the loop decides. They are called on its goroutine and never wait.
type hands struct {
	// serve has the revision answered from now on, with what of the deployment
	// lies under it; once for each change.
	serve    func(*policy.Revision, *deployment)
	send     func([]cluster.Packet)  // to the other nodes
	probe    func([]policy.TargetID) // what this node probes from now on
	block    func([]policy.SiteID)   // a drill: sites that it is cut off from
	alert    func(cluster.Note)      // the replica found something that people should know
	syslog   func([]policy.Entry)    // new audit records
	holds    func(bool)              // whether the start is held
	turnKeys func([]policy.Entry)    // new entries, perhaps steps of a rotation of gossip keys
	// follow has the nodes of another configuration spoken to, by their keys.
	follow func(*cluster.Keyring, map[policy.NodeID]cluster.Member)
}

// loop owns the decision and the entries that it rests on: its goroutine (Run)
// alone touches state and replica. What it is told comes over channels; what
// follows from it is carried out at once, in the order that policy.Effects asks for.
type loop struct {
	hands
	log  *slog.Logger
	disk *disk

	observed chan policy.Observation
	heard    chan cluster.Message // from other nodes, decoded and checked
	sighted  chan sighting        // of other nodes, by the membership
	requests chan request
	done     chan struct{} // closed when Run has returned
	seen     chan struct{} // closed when the first look is over
	lost     prometheus.Counter
	steps    prometheus.Histogram

	// Of the goroutine.
	state     *policy.State
	replica   *cluster.Replica
	audit     *cluster.Audit
	unwritten []policy.Entry // audit records that are not on the disk yet
	key       ed25519.PrivateKey
	keys      []byte // public ones that nodes had, as the disk has them
	revision  *policy.Revision
	held      bool // the start is held
	deployed  *deployment
	unseen    map[policy.TargetID]bool // targets that the first look waits for; nil: for none
	vote      *policy.Vote             // the last that was sent
	refill    *refill                  // nil: none is under way
	greeting  *greeting                // nodes that the first look waits for; nil: for none
	wakeAt    time.Time
	wake      *time.Timer
	tick      *time.Timer // of the replica
	fold      *time.Timer // of the audit
	flush     *time.Timer // the same
}

// sighting is what the membership sees of a node; without a name, that every seed was tried.
type sighting struct {
	node policy.NodeID
	up   bool
}

// greeting is the first exchange of a start.
type greeting struct{ tried bool }

// request is something that the loop does between two steps.
type request interface {
	serve(l *loop, now time.Time)
}

// newLoop starts deciding from what was on the disk. The first revision is made here.
func newLoop(d *deployment, st stored, key ed25519.PrivateKey, k *disk, h hands, log *slog.Logger, reg prometheus.Registerer) (*loop, error) {
	l := &loop{
		hands: h, log: log, disk: k, deployed: d, key: key,
		observed: make(chan policy.Observation, observeQueue),
		heard:    make(chan cluster.Message, heardQueue),
		sighted:  make(chan sighting, heardQueue),
		requests: make(chan request),
		done:     make(chan struct{}),
		seen:     make(chan struct{}),
		wake:     stoppedTimer(), tick: stoppedTimer(), fold: stoppedTimer(), flush: stoppedTimer(),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pharos_observations_lost_total",
			Help: "Results of checks that were dropped because deciding did not keep up.",
		}),
		steps: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pharos_decision_step_seconds",
			Help:    "Time from an event's turn until its effects were carried out.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 4, 9),
		}),
	}
	for _, m := range []prometheus.Collector{l.lost, l.steps} {
		if err := reg.Register(m); err != nil {
			return nil, err
		}
	}
	if len(st.Health) == 0 {
		l.unseen = map[policy.TargetID]bool{} // filled in by the first effects
	}
	if d.settings.Gossips() {
		l.greeting = &greeting{}
	}
	if err := l.begin(st); err != nil {
		return nil, err
	}
	if len(l.unseen) == 0 {
		l.unseen = nil
	}
	l.lookedAround()
	return l, nil
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// Observe hands over the result of a check. Where the loop does not keep up it
// waits a moment, then drops the result: a late one is worth little, and a
// stuck prober sees nothing at all.
func (l *loop) Observe(o policy.Observation) {
	o.At = shown(o.At)
	select {
	case l.observed <- o:
		return
	default:
	}
	t := time.NewTimer(observeWait)
	defer t.Stop()
	select {
	case l.observed <- o:
	case <-t.C:
		l.lost.Inc()
	case <-l.done:
	}
}

// Run decides until ctx ends.
func (l *loop) Run(ctx context.Context) error {
	defer close(l.done)
	for _, t := range []*time.Timer{l.wake, l.tick, l.fold, l.flush} {
		defer t.Stop()
	}
	l.fold.Reset(auditEvery)
	look := time.NewTimer(firstLook)
	defer look.Stop()
	gather := stoppedTimer()
	defer gather.Stop()
	var batch policy.Observed
	judge := func() {
		if l.unseen != nil {
			l.endFirstLook(batch)
		}
		if len(batch) > 0 {
			l.step(batch)
		}
		batch = nil
		l.lookedAround()
	}
	for {
		select {
		case <-ctx.Done():
			l.keepAudit()
			return nil
		case o := <-l.observed:
			delete(l.unseen, o.Target)
			batch = append(batch, o)
			switch {
			case len(l.unseen) > 0: // more is waited for
			case l.unseen != nil, len(batch) == maxBatch:
				judge()
			case len(batch) == 1:
				gather.Reset(coalesce)
			}
		case <-gather.C:
			judge()
		case <-look.C:
			l.greeting = nil
			judge()
		case m := <-l.heard:
			l.receive(m)
		case s := <-l.sighted:
			l.sight(s)
		case r := <-l.requests:
			r.serve(l, clock())
		case <-l.wake.C:
			l.wakeAt = time.Time{}
			l.step(policy.Tick{})
		case <-l.tick.C:
			l.absorb(l.replica.Tick(clock()))
		case <-l.flush.C:
			l.flushAudit(nil)
		case <-l.fold.C:
			l.writeAudit(l.audit.Tick(clock()))
			l.fold.Reset(auditEvery)
		}
	}
}

// endFirstLook ends the waiting for the first results. They are judged
// together, successes first: a failure says little to a node that has seen
// nothing succeed.
func (l *loop) endFirstLook(batch policy.Observed) {
	if len(l.unseen) > 0 {
		l.log.Warn("not every target was seen before the first answer", "unseen", len(l.unseen))
	}
	l.unseen = nil
	slices.SortStableFunc(batch, func(a, b policy.Observation) int {
		return cmp.Compare(a.Outcome, b.Outcome)
	})
}

// lookedAround ends the first look once nothing is waited for.
func (l *loop) lookedAround() {
	if g := l.greeting; g != nil && g.tried && !slices.ContainsFunc(l.replica.Peers(), func(p cluster.Peer) bool { return p.Up && !p.Met }) {
		l.greeting = nil
	}
	if l.unseen != nil || l.greeting != nil {
		return
	}
	select {
	case <-l.seen:
	default:
		close(l.seen)
	}
}

func (l *loop) step(e policy.Event) {
	start := clock()
	l.carryOut(policy.Step(l.state, e, start))
	l.steps.Observe(since(start).Seconds())
}

// carryOut does what a step asks for. The vote goes out before all else: others decide by it.
func (l *loop) carryOut(e policy.Effects) {
	l.tellVote(e)
	if e.Revision != nil {
		l.revision = e.Revision
		l.serve(l.revision, l.deployed)
	}
	l.disk.Keep(nil, nil, e.Health)
	l.tellEntries(e)
	if e.Probe != nil {
		l.reprobe(e.Probe)
	}
	if e.Block != nil {
		l.block(e.Block)
	}
	for _, c := range e.Changes {
		say := l.log.Info
		if c.Heard != "" {
			say = l.log.With("says", c.Heard).Debug
		}
		say("change", "subject", c.Subject, "before", c.Before, "after", c.After, "why", c.Why)
	}
	l.recordChanges(e.Changes)
	if held := l.state != nil && l.state.Held() != ""; held != l.held {
		l.held = held
		l.holds(held)
	}
	// A tick too many does no harm, so the earliest that was asked for stays.
	if !e.Wake.IsZero() && (l.wakeAt.IsZero() || e.Wake.Before(l.wakeAt)) {
		l.wakeAt = e.Wake
		l.wake.Reset(until(e.Wake))
	}
}

// reprobe has the node probe what it is to, and wait for the first results of a start.
func (l *loop) reprobe(targets []policy.TargetID) {
	l.probe(targets)
	if l.unseen == nil {
		return
	}
	l.unseen = map[policy.TargetID]bool{}
	for _, id := range targets {
		l.unseen[id] = true
	}
}

// do has the loop serve r. The error is that of ctx, or errStopping.
func (l *loop) do(ctx context.Context, r request) error {
	select {
	case l.requests <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return errStopping
	}
}

// look is a request that reads what the loop owns; its answer goes out on a channel.
type look[T any] struct {
	at     func(l *loop, now time.Time) T
	answer chan T
}

func (r look[T]) serve(l *loop, now time.Time) { r.answer <- r.at(l, now) }

// askLoop reads what the loop owns between two steps.
func askLoop[T any](ctx context.Context, l *loop, at func(l *loop, now time.Time) T) (T, error) {
	r := look[T]{at: at, answer: make(chan T, 1)}
	if err := l.do(ctx, r); err != nil {
		var none T
		return none, err
	}
	return <-r.answer, nil
}

// ask reads the state between two steps.
func ask[T any](ctx context.Context, l *loop, at func(s *policy.State, now time.Time) T) (T, error) {
	return askLoop(ctx, l, func(l *loop, now time.Time) T { return at(l.state, now) })
}

// obey is a request to follow an order that is stored; the revision after it goes out on done,
// and kept is signalled when the audit's record of it is on the disk too, or can't be.
type obey struct {
	sealed []*cluster.Sealed
	record cluster.Record
	done   chan *policy.Revision
	kept   chan struct{}
}

func (r obey) serve(l *loop, now time.Time) {
	l.absorb(l.replica.Commit(r.sealed, now))
	l.turnKeys(entriesOf(r.sealed))
	l.step(policy.Ordered(entriesOf(r.sealed)))
	l.record(r.record)
	l.flushAudit(r.kept)
	r.done <- l.revision
}

func entriesOf(sealed []*cluster.Sealed) []policy.Entry {
	list := make([]policy.Entry, len(sealed))
	for i, s := range sealed {
		list[i] = s.Entry
	}
	return list
}

// deploy is a request to serve another deployment: other zones, and where
// decide is set another configuration to decide by.
type deploy struct {
	next   *deployment
	decide bool
	done   chan *policy.Revision
}

func (r deploy) serve(l *loop, _ time.Time) {
	before := l.revision
	l.deployed = r.next
	if r.decide {
		l.reconfigure()
		l.step(policy.Reconfigured{Config: r.next.settings.Policy})
	}
	l.step(policy.Loaded{Zones: r.next.zonesDigest()})
	if l.revision == before { // the zones may have changed all the same
		l.serve(l.revision, l.deployed)
	}
	r.done <- l.revision
}
