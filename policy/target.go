package policy

import (
	"fmt"
	"math"
	"time"
)

// start says how a target of unknown health comes to a known one.
type start uint8

const (
	byFirst start = iota // the first result decides
	byRise               // it was down: it is up after rise successes
	byFall               // it was up and then forgotten: one success, or fall failures
)

// target is what is held of one probed target.
type target struct {
	state    HealthState
	start    start     // while state is Unknown
	fails    int       // failures in a row
	refusals int       // of those, answers that said no
	oks      int       // successes in a row, while on the way up
	missing  int       // timeouts in a row that nothing has ended yet; none while it is down
	heard    bool      // a result came since the start
	failing  time.Time // when the first failure since the last success was seen; zero: the last result is one
	last     Outcome
	since    time.Time // when state became what it is
	seen     time.Time // of the last result
	latency  time.Duration
	reason   string
	unable   int    // checks in a row that this host could not make
	unableBy string // why, and what mends it
}

// aside says that this host can't check the target: then it says nothing of the host's trust in itself.
func (t *target) aside(cfg Target) bool { return t.unable >= max(cfg.Fall, 1) }

// cannot counts a check that this host could not make. It has no result: the state stays,
// but what was being counted ends where this goes on.
func (t *target) cannot(why string, cfg Target) {
	t.unable, t.unableBy = t.unable+1, why
	if t.aside(cfg) {
		t.fails, t.refusals, t.oks, t.missing = 0, 0, 0, 0
	}
}

// maxFall bounds how far loss raises fall.
const maxFall = 15

// falseDown is how likely a run of lost checks may be taken for a death.
const falseDown = 1e-4

// path holds the last results on the way to one site, over all targets there. Timeouts
// enter it when a success of the same target ends their run, unless the target was found
// down meanwhile: loss is what comes back, death is not.
type path struct {
	ring [50]crossing
	next int
}

// crossing is one result on a path.
type crossing uint8

const (
	noCrossing crossing = iota
	arrived
	lost
)

func (p *path) add(c crossing) {
	p.ring[p.next] = c
	p.next = (p.next + 1) % len(p.ring)
}

// loss is the worse of the last 10 and the last 50 results.
func (p *path) loss() float64 {
	n, near, all := 0, 0, 0
	for i := range p.ring {
		switch p.ring[(p.next-1-i+len(p.ring))%len(p.ring)] {
		case lost:
			n++
			all++
			if n <= 10 {
				near++
			}
		case arrived:
			n++
		}
	}
	return max(float64(near)/10, float64(all)/float64(max(n, 10)))
}

// fall is the least k with lossᵏ ≤ 10⁻⁴, at most 15; 0 on a clean path.
func (p *path) fall() int {
	loss := p.loss()
	switch {
	case loss == 0:
		return 0
	case loss >= 1:
		return maxFall
	}
	return min(maxFall, int(math.Ceil(math.Log(falseDown)/math.Log(loss)-1e-9)))
}

// note records a success on the path, after as many timeouts of the same target.
func (p *path) note(missing int) {
	for range min(missing, len(p.ring)) {
		p.add(lost)
	}
	p.add(arrived)
}

// take counts one result in. blind forbids to find a target down: where nothing
// that this node probes succeeds, the fault may be its own.
func (t *target) take(o Observation, cfg Target, fall int, blind bool) {
	t.seen, t.latency, t.reason = o.At, o.Latency, o.Reason
	if o.Outcome == Success {
		t.fails, t.refusals, t.missing, t.failing = 0, 0, 0, time.Time{}
		if t.state == Up {
			return
		}
		t.oks++
		if t.state == Down {
			t.set(Unknown, byRise, o.At)
		}
		if t.start != byRise || t.oks >= cfg.Rise {
			t.set(Up, byFirst, o.At)
			t.oks = 0
		}
		return
	}
	t.oks = 0
	if t.failing.IsZero() {
		t.failing = o.At
	}
	if t.state == Down {
		return
	}
	t.fails++
	if o.Outcome == Refused { // the path works, and what was missing may have been the target
		t.refusals++
		t.missing = 0
	} else {
		t.missing++
	}
	need := max(cfg.Fall, 1)
	first := t.state == Unknown && t.start == byFirst
	if !blind && (first || t.refusals >= need || t.fails >= max(need, fall)) {
		t.set(Down, byFirst, o.At)
		t.fails, t.refusals, t.missing = 0, 0, 0
	}
}

func (t *target) set(s HealthState, how start, at time.Time) {
	if t.state != s {
		t.since = at
	}
	t.state, t.start = s, how
}

// forget drops the state of a target whose observer suspects itself.
func (t *target) forget(at time.Time) {
	switch {
	case t.state == Up:
		t.set(Unknown, byFall, at)
	case t.state == Down:
		t.set(Unknown, byRise, at)
	}
	t.fails, t.refusals, t.oks, t.missing = 0, 0, 0, 0
}

// changing says that counting is under way that may change the state.
func (t *target) changing() bool {
	return t.fails > 0 && t.state != Down || t.oks > 0
}

// detail is the state in words, with what is being counted.
func (t *target) detail(cfg Target, fall int) string {
	need := max(cfg.Fall, fall, 1)
	switch {
	case t.aside(cfg) || t.unable > 0 && t.seen.IsZero():
		return "can't be checked by this host: " + t.unableBy
	case t.seen.IsZero() && t.state == Unknown:
		return "never probed"
	case t.oks > 0:
		return fmt.Sprintf("answers again, %d of %d", t.oks, cfg.Rise)
	case t.fails > 0 && t.state != Down:
		return fmt.Sprintf("failing, %d of %d", t.fails, need)
	case t.state == Unknown:
		return "unknown, waiting for a result"
	}
	return t.state.String()
}

// restore is the state of a target as it was kept on disk.
func restore(h HealthEntry) target {
	t := target{state: h.State, since: h.Since, seen: h.Seen, reason: h.Reason}
	if h.State == Unknown { // only a target that was down is kept as unknown
		t.start = byRise
	}
	return t
}
