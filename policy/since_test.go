package policy

import (
	"strings"
	"testing"
	"time"
)

// A node that is restarted says since when a target is down, as it did before; one
// that came up, or went down, while the node was away counts from what it then finds.
func TestDownSinceOverARestart(t *testing.T) {
	s := newTale(t)
	s.run(strings.TrimSpace(`
site city-a city require=w
site city-b city
site remote far standby
node edge-a city-a
node edge-b city-b
node edge-r remote
service shop failover hold=10s
endpoint city-a 203.0.113.10 check=a
endpoint city-b 203.0.113.20 check=b
endpoint remote 198.51.100.10 check=r
start
+5s
fail a
fail w
+10s`))
	since := func(target TargetID) (HealthState, time.Time) {
		t.Helper()
		st := s.m.nodes["edge-a"].s.Status(s.m.now)
		for _, site := range st.Sites {
			for _, r := range site.Requires {
				if r.Target.Target == target {
					return r.Target.Health, r.Target.Since
				}
			}
		}
		for _, ep := range st.Services[0].Endpoints {
			for _, tg := range ep.Targets {
				if tg.Target == target {
					return tg.Health, tg.Since
				}
			}
		}
		t.Fatalf("status shows no target %s", target)
		return Unknown, time.Time{}
	}
	want := func(target TargetID, state HealthState, at time.Time) {
		t.Helper()
		if h, got := since(target); h != state || !got.Equal(at) {
			t.Errorf("at %v: %s is %s since %v, want %s since %v", s.m.now, target, h, got, state, at)
		}
	}
	_, a := since("a")
	_, w := since("w")
	want("a", Down, a)
	want("w", Down, w)

	s.run("+2m\nrestart edge-a\n+5s")
	want("a", Down, a)
	want("w", Down, w)
	if h, up := since("b"); h != Up || up.Before(s.m.now.Add(-5*time.Second)) {
		t.Errorf("b is %s since %v: what is up counts anew from the start, at %v, as holds do", h, up, s.m.now.Add(-5*time.Second))
	}

	s.run("kill edge-a\nheal a\nfail b\n+1m\nrestart edge-a\n+30s")
	if h, _ := since("a"); h != Up {
		t.Errorf("a is %s, want up", h)
	}
	if h, b := since("b"); h != Down || b.Before(s.m.now.Add(-30*time.Second)) {
		t.Errorf("b is %s since %v: it was not kept as down, and is found so after the start, at %v", h, b, s.m.now.Add(-30*time.Second))
	}
	s.run("fail a\n+10s")
	if h, again := since("a"); h != Down || !again.After(a) || again.Before(s.m.now.Add(-10*time.Second)) {
		t.Errorf("a is %s since %v: it was up in between", h, again)
	}
}
