package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/scloudstack/pharos/policy"
)

// script is a checker whose attempts a test writes, so that the schedule can be
// watched in a bubble of its own time.
type script struct {
	ask func(ctx context.Context, n int) result

	mu     sync.Mutex
	began  []time.Duration // of each attempt, since the bubble's start
	closed int
}

var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *script) attempt(ctx context.Context, n int) result {
	s.mu.Lock()
	s.began = append(s.began, time.Since(bubbleStart))
	s.mu.Unlock()
	return s.ask(ctx, n)
}

func (s *script) peer() string { return "peer" }

func (s *script) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
}

func (s *script) attempts() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.began)
}

// stage is a prober whose targets follow scripts.
type stage struct {
	*Prober
	scripts map[policy.TargetID]*script

	mu     sync.Mutex
	seen   map[policy.TargetID][]policy.Observation
	unmade []policy.Observation // of checks that could not be made
}

func newStage(cfg Config, scripts map[policy.TargetID]*script) *stage {
	s := &stage{scripts: scripts, seen: map[policy.TargetID][]policy.Observation{}}
	s.Prober = New(cfg, func(o policy.Observation) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.Outcome == policy.Unable {
			s.unmade = append(s.unmade, o)
			return
		}
		s.seen[o.Target] = append(s.seen[o.Target], o)
	}, discard(), prometheus.NewRegistry())
	s.make = func(t Target) (checker, error) { return s.scripts[t.ID], nil }
	return s
}

func (s *stage) observed(id policy.TargetID) []policy.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen[id])
}

func plainTarget(id string) Target {
	return Target{
		ID: policy.TargetID(id), Address: netip.MustParseAddr("192.0.2.1"), Check: Check{ICMP: &ICMP{}},
		Interval: time.Second, Timeout: 600 * time.Millisecond,
	}
}

// at once, slow or never: what attempts in scripts do.
func yes(context.Context, int) result { return success("yes") }

func silent(ctx context.Context, _ int) result {
	<-ctx.Done()
	return noAnswer("")
}

// TestCut wants a target that a drill cuts off to be asked nothing and to time out, until
// the drill is over.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := &script{ask: yes}
		s := newStage(Config{}, map[policy.TargetID]*script{"a": peer})
		s.Set([]Target{plainTarget("a")})
		stop := start(t, s.Prober)
		outcomes := func() (list []policy.Outcome) {
			for _, o := range s.observed("a") {
				list = append(list, o.Outcome)
			}
			return list
		}
		time.Sleep(time.Millisecond)
		s.Cut([]policy.TargetID{"a"})
		asked := len(peer.attempts())
		time.Sleep(4 * time.Second)
		if got := outcomes(); len(got) < 3 || slices.Contains(got[1:], policy.Success) || len(peer.attempts()) != asked {
			t.Errorf("cut: %v after %d attempts, then %d", got, asked, len(peer.attempts()))
		}
		s.Cut(nil)
		time.Sleep(3 * time.Second)
		if got := outcomes(); got[len(got)-1] != policy.Success {
			t.Errorf("mended: %v", got)
		}
		stop()
	})
}

func TestAttempts(t *testing.T) {
	ms := time.Millisecond
	for _, tc := range []struct {
		name     string
		ask      func(context.Context, int) result
		attempts int
		began    []time.Duration // attempts of the first check
		outcome  policy.Outcome
		at       time.Duration // of the observation
		latency  time.Duration
		reason   string
	}{
		{name: "answered", ask: yes, began: []time.Duration{0}, outcome: policy.Success, reason: "yes after 0 µs"},
		{
			name: "silence", ask: silent, began: []time.Duration{0, 200 * ms, 400 * ms},
			outcome: policy.Timeout, at: 600 * ms, latency: 600 * ms, reason: "no answer from peer within 600 ms (3 attempts)",
		},
		{
			name: "silence, two attempts", ask: silent, attempts: 2, began: []time.Duration{0, 300 * ms},
			outcome: policy.Timeout, at: 600 * ms, latency: 600 * ms, reason: "no answer from peer within 600 ms (2 attempts)",
		},
		{
			name: "second answers", ask: func(ctx context.Context, n int) result {
				if n == 1 {
					return silent(ctx, n)
				}
				time.Sleep(20 * ms)
				return success("yes")
			}, began: []time.Duration{0, 200 * ms}, outcome: policy.Success, at: 220 * ms, latency: 20 * ms, reason: "yes after 20 ms",
		},
		{
			name: "first answers late", ask: func(ctx context.Context, n int) result {
				if n > 1 {
					return silent(ctx, n)
				}
				time.Sleep(500 * ms)
				return success("yes")
			}, began: []time.Duration{0, 200 * ms, 400 * ms}, outcome: policy.Success, at: 500 * ms, latency: 500 * ms, reason: "yes after 500 ms",
		},
		{
			name: "a refusal decides", ask: func(ctx context.Context, n int) result {
				if n == 1 {
					return silent(ctx, n)
				}
				return refused("no", "never")
			}, began: []time.Duration{0, 200 * ms}, outcome: policy.Refused, at: 200 * ms, reason: "no after 0 µs: never",
		},
		{
			name: "no route", ask: func(context.Context, int) result { return noAnswer("no route to host") },
			began:   []time.Duration{0, 200 * ms, 400 * ms},
			outcome: policy.Timeout, at: 400 * ms, latency: 400 * ms, reason: "no answer from peer within 400 ms (3 attempts): no route to host",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(Config{Observer: "a1"}, map[policy.TargetID]*script{"x": {ask: tc.ask}})
				target := plainTarget("x")
				target.Attempts = tc.attempts
				s.Set([]Target{target})
				stop := start(t, s.Prober)
				time.Sleep(610 * ms)
				synctest.Wait()
				if diff := cmp.Diff(tc.began, s.scripts["x"].attempts()[:len(tc.began)]); diff != "" {
					t.Errorf("attempts began at (-want +got):\n%s", diff)
				}
				want := []policy.Observation{{
					Target: "x", Observer: "a1", At: bubbleStart.Add(tc.at), Outcome: tc.outcome, Latency: tc.latency, Reason: tc.reason,
				}}
				if diff := cmp.Diff(want, s.observed("x")[:1]); diff != "" {
					t.Errorf("observed (-want +got):\n%s", diff)
				}
				stop()
			})
		})
	}
}

func TestScheduleSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		scripts := map[policy.TargetID]*script{}
		var targets []Target
		for i := range n {
			target := plainTarget(fmt.Sprint(i))
			target.Jitter = 100 * time.Millisecond
			targets = append(targets, target)
			scripts[target.ID] = &script{ask: yes}
		}
		s := newStage(Config{}, scripts)
		s.Set(targets)
		stop := start(t, s.Prober)
		time.Sleep(10 * time.Second)
		stop()
		perTick := map[time.Duration]int{}
		for id, sc := range scripts {
			began := sc.attempts()
			if len(began) < 9 || len(began) > 11 {
				t.Fatalf("target %s: %d checks in 10 s at one a second", id, len(began))
			}
			for i, at := range began {
				perTick[at/(10*time.Millisecond)]++
				if i == 0 {
					continue
				}
				if gap := at - began[i-1]; gap > 1110*time.Millisecond || gap < 450*time.Millisecond {
					t.Errorf("target %s: %v between checks %d and %d", id, gap, i-1, i)
				}
			}
		}
		for at, checks := range perTick {
			if checks > 3*n/100 {
				t.Errorf("%d checks within the 10 ms at %v, a hundredth of %d expected", checks, at*10*time.Millisecond, n)
			}
		}
	})
}

func TestChecksNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running := 0
		slow := &script{ask: func(ctx context.Context, n int) result {
			mu.Lock()
			running++
			if running > 1 {
				t.Error("two checks at once")
			}
			mu.Unlock()
			time.Sleep(1500 * time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return success("slow")
		}}
		s := newStage(Config{}, map[policy.TargetID]*script{"slow": slow})
		target := plainTarget("slow")
		target.Timeout, target.Attempts = 2*time.Second, 1
		s.Set([]Target{target})
		stop := start(t, s.Prober)
		time.Sleep(15100 * time.Millisecond)
		if n := len(s.observed("slow")); n < 9 || n > 10 {
			t.Errorf("%d checks of 1.5 s in 15.1 s", n)
		}
		if testutil.ToFloat64(s.metrics.late) == 0 {
			t.Error("checks that were due while one was under way are not counted as late")
		}
		stop()
	})
}

// A check that ignores the end of its context delays nobody but itself, and is
// not left unreported.
func TestStuckCheck(t *testing.T) {
	for _, workers := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stuck := &script{}
				stuck.ask = func(ctx context.Context, n int) result {
					if len(stuck.attempts()) > 1 {
						return yes(ctx, n)
					}
					time.Sleep(10 * time.Second)
					return noAnswer("")
				}
				scripts := map[policy.TargetID]*script{"stuck": stuck, "well": {ask: yes}}
				s := newStage(Config{Workers: workers}, scripts)
				a, b := plainTarget("stuck"), plainTarget("well")
				a.Attempts = 1
				s.Set([]Target{a, b})
				stop := start(t, s.Prober)
				time.Sleep(9 * time.Second)
				if n := len(s.observed("well")); n < 9 {
					t.Errorf("the other target was checked %d times in 9 s", n)
				}
				seen := s.observed("stuck")
				if len(seen) < 8 || seen[0].Reason != "no answer from peer within 600 ms" ||
					!strings.HasPrefix(seen[3].Reason, "no answer from peer: an earlier check hangs for ") || seen[3].Outcome != policy.Timeout {
					t.Errorf("observed of the stuck target: %+v", seen)
				}
				time.Sleep(1500 * time.Millisecond)
				seen = s.observed("stuck")
				if last := seen[len(seen)-1]; last.Outcome != policy.Success {
					t.Errorf("after the stuck check ended: %+v", last)
				}
				stop()
			})
		})
	}
}

func TestWorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		ask := func(context.Context, int) result {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return success("yes")
		}
		scripts := map[policy.TargetID]*script{}
		var targets []Target
		for i := range 20 {
			targets = append(targets, plainTarget(fmt.Sprint(i)))
			scripts[targets[i].ID] = &script{ask: ask}
		}
		s := newStage(Config{Workers: 3}, scripts)
		s.Set(targets)
		stop := start(t, s.Prober)
		time.Sleep(5 * time.Second)
		stop()
		if most != 3 {
			t.Errorf("%d checks at once, expected 3", most)
		}
		// 3 workers of 100 ms do 30 checks a second, 20 are wanted.
		for id := range scripts {
			if n := len(s.observed(id)); n < 4 {
				t.Errorf("target %s: %d checks in 5 s", id, n)
			}
		}
	})
}

func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scripts := map[policy.TargetID]*script{"stays": {ask: yes}, "goes": {ask: silent}, "changes": {ask: yes}, "new": {ask: yes}}
		s := newStage(Config{}, scripts)
		stays, goes, changes := plainTarget("stays"), plainTarget("goes"), plainTarget("changes")
		s.Set([]Target{stays, goes, changes, stays})
		stop := start(t, s.Prober)
		time.Sleep(300 * time.Millisecond)

		was := scripts["changes"]
		scripts["changes"] = &script{ask: yes}
		stays.Label = "another label"
		changes.Interval = 2 * time.Second
		s.Set([]Target{plainTarget("new"), changes, stays})
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		for id, want := range map[policy.TargetID]int{"stays": 1, "goes": 0, "changes": 2, "new": 1} {
			if got := len(s.observed(id)); got != want {
				t.Errorf("target %s: %d observations, expected %d", id, got, want)
			}
		}
		if was.closed != 1 || scripts["goes"].closed != 1 || scripts["stays"].closed != 0 {
			t.Errorf("closed: changed %d, gone %d, unchanged %d times", was.closed, scripts["goes"].closed, scripts["stays"].closed)
		}
		if got := testutil.ToFloat64(s.metrics.targets); got != 3 {
			t.Errorf("metric of targets is %v, expected 3", got)
		}

		s.Set(nil)
		time.Sleep(5 * time.Second)
		if n := len(s.observed("stays")); n != 1 {
			t.Errorf("%d observations of a target that is gone", n)
		}
		stop()
	})
}

// What is under way when the context ends is not held against its target.
func TestEndReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scripts := map[policy.TargetID]*script{"silent": {ask: silent}, "no route": {ask: func(context.Context, int) result { return noAnswer("") }}}
		s := newStage(Config{}, scripts)
		s.Set([]Target{plainTarget("silent"), plainTarget("no route")})
		stop := start(t, s.Prober)
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("Run ended %v after its context", took)
		}
		if len(s.observed("silent"))+len(s.observed("no route")) != 0 {
			t.Error("an observation was made of an aborted check")
		}
		for id, sc := range scripts {
			if sc.closed != 1 {
				t.Errorf("target %s was closed %d times", id, sc.closed)
			}
		}
		s.Set([]Target{plainTarget("silent")}) // does nothing, and harms nothing
		if err := s.Run(t.Context()); !errors.Is(err, ErrRan) {
			t.Errorf("second Run: %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		p := New(Config{}, func(policy.Observation) {}, discard(), reg)
		p.make = func(Target) (checker, error) { return &script{ask: yes}, nil }
		p.Set([]Target{plainTarget("x")})
		stop := start(t, p)
		time.Sleep(time.Millisecond * 100)
		stop()
		err := testutil.GatherAndCompare(reg, strings.NewReader(`
			# HELP pharos_probe_running Checks under way.
			# TYPE pharos_probe_running gauge
			pharos_probe_running 0
			# HELP pharos_probe_late_total Checks that began late or not at all: the one before was under way, no worker was free, or the process was busy.
			# TYPE pharos_probe_late_total counter
			pharos_probe_late_total 0
		`), "pharos_probe_running", "pharos_probe_late_total")
		if err != nil {
			t.Error(err)
		}
		if got := testutil.ToFloat64(p.metrics.checks["icmp"][policy.Success]); got != 1 {
			t.Errorf("%v successful checks counted, expected 1", got)
		}
	})
}
