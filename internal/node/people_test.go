package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/scloudstack/pharos/internal/alert"
)

// chat is a real webhook server: it refuses what comes until it is told to take it.
type chat struct {
	*httptest.Server
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
	eventually(t, "the alarm that went is forgotten", func() bool {
		r.node.pager.mu.Lock()
		defer r.node.pager.mu.Unlock()
		return len(r.node.pager.waiting) == 0
	})
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
