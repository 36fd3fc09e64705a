package alert

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	feedQueue = 4096
	feedFlush = time.Second // for what waits when the node stops
)

// Feed sends a stream of messages, such as the audit, to syslog: in order, from
// a goroutine of its own (Run). While the receiver does not take them they wait,
// bounded; what finds no room is counted as lost.
type Feed struct {
	host        string
	log         *slog.Logger
	sent, lost  prometheus.Counter
	first, most time.Duration // pauses between tries
	changed     chan struct{} // of room one: there is a message, or another receiver

	mu    sync.Mutex // guards what follows
	where string
	to    *Syslog // nil: nobody
	queue []Message
}

// NewFeed makes a feed to nobody; see Set. host is the node's name.
func NewFeed(host string, log *slog.Logger, reg prometheus.Registerer) (*Feed, error) {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pharos_audit_syslog_total",
		Help: "Audit records for syslog by what became of them: sent or lost.",
	}, []string{"result"})
	if err := reg.Register(count); err != nil {
		return nil, err
	}
	return &Feed{
		host: host, log: log, sent: count.WithLabelValues("sent"), lost: count.WithLabelValues("lost"),
		first: time.Second, most: 30 * time.Second, changed: make(chan struct{}, 1),
	}, nil
}

// Set sends to another receiver from now on: "local", an address and UDP port,
// or "" for nobody.
func (f *Feed) Set(where string) {
	f.mu.Lock()
	if f.where == where {
		f.mu.Unlock()
		return
	}
	before := f.to
	f.where, f.to = where, nil
	if where != "" {
		f.to = NewSyslog(where, f.host)
	} else {
		f.queue = nil
	}
	f.mu.Unlock()
	if before != nil {
		before.Close() // it may wait for a write, and Send must not
	}
	f.wake()
}

// Send queues a message. It never blocks.
func (f *Feed) Send(m Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.to == nil:
	case len(f.queue) >= feedQueue:
		f.lost.Inc()
	default:
		f.queue = append(f.queue, m)
		f.wake()
	}
}

func (f *Feed) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, then what still waits if the receiver takes it at once.
func (f *Feed) Run(ctx context.Context) error {
	pause := f.first
	failing := false
	for ctx.Err() == nil {
		err := f.drain(ctx)
		if err == nil {
			if failing {
				f.log.Info("syslog takes the audit again")
			}
			pause, failing = f.first, false
			select {
			case <-f.changed:
			case <-ctx.Done():
			}
			continue
		}
		if ctx.Err() == nil && !failing {
			f.log.Warn("syslog does not take the audit; it waits", "error", err)
			failing = true
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, f.most)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), feedFlush)
	defer cancel()
	if err := f.drain(last); err != nil {
		f.log.Warn("syslog did not take the end of the audit", "error", err)
	}
	f.Set("")
	return nil
}

// drain sends what waits, until one is not taken.
func (f *Feed) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		f.mu.Lock()
		to := f.to
		if to == nil || len(f.queue) == 0 {
			f.mu.Unlock()
			return nil
		}
		m := f.queue[0]
		f.queue = f.queue[1:]
		f.mu.Unlock()
		if err := to.Write(ctx, m); err != nil {
			f.mu.Lock()
			if f.to != nil {
				f.queue = append([]Message{m}, f.queue...)
			}
			f.mu.Unlock()
			return err
		}
		f.sent.Inc()
	}
	return ctx.Err()
}
