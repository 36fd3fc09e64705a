package lab

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	RunPart()
	if how := os.Getenv(victimVariable); how != "" {
		beVictim(how)
	}
	goleak.VerifyTestMain(m)
}

// solo is a lab for the tests of the lab itself: nodes that know nobody else.
func solo() Topology {
	t := Default()
	t.Solo = true
	return t
}

// bare is without nodes.
func bare() Topology {
	t := solo()
	t.Silent = true
	return t
}

const steered = "www.shop.example."

func TestSoloNodesFollowTheirProbes(t *testing.T) {
	l := New(t, solo())
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))

	var watches []*Watch
	for _, n := range l.Nodes() {
		watches = append(watches, n.Watch(steered, 2*time.Millisecond))
	}
	l.Steady(time.Second, l.Answers(steered, "203.0.113.10"))
	killed := time.Now()
	l.Site("city-a").KillBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.20"))
	for _, w := range watches {
		change, after, err := w.Since(killed)
		if err != nil || change.Answer != "203.0.113.20" {
			t.Errorf("%s: %+v, %v", w.Node().Name(), change, err)
		}
		asked, heard := w.Counts()
		t.Logf("%s: %s after %s; %d of %d questions answered", w.Node().Name(), change.Answer, after.Round(time.Millisecond), heard, asked)
		w.Stop()
	}

	l.Site("city-a").HealBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Site("city-a").Break503()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.20"))
	l.Site("city-a").HealBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Site("city-a").SilenceBalancers()
	l.Eventually(10*time.Second, l.Answers(steered, "203.0.113.20"))
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
