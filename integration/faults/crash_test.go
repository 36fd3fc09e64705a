package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

// TestNodesKilledWhileOrdersAreGiven kills nodes of a cluster with SIGKILL at
// random moments, also two at once and while they start, while orders are given
// on all of them. After each round every node holds every order that was
// acknowledged and not replaced by a later one, answers by it, has it on record,
// and agrees with the others; no order is there that nobody gave.
//
// PHAROS_KILLS is the number of rounds (make soak), PHAROS_SEED repeats a run's moments.
func TestNodesKilledWhileOrdersAreGiven(t *testing.T) {
	rounds, seed := number(t, "PHAROS_KILLS", 20), number(t, "PHAROS_SEED", int(time.Now().UnixNano()&0xffffff))
	t.Logf("PHAROS_KILLS=%d PHAROS_SEED=%d", rounds, seed)
	const givers = 4
	topology := lab.Default()
	var names []string
	for i := range givers {
		names = append(names, fmt.Sprintf("host%d.shop.example.", i))
	}
	topology.Extra = fmt.Sprintf("services:\n  hosts:\n    names: [%s]\n    endpoints: [{site: city-a, address: 192.0.2.10}]\n", strings.Join(names, ", "))
	c := &crashes{t: t, l: together(t, topology), chance: rand.New(rand.NewPCG(uint64(seed), 1))}
	var all []*orders
	for i, name := range names {
		all = append(all, &orders{l: c.l, name: name, chance: rand.New(rand.NewPCG(uint64(seed), uint64(2+i)))})
	}
	for range rounds {
		begun := time.Now().Truncate(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var giving sync.WaitGroup
		for _, o := range all {
			giving.Go(func() { o.give(ctx) })
		}
		c.round()
		cancel()
		giving.Wait()
		c.l.Eventually(20*time.Second, held(c.l, all))
		c.l.Eventually(20*time.Second, agree(c.l))
		c.l.Eventually(20*time.Second, recorded(c.l, all, begun))
		if t.Failed() {
			return
		}
	}
	verified(t, c.l)
	for _, n := range c.l.Nodes() {
		c.l.Eventually(10*time.Second, noFaults(n))
	}
	acknowledged := 0
	for _, o := range all {
		acknowledged += len(o.acknowledged)
	}
	if acknowledged < rounds {
		t.Errorf("only %d orders were acknowledged in %d rounds", acknowledged, rounds)
	}
	t.Logf("%d rounds, %d kills, of which %d of a node that was starting and %d pairs: %d orders acknowledged", rounds, c.kills, c.early, c.pairs, acknowledged)
}

// noFaults, for Eventually: a node has no alarm of its own about its disk or its entries.
func noFaults(n *lab.Node) func() error {
	return func() error {
		list, err := alarms(n)
		if err != nil {
			return err
		}
		for _, a := range list {
			if strings.HasPrefix(a.Cause, "disk") || strings.HasPrefix(a.Cause, "entries/") {
				return fmt.Errorf("%s has an alarm after its last start: %+v", n.Name(), a)
			}
		}
		return nil
	}
}

// crashes are the kills of a run.
type crashes struct {
	t                   *testing.T
	l                   *lab.Lab
	chance              *rand.Rand
	kills, early, pairs int
}

// round kills one or two nodes at a random moment and has them back.
func (c *crashes) round() {
	victims := c.l.Nodes()
	c.chance.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	victims = victims[:1+c.chance.IntN(4)/3]
	if len(victims) == 2 {
		c.pairs++
	}
	c.after(50, 700)
	c.kill(victims)
	c.after(0, 500)
	if c.chance.IntN(4) == 0 {
		c.early++
		for _, n := range victims {
			n.Launch()
		}
		c.after(0, 60)
		c.kill(victims)
	}
	for _, n := range victims {
		n.Launch()
	}
	for _, n := range victims {
		c.l.Eventually(30*time.Second, func() error { _, err := digest(n); return err })
	}
	c.after(0, 300)
}

func (c *crashes) kill(victims []*lab.Node) {
	var dying sync.WaitGroup
	for _, n := range victims {
		c.kills++
		dying.Go(n.Kill9)
	}
	dying.Wait()
}

// after is the random moment of a kill, in ms.
func (c *crashes) after(least, more int) {
	select {
	case <-time.After(time.Duration(least+c.chance.IntN(more)) * time.Millisecond):
	case <-c.t.Context().Done():
	}
}

// orders are those about one name, given one after the other, each on a random node.
type orders struct {
	l            *lab.Lab
	name         string
	chance       *rand.Rand
	given        []string // the address that each pins, "" for one that clears; acknowledged or not
	sure         int      // how many of given there are up to the last acknowledged one
	acknowledged []int    // which of given, counted from 1
	recorded     int      // how many of acknowledged are known to be in the audit
}

// give gives one order after another until ctx ends. Every fifth clears.
func (o *orders) give(ctx context.Context) {
	for ctx.Err() == nil {
		n := len(o.given) + 1
		args, address := []string{"clear", o.name}, ""
		if n%5 != 0 {
			address = fmt.Sprintf("198.18.%d.%d", n>>8, n&255)
			args = []string{"set", o.name, address, "--unlisted"}
		}
		wait := []string{"local", "reachable"}[o.chance.IntN(2)]
		o.given = append(o.given, address)
		node := o.l.Nodes()[o.chance.IntN(len(o.l.Nodes()))]
		out := node.CLI(append(append([]string{"override"}, args...), "--reason", fmt.Sprintf("order %d", n), "--wait", wait, "--wait-for", "300ms")...)
		if out.Code == 0 || out.Code == 3 {
			o.sure, o.acknowledged = n, append(o.acknowledged, n)
		}
	}
}

// may says whether a name may be pinned to an address: by the last acknowledged
// order, or by one that was given later and not acknowledged.
func (o *orders) may(address string) bool {
	if o.sure == 0 && address == "" {
		return true
	}
	return slices.Contains(o.given[max(0, o.sure-1):], address)
}

// held, for Eventually: every node holds what was acknowledged and nothing that nobody gave, and answers by it.
func held(l *lab.Lab, all []*orders) func() error {
	return func() error {
		for _, n := range l.Nodes() {
			list, err := pins(n)
			if err != nil {
				return err
			}
			for _, o := range all {
				address := list["name/"+o.name]
				delete(list, "name/"+o.name)
				if !o.may(address) {
					return fmt.Errorf("on %s %s is pinned to %q; acknowledged was %q, given since %q",
						n.Name(), o.name, address, o.given[max(0, o.sure-1)], o.given[o.sure:])
				}
				if address == "" {
					address = "192.0.2.10"
				}
				switch got, err := n.Ask(o.name); {
				case err != nil:
					return err
				case got.String() != address:
					return fmt.Errorf("%s answers %s with %s, its order is %s", n.Name(), o.name, got, address)
				}
			}
			if len(list) > 0 {
				return fmt.Errorf("%s holds overrides that nobody gave: %v", n.Name(), list)
			}
		}
		return nil
	}
}

// recorded, for Eventually: the audit of every node has every order that was acknowledged since a time.
func recorded(l *lab.Lab, all []*orders, since time.Time) func() error {
	return func() error {
		for _, n := range l.Nodes() {
			var page struct {
				Records []struct{ Subject, Why string }
			}
			if err := read(n, &page, "audit", "list", "--kind", "order", "--limit", "10000", "--since", since.Format(time.RFC3339)); err != nil {
				return err
			}
			there := map[string]bool{}
			for _, r := range page.Records {
				if words := strings.Fields(r.Subject); len(words) > 2 { // override set NAME …, override clear NAME
					there[words[2]+" "+r.Why] = true
				}
			}
			for _, o := range all {
				for _, i := range o.acknowledged[o.recorded:] {
					if want := fmt.Sprintf("%s order %d", o.name, i); !there[want] {
						return fmt.Errorf("the audit of %s does not have %q among %d orders, of which the first is %+v", n.Name(), want, len(page.Records), page.Records[:min(3, len(page.Records))])
					}
				}
			}
		}
		for _, o := range all {
			o.recorded = len(o.acknowledged)
		}
		return nil
	}
}
