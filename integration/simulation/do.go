package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verb is one kind of action: how many words it takes at least and at most, and of what they are.
type verb struct {
	least, most int
	first       string // node, site, place (either), order or ""
	do          func(w *World, a Action)
}

// verbs are the actions of a schedule:
//
//	cut A B · oneway A B · mend A B        A and B are sites or nodes; oneway loses what goes from A to B
//	loss A B PERCENT                       between two sites, both ways
//	deaf NODE · mute NODE · isolate NODE · restore NODE
//	kill NODE · start NODE · empty NODE    empty kills first
//	stop NODE DURATION · stall NODE DURATION   the process, as by SIGSTOP; its disk
//	clock NODE DURATION                    from the next start on
//	refuse SITE · silence SITE · answer SITE   the balancer there
//	uplink SITE up|down                    what the site requires
//	order NODE ORDER...                    see parseOrder
func verbs() map[string]verb {
	both := func(set bool) func(w *World, a Action) {
		return func(w *World, a Action) {
			for _, k := range [][2]string{{a.Args[0], a.Args[1]}, {a.Args[1], a.Args[0]}} {
				if delete(w.net.cut, k); set {
					w.net.cut[k] = true
				}
			}
		}
	}
	mark := func(marks func(w *World) []func(*node, bool), set bool) func(w *World, a Action) {
		return func(w *World, a Action) {
			for _, f := range marks(w) {
				f(w.node(a.Args[0]), set)
			}
		}
	}
	deaf := func(w *World) func(*node, bool) { return func(n *node, set bool) { w.net.deaf[n.id] = set } }
	mute := func(w *World) func(*node, bool) { return func(n *node, set bool) { w.net.mute[n.id] = set } }
	isolated := func(w *World) func(*node, bool) { return func(n *node, set bool) { w.net.isolated[n.id] = set } }
	one := func(f func(w *World) func(*node, bool)) func(w *World) []func(*node, bool) {
		return func(w *World) []func(*node, bool) { return []func(*node, bool){f(w)} }
	}
	all := func(w *World) []func(*node, bool) { return []func(*node, bool){deaf(w), mute(w), isolated(w)} }
	return map[string]verb{
		"cut":     {2, 2, "place", both(true)},
		"oneway":  {2, 2, "place", func(w *World, a Action) { w.net.cut[[2]string{a.Args[0], a.Args[1]}] = true }},
		"mend":    {2, 2, "place", both(false)},
		"loss":    {3, 3, "place", (*World).doLoss},
		"deaf":    {1, 1, "node", mark(one(deaf), true)},
		"mute":    {1, 1, "node", mark(one(mute), true)},
		"isolate": {1, 1, "node", mark(one(isolated), true)},
		"restore": {1, 1, "node", mark(all, false)},
		"kill":    {1, 1, "node", (*World).doKill},
		"start":   {1, 1, "node", (*World).doStart},
		"empty":   {1, 1, "node", (*World).doEmpty},
		"stop":    {2, 2, "node", (*World).doStop},
		"stall":   {2, 2, "node", (*World).doStall},
		"clock":   {2, 2, "node", (*World).doClock},
		"refuse":  {1, 1, "site", (*World).doBalancer},
		"silence": {1, 1, "site", (*World).doBalancer},
		"answer":  {1, 1, "site", (*World).doBalancer},
		"uplink":  {2, 2, "site", (*World).doUplink},
		"order":   {2, 12, "node", (*World).doOrder},
	}
}

// check1 says what is wrong with an action, before anything is played.
func (w *World) check1(a Action) error {
	all := verbs()
	v, ok := all[a.Verb]
	switch {
	case !ok:
		return fmt.Errorf("found action %q, expected one of %v", a.Verb, slices.Sorted(maps.Keys(all)))
	case len(a.Args) < v.least || len(a.Args) > v.most:
		return fmt.Errorf("found %d words after it, expected %d to %d", len(a.Args), v.least, v.most)
	}
	for i, name := range a.Args[:min(2, len(a.Args))] {
		known := true
		switch {
		case v.first == "place":
			known = w.isSite(name) || w.node(name) != nil
		case v.first == "site" && i == 0:
			known = w.isSite(name)
		case v.first == "node" && i == 0:
			known = w.node(name) != nil
		}
		if !known {
			return fmt.Errorf("no %s is called %q", v.first, name)
		}
	}
	return nil
}

func (w *World) do(a Action) {
	w.say("* %s", strings.Join(append([]string{a.Verb}, a.Args...), " "))
	verbs()[a.Verb].do(w, a)
	w.changed()
}

// changed has the truth seen again after a change.
func (w *World) changed() {
	w.truth.look()
}

func (w *World) doLoss(a Action) {
	p, _ := strconv.ParseFloat(strings.TrimSuffix(a.Args[2], "%"), 64)
	for _, k := range [][2]string{{a.Args[0], a.Args[1]}, {a.Args[1], a.Args[0]}} {
		if delete(w.net.loss, k); p > 0 {
			w.net.loss[k] = p / 100
		}
	}
}

func (w *World) doKill(a Action) {
	if n := w.node(a.Args[0]); n.life != nil {
		n.kill()
	}
}

func (w *World) doStart(a Action) {
	if n := w.node(a.Args[0]); n.life == nil {
		n.start()
	}
}

func (w *World) doEmpty(a Action) {
	w.doKill(a)
	n := w.node(a.Args[0])
	w.check.emptied(n)
	n.empty()
}

func (w *World) doStop(a Action) {
	d, _ := time.ParseDuration(a.Args[1])
	if n := w.node(a.Args[0]); n.life != nil {
		n.frozen = w.now + d
		w.after(d, w.changed)
	}
}

func (w *World) doStall(a Action) {
	d, _ := time.ParseDuration(a.Args[1])
	w.node(a.Args[0]).stalled = w.now + d
}

func (w *World) doClock(a Action) {
	d, _ := time.ParseDuration(a.Args[1])
	w.node(a.Args[0]).nextSkew = d
}

func (w *World) doBalancer(a Action) {
	id := balancerOf(w.siteID(a.Args[0]))
	w.truth.refuses[id], w.truth.silent[id] = a.Verb == "refuse", a.Verb == "silence"
}

func (w *World) doUplink(a Action) {
	w.truth.silent[uplinkOf(w.siteID(a.Args[0]))] = a.Args[1] == "down"
}

// heal mends the network and starts every node. What balancers and people did stays.
func (w *World) heal() {
	w.say("* heal")
	w.net.heal()
	for _, n := range w.nodes {
		n.frozen, n.stalled = w.now, w.now
	}
	w.changed()
	for _, n := range w.nodes {
		if n.life == nil {
			n.start()
		}
	}
	w.changed()
	w.check.healed()
}
