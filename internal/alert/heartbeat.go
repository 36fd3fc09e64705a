package alert

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// wellFor is how long the word that all is well counts, where the heartbeat
// is quicker than that.
const wellFor = 15 * time.Second

// heartbeat asks a URL again and again while the cluster works (policy.State.Well). A switch at the other
// end raises the alarm when it does not: also when this node, its host or its
// line is gone.
type heartbeat struct {
	log     *slog.Logger
	metrics *metrics
	client  *http.Client
	timeout time.Duration
	changed chan struct{} // of room one

	mu    sync.Mutex // guards what follows
	url   string     // empty: none
	every time.Duration
	well  bool
	said  time.Time
	sent  time.Time // the last beat
}

func newHeartbeat(log *slog.Logger, m *metrics) *heartbeat {
	return &heartbeat{log: log, metrics: m, client: newClient(), timeout: patient().attempt, changed: make(chan struct{}, 1)}
}

func (h *heartbeat) set(url string, every time.Duration) {
	h.mu.Lock()
	h.url, h.every = url, every
	h.mu.Unlock()
	h.wake()
}

func (h *heartbeat) say(ok bool, now time.Time) {
	h.mu.Lock()
	first := ok && !h.well
	h.well, h.said = ok, now
	h.mu.Unlock()
	if first {
		h.wake()
	}
}

func (h *heartbeat) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// due is the URL to ask now ("": none), and when to look again.
func (h *heartbeat) due(now time.Time) (url string, again time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.url == "" {
		return "", time.Hour
	}
	if left := h.sent.Add(h.every).Sub(now); left > 0 {
		return "", left
	}
	if !h.well || now.Sub(h.said) > max(wellFor, 2*h.every) {
		return "", h.every
	}
	h.sent = now
	return h.url, h.every
}

func (h *heartbeat) run(ctx context.Context) {
	defer h.client.CloseIdleConnections()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failing := false
	for ctx.Err() == nil {
		url, again := h.due(time.Now())
		if url != "" {
			failing = h.beat(ctx, url, failing)
		}
		timer.Reset(again)
		select {
		case <-timer.C:
		case <-h.changed:
		case <-ctx.Done():
		}
	}
}

// beat sends one heartbeat and says whether it failed. A switch that can't be
// reached is logged once.
func (h *heartbeat) beat(ctx context.Context, url string, failing bool) bool {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		err = ask(h.client, req)
	}
	switch {
	case err == nil:
		h.metrics.beats.WithLabelValues("sent").Inc()
		if failing {
			h.log.Info("the heartbeat is taken again")
		}
		return false
	case context.Cause(ctx) == context.Canceled: // the node stops
		return failing
	}
	h.metrics.beats.WithLabelValues("failed").Inc()
	if !failing {
		h.log.Warn("the heartbeat is not taken", "error", err)
	}
	return true
}
