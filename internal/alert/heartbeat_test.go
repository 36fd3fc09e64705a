package alert

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/scloudstack/pharos/internal/config"
)

func TestHeartbeatGoesOutWhileAllIsWell(t *testing.T) {
	h := newHook(t, nil)
	const every = 20 * time.Millisecond
	r := newRig(t, config.Alarms{Heartbeat: h.URL, HeartbeatEvery: every}).run()
	r.Well(true)
	eventually(t, "it beats", func() bool { return len(h.got()) >= 3 })
	if h.got()[0] != "GET " {
		t.Errorf("got %q", h.got()[0])
	}
	r.Well(false)
	// One beat may be under way; then there is silence. Another sender's beats are the clock.
	other := newHook(t, nil)
	clock := newRig(t, config.Alarms{Heartbeat: other.URL, HeartbeatEvery: every}).run()
	clock.Well(true)
	eventually(t, "time passes", func() bool { return len(other.got()) >= 2 })
	before := len(h.got())
	passed := len(other.got())
	eventually(t, "more time passes", func() bool { return len(other.got()) >= passed+10 })
	if after := len(h.got()); after > before {
		t.Errorf("%d beats although all is not well", after-before)
	}
	r.Well(true)
	eventually(t, "it beats again", func() bool { return len(h.got()) > before })
}

// TestHeartbeatStopsWithWhoSaysSo guards against a node that hangs and whose
// last word was a good one.
func TestHeartbeatStopsWithWhoSaysSo(t *testing.T) {
	h := newHeartbeat(nil, nil)
	h.set("http://switch.example", 10*time.Second)
	now := came
	if url, _ := h.due(now); url != "" {
		t.Error("nobody said yet that all is well")
	}
	h.say(true, now)
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true},
		{5 * time.Second, false},
		{10 * time.Second, true},
		{20 * time.Second, true},
		{30 * time.Second, false}, // the word is older than two beats
	} {
		if url, again := h.due(now.Add(step.at)); (url != "") != step.want || again <= 0 {
			t.Errorf("after %s: %q, again in %s", step.at, url, again)
		}
	}
	h.say(true, now.Add(31*time.Second))
	if url, _ := h.due(now.Add(31 * time.Second)); url == "" {
		t.Error("it was said again")
	}
	h.set("", 0)
	if url, _ := h.due(now.Add(time.Minute)); url != "" {
		t.Error("there is no heartbeat any more")
	}
}

func TestHeartbeatThatIsNotTakenIsCounted(t *testing.T) {
	h := newHook(t, func(n int, w http.ResponseWriter) {
		if n == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := newRig(t, config.Alarms{Heartbeat: h.URL, HeartbeatEvery: 10 * time.Millisecond}).run()
	r.Well(true)
	eventually(t, "it fails once and is taken", func() bool {
		return testutil.ToFloat64(r.metrics.beats.WithLabelValues("failed")) == 1 && testutil.ToFloat64(r.metrics.beats.WithLabelValues("sent")) >= 2
	})
}
