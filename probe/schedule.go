package probe

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/policy"
)

const (
	// tick is how fine the schedule is: checks that are due within one tick
	// start together, so that many targets do not wake the process each.
	tick = 4 * time.Millisecond
	// pace is the distance between the first checks of targets that came
	// together; dearPace where a check costs a handshake or a process.
	pace     = 100 * time.Microsecond
	dearPace = time.Millisecond
	// backlog is how many checks may be started that the processor has not come
	// to yet. Beyond it, starting waits: a busy machine makes checks late, it
	// must not make them time out.
	backlog = 64
	maxIdle = 256 // workers kept for the next check
)

// Config is what a Prober needs to know beside its targets.
type Config struct {
	Observer policy.NodeID // stands in every observation
	// Workers bounds the checks under way at once; one that has to wait is
	// counted as late. 0: one a target, so that none waits. A check that hangs
	// beyond its timeout holds no worker.
	Workers int
}

// Prober checks targets on a schedule.
type Prober struct {
	cfg     Config
	report  func(policy.Observation)
	log     *slog.Logger
	metrics *metrics
	pings   *pings
	files   tlsFiles
	faults  faultLog
	make    func(Target) (checker, error)
	epoch   time.Time     // schedule times count from here, by the monotonic clock
	wake    chan struct{} // tells the schedule of earlier work; holds one

	setting sync.Mutex                               // one Set at a time
	cut     atomic.Pointer[map[policy.TargetID]bool] // by a drill; nil: none

	mu      sync.Mutex      // guards what follows
	ctx     context.Context // of Run; nil before it
	ended   bool
	targets map[policy.TargetID]*target
	due     dueHeap
	waiting []*target // due, in want of a worker
	workers int       // at work

	work  chan *check  // to an idle worker
	idle  atomic.Int32 // workers
	unrun atomic.Int32 // checks started that have not begun to run

	wg sync.WaitGroup // every goroutine and every armed timer
}

// target is a Target on the schedule. Prober.mu guards what is not set once.
type target struct {
	Target  // set once
	checker checker

	next  time.Duration // when the next check is due
	grid  time.Duration // the same without jitter
	first bool          // the next check is the first one
	index int           // in the heap; -1: not in it
	check check
	blind atomic.Pointer[blindness] // nil: the newest check could be made

	busy   bool // a check is under way, until its last attempt has returned
	missed bool // a check was due while busy
	queued bool // in Prober.waiting
	gone   bool // no longer wanted
}

// New returns a prober without targets. It calls report for each check that
// ended, with the outcome policy.Unable where a fault of this host (no file descriptor,
// port or memory left) kept it from asking: from many goroutines at once, but in order
// for each target, which is not checked again before report returned. reg may be nil.
func New(cfg Config, report func(policy.Observation), log *slog.Logger, reg prometheus.Registerer) *Prober {
	p := &Prober{
		cfg:     cfg,
		report:  report,
		log:     log,
		metrics: newMetrics(reg),
		epoch:   time.Now(),
		wake:    make(chan struct{}, 1),
		work:    make(chan *check),
		targets: map[policy.TargetID]*target{},
	}
	p.files.log = log
	p.faults.log = log
	p.pings = &pings{wg: &p.wg}
	p.make = p.newChecker
	return p
}

// Set gives the whole list of wanted targets. Those that did not change keep
// their schedule and their connections. New ones are checked at once, though some
// 10,000 a second (with TLS or programs, 1,000). The check under way of one that is gone ends
// without an observation. A target that can't be probed (see Target.Problems)
// is logged and never observed. Certificate files are read again.
func (p *Prober) Set(targets []Target) {
	p.setting.Lock()
	defer p.setting.Unlock()
	p.files.refresh()

	wanted := make(map[policy.TargetID]bool, len(targets))
	var changed []Target
	p.mu.Lock()
	for _, t := range targets {
		if wanted[t.ID] {
			continue
		}
		wanted[t.ID] = true
		t = t.withDefaults()
		if old := p.targets[t.ID]; old == nil || !sameSettings(old.Target, t) {
			changed = append(changed, t)
		}
	}
	p.mu.Unlock()
	fresh := p.build(changed)

	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	var gone []*target
	for id, t := range p.targets {
		if !wanted[id] {
			gone = append(gone, t)
		}
	}
	for _, t := range changed {
		if old := p.targets[t.ID]; old != nil {
			gone = append(gone, old)
		}
	}
	busy := p.remove(gone)
	for _, t := range fresh {
		p.targets[t.ID] = t
	}
	if p.ctx != nil {
		p.place(fresh)
	}
	p.metrics.targets.Set(float64(len(p.targets)))
	p.mu.Unlock()

	for _, t := range busy {
		t.check.abort()
	}
	p.rouse()
}

// Cut gives the whole list of targets that a drill cuts off: nothing is sent to
// them, and each check of one times out, until another list comes.
func (p *Prober) Cut(targets []policy.TargetID) {
	cut := make(map[policy.TargetID]bool, len(targets))
	for _, id := range targets {
		cut[id] = true
	}
	p.cut.Store(&cut)
}

func (p *Prober) isCut(id policy.TargetID) bool {
	cut := p.cut.Load()
	return cut != nil && (*cut)[id]
}

// sameSettings says whether b is checked as a is.
func sameSettings(a, b Target) bool {
	a.Label, b.Label = "", ""
	return reflect.DeepEqual(a, b)
}

func (p *Prober) build(list []Target) []*target {
	built := make([]*target, 0, len(list))
	for _, t := range list {
		c, err := p.make(t)
		if err != nil {
			p.log.Error("target can't be probed", "target", t.Label, "id", t.ID, "error", err)
			continue
		}
		built = append(built, &target{Target: t, checker: c, index: -1, first: true, check: check{p: p}})
		made := built[len(built)-1]
		made.check.t = made
	}
	return built
}

// remove takes targets off the schedule, and returns those whose check under
// way is to be aborted. p.mu is held.
func (p *Prober) remove(gone []*target) []*target {
	var busy []*target
	for _, t := range gone {
		t.gone = true
		delete(p.targets, t.ID)
		if t.index >= 0 {
			p.due.remove(t)
		}
		if t.busy {
			busy = append(busy, t)
		} else {
			t.checker.close()
		}
	}
	return busy
}

// place puts new targets on the schedule: at once, but some distance apart.
func (p *Prober) place(fresh []*target) {
	at := time.Since(p.epoch)
	for _, t := range fresh {
		t.grid, t.next = at, at
		p.due.push(t)
		if t.Check.dear() {
			at += dearPace
		} else {
			at += pace
		}
	}
}

// advance sets the due time after the one that has come. The second check
// comes after half an interval to a whole one, at random, so that targets that
// started together part.
func (t *target) advance(now time.Duration) {
	if t.first {
		t.first = false
		t.grid += t.Interval - rand.N(t.Interval/2+1)
	} else {
		t.grid += t.Interval
	}
	if late := now - t.grid; late > 0 {
		t.grid += (late/t.Interval + 1) * t.Interval
	}
	t.next = t.grid
	if t.Jitter > 0 {
		t.next += rand.N(t.Jitter)
	}
}

func (p *Prober) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// ErrRan is what Run returns when it was called before.
var ErrRan = errors.New("probe: a Prober runs once")

// Run checks the targets until ctx ends; then it ends every check under way,
// without an observation, and waits for everything it started.
func (p *Prober) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.ctx != nil {
		p.mu.Unlock()
		return ErrRan
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.ctx = ctx
	p.place(slices.Collect(maps.Values(p.targets)))
	p.mu.Unlock()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(p.startDue())
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-p.wake:
		}
	}
	p.end()
	return nil
}

func (p *Prober) end() {
	p.mu.Lock()
	p.ended = true
	p.waiting = nil
	busy := p.remove(slices.Collect(maps.Values(p.targets)))
	p.mu.Unlock()
	for _, t := range busy {
		t.check.abort()
	}
	p.pings.close()
	p.wg.Wait()
}

// startDue starts the checks that are due and returns the time until the next.
func (p *Prober) startDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Since(p.epoch)
	for {
		t := p.due.first()
		if t == nil {
			return time.Hour
		}
		if t.next > now {
			return (t.next/tick+1)*tick - now
		}
		if p.unrun.Load() >= backlog {
			return time.Millisecond
		}
		p.startOne(t, now)
		t.advance(now)
		p.due.fix(t)
	}
}

// startOne starts the check of t that is due. Where the one before it is still
// under way, it starts when that has ended.
func (p *Prober) startOne(t *target, now time.Duration) {
	switch {
	case t.busy:
		t.missed = true
		p.metrics.late.Inc()
		p.wg.Go(t.check.hung)
	case t.queued:
		p.metrics.late.Inc()
	default:
		if now-t.next > max(t.Interval/10, 2*tick) {
			p.metrics.late.Inc()
		}
		p.start(t)
	}
}

// start starts a check of t, or queues it for a worker. p.mu is held.
func (p *Prober) start(t *target) {
	if p.cfg.Workers > 0 && p.workers >= p.cfg.Workers {
		t.queued = true
		p.waiting = append(p.waiting, t)
		return
	}
	p.workers++
	p.metrics.running.Inc()
	t.busy = true
	t.check.begin()
	p.unrun.Add(1)
	select {
	case p.work <- &t.check:
	default:
		p.wg.Go(func() { p.worker(&t.check) })
	}
}

// worker runs checks. A goroutine that ran one before has its stack grown
// already, so some are kept.
func (p *Prober) worker(c *check) {
	for {
		p.unrun.Add(-1)
		c.run()
		if p.idle.Add(1) > maxIdle {
			p.idle.Add(-1)
			return
		}
		select {
		case c = <-p.work:
			p.idle.Add(-1)
		case <-p.ctx.Done():
			return
		}
	}
}

// freeWorker takes the worker from a check that is over and gives it to the
// one that waits longest.
func (p *Prober) freeWorker() {
	p.metrics.running.Dec()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers--
	for len(p.waiting) > 0 && p.workers < p.cfg.Workers {
		t := p.waiting[0]
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
		t.queued = false
		if !t.gone {
			p.metrics.late.Inc()
			p.start(t)
		}
	}
}

// freeTarget is called when nothing of the check of t is left.
func (p *Prober) freeTarget(t *target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.busy = false
	switch {
	case t.gone:
		t.checker.close()
	case t.missed:
		t.missed = false
		p.start(t)
	}
}

// tell reports an observation of t, unless nobody wants it any more.
func (p *Prober) tell(t *target, o policy.Observation) {
	if p.ctx.Err() != nil {
		return
	}
	if t.blind.Load() != nil {
		t.blind.Store(nil)
	}
	o.Target, o.Observer, o.At = t.ID, p.cfg.Observer, time.Now()
	p.metrics.observe(t.Check.Kind(), o)
	p.report(o)
}

// unable counts and logs a check of t that a fault of this host prevented.
func (p *Prober) unable(t *target, f fault, detail string) {
	if p.ctx.Err() != nil {
		return
	}
	b := blindness{time.Now(), f, detail, 1}
	if was := t.blind.Load(); was != nil {
		b.since, b.checks = was.since, was.checks+1
	}
	t.blind.Store(&b)
	p.metrics.faults[f].Inc()
	p.faults.tell(f, t, detail)
	p.report(policy.Observation{
		Target: t.ID, Observer: p.cfg.Observer, At: time.Now(), Outcome: policy.Unable, Reason: detail + ": " + remedies[f],
	})
}
