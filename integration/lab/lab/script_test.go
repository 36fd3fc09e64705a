package lab

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestScenarios(t *testing.T) { Scenarios(t, "testdata", Default()) }

// TestEveryWordIsTold holds the story to say every word, so that none is only
// thought to work.
func TestEveryWordIsTold(t *testing.T) {
	story := readFile(t, "testdata/solo.txt")
	for _, w := range Words() {
		if !strings.Contains(story, "\n"+w+" ") && !strings.Contains(story, "\n"+w+"\n") && w != "sleep" {
			t.Errorf("no story says %q", w)
		}
	}
}

func TestLinesThatSayNothing(t *testing.T) {
	topology := bare()
	topology.Sites = topology.Sites[:2]
	topology.Links = topology.Links[:1]
	s := NewStage(topology, nil, t.Logf)
	defer func() {
		if err := s.Close(false); err != nil {
			t.Error(err)
		}
	}()
	do := func(text string) error {
		var out bytes.Buffer
		return s.Do(strings.Fields(text), &out, &out)
	}
	if err := do("cut dwdm"); err == nil || !strings.Contains(err.Error(), "the word lab comes first") {
		t.Errorf("got %v", err)
	}
	if err := do("lab program.edge-z1=x"); err == nil || !strings.Contains(err.Error(), `no node "edge-z1"`) {
		t.Errorf("got %v", err)
	}
	if err := do("lab speed=9"); err == nil || !strings.Contains(err.Error(), "no such setting") {
		t.Errorf("got %v", err)
	}
	if err := do("lab disk=9MB"); err == nil || !strings.Contains(err.Error(), "expected a number and kiB or MiB") {
		t.Errorf("got %v", err)
	}
	if err := do("lab"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line, want string
		usage      bool
	}{
		{"lab", "there is a lab already", false},
		{"fly", `no word "fly"`, true},
		{"cut", "a link is missing", true},
		{"cut moon", `no link "moon": there are dwdm`, false},
		{"cut dwdm from moon", "does not begin at", false},
		{"cut dwdm now", `"now" is too much`, true},
		{"impair dwdm", "KEY=VALUE is missing", true},
		{"impair dwdm loss=3", `loss "3": expected 0% to 100%`, true},
		{"impair dwdm delay=2", `delay "2": expected a time`, true},
		{"impair dwdm bandwidth=3Mbps", "expected a number and kbit/s", true},
		{"impair dwdm speed=3", `"speed": expected delay`, true},
		{"impair dwdm delay=1h", "expected 0 to 30s", false},
		{"balancers city-a", "up, down, 503 or silent is missing", true},
		{"balancers city-a on", `"on": expected up`, true},
		{"balancers city-c up", `no site "city-c": there are city-a, city-b`, false},
		{"crash city-a", "site or node is missing", true},
		{"expect", "answer, output, moves or agreement is missing", true},
		{"expect answer www.shop.example", "an address, SERVFAIL, NXDOMAIN or NODATA is missing", true},
		{"expect answer www.shop.example 192.0.2.1 within soon", `within "soon": expected a time`, true},
		{"expect answer www.shop.example 192.0.2.1", "no node runs", false},
		{"expect output ( pharos edge-a1 status", "missing closing )", true},
		{"expect moves www.shop.example at most 3", "nobody watched", false},
		{"disk edge-a1 full", "node edge-a1 has no disk of its own", false},
		{"disk edge-a1 broken", `"broken": expected full`, true},
		{"isolate", "a node is missing", true},
		{"sleep", "a time is missing", true},
	} {
		err := do(tt.line)
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, errUsage) != tt.usage {
			t.Errorf("%s: got %v (usage %t), want %s", tt.line, err, errors.Is(err, errUsage), tt.want)
		}
	}
}
