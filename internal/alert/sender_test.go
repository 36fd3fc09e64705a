package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/config"
)

func TestWebhookIsSentTheEvent(t *testing.T) {
	h := newHook(t, nil)
	r := newRig(t, config.Alarms{Webhook: h.URL}).run()
	r.Send(fire)
	if d := r.delivery(); d.Err != nil || d.Receiver != "webhook" || d.Event != fire {
		t.Errorf("got %+v", d)
	}
	body, ok := strings.CutPrefix(h.got()[0], "POST ")
	if !ok || h.heads[0].Get("Content-Type") != "application/json" {
		t.Errorf("got %q with %v", body, h.heads[0])
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(body), &sent); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"text": "[prod] all-down/shop: none of its endpoints is up → pharos override set --service shop --site remote",
		"id":   "1.0.edge-b1", "cluster": "prod", "node": "edge-a1", "cause": "all-down/shop", "state": "raised",
		"since": "2026-11-23T17:00:00Z",
	} {
		if sent[key] != want {
			t.Errorf("%s is %v, want %v", key, sent[key], want)
		}
	}
	r.wantCount(r.metrics.deliveries.WithLabelValues("webhook", "sent"), 1)
}

func TestWebhookIsTriedAgainInOrder(t *testing.T) {
	h := newHook(t, func(n int, w http.ResponseWriter) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		}
	})
	r := newRig(t, config.Alarms{Webhook: h.URL}).run()
	cleared := fire
	cleared.State = Cleared
	r.Send(fire)
	r.Send(cleared)
	for _, want := range []State{Raised, Cleared} {
		if d := r.delivery(); d.Err != nil || d.Event.State != want {
			t.Errorf("got %+v, want %s", d, want)
		}
	}
	if got := h.got(); len(got) != 5 || !strings.Contains(got[3], `"raised"`) || !strings.Contains(got[4], `"cleared"`) {
		t.Errorf("got %q", got)
	}
	r.wantCount(r.metrics.failed.WithLabelValues("webhook"), 3)
}

func TestWebhookThatRefusesIsNotAskedAgain(t *testing.T) {
	for _, code := range []int{http.StatusNotFound, http.StatusFound} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			h := newHook(t, func(_ int, w http.ResponseWriter) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(code)
				_, _ = fmt.Fprint(w, "no such\nchannel")
			})
			r := newRig(t, config.Alarms{Webhook: h.URL + "/secret-token"}).run()
			r.Send(fire)
			d := r.delivery()
			if d.Err == nil || !strings.Contains(d.Err.Error(), strconv.Itoa(code)) || !strings.Contains(d.Err.Error(), "no such channel") {
				t.Errorf("got %v", d.Err)
			}
			if strings.Contains(d.Err.Error(), "secret-token") {
				t.Errorf("the error tells the secret: %v", d.Err)
			}
			if len(h.got()) != 1 {
				t.Errorf("asked %d times", len(h.got()))
			}
			eventually(t, "what is refused again and again has the sender say so", func() bool {
				r.Send(fire)
				r.delivery()
				mute, why := r.Mute()
				return mute && strings.Contains(why, strconv.Itoa(code))
			})
		})
	}
}

func TestEventIsGivenUpInTheEnd(t *testing.T) {
	h := newHook(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	r := newRig(t, config.Alarms{Webhook: h.URL + "/secret-token"})
	r.timing.giveUp = 30 * time.Millisecond
	r.run().Send(fire)
	if d := r.delivery(); d.Err == nil || !strings.Contains(d.Err.Error(), "502") {
		t.Errorf("got %v", d.Err)
	}
	if len(h.got()) < 2 {
		t.Errorf("asked %d times", len(h.got()))
	}
	// One that nobody answers tells neither its path.
	h.Close()
	r.Send(fire)
	if d := r.delivery(); d.Err == nil || strings.Contains(d.Err.Error(), "secret-token") {
		t.Errorf("got %v", d.Err)
	}
}

// TestSendNeverBlocks fills a queue that nobody empties: the newest stay.
func TestSendNeverBlocks(t *testing.T) {
	r := newRig(t, config.Alarms{Webhook: "http://127.0.0.1:1"}) // not running
	const more = 10
	for i := range maxQueue + more {
		e := fire
		e.ID = strconv.Itoa(i)
		r.Send(e)
	}
	for i := range more {
		if d := r.delivery(); !errors.Is(d.Err, ErrQueueFull) || d.Event.ID != strconv.Itoa(i) {
			t.Errorf("got %+v, want the oldest given up", d)
		}
	}
	r.wantCount(r.metrics.waiting.WithLabelValues("webhook"), maxQueue)
}

func TestReceiverThatHangsHoldsUpNoOther(t *testing.T) {
	release := make(chan struct{})
	h := newHook(t, func(int, http.ResponseWriter) { <-release })
	defer close(release)
	out := filepath.Join(t.TempDir(), "out")
	r := newRig(t, config.Alarms{Webhook: h.URL, Exec: []string{"/bin/sh", "-c", "cat > " + out}}).run()
	r.Send(fire)
	if d := r.delivery(); d.Receiver != "exec" || d.Err != nil {
		t.Errorf("got %+v", d)
	}
	r.stop() // does not wait for it either
}

// TestCauseThatNoEnvironmentTakes sends an alarm on the word of a peer that judges no orders.
func TestCauseThatNoEnvironmentTakes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	p := program{argv: []string{"/bin/sh", "-c", `printf %s "$PHAROS_CAUSE" > ` + out}}
	e := fire
	e.Cause = "conflict/a\x00b\nc"
	if err := p.send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != `conflict/a\u0000b\u000ac` {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWithoutReceiversNothingWaits(t *testing.T) {
	r := newRig(t, config.Alarms{})
	if r.Configured() {
		t.Error("no receiver is configured")
	}
	r.Send(fire)
	if _, ok := r.webhook.take(); ok {
		t.Error("an event waits for nobody")
	}
	r.Set(config.Alarms{Exec: []string{"/bin/true"}})
	if !r.Configured() {
		t.Error("a receiver is configured")
	}
}

// TestMute wants a sender to know that nobody takes anything from it, and that one does again.
func TestMute(t *testing.T) {
	var taken atomic.Bool
	h := newHook(t, func(_ int, w http.ResponseWriter) {
		if !taken.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	r := newRig(t, config.Alarms{})
	if mute, why := r.Mute(); !mute || why != "" {
		t.Errorf("without a receiver: %v %q", mute, why)
	}
	r.Set(config.Alarms{Webhook: h.URL})
	if mute, why := r.Mute(); mute {
		t.Errorf("before it has tried: %q", why)
	}
	r.run().Send(fire)
	eventually(t, "it says what the webhook says", func() bool {
		mute, why := r.Mute()
		return mute && strings.HasPrefix(why, "webhook: ") && strings.Contains(why, "502")
	})
	r.Set(config.Alarms{Webhook: h.URL, Exec: []string{"/bin/true"}})
	if mute, why := r.Mute(); mute {
		t.Errorf("beside a program that was not tried: %q", why)
	}
	r.Set(config.Alarms{Webhook: h.URL})
	taken.Store(true)
	eventually(t, "it can tell again", func() bool { mute, why := r.Mute(); return !mute && why == "" })

	taken.Store(false)
	r = newRig(t, config.Alarms{Webhook: h.URL})
	r.timing.rested = 0
	r.run().Send(fire)
	eventually(t, "it says why and would try another event", func() bool { mute, why := r.Mute(); return !mute && why != "" })
}

// TestUnwantedEventIsNotTriedAgain takes an event back that another node has sent meanwhile.
func TestUnwantedEventIsNotTriedAgain(t *testing.T) {
	var unwanted atomic.Bool
	h := newHook(t, func(n int, w http.ResponseWriter) {
		if n < 3 {
			w.WriteHeader(http.StatusBadGateway)
			unwanted.Store(n == 2)
		}
	})
	r := newRig(t, config.Alarms{Webhook: h.URL}).run()
	r.sendWhile(func() bool { return !unwanted.Load() }, fire)
	e := fire
	e.ID = "another"
	r.Send(e)
	if d := r.delivery(); d.Event.ID != "another" || d.Err != nil || len(h.got()) != 3 {
		t.Errorf("got %+v after %d questions, want the second event after 3", d, len(h.got()))
	}
}

func TestOtherReceiverTakesWhatWaits(t *testing.T) {
	bad := newHook(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	good := newHook(t, nil)
	r := newRig(t, config.Alarms{Webhook: bad.URL}).run()
	r.Send(fire)
	eventually(t, "the bad one is asked", func() bool { return len(bad.got()) > 0 })
	r.Set(config.Alarms{Webhook: good.URL})
	if d := r.delivery(); d.Err != nil || len(good.got()) != 1 {
		t.Errorf("got %+v", d)
	}
	r.Set(config.Alarms{Webhook: bad.URL})
	r.Send(fire)
	r.Set(config.Alarms{})
	if d := r.delivery(); !errors.Is(d.Err, ErrRemoved) {
		t.Errorf("got %+v", d)
	}
}

func TestProgramReadsTheEvent(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	r := newRig(t, config.Alarms{Exec: []string{"/bin/sh", "-c", `{ cat; echo "$PHAROS_STATE $PHAROS_CAUSE"; } > "$0"`, out}}).run()
	r.Send(fire)
	if d := r.delivery(); d.Err != nil {
		t.Fatal(d.Err)
	}
	text, _ := os.ReadFile(out)
	line, rest, _ := strings.Cut(string(text), "\n")
	var sent Event
	if err := json.Unmarshal([]byte(line), &sent); err != nil || sent != fire {
		t.Errorf("read %s: %v", text, err)
	}
	if rest != "raised all-down/shop\n" {
		t.Errorf("environment: %q", rest)
	}
}

func TestProgramThatFailsIsRunAgain(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	r := newRig(t, config.Alarms{Exec: []string{"/bin/sh", "-c", `echo x >> "$0"; test $(wc -l < "$0") -ge 3`, count}}).run()
	r.Send(fire)
	if d := r.delivery(); d.Err != nil {
		t.Fatal(d.Err)
	}
	if text, _ := os.ReadFile(count); string(text) != "x\nx\nx\n" {
		t.Errorf("ran %q", text)
	}
}

func TestProgramIsKilledWithItsGroup(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	r := newRig(t, config.Alarms{Exec: []string{"/bin/sh", "-c", `sleep 600 & echo $! > "$0"; echo waits; wait`, pidFile}})
	r.timing.attempt, r.timing.giveUp = 300*time.Millisecond, 0
	r.run().Send(fire)
	if d := r.delivery(); d.Err == nil || !strings.Contains(d.Err.Error(), "was killed: it took too long: waits") {
		t.Errorf("got %v", d.Err)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its child is gone", func() bool { return gone(pid) })
}

// gone tells whether a process is no more, or only its parent's to bury.
func gone(pid int) bool {
	if unix.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(stat), ") ")
	return err != nil || ok && strings.HasPrefix(rest, "Z")
}

func TestProgramThatCanNotBeRun(t *testing.T) {
	r := newRig(t, config.Alarms{Exec: []string{"/nonexistent/program"}})
	r.timing.giveUp = 0
	r.run().Send(fire)
	if d := r.delivery(); d.Err == nil || !strings.Contains(d.Err.Error(), "/nonexistent/program: can't be run") {
		t.Errorf("got %v", d.Err)
	}
}
