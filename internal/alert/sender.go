package alert

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scloudstack/pharos/internal/config"
)

// maxQueue is how many events wait for one receiver; then the oldest is given up.
const maxQueue = 256

// What an event is given up for, beside the receiver's own refusal.
var (
	ErrQueueFull = errors.New("too many events wait for the receiver")
	ErrRemoved   = errors.New("the receiver was taken out of the configuration")
)

// timing is how long things take; tests have less patience.
type timing struct {
	attempt time.Duration // of one try
	first   time.Duration // before the second try; doubles with each more
	most    time.Duration // between two tries
	giveUp  time.Duration // after an event came
	relieve time.Duration // of failing, after which another node had better send
	rested  time.Duration // after the last failure, when one event is worth another try
}

func patient() timing {
	return timing{attempt: 10 * time.Second, first: time.Second, most: time.Minute, giveUp: 15 * time.Minute, relieve: 30 * time.Second, rested: 10 * time.Minute}
}

// receiver takes events. Its errors are tried again, unless they are refusals.
type receiver interface {
	send(ctx context.Context, e Event) error
	close()
}

// refusal is an error that trying again does not mend.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// Sender sends events to all receivers of the configuration.
type Sender struct {
	log     *slog.Logger
	timing  timing
	host    string
	metrics *metrics
	beat    *heartbeat

	webhook, exec, syslog *lane

	mu  sync.Mutex
	cfg config.Alarms // guarded by mu
}

// New makes a sender. host is the node's name, for syslog.
func New(cfg config.Alarms, host string, log *slog.Logger, reg prometheus.Registerer) (*Sender, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	s := &Sender{log: log, timing: patient(), host: host, metrics: m}
	s.webhook, s.exec, s.syslog = s.newLane("webhook"), s.newLane("exec"), s.newLane("syslog")
	s.beat = newHeartbeat(log, m)
	s.Set(cfg)
	return s, nil
}

// Set takes other receivers. What waits goes to the new ones.
func (s *Sender) Set(cfg config.Alarms) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.cfg; before.Webhook != cfg.Webhook {
		s.webhook.set(nilUnless(cfg.Webhook != "", func() receiver { return newWebhook(cfg.Webhook) }))
	}
	if !slices.Equal(s.cfg.Exec, cfg.Exec) {
		s.exec.set(nilUnless(len(cfg.Exec) > 0, func() receiver { return program{argv: cfg.Exec} }))
	}
	if s.cfg.Syslog != cfg.Syslog {
		s.syslog.set(nilUnless(cfg.Syslog != "", func() receiver { return syslogReceiver{NewSyslog(cfg.Syslog, s.host)} }))
	}
	s.beat.set(cfg.Heartbeat, cfg.HeartbeatEvery)
	s.cfg = cfg
}

func nilUnless(there bool, make func() receiver) receiver {
	if !there {
		return nil
	}
	return make()
}

func (s *Sender) lanes() []*lane { return []*lane{s.webhook, s.exec, s.syslog} }

// Configured tells whether there is any receiver: without one, nobody has to
// take an event.
func (s *Sender) Configured() bool {
	return slices.ContainsFunc(s.lanes(), (*lane).configured)
}

// Mute says whether no receiver can be told: there is none, and then why is empty, or none has taken anything for a while.
// Why stays until one takes something; after some minutes without a try, mute does not, so that an event is tried.
func (s *Sender) Mute() (mute bool, why string) {
	var failures []string
	mute = true
	for _, l := range s.lanes() {
		if !l.configured() {
			continue
		}
		failure, rested := l.failure()
		if failure == "" {
			return false, ""
		}
		failures = append(failures, l.name+": "+failure)
		mute = mute && !rested
	}
	return mute, strings.Join(failures, "; ")
}

// Send queues an event for every receiver. It never blocks. Before each try it is asked whether the event is still
// wanted; one that is not is dropped, and not reported. Otherwise done is told what became of it at each receiver. Both are
// called on any goroutine, and must not block.
func (s *Sender) Send(e Event, wanted func() bool, done func(Delivery)) {
	for _, l := range s.lanes() {
		l.push(waiting{event: e, wanted: wanted, done: done})
	}
}

// Well says whether the cluster works at the moment: the heartbeat goes out while it
// does. It has to be said again and again, so that a node that hangs falls silent.
func (s *Sender) Well(ok bool) { s.beat.say(ok, time.Now()) }

// Run sends until ctx ends, and joins its goroutines. Events that are under
// way then are not reported.
func (s *Sender) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, l := range s.lanes() {
		all.Go(func() { l.run(ctx) })
	}
	all.Go(func() { s.beat.run(ctx) })
	all.Wait()
	for _, l := range s.lanes() {
		l.set(nil)
	}
	return nil
}
