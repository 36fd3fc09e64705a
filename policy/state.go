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
	ix       *index
	targets  []target
	paths    []path // by site
	entries  map[EntryKey]Entry
	orders   *orders // what the entries say; replaced, never changed
	svcs     []service
	svcDue   []time.Time       // by service: when time alone may change it; zero: never
	soonest  time.Time         // of those
	touched  []bool            // services to decide in this step; all false between steps
	moves    map[string]*Move  // the newest of each chain that can be read, by key
	unread   map[string]uint64 // the number of the newest of a chain, where that can't be read, as of another release
	raised   map[string]raised
	wanted   map[string]alarm     // alarms whose cause is seen here
	lost     map[string][]loss    // by the cause of a conflict: met here, and not acknowledged
	doubts   map[string]time.Time // alarms whose entry does not say what is seen here, and since when
	globals  []alarm              // seen here, of no single service
	started  time.Time
	rev      *Revision
	sum      [32]byte // of all answers, for the digest
	clock    Stamp
	promised map[EntryKey]Stamp // orders that are on their way to the disk
	now      time.Time

	here    []bool           // targets that this node probes
	trust   trust            // what they say of the node itself
	failing map[int]struct{} // targets whose last result is a failure
	failed  time.Time        // when the last of those began to fail
	suspect time.Time        // since when the node suspects itself; zero: it does not

	peers    []peer // by node of the configuration, this one among them
	lists    lists
	expiry   time.Time // no peer is silent before
	verdicts []verdict // by target
	needs    []verdict // by requirement
	seated   []bool    // sites of the electorate; nil: not counted yet
	seats    int       // how many
	majority bool      // a majority of them is heard, the own among them
	hold     *hold     // nil: the start is not, or no more, held
	blocked  []SiteID  // what Effects.Block said last
	zones    [8]byte   // digest of what is served
	sent     Vote      // the last that went out
	mute     Muted     // whether it can tell receivers of alarms

	falling                       map[Stamp]time.Time // expired overrides that may fall, and since when
	unlike                        [2]time.Time        // since when others run with another configuration, other zones
	fallDue, alarmDue, contactDue time.Time           // when it is this node's turn, or people are told; zero: never
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
	// at is when this node made the move, if it is no entry yet: it is answered by all the same. It
	// becomes one when it is due.
	at, due time.Time
	after   *Move     // the entry that it follows; nil: the first
	taken   time.Time // when the newest entry was taken over from another node; zero: it was not
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
	conflicts     []string // causes of alarms
	changed       []string // names whose answer changed
	gone          []string
}

func newState(cfg *Config, now time.Time) *State {
	s := &State{
		entries: map[EntryKey]Entry{}, moves: map[string]*Move{}, unread: map[string]uint64{}, now: now, started: now,
		raised: map[string]raised{}, wanted: map[string]alarm{}, lost: map[string][]loss{}, doubts: map[string]time.Time{}, falling: map[Stamp]time.Time{},
		lists: lists{map[[32]byte][]TargetID{}, map[[32]byte]time.Time{}}, promised: map[EntryKey]Stamp{},
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
	t.sweep(true)
	s.startHold(stored.Stamped, now)
	s.startHealth(stored, now)
	s.startAlarms()
	s.startChains()
	t.ordersMoved = true
	t.touchAll()
	return s, t.finish(true)
}

// Step takes one event in and decides. Of times without a monotonic reading, one that is earlier than the last
// counts as the last; those of time.Now are ordered by that reading, and follow a clock that is set back.
func Step(s *State, e Event, now time.Time) Effects {
	t := s.begin(now)
	force := false
	switch e := e.(type) {
	case Observed:
		t.observe(e)
	case Promised:
		t.promise(e)
	case Ordered:
		t.redeem(e)
		t.order(e, true)
	case Reconfigured:
		t.reconfigure(e.Config)
		force = true
	case Loaded:
		t.zones, t.contactsMoved = e.Zones, true
	case Merged:
		t.order(e, false)
	case Heard:
		t.hearVotes(e)
	case Met:
		t.meetPeers(e)
	case Reasons:
		t.believe(e)
	case Lists:
		t.learn(e.Targets)
	case Forgotten:
		t.forget(e)
	case Refilled:
		t.refill(e)
		force = true
	case Delivered:
		t.markSent(e)
	case Muted:
		t.mute, t.contactsMoved = e, true
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
	s.svcDue, s.soonest = make([]time.Time, len(ix.services)), time.Time{}
	s.touched = make([]bool, len(ix.services))
	s.here, s.trust = make([]bool, len(ix.targets)), trust{}
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
	f.svcDue = slices.Clone(s.svcDue)
	f.touched = slices.Clone(s.touched)
	f.raised, f.wanted, f.doubts = maps.Clone(s.raised), maps.Clone(s.wanted), maps.Clone(s.doubts)
	f.lost, f.promised = maps.Clone(s.lost), maps.Clone(s.promised)
	f.moves, f.unread, f.falling = maps.Clone(s.moves), maps.Clone(s.unread), maps.Clone(s.falling)
	if s.hold != nil {
		h := *s.hold
		h.held = maps.Clone(h.held)
		f.hold = &h
	}
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
	if t.due(t.orders.next()) {
		t.ordersMoved = true
		t.touchAll()
	}
	if t.due(t.soonest) {
		for i, at := range t.svcDue {
			if t.due(at) {
				t.touch(i)
			}
		}
	}
	if t.ordersMoved {
		t.readAgain()
	}
	t.countPeers()
	decided := t.evaluateTouched()
	for (decided || t.ordersMoved || t.due(t.fallDue)) && t.fallExpired() {
		t.readAgain()
		t.evaluateTouched()
	}
	if t.ordersMoved || t.sitesTouched || force || t.contactsMoved || t.blindIsDue() || t.due(t.contactDue) || decided && t.someExpired() {
		t.alarmGlobals()
	}
	t.settleDue()
	if force || t.contactsMoved {
		t.settleAll()
	}
	t.publish(force)
	t.sendVote()
	t.fx.Wake = t.wake()
	return t.fx
}

// due says whether a time that may be zero, for never, has come.
func (s *State) due(at time.Time) bool { return !at.IsZero() && !at.After(s.now) }

// countPeers follows a change of who is in contact, or of what peers say of themselves.
func (t *turn) countPeers() {
	if t.contactsMoved {
		t.countContacts()
		t.watch(false)
	}
	if t.contactsMoved || t.ordersMoved || t.due(t.coldDue()) {
		t.judgeHold()
		t.countContacts()
	}
	for _, cause := range t.conflicts {
		t.settle(cause)
	}
}

// readAgain reads the orders after one came or ended. A suspension that comes or goes
// may change anything.
func (t *turn) readAgain() {
	before := t.orders
	t.orders = t.readOrders()
	if before != nil && !sameSuspended(before, t.orders) {
		t.touchAll()
	}
	if before != nil {
		t.tellEnded(before)
	}
	t.countSeats()
	if now := t.Blocked(); before == nil && len(now) > 0 || before != nil && !slices.Equal(now, t.blocked) {
		t.blocked, t.fx.Block = now, now
	}
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
	for _, at := range t.svcDue {
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
	for _, at := range []time.Time{t.expiry, t.soonest, t.coldDue(), t.fallDue, t.alarmDue, t.contactDue} {
		next = sooner(next, at)
	}
	return next
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
		if _, stays := s.ix.svcOf[oldIx.services[i].ID]; !stays {
			for _, a := range oldSvcs[i].alarms {
				delete(t.wanted, a.cause)
			}
		}
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
