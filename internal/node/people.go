package node

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/scloudstack/pharos/internal/alert"
	"github.com/scloudstack/pharos/policy"
)

// lookEvery is how often it is looked which alarms are to be sent.
const lookEvery = time.Second

// pager has people told of alarms by the receivers of the configuration: of the cluster's by one
// node, of a node's own by that node.
type pager struct {
	n      *Node
	sender *alert.Sender

	mu      sync.Mutex
	waiting map[string]*page              // the cluster's that are under way, by event
	muted   policy.Muted                  // as the loop was told; of its goroutine
	own     map[string]policy.AlarmStatus // the node's own that were told
}

func newPager(n *Node) *pager {
	return &pager{n: n, waiting: map[string]*page{}, own: map[string]policy.AlarmStatus{}}
}

// Run looks and sends until ctx ends.
func (p *pager) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { _ = p.sender.Run(ctx) }) // it ends with ctx alone
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.look(ctx)
	}
}

// look sends what is new, and has the cluster know what was sent.
func (p *pager) look(ctx context.Context) {
	type seen struct {
		unsent []policy.Unsent
		well   bool
	}
	is, why := p.sender.Mute()
	muted := policy.Muted{Is: is, Why: why}
	s, err := askLoop(ctx, p.n.loop, func(l *loop, _ time.Time) seen {
		if muted != p.muted {
			p.muted = muted
			l.step(muted)
		}
		if done := p.take(); len(done) > 0 {
			l.step(policy.Delivered(done))
		}
		return seen{l.state.Unsent(), l.state.Well()}
	})
	if err != nil {
		return
	}
	p.sender.Well(s.well)
	if !p.sender.Configured() {
		return
	}
	p.forget(s.unsent)
	for _, u := range s.unsent {
		p.send(u)
	}
	p.sendOwn()
}

// page is one event that was handed to the receivers.
type page struct {
	policy.Unsent
	taken bool          // by one of them
	told  bool          // the cluster was told so
	pause time.Duration // before it is sent anew, once one gave it up
	again time.Time     // when it is; zero: none did
}

// How long an event rests that a receiver has refused, or not taken for a quarter of an hour.
const (
	firstPause = 10 * time.Second
	mostPause  = 10 * time.Minute
)

func (p *pager) send(u policy.Unsent) {
	e := p.event(u.Cause, u.Cleared, u.At)
	e.ID = eventID(u)
	e.Alarm, e.Way, e.Since = u.Alarm.Text, u.Alarm.Way, u.Alarm.Since
	if own := p.page(e.ID, u); own != nil {
		p.sender.SendWhile(func() bool { return p.wants(e.ID, own) }, e)
	}
}

// page notes an event that is to be sent now; nil: it is under way, or rests.
func (p *pager) page(id string, u policy.Unsent) *page {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := &page{Unsent: u, pause: firstPause}
	if old := p.waiting[id]; old != nil {
		if old.again.IsZero() || clock().Before(old.again) {
			return nil
		}
		own.pause = min(2*old.pause, mostPause)
	}
	p.waiting[id] = own
	return own
}

// wants says whether an event is still this node's to send: also to those receivers that did not take it yet
// where one did.
func (p *pager) wants(id string, e *page) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.taken || p.waiting[id] == e
}

// eventID is the same whoever sends it.
func eventID(u policy.Unsent) string { return u.Cause + " " + u.Stamp.String() }

// forget drops the events that are not to be sent any more.
func (p *pager) forget(unsent []policy.Unsent) {
	still := map[string]bool{}
	for _, u := range unsent {
		still[eventID(u)] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.waiting, func(id string, _ *page) bool { return !still[id] })
}

func (p *pager) event(cause string, cleared bool, at time.Time) alert.Event {
	set := p.n.situation().running.settings
	e := alert.Event{Cluster: set.Policy.Cluster, Node: set.Node.Name, Cause: cause, State: alert.Raised, At: at}
	if cleared {
		e.State = alert.Cleared
	}
	return e
}

// sendOwn tells of the node's own alarms that came or went.
func (p *pager) sendOwn() {
	now := map[string]policy.AlarmStatus{}
	for _, a := range p.n.ownAlarms(p.n.situation()) {
		now[a.Cause] = a
	}
	name := string(p.n.situation().running.settings.Node.Name)
	tell := func(a policy.AlarmStatus, cleared bool) {
		e := p.event(name+"/"+a.Cause, cleared, clock())
		e.ID = e.Cause + " " + a.Since.UTC().Format(time.RFC3339Nano) + " " + string(e.State)
		e.Alarm, e.Way, e.Since = a.Text, a.Way, a.Since
		p.sender.Send(e)
	}
	for cause, a := range now {
		if old, told := p.own[cause]; !told || !old.Since.Equal(a.Since) {
			tell(a, false)
		}
	}
	for cause, a := range p.own {
		if _, there := now[cause]; !there {
			tell(a, true)
		}
	}
	p.own = now
}

// done is told what became of an event at one receiver. One that took it is enough for the
// cluster to know; what none took is sent again after a pause.
func (p *pager) done(d alert.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := p.waiting[d.Event.ID]; {
	case e == nil:
	case d.Err == nil:
		e.taken = true
	case !e.taken:
		e.again = clock().Add(e.pause)
	}
}

// take lists what was taken and not told yet.
func (p *pager) take() []policy.Unsent {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []policy.Unsent
	for _, e := range p.waiting {
		if e.taken && !e.told {
			e.told = true
			list = append(list, e.Unsent)
		}
	}
	return list
}
