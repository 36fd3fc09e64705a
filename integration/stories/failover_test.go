package stories

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
	"github.com/scloudstack/pharos/integration/lab/wan"
)

const (
	shop   = "www.shop.example."
	inA    = "203.0.113.10"
	inB    = "203.0.113.20"
	enough = 20 * time.Second // for anything, on a busy machine
)

// bounds are what TestFailover asserts.
type bounds struct {
	median, worst time.Duration // from the death until a node answers otherwise; the median is that of each node
	follow        time.Duration // from the vote that decides until the last node does, at worst
}

// allowed are the bounds that a quiet machine has to keep, where that is measured, else what a busy one keeps too.
func allowed() bounds {
	if soaking() {
		return bounds{median: 800 * time.Millisecond, worst: 1200 * time.Millisecond, follow: 150 * time.Millisecond}
	}
	return bounds{median: 5 * time.Second, worst: 5 * time.Second, follow: time.Second}
}

// TestFailover measures how long after a death each node that lives answers otherwise, and
// how long after the vote that decides. It prints, and asserts what allowed says.
func TestFailover(t *testing.T) {
	for _, death := range []struct {
		name string
		die  func(*lab.Site)
		mend func(*testing.T, *lab.Lab)
	}{
		{"balancers", (*lab.Site).KillBalancers, func(t *testing.T, l *lab.Lab) { l.Site("city-a").HealBalancers() }},
		{"site", (*lab.Site).Kill, mendSite},
	} {
		t.Run(death.name, func(t *testing.T) {
			l := lab.New(t, topology())
			var f figures
			for range scaled().runs {
				l.Eventually(enough, l.Answers(shop, inA))
				l.Eventually(enough, l.Agree())
				pause(t)
				f.take(t, l, func() { death.die(l.Site("city-a")) })
				death.mend(t, l)
			}
			f.print(t, death.name)
			for _, text := range f.beyond(allowed()) {
				t.Error(text)
			}
		})
	}
}

// topology has probes every 200 ms, with a timeout of 150 ms and fall 3.
func topology() lab.Topology {
	top := lab.Default()
	top.Check = lab.Check{Interval: 200 * time.Millisecond, Timeout: 150 * time.Millisecond, Fall: 3, Rise: 3}
	if soaking() {
		top.Mode = wan.Precise
	}
	return top
}

// pause lets the death come at any moment between two probes.
func pause(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(time.Second + rand.N(400*time.Millisecond)):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// mendSite starts a site again once it is known to be lost as a whole. It comes back when a
// person says so.
func mendSite(t *testing.T, l *lab.Lab) {
	t.Helper()
	said := func(text string, command ...string) func() error {
		return func() error {
			if out := l.Node("edge-b1").CLI(command...); !strings.Contains(out.Stdout, text) {
				return fmt.Errorf("%v does not say %q: %s%s", command, text, out.Stdout, out.Stderr)
			}
			return nil
		}
	}
	l.Eventually(enough, said("returns by hand", "explain", shop))
	l.Site("city-a").Revive()
	l.Eventually(enough, said("city-a is up again and waits for a person", "alarm", "list"))
	if out := l.Node("edge-b1").CLI("return", "shop", "--reason", "the site is there again"); out.Code != 0 {
		t.Fatalf("return: %s", out.Stderr)
	}
}

// figures are times of all runs: of each node, and in each run from the vote that decides
// to the last node.
type figures struct {
	nodes map[string][]time.Duration
	all   []time.Duration
	votes []time.Duration
}

// take has a death happen. The vote that decides is the second site's: two of three are
// the majority. It counts from the probe that failed last before it.
func (f *figures) take(t *testing.T, l *lab.Lab, die func()) {
	t.Helper()
	var begun time.Time
	after := l.Moved(shop, enough, func() {
		begun = time.Now()
		die()
	})
	if f.nodes == nil {
		f.nodes = map[string][]time.Duration{}
	}
	var votes []time.Time
	var last time.Duration
	for _, n := range l.Nodes() {
		if !n.Running() {
			continue
		}
		d, moved := after[n.Name()]
		if !moved {
			t.Fatalf("node %s did not move", n.Name())
		}
		f.nodes[n.Name()] = append(f.nodes[n.Name()], d)
		f.all, last = append(f.all, d), max(last, d)
		l.Eventually(enough, func() error {
			at, err := votedDown(n)
			if err == nil {
				votes = append(votes, at)
			}
			return err
		})
	}
	slices.SortFunc(votes, time.Time.Compare)
	f.votes = append(f.votes, begun.Round(0).Add(last).Sub(votes[1]))
}

// votedDown is when a node itself found the balancer of city-a down.
func votedDown(n *lab.Node) (time.Time, error) {
	var e struct {
		Candidates []struct {
			Targets []struct {
				Votes []struct {
					Nodes []struct {
						Node, State string
						Since       time.Time
					}
				}
			}
		}
	}
	if err := n.JSON(&e, "explain", shop); err != nil {
		return time.Time{}, err
	}
	for _, site := range e.Candidates[0].Targets[0].Votes {
		for _, v := range site.Nodes {
			if v.Node == n.Name() && v.State == "down" {
				return v.Since, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("node %s does not vote the balancer of city-a down", n.Name())
}

func (f *figures) print(t *testing.T, death string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(f.nodes)) {
		t.Logf("%-10s first other answer of %s: %s", death, name, spread(f.nodes[name]))
	}
	t.Logf("%-10s first other answer of all nodes: %s", death, spread(f.all))
	t.Logf("%-10s from the vote that decides to the answer of every node: %s", death, spread(f.votes))
}

// beyond says which bounds are not kept.
func (f *figures) beyond(most bounds) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(f.nodes)) {
		if m := median(f.nodes[name]); m > most.median {
			list = append(list, fmt.Sprintf("%s moved after %s in the median, at most %s expected", name, m, most.median))
		}
	}
	if worst := slices.Max(f.all); worst > most.worst {
		list = append(list, fmt.Sprintf("a node moved after %s, at most %s expected", worst, most.worst))
	}
	if worst := slices.Max(f.votes); worst > most.follow {
		list = append(list, fmt.Sprintf("the last node answered %s after the vote that decides, at most %s expected", worst, most.follow))
	}
	return list
}

// TestASoakKeepsTheBoundsOfAQuietMachine wants each of the three to be looked at, in a soak alone.
func TestASoakKeepsTheBoundsOfAQuietMachine(t *testing.T) {
	ms := func(n ...time.Duration) (all []time.Duration) {
		for _, x := range n {
			all = append(all, x*time.Millisecond)
		}
		return all
	}
	slow := figures{nodes: map[string][]time.Duration{"edge-a1": ms(100, 900, 900), "edge-b1": ms(100, 500, 1300)}, all: ms(900, 1300), votes: ms(20, 160)}
	for soak, want := range map[string]int{"": 0, "1": 3} {
		t.Setenv("PHAROS_SOAK", soak)
		if got := slow.beyond(allowed()); len(got) != want {
			t.Errorf("PHAROS_SOAK=%q: %q, want %d", soak, got, want)
		}
	}
}

func median(all []time.Duration) time.Duration { return slices.Sorted(slices.Values(all))[len(all)/2] }

// spread is the median, and the worst of so many.
func spread(all []time.Duration) string {
	return fmt.Sprintf("median %s, worst of %d %s", median(all).Round(time.Millisecond), len(all), slices.Max(all).Round(time.Millisecond))
}
