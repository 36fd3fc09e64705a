package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

// event is what the webhook is told.
type event struct {
	ID, Node, Cause, State string
	taken                  bool
}

// receiver is a real server for alarms and heartbeats, at an address that all nodes reach.
type receiver struct {
	at string

	mu      sync.Mutex
	deaf    bool   // it answers 503
	deafTo  string // to what this node sends, too
	events  []event
	beats   int
	lastOne time.Time
}

func newReceiver(t *testing.T, l *lab.Lab) *receiver {
	t.Helper()
	remote := l.Site("remote")
	r := &receiver{at: netip.AddrPortFrom(clients(remote), 8080).String()}
	listener, err := remote.Clients().Listen("tcp", r.at)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", r.hook)
	mux.HandleFunc("GET /beat", func(http.ResponseWriter, *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.beats++
		r.lastOne = time.Now()
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) hook(w http.ResponseWriter, q *http.Request) {
	var e event
	err := json.NewDecoder(q.Body).Decode(&e)
	r.mu.Lock()
	defer r.mu.Unlock()
	e.taken = err == nil && !r.deaf && e.Node != r.deafTo
	r.events = append(r.events, e)
	if !e.taken {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (r *receiver) setDeaf(deaf bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = deaf
}

func (r *receiver) setDeafTo(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deafTo = node
}

// of are the events of a cause and state.
func (r *receiver) of(cause, state string, taken bool) (list []event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Cause == cause && e.State == state && e.taken == taken {
			list = append(list, e)
		}
	}
	return list
}

// told, for Eventually: an event was taken, or tried.
func (r *receiver) told(cause, state string, taken bool) func() error {
	return func() error {
		if len(r.of(cause, state, taken)) > 0 {
			return nil
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Errorf("%s %s was not heard: %+v", cause, state, r.events)
	}
}

// TestAlarmsAreSentOnce has a real receiver: each alarm of the cluster is told by one node, and by
// another where the first is killed before it was taken. The heartbeat ends with the majority.
func TestAlarmsAreSentOnce(t *testing.T) {
	topology := lab.Default()
	topology.Silent = true
	l := lab.New(t, topology)
	r := newReceiver(t, l)
	l.Configure(func(top *lab.Topology) {
		top.Extra = fmt.Sprintf("alarms: {webhook: \"http://%s/hook\", heartbeat: \"http://%s/beat\", heartbeat_every: 1s}\n", r.at, r.at)
	})
	a, b, far := l.Node("edge-a1"), l.Node("edge-b1"), l.Node("edge-r1")
	for _, n := range l.Nodes() {
		n.Launch()
	}
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Eventually(20*time.Second, calm(l))
	const cause = "all-down/shop"
	down := func() {
		l.Site("city-a").KillBalancers()
		l.Site("city-b").KillBalancers()
	}
	heal := func() {
		l.Site("city-a").HealBalancers()
		l.Site("city-b").HealBalancers()
	}

	down()
	l.Eventually(20*time.Second, r.told(cause, "raised", true))
	heal()
	l.Eventually(20*time.Second, r.told(cause, "cleared", true))
	l.Steady(3*time.Second, func() error {
		for _, state := range []string{"raised", "cleared"} {
			if sent := r.of(cause, state, true); len(sent) != 1 || sent[0].Node != "edge-a1" {
				return fmt.Errorf("%s was sent by more than one node, or more than once: %+v", state, sent)
			}
		}
		return nil
	})

	t.Run("killed before it was taken", func(t *testing.T) {
		r.setDeaf(true)
		down()
		l.Eventually(20*time.Second, r.told(cause, "raised", false))
		a.Kill9()
		tried := r.of(cause, "raised", false)
		if node := tried[len(tried)-1].Node; node != "edge-a1" {
			t.Errorf("%s tried", node)
		}
		r.setDeaf(false)
		l.Eventually(40*time.Second, func() error {
			if sent := r.of(cause, "raised", true); len(sent) != 2 || sent[1].Node != "edge-b1" || sent[1].ID != tried[0].ID {
				return fmt.Errorf("edge-b1 did not take over what edge-a1 tried (%+v): %+v", tried[0], sent)
			}
			return nil
		})
		heal()
		a.Start()
		l.Eventually(20*time.Second, calm(l))
		if sent := r.of(cause, "raised", true); len(sent) != 2 {
			t.Errorf("edge-a1 came back and sent again: %+v", sent)
		}
	})

	t.Run("taken from another node alone", func(t *testing.T) {
		r.setDeafTo("edge-a1")
		before := len(r.of(cause, "raised", true))
		down()
		l.Eventually(70*time.Second, func() error {
			if sent := r.of(cause, "raised", true); len(sent) != before+1 || sent[before].Node != "edge-b1" {
				return fmt.Errorf("edge-b1 did not relieve edge-a1: %+v", sent)
			}
			return nil
		})
		l.Eventually(20*time.Second, r.told("mute/edge-a1", "raised", true))
		r.setDeafTo("")
		heal()
		l.Eventually(20*time.Second, r.told(cause, "cleared", true))
		l.Steady(3*time.Second, func() error {
			if sent := r.of(cause, "raised", true); len(sent) != before+1 {
				return fmt.Errorf("it was sent twice: %+v", sent)
			}
			return nil
		})
		a.Kill9() // it would try again only after some minutes, and says no more that it can't
		a.Start()
		l.Eventually(20*time.Second, calm(l))
	})

	t.Run("heartbeat", func(t *testing.T) {
		l.Eventually(20*time.Second, r.beatsSince(time.Now()))
		far.Kill9() // its site's clients, the receiver among them, are still there
		a.Kill9()
		l.Eventually(20*time.Second, func() error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if silent := time.Since(r.lastOne); silent < 4*time.Second {
				return fmt.Errorf("the last heartbeat came %s ago, and there is no majority", silent)
			}
			return nil
		})
		l.Steady(time.Second, l.Answers(steered, "203.0.113.10", b))
		far.Start()
		l.Eventually(20*time.Second, r.beatsSince(time.Now()))
		a.Start()
		l.Eventually(20*time.Second, calm(l))
	})
	verified(t, l)
}

// beatsSince, for Eventually: a heartbeat came later than that.
func (r *receiver) beatsSince(then time.Time) func() error {
	return func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lastOne.Before(then) {
			return fmt.Errorf("no heartbeat since %s", time.Since(r.lastOne))
		}
		return nil
	}
}
