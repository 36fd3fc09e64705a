package alert

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// lane is the queue of one receiver.
type lane struct {
	s       *Sender
	name    string
	changed chan struct{} // of room one: there is an event, or another receiver

	mu    sync.Mutex // guards what follows
	to    receiver   // nil: not configured
	queue []waiting

	failing, failed time.Time // the first and the last failure since something was taken; zero: none
	why             string    // of the last
}

type waiting struct {
	event  Event
	until  time.Time   // when it is given up
	wanted func() bool // asked before each try
	done   func(Delivery)
}

func (s *Sender) newLane(name string) *lane {
	return &lane{s: s, name: name, changed: make(chan struct{}, 1)}
}

func (l *lane) configured() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to != nil
}

// set takes another receiver, or none.
func (l *lane) set(to receiver) {
	l.mu.Lock()
	before := l.to
	l.to, l.failing = to, time.Time{}
	l.mu.Unlock()
	if before != nil {
		before.close()
	}
	l.wake()
}

func (l *lane) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// push queues an event, in the place of the oldest where there is no room.
func (l *lane) push(w waiting) {
	l.mu.Lock()
	if l.to == nil {
		l.mu.Unlock()
		return
	}
	var dropped []waiting
	if len(l.queue) >= maxQueue {
		dropped, l.queue = l.queue[:1:1], l.queue[1:]
	}
	w.until = time.Now().Add(l.s.timing.giveUp)
	l.queue = append(l.queue, w)
	l.s.metrics.waiting.WithLabelValues(l.name).Set(float64(len(l.queue)))
	l.mu.Unlock()
	for _, w := range dropped {
		l.report(w, ErrQueueFull)
	}
	l.wake()
}

// take is the oldest event that waits.
func (l *lane) take() (waiting, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return waiting{}, false
	}
	w := l.queue[0]
	l.queue = l.queue[1:]
	l.s.metrics.waiting.WithLabelValues(l.name).Set(float64(len(l.queue)))
	return w, true
}

// run delivers one event after the other, so that they arrive in order.
func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		if w, ok := l.take(); ok {
			l.deliver(ctx, w)
			continue
		}
		select {
		case <-l.changed:
		case <-ctx.Done():
		}
	}
}

// deliver tries until the receiver takes the event, refuses it, its time is over, or it is not wanted any more.
func (l *lane) deliver(ctx context.Context, w waiting) {
	pause := l.s.timing.first
	for {
		if !w.wanted() {
			l.s.log.Info("an alarm is not sent any more: it is over, or another node's to send", "receiver", l.name, "cause", w.event.Cause)
			return
		}
		err := l.attempt(ctx, w.event)
		if err != nil && ctx.Err() != nil {
			return
		}
		var refused refusal
		over := err == nil || errors.Is(err, ErrRemoved)
		l.note(over, err)
		if over || errors.As(err, &refused) || time.Now().After(w.until) {
			l.report(w, err)
			return
		}
		l.s.metrics.failed.WithLabelValues(l.name).Inc()
		l.s.log.Warn("an alarm was not taken and is tried again", "receiver", l.name, "cause", w.event.Cause, "in", pause, "error", err)
		l.rest(ctx, pause)
		pause = min(2*pause, l.s.timing.most)
	}
}

// note remembers since when the receiver takes nothing.
func (l *lane) note(over bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case over:
		l.failing = time.Time{}
	case l.failing.IsZero():
		l.failing = time.Now()
	}
	if err != nil {
		l.failed, l.why = time.Now(), err.Error()
	}
}

// failure is why the receiver has taken nothing for long, empty where it may, and whether it was left alone since.
func (l *lane) failure() (why string, rested bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing.IsZero() || l.failed.Sub(l.failing) < l.s.timing.relieve {
		return "", false
	}
	return l.why, time.Since(l.failed) >= l.s.timing.rested
}

// rest waits for about d; nodes that fail together must not come back together.
func (l *lane) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *lane) attempt(ctx context.Context, e Event) error {
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	if to == nil {
		return ErrRemoved
	}
	ctx, cancel := context.WithTimeout(ctx, l.s.timing.attempt)
	defer cancel()
	return to.send(ctx, e)
}

// report tells what became of an event.
func (l *lane) report(w waiting, err error) {
	e, result := w.event, "sent"
	if err != nil {
		result = "given-up"
		l.s.log.Error("an alarm was given up", "receiver", l.name, "cause", e.Cause, "state", e.State, "error", err)
	}
	l.s.metrics.deliveries.WithLabelValues(l.name, result).Inc()
	w.done(Delivery{Event: e, Receiver: l.name, Err: err})
}
