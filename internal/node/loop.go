package node

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/policy"
)

const (
	coalesce = 5 * time.Millisecond // observations that end within it are judged together
	maxBatch = 4096                 // and no more than these
	// firstLook is how long a node that remembers no health waits for the first
	// results of its checks before it judges them and opens its sockets: silence
	// sends a resolver to the next server, a wrong answer would not.
	firstLook    = 2 * time.Second
	observeQueue = 16384                 // observations that wait for the loop
	observeWait  = 50 * time.Millisecond // how long a probe waits where the queue is full
)

// loop owns the decision: its goroutine (Run) alone touches state. What it is
// told comes over channels; what follows from it is carried out at once, in
// the order that policy.Effects asks for.
type loop struct {
	log  *slog.Logger
	disk *disk
	// serve has the revision answered from now on, with what of the deployment
	// lies under it. It is called on the loop's goroutine, once for each change.
	serve func(*policy.Revision, *deployment)

	observed chan policy.Observation
	requests chan request
	done     chan struct{} // closed when Run has returned
	seen     chan struct{} // closed when the first look is over
	lost     prometheus.Counter
	steps    prometheus.Histogram

	// Of the goroutine.
	state    *policy.State
	revision *policy.Revision
	deployed *deployment
	unseen   map[policy.TargetID]bool // targets that the first look waits for; nil: it is over
	wakeAt   time.Time
	wake     *time.Timer
}

// request is something that the loop does between two steps.
type request interface {
	serve(l *loop, now time.Time)
}

// newLoop starts deciding from what was on the disk. The first revision is made here.
func newLoop(d *deployment, stored policy.Stored, k *disk, serve func(*policy.Revision, *deployment), log *slog.Logger, reg prometheus.Registerer) (*loop, error) {
	l := &loop{
		log: log, disk: k, serve: serve, deployed: d,
		observed: make(chan policy.Observation, observeQueue),
		requests: make(chan request),
		done:     make(chan struct{}),
		seen:     make(chan struct{}),
		wake:     time.NewTimer(time.Hour),
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
	l.wake.Stop()
	for _, m := range []prometheus.Collector{l.lost, l.steps} {
		if err := reg.Register(m); err != nil {
			return nil, err
		}
	}
	if len(stored.Health) == 0 && d.settings.Node.Roles.Probe && len(d.settings.Targets) > 0 {
		l.unseen = map[policy.TargetID]bool{}
		for _, t := range d.settings.Targets {
			l.unseen[t.ID] = true
		}
	} else {
		close(l.seen)
	}
	state, effects := policy.Start(d.settings.Policy, stored, time.Now())
	l.state = state
	l.carryOut(effects)
	return l, nil
}

// Observe hands over the result of a check. Where the loop does not keep up it
// waits a moment, then drops the result: a late one is worth little, and a
// stuck prober sees nothing at all.
func (l *loop) Observe(o policy.Observation) {
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
	defer l.wake.Stop()
	gather := time.NewTimer(firstLook)
	if l.unseen == nil {
		gather.Stop()
	}
	defer gather.Stop()
	var batch policy.Observed
	judge := func() {
		first := l.unseen != nil
		if first {
			l.endFirstLook(batch)
		}
		if len(batch) > 0 {
			l.step(batch)
		}
		batch = nil
		if first {
			close(l.seen)
		}
	}
	for {
		select {
		case <-ctx.Done():
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
		case r := <-l.requests:
			r.serve(l, time.Now())
		case <-l.wake.C:
			l.wakeAt = time.Time{}
			l.step(policy.Tick{})
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

func (l *loop) step(e policy.Event) {
	start := time.Now()
	l.carryOut(policy.Step(l.state, e, start))
	l.steps.Observe(time.Since(start).Seconds())
}

// carryOut does what a step asks for, in its order.
func (l *loop) carryOut(e policy.Effects) {
	l.disk.Keep(e.Store, e.Drop, e.Health)
	if e.Revision != nil {
		l.revision = e.Revision
		l.serve(l.revision, l.deployed)
	}
	for _, c := range e.Changes {
		l.log.Info("change", "subject", c.Subject, "before", c.Before, "after", c.After, "why", c.Why)
	}
	// A tick too many does no harm, so the earliest that was asked for stays.
	if !e.Wake.IsZero() && (l.wakeAt.IsZero() || e.Wake.Before(l.wakeAt)) {
		l.wakeAt = e.Wake
		l.wake.Reset(time.Until(e.Wake))
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

// look is a request that reads the state; its answer goes out on a channel.
type look[T any] struct {
	at     func(s *policy.State, now time.Time) T
	answer chan T
}

func (r look[T]) serve(l *loop, now time.Time) { r.answer <- r.at(l.state, now) }

// ask reads the state between two steps.
func ask[T any](ctx context.Context, l *loop, at func(s *policy.State, now time.Time) T) (T, error) {
	r := look[T]{at: at, answer: make(chan T, 1)}
	if err := l.do(ctx, r); err != nil {
		var none T
		return none, err
	}
	return <-r.answer, nil
}

// tell is a request that makes a step; the revision after it goes out on done.
type tell struct {
	event policy.Event
	done  chan *policy.Revision
}

func (r tell) serve(l *loop, _ time.Time) {
	l.step(r.event)
	r.done <- l.revision
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
		l.step(policy.Reconfigured{Config: r.next.settings.Policy})
	}
	if l.revision == before { // the zones may have changed all the same
		l.serve(l.revision, l.deployed)
	}
	r.done <- l.revision
}
