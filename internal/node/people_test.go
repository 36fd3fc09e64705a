package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scloudstack/pharos/internal/alert"
)

// chat is a real webhook server: it refuses what comes until it is told to take it.
type chat struct {
	*httptest.Server
	slow    chan struct{} // holds back the answer to each alarm that was raised until it is closed; nil: it does not
	asked   atomic.Bool   // such an answer is held back, or was
	mu      sync.Mutex
	takes   bool
	refused int
	taken   []string // cause and state
}

func newChat(t *testing.T) *chat {
	c := &chat{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e alert.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("the webhook is sent what is no event: %v", err)
		}
		if c.slow != nil && e.State == alert.Raised {
			c.asked.Store(true)
			<-c.slow
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.takes {
			c.refused++
			w.WriteHeader(http.StatusNotFound) // a refusal: it is not tried again within the 15 minutes
			return
		}
		c.taken = append(c.taken, e.Cause+" "+string(e.State))
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *chat) takesAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takes = true
}

func (c *chat) has(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.taken, what)
}

// idle says whether nothing is to be sent.
func (p *pager) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) == 0
}

// hurry ends the rest of what every receiver gave up.
func (p *pager) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.waiting {
		if !e.again.IsZero() {
			e.again = clock()
		}
	}
}

// TestOwnAlarmIsSentAgain has the only receiver refuse an alarm of the node itself: it is sent again while it stands, and
// its end is told only of one that was taken.
func TestOwnAlarmIsSentAgain(t *testing.T) {
	web := newChat(t)
	r := newRig(t)
	r.extra = fmt.Sprintf("alarms: {webhook: %q}\n", web.URL)
	r.writeConfig()
	r.start()
	breakAndMend := func(between func()) {
		t.Helper()
		r.write("pharos.yaml", "nonsense: 1\n")
		if err := r.reload(0); err == nil {
			t.Fatal("nonsense was loaded")
		}
		between()
		r.writeConfig()
		if err := r.reload(0); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(times int) func() bool {
		return func() bool {
			r.node.pager.hurry()
			web.mu.Lock()
			defer web.mu.Unlock()
			return web.refused >= times
		}
	}
	breakAndMend(func() { eventually(t, "the alarm is sent", refused(1)) })
	eventually(t, "the alarm that went is forgotten", r.node.pager.idle)
	breakAndMend(func() {
		eventually(t, "the alarm is sent again", refused(3))
		web.takesAll()
		eventually(t, "the alarm is sent until it is taken", func() bool {
			r.node.pager.hurry()
			return web.has("a1/reload raised")
		})
	})
	eventually(t, "its end is told", func() bool { return web.has("a1/reload cleared") })
	web.mu.Lock()
	defer web.mu.Unlock()
	if want := []string{"a1/reload raised", "a1/reload cleared"}; !slices.Equal(web.taken, want) {
		t.Errorf("the webhook took %q, want %q", web.taken, want)
	}
}

// TestAlarmThatGoesWhileItIsTaken has alarms go while a slow receiver is taking them, one of the node itself and one of
// the cluster: their ends are told.
func TestAlarmThatGoesWhileItIsTaken(t *testing.T) {
	for cause, breaks := range map[string]func(r *rig, broken bool){
		"a1/reload": func(r *rig, broken bool) {
			r.writeConfig()
			if broken {
				r.write("pharos.yaml", "nonsense: 1\n")
			}
			if err := r.reload(0); (err != nil) != broken {
				r.t.Fatal(err)
			}
		},
		"blind/a1": func(r *rig, broken bool) {
			for _, b := range []*balancer{&r.cityA, &r.cityB, &r.remote} {
				b.down.Store(broken)
			}
		},
	} {
		t.Run(cause, func(t *testing.T) {
			web := newChat(t)
			web.slow = make(chan struct{})
			web.takesAll()
			release := sync.OnceFunc(func() { close(web.slow) })
			t.Cleanup(release) // before the server is closed, which waits for its answers
			r := newRig(t)
			r.extra = fmt.Sprintf("alarms: {webhook: %q}\n", web.URL)
			r.writeConfig()
			r.start()
			breaks(r, true)
			eventually(t, "the alarm is sent", web.asked.Load)
			breaks(r, false)
			eventually(t, "the alarm goes", r.node.pager.idle)
			release()
			eventually(t, "its end is told", func() bool { return web.has(cause + " cleared") })
		})
	}
}

// TestAlarmThatGoesByARestartIsToldCleared mends the cause of an alarm of the node itself, and restarts the node: the end is
// told once the node has looked, and once.
func TestAlarmThatGoesByARestartIsToldCleared(t *testing.T) {
	web := newChat(t)
	web.takesAll()
	r := newRig(t)
	r.extra = fmt.Sprintf("alarms: {webhook: %q}\n", web.URL)
	r.writeConfig()
	r.start()
	looks := func(until time.Time) {
		r.node.pager.mu.Lock()
		defer r.node.pager.mu.Unlock()
		r.node.pager.looked = until
	}
	r.write("pharos.yaml", "nonsense: 1\n")
	if err := r.reload(0); err == nil {
		t.Fatal("nonsense was loaded")
	}
	knows := func(alarms int) func() bool {
		return func() bool {
			r.node.pager.mu.Lock()
			defer r.node.pager.mu.Unlock()
			return len(r.node.pager.told) == alarms
		}
	}
	eventually(t, "the node knows that the alarm was taken", knows(1))
	r.writeConfig()
	r.restart()
	looks(clock().Add(time.Hour))
	if due := r.node.pager.ownDue(); len(due) > 0 {
		t.Errorf("before the node has looked it tells %+v", due[0].Event)
	}
	looks(clock())
	eventually(t, "its end is told", func() bool { return web.has("a1/reload cleared") })
	eventually(t, "the node knows that its end was taken", knows(0))
	r.restart()
	looks(clock())
	if due := r.node.pager.ownDue(); len(due) > 0 {
		t.Errorf("after another restart it tells %+v", due[0].Event)
	}
}
