package simulation

import (
	"time"

	"github.com/scloudstack/pharos/policy"
)

// probe has the node probe a list of targets and no others: see loop.reprobe.
func (n *node) probe(list []policy.TargetID) {
	now := map[policy.TargetID]bool{}
	for _, id := range list {
		now[id] = true
	}
	before := n.probes
	n.probes = now
	if n.unseen != nil {
		n.unseen = map[policy.TargetID]bool{}
		for _, id := range list {
			n.unseen[id] = true
		}
	}
	for _, id := range list {
		if !before[id] {
			n.after(time.Duration(n.w.rand.Int64N(int64(interval/4))), func() { n.check(id) })
		}
	}
}

// check runs one check, with up to three attempts, and plans the next.
func (n *node) check(id policy.TargetID) {
	if !n.probes[id] {
		return
	}
	jitter := time.Duration(n.w.rand.Int64N(int64(interval / 10)))
	n.after(interval-interval/20+jitter, func() { n.check(id) })
	n.try(id, 0)
}

// try makes one attempt of a check, and another beside it where it gets no answer.
func (n *node) try(id policy.TargetID, i int) {
	report := func(how policy.Outcome, reason string) {
		if n.probes[id] {
			n.observe(policy.Observation{Target: id, Observer: n.id, At: n.time(), Outcome: how, Reason: reason})
		}
	}
	d, how := n.w.attempt(n, id)
	switch {
	case how != policy.Timeout: // in time for the next attempt not to be made, or nearly
		n.after(d, func() { report(how, outcomeText[how]) })
	case i < 2:
		n.after(timeout/3, func() { n.try(id, i+1) })
	default:
		n.after(timeout-2*(timeout/3), func() { report(policy.Timeout, "no answer in 500ms") })
	}
}

// attempt is one attempt of a check now.
func (w *World) attempt(n *node, id policy.TargetID) (time.Duration, policy.Outcome) {
	t := w.top.targets[id]
	d, ok := w.net.answers(n.place, place{site: t.site})
	switch {
	case !ok || w.truth.silent[id]:
		return 0, policy.Timeout
	case w.truth.refuses[id]:
		return d, policy.Refused
	}
	return d, policy.Success
}

var outcomeText = map[policy.Outcome]string{policy.Success: "connected", policy.Refused: "connection refused"}
