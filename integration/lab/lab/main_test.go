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

	l.Steady(time.Second, l.Answers(steered, "203.0.113.10"))
	after := l.Moved(steered, 10*time.Second, l.Site("city-a").KillBalancers)
	if len(after) != len(l.Nodes()) {
		t.Errorf("moved: %v", after)
	}
	for node, d := range after {
		t.Logf("%s moved after %s", node, d.Round(time.Millisecond))
	}
	l.Eventually(time.Second, l.Answers(steered, "203.0.113.20"))

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
