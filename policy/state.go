package policy

import (
	"maps"
	"slices"
	"time"
)

// defaultRejoinAfter bounds the age of stored health where the configuration does not.
const defaultRejoinAfter = 10 * time.Minute

// State is one node's whole decision state. It belongs to one goroutine.
type State struct {
	ix      *index
	targets []target
	paths   []path // by site
	entries map[EntryKey]Entry
	orders  *orders // what the entries say; replaced, never changed
	svcs    []service
	due     []time.Time // by service: when time alone may change it; zero: never
	soonest time.Time   // of due
	touched []bool      // services to decide in this step; all false between steps
	raised  map[string]raised
	globals []alarm // raised, of no single service
	rev     *Revision
	sum     [32]byte // of all answers, for the digest
	clock   Stamp
	now     time.Time

	here       []bool           // targets that this node probes
	probed     int              // how many
	succeeding int              // targets whose last result is a success
	unheard    int              // targets probed here that no result came from yet
	failing    map[int]struct{} // targets whose last result is a failure
	failed     time.Time        // when the last of those began to fail
	suspect    time.Time        // since when the node suspects itself; zero: it does not

	peers    []peer // by node of the configuration, this one among them
	lists    lists
	expiry   time.Time // no peer is silent before
	verdicts []verdict // by target
	needs    []verdict // by requirement
	seated   []bool    // sites of the electorate; nil: not counted yet
	seats    int       // how many
	majority bool      // a majority of them is heard, the own among them
}

// service is what is held of one service between steps.
type service struct {
	main    chain
	inside  map[Stamp]chain // by the stamp of the site override that bounds it
	answers []*Answer       // by name
	ttls    []uint32        // with nothing pending
	digests [][32]byte
	alarms  []alarm
}

// chain is the newest move of a service in one epoch, or inside one site override.
type chain struct {
	move *Move // nil: none yet
}

// turn is one step under way.
type turn struct {
	*State
	fx           Effects
	list         []int // touched services
	ordersMoved  bool
	sitesTouched bool
	// contactsMoved says that who is heard, or what peers say of themselves, has changed.
	contactsMoved bool
	voteMoved     bool
	changed       []string // names whose answer changed
	gone          []string
}

func newState(cfg *Config, now time.Time) *State {
	s := &State{
		entries: map[EntryKey]Entry{}, raised: map[string]raised{}, now: now,
		lists: lists{map[[32]byte][]TargetID{}, map[[32]byte]time.Time{}},
	}
	s.adopt(newIndex(cfg))
	s.startPeers(nil, nil)
	return s
}

// Start makes a State from the configuration and what was found on disk, and
// decides for the first time: Effects.Revision is always set.
func Start(cfg *Config, stored Stored, now time.Time) (*State, Effects) {
	s := newState(cfg, now)
	t := s.begin(now)
	t.watch(true)
	for _, e := range stored.Entries {
		s.see(e.Stamp, now)
		t.merge(e)
	}
	t.dropFalls()
	s.startHealth(stored, now)
	s.startAlarms()
	s.startChains()
	t.ordersMoved = true
	t.touchAll()
	return s, t.finish(true)
}

// Step takes one event in and decides. A clock that goes back is
// treated as standing still.
func Step(s *State, e Event, now time.Time) Effects {
	t := s.begin(now)
	force := false
	switch e := e.(type) {
	case Observed:
		t.observe(e)
	case Ordered:
		t.order(e)
	case Reconfigured:
		t.reconfigure(e.Config)
		force = true
	case Loaded:
	case Merged:
		t.order(e)
	case Heard:
		t.hearVotes(e)
	case Met:
	case Reasons:
		t.believe(e)
	case Lists:
		t.learn(e.Targets)
	case Tick:
	}
	return t.finish(force)
}

// Revision is the newest revision.
func (s *State) Revision() *Revision { return s.rev }

// adopt lays an index under an empty state.
func (s *State) adopt(ix *index) {
	s.ix = ix
	s.targets = make([]target, len(ix.targets))
	s.paths = make([]path, len(ix.sites))
	s.svcs = make([]service, len(ix.services))
	s.due, s.soonest = make([]time.Time, len(ix.services)), time.Time{}
	s.touched = make([]bool, len(ix.services))
	s.here, s.probed, s.unheard = make([]bool, len(ix.targets)), 0, 0
	s.failing = map[int]struct{}{}
	s.verdicts, s.needs = make([]verdict, len(ix.targets)), make([]verdict, len(ix.needs))
	s.seated = nil
	for i := range s.svcs {
		s.svcs[i].inside = map[Stamp]chain{}
		s.svcs[i].answers = make([]*Answer, len(ix.services[i].Names))
		s.svcs[i].ttls = make([]uint32, len(ix.services[i].Names))
		s.svcs[i].digests = make([][32]byte, len(ix.services[i].Names))
	}
}

// fork copies the state, so that a dry run can go on with the copy.
func (s *State) fork() *State {
	f := *s
	f.targets = slices.Clone(s.targets)
	f.paths = slices.Clone(s.paths)
	f.failing = maps.Clone(s.failing)
	f.peers = slices.Clone(s.peers)
	if own := s.ix.self; own >= 0 {
		f.peers[own].states = slices.Clone(s.peers[own].states)
	}
	f.lists = lists{maps.Clone(s.lists.known), maps.Clone(s.lists.asked)}
	f.verdicts, f.needs = slices.Clone(s.verdicts), slices.Clone(s.needs)
	f.entries = maps.Clone(s.entries)
	f.svcs = slices.Clone(s.svcs)
	for i := range f.svcs {
		f.svcs[i].inside = maps.Clone(s.svcs[i].inside)
		f.svcs[i].answers = slices.Clone(s.svcs[i].answers)
		f.svcs[i].ttls = slices.Clone(s.svcs[i].ttls)
		f.svcs[i].digests = slices.Clone(s.svcs[i].digests)
	}
	f.due = slices.Clone(s.due)
	f.touched = slices.Clone(s.touched)
	f.raised = maps.Clone(s.raised)
	return &f
}

func (s *State) begin(now time.Time) *turn {
	if now.After(s.now) {
		s.now = now
	}
	return &turn{State: s}
}

// touch marks services as resting on something that changed.
func (t *turn) touch(svcs ...int) {
	for _, i := range svcs {
		if !t.touched[i] {
			t.touched[i] = true
			t.list = append(t.list, i)
		}
	}
}

func (t *turn) touchAll() {
	for i := range t.svcs {
		t.touch(i)
	}
}

// finish decides everything that was touched or has come due.
func (t *turn) finish(force bool) Effects {
	t.expireVotes()
	if !t.orders.next().IsZero() && !t.orders.next().After(t.now) {
		t.ordersMoved = true
		t.touchAll()
	}
	if !t.soonest.IsZero() && !t.soonest.After(t.now) {
		for i, at := range t.due {
			if !at.IsZero() && !at.After(t.now) {
				t.touch(i)
			}
		}
	}
	if t.ordersMoved {
		t.readAgain()
	}
	if t.contactsMoved {
		t.countContacts()
		t.watch(false)
	}
	decided := t.evaluateTouched()
	for (decided || t.ordersMoved) && t.fallExpired() {
		t.readAgain()
		t.evaluateTouched()
	}
	if t.ordersMoved || t.sitesTouched || force || t.blindIsDue() || decided && t.someExpired() {
		t.alarmGlobals()
	}
	if force {
		t.clearStale()
	}
	t.publish(force)
	t.fx.Wake = t.wake()
	return t.fx
}

// readAgain reads the orders after one came or ended. A suspension that comes or goes
// may change anything.
func (t *turn) readAgain() {
	before := t.orders
	t.orders = t.readOrders()
	if before != nil && !sameSuspended(before, t.orders) {
		t.touchAll()
	}
	t.countSeats()
}

// evaluateTouched decides the touched services, in the order of the configuration,
// and says whether there were any.
func (t *turn) evaluateTouched() bool {
	if len(t.list) == 0 {
		return false
	}
	slices.Sort(t.list)
	for _, i := range t.list {
		t.touched[i] = false
		t.evaluate(i)
	}
	t.list, t.soonest = t.list[:0], time.Time{}
	for _, at := range t.due {
		t.soonest = sooner(t.soonest, at)
	}
	return true
}

// wake is when time alone may change something next.
func (t *turn) wake() time.Time {
	next := t.orders.next()
	if at := t.blindAlarm(); at.After(t.now) {
		next = sooner(next, at)
	}
	return sooner(sooner(next, t.expiry), t.soonest)
}

// sooner is the earlier of two times, of which a zero one means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (t *turn) change(subject, before, after, why string) {
	t.fx.Changes = append(t.fx.Changes, Change{Subject: subject, Before: before, After: after, Why: why})
}

// reconfigure lays a new configuration under the state. Health of targets that
// stay is kept, and so are the moves of services that stay.
func (t *turn) reconfigure(cfg *Config) {
	s, oldIx, oldTargets, oldPaths, oldSvcs := t.State, t.ix, t.targets, t.paths, t.svcs
	oldHere, oldVerdicts, oldNeeds, oldPeers := t.here, t.verdicts, t.needs, t.peers
	s.adopt(newIndex(cfg))
	s.startPeers(oldIx, oldPeers)
	for i := range s.ix.targets {
		old, ok := oldIx.targetOf[s.ix.targets[i].ID]
		if !ok { // what the disk may know of it is from before it was taken out
			t.fx.Health = append(t.fx.Health, HealthEntry{Target: s.ix.targets[i].ID})
			continue
		}
		s.targets[i] = oldTargets[old]
		s.here[i], s.verdicts[i] = oldHere[old], oldVerdicts[old]
		t.fails(i)
	}
	s.keepNeeds(oldIx, oldNeeds)
	s.succeeding = 0
	for i := range s.targets {
		if s.targets[i].heard && s.targets[i].last == Success {
			s.succeeding++
		}
	}
	s.castAll()
	t.watch(true)
	for id, i := range s.ix.siteOf {
		if old, ok := oldIx.siteOf[id]; ok {
			s.paths[i] = oldPaths[old]
		}
	}
	for i := range s.svcs {
		old, ok := oldIx.svcOf[s.ix.services[i].ID]
		if !ok {
			continue
		}
		s.svcs[i].alarms = oldSvcs[old].alarms
	}
	for i := range oldSvcs {
		t.keepAnswers(oldIx, i, oldSvcs[i])
	}
	s.startChains()
	t.ordersMoved = true
	t.touchAll()
	t.suspectSelf()
}

// keepAnswers hands the answers of a service's names on, so that those that do
// not change stay the same pointers, and forgets names that are no more.
func (t *turn) keepAnswers(oldIx *index, i int, old service) {
	for n, name := range oldIx.services[i].Names {
		ref, ok := t.ix.nameOf[name]
		if !ok {
			t.gone = append(t.gone, name)
			if old.answers[n] != nil {
				t.sum = xor(t.sum, old.digests[n])
			}
			continue
		}
		t.svcs[ref.svc].answers[ref.name] = old.answers[n]
		t.svcs[ref.svc].ttls[ref.name] = old.ttls[n]
		t.svcs[ref.svc].digests[ref.name] = old.digests[n]
	}
}

// keepNeeds hands on what is known of requirements that stay.
func (s *State) keepNeeds(oldIx *index, old []verdict) {
	for k, n := range s.ix.needs {
		for was, o := range oldIx.needs {
			if o.name == n.name && oldIx.sites[o.site].ID == s.ix.sites[n.site].ID && oldIx.targets[o.target].ID == s.ix.targets[n.target].ID {
				s.needs[k] = old[was]
			}
		}
	}
}
