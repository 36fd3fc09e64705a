package node

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/scloudstack/pharos/internal/alert"
	"github.com/scloudstack/pharos/policy"
)

// lookEvery is how often it is looked which alarms are to be sent.
const lookEvery = time.Second

// lookFor is how long after its start a node knows all that is wrong with it: its disk has written or hangs, its sockets
// were tried, its checks made.
const lookFor = 30 * time.Second

// pager has people told of alarms by the receivers of the configuration: of the cluster's by one
// node, of a node's own by that node.
type pager struct {
	n      *Node
	sender *alert.Sender

	muted policy.Muted // as the loop was told; of its goroutine

	mu      sync.Mutex             // guards what follows
	waiting map[string]*page       // what is under way, by event
	taken   []policy.Unsent        // the cluster's alarms that a receiver took, and that the cluster is to know of
	told    map[string]alert.Event // the node's own alarms that a receiver knows of, by the event's cause; kept on the disk
	looked  time.Time              // until then nothing is known to be over that was told before the start
}

// newPager makes a pager that goes on from what the last start told, as it is on the disk; nil: nothing is.
func newPager(n *Node, told []byte) *pager {
	p := &pager{n: n, waiting: map[string]*page{}, told: map[string]alert.Event{}}
	if told == nil {
		return p
	}
	var events []alert.Event
	if err := json.Unmarshal(told, &events); err != nil {
		n.log.Error("which alarms were told before the start can't be read: their ends are not told", "error", err)
	}
	for _, e := range events {
		p.told[e.Cause] = e
	}
	return p
}

// keepTold has the disk know which alarms of the node were told. p.mu is held.
func (p *pager) keepTold() {
	text, err := json.Marshal(slices.AppendSeq([]alert.Event{}, maps.Values(p.told)))
	if err != nil {
		p.n.log.Error("which alarms were told is not kept", "error", err)
		return
	}
	p.n.disk.Mark(marks{told: text}, nil)
}

// Run looks and sends until ctx ends.
func (p *pager) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { _ = p.sender.Run(ctx) }) // it ends with ctx alone
	p.mu.Lock()
	if p.looked.IsZero() {
		p.looked = clock().Add(lookFor)
	}
	p.mu.Unlock()
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
	due := p.ownDue()
	for _, u := range s.unsent {
		due = append(due, p.page(u))
	}
	p.forget(due)
	for _, e := range due {
		p.send(e)
	}
}

// page is one event that is to be handed to the receivers, or was.
type page struct {
	alert.Event
	of    *policy.Unsent // the cluster's alarm that it tells of; nil: one of the node's own
	taken bool           // by one of them
	pause time.Duration  // before it is sent anew, once one gave it up
	again time.Time      // when it is; zero: none did
}

// How long an event rests that a receiver has refused, or not taken for a quarter of an hour.
const (
	firstPause = 10 * time.Second
	mostPause  = 10 * time.Minute
)

// page makes the event of one of the cluster's alarms. Its ID is the same whoever sends it.
func (p *pager) page(u policy.Unsent) *page {
	e := p.event(u.Cause, u.Cleared, u.At)
	e.ID = u.Cause + " " + u.Stamp.String()
	e.Alarm, e.Way, e.Since = u.Alarm.Text, u.Alarm.Way, u.Alarm.Since
	return &page{Event: e, of: &u}
}

// send hands an event to the receivers unless it is under way, or rests.
func (p *pager) send(e *page) {
	if p.begin(e) {
		p.sender.Send(e.Event, func() bool { return p.wants(e) }, func(d alert.Delivery) { p.done(e, d) })
	}
}

// begin notes that an event is sent now; false: it is under way, or rests.
func (p *pager) begin(e *page) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.pause = firstPause
	if old := p.waiting[e.ID]; old != nil {
		if old.again.IsZero() || clock().Before(old.again) {
			return false
		}
		e.At, e.pause = old.At, min(2*old.pause, mostPause)
	}
	p.waiting[e.ID] = e
	return true
}

// wants says whether an event is still this node's to send: also to those receivers that did not take it yet
// where one did.
func (p *pager) wants(e *page) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.taken || p.waiting[e.ID] == e
}

// forget drops the events that are not due any more. A receiver may be taking one all the same, see done.
func (p *pager) forget(due []*page) {
	still := map[string]bool{}
	for _, e := range due {
		still[e.ID] = true
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

// ownDue lists the node's own alarms whose receivers are still to be told that they came, or that they went. As with
// the cluster's, one that goes before a receiver took it is not sent at all.
func (p *pager) ownDue() []*page {
	now := p.n.situation()
	prefix := string(now.running.settings.Node.Name) + "/"
	stands := map[string]bool{}
	var due []*page
	add := func(e alert.Event) {
		e.ID = e.Cause + " " + e.Since.UTC().Format(time.RFC3339Nano) + " " + string(e.State)
		due = append(due, &page{Event: e})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.n.ownAlarms(now) {
		cause := prefix + a.Cause
		stands[cause] = true
		if told, is := p.told[cause]; is && told.Since.Equal(a.Since) {
			continue
		}
		e := p.event(cause, false, a.Since)
		e.Alarm, e.Way, e.Since = a.Text, a.Way, a.Since
		add(e)
	}
	looked := clock().After(p.looked)
	for cause, told := range p.told {
		if !stands[cause] && (looked || !told.Since.Before(p.n.started)) {
			e := p.event(cause, true, clock())
			e.Alarm, e.Way, e.Since = told.Alarm, told.Way, told.Since
			add(e)
		}
	}
	return due
}

// done is told what became of an event at one receiver. One that took it is enough, also where the event is not due any more:
// whoever was told of an alarm that went meanwhile is to hear that it went. What none took is sent again after a pause.
func (p *pager) done(e *page, d alert.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.waiting[e.ID]; now != nil {
		e = now // it was sent again
	}
	if d.Err != nil {
		if !e.taken {
			e.again = clock().Add(e.pause)
		}
		return
	}
	first := !e.taken
	e.taken = true
	switch {
	case !first:
	case e.of != nil:
		p.taken = append(p.taken, *e.of)
	case e.State == alert.Raised:
		p.told[e.Cause] = e.Event
		p.keepTold()
	case p.told[e.Cause].Since.Equal(e.Since):
		delete(p.told, e.Cause)
		p.keepTold()
	}
}

// take lists the cluster's alarms that were taken, and that the cluster was not told of yet.
func (p *pager) take() []policy.Unsent {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.taken
	p.taken = nil
	return list
}
