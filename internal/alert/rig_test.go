package alert

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a sender with what became of its events.
type rig struct {
	*Sender
	t    *testing.T
	done chan Delivery
	stop func()
}

// newRig makes a sender without patience; run starts it.
func newRig(t *testing.T, cfg config.Alarms) *rig {
	t.Helper()
	r := &rig{t: t, done: make(chan Delivery, 4*maxQueue)}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := New(cfg, "edge-a1", log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.timing = timing{attempt: 5 * time.Second, first: 5 * time.Millisecond, most: 20 * time.Millisecond, giveUp: time.Minute, relieve: 50 * time.Millisecond, rested: time.Minute}
	r.Sender = s
	return r
}

// Send sends what is wanted to the end.
func (r *rig) Send(e Event) { r.sendWhile(func() bool { return true }, e) }

func (r *rig) sendWhile(wanted func() bool, e Event) {
	r.Sender.Send(e, wanted, func(d Delivery) { r.done <- d })
}

func (r *rig) run() *rig {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-ended })
	r.t.Cleanup(r.stop)
	return r
}

// delivery is the next event that was taken or given up.
func (r *rig) delivery() Delivery {
	r.t.Helper()
	select {
	case d := <-r.done:
		return d
	case <-time.After(20 * time.Second):
		r.t.Fatal("nothing became of the event")
		return Delivery{}
	}
}

func (r *rig) wantCount(c prometheus.Collector, want float64) {
	r.t.Helper()
	if got := testutil.ToFloat64(c); got != want {
		r.t.Errorf("counted %v, want %v", got, want)
	}
}

var (
	came = time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	fire = Event{
		ID: "1.0.edge-b1", Cluster: "prod", Node: "edge-a1", Cause: "all-down/shop", State: Raised,
		Alarm: "none of its endpoints is up", Way: "pharos override set --service shop --site remote", Since: came, At: came,
	}
)

// hook is a web server that notes what it is sent and answers as told.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
	answer func(n int, w http.ResponseWriter) // n counts from 1
}

func newHook(t *testing.T, answer func(n int, w http.ResponseWriter)) *hook {
	h := &hook{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.bodies = append(h.bodies, r.Method+" "+string(text))
		h.heads = append(h.heads, r.Header)
		n := len(h.bodies)
		h.mu.Unlock()
		if h.answer != nil {
			h.answer(n, w)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.bodies...)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
